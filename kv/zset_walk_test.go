package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A walk by scores visits what the ranks between the scores hold, packed and as a tree.
func TestWalkScoresVisitsTheRanksBetween(t *testing.T) {
	for _, members := range []int{0, 1, 50, 5000} {
		n := newTestNode(t)
		r := rand.New(rand.NewPCG(1, uint64(members)))
		for i := range members {
			n.do("ZADD", "z", fmt.Sprint(r.IntN(1+members/3)-members/6), fmt.Sprint("m", i))
		}
		c := &Ctx{store: n.s, now: n.now, Out: &Reply{}}
		c.selectDB(0)
		z, ok := c.openZSet([]byte("z"))
		require.True(t, ok)
		for range 300 {
			from := float64(r.IntN(members/2+2) - members/4)
			to := from + 1 + float64(r.IntN(members/4+2))
			var want, got []string
			lo, hi := z.scoreRanks(scoreRange{min: from, max: to, maxEx: true})
			z.walk(lo, hi, false, func(m []byte, _ float64) bool { want = append(want, string(m)); return true })
			seen := z.walkScores(from, to, func(m []byte, _ float64) bool { got = append(got, string(m)); return true })
			require.Equal(t, want, got)
			require.Equal(t, len(want), seen)
		}
	}
}
