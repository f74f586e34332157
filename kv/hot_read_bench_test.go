package kv

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// hotReads are the reads of bench -types that look one member up in a large key.
var hotReads = []struct{ name, before, command string }{
	{"GET", "SET key:# " + hotValue, "GET key:#"},
	{"HGET", "HSET hash element:# " + hotValue, "HGET hash element:#"},
	{"HGET none", "HSET hash element:# " + hotValue, "HGET hash nothing:#"},
	{"SISMEMBER", "SADD set element:#", "SISMEMBER set element:#"},
	{"ZSCORE", "ZADD board # element:#", "ZSCORE board element:#"},
	{"ZRANK", "ZADD board # element:#", "ZRANK board element:#"},
}

// BenchmarkHotRead reads chunks of 16 commands about random members; ns/op is per command.
// B/member is what a member takes of Go's heap, and must not grow for a quicker read.
func BenchmarkHotRead(b *testing.B) {
	for _, members := range []int{100_000, 1_000_000} {
		for _, hot := range hotReads {
			b.Run(fmt.Sprint(hot.name, "/", members), func(b *testing.B) { benchHotRead(b, members, hot.before, hot.command) })
		}
	}
}

func benchHotRead(b *testing.B, members int, before, command string) {
	const pipeline, chunks = 16, 64
	n := newTestNode(b)
	x := uint32(1)
	random := func() uint32 { x = x*1664525 + 1013904223; return x >> 8 }
	args := func(command string, i int) [][]byte {
		return bytes.Fields([]byte(strings.ReplaceAll(command, "#", fmt.Sprintf("%012d", i))))
	}
	heap := heapInUse()
	for i := 0; i < members; {
		var c Chunk
		for end := min(i+1000, members); i < end; i++ {
			a := args(before, int(uint64(i)*7919%uint64(members)))
			s := make([]string, len(a))
			for j := range a {
				s[j] = string(a[j])
			}
			addCommand(&c, s...)
		}
		n.run(&c)
		n.log = n.log[:0]
	}
	perMember := float64(heapInUse()-heap) / float64(members)
	ready := make([]Chunk, chunks)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		b.StopTimer() // few chunks, which stay in the cache, about ever other members, which do not
		for i := range ready {
			ready[i].Reset()
			for range pipeline {
				a := args(command, int(random())%members)
				ready[i].AddRead(Lookup(a[0]), a)
			}
		}
		b.StartTimer()
		for i := 0; i < chunks && done < b.N; i++ {
			n.s.Read(&ready[i], n.now)
			done += pipeline
		}
	}
	b.ReportMetric(perMember, "B/member")
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
