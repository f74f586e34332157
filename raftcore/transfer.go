package raftcore

import (
	"cmp"
	"slices"

	"github.com/rkvdb/rkv/raftcore/progress"
)

// transfer is a hand-over of leadership in progress (thesis 3.10): no proposals
// are taken, the target catches up, then it is told to campaign at once. It ends
// with this leader deposed, or after an election timeout (R29).
type transfer struct {
	to       NodeID // zero while none
	deadline uint64
	sent     bool   // MsgTimeoutNow is out
	resend   uint64 // when it may go again
	stepDown bool   // this node must not lead any longer, whatever comes of it
	cause    string
}

func (t *transfer) active() bool { return t.to != 0 || t.stepDown }

// TransferLeadership hands over to a voter; 0 picks the best: caught up, then by
// priority, then by match. It returns once the hand-over has begun; watch Change
// for its end. Proposals are refused with ErrTransferring until then.
func (c *Core) TransferLeadership(to NodeID) error {
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case to == c.id:
		return nil
	case c.transfer.active() && to != 0 && to == c.transfer.to:
		return nil
	case c.transfer.active():
		return ErrTransferring
	case !c.ownTermCommitted():
		return ErrNotReady
	}
	if to == 0 {
		if to = c.bestSuccessor(); to == 0 {
			return ErrNotCaughtUp
		}
	}
	if !c.canSucceed(c.peer(to)) {
		return ErrUnknownMember
	}
	c.startTransfer(transfer{to: to})
	return nil
}

func (c *Core) startTransfer(t transfer) {
	t.deadline = c.now + uint64(c.cfg.ElectionTicks)
	c.transfer = t
	c.dirty = true
	c.continueTransfer()
}

// continueTransfer tells the target to campaign once its log is complete.
func (c *Core) continueTransfer() {
	t := &c.transfer
	if t.to == 0 || t.sent && c.now < t.resend {
		return
	}
	if p := c.peer(t.to); p != nil && p.Match == c.log.last {
		t.sent, t.resend = true, c.now+uint64(c.cfg.HeartbeatTicks)
		c.dropLease() // the target asks for votes that were promised to nobody (R16)
		c.send(Message{Type: MsgTimeoutNow, To: t.to})
	}
}

func (c *Core) tickTransfer() {
	t := &c.transfer
	switch {
	case !t.active():
	case c.now < t.deadline:
		c.continueTransfer()
	case t.stepDown:
		c.becomeFollower(c.term, 0, t.cause)
	default:
		*t = transfer{} // the target did not make it: proposals resume (R29)
	}
}

// abdicate ends this node's leadership: at once if nobody can take over, else
// when somebody has, or an election timeout later.
func (c *Core) abdicate(cause string) {
	if c.transfer.active() {
		if !c.transfer.stepDown {
			c.transfer.stepDown, c.transfer.cause = true, cause
		}
		return
	}
	to := c.bestSuccessor()
	if to == 0 {
		c.becomeFollower(c.term, 0, cause)
		return
	}
	c.startTransfer(transfer{to: to, stepDown: true, cause: cause})
}

// recheckTransfer drops a target that the new configuration gives no vote.
func (c *Core) recheckTransfer() {
	t := c.transfer
	if t.to == 0 || c.canSucceed(c.peer(t.to)) {
		return
	}
	c.transfer = transfer{}
	if t.stepDown {
		c.abdicate(t.cause)
	}
}

// canSucceed: a voter of the new configuration.
func (c *Core) canSucceed(p *peer) bool {
	return p != nil && slices.Contains(c.quorums.Incoming, p.member.identity())
}

// bestSuccessor is the voter to hand over to, 0 if none answers.
func (c *Core) bestSuccessor() NodeID {
	var candidates []*peer
	for _, p := range c.peers {
		if c.canSucceed(p) && c.active(p) && p.State == progress.Replicate {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return 0
	}
	return slices.MinFunc(candidates, func(a, b *peer) int {
		return cmp.Or(
			-compareBool(c.keepsUp(a), c.keepsUp(b)),
			-cmp.Compare(a.member.Priority, b.member.Priority),
			-cmp.Compare(a.Match, b.Match),
			cmp.Compare(a.member.ID, b.member.ID),
		)
	}).member.ID
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// preferPriority hands over to a healthy voter that the operator prefers. A
// leader that just came to office, or just tried, waits, longer after each attempt, so
// that a member that cannot take the office does not cost one pause after the other.
func (c *Core) preferPriority() {
	if c.now < c.priorityDue || c.transfer.active() || !c.ownTermCommitted() || c.changeInFlight() {
		return
	}
	config := c.configs.newest()
	own, _ := config.Find(c.id)
	to := c.bestSuccessor()
	p := c.peer(to)
	if p == nil || p.member.Priority <= own.Priority || !c.keepsUp(p) {
		return
	}
	c.priorityDue = c.now + c.priorityWait
	c.priorityWait = min(2*c.priorityWait, uint64(maxPriorityWait*c.cfg.ElectionTicks))
	c.startTransfer(transfer{to: to})
}

// maxPriorityWait is how many election timeouts at most lie between two attempts: some
// minutes.
const maxPriorityWait = 640

// handleTimeoutNow campaigns at once, without a pre-vote: the leader wants it.
func (c *Core) handleTimeoutNow(m *Message) {
	if m.From == c.leader && c.role == Follower && !c.declines && c.promotable() && !c.suspected() {
		c.campaign(Candidate, true, "leadership handed over")
	}
}
