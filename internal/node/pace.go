package node

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace says which share of one processor's time work on a snapshot may take, and how fast
// a member that lags catches up. Both are done beside the commands of clients, who should
// not notice; but what a snapshot keeps of the old state and of the log grows as long as it
// lasts.
type pace struct {
	requests func() uint64                        // of clients, so far
	memory   func() (held, live int64, open bool) // what an open cut keeps, and all there is
	log      func() (bytes, room int64)           // since the last snapshot; what it may be
	idle     func() time.Duration                 // Config.Idle
	loading  atomic.Int32                         // snapshots being received or loaded

	mu     sync.Mutex
	looked time.Time
	seen   uint64
	asked  time.Time // when clients were last seen to have asked for anything
	free   processorsFree
	share  float64
	rate   int64
	replay replayPace
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
	// A member that catches up (raftcore.Core.SetCatchUpRate) writes and applies some
	// catchUpBytes a second of small commands if it has a processor for itself. It gets a
	// loading member's share of that, and all that it takes where a whole processor is free.
	catchUpBytes = 32 << 20
	// leastReplayShare is for a node that applies what it missed before it serves. It is to
	// be ready within a minute or so of that: its share doubles for each second in which the
	// rest has not become less by one of replayParts.
	leastReplayShare = 0.2
	replayParts      = 64
	// longestRest is how long a client that comes, or the lead, may find it at rest: what took
	// long was held up, or one command.
	longestRest = 50 * time.Millisecond
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
	p.look(time.Now())
	return p.share
}

// catchUpRate is what a member that lags may be sent, in bytes per second; 0: no bound.
func (p *pace) catchUpRate() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look(time.Now())
	return p.rate
}

// look renews both figures, unless they are new.
func (p *pace) look(now time.Time) {
	if now.Sub(p.looked) < paceInterval {
		return
	}
	requests := p.requests()
	asked, free := requests-p.seen > 1, p.free.look(now, p.idle)
	p.looked, p.seen = now, requests

	loading := min(max(loadShare, (free-loadSpares)/3), mostLoadShare)
	p.rate = int64(catchUpBytes * loading)
	if asked {
		p.asked = now
	}
	if free >= 1 || now.Sub(p.asked) > freeInterval {
		p.rate = 0
	}
	p.share = min(max(busyShare, free/8), mostBusyShare)
	switch {
	case p.loading.Load() > 0:
		p.share = loading
	case !asked:
		p.share = idleShare
	}
	if held, live, open := p.memory(); open {
		part := float64(held) / float64(max(live, 64<<20)) // small stores need not hurry
		p.share = max(p.share, hurry(part, heldSoft, heldHard))
		bytes, room := p.log()
		p.share = max(p.share, hurry(float64(bytes)/float64(max(room, 1)), logSoft, logHard))
	}
}

// replayPace is how a node that does not serve yet applies what it missed.
type replayPace struct {
	share, hurry float64
	at           time.Time
	lag          uint64    // then
	measured     time.Time // when what is free was measured,
	taken        float64   // and the share while it was
}

// replayShare is what it may take of a processor's time when so many entries are missing.
func (p *pace) replayShare(now time.Time, lag uint64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look(now)
	r := &p.replay
	if r.hurry == 0 {
		r.at, r.lag, r.hurry = now, lag, 1
	} else if now.Sub(r.at) >= time.Second {
		if lag > r.lag-r.lag/replayParts {
			r.hurry *= 2
		}
		r.at, r.lag = now, lag
	}
	if r.measured != p.free.at {
		r.measured, r.taken = p.free.at, r.share
	}
	spare := p.free.free + r.taken - loadSpares // what this work takes would be free
	r.share = min(max(leastReplayShare, spare/3)*r.hurry, 1)
	if spare >= 1 {
		r.share = 1
	}
	return r.share
}

// restFromReplay implements applier.rest: until a node is ready nobody waits for it, unless
// it leads, or nobody does, or a client did not wait for that.
func (n *Node) restFromReplay(worked time.Duration) bool {
	if n.ready.Load() {
		return false
	}
	s := n.status.Load()
	if s == nil || s.Leader == 0 || s.Leader == n.identity.Node || n.clientsWait() {
		return true
	}
	share := n.pace.replayShare(time.Now(), s.Commit-min(s.Commit, n.store.Applied()))
	if rest := restAfter(worked, share); rest > 0 {
		_ = sleep(n.ctx, rest) // the applier ends by itself
	}
	return true
}

// restAfter is how long to rest so that work takes its share of the time.
func restAfter(worked time.Duration, share float64) time.Duration {
	return min(time.Duration(float64(worked)*(1-share)/share), longestRest)
}

// rateInterval is how long clients that begin to ask for something may have to share the
// machine with who catches up at full speed.
const rateInterval = freeInterval / 4

// watchPace tells the core what members that lag may be sent, until the node stops.
func (n *Node) watchPace() {
	for last := int64(0); sleep(n.ctx, rateInterval) == nil; {
		rate := n.pace.catchUpRate()
		if rate == last {
			continue
		}
		if !n.call(func(l *loop) { l.core.SetCatchUpRate(rate) }) {
			return
		}
		last = rate
	}
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
