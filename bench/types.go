package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// typesGoal is how much more than Redis a command may cost.
const typesGoal = 1.2

// types prints what each type's hot commands cost a server's processor, 50 clients with 16
// commands a request: one rkv node, a cluster of one, beside one Redis `appendfsync always`,
// by turns of A-B-B-A on the same data.
//
// The figure is user and system time of the server's process over the commands of a turn.
// It contains all of a command but its replication: parsing, the work, the reply, the
// sockets and, for a write, the append to the log and its share of the fdatasync of an entry
// (of an AOF flush, with Redis); rkv's also holds what Raft does in a cluster of one, and Go's
// collector. With -share a further turn of each write is profiled, and what of it was for
// agreeing on a log (replicationShare) is told beside, in a column of its own, with the
// ratio that is left without it. Neither snapshots nor rewrites its log meanwhile, for that falls on
// whichever cell is just running. The disk's own work is in no process's time.
func types(o options, base string) (err error) {
	turns := o.rounds
	if o.share {
		turns++
	}
	cells, err := o.chosen(typeCells(turns))
	if err != nil {
		return err
	}
	floor, err := measureFloor(base)
	if err != nil {
		return err
	}
	fmt.Println(floor)
	servers := [2]*running{}
	peers := []peer{redis(o, base, "always", 0, "--auto-aof-rewrite-percentage", "0"), rkvAlone(o, base, "--snapshot-log-size", "64gb")}
	for i, p := range peers {
		if servers[i], err = p.start(); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		defer func() {
			servers[i].keep = err != nil
			err = errors.Join(err, servers[i].stop())
		}()
	}
	results := map[resultKey][]sample{}
	within, without := 0, 0
	head := fmt.Sprintf("%-14s %9s %9s %6s", "c=50 P=16", "Redis us", "rkv us", "ratio")
	if o.share {
		head += fmt.Sprintf(" %10s %8s", "for a log", "without")
	}
	fmt.Println(head)
	for _, c := range cells {
		if err := takeTurns(peers, servers, c, o.rounds, results); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		us := func(p peer) float64 {
			return median(results[resultKey{p.Name, c.Name}], func(s sample) float64 { return s.CPU })
		}
		redis, rkv := us(peers[0]), us(peers[1])
		if rkv <= redis*typesGoal {
			within++
		}
		row, share := fmt.Sprintf("%-14s %9.2f %9.2f %6.2f", c.Name, redis, rkv, rkv/redis), 0.0
		if o.share && c.Writes > 0 {
			if share, err = replicationShare(servers[1], c); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			row += fmt.Sprintf(" %10.2f %8.2f", rkv*share, rkv*(1-share)/redis)
		}
		if rkv*(1-share) <= redis*typesGoal {
			without++
		}
		fmt.Println(row)
	}
	fmt.Printf("types: %d/%d within %.1fx of Redis\n", within, len(cells), typesGoal)
	if o.share {
		fmt.Printf("types: %d/%d without what is for agreeing on a log\n", without, len(cells))
	}
	return o.writeJSON(floor, results)
}

// takeTurns measures one cell on both servers, which have the same data.
func takeTurns(peers []peer, servers [2]*running, c cell, rounds int, results map[resultKey][]sample) error {
	for i, r := range servers {
		if c.before == nil {
			break
		}
		if err := c.before(r); err != nil {
			return fmt.Errorf("filling %s: %w", peers[i].Name, err)
		}
	}
	for round := range rounds {
		for _, i := range [][]int{{0, 1}, {1, 0}}[round%2] {
			s, err := load(servers[i], c)
			if err != nil {
				return fmt.Errorf("%s: %w", peers[i].Name, err)
			}
			k := resultKey{peers[i].Name, c.Name}
			results[k] = append(results[k], s)
		}
	}
	return nil
}

