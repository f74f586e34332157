package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTransferTakesNoElectionTimeout(t *testing.T) { // thesis 3.10
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.mustPropose(a)
	require.NoError(t, a.TransferLeadership(3))
	_, err := c.propose(a)
	require.ErrorIs(t, err, ErrTransferring)
	require.ErrorIs(t, a.TransferLeadership(2), ErrTransferring)
	require.NoError(t, a.TransferLeadership(3))
	c.settle()
	require.Equal(t, Leader, c.node(3).Role())
	require.EqualValues(t, 3, a.Leader())
}

func TestTransferWaitsUntilTheTargetIsCaughtUp(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.node(3).stalled = true
	c.mustPropose(a)
	require.NoError(t, a.TransferLeadership(3))
	c.settle()
	require.Equal(t, Leader, a.Role())
	require.Equal(t, Follower, c.node(3).Role(), "not told to campaign yet")
	c.node(3).stalled = false
	c.settle()
	require.Equal(t, Leader, c.node(3).Role())
}

func TestR29TransferAbortsInOneTimeout(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	require.NoError(t, a.TransferLeadership(3))
	c.ticks(9)
	_, err := c.propose(a)
	require.ErrorIs(t, err, ErrTransferring)
	c.ticks(1)
	require.Equal(t, Leader, a.Role())
	_, err = c.propose(a)
	require.NoError(t, err)

	// The target leaves while the hand-over waits for it.
	require.NoError(t, a.Remove(3))
	require.NoError(t, a.TransferLeadership(2))
	require.Error(t, a.TransferLeadership(3))
	a.transfer = transfer{to: 3, deadline: a.now + 10}
	a.recheckTransfer()
	require.False(t, a.transfer.active())
}

func TestTransferRefusals(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	require.ErrorIs(t, c.node(1).TransferLeadership(2), ErrNotLeader)
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(2)
	require.ErrorIs(t, a.TransferLeadership(4), ErrUnknownMember, "a learner")
	require.ErrorIs(t, a.TransferLeadership(9), ErrUnknownMember)
	require.NoError(t, a.TransferLeadership(1), "is there already")
	lone := newCluster(t, 1, 1)
	require.ErrorIs(t, lone.elect(1).TransferLeadership(0), ErrNotCaughtUp)
}

func TestLostTimeoutNowIsRepeated(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	require.NoError(t, a.TransferLeadership(2))
	a.work()
	require.Len(t, c.take(MsgTimeoutNow), 1)
	c.ticks(3)
	require.Equal(t, Leader, c.node(2).Role())
}

func TestBestSuccessorByPriorityThenMatch(t *testing.T) {
	members := voters(1, 2, 3)
	members[2].Priority = -1
	c := newClusterOf(t, 3, Membership{Members: members}, nil)
	a := c.elect(1)
	c.mustPropose(a)
	require.NoError(t, a.TransferLeadership(0))
	c.settle()
	require.Equal(t, Leader, c.node(2).Role())
}

func TestPreferredVoterGetsTheOfficeButNotTooOften(t *testing.T) {
	members := voters(1, 2, 3)
	members[2].Priority = 5
	c := newClusterOf(t, 3, Membership{Members: members}, nil)
	a := c.elect(1)
	c.ticks(5)
	require.Equal(t, Leader, a.Role(), "not at once")
	c.ticks(20)
	require.Equal(t, Leader, c.node(3).Role())

	// A preferred voter that will not take it costs one pause in a long while.
	c.elect(1)
	c.node(3).SetCampaignAllowed(false, "draining")
	refused := 0
	for range 100 {
		c.ticks(1)
		if a.transfer.active() {
			refused++
		}
	}
	require.Equal(t, Leader, a.Role())
	require.LessOrEqual(t, refused, 10)
	require.Positive(t, refused)
}

func TestNodeThatMustNotLeadHandsOver(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	a.SetCampaignAllowed(false, "disk stalled")
	c.settle()
	c.ticks(1)
	require.NotNil(t, c.leader())
	require.NotEqual(t, a, c.leader())
	c.leader().crash(nil)
	c.ticks(100)
	require.NotEqual(t, Leader, a.Role(), "and stays quiet")
	a.SetCampaignAllowed(true, "")
	c.until(100, "until allowed", func() bool { return c.leader() != nil })
}

func TestNodeThatMustNotLeadStepsDownThoughNobodyTakesOver(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.node(2).SetCampaignAllowed(false, "")
	c.node(3).SetCampaignAllowed(false, "")
	a.SetCampaignAllowed(false, "disk stalled")
	c.ticks(10)
	require.Equal(t, Follower, a.Role())
	require.Equal(t, "disk stalled", a.changes[len(a.changes)-1].Cause)
	lone := newCluster(t, 1, 1)
	n := lone.elect(1)
	n.SetCampaignAllowed(false, "disk stalled")
	require.Equal(t, Follower, n.Role())
}

func TestStaleTimeoutNowIsIgnored(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	c.elect(1)
	b := c.node(2)
	term := b.Term()
	b.hear(3, Message{Type: MsgTimeoutNow, Term: term}) // not from the leader
	b.hear(1, Message{Type: MsgTimeoutNow, Term: term - 1})
	require.Equal(t, Follower, b.Role())
	require.Equal(t, term, b.Term())
}

// A member that declines is not made leader by order, and the leader that prefers it
// tries less and less often.
func TestPreferredMemberThatDeclines(t *testing.T) {
	members := voters(1, 2, 3)
	members[1].Priority = 5
	c := newClusterOf(t, 3, Membership{Members: members}, nil)
	a := c.elect(1)
	c.node(2).SetDeclines(true)
	orders := 0
	c.sees = func(m Message) {
		if m.Type == MsgTimeoutNow && m.To == 2 {
			orders++
		}
	}
	blocked := 0
	for range 4000 {
		c.ticks(1)
		if a.transfer.active() {
			blocked++
		}
	}
	require.Equal(t, Leader, a.Role())
	require.Positive(t, orders)
	require.Less(t, blocked, 4000/50, "writes waited for hand-overs that come to nothing")

	c.node(2).SetDeclines(false)
	c.until(8000, "2 leads when it can", func() bool { return c.node(2).Role() == Leader })
}

// A member that declines still leads if nobody else does.
func TestDecliningIsNoRefusalToLead(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	c.node(2).SetDeclines(true)
	require.Equal(t, Leader, c.elect(2).Role())
}

func TestPriorityIsAChangeOfOneEntry(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	require.ErrorIs(t, c.node(2).SetPriority(2, 1), ErrNotLeader)
	require.ErrorIs(t, a.SetPriority(7, 1), ErrUnknownMember)
	last := a.LastIndex()
	require.NoError(t, a.SetPriority(3, 7))
	require.Equal(t, last+1, a.LastIndex())
	require.False(t, a.Membership().Joint())
	c.settle()
	c.until(100, "3 leads", func() bool { return c.node(3).Role() == Leader })
}
