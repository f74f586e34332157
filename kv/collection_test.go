package kv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// encoding is what OBJECT ENCODING says of the key.
func (n *testNode) encoding(key string) string {
	return strings.Trim(n.do("OBJECT", "ENCODING", key), `"`)
}

func TestConversionBoundaries(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	fill := func(n *testNode, count int, add ...string) {
		for i := range count {
			args := slices.Clone(add)
			for j := range args {
				args[j] = strings.ReplaceAll(args[j], "%", strconv.Itoa(i))
			}
			n.do(args...)
		}
	}
	for _, c := range []struct {
		name          string
		fill          []string
		count         int
		before        string
		one           []string
		after         string
		undo          []string
		lookUp, reply string
	}{
		{"hash entries", []string{"HSET", "k", "f%", "v"}, 128, "listpack", []string{"HSET", "k", "last", "v"}, "hashtable",
			[]string{"HDEL", "k", "last"}, "HGET k f77", `"v"`},
		{"hash value", []string{"HSET", "k", "f%", long(64)}, 2, "listpack", []string{"HSET", "k", "f0", long(65)}, "hashtable",
			[]string{"HSET", "k", "f0", ""}, "HGET k f1", `"` + long(64) + `"`},
		{"hash field", []string{"HSETNX", "k", long(63) + "%", "v"}, 2, "listpack", []string{"HINCRBY", "k", long(65), "7"}, "hashtable",
			[]string{"HDEL", "k", long(65)}, "HLEN k", "(integer) 2"},
		{"set intset", []string{"SADD", "k", "%"}, 512, "intset", []string{"SADD", "k", "512"}, "hashtable",
			[]string{"SREM", "k", "512"}, "SISMEMBER k 300", "(integer) 1"},
		{"set intset to listpack", []string{"SADD", "k", "%"}, 127, "intset", []string{"SADD", "k", "a"}, "listpack",
			[]string{"SREM", "k", "a"}, "SISMEMBER k 100", "(integer) 1"},
		{"set intset to hashtable", []string{"SADD", "k", "%"}, 128, "intset", []string{"SADD", "k", "a"}, "hashtable",
			[]string{"SREM", "k", "a"}, "SISMEMBER k 100", "(integer) 1"},
		{"set intset, long member", []string{"SADD", "k", "%"}, 2, "intset", []string{"SADD", "k", long(65)}, "hashtable",
			[]string{"SREM", "k", long(65)}, "SCARD k", "(integer) 2"},
		{"set entries", []string{"SADD", "k", "m%"}, 128, "listpack", []string{"SADD", "k", "last"}, "hashtable",
			[]string{"SREM", "k", "last"}, "SISMEMBER k m99", "(integer) 1"},
		{"zset entries", []string{"ZADD", "k", "%", "m%"}, 128, "listpack", []string{"ZADD", "k", "-1", "last"}, "skiplist",
			[]string{"ZREM", "k", "last"}, "ZRANK k m77", "(integer) 77"},
		{"zset value", []string{"ZADD", "k", "%", long(63) + "%"}, 3, "listpack", []string{"ZADD", "k", "9", long(65)}, "skiplist",
			[]string{"ZPOPMAX", "k"}, "ZCARD k", "(integer) 3"},
		{"list bytes", []string{"RPUSH", "k", long(1000)}, 8, "listpack", []string{"LPUSH", "k", long(1000)}, "quicklist",
			[]string{"LPOP", "k"}, "LLEN k", "(integer) 8"},
		{"list, long element", []string{"RPUSH", "k", "%"}, 3, "listpack", []string{"LSET", "k", "1", long(9000)}, "quicklist",
			[]string{"LSET", "k", "1", "1"}, "LINDEX k 2", `"2"`},
		{"list insert", []string{"RPUSH", "k", "%"}, 3, "listpack", []string{"LINSERT", "k", "BEFORE", "1", long(9000)}, "quicklist",
			[]string{"LREM", "k", "0", long(9000)}, "LINDEX k 2", `"2"`},
		{"sets at once", []string{"SADD", "k", "m"}, 1, "listpack", append([]string{"SADD", "k"}, make([]string, 129)...), "hashtable",
			[]string{"SREM", "k", ""}, "SCARD k", "(integer) 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newTestNode(t)
			n.do("CONFIG", "SET", "redis-version", "7.4") // it hides no listpack
			fill(n, c.count, c.fill...)
			require.Equal(t, c.before, n.encoding("k"))
			n.do(c.one...)
			require.Equal(t, c.after, n.encoding("k"))
			n.do(c.undo...)
			back := c.after // there is no way back, but for lists of half the size
			if c.name == "list, long element" || c.name == "list insert" {
				back = "listpack"
			}
			require.Equal(t, back, n.encoding("k"))
			require.Equal(t, c.reply, n.do(strings.Fields(c.lookUp)...))
		})
	}
}

