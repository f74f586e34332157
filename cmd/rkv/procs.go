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
// gets all of them and one more for as long as it loads, and so do a read that takes long
// and the collection of garbage before a snapshot; snapshots beside traffic work in slices
// too short to hold the chain back (docs/adr/0024).
//
// One more, because Go looks for news from the network only when a thread finds nothing
// else to run, or has not for ten milliseconds: on two processors both may sweep garbage.
// Clients that waited 20 to 30 ms when a snapshot began are rarer since.
//
// GOMAXPROCS in the environment overrules both.
type processors struct {
	few, most int
	mu        sync.Mutex
	heavy     int // pieces of long work under way
}

const mostForHotPath = 4

func newProcessors() *processors {
	all := runtime.GOMAXPROCS(0)
	p := &processors{few: min(max(all/2, 1), mostForHotPath), most: all + 1}
	if os.Getenv("GOMAXPROCS") != "" {
		p.few, p.most = all, all
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
		want = p.most
	}
	if runtime.GOMAXPROCS(0) != want { // setting it stops the world for a moment
		runtime.GOMAXPROCS(want)
	}
}
