package node

import (
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

const (
	// largeAlone and largeBeside bound the large units on their way, in units of the smallest
	// (Config.LargeUnit), but for the first: while nobody else is at work, and while somebody is.
	largeAlone  = 32
	largeBeside = 4
	// largeRests is how many times as long as the large ones took the others have the log;
	// largeBrief is not worth a rest, largeRest is the longest one.
	largeRests = 2
	largeBrief = 5 * time.Millisecond
	largeRest  = 500 * time.Millisecond
	// largeCompany: whoever wrote so short a time ago is at work.
	largeCompany = 100 * time.Millisecond
	// largeResend times as long as others a large unit waits before it is given to the
	// same leader again.
	largeResend = 4
)

// largeUnits lets large units and small ones take turns (docs/adr/0039): after a batch of
// large ones the others have the log for twice as long. Three nodes write 16 MiB in a tenth
// of a second and more, and what is behind them in the log is not durable before. It
// belongs to the loop of the leader, for a term.
type largeUnits struct {
	term uint64
	unit int // Config.LargeUnit
	// foreign are those of other nodes, not yet proposed: what their nodes may have waiting
	// (Config.MaxQueuedBytes), and what came within Config.RequestTimeout and is given up
	// there; aloft are those on their way.
	foreign []peerUnit
	aloft   []unitKey
	own     int       // ours that wait, as of the last look at them
	flying  int64     // bytes of those on their way
	began   time.Time // when the first of these was proposed
	last    uint64    // the entry of the last one
	rest    time.Time // the others have the log until then
	small   time.Time // when a small unit was last proposed, or held back
	ownLast bool      // ours went last: it is others' turn
}

// peerUnit is a unit that another node sent.
type peerUnit struct {
	from raftcore.NodeID
	unit transport.Unit
	came time.Time
}

// unitKey tells units of other nodes apart, but for those of a node before and after a restart.
type unitKey struct {
	from raftcore.NodeID
	seq  uint64
	size int
}

func (p *peerUnit) key() unitKey { return unitKey{p.from, p.unit.Seq, len(p.unit.Bytes)} }

// take keeps a large unit of another node, unless it is here already: its node asks again
// after a while.
func (g *largeUnits) take(p peerUnit) {
	same := func(q peerUnit) bool { return p.key() == q.key() }
	if !slices.ContainsFunc(g.foreign, same) && !slices.Contains(g.aloft, p.key()) {
		g.foreign = append(g.foreign, p)
	}
}

// beside reports whether others are at work.
func (g *largeUnits) beside(now time.Time) bool {
	return now.Sub(g.small) < largeCompany || g.small.After(g.began)
}

// fits reports whether a unit of so many bytes may join those on their way.
func (g *largeUnits) fits(size int, now time.Time) bool {
	room := largeAlone * int64(g.unit)
	if g.beside(now) {
		room = largeBeside * int64(g.unit)
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
	g.flying, g.aloft = 0, nil
	if took := now.Sub(g.began); took >= largeBrief && g.small.After(g.began) {
		g.rest = now.Add(min(largeRests*took/time.Duration(max(1, g.own+len(g.foreign))), largeRest))
	}
}

// leadLarge makes entries of large units, each its own, as far as they may go now. The
// small ones that came with them have been proposed. It reports false if one was not taken.
func (l *loop) leadLarge(now time.Time) (taken bool) {
	g := &l.large
	l.dropLate(now)
	if g.own == 0 && len(g.foreign) == 0 {
		return true
	}
	if now.Before(g.rest) {
		l.wakeBy(g.rest, now)
		return true
	}
	if g.ownLast {
		return l.leadForeignLarge(now) && l.leadOwnLarge(now)
	}
	return l.leadOwnLarge(now) && l.leadForeignLarge(now)
}

// dropLate sends units of other nodes back for which their clients have waited too long.
func (l *loop) dropLate(now time.Time) {
	g := &l.large
	g.foreign = slices.DeleteFunc(g.foreign, func(p peerUnit) bool {
		late := now.Sub(p.came) > l.cfg.RequestTimeout
		if late {
			l.fx.sendRefused(p.from, []uint64{p.unit.Seq})
		}
		return late
	})
}

func (l *loop) leadForeignLarge(now time.Time) (taken bool) {
	g := &l.large
	n := 0
	for taken = true; taken && n < len(g.foreign); n++ {
		f := g.foreign[n]
		if !g.fits(len(f.unit.Bytes), now) {
			break
		}
		if !l.addForeign(f.from, f.unit) {
			continue
		}
		if taken = l.proposeLarge(len(f.unit.Bytes), now); taken {
			g.aloft, g.ownLast = append(g.aloft, f.key()), false
		}
	}
	g.foreign = slices.Delete(g.foreign, 0, n)
	return taken
}

func (l *loop) leadOwnLarge(now time.Time) (taken bool) {
	g := &l.large
	if g.own == 0 || !g.fits(g.unit, now) {
		return true
	}
	taken = true
	l.origin.due(l.core.Term(), now, l.cfg.ResendTimeout, func(h kv.UnitHeader, c *kv.Chunk) verdict {
		switch {
		case !l.origin.isLarge(c):
			return skipped
		case !g.fits(len(c.Ops), now):
			return stopped
		}
		l.addOwn(h, c)
		if taken = l.proposeLarge(len(c.Ops), now); !taken {
			return stopped
		}
		g.own--
		g.ownLast = true
		return sent
	})
	return taken
}

// proposeLarge makes an entry of the one unit that was added.
func (l *loop) proposeLarge(size int, now time.Time) (taken bool) {
	l.unitCount++
	if taken = l.propose(now); taken {
		l.large.fly(size, l.core.LastIndex(), now)
	}
	return taken
}
