package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a strict reader of the thesis would try: each test is a doubt about the code.

// A leader never changes its own log (3.4, leader append-only). One that does, in its
// own term, is damaged: believing it would take back what was acknowledged, and could
// move commit beyond the log's end.
func TestLeaderThatContradictsItselfIsAFault(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(2)
	n.hear(1, Message{Type: MsgAppend, Term: 3, Entries: []Entry{entryOf(1, 1), entryOf(2, 1), entryOf(3, 1)}})
	n.syncAll()
	n.Step(Message{Type: MsgAppend, From: 1, To: 2, Incarnation: 1, Term: 3, Entries: []Entry{entryOf(1, 3)}, Commit: 3})
	require.ErrorIs(t, n.fault, ErrIntegrity)
	require.NoError(t, n.CheckInvariants())
	require.EqualValues(t, 3, n.LastIndex())
	require.Zero(t, n.Commit())
	n.fault = nil // the harness looks for it
	n.hear(1, Message{Type: MsgHeartbeat, Term: 3, Commit: 3})
	require.EqualValues(t, 3, n.Commit(), "what was verified may still commit")
}

// A number belongs to the node that lives under it: another directory that comes up
// with it by mistake must not push the living voter out, least of all the leader.
func TestLivingVoterIsNotReplaced(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.ticks(2)
	for id := NodeID(1); id <= 3; id++ {
		require.ErrorIs(t, a.AddLearner(Member{ID: id, Incarnation: 9}), ErrInvalidMembership, "%d lives", id)
	}
	c.node(3).crash(nil)
	c.ticks(12)
	require.NoError(t, a.AddLearner(Member{ID: 3, Incarnation: 9}), "it does not any more")
	c.settle()
	member, _ := a.Membership().Find(3)
	require.EqualValues(t, 9, member.Incarnation)
}

// Reads that wait for a leader who cannot commit take bounded memory: the surplus fails,
// and is asked again.
func TestPendingReadsAreBounded(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(1)
	answered := 0
	for id := uint64(1); id <= 3*maxPendingReads; id++ {
		a.ReadIndex(1<<40 + id)
		for _, r := range a.Ready().Reads {
			require.True(t, r.Failed)
			answered++
		}
	}
	require.Equal(t, 2*maxPendingReads, answered)
	b := c.node(2)
	for id := uint64(1); id <= 3*maxPendingReads; id++ {
		b.ReadIndex(2<<40 + id)
		b.Ready()
	}
	require.Len(t, b.forwarded, maxPendingReads)
}
