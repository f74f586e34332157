package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// heavy is a command that has a million elements to go through.
type heavy struct {
	name    string
	before  [][]string // bring its keys into the same state before each repetition
	command []string
	// small: the server holds that many small keys, too; alone: and nothing else.
	small, alone bool
}

// control does nothing. What the probes see beside it is what they see of the machine.
const control = "nothing (PING)"

// Keys that commands change or make. What they start from is a copy of a master.
const (
	work  = "work"
	other = "other"
)

// heavies are the rows of -stalls, over values of n elements. The last one empties the
// server.
func heavies(n int) []heavy {
	rows := []heavy{{name: control, command: []string{"PING"}}}
	rows = append(rows, heavyReads(n)...)
	rows = append(rows, heavyStores()...)
	rows = append(rows, heavyChanges(n)...)
	for _, kind := range []string{"list", "set", "hash", "zset", "stream"} {
		rows = append(rows, heavyOfAll(kind)...)
	}
	return append(rows,
		heavy{name: "RENAME onto a hash", before: [][]string{copied("hash", work), copied("hash", other)}, command: words("RENAME work other")},
		heavy{name: "KEYS *", command: words("KEYS *"), small: true},
		heavy{name: "FLUSHALL", command: words("FLUSHALL"), small: true, alone: true})
}

func words(text string) []string { return strings.Fields(text) }

func copied(kind, to string) []string { return []string{"COPY", "big:" + kind, to, "REPLACE"} }

// heavyReads change nothing, or so little that the next repetition finds the same.
func heavyReads(n int) []heavy {
	middle := strconv.Itoa(8 * n)
	return named([]string{
		"LRANGE big:list 0 -1",
		"LREM big:list 0 missing",
		"LINSERT big:list BEFORE " + element(n/2) + " new",
		"LPOS big:list missing",
		"SMEMBERS big:set",
		"SDIFF big:set big:set2",
		"SORT big:numbers",
		"HGETALL big:hash",
		"HKEYS big:hash",
		"ZRANGE big:zset 0 -1 WITHSCORES",
		"XRANGE big:stream - +",
		"APPEND big:string new",
		"SETRANGE big:string " + middle + " new",
		"BITCOUNT big:string",
		"GETRANGE big:string 0 -1",
	})
}

// heavyStores put a large result where nothing was.
func heavyStores() []heavy {
	rows := named([]string{
		"SUNIONSTORE work big:set big:set2",
		"SINTERSTORE work big:set big:set2",
		"SORT big:numbers STORE work",
		"ZUNIONSTORE work 2 big:zset big:zset2",
		"ZINTERSTORE work 2 big:zset big:zset2",
		"ZRANGESTORE work big:zset 0 -1",
		"BITOP XOR work big:string big:string2",
	})
	for i := range rows {
		rows[i].before = [][]string{{"DEL", work}}
	}
	return rows
}

// heavyChanges take half of a value away.
func heavyChanges(n int) []heavy {
	half := strconv.Itoa(n / 2)
	return []heavy{
		{name: "LTRIM to half", before: [][]string{copied("list", work)}, command: []string{"LTRIM", work, half, "-1"}},
		{name: "ZREMRANGEBYRANK of half", before: [][]string{copied("zset", work)}, command: []string{"ZREMRANGEBYRANK", work, "0", half}},
		{name: "XTRIM to half", before: [][]string{copied("stream", work)}, command: []string{"XTRIM", work, "MAXLEN", "=", half}},
	}
}

// heavyOfAll are the commands that know values of every kind.
func heavyOfAll(kind string) []heavy {
	whole := [][]string{copied(kind, work)}
	return []heavy{
		{name: "DEL " + kind, before: whole, command: []string{"DEL", work}},
		{name: "UNLINK " + kind, before: whole, command: []string{"UNLINK", work}},
		{name: "EXPIRE to the past " + kind, before: whole, command: []string{"EXPIRE", work, "-1"}},
		{name: "COPY " + kind, before: [][]string{{"DEL", work}}, command: []string{"COPY", "big:" + kind, work}},
		{name: "DUMP " + kind, command: []string{"DUMP", "big:" + kind}},
	}
}

// named are commands whose text, without the masters' prefix, is their name.
func named(texts []string) (rows []heavy) {
	for _, t := range texts {
		rows = append(rows, heavy{name: strings.ReplaceAll(t, "big:", ""), command: words(t)})
	}
	return rows
}

// masters are the keys that the command needs and nothing changes in size.
func (h heavy) masters() (keys []string) {
	for _, args := range append(slices.Clone(h.before), h.command) {
		for _, a := range args {
			if strings.HasPrefix(a, "big:") && !slices.Contains(keys, a) {
				keys = append(keys, a)
			}
		}
	}
	return keys
}

// element is 14 bytes: no server keeps it as a number.
func element(i int) string { return fmt.Sprintf("e:%012d", i) }

// filling makes a master: one command for so many elements.
type filling struct {
	per     int
	command func(lo, hi int) []string
}

// fillingOf says how a master of n elements is filled. Half of the members of a second
// set and sorted set are in the first, too.
func fillingOf(master string, n int) (f filling, ok bool) {
	each := func(command string, args func(i int) []string) (filling, bool) {
		return filling{500, func(lo, hi int) []string {
			all := []string{command, master}
			for i := lo; i < hi; i++ {
				all = append(all, args(i)...)
			}
			return all
		}}, true
	}
	switch master {
	case "big:list":
		return each("RPUSH", func(i int) []string { return []string{element(i)} })
	case "big:numbers":
		return each("RPUSH", func(i int) []string { return []string{scattered(i, n)} })
	case "big:set":
		return each("SADD", func(i int) []string { return []string{element(i)} })
	case "big:set2":
		return each("SADD", func(i int) []string { return []string{element(n/2 + i)} })
	case "big:hash":
		return each("HSET", func(i int) []string { return []string{element(i), strconv.Itoa(i)} })
	case "big:zset":
		return each("ZADD", func(i int) []string { return []string{scattered(i, n), element(i)} })
	case "big:zset2":
		return each("ZADD", func(i int) []string { return []string{scattered(i, n), element(n/2 + i)} })
	case "big:stream":
		return filling{1, func(lo, _ int) []string {
			return []string{"XADD", master, strconv.Itoa(lo+1) + "-1", "field", element(lo)}
		}}, true
	case "big:string", "big:string2":
		return filling{n, func(_, hi int) []string { return []string{"SET", master, strings.Repeat("v", 16*hi)} }}, true
	}
	return filling{}, false
}

// scattered is the i-th of n numbers in an order without pattern that all servers share.
func scattered(i, n int) string { return strconv.Itoa(i * 7919 % n) }
