package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestR18NoChangeBeforeTheTermsFirstCommit(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	c.sees = func(m Message) {
		if m.Type == MsgAppend {
			c.node(2).stalled, c.node(3).stalled = true, true
		}
	}
	a := c.elect(1)
	require.ErrorIs(t, a.AddLearner(Member{ID: 4, Incarnation: 1}), ErrNotReady)
	c.sees = nil
	c.node(2).stalled, c.node(3).stalled = false, false
	c.settle()
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
}

// grow adds id as a learner that catches up, and makes it a voter.
func (c *cluster) grow(id NodeID) {
	l := c.leader()
	require.NoError(c.t, l.AddLearner(Member{ID: id, Incarnation: 1}))
	c.ticks(3)
	require.NoError(c.t, l.Promote(id))
	c.ticks(3)
}

func TestAddPromoteRemove(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	for range 5 {
		c.mustPropose(a)
	}
	require.ErrorIs(t, a.Promote(4), ErrUnknownMember)
	require.ErrorIs(t, a.ProposeMembership(voters(1, 2, 3, 4)), ErrInvalidMembership, "must begin as a learner")
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	require.ErrorIs(t, a.Promote(4), ErrChangeInProgress)
	c.ticks(3)
	require.NotNil(t, a.peer(4), "a new member gets a progress record")
	require.Equal(t, a.applied, c.node(4).applied)
	require.Len(t, a.Membership().Voters(), 3)

	require.NoError(t, a.Promote(4))
	require.True(t, a.Membership().Joint())
	require.ErrorIs(t, a.Remove(3), ErrChangeInProgress)
	c.ticks(3)
	require.False(t, a.Membership().Joint())
	require.Len(t, c.node(4).Membership().Voters(), 4)
	require.NoError(t, a.Promote(4), "already done")

	require.NoError(t, a.Remove(2))
	c.ticks(3)
	require.Equal(t, voters(1, 3, 4), c.node(3).Membership().Members)
	require.Nil(t, a.peer(2))
}

func TestInvalidMembershipsAreRefused(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	for name, target := range map[string][]Member{
		"nobody":      {},
		"no voter":    {{ID: 1, Incarnation: 1, Learner: true}},
		"twice":       voters(1, 2, 2),
		"zero":        voters(0, 1),
		"incarnation": {{ID: 1, Incarnation: 1}, {ID: 2, Incarnation: 2}},
	} {
		require.ErrorIs(t, a.ProposeMembership(target), ErrInvalidMembership, name)
	}
	require.NoError(t, a.ProposeMembership(voters(3, 2, 1)), "no change")
	require.False(t, a.changeInFlight())
	require.ErrorIs(t, c.node(2).Remove(1), ErrNotLeader)
}

func TestAddressesSurviveChanges(t *testing.T) {
	members := voters(1, 2, 3)
	for i := range members {
		members[i].PeerAddr, members[i].ClientAddr = string(rune('a'+i))+":1", string(rune('a'+i))+":2"
	}
	c := newClusterOf(t, 4, Membership{Members: members}, nil)
	c.elect(1)
	c.grow(4)
	require.NoError(t, c.leader().Remove(2))
	c.ticks(3)
	for _, id := range []NodeID{1, 3, 4} {
		m := c.node(id).Membership()
		three, _ := m.Find(3)
		require.Equal(t, members[2], three)
	}
}

func TestR19ConfigurationIsInForceWhenAppended(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3, 4)
	a := c.elect(1)
	c.isolate(2, 3, 4)
	require.NoError(t, a.Remove(4))
	a.work()
	require.True(t, a.Membership().Joint())
	require.Len(t, a.quorums.Outgoing, 4)
	n := c.node(3)
	n.hear(1, Message{Type: MsgAppend, Term: a.Term(), Index: a.LastIndex() - 1, LogTerm: a.Term(), Entries: []Entry{
		configEntry(a.LastIndex(), a.Term(), a.Membership())}})
	require.True(t, n.Membership().Joint(), "before it is durable or committed")
}

func TestR20R21TruncationBringsBackTheOldConfiguration(t *testing.T) {
	c := newCluster(t, 5, 1, 2, 3)
	old := Membership{Members: voters(1, 2, 3)}
	joint := Membership{Members: voters(2, 3, 4), Outgoing: voters(1, 2, 3)}
	final := Membership{Members: voters(2, 3, 4)}
	n := c.node(3).load(HardState{Term: 2}, entryOf(1, 1), entryOf(2, 1), configEntry(3, 2, joint), configEntry(4, 2, final))
	require.Equal(t, final, n.Membership(), "newest in the log, though commit is unknown")
	n.hear(2, Message{Type: MsgAppend, Term: 3, Index: 2, LogTerm: 1, Entries: []Entry{entryOf(3, 3)}})
	require.Equal(t, old.Members, n.Membership().Members)
	require.False(t, n.Membership().Joint())
	require.Equal(t, old.quorums(), n.quorums)
}