// TestListNodeSizes: the five sizes in bytes, and a size in elements.
func TestListNodeSizes(t *testing.T) {
	for size, limit := range map[int64]int{-1: 4, -2: 8, -3: 16, -4: 32, -5: 64} {
		n := newTestNode(t)
		n.do("CONFIG", "SET", "redis-version", "7.4") // it hides no listpack
		n.s.st.Settings.ListMaxListpackSize = size
		for range limit {
			n.do("RPUSH", "l", strings.Repeat("x", 1020))
		}
		require.Equal(t, "listpack", n.encoding("l"), "%d", size)
		n.do("RPUSH", "l", strings.Repeat("x", 1020))
		require.Equal(t, "quicklist", n.encoding("l"), "%d", size)
	}
	n := newTestNode(t)
	n.do("CONFIG", "SET", "redis-version", "7.4") // it hides no listpack
	n.s.st.Settings.ListMaxListpackSize = 3
	n.do("RPUSH", "l", "a", "b", "c")
	require.Equal(t, "listpack", n.encoding("l"))
	n.do("RPUSH", "l", "d")
	require.Equal(t, "quicklist", n.encoding("l"))
}

// TestHugeElements: empty, binary and 100 KiB elements in every type, alone and
// beside small ones.
func TestHugeElements(t *testing.T) {
	huge := strings.Repeat("\x00\r\n\xff0123456789", 100<<10/14)
	for name := range thresholds {
		t.Run(name, func(t *testing.T) {
			n := newThresholdNode(t, name)
			q := strconv.Quote
			for _, e := range []string{"", "\x00", huge, huge + "2"} {
				require.Equal(t, "(integer) 1", n.do("HSET", "h", e, e))
				require.Equal(t, q(e), n.do("HGET", "h", e))
				require.Equal(t, "(integer) 1", n.do("SADD", "s", e))
				require.Equal(t, "(integer) 1", n.do("SISMEMBER", "s", e))
				require.Equal(t, "(integer) 1", n.do("ZADD", "z", "1.5", e))
				require.Equal(t, `"1.5"`, n.do("ZSCORE", "z", e))
				n.do("RPUSH", "l", e)
				require.Equal(t, q(e), n.do("LINDEX", "l", "-1"))
				require.Equal(t, q(e), n.do("LMOVE", "l", "l", "RIGHT", "LEFT"))
				require.Equal(t, q(e), n.do("LINDEX", "l", "0"))
			}
			require.Equal(t, "(integer) 2", n.do("ZRANK", "z", huge))
			require.Equal(t, "1) "+q(huge)+"\n2) "+q(huge+"2"), n.do("ZRANGEBYSCORE", "z", "1", "2", "LIMIT", "2", "5"))
			for _, e := range []string{huge, "", huge + "2", "\x00"} {
				require.Equal(t, "(integer) 1", n.do("HDEL", "h", e))
				require.Equal(t, "(integer) 1", n.do("SREM", "s", e))
				require.Equal(t, "(integer) 1", n.do("ZREM", "z", e))
				require.Equal(t, "(integer) 1", n.do("LREM", "l", "0", e))
			}
			require.Equal(t, "(integer) 0", n.do("DBSIZE"))
		})
	}
}

