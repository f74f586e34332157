package resp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A lease spares reads the barrier, and what was read is answered only if the lease
// still held after that.
func TestReadsByLease(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "a", "1"))
	s.node.lease.Store(5)
	before := s.node.barriers.Load()
	require.Equal(t, `"1"`, c.do("GET", "a"))
	require.Equal(t, before, s.node.barriers.Load())
	require.EqualValues(t, 1, s.node.leaseChecks.Load())

	s.node.leaseOver.Store(true)
	require.Equal(t, `"1"`, c.do("GET", "a"), "run again behind a barrier")
	require.Equal(t, before+1, s.node.barriers.Load())
	require.EqualValues(t, 2, s.node.leaseChecks.Load(), "which needs no lease")

	s.node.failBarrier.Store(true)
	require.Equal(t, "-CLUSTERDOWN No leader", c.do("GET", "a"), "not the value that was read")
	require.Equal(t, "+OK", c.do("SET", "a", "2"))
	require.Equal(t, `"2"`, c.do("GET", "a"))
}

// WATCH and stale reads have nothing to do with leases.
func TestWatchWaitsForABarrier(t *testing.T) {
	s := startServer(t, nil)
	s.node.lease.Store(5)
	c := s.dial()
	before := s.node.barriers.Load()
	require.Equal(t, "+OK", c.do("WATCH", "a"))
	require.Equal(t, before+1, s.node.barriers.Load())
	require.Zero(t, s.node.leaseChecks.Load())
}
