package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What FLUSHALL leaves behind is given back though no further command comes.
func TestMemoryComesBackWhenIdle(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	n := c.leader()
	value := strings.Repeat("v", 1<<20)
	for i := range 64 {
		_, err := do(t, n, "set", fmt.Sprint("key", i), value)
		require.NoError(t, err)
	}
	for i := range 2000 {
		_, err := do(t, n, "set", fmt.Sprint("small", i), value[:4096])
		require.NoError(t, err)
	}
	before := n.Store().Stats().UsedBytes
	require.Greater(t, before, int64(8<<20))
	_, err := do(t, n, "flushall")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return n.Store().Stats().UsedBytes < before/4 }, 5*time.Second, 10*time.Millisecond,
		"used %d before", before)
}
