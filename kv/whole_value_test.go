package kv

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// doLines is the reply as lines without their numbers.
func doLines(n *testNode, args ...string) []string {
	n.t.Helper()
	var out []string
	for _, l := range strings.Split(n.do(args...), "\n") {
		if _, text, ok := strings.Cut(l, ") "); ok {
			l = text
		}
		text, err := strconv.Unquote(l)
		if err != nil {
			text = l
		}
		out = append(out, text)
	}
	return out
}

// requireSoundZSet checks that the two trees of a sorted set tell the same, and that
// treeBytes is what keys hold.
func requireSoundZSet(tb testing.TB, n *testNode, key string) {
	tb.Helper()
	v, found := n.s.dbs[0].get([]byte(key))
	if !found {
		return
	}
	o := v.Obj
	o.t.check(tb)
	o.t2.check(tb)
	require.Equal(tb, o.t.len(), o.t2.len())
	for it := o.t.first(); it.valid(); it.next() {
		member, score := splitScored(it.key())
		val, ok := o.t2.get(appendHashed(nil, n.s.heap, member))
		require.True(tb, ok)
		require.Equal(tb, score, readScore(val))
	}
}

func requireTreeBytes(tb testing.TB, n *testNode) {
	tb.Helper()
	want := int64(0)
	n.s.dbs[0].each(func(_ []byte, v Value) bool {
		if o := v.Obj; o != nil {
			want += int64(len(o.str))
			for _, t := range [2]*tree{o.t, o.t2} {
				if t != nil {
					want += t.root.size
				}
			}
		}
		return true
	})
	require.Equal(tb, want, n.s.heap.treeBytes)
}

// Ranges of all sizes go from both trees, with many members of one score at their ends,
// and a copy made before keeps them.
func TestZRemRangeOfManyMembers(t *testing.T) {
	for _, part := range []int{1, 50, 400, 900, 1999, 2000} {
		for _, from := range []int{0, 100, 2000 - part} {
			n := newTestNode(t)
			for i := range 2000 {
				n.do("ZADD", "z", strconv.Itoa(i/300), fmt.Sprintf("m%04d", i))
			}
			n.do("COPY", "z", "before")
			all := doLines(n, "ZRANGE", "z", "0", "-1")
			to := min(from+part, len(all))
			require.Equal(t, fmt.Sprintf("(integer) %d", to-from), n.do("ZREMRANGEBYRANK", "z", strconv.Itoa(from), strconv.Itoa(to-1)))
			want := slices.Delete(slices.Clone(all), from, to)
			if len(want) == 0 {
				want = []string{"(empty)"}
			}
			require.Equal(t, want, doLines(n, "ZRANGE", "z", "0", "-1"))
			require.Equal(t, all, doLines(n, "ZRANGE", "before", "0", "-1"))
			requireSoundZSet(t, n, "z")
			requireSoundZSet(t, n, "before")
			requireTreeBytes(t, n)
		}
	}
}
