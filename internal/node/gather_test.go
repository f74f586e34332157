package node

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
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
	batches := func() (count uint64) {
		require.NoError(t, n.onLoop(context.Background(), func(l *loop) { count = l.batches }))
		return count
	}
	ticked := func() time.Time {
		n.turns.mu.Lock()
		defer n.turns.mu.Unlock()
		return n.turns.last
	}
	for range 100 {
		began := ticked()
		n.Release()
		set("a")
		set("b")
		n.Flush()
		<-w
		<-w
		before := batches()
		g := &n.turns.l.gather
		require.Eventually(t, func() bool { return g.holding.Load() || ticked() != began }, 10*time.Second, time.Millisecond, "two were answered")
		set("c")
		n.Flush()
		waits := g.waiting.Load()
		set("d")
		n.Release()
		n.Flush()
		<-w
		<-w
		after := batches()
		if ticked() != began {
			continue // the clock lets everybody go: once more, until it does not come in between
		}
		require.True(t, waits, "c waits for their next commands")
		require.Equal(t, before+1, after, "c and d are one entry")
		return
	}
	t.Fatal("nobody is held until the clock ticks")
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

// unitSink counts the units that go to the leader.
type unitSink struct {
	effects
	sent int
}

func (s *unitSink) sendUnits(_ raftcore.NodeID, us []transport.Unit) bool {
	s.sent += len(us)
	return true
}

// Units that a node forwards wait for the answers to those before, not for long, and not
// if there is much of them.
func TestForwardedUnitsWaitForTheOnesBefore(t *testing.T) {
	w := newWorld(1, 3, io.Discard)
	l := w.node(1).loop
	sink := &unitSink{}
	l.fx = sink
	l.origin.open(1)
	now := w.now
	add := func(value int) (seq uint64) {
		c := &kv.Chunk{Waiter: make(waiter, 8)}
		c.AppendOp(kv.Lookup([]byte("set")), [][]byte{[]byte("set"), []byte("k"), make([]byte, value)})
		l.origin.bytes.Add(int64(chunkBytes(c))) // as Propose does
		l.origin.add(c, now)
		return c.Seq
	}
	first := add(1)
	l.forward(2, now)
	require.Equal(t, 1, sink.sent, "nothing to wait for")

	second := add(1)
	l.forward(2, now)
	require.Equal(t, 1, sink.sent, "the first is on its way")
	l.origin.Done(l.origin.Chunk(1, first))
	l.forward(2, now)
	require.Equal(t, 2, sink.sent, "it is answered")

	add(1)
	l.forward(2, now.Add(forwardSpacing-1))
	require.Equal(t, 2, sink.sent)
	l.forward(2, now.Add(forwardSpacing))
	require.Equal(t, 3, sink.sent, "%d may be lost", second)

	now = now.Add(forwardSpacing)
	add(twoEntries)
	l.forward(2, now)
	require.Equal(t, 4, sink.sent, "enough for an entry of its own")
}

// alarmSink notes when the loop wants to be woken.
type alarmSink struct {
	effects
	in []time.Duration
}

func (s *alarmSink) wakeIn(after time.Duration) { s.in = append(s.in, after) }

// appliedTo are gauges of a state machine that is some entries behind.
type appliedTo struct {
	gauges
	index uint64
}

func (g appliedTo) applied() uint64 { return g.index }

// While an entry is on its way the next one waits, longer if it would be small; four on
// their way are enough whatever waits.
func TestAnEntryFollowsTheOneOnItsWay(t *testing.T) {
	w := newWorld(1, 3, io.Discard)
	l := w.node(1).loop
	for range 5000 {
		if l.core.LastIndex() >= maxUnapplied {
			break
		}
		w.step()
		l = w.node(1).loop
	}
	require.LessOrEqual(t, uint64(maxUnapplied), l.core.LastIndex())
	now := w.now
	l.gather.proposed = now
	behind := func(entries uint64) { l.gauges = appliedTo{l.gauges, l.core.LastIndex() - entries} }

	alarm := &alarmSink{effects: l.fx}
	l.fx = alarm

	behind(1)
	require.True(t, l.gathering(now.Add(entrySpacing-1)), "what waits is little")
	require.Empty(t, alarm.in, "nothing waits")
	l.gather.fresh = true
	require.True(t, l.gathering(now.Add(entrySpacing/3)))
	require.True(t, l.gathering(now.Add(entrySpacing/2)))
	require.Equal(t, []time.Duration{entrySpacing - entrySpacing/3}, alarm.in, "once is enough")
	require.False(t, l.gathering(now.Add(entrySpacing)))
	l.takeForeign([]unitsFrom{{2, []transport.Unit{{Bytes: make([]byte, twoEntries)}}}}, now)
	require.False(t, l.gathering(now.Add(fullSpacing)), "other nodes' units count")
	l.dropForeign()
	require.True(t, l.gathering(now.Add(fullSpacing)))
	l.origin.bytes.Store(twoEntries)
	require.True(t, l.gathering(now.Add(fullSpacing-1)))
	require.False(t, l.gathering(now.Add(fullSpacing)), "enough for two entries that take turns")
	behind(maxUnapplied)
	require.True(t, l.gathering(now.Add(time.Second)), "enough on their way")
	l.origin.bytes.Store(maxBatchBytes)
	require.False(t, l.gathering(now), "a full entry waits for nothing")
	l.origin.bytes.Store(0)
	l.origin.count(setOf(maxBatchBytes, nil), 1)
	require.True(t, l.gathering(now), "large units have turns of their own")
	l.origin.count(setOf(maxBatchBytes, nil), -1)
	require.Zero(t, l.origin.bytes.Load())
	require.Zero(t, l.origin.largeBytes.Load())
}
