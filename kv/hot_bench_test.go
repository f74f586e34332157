package kv

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// hotKeys is the number of keys, or of members of the one key, that BenchmarkHot has.
const hotKeys = 100_000

// hotWrites are the commands of bench -types, with # for one of hotKeys numbers and * for
// one that hardly comes twice.
var hotWrites = []struct{ name, before, command string }{
	{"SET", "SET key:# " + hotValue, "SET key:# " + hotValue},
	{"INCR", "SET counter:# 0", "INCR counter:#"},
	{"EXPIRE", "SET key:# " + hotValue, "EXPIRE key:# 100000"},
	{"PFADD", "PFADD visitors:# first", "PFADD visitors:# element:#"},
	{"LPUSH", "", "LPUSH list " + hotValue},
	{"LPUSH+RPOP", "LPUSH list " + hotValue, "LPUSH list " + hotValue + "\nRPOP list"},
	{"SADD", "", "SADD set element:*"},
	{"HSET", "HSET hash element:# " + hotValue, "HSET hash element:# " + hotValue},
	{"HINCRBY", "HSET counts element:# 1", "HINCRBY counts element:# 1"},
	{"ZADD", "ZADD board # element:#", "ZADD board # element:#"},
	{"ZINCRBY", "ZADD board # element:#", "ZINCRBY board 1 element:#"},
	{"ZADD+ZPOPMIN", "ZADD popped # element:#", "ZADD popped * element:*\nZPOPMIN popped"},
	{"ZPOPMIN", "ZADD popped # element:#", "ZPOPMIN popped"},
	{"GEOADD", "", "GEOADD places 13.* 38.* place:*"},
	{"XADD", "", "XADD events * field value"},
}

const hotValue = "VXKeHogKgJ=[5V9_X^b?48OKGOF8hdbLuNcDoVlnzmkPOyYHcKCmwT1cbxXkCbGi"

// BenchmarkHot applies entries of 50 units of 16 commands, the shape that
// redis-benchmark -c 50 -P 16 makes; ns/op is per command.
func BenchmarkHot(b *testing.B) {
	for _, hot := range hotWrites {
		b.Run(hot.name, func(b *testing.B) { benchHot(b, hot.before, strings.Split(hot.command, "\n")) })
	}
}

func benchHot(b *testing.B, before string, commands []string) {
	const units, pipeline = 50, 16
	n := newTestNode(b)
	chunks := make([]Chunk, units)
	x, seq := uint32(1), uint64(0)
	random := func() uint32 { x = x*1664525 + 1013904223; return x >> 8 }
	add := func(c *Chunk, command string, number func() uint32) {
		args := strings.Fields(command)
		for i, a := range args {
			a = strings.ReplaceAll(a, "#", fmt.Sprintf("%012d", number()%hotKeys))
			if args[0] != "XADD" {
				a = strings.ReplaceAll(a, "*", fmt.Sprintf("%012d", random()))
			}
			args[i] = a
		}
		addCommand(c, args...)
	}
	apply := func(add func(c *Chunk), own Owner) func() {
		var encoded [][]byte
		for j := range chunks {
			c := &chunks[j]
			c.Reset()
			for range pipeline {
				add(c)
			}
			seq++
			encoded = append(encoded, AppendUnit(nil, UnitHeader{Session: n.session, Seq: seq, Low: seq, Ops: uint64(c.NumOps)}, c.Ops))
		}
		body := BuildEntry(EntryHeader{Stamp: n.now, Seed: seq, Level: ApplyLevel}, encoded...)
		return func() {
			n.index++
			if err := n.s.Apply([]LogEntry{{Index: n.index, Body: body}}, own); err != nil {
				b.Fatal(err)
			}
		}
	}
	prepare := func() {
		for i := uint32(0); i < hotKeys && before != ""; {
			apply(func(c *Chunk) { add(c, before, func() uint32 { return i }); i++ }, nil)()
		}
	}
	prepare()
	own := ownerFunc{func(_, seq uint64) *Chunk { return &chunks[(seq-1)%units] }, func(*Chunk) {}}
	turn := 0
	next := func(c *Chunk) { add(c, commands[turn%len(commands)], random); turn++ }
	var ready [64]func()
	b.ReportAllocs()
	b.ResetTimer()
	for done, popped := 0, 0; done < b.N; {
		b.StopTimer()
		if len(ready)*units*pipeline > hotKeys-popped && commands[0] == "ZPOPMIN popped" {
			prepare()
			popped = 0
		}
		popped += len(ready) * units * pipeline
		for i := range ready {
			ready[i] = apply(next, own)
		}
		b.StartTimer()
		for i := 0; i < len(ready) && done < b.N; i++ {
			ready[i]()
			done += units * pipeline
		}
	}
}

// BenchmarkGeoSearch is the search of bench -types: 13 of 10,000 shops are in the circle.
func BenchmarkGeoSearch(b *testing.B) {
	n := newTestNode(b)
	for i := range 10_000 {
		n.do("GEOADD", "shops", fmt.Sprintf("13.%02d", i%100), fmt.Sprintf("38.%02d", i/100), fmt.Sprintf("shop:%012d", i))
	}
	args := bytes.Fields([]byte("geosearch shops fromlonlat 13.5 38.5 byradius 2 km asc count 10"))
	var c Chunk
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += 16 {
		c.Reset()
		for range 16 {
			c.AddRead(Lookup(args[0]), args)
		}
		n.s.Read(&c, n.now)
	}
}