func TestR22SnapshotHoldsTheConfigurationAsOfItsIndex(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	c.mustPropose(a)
	before := a.LastIndex()
	c.grow(4)
	joint := Membership{}
	for i := before; i <= a.LastIndex(); i++ {
		at := a.MembershipAt(i)
		if at.Joint() {
			joint = at
		}
		// A node that has only the snapshot of index i, and the log behind it.
		d := disk{first: i + 1, snapshot: SnapshotMeta{i, c.committed[i].Term, at}, hard: a.disk.hard}
		d.hard.Commit = i
		d.entries = append(d.entries, a.disk.entries[i:]...)
		c.node(4).crash(nil)
		c.node(4).disk = d
		c.node(4).start()
		require.Equal(t, a.Membership(), c.node(4).Membership(), "snapshot at %d", i)
	}
	require.Len(t, joint.Members, 4)
	require.Len(t, a.MembershipAt(before).Members, 3)
}

func TestR23NewLeaderFinishesAHalfDoneChange(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(3)
	require.NoError(t, a.Promote(4))
	joint := a.LastIndex()
	a.work()
	a.stalled = true
	for len(c.wire) > 0 { // the joint entry reaches everybody, its commit nobody
		c.deliver(0)
	}
	for _, id := range []NodeID{2, 3, 4} {
		c.node(id).work()
		c.node(id).syncAll()
		require.Equal(t, joint, c.node(id).LastIndex())
	}
	a.crash(nil)
	c.wire = nil
	b := c.elect(2)
	c.ticks(2)
	require.False(t, b.Membership().Joint())
	require.Len(t, b.Membership().Voters(), 4)
	require.Len(t, c.node(4).Membership().Voters(), 4)
}

func TestR24PromotedLearnerVotesBeforeItKnows(t *testing.T) {
	c := newCluster(t, 3, 1, 2)
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 3, Incarnation: 1}))
	c.ticks(3)
	require.NoError(t, a.Promote(3))
	c.isolate(3)
	c.settle()
	require.False(t, a.Membership().Joint(), "committed by 1 and 2: a majority of both")
	require.True(t, c.node(3).Membership().Members[2].Learner)
	a.crash(nil)
	c.heal()
	c.elect(2)
	c.ticks(2)
	require.False(t, c.node(3).Membership().Members[2].Learner)
}

func TestR25RemovedNodeDoesNotDisturb(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3, 4)
	a := c.elect(1)
	c.isolate(4)
	require.NoError(t, a.Remove(4))
	c.ticks(5)
	c.heal()
	term := a.Term()
	c.ticks(100)
	require.Equal(t, Leader, a.Role())
	require.Equal(t, term, a.Term())
}

func TestR25LeaderThatRemovesItselfHandsOver(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	require.NoError(t, a.Remove(1))
	c.settle()
	c.ticks(2)
	l := c.leader()
	require.NotNil(t, l, "no election timeout passed")
	require.NotEqual(t, NodeID(1), l.cfg.ID)
	require.Equal(t, Follower, a.Role())
	require.Equal(t, voters(2, 3), l.Membership().Members)
	c.mustPropose(l)
	term := l.Term()
	c.ticks(60)
	require.Equal(t, term, c.leader().Term())
}

func TestLeaderOutsideTheConfigurationDoesNotCountItself(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	require.NoError(t, a.Remove(1))
	c.settle()
	i := a.LastIndex()
	require.True(t, a.Membership().Joint())
	require.Less(t, a.Commit(), i, "1 and 2 are a majority of the old, 2 alone none of the new")
	c.heal()
	c.ticks(4)
	require.GreaterOrEqual(t, c.leader().Commit(), i)
}

func TestR26WipedNodeHasNoSay(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	c.mustPropose(a) // on A and B only
	b := c.node(2)
	b.crash(nil)
	b.disk = disk{first: 1}
	b.cfg.Incarnation = 2
	b.start()
	commit := a.Commit()
	c.heal()
	c.isolate(3)
	_, err := c.propose(a)
	require.NoError(t, err)
	c.ticks(5)
	require.Equal(t, commit, a.Commit(), "its acknowledgements count for nothing")
	a.crash(nil)
	c.heal()
	c.ticks(200)
	require.Nil(t, c.leader(), "B and C must not elect without the entry")

	// The operator's way back: in as a learner, promoted when caught up.
	a.start()
	c.until(200, "A and C elect", func() bool { return c.leader() != nil && c.leader().ownTermCommitted() })
	l := c.leader()
	require.NoError(t, l.AddLearner(Member{ID: 2, Incarnation: 2}))
	c.ticks(5)
	require.NoError(t, l.Promote(2))
	c.ticks(5)
	require.Equal(t, l.applied, b.applied)
	require.Len(t, b.Membership().Voters(), 3)
	require.True(t, b.promotable())
}

