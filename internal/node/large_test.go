package node

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// Who is alone may have much on its way; beside others it is one unit, or little.
func TestRoomForLargeUnits(t *testing.T) {
	now := time.Unix(1000, 0)
	var g largeUnits
	require.True(t, g.fits(64<<20, now), "the first always does")
	g.fly(largeAlone/2, 5, now)
	require.True(t, g.fits(largeAlone/2, now))
	require.False(t, g.fits(largeAlone/2+1, now))

	g = largeUnits{small: now}
	now = now.Add(largeCompany / 2)
	require.True(t, g.fits(64<<20, now))
	g.fly(largeBeside/2, 5, now)
	require.True(t, g.fits(largeBeside/2, now))
	require.False(t, g.fits(largeBeside/2+1, now), "somebody wrote a moment ago")
	require.True(t, g.fits(largeBeside/2+1, now.Add(largeCompany)), "and has not since")
	g.small = now.Add(1)
	require.False(t, g.fits(largeBeside/2+1, now.Add(10*time.Second)), "somebody waits behind it")
}

// Others have the log for twice as long as the large ones had it; there have to be others,
// and many large ones are many others, too.
func TestRestAfterLargeUnits(t *testing.T) {
	began := time.Unix(1000, 0)
	rest := func(took time.Duration, waiting int, small time.Time) time.Duration {
		g := largeUnits{own: waiting, small: small}
		g.fly(largeUnit, 5, began)
		g.fly(largeUnit, 7, began.Add(1))
		g.applied(6, began.Add(took/2))
		require.NotZero(t, g.flying, "7 is on its way")
		g.applied(7, began.Add(took))
		require.Zero(t, g.flying)
		return max(0, g.rest.Sub(began.Add(took)))
	}
	during := began.Add(1)
	require.Equal(t, 200*time.Millisecond, rest(100*time.Millisecond, 1, during))
	require.Equal(t, 200*time.Millisecond, rest(100*time.Millisecond, 0, during))
	require.Equal(t, 50*time.Millisecond, rest(100*time.Millisecond, 4, during))
	require.Equal(t, largeRest, rest(3*time.Second, 1, during))
	require.Zero(t, rest(100*time.Millisecond, 1, began), "nobody came meanwhile")
	require.Zero(t, rest(largeBrief-1, 1, during), "nobody noticed")
}

// leadingWorld is a world with a leader whose clients may write.
func leadingWorld(t *testing.T, seed uint64) (w *world, leader *stepNode) {
	w = newWorld(seed, 3, io.Discard)
	for steps := 0; ; steps++ {
		require.Less(t, steps, 200_000)
		w.step()
		for _, n := range w.nodes {
			if n.loop.core.Role() == raftcore.Leader && n.origin.opened() && n.loop.core.LastIndex() == n.applied() {
				return w, n
			}
		}
	}
}

// setOf is a chunk with a SET of so many bytes.
func setOf(value int, waiter kv.Waiter) *kv.Chunk {
	c := &kv.Chunk{Waiter: waiter}
	c.AppendOp(kv.Lookup([]byte("set")), [][]byte{[]byte("set"), []byte("k"), bytes.Repeat([]byte("v"), value)})
	return c
}

// orderWaiter notes in which order chunks are answered.
type orderWaiter struct {
	name  byte
	order *[]byte
	t     *testing.T
}

func (w orderWaiter) ChunkDone(c *kv.Chunk) {
	require.NoError(w.t, c.Err)
	*w.order = append(*w.order, w.name)
}

// A small unit goes before a large one that came with it, and a client who writes again
// and again is answered between any two large ones, whichever node's clients sent those.
func TestSmallUnitsAndLargeOnesTakeTurns(t *testing.T) {
	rests := 0
	for seed := range uint64(10) {
		w, leader := leadingWorld(t, seed)
		follower := w.node(leader.loop.id%3 + 1)
		var order []byte
		propose := func(n *stepNode, name byte, value int) { n.Propose(setOf(value, orderWaiter{name, &order, t})) }

		const larges = 6
		for range larges / 2 {
			propose(leader, 'L', 3<<20)
			propose(follower, 'F', 3<<20)
		}
		propose(leader, 's', 1)
		small := 1
		for steps := 0; bytes.Count(order, []byte("L"))+bytes.Count(order, []byte("F")) < larges; steps++ {
			require.Less(t, steps, 200_000)
			w.step()
			if bytes.Count(order, []byte("s")) == small {
				propose(leader, 's', 1)
				small++
			}
			if g := &leader.loop.large; w.now.Before(g.rest) {
				rests++
				require.Zero(t, g.flying, "seed %d: it is the others' turn", seed)
			}
		}
		require.Equal(t, raftcore.Leader, leader.loop.core.Role(), "seed %d does not test this", seed)
		require.Equal(t, byte('s'), order[0], "seed %d: %s", seed, order)
		for _, pair := range []string{"LL", "LF", "FL", "FF"} {
			require.NotContains(t, string(order), pair, "seed %d", seed)
		}
	}
	require.NotZero(t, rests)
}

// Our large units and other nodes' take turns; what another node sends twice goes once, and
// whoever ceases to lead sends it back.
func TestLargeUnitsOfOtherNodes(t *testing.T) {
	w, leader := leadingWorld(t, 1)
	l := leader.loop
	sink := &refusalSink{effects: l.fx}
	l.fx = sink
	foreign := func(seq uint64) {
		b := kv.AppendUnit(nil, kv.UnitHeader{Session: 1 << 20, Seq: seq, Low: 1, Ops: 1}, setOf(3<<20, nil).Ops)
		l.takeForeign([]unitsFrom{{l.id%3 + 1, []transport.Unit{{Seq: seq, Bytes: b}}}})
	}
	var order []byte
	for range 2 {
		l.origin.add(setOf(3<<20, orderWaiter{'L', &order, t}), w.now)
	}
	foreign(1)
	foreign(2)
	foreign(1)
	require.Len(t, l.large.foreign, 2)
	var turns []string
	for range 4 {
		l.large.small = w.now // others are at work
		own, others := l.large.own, len(l.large.foreign)
		if own == 0 && len(turns) == 0 {
			own = 2
		}
		before := l.core.LastIndex()
		require.True(t, l.leadOwn(w.now))
		require.True(t, l.leadLarge(w.now))
		require.Equal(t, before+1, l.core.LastIndex(), "one at a time")
		switch {
		case l.large.own < own:
			turns = append(turns, "own")
		case len(l.large.foreign) < others:
			turns = append(turns, "foreign")
		}
		l.large.applied(l.large.last, w.now)
		l.large.rest = time.Time{}
	}
	require.Contains(t, []string{"own foreign own foreign", "foreign own foreign own"}, strings.Join(turns, " "))

	foreign(3)
	l.refuseForeign()
	require.Equal(t, []uint64{3}, sink.refused)
	require.Empty(t, l.large.foreign)
}

// refusalSink notes what is sent back.
type refusalSink struct {
	effects
	refused []uint64
}

func (s *refusalSink) sendRefused(_ raftcore.NodeID, seqs []uint64) {
	s.refused = append(s.refused, seqs...)
}
