package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func meta(index, term uint64, ids ...NodeID) *SnapshotMeta {
	return &SnapshotMeta{Index: index, Term: term, Membership: Membership{Members: voters(ids...)}}
}

func TestMemberBehindTheLogGetsASnapshot(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	for range 20 {
		c.mustPropose(a)
	}
	a.takeSnapshot(2)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(6)
	n := c.node(4)
	require.Equal(t, 1, n.restores)
	require.Equal(t, a.applied, n.applied)
	require.Equal(t, a.Membership(), n.Membership(), "the installed configuration, then the log's")
}

func TestFailedSnapshotIsTriedAgainAtTheNextHeartbeat(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	for range 5 {
		c.mustPropose(a)
	}
	a.takeSnapshot(0)
	c.heal()
	a.holdWork = true
	c.ticks(4)
	require.Equal(t, "snapshot", a.Status().Peers[1].State)
	a.pending = nil
	a.SnapshotSent(3, a.snapshot.Index, false)
	require.False(t, a.peer(3).Ready())
	a.holdWork = false
	c.ticks(4)
	require.Equal(t, a.applied, c.node(3).applied)
}

func TestR30OldSnapshotIsIgnored(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	for range 20 {
		c.mustPropose(a)
	}
	n := c.node(3)
	applied := n.applied
	c.take(0)
	require.False(t, n.SnapshotWanted(*meta(10, 1, 1, 2, 3)))
	n.hear(1, Message{Type: MsgSnapshot, Term: a.Term(), Snapshot: meta(10, 1, 1, 2, 3)})
	require.Zero(t, n.restores)
	require.Equal(t, applied, n.applied)
	answers := c.take(MsgSnapshotResp)
	require.Len(t, answers, 1)
	require.Equal(t, n.log.durable, answers[0].Index, "the real index")
}

func TestR31SnapshotOverAConflictingLogDropsItWhole(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3).loadTerms(HardState{Term: 2}, 1, 1, 1, 2, 2, 2, 2, 2)
	n.hear(1, Message{Type: MsgSnapshot, Term: 3, Snapshot: meta(6, 3, 1, 2, 3)})
	require.Equal(t, 1, n.restores)
	require.EqualValues(t, 6, n.LastIndex())
	require.True(t, n.log.matches(6, 3))
	n.hear(1, Message{Type: MsgAppend, Term: 3, Index: 6, LogTerm: 3, Entries: []Entry{entryOf(7, 3)}})
	n.syncAll()
	require.EqualValues(t, 7, n.log.durable)
}

func TestR31SnapshotThatTheLogContainsKeepsTheLog(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3).loadTerms(HardState{Term: 2}, 1, 1, 1, 2, 2, 2, 2, 2)
	c.committed = append(c.committed, n.disk.entries[:6]...) // they are, elsewhere
	n.hear(1, Message{Type: MsgSnapshot, Term: 3, Snapshot: meta(6, 2, 1, 2, 3)})
	n.syncAll()
	require.Zero(t, n.restores)
	require.EqualValues(t, 8, n.LastIndex())
	require.EqualValues(t, 6, n.Commit())
	require.EqualValues(t, 6, c.take(MsgSnapshotResp)[0].Index)
}

func TestSnapshotDemotesASameTermCandidate(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3)
	n.campaign(Candidate, true, "test")
	n.work()
	n.syncAll()
	require.Equal(t, Candidate, n.Role())
	n.hear(1, Message{Type: MsgSnapshot, Term: n.Term(), Snapshot: meta(6, 1, 1, 2, 3)})
	require.Equal(t, Follower, n.Role())
	require.EqualValues(t, 6, n.applied)
}

func TestR32SnapshotIndexNeverGoesBack(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3)
	n.hear(1, Message{Type: MsgSnapshot, Term: 3, Snapshot: meta(60, 2, 1, 2, 3)})
	n.SnapshotTaken(*meta(50, 2, 1, 2, 3)) // began before, ends now
	n.Compacted(50)
	require.EqualValues(t, 60, n.Status().SnapshotIndex)
	require.EqualValues(t, 61, n.Status().FirstIndex)
}

