package node

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// The collection of garbage before a snapshot has all processors, and gives them back before
// the snapshot is written beside the traffic.
func TestCollectingBeforeASnapshotIsLongWork(t *testing.T) {
	var began, under atomic.Int32
	c := newTestCluster(t, 1, func(cfg *Config) {
		cfg.LongWork = func() func() {
			began.Add(1)
			under.Add(1)
			return func() { under.Add(-1) }
		}
	})
	lead := c.leader()
	_, err := do(t, lead, "SET", "a", "1")
	require.NoError(t, err)
	before := began.Load()
	_, err = lead.Snapshot(context.Background())
	require.NoError(t, err)
	require.Equal(t, before+1, began.Load())
	require.Zero(t, under.Load())
}
