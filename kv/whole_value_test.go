package kv

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
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

// SORT of large sources, whole and in part, equals a stable sort of the elements.
func TestSortOfManyElements(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	n := newTestNode(t)
	var elems []string
	for range 3000 {
		e := strconv.Itoa(r.IntN(900) - 450)
		switch r.IntN(6) {
		case 0:
			e = "0" + strings.TrimPrefix(e, "-")
		case 1:
			e += ".0"
		}
		elems = append(elems, e)
		n.do("RPUSH", "k", e)
		n.do("SET", "w_"+e, strconv.Itoa(r.IntN(40)))
	}
	weight := func(e string) string { v, _ := n.s.dbs[0].get([]byte("w_" + e)); return string(v.Bytes) }
	number := func(s string) float64 { f, _ := strconv.ParseFloat(s, 64); return f }
	for name, compare := range map[string]func(a, b string) int{
		"":      func(a, b string) int { return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b)) },
		"ALPHA": cmp.Compare[string],
		"BY w_*": func(a, b string) int {
			return cmp.Or(cmp.Compare(number(weight(a)), number(weight(b))), cmp.Compare(a, b))
		},
		"BY w_* ALPHA": func(a, b string) int { return cmp.Compare(weight(a), weight(b)) },
	} {
		for _, desc := range []bool{false, true} {
			want := slices.Clone(elems)
			slices.SortStableFunc(want, func(a, b string) int {
				if desc {
					return compare(b, a)
				}
				return compare(a, b)
			})
			args := append([]string{"SORT", "k"}, strings.Fields(name)...)
			if desc {
				args = append(args, "DESC")
			}
			require.Equal(t, want, doLines(n, args...), args)
			require.Equal(t, want[70:100], doLines(n, append(args, "LIMIT", "70", "30")...), args)
			require.Equal(t, want[2900:], doLines(n, append(args, "LIMIT", "2900", "200")...), args)
			n.do(append(args, "STORE", "d")...)
			require.Equal(t, want, doLines(n, "LRANGE", "d", "0", "-1"))
			n.do(append(args, "GET", "w_*", "GET", "missing_*", "STORE", "d")...)
			require.Equal(t, weight(want[5]), doLines(n, "LINDEX", "d", "10")[0])
			require.Equal(t, "", doLines(n, "LINDEX", "d", "11")[0])
		}
	}
	n.do("SORT", "k", "STORE", "k")
	require.Equal(t, "(integer) 3000", n.do("LLEN", "k"))
	requireTreeBytes(t, n)
}

// Keys of weights near and far, many of them equal, end up as if compared.
func TestOrderKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	ties := func(a, b sortKey) int { return cmp.Compare(a.at, b.at) }
	for n := range 400 {
		for _, weight := range []func() uint64{
			r.Uint64,
			func() uint64 { return uint64(r.IntN(8)) << 61 },
			func() uint64 { return 1<<63 | uint64(r.IntN(1+n/3)) },
			func() uint64 { return r.Uint64() >> r.IntN(64) },
			func() uint64 { return encodeScore(float64(r.IntN(2*n+1) - n)) },
		} {
			keys := make([]sortKey, n*(1+n%7))
			for i, at := range r.Perm(len(keys)) {
				keys[i] = sortKey{weight(), at}
			}
			want := slices.Clone(keys)
			slices.SortFunc(want, func(a, b sortKey) int { return compareKeys(a, b, ties) })
			least := leastKeys(slices.Clone(keys), n/2, ties)
			orderKeys(least, ties)
			require.Equal(t, want[:n/2], append([]sortKey{}, least...))
			orderKeys(keys, ties)
			require.Equal(t, want, keys)
		}
	}
}

// Texts that begin alike, that end early, and that BY does not find are in their order.
func TestSortOfLikeTexts(t *testing.T) {
	n := newTestNode(t)
	texts := []string{"", "a", "common", "common\x00", "common\x00\x00", "common:0000000", "common:00000001", "common:00000002", "common;", "d"}
	for i := range 300 {
		n.do("RPUSH", "all", texts[i*7%len(texts)])
		n.do("RPUSH", "like", texts[2+i*7%7])
		n.do("RPUSH", "by", strconv.Itoa(i))
		if i%10 > 0 {
			n.do("SET", "t_"+strconv.Itoa(i), texts[i*7%len(texts)])
		}
	}
	for _, key := range []string{"all", "like"} {
		want := doLines(n, "LRANGE", key, "0", "-1")
		slices.Sort(want)
		require.Equal(t, want, doLines(n, "SORT", key, "ALPHA"))
		slices.Reverse(want)
		require.Equal(t, want, doLines(n, "SORT", key, "ALPHA", "DESC"))
	}
	at := func(e string) int { i, _ := strconv.Atoi(e); return i }
	text := func(e string) string {
		if at(e)%10 == 0 {
			return "" // in front of all, with the empty ones behind
		}
		return "+" + texts[at(e)*7%len(texts)]
	}
	want := doLines(n, "LRANGE", "by", "0", "-1")
	slices.SortStableFunc(want, func(a, b string) int { return cmp.Compare(text(a), text(b)) })
	require.Equal(t, want, doLines(n, "SORT", "by", "BY", "t_*", "ALPHA"))
}