// TestRESP3Shapes: what the tape says beyond RESP2.
func TestRESP3Shapes(t *testing.T) {
	n := newTestNode(t)
	n.do("HSET", "h", "f", "v")
	n.do("SADD", "s", "m")
	n.do("ZADD", "z", "1.5", "m")
	for _, c := range []struct{ command, tape string }{
		{"HGETALL h", "%1 $1 f $1 v"},
		{"HGETALL missing", "%0"},
		{"HGET h x", "_"},
		{"HKEYS h", "*1 $1 f"},
		{"HRANDFIELD h 1 WITHVALUES", "P1 $1 f $1 v"},
		{"HRANDFIELD h 1", "*1 $1 f"},
		{"HSCAN h 0", "*2 $1 0 *2 $1 f $1 v"},
		{"SMEMBERS s", "~1 $1 m"},
		{"SMEMBERS missing", "~0"},
		{"SINTER s", "~1 $1 m"},
		{"SUNION s", "~1 $1 m"},
		{"SDIFF s missing", "~1 $1 m"},
		{"SRANDMEMBER s 1", "*1 $1 m"},
		{"SRANDMEMBER missing 1", "*0"},
		{"SPOP missing 1", "~0"},
		{"SPOP missing", "_"},
		{"SISMEMBER s m", ":1"},
		{"LPOP missing", "_"},
		{"LPOP missing 1", "N"},
		{"LMPOP 1 missing LEFT", "N"},
		{"ZSCORE z m", ",1.5"},
		{"ZSCORE z x", "_"},
		{"ZMSCORE z m x", "*2 ,1.5 _"},
		{"ZRANGE z 0 -1", "*1 $1 m"},
		{"ZRANGE z 0 -1 WITHSCORES", "P1 $1 m ,1.5"},
		{"ZRANGE missing 0 -1 WITHSCORES", "P0"},
		{"ZRANGEBYSCORE z 1 2 WITHSCORES", "P1 $1 m ,1.5"},
		{"ZRANDMEMBER z 1 WITHSCORES", "P1 $1 m ,1.5"},
		{"ZUNION 1 z WITHSCORES", "P1 $1 m ,1.5"},
		{"ZRANK z m WITHSCORE", "*2 :0 ,1.5"},
		{"ZRANK z x", "_"},
		{"ZRANK z x WITHSCORE", "N"},
		{"ZSCAN z 0", "*2 $1 0 *2 $1 m $3 1.5"},
		{"ZADD z INCR 1 m", ",2.5"},
		{"ZADD z NX INCR 1 m", "_"},
		{"ZINCRBY z 1 m", ",3.5"},
		{"ZMPOP 1 missing MIN", "N"},
		{"ZMPOP 1 z MIN", "*2 $1 z *1 *2 $1 m ,3.5"},
		{"ZADD z 1 a 2 b", ":2"},
		{"ZPOPMIN z", "*2 $1 a ,1"},
		{"ZPOPMIN z 1", "P1 $1 b ,2"},
		{"ZPOPMIN z", "*0"},
		{"SPOP s 1", "~1 $1 m"},
	} {
		var chunk Chunk
		addCommand(&chunk, strings.Fields(c.command)...)
		n.run(&chunk)
		require.Equal(t, c.tape, strings.TrimSpace(strings.ReplaceAll(string(chunk.Reply.Bytes()), "\r\n", " ")), c.command)
	}
}

