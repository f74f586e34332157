package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// The level rises to what every member knows: voters, learners and, while the
// configuration is joint, those who leave.
func TestLevelKnownByAll(t *testing.T) {
	member := func(id raftcore.NodeID) raftcore.Member { return raftcore.Member{ID: id, Incarnation: uint64(id) * 11} }
	m := raftcore.Membership{Members: []raftcore.Member{member(1), member(2)}}
	rows := []kv.Presence{{Node: 11, Level: 3}, {Node: 22, Level: 2}, {Node: 33, Level: 1}}
	require.EqualValues(t, 2, knownByAll(m, rows, 3))
	require.EqualValues(t, 1, knownByAll(m, rows, 1), "this node may have been started anew, its session not")
	require.EqualValues(t, 0, knownByAll(m, rows[1:], 3), "a member that has not opened a session knows nothing")
	m.Outgoing = []raftcore.Member{member(3)}
	require.EqualValues(t, 1, knownByAll(m, rows, 3))
	rows[1].Node = 23
	require.EqualValues(t, 0, knownByAll(m, rows, 3), "sessions of other incarnations do not count")
}