// typeCells are the hot commands. Those that redis-benchmark has tests for look as they do
// there. Each finds its keys already there, so that the first turn is like the last, and each
// write changes something: what changes nothing Redis does not log.
func typeCells(turns int) []cell {
	return slices.Concat(stringCells(), listCells(turns), setCells(turns), hashCells(), sortedSetCells(turns),
		streamCells(), otherCells())
}

const (
	manyKeys    = 100_000       // or members, or fields
	allNew      = 2_000_000_000 // numbers: so many that one hardly comes twice
	typeWrites  = 150_000       // commands of one turn: some tenths of a second of the server's time,
	typeReads   = 300_000       // whose unit is 10 ms
	typeRanges  = 80_000
	sixtyFour   = "VXKeHogKgJ=[5V9_X^b?48OKGOF8hdbLuNcDoVlnzmkPOyYHcKCmwT1cbxXkCbGi" // bytes
	randKey     = "key:__rand_int__"
	randElement = "element:__rand_int__"
)

func stringCells() []cell {
	keys := filled(manyKeys, func(i int) []string { return []string{"SET", keyName(i), sixtyFour} })
	counters := filled(manyKeys, func(i int) []string { return []string{"SET", "counter:" + twelve(i), "0"} })
	return []cell{
		hotWrite("SET", manyKeys, keys, "set", randKey, sixtyFour),
		hotRead("GET", manyKeys, typeReads, keys, "get", randKey),
		hotWrite("INCR", manyKeys, counters, "incr", "counter:__rand_int__"),
		hotWrite("APPEND 8", manyKeys, keys, "append", randKey, "12345678"),
		hotRead("GETRANGE 32", manyKeys, typeReads, keys, "getrange", randKey, "16", "47"),
	}
}

func listCells(rounds int) []cell {
	toPop := func(key string) func(*running) error {
		return filled(rounds*typeWrites, func(int) []string { return []string{"RPUSH", key, sixtyFour} })
	}
	hundred := filled(100, func(i int) []string { return []string{"RPUSH", "hundred", "element:" + twelve(i)} })
	return []cell{
		hotWrite("LPUSH", 1, nil, "lpush", "mylist", sixtyFour),
		hotWrite("RPUSH", 1, nil, "rpush", "mylist", sixtyFour),
		hotWrite("LPOP", 1, toPop("popleft"), "lpop", "popleft"),
		hotWrite("RPOP", 1, toPop("popright"), "rpop", "popright"),
		hotRead("LRANGE 100", 1, typeRanges, hundred, "lrange", "hundred", "0", "99"),
	}
}

func setCells(rounds int) []cell {
	add := func(key string) func(int) []string {
		return func(i int) []string { return []string{"SADD", key, "element:" + twelve(i)} }
	}
	return []cell{
		hotWrite("SADD", allNew, nil, "sadd", "myset", randElement),
		hotWrite("SPOP", 1, filled(rounds*typeWrites, add("popset")), "spop", "popset"),
		hotRead("SISMEMBER", manyKeys, typeReads, filled(manyKeys, add("members")), "sismember", "members", randElement),
	}
}

func hashCells() []cell {
	const rows, fields = 1000, 20
	hash := filled(manyKeys, func(i int) []string { return []string{"HSET", "myhash", "element:" + twelve(i), sixtyFour} })
	counts := filled(manyKeys, func(i int) []string { return []string{"HSET", "counts", "element:" + twelve(i), "1"} })
	table := filled(rows, func(i int) []string {
		row := []string{"HSET", "row:" + twelve(i)}
		for f := range fields {
			row = append(row, fmt.Sprint("field", f), twelve(f))
		}
		return row
	})
	return []cell{
		hotWrite("HSET", manyKeys, hash, "hset", "myhash", randElement, sixtyFour),
		hotRead("HGET", manyKeys, typeReads, hash, "hget", "myhash", randElement),
		hotWrite("HINCRBY", manyKeys, counts, "hincrby", "counts", randElement, "1"),
		hotRead("HGETALL 20", rows, typeRanges, table, "hgetall", "row:__rand_int__"),
	}
}