// SORT STORE makes a list as pushes would.
func TestSortStoreIsPackedAsPushed(t *testing.T) {
	for _, setting := range []string{"-2", "-1", "5", "128"} {
		for _, size := range []int{1, 5, 6, 100, 129, 500, 700, 3000} {
			n := newTestNode(t)
			n.do("CONFIG", "SET", "list-max-listpack-size", setting)
			for i := range size {
				n.do("RPUSH", "pushed", fmt.Sprintf("element:%05d", i))
			}
			n.do("SORT", "pushed", "ALPHA", "STORE", "stored")
			require.Equal(t, n.do("OBJECT", "ENCODING", "pushed"), n.do("OBJECT", "ENCODING", "stored"))
			require.Equal(t, n.do("DUMP", "pushed"), n.do("DUMP", "stored"))
			requireTreeBytes(t, n)
		}
	}
}

// A range of a large sorted set is stored as its members would be one by one, and the
// source and the copy change apart.
func TestZRangeStoreOfManyMembers(t *testing.T) {
	for _, part := range []int{100, 129, 200, 400, 1999, 2000} {
		for _, from := range []int{0, 100, 2000 - part} {
			n := newTestNode(t)
			for i := range 2000 {
				n.do("ZADD", "z", strconv.Itoa(i/300), fmt.Sprintf("m%04d", i))
			}
			all := doLines(n, "ZRANGE", "z", "0", "-1", "WITHSCORES")
			to := min(from+part, 2000)
			size := fmt.Sprintf("(integer) %d", to-from)
			require.Equal(t, size, n.do("ZRANGESTORE", "d", "z", strconv.Itoa(from), strconv.Itoa(to-1)))
			require.Equal(t, all[2*from:2*to], doLines(n, "ZRANGE", "d", "0", "-1", "WITHSCORES"))
			if to-from > 128 {
				requireSoundZSet(t, n, "d")
			}
			n.do("ZADD", "z", "9", "m0100")
			n.do("ZREMRANGEBYRANK", "d", "0", "20")
			require.Equal(t, all[2*(from+21):2*to], doLines(n, "ZRANGE", "d", "0", "-1", "WITHSCORES"))
			requireTreeBytes(t, n)
			n.do("ZRANGESTORE", "z", "z", "0", "1500", "REV")
			require.Equal(t, "(integer) 1501", n.do("ZCARD", "z"))
			requireSoundZSet(t, n, "z")
			n.do("DEL", "z", "d")
			require.Zero(t, n.s.heap.treeBytes)
		}
	}
}

// Elements are found whatever their length, in every leaf.
func TestEqualElementsOfLargeLists(t *testing.T) {
	n := newTestNode(t)
	var elems []string
	lengths := []int{0, 1, 2, 7, 126, 127, 128, 129, 300, 5000}
	for i := range 3000 {
		e := strings.Repeat("x", lengths[i*7%len(lengths)]*min(i%5, 1))
		elems = append(elems, e)
		n.do("RPUSH", "l", e)
	}
	for _, length := range append(lengths, 3, 125) {
		e := strings.Repeat("x", length)
		var ranks []string
		for i := range elems {
			if elems[i] == e {
				ranks = append(ranks, strconv.Itoa(i))
			}
		}
		got := doLines(n, "LPOS", "l", e, "COUNT", "0")
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], "(integer) ")
		}
		if len(ranks) == 0 {
			require.Equal(t, []string{"(empty)"}, got)
			require.Equal(t, "(integer) -1", n.do("LINSERT", "l", "BEFORE", e, "y"))
			continue
		}
		require.Equal(t, ranks, got)
		require.Equal(t, "(integer) "+ranks[2], n.do("LPOS", "l", e, "RANK", "3"))
		last, _ := strconv.Atoi(ranks[len(ranks)-1])
		require.Equal(t, "(integer) "+ranks[len(ranks)-1], n.do("LPOS", "l", e, "RANK", "-1", "MAXLEN", strconv.Itoa(3000-last)))
		if last < 2999 {
			require.Equal(t, "(nil)", n.do("LPOS", "l", e, "RANK", "-1", "MAXLEN", strconv.Itoa(2999-last)))
		}
	}
}

