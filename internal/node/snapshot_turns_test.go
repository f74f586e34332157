package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

// What a leader hears decides who is told to wait, and a member's own snapshot never
// stops itself.
func TestSnapshotsTakeTurns(t *testing.T) {
	l := &loop{}
	resp := func(from raftcore.NodeID, snapping bool) {
		l.observeSnapshots(&raftcore.Message{Type: raftcore.MsgAppendResp, From: from, Snapping: snapping})
	}
	resp(2, true)
	resp(3, false)
	require.True(t, l.othersSnap(1), "the leader waits for node 2")
	require.True(t, l.othersSnap(3), "so does node 3")
	require.False(t, l.othersSnap(2), "node 2 does not wait for itself")
	resp(2, false)
	require.False(t, l.othersSnap(1))
	resp(3, true)
	l.snapTurns.forgetSilent([]raftcore.PeerStatus{{ID: 2, Active: true}, {ID: 3}})
	require.False(t, l.othersSnap(1), "nobody waits for a node that is gone")
}

// A snapshot rests most of the time while clients write, and hurries as what it
// keeps of the old state grows.
func TestPaceOfASnapshot(t *testing.T) {
	const live = 1 << 30
	require.LessOrEqual(t, shareFor(0, live), busyShare)
	require.InDelta(t, busyShare, shareFor(live*3/20, live), 0.01)
	require.Equal(t, 1.0, shareFor(live*2/5, live))
	require.LessOrEqual(t, shareFor(1<<20, 1<<10), busyShare, "a small store need not hurry")
	applied, held := uint64(0), int64(0)
	p := pace{applied: func() uint64 { return applied }, memory: func() (int64, int64, bool) { return held, live, true }}
	require.Equal(t, idleShare, p.Share())
	applied = 100
	require.Equal(t, idleShare, p.Share(), "looked at a moment ago")
	p.looked = p.looked.Add(-paceInterval)
	require.Equal(t, busyShare, p.Share())
	end := p.load()
	p.looked = p.looked.Add(-paceInterval)
	require.Equal(t, loadShare, p.Share())
	end()
	held = live / 2
	applied, p.looked = 200, p.looked.Add(-paceInterval)
	require.Equal(t, 1.0, p.Share())
}
