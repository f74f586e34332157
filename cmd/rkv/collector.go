package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// A collection begins when mostGarbage percent of what lived after the one before were
	// added, for what lives is often small and collecting often is not for nothing, but at
	// garbageBytes, unless that is less than leastGarbage percent: the log's latest entries
	// are 64 MiB and more of it, and four times that, filled up slowly, was memory that
	// grew by a tenth while a snapshot was taken (docs/adr/0028).
	mostGarbage, leastGarbage = 400, 100
	garbageBytes              = 64 << 20
)

// tuneCollector sets how much garbage there may be, and again after each collection.
// GOGC in the environment overrules it. The data is outside the Go heap.
func tuneCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(mostGarbage)
	c := &collector{percent: mostGarbage}
	c.await()
}

type collector struct{ percent int }

// await calls adjust when the next collection finds that nobody holds a sentinel.
func (c *collector) await() {
	type sentinel struct{ c *collector }
	runtime.SetFinalizer(&sentinel{c}, func(s *sentinel) {
		s.c.adjust()
		s.c.await()
	})
}

func (c *collector) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	// Setting it stops the world for a moment: not for little.
	if p := garbagePercent(live[0].Value.Uint64()); p > c.percent*5/4 || p < c.percent*4/5 {
		c.percent = p
		debug.SetGCPercent(p)
	}
}

// garbagePercent is what may be added to so much that lives.
func garbagePercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastGarbage), mostGarbage))
}
