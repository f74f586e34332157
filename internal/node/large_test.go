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
	const unit = 1 << 20
	now := time.Unix(1000, 0)
	g := largeUnits{unit: unit}
	require.True(t, g.fits(64*unit, now), "the first always does")
	g.fly(largeAlone/2*unit, 5, now)
	require.True(t, g.fits(largeAlone/2*unit, now))
	require.False(t, g.fits(largeAlone/2*unit+1, now))

	g = largeUnits{unit: unit, small: now}
	now = now.Add(largeCompany / 2)
	require.True(t, g.fits(64*unit, now))
	g.fly(largeBeside/2*unit, 5, now)
	require.True(t, g.fits(largeBeside/2*unit, now))
	require.False(t, g.fits(largeBeside/2*unit+1, now), "somebody wrote a moment ago")
	require.True(t, g.fits(largeBeside/2*unit+1, now.Add(largeCompany)), "and has not since")
	g.small = now.Add(1)
	require.False(t, g.fits(largeBeside/2*unit+1, now.Add(10*time.Second)), "somebody waits behind it")
}

// Others have the log for twice as long as the large ones had it; there have to be others,
// and many large ones are many others, too.
func TestRestAfterLargeUnits(t *testing.T) {
	began := time.Unix(1000, 0)
	rest := func(took time.Duration, waiting int, small time.Time) time.Duration {
		g := largeUnits{own: waiting, small: small}
		g.fly(1, 5, began)
		g.fly(1, 7, began.Add(1))
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

// A small unit goes before a large one that came with it, and a client who writes again
// and again is answered between any two large ones, whichever node's clients sent those.
func TestSmallUnitsAndLargeOnesTakeTurns(t *testing.T) {
	rests := 0
	for seed := range uint64(10) {
		w, leader := leadingWorld(t, seed)
		follower := w.node(leader.loop.id%3 + 1)
		var order []string
		propose := func(n *stepNode, name string, value int) { n.Propose(setOf(value, nameWaiter{name, &order, t})) }
		answered := func(name string) int { return strings.Count(strings.Join(order, ""), name) }

		const larges = 6
		for range larges / 2 {
			propose(leader, "L", 3<<20)
			propose(follower, "F", 3<<20)
		}
		propose(leader, "s", 1)
		small := 1
		for steps := 0; answered("L")+answered("F") < larges; steps++ {
			require.Less(t, steps, 200_000)
			w.step()
			if answered("s") == small {
				propose(leader, "s", 1)
				small++
			}
			l := leader.loop
			if g := &l.large; w.now.Before(g.rest) {
				rests++
				require.Zero(t, g.flying, "seed %d: it is the others' turn", seed)
			} else if g.beside(w.now) {
				require.Less(t, g.flying, int64(largeBeside*l.cfg.LargeUnit), "seed %d: one at a time", seed)
			}
		}
		require.Equal(t, raftcore.Leader, leader.loop.core.Role(), "seed %d does not test this", seed)
		require.Equal(t, "s", order[0], "seed %d: %s", seed, order)
		require.Zero(t, answered("LL"), "seed %d: %s", seed, order) // a follower's are answered later
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
	l.large = largeUnits{term: l.core.Term(), unit: l.cfg.LargeUnit}
	foreign := func(seq uint64) {
		b := kv.AppendUnit(nil, kv.UnitHeader{Session: 1 << 20, Seq: seq, Low: 1, Ops: 1}, setOf(3<<20, nil).Ops)
		l.takeForeign([]unitsFrom{{l.id%3 + 1, []transport.Unit{{Seq: seq, Bytes: b}}}}, w.now)
	}
	for range 2 {
		l.origin.add(setOf(3<<20, nil), w.now)
	}
	foreign(1)
	foreign(2)
	foreign(1)
	require.Len(t, l.large.foreign, 2)
	turns := ""
	for range 4 {
		l.large.small = w.now // others are at work
		others, before := len(l.large.foreign), l.core.LastIndex()
		for range 3 { // turns while it is on its way change nothing
			require.True(t, l.leadOwn(w.now))
			require.True(t, l.leadLarge(w.now))
		}
		require.Equal(t, before+1, l.core.LastIndex(), "one at a time")
		if len(l.large.foreign) < others {
			turns += "F"
			foreign(l.large.aloft[0].seq)
			require.Len(t, l.large.foreign, others-1, "it is on its way")
		} else {
			turns += "L"
		}
		l.large.applied(l.large.last, w.now)
		l.large.rest = time.Time{}
	}
	require.Equal(t, "LFLF", turns)

	foreign(3)
	w.now = w.now.Add(l.cfg.RequestTimeout + 1)
	foreign(4)
	before := l.core.LastIndex()
	require.True(t, l.leadLarge(w.now))
	require.Equal(t, []uint64{3}, sink.refused, "nobody waits for it")
	require.Equal(t, before+1, l.core.LastIndex())
	foreign(5)
	l.refuseForeign()
	require.Equal(t, []uint64{3, 5}, sink.refused)
	require.Empty(t, l.large.foreign)
}

// A unit that waits longer than others is not given to the same leader again as soon, and who
// gives it up tells its client that the cluster was busy.
func TestLargeUnitsHavePatience(t *testing.T) {
	o := newOrigin(maxBatchBytes)
	o.open(1)
	now := time.Unix(1000, 0)
	w := make(waiter, 4)
	o.add(setOf(1, w), now)
	o.add(setOf(maxBatchBytes, w), now)
	given := func(after time.Duration) (seqs []uint64) {
		o.due(1, now.Add(after), time.Second, func(h kv.UnitHeader, _ *kv.Chunk) verdict {
			seqs = append(seqs, h.Seq)
			if h.Seq == 2 && after == 0 {
				return skipped
			}
			return sent
		})
		return seqs
	}
	require.Equal(t, []uint64{1, 2}, given(0))
	require.Equal(t, []uint64{2}, given(1), "it was not given away")
	require.Equal(t, []uint64{1}, given(time.Second))
	require.Equal(t, []uint64{1, 2}, given(largeResend*time.Second+1))

	o.unsendAll()
	o.add(setOf(maxBatchBytes, w), now)
	o.led = true
	require.True(t, o.expire(now.Add(time.Minute), time.Second), "two were given away")
	texts := []string{(<-w).Err.Error(), (<-w).Err.Error()}
	require.Equal(t, []string{errUnknownOutcome.Error(), errUnknownOutcome.Error()}, texts)
	require.EqualError(t, (<-w).Err, errBusy.Error())
}

// refusalSink notes what is sent back.
type refusalSink struct {
	effects
	refused []uint64
}

func (s *refusalSink) sendRefused(_ raftcore.NodeID, seqs []uint64) {
	s.refused = append(s.refused, seqs...)
}
