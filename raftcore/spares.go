package raftcore

import "github.com/rkvdb/rkv/raftcore/progress"

// A quorum answers for an entry (thesis 3.5), and which members that is, is the leader's
// choice. It asks those that were the quickest so far, at once. The others, spares, get
// the same a little later, several entries in one message: a write and a sync of their
// disk for all of these, and fewer messages (docs/adr/0037).
//
// What a quorum is, and when something is committed, does not change; only the moment does
// in which some messages leave. When a quorum is silent for Config.QuorumPatience everybody
// is asked: that long a member that hangs holds up what it was asked for. A spare that
// answers sooner then takes its place; and whenever all have been asked for the same entry,
// the first to have it on disk is asked for the next.

// spareEntries, or a message full of them, are worth a message to a spare.
const spareEntries = 4

// chooseSpares decides who is asked first from here on.
func (c *Core) chooseSpares() {
	choosing := c.maySpare()
	for _, p := range c.peers {
		p.asked = !choosing
	}
	for choosing && !c.askedAreQuorum() {
		best := c.quickestUnasked()
		if best == nil {
			break // all voters are asked
		}
		best.asked = true
	}
	for _, p := range c.peers {
		p.spare = !p.asked
	}
}

// maySpare: while the members change or leadership is handed over, nobody is spared;
// these are not about load.
func (c *Core) maySpare() bool {
	return c.cfg.SpareDelay > 0 && !c.transfer.active() && !c.changeInFlight()
}

// askedAreQuorum counts this node only while its disk keeps up: if others committed an
// entry that it does not have yet, the next should not wait for it either.
func (c *Core) askedAreQuorum() bool {
	return c.quorums.Committed(func(voter identity) uint64 {
		p := c.peer(voter.id)
		if voter == c.self() && c.log.durable >= c.log.commit || p != nil && p.asked {
			return 1
		}
		return 0
	}) == 1
}

// quickestUnasked is the voter to be asked next, nil if there is none.
func (c *Core) quickestUnasked() (best *peer) {
	for _, p := range c.peers {
		if !p.asked && c.quorums.Contains(p.member.identity()) && (best == nil || c.quicker(p, best)) {
			best = p
		}
	}
	return best
}

// quicker compares who takes entries now, then what they have on disk and echoed. Who is
// no spare stays where it is.
func (c *Core) quicker(a, b *peer) bool {
	takesA, takesB := c.takesEntries(a), c.takesEntries(b)
	switch {
	case takesA != takesB:
		return takesA
	case a.Match != b.Match:
		return a.Match > b.Match
	case a.round != b.round:
		return a.round > b.round
	}
	return b.spare && !a.spare
}

func (c *Core) takesEntries(p *peer) bool {
	return p.State == progress.Replicate && p.Ready() && c.active(p)
}

// rests reports whether p has to wait for new entries, so that more of them go together:
// not if it waits for them itself (Awaits).
func (c *Core) rests(p *peer) bool {
	return p.spare && p.State == progress.Replicate && p.awaits <= p.commitSent &&
		c.clock < c.entriesDue(p) && c.lacksLittle(p)
}

func (c *Core) lacksLittle(p *peer) bool {
	next, end := p.Next, c.log.last+1
	return next < end && end < next+spareEntries &&
		next >= c.log.winFirst() && c.log.bytesOf(next, end) < c.cfg.MaxMessageBytes
}

// entriesDue is when p gets what it lacks however little that is.
func (c *Core) entriesDue(p *peer) int64 {
	due := p.toldAt + c.cfg.SpareDelay
	if c.log.commit < c.log.last {
		due = min(due, c.commitAt+c.cfg.QuorumPatience)
	}
	return due
}

// spareDue is when p, which lacks entries, is to get some.
func (c *Core) spareDue(p *peer) int64 {
	if c.paced(p) {
		return c.fedAt(p)
	}
	return c.entriesDue(p)
}

// beatDue reports whether p is to be asked for an echo: of a round that it has not been
// asked for. A clock's heartbeat goes to everybody.
func (c *Core) beatDue(p *peer) bool {
	return p.roundSent < c.round && (!p.spare || c.beatAll || c.clock >= c.echoDue(p))
}

// echoDue is when a round that reads wait for goes to p, too.
func (c *Core) echoDue(p *peer) int64 {
	due := p.beatAt + c.cfg.SpareDelay
	if len(c.reads) > 0 {
		due = min(due, c.readAt+c.cfg.QuorumPatience)
	}
	return due
}

// nextSpare is when the first spare is due that something waits for, 0 if there is none.
func (c *Core) nextSpare() (at int64) {
	for _, p := range c.peers {
		if p.spare && p.State == progress.Replicate && p.Next <= c.log.last && p.Ready() && p.fetching == 0 {
			at = earlier(at, c.spareDue(p))
		}
		if p.spare && len(c.reads) > 0 && p.roundSent < c.round {
			at = earlier(at, c.echoDue(p))
		}
	}
	return at
}

// earlier is the earlier of two moments, of which a may be 0: none.
func earlier(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// SpareDue is when the driver should call SetTime and take a Ready, whatever else
// happens: a spare is due then. 0: none is.
func (c *Core) SpareDue() int64 { return c.spareAt }