func sortedSetCells(rounds int) []cell {
	add := func(key string) func(int) []string {
		return func(i int) []string { return []string{"ZADD", key, strconv.Itoa(i), "element:" + twelve(i)} }
	}
	board := filled(manyKeys, add("board"))
	return []cell{
		hotWrite("ZADD", manyKeys, board, "zadd", "board", "__rand_int__", randElement),
		hotWrite("ZPOPMIN", 1, filled(rounds*typeWrites, add("popmin")), "zpopmin", "popmin"),
		hotWrite("ZINCRBY", manyKeys, board, "zincrby", "board", "1", randElement),
		hotRead("ZSCORE", manyKeys, typeReads, board, "zscore", "board", randElement),
		hotRead("ZRANGE 100", 1, typeRanges, board, "zrange", "board", "0", "99"),
		hotRead("ZRANK", manyKeys, typeReads, board, "zrank", "board", randElement),
	}
}

func streamCells() []cell {
	stream := filled(manyKeys, func(i int) []string { return []string{"XADD", "mystream", fmt.Sprint(i+1, "-0"), "field", twelve(i)} })
	return []cell{
		hotWrite("XADD", 1, nil, "xadd", "events", "*", "field", "value"),
		hotRead("XRANGE 10", manyKeys-10, typeRanges, stream, "xrange", "mystream", "__rand_int__", "+", "count", "10"),
	}
}

// otherCells: SETBIT takes new keys, for a bit set twice is no change, and offsets must
// not begin with zeros; GEOADD takes new members in a square of 200 m.
func otherCells() []cell {
	keys := stringCells()[0].before
	counts := filled(manyKeys, func(i int) []string { return []string{"PFADD", "visitors:" + twelve(i), "first"} })
	shops := filled(10_000, func(i int) []string {
		return []string{"GEOADD", "shops", fmt.Sprintf("13.%02d", i%100), fmt.Sprintf("38.%02d", i/100), "shop:" + twelve(i)}
	})
	return []cell{
		hotWrite("SETBIT", allNew, nil, "setbit", "bits:__rand_int__", "7", "1"),
		hotRead("GETBIT", manyKeys, typeReads, keys, "getbit", randKey, "100"),
		hotWrite("PFADD", manyKeys, counts, "pfadd", "visitors:__rand_int__", randElement),
		hotWrite("GEOADD", allNew, nil, "geoadd", "places", "13.__rand_int__", "38.__rand_int__", "place:__rand_int__"),
		hotRead("GEOSEARCH 10", 1, typeRanges, shops, "geosearch", "shops", "fromlonlat", "13.5", "38.5", "byradius", "2", "km", "asc", "count", "10"),
		hotWrite("EXPIRE", manyKeys, keys, "expire", randKey, "100000"),
		hotRead("EVAL get", manyKeys, typeReads, keys, "eval", "return redis.call('get',KEYS[1])", "1", randKey),
	}
}

func hotWrite(name string, numbers int, before func(*running) error, command ...string) cell {
	c := hotRead(name, numbers, typeWrites, before, command...)
	c.Writes = 1
	return c
}

// hotRead is a cell of one command, in which __rand_int__ is one of so many numbers of
// twelve digits.
func hotRead(name string, numbers, ops int, before func(*running) error, command ...string) cell {
	args := strings.Fields("-c 50 -P 16 -r " + strconv.Itoa(numbers))
	return cell{Name: name, Args: append(args, command...), Ops: ops, Clients: 50, before: before}
}

// filled has commands done, in one pipeline.
func filled(n int, command func(i int) []string) func(*running) error {
	return func(r *running) error { return r.push(n, command) }
}

// twelve is what redis-benchmark makes of __rand_int__.
func twelve(i int) string { return fmt.Sprintf("%012d", i) }
