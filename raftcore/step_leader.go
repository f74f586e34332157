package raftcore

import (
	"fmt"

	"github.com/rkvdb/rkv/raftcore/progress"
)

// stepLeader handles a message of the leader's own term.
func (c *Core) stepLeader(m *Message) {
	switch m.Type {
	case MsgAppendResp, MsgHeartbeatResp, MsgSnapshotResp:
	default:
		// Leader's messages in its own term from somebody else would be a second
		// leader of the term: the sender is damaged, there is nothing to learn.
		return
	}
	p := c.peer(m.From)
	if p == nil || p.member.Incarnation != m.Incarnation {
		return
	}
	p.lastContact, p.heard = c.now, true
	switch m.Type {
	case MsgAppendResp:
		c.handleAppendResp(p, m)
	case MsgHeartbeatResp:
		c.handleHeartbeatResp(p, m)
	case MsgSnapshotResp:
		c.handleSnapshotResp(p, m)
	}
	c.echoed(p, m.Round)
}

// becomeLeader opens the term with a no-op: older entries commit with it, and
// nothing is read, changed or handed over before it has (thesis 6.4, R1, R13).
func (c *Core) becomeLeader() {
	c.failReads()
	c.role, c.leader, c.ballots = Leader, c.id, nil
	c.cause = fmt.Sprintf("elected in term %d", c.term)
	c.peers, c.transfer, c.uncommittedBytes, c.lease = nil, transfer{}, 0, lease{}
	c.syncPeers()
	c.termStart = c.log.last + 1
	c.roundSent = c.round
	c.heartbeatDue = c.now + uint64(c.cfg.HeartbeatTicks)
	c.priorityDue = c.now + uint64(2*c.cfg.ElectionTicks)
	c.priorityWait = uint64(10 * c.cfg.ElectionTicks)
	c.appendOwn(EntryNoop, nil)
}

// appendOwn appends an entry of the leader's term.
func (c *Core) appendOwn(typ EntryType, body []byte) uint64 {
	if c.log.commit == c.log.last {
		c.commitAt = c.clock
	}
	e := Entry{Term: c.term, Index: c.log.last + 1, Type: typ, Body: body}
	e.CRC = Checksum(e.Term, e.Index, e.Type, e.Body)
	c.log.append(e)
	c.uncommittedBytes += e.Size()
	c.catchUp.budget += catchUpGrowth * int64(e.Size())
	c.dirty = true
	c.liftSuspicion()
	return e.Index
}

func (c *Core) tickLeader() {
	if c.quorumContact()+uint64(c.cfg.ElectionTicks) <= c.now {
		// Somebody else may lead by now; whoever still believes in this leader
		// would wait for nothing (check-quorum, thesis 6.2).
		c.becomeFollower(c.term, 0, "no contact with a quorum")
		return
	}
	if c.now >= c.heartbeatDue {
		c.heartbeatDue = c.now + uint64(c.cfg.HeartbeatTicks)
		c.nextRound()
		c.dirty, c.beatAll = true, true
		c.renewLease() // a lone voter's needs no echo
	}
	c.tickTransfer()
	c.dirty = c.dirty || c.cfg.NoticeInterval > 0 // notices that were put off
	if c.role == Leader {
		c.promoteLearners()
		c.preferPriority()
	}
}

// quorumContact is the last tick at which a quorum had been heard of.
func (c *Core) quorumContact() uint64 {
	return c.quorums.Committed(func(voter identity) uint64 {
		if voter == c.self() {
			return c.now
		}
		if p := c.peer(voter.id); p != nil && p.member.Incarnation == voter.incarnation {
			return p.lastContact
		}
		return 0
	})
}

// active reports whether p has answered within the last election timeout.
func (c *Core) active(p *peer) bool { return p.lastContact+uint64(c.cfg.ElectionTicks) > c.now }

// peer returns the leader's record of member id, nil if there is none.
func (c *Core) peer(id NodeID) *peer {
	for _, p := range c.peers {
		if p.member.ID == id {
			return p
		}
	}
	return nil
}

func (c *Core) handleAppendResp(p *peer, m *Message) {
	if m.Reject {
		hint, _ := c.log.lastNotAbove(m.Hint, m.HintTerm)
		if p.Rejected(m.Index, hint) {
			c.dirty = true
		}
		return
	}
	c.accepted(p, m.Index)
}

// handleHeartbeatResp: the member is alive. If a message to it was lost, the
// answer shows it: a probe goes out again, a stream is checked by a message
// without entries behind everything sent, which is rejected if there is a gap.
func (c *Core) handleHeartbeatResp(p *peer, m *Message) {
	if m.Reject {
		return
	}
	if m.Suspect && p.Forget(m.Index) {
		c.dirty = true
	}
	c.accepted(p, m.Index)
	if p.State == progress.Probe {
		p.Resume()
	}
	// A match below what it acknowledged before comes from a member that restarted:
	// without an append it would not learn, in a quiet cluster, what is committed.
	p.probeDue = p.State == progress.Replicate && (p.Match+1 < p.Next || m.Index < p.Match)
	c.dirty = true
}

// accepted takes note that p's durable log matches up to match.
func (c *Core) accepted(p *peer, match uint64) {
	if match > c.log.last {
		return // of no entry of ours
	}
	// A member in the Snapshot state may have caught up by other means.
	if p.State == progress.Snapshot && match >= p.Pending {
		p.Probe(match + 1)
	}
	state := p.State
	if !p.Accepted(match) && p.State == state {
		return
	}
	c.dirty = true
	c.advanceCommit()
	if c.role == Leader {
		c.continueTransfer()
	}
}

func (c *Core) handleSnapshotResp(p *peer, m *Message) {
	if m.Reject {
		p.Probe(p.Match + 1)
		p.Pause()
		return
	}
	c.accepted(p, m.Index)
}

// advanceCommit moves the commit index to what a quorum has on stable storage,
// this node included only up to its own durable index (thesis 10.2.1, R5), and
// only by entries of its own term (thesis 3.6.2, R1): an older entry on a
// majority can still be overwritten.
func (c *Core) advanceCommit() {
	index := c.quorums.Committed(c.matchOf)
	if index <= c.log.commit || !c.log.matches(index, c.term) {
		return
	}
	c.uncommittedBytes -= c.log.bytesOf(max(c.log.commit+1, c.termStart), index+1)
	c.log.commit, c.commitAt = index, c.clock
	c.dirty = true
	c.renewLease()
	c.releaseParkedReads()
	c.membershipCommitted()
}

// matchOf is the durable match of one voter under its full identity.
func (c *Core) matchOf(voter identity) uint64 {
	if voter == c.self() {
		return c.log.durable
	}
	if p := c.peer(voter.id); p != nil && p.member.Incarnation == voter.incarnation {
		return p.Match
	}
	return 0
}

// ownTermCommitted reports whether the leader has committed in its term.
func (c *Core) ownTermCommitted() bool { return c.role == Leader && c.log.commit >= c.termStart }
