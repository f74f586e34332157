package resp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStalenessIsChosenByConnection(t *testing.T) {
	c := startServer(t, nil).dial()
	require.Equal(t, ":0", c.do("CLIENT", "STALENESS"), "reads are linearizable")
	require.Equal(t, "+OK", c.do("READONLY"))
	require.Equal(t, ":-1", c.do("CLIENT", "STALENESS"))
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "250"))
	require.Equal(t, ":250", c.do("CLIENT", "STALENESS"))
	require.Equal(t, "+OK", c.do("READWRITE"))
	require.Equal(t, ":0", c.do("CLIENT", "STALENESS"))
	require.Equal(t, "+OK", c.do("READONLY"))
	require.Equal(t, ":250", c.do("CLIENT", "STALENESS"), "client libraries send READONLY by themselves: the bound stays")
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "any"))
	require.Equal(t, ":-1", c.do("CLIENT", "STALENESS"))
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "0"))
	require.Equal(t, ":0", c.do("CLIENT", "STALENESS"))
	for _, bad := range []string{"-1", "soon", "86400001", "1.5", ""} {
		require.Contains(t, c.do("CLIENT", "STALENESS", bad), "-ERR staleness is", bad)
	}
	require.Contains(t, c.do("CLIENT", "STALENESS", "1", "2"), "-ERR wrong number of arguments")
	c.do("CLIENT", "STALENESS", "250")
	require.Equal(t, "+RESET", c.do("RESET"))
	require.Equal(t, ":0", c.do("CLIENT", "STALENESS"))
}

func TestReadsWithinTheBoundWaitForNothing(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "86400000"))
	before := s.node.barriers.Load()
	require.Equal(t, "nil", c.do("GET", "k"))
	require.Equal(t, before+1, s.node.barriers.Load(), "nothing was known of this node's age")
	s.node.failBarrier.Store(true) // whoever asks now is refused
	for range 20 {
		require.Equal(t, "nil", c.do("GET", "k"))
	}
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "+QUEUED", c.do("GET", "k"))
	require.Equal(t, "[nil]", c.do("EXEC"))
	require.Equal(t, before+1, s.node.barriers.Load())
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "0"))
	require.Equal(t, "-CLUSTERDOWN No leader", c.do("GET", "k"))
}

// A barrier vouches for the moment it was asked at, not for that of its answer.
func TestAgeCountsFromTheQuestion(t *testing.T) {
	s := startServer(t, nil)
	s.node.lateBy.Store(int64(120 * time.Millisecond))
	c := s.dial()
	require.Equal(t, "+OK", c.do("CLIENT", "STALENESS", "100"))
	before := s.node.barriers.Load()
	require.Equal(t, "nil", c.do("GET", "k"))
	require.Equal(t, "nil", c.do("GET", "k"))
	require.GreaterOrEqual(t, s.node.barriers.Load(), before+2, "the first answer was older than the bound when it came")
}

// When half of the bound is used up the next barrier is asked for ahead; who reads
// meanwhile does not wait for it.
func TestFreshnessIsRenewedAheadOfNeed(t *testing.T) {
	var f freshness
	asked, answer := 0, func() {}
	refresh := func(done func()) { asked, answer = asked+1, done }
	require.Zero(t, f.now(), "nobody wants to know")
	require.False(t, f.within(int64(time.Minute), refresh), "nothing is known yet")
	require.NotZero(t, f.now())
	f.passed(bootTime() - int64(40*time.Second))
	require.True(t, f.within(int64(time.Minute), refresh))
	require.True(t, f.within(int64(time.Minute), refresh))
	require.Equal(t, 1, asked, "one at a time")
	answer()
	require.False(t, f.within(int64(30*time.Second), refresh), "too old: the reader has to ask, and does")
	require.Equal(t, 1, asked)
	f.passed(bootTime())
	require.True(t, f.within(int64(time.Minute), refresh))
	require.Equal(t, 1, asked)
	f.passed(1)
	require.True(t, f.within(int64(time.Minute), refresh), "a late answer to an older question takes nothing back")
}

func TestUnboundedReadsAskNobody(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", "v", "PX", "30"))
	require.Equal(t, "+OK", c.do("READONLY"))
	s.node.offset.Store(1000) // due, and nobody has stamped it
	ticks := s.node.ticksAsked.Load()
	require.Equal(t, `"v"`, c.do("GET", "k"), "as this node has it")
	require.Equal(t, ticks, s.node.ticksAsked.Load())
	require.Equal(t, "+OK", c.do("READWRITE"))
	require.Equal(t, "nil", c.do("GET", "k"))
	require.Equal(t, "+OK", c.do("READONLY"))
	require.Equal(t, "nil", c.do("GET", "k"), "what was seen gone stays gone")
}