func TestR33SnapshotsBackToBackWithAppendsBetween(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3)
	step := func(m Message) {
		m.From, m.To, m.Incarnation, m.Term = 1, 3, 1, 3
		n.Step(m)
		n.check()
	}
	step(Message{Type: MsgSnapshot, Snapshot: meta(100, 2, 1, 2, 3)})
	ready := n.Ready()
	require.EqualValues(t, 100, ready.Restore.Index)
	n.inflight = append(n.inflight, flight{save: *ready.Save})
	step(Message{Type: MsgAppend, Index: 100, LogTerm: 2, Entries: []Entry{entryOf(101, 3)}, Commit: 101})
	step(Message{Type: MsgSnapshot, Snapshot: meta(200, 3, 1, 2, 3)})
	step(Message{Type: MsgHeartbeat, Commit: 90})
	require.Zero(t, n.LastIndex(), "nothing is appended or applied meanwhile")
	for range 40 {
		n.Tick()
	}
	require.Equal(t, Follower, n.Role(), "nor does it campaign")
	require.Nil(t, n.Ready().Restore)
	n.install(*ready.Restore)
	require.EqualValues(t, 100, n.LastIndex())
	n.work()
	require.EqualValues(t, 200, n.applied)
	n.Restored(*meta(100, 2, 1, 2, 3)) // a late report
	require.EqualValues(t, 200, n.LastIndex())
}

func TestR34CrashBetweenSnapshotAndLog(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3).loadTerms(HardState{Term: 2}, 1, 1, 1, 2, 2, 2, 2, 2)
	for _, snapshot := range []*SnapshotMeta{meta(6, 3, 1, 2, 3), meta(20, 3, 1, 2, 3)} {
		d := n.disk
		require.False(t, LogContinues(*snapshot, d.first, d.last(), d.terms()))
		d.snapshot, d.hard.Term = *snapshot, 3
		other := c.node(2)
		other.disk = d
		other.start() // drops the log, as a driver does
		require.Equal(t, snapshot.Index, other.LastIndex())
		require.True(t, other.log.matches(snapshot.Index, 3))
	}
	require.True(t, LogContinues(*meta(6, 2, 1), 1, 8, n.disk.terms()))
	require.True(t, LogContinues(*meta(8, 2, 1), 9, 8, nil))
	require.False(t, LogContinues(*meta(8, 2, 1), 10, 12, []TermRun{{10, 2}}), "a gap")
}

func TestSavesHandedOutBeforeARestoreProveNothingAfterIt(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3)
	n.stalled = true
	n.hear(1, Message{Type: MsgAppend, Term: 3, Entries: []Entry{entryOf(1, 1), entryOf(2, 1)}})
	n.Step(Message{Type: MsgSnapshot, From: 1, To: 3, Incarnation: 1, Term: 3, Snapshot: meta(1, 2, 1, 2, 3)})
	n.Ready()
	n.Restored(*meta(1, 2, 1, 2, 3))
	n.Saved(1)
	require.EqualValues(t, 1, n.Status().DurableIndex)
	require.NoError(t, n.CheckInvariants())
}

func TestRefusedSnapshotIsTriedAgain(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	for range 5 {
		c.mustPropose(a)
	}
	a.takeSnapshot(0)
	a.holdWork = true
	c.heal()
	c.ticks(4)
	a.pending = nil // the stream is lost; the receiver says so
	a.hear(3, Message{Type: MsgSnapshotResp, Term: a.Term(), Reject: true})
	require.Equal(t, "probe", a.Status().Peers[1].State)
	a.holdWork = false
	c.ticks(4)
	require.Equal(t, a.applied, c.node(3).applied)
}

// A stream may end when its sender leads no longer. What it brought is committed
// all the same, but it says nothing about who leads now.
func TestSnapshotOfAFormerLeaderIsUsedButAnnouncesNobody(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3).loadTerms(HardState{Term: 7}, 1)
	n.hear(2, Message{Type: MsgHeartbeat, Term: 7})
	for i, term := range []uint64{7, 5} {
		n.hear(1, Message{Type: MsgSnapshot, Term: term, Snapshot: meta(uint64(6+i), 5, 1, 2, 3)})
		require.Equal(t, i+1, n.restores)
		require.EqualValues(t, 2, n.Leader())
		answers := c.take(MsgSnapshotResp)
		require.EqualValues(t, 2, answers[0].To, "the leader of today needs to know")
	}
}
