package raftcore

import "slices"

// pendingRead waits for proof that this node still led after the read came.
type pendingRead struct {
	id    uint64
	from  NodeID // this node for its own reads
	index uint64 // commit index at registration
	round uint64 // echoes of this round or later prove it
	// asker is the member that asked in this very term, which is as good as its echo of
	// a round that begins now (docs/adr/0025).
	asker identity
}

// forwardedRead waits for the leader's answer.
type forwardedRead struct {
	id       uint64
	deadline uint64
}

// maxPendingReads bounds the rounds a node waits for, its own and others': a driver asks
// for many reads at once, so that it is reached only if nothing is confirmed for long.
const maxPendingReads = 4096

// ReadIndex asks for an index such that a state machine that has applied it shows
// every write acknowledged before this call (thesis 6.4). The answer comes in
// Ready.Reads under the same id. Ids must never be reused, not even by a later
// process of this node, or an answer to the past is taken for one to the present
// (R14). A follower asks its leader, and fails the read when the leader changes or
// is silent for an election timeout.
func (c *Core) ReadIndex(id uint64) {
	switch {
	case c.role == Leader:
		c.registerRead(pendingRead{id: id, from: c.id})
	case c.leader != 0 && len(c.forwarded) < maxPendingReads:
		c.forwarded = append(c.forwarded, forwardedRead{id, c.now + uint64(c.cfg.ElectionTicks)})
		c.send(Message{Type: MsgReadIndex, To: c.leader, ReadID: id})
	default:
		c.answerRead(pendingRead{id: id, from: c.id}, true)
	}
}

// registerRead notes the commit index and a round that begins after now. Before
// the term's first commit the leader does not know what is committed (R13): the
// read waits for that first.
func (c *Core) registerRead(r pendingRead) {
	if len(c.reads)+len(c.parkedReads) >= maxPendingReads {
		c.answerRead(r, true)
		return
	}
	if !c.ownTermCommitted() {
		c.parkedReads = append(c.parkedReads, r)
		return
	}
	c.Awaits(r.from, c.log.commit)
	if c.leaseHolds() || c.quorumWith(r.asker) {
		r.index = c.log.commit
		c.answerRead(r, false)
		return
	}
	if c.round == c.roundSent {
		c.nextRound() // frames of the present round may have been sent already
	}
	if len(c.reads) == 0 {
		c.readAt = c.clock
	}
	r.index, r.round = c.log.commit, c.round
	c.reads = append(c.reads, r)
	c.dirty = true
}

// quorumWith reports whether this node and another one are a quorum. Of three voters any
// two are, and a lone voter needs nobody.
func (c *Core) quorumWith(other identity) bool {
	return c.quorums.Committed(func(voter identity) uint64 {
		if voter == c.self() || voter == other {
			return 1
		}
		return 0
	}) == 1
}

func (c *Core) releaseParkedReads() {
	if !c.ownTermCommitted() {
		return
	}
	parked := c.parkedReads
	c.parkedReads = nil
	for _, r := range parked {
		c.registerRead(r)
	}
}

// echoed notes that p answered a frame of the given round in this term.
func (c *Core) echoed(p *peer, round uint64) {
	if c.role == Leader && round > p.round && round <= c.round {
		p.round = round
		c.renewLease()
		c.confirmReads()
	}
}

// confirmReads answers the reads whose round a quorum has echoed.
func (c *Core) confirmReads() {
	if len(c.reads) == 0 {
		return
	}
	confirmed := c.quorums.Committed(func(voter identity) uint64 {
		if voter == c.self() {
			return c.round
		}
		if p := c.peer(voter.id); p != nil && p.member.Incarnation == voter.incarnation {
			return p.round
		}
		return 0
	})
	n := 0
	for n < len(c.reads) && c.reads[n].round <= confirmed {
		c.answerRead(c.reads[n], false)
		n++
	}
	if n > 0 {
		c.readAt = c.clock
	}
	c.reads = slices.Delete(c.reads, 0, n)
}

func (c *Core) answerRead(r pendingRead, failed bool) {
	if r.from == c.id {
		c.out.Reads = append(c.out.Reads, ReadState{ID: r.id, Index: r.index, Failed: failed})
	} else {
		c.send(Message{Type: MsgReadIndexResp, To: r.from, ReadID: r.id, Index: r.index, Reject: failed})
	}
}

// failReads gives up every read this node knows of: whoever answers next does so
// under another leader or term.
func (c *Core) failReads() {
	for _, reads := range [...][]pendingRead{c.reads, c.parkedReads} {
		for _, r := range reads {
			c.answerRead(r, true)
		}
	}
	for _, r := range c.forwarded {
		c.answerRead(pendingRead{id: r.id, from: c.id}, true)
	}
	c.reads, c.parkedReads, c.forwarded = nil, nil, nil
}

func (c *Core) expireForwarded() {
	n := 0
	for n < len(c.forwarded) && c.forwarded[n].deadline <= c.now {
		c.answerRead(pendingRead{id: c.forwarded[n].id, from: c.id}, true)
		n++
	}
	c.forwarded = slices.Delete(c.forwarded, 0, n)
}

// handleReadIndex takes a member's question. It may come from an older term: the
// answer is as good, and tells the sender about the new one. One of this term tells that
// its sender, when the read came, had not voted for any later leader.
func (c *Core) handleReadIndex(m *Message) {
	r := pendingRead{id: m.ReadID, from: m.From}
	if m.Term == c.term {
		r.asker = identity{m.From, m.Incarnation}
	}
	if p := c.peer(m.From); c.role == Leader && p != nil && p.member.Incarnation == m.Incarnation {
		c.registerRead(r)
	} else {
		c.answerRead(r, true)
	}
}

func (c *Core) handleReadIndexResp(m *Message) {
	i := slices.IndexFunc(c.forwarded, func(r forwardedRead) bool { return r.id == m.ReadID })
	if i < 0 || m.From != c.leader {
		return
	}
	c.forwarded = slices.Delete(c.forwarded, i, i+1)
	c.answerRead(pendingRead{id: m.ReadID, from: c.id, index: m.Index}, m.Reject)
}
