package raftcore

import (
	"fmt"

	"github.com/rkvdb/rkv/raftcore/quorum"
)

// electionTimeout starts a pre-vote (thesis 9.6): the term is not raised before a
// quorum agrees that an election could succeed, so a node that was cut off comes
// back without deposing anybody.
func (c *Core) electionTimeout() {
	c.resetElectionTimer()
	if c.leader != 0 && c.role == Follower {
		c.becomeFollower(c.term, 0, fmt.Sprintf("election timeout: leader %d not heard", c.leader))
	}
	switch {
	case c.promised(c.id):
		c.electionDeadline = c.now + 1 // clocks may differ from ticks by a little
	case c.promotable():
		c.campaign(PreCandidate, false, "election timeout")
	}
}

// promotable: a voter under this very incarnation that is neither installing a
// snapshot nor told to stay quiet.
func (c *Core) promotable() bool {
	return c.campaignAllowed && c.restore == nil && c.configs.mayLead(c.self(), c.log.commit)
}

func (c *Core) self() identity { return identity{c.id, c.cfg.Incarnation} }

// campaign asks for votes (PreCandidate: for the promise of them).
func (c *Core) campaign(role Role, transfer bool, cause string) {
	c.becomeFollower(c.term, 0, cause)
	c.role, c.cause = role, cause
	c.ballots = map[NodeID]ballot{}
	c.resetElectionTimer()
	request := Message{Type: MsgPreVote, Term: c.term + 1, Index: c.log.last, LogTerm: c.log.lastTerm()}
	if role == Candidate {
		c.becomeFollower(c.term+1, 0, cause)
		c.role, c.vote, c.cause = Candidate, c.id, cause
		c.ballots = map[NodeID]ballot{}
		request.Type, request.Term, request.Transfer = MsgVote, c.term, transfer
	}
	c.askEveryVoter(request)
	if role == PreCandidate {
		c.castBallot(c.id, c.ownBallot())
	}
	// A candidate's own vote counts once it is durable, see countOwnVote.
}

func (c *Core) askEveryVoter(request Message) {
	asked := make([]NodeID, 0, 8)
	config := c.configs.newest()
	for _, half := range [...][]Member{config.Members, config.Outgoing} {
	voters:
		for i := range half {
			if half[i].Learner || half[i].ID == c.id {
				continue
			}
			for _, id := range asked {
				if id == half[i].ID {
					continue voters
				}
			}
			asked = append(asked, half[i].ID)
			request.To = half[i].ID
			c.send(request)
		}
	}
}

// countOwnVote casts this node's ballot when its vote is on stable storage.
func (c *Core) countOwnVote() {
	if c.hardDurable.Term == c.term && c.hardDurable.Vote == c.id {
		c.castBallot(c.id, c.ownBallot())
	}
}

func (c *Core) ownBallot() ballot {
	return ballot{incarnation: c.cfg.Incarnation, granted: true, conditional: c.suspected()}
}

func (c *Core) castBallot(from NodeID, b ballot) {
	c.ballots[from] = b
	unanimous := len(c.quorums.Incoming) > 0
	result := c.quorums.Votes(func(voter identity) quorum.Ballot {
		b, ok := c.ballots[voter.id]
		ok = ok && b.incarnation == voter.incarnation
		unanimous = unanimous && ok && b.granted
		switch {
		case !ok || b.granted && b.conditional:
			return quorum.Missing
		case b.granted:
			return quorum.Granted
		}
		return quorum.Refused
	})
	if unanimous {
		result = quorum.Won
	}
	switch {
	case result == quorum.Won && c.role == PreCandidate:
		c.campaign(Candidate, false, "pre-vote won")
	case result == quorum.Won:
		c.becomeLeader()
	case result == quorum.Lost:
		c.becomeFollower(c.term, 0, "election lost")
	}
}

