package main

import (
	"os"
	"runtime"
	"sync"
)

// processors is how many threads run Go code at once. A node's hot path is a chain of
// short steps that follow one another; more threads than it needs only wake each other
// up, and the kernel's share of the work (sockets, disk) needs processors, too:
// measured, half of the machine's is best, at most four (docs/performance.md). A start
// gets all of them for as long as it loads, and so do a read that takes long and the
// collection of garbage before a snapshot; snapshots beside traffic work in slices too
// short to hold the chain back (docs/adr/0024).
//
// GOMAXPROCS in the environment overrules both.
type processors struct {
	few, all int
	mu       sync.Mutex
	heavy    int // pieces of long work under way
}

const mostForHotPath = 4

func newProcessors() *processors {
	all := runtime.GOMAXPROCS(0)
	p := &processors{few: min(max(all/2, 1), mostForHotPath), all: all}
	if os.Getenv("GOMAXPROCS") != "" {
		p.few = all
	}
	return p
}

// begin is called when long work begins; what it returns, when that ends.
func (p *processors) begin() (end func()) {
	p.change(+1)
	return sync.OnceFunc(func() { p.change(-1) })
}

func (p *processors) change(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heavy += by
	want := p.few
	if p.heavy > 0 {
		want = p.all
	}
	if runtime.GOMAXPROCS(0) != want { // setting it stops the world for a moment
		runtime.GOMAXPROCS(want)
	}
}
