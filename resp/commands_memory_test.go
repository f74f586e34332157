package resp

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// MEMORY PURGE collects garbage and gives free pages back, but not while a transaction
// waits for it.
func TestMemoryPurge(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	before := forced()
	require.Equal(t, "+OK", c.do("MEMORY", "PURGE"))
	require.Greater(t, forced(), before)
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "+QUEUED", c.do("MEMORY", "PURGE"))
	require.Equal(t, "[+OK]", c.do("EXEC"))
}
