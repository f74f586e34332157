package raftcore

import "fmt"

// maxNumber bounds terms, indexes and rounds in messages, so that arithmetic on
// them cannot overflow. No cluster gets there.
const maxNumber = 1 << 62

// Step takes a message from another node. Any message in any state is fine: what
// is malformed, stale, misaddressed or from somebody without a say has no effect.
// The core takes ownership of m's slices. The transport has verified the bytes
// (Entry.Verify); that is not repeated here.
func (c *Core) Step(m Message) {
	if !c.wellFormed(&m) {
		return
	}
	switch {
	case m.Term > c.term && !c.stepHigherTerm(&m):
		return
	case m.Term < c.term:
		c.stepLowerTerm(&m)
		return
	}
	switch m.Type {
	case MsgPreVote, MsgVote:
		c.handleVoteRequest(&m)
	case MsgPreVoteResp, MsgVoteResp:
		c.handleVoteResp(&m)
	case MsgReadIndex:
		c.handleReadIndex(&m)
	default:
		if c.role == Leader {
			c.stepLeader(&m)
		} else {
			c.stepFollower(&m)
		}
	}
}

// wellFormed refuses what no correct node sends, before anything looks at it.
func (c *Core) wellFormed(m *Message) bool {
	if m.From == 0 || m.From == c.id || m.To != c.id {
		return false
	}
	for _, number := range [...]uint64{m.Term, m.LogTerm, m.Index, m.Commit, m.Round, m.Hint, m.HintTerm} {
		if number > maxNumber {
			return false
		}
	}
	if m.Type == MsgSnapshot {
		return m.Snapshot != nil && m.Snapshot.Index <= maxNumber && m.Snapshot.Term <= m.Term &&
			m.Snapshot.Membership.check() == nil
	}
	if m.Type != MsgAppend {
		return len(m.Entries) == 0
	}
	return wellFormedEntries(m)
}

func wellFormedEntries(m *Message) bool {
	term := max(m.LogTerm, 1)
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Index != m.Index+1+uint64(i) || e.Term < term || e.Term > m.Term {
			return false
		}
		term = e.Term
		if e.Type == EntryConfig {
			if config, err := DecodeMembership(e.Body); err != nil || len(config.Members) == 0 {
				return false
			}
		}
	}
	return true
}

// stepHigherTerm decides whether a message from a later term moves this node
// there. It reports whether the message shall be handled further.
func (c *Core) stepHigherTerm(m *Message) bool {
	switch m.Type {
	case MsgPreVote:
		return true // asks about a term nobody is in yet
	case MsgPreVoteResp:
		if !m.Reject {
			return true // repeats the term it was asked about
		}
	case MsgVote:
		// A server that was removed, or was cut off, must not depose a leader
		// that others hear (thesis 4.2.3). The leader's own wish is different.
		if !m.Transfer && (c.hearsAnotherLeader(m.From) || c.promised(m.From)) {
			return false
		}
	case MsgAppend, MsgHeartbeat, MsgSnapshot, MsgTimeoutNow:
		c.becomeFollower(m.Term, m.From, fmt.Sprintf("higher term from leader %d", m.From))
		return true
	}
	// Requests for votes come from anyone, also from voters this node has not
	// learned about (R24); other messages have to come from members (R25).
	if m.Type != MsgVote && !c.isMember(m) {
		return false
	}
	c.becomeFollower(m.Term, 0, fmt.Sprintf("higher term from %d", m.From))
	return true
}

// stepLowerTerm answers a sender that lives in the past, so that it can move on;
// without the answer a node in a higher term and a working leader would ignore
// each other for ever (R28). Nothing else about the message is believed.
func (c *Core) stepLowerTerm(m *Message) {
	switch m.Type {
	case MsgPreVote:
		c.send(Message{Type: MsgPreVoteResp, To: m.From, Reject: true})
	case MsgVote:
		c.send(Message{Type: MsgVoteResp, To: m.From, Reject: true})
	case MsgAppend:
		c.send(Message{Type: MsgAppendResp, To: m.From, Reject: true, Index: m.Index})
	case MsgHeartbeat:
		c.send(Message{Type: MsgHeartbeatResp, To: m.From, Reject: true})
	case MsgReadIndex:
		c.handleReadIndex(m)
	case MsgSnapshot:
		// Its leader is history, but its content is committed state all the same.
		c.handleSnapshot(m)
	}
}

// isMember reports whether the sender is who the configuration names.
func (c *Core) isMember(m *Message) bool {
	config := c.configs.newest()
	for _, half := range [...][]Member{config.Members, config.Outgoing} {
		for i := range half {
			if half[i].ID == m.From && half[i].Incarnation == m.Incarnation {
				return true
			}
		}
	}
	return false
}