// TestRandomDraws: distinct when the count is positive, from all elements, and
// each with a fair chance.
func TestRandomDraws(t *testing.T) {
	const size = 300
	for name := range thresholds {
		t.Run(name, func(t *testing.T) {
			n := newThresholdNode(t, name)
			for i := range size {
				e := strconv.Itoa(i)
				n.do("SADD", "s", e)
				n.do("HSET", "h", e, "v"+e)
				n.do("ZADD", "z", e, e)
			}
			for _, count := range []int{1, 10, 40, 290, 300} {
				n.tick(1) // reads draw from a seed of their own; writes from the entry's
				for _, command := range []string{"SRANDMEMBER s", "HRANDFIELD h", "ZRANDMEMBER z"} {
					v := n.doValue(append(strings.Fields(command), strconv.Itoa(count)))
					require.Len(t, distinct(t, v.elems, size), count, command)
				}
			}
			v := n.doValue([]string{"HRANDFIELD", "h", "-1000", "WITHVALUES"})
			require.Len(t, v.elems, 2000)
			for i := 0; i < len(v.elems); i += 2 {
				require.Equal(t, "v"+v.elems[i].text, v.elems[i+1].text)
			}
			v = n.doValue([]string{"SRANDMEMBER", "s", "-6000"})
			seen := map[string]int{}
			for _, e := range v.elems {
				seen[e.text]++
			}
			require.Len(t, seen, size, "twenty draws per member and one never came")
			for m, times := range seen {
				require.Less(t, times, 60, "%s came up far too often", m)
			}
			popped := distinct(t, n.doValue([]string{"SPOP", "s", "100"}).elems, size)
			require.Len(t, popped, 100)
			for _, m := range popped {
				require.Equal(t, "(integer) 0", n.do("SISMEMBER", "s", m))
			}
			require.Equal(t, "(integer) 200", n.do("SCARD", "s"))
			for range 200 {
				popped = append(popped, strings.Trim(n.do("SPOP", "s"), `"`))
			}
			slices.Sort(popped)
			require.Len(t, slices.Compact(popped), size, "every member was popped once")
			require.Equal(t, "(integer) 0", n.do("EXISTS", "s"))
		})
	}
}

// TestRepeatedDrawsAreBounded: where Redis replies until its memory ends.
func TestRepeatedDrawsAreBounded(t *testing.T) {
	n := newTestNode(t)
	n.do("SADD", "s", strings.Repeat("m", 1<<20))
	n.do("HSET", "h", "f", "v")
	for _, command := range []string{"SRANDMEMBER s -1000", "SRANDMEMBER s -9223372036854775807",
		"HRANDFIELD h -4611686018427387903 WITHVALUES"} {
		require.Equal(t, "(error) "+errOutOfRange, n.do(strings.Fields(command)...), command)
	}
}

func distinct(t *testing.T, vs []value, below int) (texts []string) {
	seen := map[string]bool{}
	for _, v := range vs {
		i, err := strconv.Atoi(v.text)
		require.NoError(t, err)
		require.True(t, i >= 0 && i < below && !seen[v.text], "%q", v.text)
		seen[v.text] = true
		texts = append(texts, v.text)
	}
	return texts
}

// TestScanOfTrees: an element that is there all the time is returned, whatever
// comes and goes meanwhile.
func TestScanOfTrees(t *testing.T) {
	const size = 2000
	for _, c := range []struct {
		scan, add, del string
		width          int
	}{
		{"HSCAN", "HSET k %s v", "HDEL k %s", 2},
		{"SSCAN", "SADD k %s", "SREM k %s", 1},
		{"ZSCAN", "ZADD k 1 %s", "ZREM k %s", 2},
	} {
		t.Run(c.scan, func(t *testing.T) {
			n := newTestNode(t)
			run := func(format, elem string) { n.do(strings.Fields(fmt.Sprintf(format, elem))...) }
			for i := range size {
				run(c.add, "stay"+strconv.Itoa(i))
			}
			seen, cursor, calls := map[string]int{}, "0", 0
			for done := false; !done; done = cursor == "0" {
				v := n.doValue([]string{c.scan, "k", cursor, "COUNT", "50"})
				cursor = v.elems[0].text
				require.LessOrEqual(t, len(v.elems[1].elems), 60*c.width)
				for i := 0; i < len(v.elems[1].elems); i += c.width {
					seen[v.elems[1].elems[i].text]++
				}
				pos, err := strconv.ParseUint(cursor, 10, 64)
				require.NoError(t, err)
				require.Less(t, pos, uint64(1)<<53)
				run(c.add, "come"+strconv.Itoa(calls))
				run(c.del, "come"+strconv.Itoa(calls-5))
				calls++
			}
			for i := range size {
				require.Equal(t, 1, seen["stay"+strconv.Itoa(i)])
			}
			require.Greater(t, calls, size/60)
			v := n.doValue([]string{c.scan, "k", "4503599627370496"}) // 2^52: beyond the end
			require.Equal(t, "0", v.elems[0].text)
			require.Empty(t, v.elems[1].elems)
		})
	}
}

