package node

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

// Units that arrive while clients who were just answered may send theirs share one entry
// with them: it is proposed when the front end says that they came.
func TestUnitsWaitForThoseWhoWereAnswered(t *testing.T) {
	c := newTestCluster(t, 1, func(cfg *Config) { cfg.Heartbeat, cfg.ElectionTimeout = time.Second, 4*time.Second }) // the clock ticks each 200 ms
	n := c.leader()
	_, err := do(t, n, "set", "a", "0") // the session is open
	require.NoError(t, err)

	w := make(waiter, 8)
	set := func(key string) {
		chunk := &kv.Chunk{Waiter: w}
		chunk.AppendOp(kv.Lookup([]byte("set")), [][]byte{[]byte("set"), []byte(key), []byte("1")})
		n.Propose(chunk)
	}
	set("a")
	set("b")
	n.Flush()
	<-w
	<-w
	batches := func() (count uint64) {
		require.NoError(t, n.onLoop(context.Background(), func(l *loop) { count = l.batches }))
		return count
	}
	before := batches()
	require.Eventually(t, n.turns.l.gather.holding.Load, 5*time.Second, time.Millisecond, "two were answered")
	set("c")
	n.Flush()
	require.True(t, n.turns.l.gather.waiting.Load(), "c waits for their next commands")
	set("d")
	n.Release()
	n.Flush()
	<-w
	<-w
	require.Equal(t, before+1, batches(), "c and d are one entry")
}

// Whoever is answered alone is not waited for, and nobody waits for ever for a front end
// that does not say anything.
func TestGatheringEnds(t *testing.T) {
	n := newTestCluster(t, 1, nil).leader()
	for range 3 {
		_, err := do(t, n, "set", "a", "0")
		require.NoError(t, err)
		require.False(t, n.turns.l.gather.holding.Load(), "one client was answered")
	}
	w := make(waiter, 8)
	for range 20 { // without a single Release
		for _, key := range []string{"a", "b", "c"} {
			chunk := &kv.Chunk{Waiter: w}
			chunk.AppendOp(kv.Lookup([]byte("set")), [][]byte{[]byte("set"), []byte(key), []byte("1")})
			n.Propose(chunk)
		}
		n.Flush()
		for range 3 {
			select {
			case chunk := <-w:
				require.NoError(t, chunk.Err)
			case <-time.After(10 * time.Second):
				t.Fatal("units wait for ever")
			}
		}
	}
}

// The two sides of the wait never both miss the other.
func TestGatherHeldAndReleased(t *testing.T) {
	g := &gather{fresh: true}
	require.False(t, g.held())
	g.holding.Store(true)
	require.True(t, g.held())
	require.True(t, g.release(), "units wait: the front end has to run a turn")
	require.False(t, g.held())
	require.False(t, g.release())
	g.fresh = false
	g.holding.Store(true)
	require.True(t, g.held())
	require.False(t, g.release(), "nobody waits")
}