// XTRIM takes what is to go at once, as if it went node by node.
func TestXTrimOfManyNodes(t *testing.T) {
	for _, by := range []string{"MAXLEN = ", "MAXLEN ~ ", "MINID = ", "MINID ~ ", "MAXLEN ~ 1 LIMIT ", "MINID ~ 9999 LIMIT "} {
		for _, at := range []int{0, 1, 99, 100, 101, 500, 950, 999, 1000} {
			many, few := newTestNode(t), newTestNode(t)
			for _, n := range []*testNode{many, few} {
				for i := range 1000 {
					n.do("XADD", "s", strconv.Itoa(i+1)+"-1", "f", strings.Repeat("v", i%10))
				}
				n.do("XDEL", "s", "150-1", "300-1")
				n.do("XGROUP", "CREATE", "s", "g", "0")
			}
			args := append([]string{"XTRIM", "s"}, strings.Fields(by+strconv.Itoa(at))...)
			removed := many.do(args...)
			// The same number of entries, one by one.
			for range intReply(removed) {
				few.do("XTRIM", "s", "MAXLEN", "=", strconv.Itoa(intReply(few.do("XLEN", "s"))-1))
			}
			require.Equal(t, few.do("XINFO", "STREAM", "s"), many.do("XINFO", "STREAM", "s"), args)
			require.Equal(t, few.do("XRANGE", "s", "-", "+"), many.do("XRANGE", "s", "-", "+"), args)
			for _, n := range []*testNode{many, few} {
				n.do("XADD", "s", "5000-1", "f", "v")
				requireTreeBytes(t, n)
			}
			require.Equal(t, few.do("DUMP", "s"), many.do("DUMP", "s"), args)
		}
	}
}

// intReply is the number in an integer reply.
func intReply(reply string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(reply, "(integer) "))
	return n
}

// Combinations of large inputs equal those of maps.
func TestCombinationsOfManyMembers(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 5))
	n := newTestNode(t)
	in := make([]map[string]float64, 3)
	for i, size := range []int{3000, 2000, 40} {
		in[i] = map[string]float64{}
		for range size {
			m, score := "m"+strconv.Itoa(r.IntN(4000)), float64(r.IntN(50))
			in[i][m] = score
			n.do("ZADD", "z"+strconv.Itoa(i), strconv.Itoa(int(score)), m)
			n.do("SADD", "s"+strconv.Itoa(i), m)
		}
	}
	for op, has := range map[string]func(found []bool) bool{
		"UNION": func([]bool) bool { return true },
		"INTER": func(f []bool) bool { return f[0] && f[1] && f[2] },
		"DIFF":  func(f []bool) bool { return f[0] && !f[1] && !f[2] },
	} {
		want := map[string]float64{}
		for _, m := range in {
			for member := range m {
				sum, found := 0.0, []bool{false, false, false}
				for i := range in {
					var s float64
					s, found[i] = in[i][member]
					sum += s
				}
				if has(found) {
					want[member] = sum
				}
			}
		}
		size := fmt.Sprintf("(integer) %d", len(want))
		require.Equal(t, size, n.do("Z"+op+"STORE", "dst", "3", "z0", "z1", "z2"))
		require.Equal(t, size, n.do("S"+op+"STORE", "sdst", "s0", "s1", "s2"))
		for member, sum := range want {
			require.Equal(t, strconv.Quote(strconv.Itoa(int(sum))), n.do("ZSCORE", "dst", member))
			require.Equal(t, "(integer) 1", n.do("SISMEMBER", "sdst", member))
		}
		if len(want) > 200 {
			requireSoundZSet(t, n, "dst")
			v, _ := n.s.dbs[0].get([]byte("sdst"))
			v.Obj.t.check(t)
		}
		require.Equal(t, doLines(n, "ZRANGE", "dst", "0", "-1", "WITHSCORES"), doLines(n, "Z"+op, "3", "z0", "z1", "z2", "WITHSCORES"))
		requireTreeBytes(t, n)
	}
}

func TestSortHashedIsStable(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for n := range 300 {
		ms := make([]scored, n)
		for i := range ms {
			ms[i] = scored{[]byte{byte(r.IntN(20)), byte(r.IntN(3))}, float64(i)}
		}
		want := slices.Clone(ms)
		slices.SortStableFunc(want, func(a, b scored) int { return bytes.Compare(a.hashed, b.hashed) })
		require.Equal(t, want, append([]scored{}, sortHashed(ms)...))
	}
}

// LREM of many elements leaves the others in order.
func TestLRemOfManyElements(t *testing.T) {
	for _, tc := range []struct {
		count string
		want  int
	}{{"0", 1000}, {"900", 900}, {"-900", 900}, {"-3", 3}} {
		n := newTestNode(t)
		fillBig(n, "RPUSH l a b% c%", 1000)
		want := slices.DeleteFunc(doLines(n, "LRANGE", "l", "0", "-1"), func(e string) bool { return e == "a" })
		require.Equal(t, fmt.Sprintf("(integer) %d", tc.want), n.do("LREM", "l", tc.count, "a"))
		got := doLines(n, "LRANGE", "l", "0", "-1")
		left := 1000 - tc.want
		first := slices.Index(got, "a") // those that are left are at the other end
		require.Equal(t, map[bool]int{true: -1, false: first}[left == 0], first)
		if left > 0 && tc.count[0] == '-' {
			require.Zero(t, first)
		} else if left > 0 {
			require.Equal(t, 2*tc.want, first)
		}
		require.Equal(t, want, slices.DeleteFunc(got, func(e string) bool { return e == "a" }))
		requireTreeBytes(t, n)
	}
}