// TestCollectionsAreDeterministic: two stores that applied the same random log are
// equal, and so is one that took cuts while it did; a cut stays what it was.
func TestCollectionsAreDeterministic(t *testing.T) {
	for name := range thresholds {
		t.Run(name, func(t *testing.T) {
			a, b := newThresholdNode(t, name), newThresholdNode(t, name)
			g := commandGen{rand.New(rand.NewPCG(7, 7))}
			var cut *Cut
			var frozen string
			for i := range 4000 {
				args := g.next()
				if g.IntN(10) == 0 {
					args = cmd("SPOP", g.pick("s1", "s2"), g.pick("", "2"))
				}
				a.doValue(args)
				b.doValue(args)
				if i%500 == 250 {
					cut = b.s.OpenCut()
					frozen = cut.Digest()
				} else if i%500 == 499 {
					require.Equal(t, frozen, cut.Digest(), "a command changed what a cut holds")
					cut.Close()
				}
			}
			_, da := a.s.Digest()
			_, db := b.s.Digest()
			require.Equal(t, da, db)
		})
	}
}

// TestExpiredKeysBesideViews: keys that are found expired while a command holds
// views of others.
func TestExpiredKeysBesideViews(t *testing.T) {
	n := newTestNode(t)
	keys := cmd("d1 d2 d3 d4")
	for i := range 400 {
		// More keys are due than one entry removes, so some are met by the commands.
		n.do("SADD", "due"+strconv.Itoa(i), "x")
		n.do("PEXPIRE", "due"+strconv.Itoa(i), "5")
	}
	for _, k := range keys {
		n.do("SADD", k, "old")
		n.do("PEXPIRE", k, "5")
	}
	n.do("SADD", "s", "a", "b")
	n.do("ZADD", "z", "1", "a", "2", "b")
	n.now += 5
	require.Equal(t, "(integer) 2", n.do("SUNIONSTORE", "d1", "s", "d1", "d2", "due399", "s"))
	require.Equal(t, "1) \"a\"\n2) \"b\"", n.do("ZINTER", "3", "z", "s", "d1"))
	require.Equal(t, "(integer) 1", n.do("SMOVE", "s", "d3", "a"))
	require.Equal(t, `1) "a"`, n.do("SMEMBERS", "d3"))
	require.Equal(t, "(integer) 2", n.do("ZUNIONSTORE", "d4", "2", "z", "d4"))
	require.Equal(t, "(integer) -1", n.do("TTL", "d4"))
}

// TestNothingIsLeftBehind: when the keys are gone, so is what they took.
func TestNothingIsLeftBehind(t *testing.T) {
	for name := range thresholds {
		n := newThresholdNode(t, name)
		n.do("SET", "x", "1")
		n.do("DEL", "x")
		before := n.s.heap.stats() // the table's own memory
		g := commandGen{rand.New(rand.NewPCG(3, 9))}
		for range 3000 {
			n.doValue(g.next())
		}
		for _, k := range strings.Fields("h1 h2 l1 l2 s1 s2 s3 z1 z2 z3 lex") {
			n.do("DEL", k)
		}
		for n.s.Maintain() {
		}
		stats := n.s.heap.stats()
		require.Equal(t, before.LiveBytes, stats.LiveBytes, name)
		require.Zero(t, stats.Objects, name)
	}
}

