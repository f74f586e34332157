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
