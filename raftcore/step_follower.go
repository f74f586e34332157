package raftcore

import "fmt"

// stepFollower handles a message of the current term on a node that does not lead.
func (c *Core) stepFollower(m *Message) {
	switch m.Type {
	case MsgAppend:
		c.followTheLeader(m.From)
		c.handleAppend(m)
	case MsgHeartbeat:
		c.followTheLeader(m.From)
		c.handleHeartbeat(m)
	case MsgSnapshot:
		// A stream may end long after its sender led: it announces no leader.
		if m.From == c.leader {
			c.followTheLeader(m.From)
		}
		c.handleSnapshot(m)
	case MsgTimeoutNow:
		c.handleTimeoutNow(m)
	case MsgReadIndexResp:
		c.handleReadIndexResp(m)
	}
}

// handleAppend makes the log agree with the leader's (thesis 3.5). What the
// message proves is exactly its own extent: up to Index+len(Entries) the logs are
// equal, whatever else this log holds (R7, R8).
func (c *Core) handleAppend(m *Message) {
	c.roundSeen = max(c.roundSeen, m.Round)
	if c.restore != nil {
		return // the log is about to be replaced; the leader asks again
	}
	l := &c.log
	if m.Index > l.commit && !l.matches(m.Index, m.LogTerm) {
		c.rejectAppend(m)
		return
	}
	if !c.merge(m) {
		return
	}
	c.liftSuspicion()
	last := m.Index + uint64(len(m.Entries))
	c.verified = max(c.verified, last)
	l.commit = max(l.commit, min(m.Commit, c.verified))
	c.answerAppend(m, last)
}

// merge appends the entries that are missing and replaces those that conflict.
// Entries that are there already stay, and so does everything behind them: the
// message may be old (R9). It reports false if the leader contradicts what is
// committed, or itself, in which case one of the two is damaged and nothing is touched.
func (c *Core) merge(m *Message) bool {
	l := &c.log
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Index <= l.last {
			have, known := l.term(e.Index)
			if known && have == e.Term || !known && e.Index <= l.commit {
				continue
			}
			if e.Index <= max(l.commit, c.verified) {
				// Committed, or sent by this very leader before, who only ever appends.
				c.noteFault(fmt.Errorf("%w: leader %d sent entry %d of term %d, committed or verified here with term %d",
					ErrIntegrity, m.From, e.Index, e.Term, have))
				return false
			}
			l.truncate(e.Index)
			c.configs.truncate(e.Index)
		}
		for _, e := range m.Entries[i:] {
			l.append(e)
			c.configs.appended(&e)
		}
		break
	}
	c.membershipMayHaveChanged()
	return true
}

func (c *Core) noteFault(err error) {
	if c.fault == nil {
		c.fault = err
	}
}

// rejectAppend says where the logs may still agree: the newest entry here, at or
// before the one asked for, whose term is not above the leader's there.
func (c *Core) rejectAppend(m *Message) {
	hint, hintTerm := c.log.lastNotAbove(m.Index, m.LogTerm)
	c.roundEchoed = c.roundSeen
	c.send(Message{
		Type: MsgAppendResp, To: m.From, Reject: true, Index: m.Index,
		Hint: hint, HintTerm: hintTerm, Round: c.roundSeen,
	})
}

// answerAppend answers at once only if that tells the leader something now: all
// of the message is durable already. Otherwise acknowledge will, after the Save.
func (c *Core) answerAppend(m *Message, last uint64) {
	match := c.durableMatch()
	told := match == c.ackedMatch && c.roundSeen == c.roundEchoed && len(m.Entries) == 0
	if last <= match && !told {
		c.sendAck(match)
	}
}

// acknowledge reports progress of the disk to the leader: one answer for all
// appends that a Save covered.
func (c *Core) acknowledge() {
	if match := c.durableMatch(); c.leader != 0 && match > c.ackedMatch {
		c.sendAck(match)
	}
}

func (c *Core) sendAck(match uint64) {
	c.ackedMatch, c.roundEchoed = match, c.roundSeen
	c.send(Message{Type: MsgAppendResp, To: c.leader, Index: match, Round: c.roundSeen})
}

// durableMatch is what this node vouches for: equal to the leader's log, and on
// stable storage.
func (c *Core) durableMatch() uint64 { return min(c.verified, c.log.durable) }

// handleHeartbeat answers at once, without waiting for the disk: it is about who
// leads, not about the log.
func (c *Core) handleHeartbeat(m *Message) {
	c.roundSeen = max(c.roundSeen, m.Round)
	c.matches = m.Matches
	if c.restore == nil {
		c.log.commit = max(c.log.commit, min(m.Commit, c.verified))
	}
	match := c.durableMatch()
	c.ackedMatch, c.roundEchoed = max(c.ackedMatch, match), c.roundSeen
	c.send(Message{Type: MsgHeartbeatResp, To: m.From, Index: match, Round: c.roundSeen, Suspect: c.suspected()})
}