func TestIntset(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	var p []byte
	var model []int64
	for range 3000 {
		v := []int64{g.Int64N(20), g.Int64N(70000) - 35000, g.Int64() >> 20, math.MinInt64, math.MaxInt64}[g.IntN(5)]
		i, found := slices.BinarySearch(model, v)
		rank, ok := intsetFind(p, v)
		require.Equal(t, found, ok)
		require.Equal(t, i, rank)
		switch {
		case !found:
			p = intsetInsert(nil, p, rank, v)
			model = slices.Insert(model, i, v)
		case g.IntN(2) == 0:
			p = intsetDelete(nil, p, rank)
			model = slices.Delete(model, i, i+1)
		}
		require.Equal(t, len(model), intsetLen(p))
		require.Len(t, p, intsetHeader+intsetWidth(p)*len(model))
	}
	for i, v := range model {
		require.Equal(t, v, intsetAt(p, i))
	}
	for n := range p { // damage never leads outside
		require.LessOrEqual(t, intsetLen(p[:n])*intsetWidth(p[:n]), n)
	}
}

func TestScoreBytesSortAsNumbers(t *testing.T) {
	scores := []float64{math.Inf(-1), -math.MaxFloat64, -1e17, -1.5, -1, -math.SmallestNonzeroFloat64, 0,
		math.SmallestNonzeroFloat64, 0.1, 1, 1.5, 1e17, math.MaxFloat64, math.Inf(1)}
	for i, f := range scores {
		require.Equal(t, f, decodeScore(encodeScore(f)))
		require.Equal(t, f, readScore(appendScore(nil, f)))
		if i > 0 {
			require.Less(t, encodeScore(scores[i-1]), encodeScore(f), "%v", f)
		}
	}
	require.Equal(t, encodeScore(0), encodeScore(math.Copysign(0, -1)))
	require.False(t, math.Signbit(decodeScore(encodeScore(math.Copysign(0, -1)))))
	require.Zero(t, readScore(nil))
	require.True(t, sort.Float64sAreSorted(scores))
}

// TestCombineWhatIsNoNumber: infinity times 0, as redis-server 7.0 has it. A union takes it
// for 0, an intersection lets the aggregate do so.
func TestCombineWhatIsNoNumber(t *testing.T) {
	n := newTestNode(t)
	n.do("ZADD", "z", "inf", "m", "1", "n")
	for _, tc := range []struct{ op, weights, aggregate, want string }{
		{"ZINTER", "-3 0", "sum", "n -3 m 0"}, {"ZINTER", "0 2", "sum", "n 2 m inf"}, {"ZUNION", "-3 0", "sum", "m -inf n -3"},
		{"ZINTER", "-3 0", "min", "m -inf n -3"}, {"ZINTER", "0 2", "min", "m 0 n 0"}, {"ZUNION", "-3 0", "min", "m -inf n -3"},
		{"ZINTER", "-3 0", "max", "m -inf n 0"}, {"ZINTER", "0 2", "max", "n 2 m inf"}, {"ZUNION", "-3 0", "max", "m 0 n 0"},
	} {
		args := append([]string{tc.op, "2", "z", "z", "WEIGHTS"}, strings.Fields(tc.weights)...)
		var got []string
		for _, e := range n.doValue(append(args, "AGGREGATE", tc.aggregate, "WITHSCORES")).elems {
			got = append(got, e.text)
			for _, x := range e.elems {
				got = append(got, x.text)
			}
		}
		require.Equal(t, tc.want, strings.Join(got, " "), "%v", tc)
	}
}
