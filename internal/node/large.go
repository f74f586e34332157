package node

import (
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// largeUnit is the size, in bytes, from which a unit is an entry of its own that others
// would have to wait for: three nodes write 16 MiB in a tenth of a second and more, and
// what is behind them in the log is not durable before.
const largeUnit = maxBatchBytes

const (
	// largeAlone and largeBeside bound the large units on their way, in bytes, but for the
	// first: while nobody else is at work, and while somebody is.
	largeAlone  = 32 << 20
	largeBeside = 4 << 20
	// largeRests is how many times as long as the large ones took the others have the log;
	// largeBrief is not worth a rest, largeRest is the longest one.
	largeRests = 2
	largeBrief = 5 * time.Millisecond
	largeRest  = 500 * time.Millisecond
	// largeCompany: whoever wrote so short a time ago is at work.
	largeCompany = 100 * time.Millisecond
)

// largeUnits lets large units and small ones take turns (docs/adr/0039): after a batch of
// large ones the others have the log for twice as long. It belongs to the loop of the leader.
type largeUnits struct {
	foreign []peerUnit // of other nodes, not yet proposed
	own     int        // ours, as of the last look at them
	// bytes of those on their way, and of ours: on their way, and waiting for it.
	flying, flyingOwn, waiting int64
	began                      time.Time // when the first of those on their way was proposed
	last                       uint64    // the entry of the last one
	rest                       time.Time // the others have the log until then
	small                      time.Time // when a small unit was last proposed
	ownFirst                   bool      // whose turn is next
}

// peerUnit is a unit that another node sent.
type peerUnit struct {
	from raftcore.NodeID
	unit transport.Unit
}

// take keeps a large unit of another node, unless it is here already: its node asks again
// after a while.
func (g *largeUnits) take(from raftcore.NodeID, u transport.Unit) {
	same := func(p peerUnit) bool { return p.from == from && p.unit.Seq == u.Seq }
	if !slices.ContainsFunc(g.foreign, same) {
		g.foreign = append(g.foreign, peerUnit{from, u})
	}
}

// beside reports whether others are at work.
func (g *largeUnits) beside(now time.Time) bool {
	return now.Sub(g.small) < largeCompany || g.small.After(g.began)
}

// fits reports whether a unit of so many bytes may join those on their way.
func (g *largeUnits) fits(size int, now time.Time) bool {
	room := int64(largeAlone)
	if g.beside(now) {
		room = largeBeside
	}
	return g.flying == 0 || g.flying+int64(size) <= room
}

// fly notes that one was proposed.
func (g *largeUnits) fly(size int, index uint64, now time.Time) {
	if g.flying == 0 {
		g.began = now
	}
	g.flying += int64(size)
	g.last = index
}

// applied notes how far the state machine is. When all that were on their way are
// done, the others, if there are any, have the log for some time; less, if many large
// ones wait: each of those is somebody's, too.
func (g *largeUnits) applied(index uint64, now time.Time) {
	if g.flying == 0 || index < g.last {
		return
	}
	g.flying, g.flyingOwn = 0, 0
	if took := now.Sub(g.began); took >= largeBrief && g.small.After(g.began) {
		g.rest = now.Add(min(largeRests*took/time.Duration(max(1, g.own+len(g.foreign))), largeRest))
	}
}

// leadLarge makes entries of large units, each its own, as far as they may go now. The
// small ones that came with them have been proposed. It reports false if one was not taken.
func (l *loop) leadLarge(now time.Time) (taken bool) {
	g := &l.large
	if g.own == 0 && len(g.foreign) == 0 {
		return true
	}
	if now.Before(g.rest) {
		l.wakeBy(g.rest, now)
		return true
	}
	g.ownFirst = !g.ownFirst
	if g.ownFirst {
		return l.leadOwnLarge(now) && l.leadForeignLarge(now)
	}
	return l.leadForeignLarge(now) && l.leadOwnLarge(now)
}

func (l *loop) leadForeignLarge(now time.Time) (taken bool) {
	g := &l.large
	n := 0
	for taken = true; taken && n < len(g.foreign) && g.fits(len(g.foreign[n].unit.Bytes), now); n++ {
		f := g.foreign[n]
		if l.addForeign(f.from, f.unit) {
			taken = l.proposeLarge(len(f.unit.Bytes), now)
		}
	}
	g.foreign = slices.Delete(g.foreign, 0, n)
	return taken
}

func (l *loop) leadOwnLarge(now time.Time) (taken bool) {
	g := &l.large
	taken = true
	l.origin.due(l.core.Term(), now, l.cfg.ResendTimeout, func(h kv.UnitHeader, c *kv.Chunk) verdict {
		switch {
		case len(c.Ops) < largeUnit:
			return skipped
		case !g.fits(len(c.Ops), now):
			return stopped
		}
		l.addOwn(h, c)
		if taken = l.proposeLarge(len(c.Ops), now); !taken {
			return stopped
		}
		g.own--
		g.waiting -= int64(chunkBytes(c))
		g.flyingOwn += int64(chunkBytes(c))
		return sent
	})
	return taken
}

// proposeLarge makes an entry of the one unit that was added.
func (l *loop) proposeLarge(size int, now time.Time) (taken bool) {
	if taken = l.closeUnit(now); taken {
		l.large.fly(size, l.core.LastIndex(), now)
	}
	return taken
}
