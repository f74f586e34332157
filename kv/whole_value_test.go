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

// A copy and its source change apart; so do copies of copies. When all are gone nothing
// is left behind.
func TestCopiesOfLargeValuesChangeApart(t *testing.T) {
	n := newTestNode(t)
	fill := map[string]string{"l": "RPUSH l e%", "s": "SADD s e%", "h": "HSET h f% v%", "z": "ZADD z % e%"}
	change := map[string]string{"l": "LSET l 700 x", "s": "SREM s e700", "h": "HSET h f700 x", "z": "ZADD z 1 e700"}
	for key, command := range fill {
		fillBig(n, command, 3000)
		dump := n.do("DUMP", key)
		n.do("COPY", key, key+"1")
		n.do("COPY", key+"1", key+"2")
		require.Equal(t, dump, n.do("DUMP", key+"2"))
		n.do(strings.Fields(change[key])...)
		changed := n.do("DUMP", key)
		require.NotEqual(t, dump, changed)
		n.do(strings.Fields(strings.Replace(change[key], key, key+"1", 1))...)
		require.Equal(t, changed, n.do("DUMP", key+"1"))
		require.Equal(t, dump, n.do("DUMP", key+"2"))
		requireTreeBytes(t, n)
		n.do("DEL", key, key+"1")
		require.Equal(t, dump, n.do("DUMP", key+"2"))
		requireTreeBytes(t, n)
		n.do("DEL", key+"2")
	}
	require.Zero(t, n.s.heap.treeBytes)
}

// Many copies under a cut do not take a batch each for what they replace.
func TestCopiesUnderACutRetireTogether(t *testing.T) {
	n := newTestNode(t)
	fillBig(n, "RPUSH l e%", 3000)
	n.do("SET", "s", "old")
	n.do("COPY", "l", "d")
	cut := n.s.OpenCut()
	for i := range 100 {
		n.do("COPY", "l", "d", "REPLACE")
		n.do("SET", "s"+strconv.Itoa(i), "x")
		n.do("SET", "s", strings.Repeat("x", i))
	}
	require.LessOrEqual(t, len(n.s.heap.retired), 2)
	cut.Close()
}
