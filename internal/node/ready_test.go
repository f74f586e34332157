package node

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// A node asks whether it is fresh, which hurries its leader, when it nearly is: or when
// clients wait already, who would be hurried for by nothing else, as their units do not leave
// before the node's session is open.
func TestANodeAsksWhetherItIsFreshWhenItNearlyIs(t *testing.T) {
	n := &Node{cfg: Config{Now: time.Now, ParkTimeout: time.Hour}, identity: &Identity{Node: 2}, origin: newOrigin(maxBatchBytes)}
	n.applier = newApplier(kv.New(kv.Options{}), n.origin)
	asks := func(s raftcore.Status) bool {
		n.status.Store(&Status{Status: s})
		ctx, cancel := context.WithTimeout(context.Background(), 5*nearInterval)
		defer cancel()
		n.ctx = ctx
		return n.awaitNearness() == nil
	}
	n.applier.index.Store(50)
	behind := raftcore.Status{Leader: 1, Matches: []uint64{50 + nearEntries + 1, 7}}
	require.False(t, asks(behind))
	require.False(t, asks(raftcore.Status{Leader: 1}), "not told how far the leader is")
	require.False(t, asks(raftcore.Status{Matches: []uint64{50}}), "nobody leads")
	require.True(t, asks(raftcore.Status{Leader: 1, Matches: []uint64{50 + nearEntries, 7}}))
	require.True(t, asks(raftcore.Status{Leader: 2}), "it leads")

	n.origin.add(&kv.Chunk{}, time.Time{})
	require.True(t, asks(behind), "a client wrote")
}
