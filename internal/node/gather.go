package node

import (
	"sync/atomic"
	"time"
)

// An entry costs every node a sync and a round of messages, whatever it holds. So units
// wait for each other, as long as something is going to happen soon that lets them go
// together (docs/adr/0022, 0032). A timer ends the wait for an entry on its way, the front
// end's another.
//
// gather decides when the units that wait become an entry:
//
//   - while an entry is on its way, its end is waited for; when that takes longer than
//     spacing (a slow disk, a long way to the others), more entries follow it;
//   - when an entry's clients have just been answered, their next commands are on the
//     way: the front end says when they came (Node.Release). Without that, clients fall
//     into two camps, one in each of two entries that take turns, and every entry is half
//     of what it could be.
type gather struct {
	proposed time.Time // when the last entry was
	answers  uint64    // origin.answers as last looked at
	fresh    bool      // units came that no entry has
	// forwarded is when units last went to the leader, and sent the newest of them.
	forwarded time.Time
	sent      uint64
	// holding: several clients were answered, and the front end has not released those
	// who wait for them. waiting: somebody does. The loop looks at holding after it set
	// waiting, the front end at waiting after it cleared holding, so that one of them
	// notices.
	holding, waiting atomic.Bool
}

// held reports whether units have to wait for the front end.
func (g *gather) held() bool {
	if !g.holding.Load() {
		return false
	}
	g.waiting.Store(g.fresh)
	return g.holding.Load()
}

// release ends the wait, and reports whether units waited.
func (g *gather) release() (waiting bool) {
	g.holding.Store(false)
	return g.waiting.Swap(false)
}

const (
	// entrySpacing is how long an entry may be on its way before the next one follows.
	// A commit takes a fraction of it where syncs take 100 us: there entries go one by
	// one, each with all that waits. It is what clients at a slow disk or network may
	// wait for nothing.
	entrySpacing = 3 * time.Millisecond
	// fullSpacing is entrySpacing where twoEntries wait: their ways overlap, and what an
	// entry costs is little beside what its commands do.
	fullSpacing = time.Millisecond
	// maxUnapplied bounds the entries on their way. A second and a third keep a slow
	// disk or network busy; many more would be small for nothing.
	maxUnapplied = 4
	// twoEntries is what has to wait for its answers, in chunkBytes, for two entries that
	// take turns to be worth their cost.
	twoEntries = 48 << 10
)

// gathering reports whether units should wait. Those that are a full entry should not.
func (l *loop) gathering(now time.Time) bool {
	if l.waitingBytes() >= maxBatchBytes {
		return false
	}
	switch onTheirWay := l.core.LastIndex() - l.gauges.applied(); {
	case onTheirWay == 0:
		return l.gather.held()
	case onTheirWay < maxUnapplied:
		wait := l.gather.proposed.Add(l.spacing()).Sub(now)
		if wait > 0 && l.gather.fresh {
			l.wakeBy(now.Add(wait), now) // nothing else may happen until that one is applied
		}
		return wait > 0
	}
	return true
}

func (l *loop) spacing() time.Duration {
	if l.waitingBytes() >= twoEntries {
		return fullSpacing
	}
	return entrySpacing
}

// waitingBytes is what waits for its answers here, and for an entry from other nodes; not
// large units, which have turns of their own.
func (l *loop) waitingBytes() int64 {
	return l.origin.bytes.Load() - l.origin.largeBytes.Load() + l.foreignBytes
}

// gatheringAway is gathering for a node that forwards its units: the leader's entry that
// has the ones before is waited for, or its clients, too, would fall into two camps.
func (l *loop) gatheringAway(now time.Time) bool {
	if l.origin.bytes.Load() >= twoEntries {
		return false
	}
	if l.origin.pending() <= l.gather.sent {
		return now.Sub(l.gather.forwarded) < forwardSpacing
	}
	return l.gather.held()
}

// forwardSpacing is entrySpacing for units that are forwarded: there is a way to the
// leader and back in it.
const forwardSpacing = 4 * time.Millisecond

// answered: replies went to the front end. The next command of a single client is not
// worth waiting for.
func (l *loop) answered() {
	n := l.origin.answers.Load()
	if n > l.gather.answers+1 {
		l.gather.holding.Store(true)
	}
	l.gather.answers = n
}
