package node

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace says which share of the time a snapshot may work. It is written beside the
// commands of clients, who should not notice; but what it keeps of the old state
// grows as long as it lasts.
type pace struct {
	applied func() uint64                        // entries so far
	memory  func() (held, live int64, open bool) // what an open cut keeps, and all there is
	loading atomic.Int32                         // snapshots being received or loaded

	mu     sync.Mutex
	looked time.Time
	seen   uint64
	share  float64
}

const (
	// busyShare of the time is for snapshots while clients write. Less, and it keeps
	// more of the old state; more, and commands wait for it.
	busyShare = 0.2
	// loadShare is for a member that receives or loads one: it serves nobody, but may
	// have the machine in common with those that do.
	loadShare = 0.3
	// idleShare leaves something for reads, which are not counted.
	idleShare = 0.7
	// What a cut keeps costs heldSoft of the live data before the share grows, and with
	// heldHard the snapshot works all the time. Writes at random copy the whole table
	// within seconds, a tenth of the data if values are of 64 bytes and a quarter if they
	// are tiny: below that, hurry costs clients and saves nothing (docs/adr/0024).
	heldSoft, heldHard = 0.15, 0.35
	// paceInterval is how long one answer holds.
	paceInterval = 50 * time.Millisecond
)

// load notes that a snapshot is being received or loaded until end is called.
func (p *pace) load() (end func()) {
	p.loading.Add(1)
	return func() { p.loading.Add(-1) }
}

// Share implements snapshot.Options.Share.
func (p *pace) Share() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.looked) < paceInterval {
		return p.share
	}
	applied := p.applied()
	share := busyShare
	switch {
	case p.loading.Load() > 0:
		share = loadShare
	case applied-p.seen <= 1:
		share = idleShare
	}
	held, live, open := p.memory()
	p.looked, p.seen, p.share = now, applied, share
	if open {
		p.share = max(share, shareFor(held, live))
	}
	return p.share
}

// shareFor is what the memory held by the cut asks for.
func shareFor(held, live int64) float64 {
	part := float64(held) / float64(max(live, 64<<20)) // small stores need not hurry
	return min(busyShare+(1-busyShare)*(part-heldSoft)/(heldHard-heldSoft), 1)
}
