package kv

import (
	"fmt"
	"strconv"
	"testing"
)

// BenchmarkApplySet applies entries of 50 units of one SET, the shape that
// redis-benchmark -c 50 makes; ns/op is per SET.
func BenchmarkApplySet(b *testing.B) {
	for _, pipeline := range []int{1, 16} {
		b.Run("P="+strconv.Itoa(pipeline), func(b *testing.B) {
			n := newTestNode(b)
			const unitsPerEntry = 50
			chunks := make([]Chunk, unitsPerEntry)
			bodies := make([][]byte, 64)
			key, seq := 0, uint64(0)
			fill := func() {
				for i := range bodies {
					var units [][]byte
					for j := range chunks {
						c := &chunks[j]
						c.Reset()
						for p := 0; p < pipeline; p++ {
							key = (key*7919 + 1) % 100003
							addCommand(c, "SET", "key:"+strconv.Itoa(1000000+key), "xxxxxxxxxxxxxxxx")
						}
						seq++
						units = append(units, AppendUnit(nil, UnitHeader{Session: n.session, Seq: seq, Low: seq, Ops: uint64(c.NumOps)}, c.Ops))
					}
					bodies[i] = BuildEntry(EntryHeader{Stamp: n.now, Level: ApplyLevel}, units...)
				}
			}
			own := ownerFunc{func(_, seq uint64) *Chunk { return &chunks[seq%unitsPerEntry] }, func(*Chunk) {}}
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; {
				b.StopTimer()
				fill()
				b.StartTimer()
				for i := 0; i < len(bodies) && done < b.N; i++ {
					n.index++
					if err := n.s.Apply([]LogEntry{{Index: n.index, Body: bodies[i]}}, own); err != nil {
						b.Fatal(err)
					}
					done += unitsPerEntry * pipeline
				}
			}
		})
	}
}

// BenchmarkApplyLarge overwrites random keys of tables that no cache holds: of one store, and of
// three that take turns as three nodes on one machine do.
func BenchmarkApplyLarge(b *testing.B) {
	for _, stores := range []int{1, 3} {
		b.Run("stores="+strconv.Itoa(stores), func(b *testing.B) { benchmarkApplyLarge(b, stores) })
	}
}

func benchmarkApplyLarge(b *testing.B, stores int) {
	const keys, perEntry = 1 << 20, 800
	nodes := make([]*testNode, stores)
	for i := range nodes {
		nodes[i] = newTestNode(b)
	}
	x, seq, index := uint32(1), uint64(0), nodes[0].index
	value := string(make([]byte, 64))
	entry := func(next func() uint32) []byte {
		var c Chunk
		seq++
		for range perEntry {
			addCommand(&c, "SET", fmt.Sprintf("key:%012d", next()), value)
		}
		return BuildEntry(EntryHeader{Stamp: nodes[0].now, Level: ApplyLevel}, AppendUnit(nil, UnitHeader{Session: nodes[0].session, Seq: seq, Low: seq, Ops: uint64(c.NumOps)}, c.Ops))
	}
	apply := func(body []byte) {
		index++
		for _, n := range nodes {
			if err := n.s.Apply([]LogEntry{{Index: index, Body: body}}, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := uint32(0); i < keys; {
		apply(entry(func() uint32 { i++; return i }))
	}
	random := func() uint32 { x = x*1664525 + 1013904223; return x >> 12 & (keys - 1) }
	b.ResetTimer()
	for done := 0; done < b.N; done += perEntry * stores {
		b.StopTimer()
		body := entry(random)
		b.StartTimer()
		apply(body)
	}
}

// BenchmarkReadGet answers chunks of one and of 16 GETs; ns/op is per GET.
func BenchmarkReadGet(b *testing.B) {
	for _, pipeline := range []int{1, 16} {
		b.Run("P="+strconv.Itoa(pipeline), func(b *testing.B) {
			n := newTestNode(b)
			n.do("SET", "key:1", "xxxxxxxxxxxxxxxx")
			args := [][]byte{[]byte("GET"), []byte("key:1")}
			var c Chunk
			b.ReportAllocs()
			for i := 0; i < b.N; i += pipeline {
				c.Reset()
				for p := 0; p < pipeline; p++ {
					c.AddRead(Lookup(args[0]), args)
				}
				n.s.Read(&c, n.now)
			}
		})
	}
}
