package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// strange makes random commands of what is not tied to one type.
func (g commandGen) strange() []string {
	key := func() string { return g.pick("src", "dst", "g", "out", "b1", "h1", "w_1", "hash") }
	switch g.IntN(10) {
	case 0:
		return cmd("COPY", key(), key(), g.pick("", "REPLACE", "DB 1 REPLACE"))
	case 1:
		return cmd("MOVE", key(), "1")
	case 2:
		return cmd("SWAPDB", g.num(0, 2), g.num(0, 2))
	case 3:
		return cmd("HSET hash", g.num(0, 9), g.num(0, 99))
	case 4, 5:
		return cmd("HPEXPIRE hash", g.num(1, 50), g.pick("", "NX", "GT", "LT"), "FIELDS 2", g.num(0, 9), g.num(0, 9))
	case 6:
		return cmd("HSETEX hash PX", g.num(1, 50), "FIELDS 1", g.num(0, 9), "x")
	case 7:
		return cmd("HGETDEL hash FIELDS 1", g.num(0, 9))
	case 8:
		return cmd("SET w_1", g.num(0, 3), g.pick("IFEQ", "IFNE"), g.num(0, 3))
	}
	return cmd("INCREX w_1 UBOUND 50 SATURATE PX", g.num(1, 40))
}

// The same log gives the same data on a node that applies it later, and on one that
// takes over from a snapshot in the middle of it.
func TestReplayGivesTheSameData(t *testing.T) {
	for seed := range uint64(3) {
		n := newTestNode(t)
		g := commandGen{rand.New(rand.NewPCG(seed, 77))}
		var restored *Store
		at := 0
		for i := range 2500 {
			next := [...]func() []string{g.bitmap, g.hll, g.sort, g.geo, g.strange, g.strange, g.hash}[g.IntN(7)]
			n.do(next()...)
			n.now += int64(g.IntN(8))
			if i == 1200 {
				restored, at = reloaded(t, n), len(n.log)
			}
		}
		_, want := n.s.Digest()
		replayed := New(Options{HashSeed: 42})
		require.NoError(t, replayed.Apply(n.log, nil))
		_, got := replayed.Digest()
		require.Equal(t, want, got, fmt.Sprint("seed ", seed))
		require.NoError(t, restored.Apply(n.log[at:], nil))
		_, got = restored.Digest()
		require.Equal(t, want, got, fmt.Sprint("seed ", seed, " after a snapshot"))
	}
}
