package node

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace says which share of one processor's time work on a snapshot may take. It is done
// beside the commands of clients, who should not notice; but what it keeps of the old
// state and of the log grows as long as it lasts.
type pace struct {
	requests func() uint64                        // of clients, so far
	memory   func() (held, live int64, open bool) // what an open cut keeps, and all there is
	log      func() (bytes, room int64)           // since the last snapshot; what it may be
	idle     func() time.Duration                 // Config.Idle
	loading  atomic.Int32                         // snapshots being received or loaded

	mu     sync.Mutex
	looked time.Time
	seen   uint64
	free   processorsFree
	share  float64
}

const (
	// busyShare is for a snapshot while clients ask for anything, on a machine that has
	// nothing to spare: clients of three nodes on two processors notice twice as much far more
	// (docs/adr/0027). An eighth of what is free is taken if that is more.
	busyShare, mostBusyShare = 0.1, 0.3
	// loadShare is for a member that receives or loads one: it serves nobody, but may
	// have the machine in common with those that do. Of what is free it leaves them
	// loadSpares and takes a third of the rest.
	loadShare, mostLoadShare = 0.05, 0.7
	loadSpares               = 0.25
	// idleShare is for a snapshot while nobody asks for anything.
	idleShare = 0.7
	// What a cut keeps costs heldSoft of the live data before the share grows, and with
	// heldHard the snapshot works all the time. Keys that come and go at random have the
	// whole table copied within seconds, a tenth of the data if values are of 64 bytes and a
	// quarter if they are tiny: below that, hurry costs clients and saves nothing
	// (docs/adr/0024).
	heldSoft, heldHard = 0.15, 0.35
	// The log is let go after the snapshot: at logSoft times the room it has, which is
	// when others' turns are not waited for either, the share begins to grow.
	logSoft, logHard = 2, heldLog
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
	requests := p.requests()
	free := p.free.look(now, p.idle)
	share := min(max(busyShare, free/8), mostBusyShare)
	switch {
	case p.loading.Load() > 0:
		share = min(max(loadShare, (free-loadSpares)/3), mostLoadShare)
	case requests-p.seen <= 1:
		share = idleShare
	}
	p.looked, p.seen = now, requests
	if held, live, open := p.memory(); open {
		part := float64(held) / float64(max(live, 64<<20)) // small stores need not hurry
		share = max(share, hurry(part, heldSoft, heldHard))
		bytes, room := p.log()
		share = max(share, hurry(float64(bytes)/float64(max(room, 1)), logSoft, logHard))
	}
	p.share = share
	return share
}

// hurry is the share that something asks for which should not exceed soft and must not
// exceed hard.
func hurry(part, soft, hard float64) float64 {
	return min(busyShare+(1-busyShare)*(part-soft)/(hard-soft), 1)
}

// processorsFree is how many of the machine's processors had nothing to do of late.
type processorsFree struct {
	at   time.Time
	idle time.Duration
	free float64
}

// freeInterval is much longer than the 10 ms that the kernel counts by.
const freeInterval = time.Second

// look returns the latest figure, 0 until there is one.
func (f *processorsFree) look(now time.Time, idle func() time.Duration) float64 {
	if idle == nil || now.Sub(f.at) < freeInterval {
		return f.free
	}
	total := idle()
	if took := now.Sub(f.at); took < 10*freeInterval { // else: of another time
		f.free = float64(total-f.idle) / float64(took)
	}
	f.at, f.idle = now, total
	return f.free
}
