package kv

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readReplyOf runs a read in a chunk of its own and returns the chunk.
func readReplyOf(n *testNode, words string) *Chunk {
	var c Chunk
	args := strings.Fields(words)
	raw := make([][]byte, len(args))
	for i, a := range args {
		raw[i] = []byte(a)
	}
	c.AddRead(Lookup(raw[0]), raw)
	n.s.Read(&c, n.now)
	return &c
}

func fillForRoom(n *testNode, count int, member func(i int) string) {
	const per = 500
	for from := 0; from < count; from += per {
		rows := [][]string{{"RPUSH", "list"}, {"SADD", "set"}, {"HSET", "hash"}, {"ZADD", "zset"}, {"MSET"}}
		var c Chunk
		for i := from; i < min(from+per, count); i++ {
			m := member(i)
			for j, words := range [][]string{{m}, {m}, {m, m}, {strconv.Itoa(i), m}, {"key:" + m, "v"}} {
				rows[j] = append(rows[j], words...)
			}
			addCommand(&c, "XADD", "stream", "*", "f", m)
		}
		for _, args := range rows {
			addCommand(&c, args...)
		}
		n.run(&c)
		n.log = n.log[:0]
	}
}

// TestReplyRoomIsNotWasted: hints come close enough to what is written, be the elements
// short, long or both.
func TestReplyRoomIsNotWasted(t *testing.T) {
	for name, member := range map[string]func(i int) string{
		"short": func(i int) string { return strconv.FormatInt(int64(i), 36) },
		"usual": func(i int) string { return fmt.Sprintf("element:%06d", i) },
		"long":  func(i int) string { return strings.Repeat("x", 500) + strconv.Itoa(i) },
		"mixed": func(i int) string { return strings.Repeat("y", i%97*10) + strconv.Itoa(i) },
	} {
		n := newTestNode(t)
		fillForRoom(n, 20_000, member)
		for _, words := range []string{
			"LRANGE list 0 -1", "LRANGE list 10 -10000", "SMEMBERS set", "HGETALL hash", "HKEYS hash", "HVALS hash",
			"ZRANGE zset 0 -1", "ZRANGE zset 0 -1 WITHSCORES", "XRANGE stream - +", "XREVRANGE stream + -", "KEYS *", "SUNION set none",
		} {
			r := &readReplyOf(n, words).Reply
			require.LessOrEqual(t, cap(r.b), max(2*r.Len(), LargeTape)+LargeTape, "%s elements: %s has %d bytes", name, words, r.Len())
		}
	}
}

// TestReplyRoomOfShortRanges: a few elements of a large collection take no more than
// they need.
func TestReplyRoomOfShortRanges(t *testing.T) {
	n := newTestNode(t)
	n.do("RPUSH", "list", strings.Repeat("x", 8<<20))
	fillForRoom(n, 1000, func(i int) string { return fmt.Sprintf("%0500d", i) })
	for _, words := range []string{"LRANGE list 1 3", "ZRANGE zset 0 2", "XRANGE stream - + COUNT 3", "XRANGE stream - + COUNT 17", "LRANGE list -1 -1"} {
		r := &readReplyOf(n, words).Reply
		require.Less(t, cap(r.b), 64<<10, words)
	}
}

func TestHintsAreBounded(t *testing.T) {
	var r Reply
	r.Grow(1 << 50)
	require.LessOrEqual(t, cap(r.b), maxRoom)
	r = Reply{}
	r.Array(1 << 40)
	require.LessOrEqual(t, cap(r.b), maxRoom)
	r = Reply{}
	r.Int(1)
	start := r.Len()
	r.Bulk(make([]byte, 1<<20))
	r.growLike(start, 1, 1<<40, 3<<20)
	require.LessOrEqual(t, cap(r.b), 5<<20)
}

// TestManySmallHints: a million of them copy the tape a few times only.
func TestManySmallHints(t *testing.T) {
	var r Reply
	moves, last := 0, 0
	for range 1_000_000 {
		if r.Array(1); cap(r.b) != last {
			moves, last = moves+1, cap(r.b)
		}
	}
	require.Less(t, moves, 50)
}

// TestLateHeads: whatever was guessed, the values stand behind the right number.
func TestLateHeads(t *testing.T) {
	for _, guess := range []int{0, 5, 9, 10, 99, 12345} {
		for _, count := range []int{0, 5, 10, 100} {
			var r Reply
			r.OK()
			h := r.beginLate('*', guess)
			for range count {
				r.BulkString("x")
			}
			r.endLate(h, count)
			require.Equal(t, fmt.Sprintf("+OK\r\n*%d\r\n", count)+strings.Repeat("$1\r\nx\r\n", count), string(r.Bytes()))
		}
	}
}

func TestTreeSizeBetween(t *testing.T) {
	tr := newTree(nil)
	sizes := []int64{0}
	for i := range 3000 {
		val := make([]byte, i*i%700)
		if i%701 == 0 {
			val = make([]byte, 3*leafMax)
		}
		tr.insertAt(i, val)
		sizes = append(sizes, sizes[i]+int64(entrySize(nil, val)))
	}
	for i := range 5000 {
		lo, hi := i*37%3001, i*101%3001
		require.Equal(t, max(0, sizes[hi]-sizes[lo]), tr.sizeBetween(lo, hi), "%d to %d", lo, hi)
	}
	require.Equal(t, sizes[3000], tr.sizeBetween(-5, 5000))
	require.Zero(t, newTree(nil).sizeBetween(0, 10))
}

// TestSpareTapes: a buffer is given to one taker only, and not for much smaller a need.
func TestSpareTapes(t *testing.T) {
	b := append(NewTape(1<<20), "old"...)
	first := &b[0]
	SpareTape(b)
	require.NotSame(t, first, &NewTape(LargeTape)[:1][0], "too large")
	a := NewTape(1<<20 - 5000)
	c := NewTape(1<<20 - 5000)
	require.NotSame(t, &a[:1][0], &c[:1][0])
	require.Empty(t, a)
	require.GreaterOrEqual(t, cap(a), 1<<20-5000)
	SpareTape(make([]byte, 10)) // too small to be kept
}

// TestSparesAreGarbage: what was given away is collected.
func TestSparesAreGarbage(t *testing.T) {
	SpareTape(make([]byte, 8<<20))
	runtime.GC()
	runtime.GC()
	for _, s := range spares.list {
		require.True(t, s.size < 8<<20 || s.first.Value() == nil)
	}
}