// handleVoteRequest answers MsgVote of this term, and MsgPreVote of any later one.
func (c *Core) handleVoteRequest(m *Message) {
	grant := c.maySupport() && c.log.upToDate(m.Index, m.LogTerm)
	conditional := c.suspected() && (Position{m.LogTerm, m.Index}).less(c.suspect)
	if m.Type == MsgPreVote {
		// A promise changes nothing here: neither the vote nor the timer, else
		// nodes that answer each other would never campaign themselves (R27).
		grant = grant && m.Term > c.term && !c.hearsAnotherLeader(m.From) && !c.promised(m.From)
		resp := Message{Type: MsgPreVoteResp, To: m.From, Reject: !grant}
		if grant {
			resp.Term, resp.Suspect = m.Term, conditional
		}
		c.send(resp)
		c.hasten(m)
		return
	}
	grant = grant && (m.Transfer || !c.promised(m.From)) && (c.vote == m.From || c.vote == 0 && c.leader == 0 && c.role == Follower)
	if grant {
		c.vote = m.From
		c.resetElectionTimer()
	}
	c.send(Message{Type: MsgVoteResp, To: m.From, Reject: !grant, Suspect: grant && conditional})
}

// hasten moves this node's own election forward when another member's timer is over and
// only the log keeps the two from agreeing: of them this one may lead, and a leader that
// spares members (spares.go) leaves such logs behind. Whoever asks in vain does not hasten
// anything, so that these two cannot drive each other on.
func (c *Core) hasten(m *Message) {
	if c.role <= PreCandidate && !c.inContact() && !c.log.upToDate(m.Index, m.LogTerm) && c.isMember(m) {
		soon := c.now + 1 + c.dice.below(max(1, uint64(c.cfg.ElectionTicks/10))) // others hear it, too
		c.electionDeadline = min(c.electionDeadline, soon)
	}
}

// maySupport: a node without a membership has an empty directory and may have
// voted before it was emptied; so may one whose number the configuration knows
// under another incarnation (R26). One that the configuration does not mention
// votes: it may just not have learned of its promotion (R24).
func (c *Core) maySupport() bool {
	config := c.configs.newest()
	if len(config.Members) == 0 {
		return false
	}
	if c.quorums.Contains(c.self()) {
		return true
	}
	member, known := config.Find(c.id)
	return !known || member.Incarnation == c.cfg.Incarnation
}

// hearsAnotherLeader is the contact rule (thesis 4.2.3): within the minimum
// election timeout of hearing a leader no vote goes to anybody else. The leader
// itself may ask: by that it says that it leads no longer (R27).
func (c *Core) hearsAnotherLeader(from NodeID) bool {
	return c.leader != 0 && c.leader != from && c.inContact()
}

// inContact: a leader that still hears a quorum, or a node that hears a leader.
func (c *Core) inContact() bool {
	if c.role == Leader {
		return c.quorumContact()+uint64(c.cfg.ElectionTicks) > c.now
	}
	return c.leader != 0 && c.leaderContact+uint64(c.cfg.ElectionTicks) > c.now
}

func (c *Core) handleVoteResp(m *Message) {
	switch {
	case m.Type == MsgVoteResp && c.role == Candidate:
	case m.Type == MsgPreVoteResp && c.role == PreCandidate && (m.Reject || m.Term == c.term+1):
	default:
		return
	}
	if c.quorums.Contains(identity{m.From, m.Incarnation}) {
		c.castBallot(m.From, ballot{m.Incarnation, !m.Reject, m.Suspect})
	}
}

// SetDeclines(true) makes this node ignore the order to take over leadership (it knows
// why it should not lead), unlike SetCampaignAllowed leaving it free to lead if nobody
// else does.
func (c *Core) SetDeclines(declines bool) { c.declines = declines }

// SetCampaignAllowed(false) keeps this node from leading: its disk hangs, or it is
// going to stop. A leader hands over and steps down within an election timeout.
// cause appears in Change.
func (c *Core) SetCampaignAllowed(allowed bool, cause string) {
	c.campaignAllowed = allowed
	switch {
	case allowed && c.transfer.stepDown && c.quorums.Contains(c.self()):
		c.transfer.stepDown = false
	case allowed:
	case c.role == Leader:
		c.abdicate(cause)
	case c.role != Follower:
		c.becomeFollower(c.term, 0, cause)
	}
}