func TestEmptyNodeNeverVotesNorCampaigns(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	n := c.node(4)
	for range 100 {
		n.Tick()
		n.work()
	}
	require.Empty(t, c.wire)
	n.hear(1, Message{Type: MsgPreVote, Term: 1})
	n.hear(1, Message{Type: MsgVote, Term: 1})
	n.syncAll()
	for _, m := range c.wire {
		require.True(t, m.Reject)
	}
}

func TestLearnerNeverCampaignsNorCounts(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(3)
	commit := a.Commit()
	c.isolate(2, 3)
	_, _ = c.propose(a)
	c.ticks(5)
	require.Equal(t, commit, a.Commit())
	c.ticks(100)
	require.Equal(t, Follower, c.node(4).Role())
	require.Nil(t, c.leader())
}

func TestAutoPromotion(t *testing.T) {
	c := newClusterOf(t, 4, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) { cfg.AutoPromote = true })
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(5)
	require.Len(t, a.Membership().Voters(), 3, "not before it has kept up for a while")
	c.ticks(10)
	require.Len(t, a.Membership().Voters(), 4)
	require.False(t, a.Membership().Joint())
}

// A learner that dies as it has kept up for long enough gets no vote: the cluster
// would count on it in the very moment it is gone.
func TestAutoPromotionWantsTheLearnerToBeThere(t *testing.T) {
	c := newClusterOf(t, 4, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) { cfg.AutoPromote = true })
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(7)
	c.isolate(4)
	c.ticks(9)
	require.Len(t, a.Membership().Voters(), 3)
	c.heal()
	c.ticks(20)
	require.Len(t, c.leader().Membership().Voters(), 4)
}

// A configuration that leaves a server out is not committed because that server
// has it: it has to be able to campaign until then (thesis 4.2.2, figure 4.6).
func TestServerOutsideItsNewestConfigurationStillCampaigns(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	joint := Membership{Members: voters(2), Outgoing: voters(1, 2, 3)}
	final := Membership{Members: voters(2)}
	c.node(1).load(HardState{Term: 1}, entryOf(1, 1), configEntry(2, 1, joint), configEntry(3, 1, final))
	c.node(2).load(HardState{Term: 1}, entryOf(1, 1), configEntry(2, 1, joint))
	c.node(3).load(HardState{Term: 1}, entryOf(1, 1), configEntry(2, 1, joint), configEntry(3, 1, final))
	c.until(300, "the change comes to its end", func() bool {
		l := c.leader()
		return l != nil && l.cfg.ID == 2 && !l.Membership().Joint() && l.ownTermCommitted()
	})
}

func TestR40MembershipIsTheSameAfterEveryRestart(t *testing.T) {
	c := newCluster(t, 5, 1, 2, 3)
	c.elect(1)
	c.grow(4)
	c.grow(5)
	require.NoError(t, c.leader().Remove(3))
	c.ticks(3)
	for _, n := range c.nodes {
		if n.cfg.ID != 3 {
			before := n.Membership()
			n.takeSnapshot(0)
			n.crash(nil)
			n.start()
			require.Equal(t, before, n.Membership())
		}
	}
}

// The acknowledgements of a wiped node are of real copies, but it does not keep
// the promises that come with them: to vote for no shorter log, to follow no older
// leader. Neither as the old voter nor through its new learner may they count.
func TestR26WipedNodeCountsInNoQuorum(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.mustPropose(a)
	b := c.node(2)
	b.crash(nil)
	b.disk = disk{first: 1}
	b.cfg.Incarnation = 2
	a.crash(nil)
	a.start()
	a = c.elect(1) // with C: it knows nothing of B's log
	b.start()
	c.ticks(5)
	c.isolate(3)
	commit := a.Commit()
	i, err := c.propose(a)
	require.NoError(t, err)
	c.ticks(3)
	require.Equal(t, commit, a.Commit())
	c.heal()
	c.ticks(3)
	require.GreaterOrEqual(t, a.Commit(), i)

	c.isolate(3)
	require.NoError(t, a.ProposeMembership([]Member{{ID: 1, Incarnation: 1}, {ID: 2, Incarnation: 2, Learner: true}}))
	c.ticks(4)
	require.True(t, a.Membership().Joint())
	require.Equal(t, a.LastIndex(), b.log.durable)
	require.Equal(t, a.LastIndex(), a.peer(2).Match)
	require.Less(t, a.Commit(), a.LastIndex(), "the learner is not the voter of that number")
	c.heal()
	c.ticks(3)
	require.False(t, a.Membership().Joint())
}
