package resp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The clients that hold most go first; those that asked for it stay, and so do small
// ones.
func TestClientEviction(t *testing.T) {
	s := startServer(t, nil)
	admin := s.dial()
	queue := func(kib int) *testClient {
		c := s.dial()
		require.Equal(t, "+OK", c.do("MULTI"))
		require.Equal(t, "+QUEUED", c.do("SET", "k", strings.Repeat("v", kib<<10)))
		return c
	}
	keeper := s.dial()
	require.Equal(t, "+OK", keeper.do("CLIENT", "NO-EVICT", "on"))
	require.Equal(t, "+OK", keeper.do("MULTI"))
	require.Equal(t, "+QUEUED", keeper.do("SET", "k", strings.Repeat("v", 2<<20)))
	large, small := queue(4<<10), queue(1<<10)

	require.Equal(t, "+OK", admin.do("CONFIG", "SET", "maxmemory-clients", "5mb"))
	eventually(t, func() bool { return s.stats.clientsEvicted.Load() == 1 }, "one was closed")
	large.expectClosed("")
	require.Contains(t, admin.do("INFO", "stats"), "evicted_clients:1")

	require.Contains(t, admin.do("CONFIG", "GET", "maxmemory-clients"), "5242880")
	require.Equal(t, "+OK", small.do("DISCARD"))
	require.Equal(t, "+OK", keeper.do("DISCARD"))
}

// Percent are of maxmemory: without one there is no bound.
func TestClientEvictionInPercent(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "maxmemory-clients", "10%"))
	require.Zero(t, s.clientMemoryLimit())
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "maxmemory", "100mb"))
	eventually(t, func() bool { return s.clientMemoryLimit() == 10<<20 }, "a tenth of maxmemory")
}
