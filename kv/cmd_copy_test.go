package kv

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// SWAPDB touches the watched keys that are there before it or after it, in either
// database, and no others.
func TestWatchAndSwapDB(t *testing.T) {
	for _, tc := range []struct {
		name          string
		before, after []string // before the watch, and while the key is watched
		tick          int64
		hold          bool
	}{
		{"there before", []string{"SET k 1"}, []string{"SWAPDB 0 1"}, 0, false},
		{"there after", []string{"SET k 1", "MOVE k 1"}, []string{"SWAPDB 1 0"}, 0, false},
		{"there before and after", []string{"SET k 1", "COPY k k DB 1"}, []string{"SWAPDB 0 1"}, 0, false},
		{"never there", nil, []string{"SWAPDB 0 1"}, 0, true},
		{"expired what took its place", []string{"SET k 1 PX 10", "MOVE k 1"}, []string{"SWAPDB 0 1"}, 10, true},
		{"other databases", []string{"SET k 1"}, []string{"SWAPDB 1 2"}, 0, true},
		{"with itself", []string{"SET k 1"}, []string{"SWAPDB 0 0"}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			for _, line := range tc.before {
				n.do(strings.Fields(line)...)
			}
			w := []Watch{n.s.Watch(0, []byte("k"))}
			n.now += tc.tick
			for _, line := range tc.after {
				require.Equal(t, "OK", n.do(strings.Fields(line)...))
			}
			got := n.exec(w, "SET result 1")
			require.Equal(t, tc.hold, got != "(nil array)", got)
		})
	}
}

// The databases stay swapped in a snapshot, and a cut from before shows them as
// they were.
func TestSwapDBAndCuts(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "a", "0", "PX", "60000")
	n.doDB(1, "RPUSH", "l", "x", "y")
	cut := n.s.OpenCut()
	defer cut.Close()
	before := cut.Digest()
	n.do("SWAPDB", "0", "1")
	require.Equal(t, "(integer) 2", n.do("LLEN", "l"))
	require.Equal(t, before, cut.Digest())
	_, digest := n.s.Digest()
	require.NotEqual(t, before, digest)
	n.tick(60000)
	require.Equal(t, []string{"(integer) 0"}, n.doDB(1, "DBSIZE").lines(), "the expiry index moved along")
}

// A copy of a large collection shares nothing with its source.
func TestCopyIsDeep(t *testing.T) {
	n := newTestNode(t)
	for i := range int64(2000) {
		n.do("ZADD", "z", itoa(i), "m"+itoa(i))
	}
	n.do("SETBIT", "b", "999999", "1")
	require.Equal(t, "(integer) 1", n.do("COPY", "z", "z2"))
	require.Equal(t, "(integer) 1", n.do("COPY", "b", "b2"))
	n.do("ZREMRANGEBYRANK", "z2", "0", "-2")
	n.do("SETBIT", "b2", "999999", "0")
	require.Equal(t, "(integer) 2000", n.do("ZCARD", "z"))
	require.Equal(t, "(integer) 1", n.do("ZCARD", "z2"))
	require.Equal(t, "(integer) 1", n.do("BITCOUNT", "b"))
	require.Equal(t, "(integer) 0", n.do("BITCOUNT", "b2"))
}

// What a cut sees of a value that moves stays.
func TestMoveUnderACut(t *testing.T) {
	n := newTestNode(t)
	for i := range int64(1000) {
		n.do("RPUSH", "l", itoa(i))
	}
	cut := n.s.OpenCut()
	defer cut.Close()
	before := cut.Digest()
	require.Equal(t, "(integer) 1", n.do("MOVE", "l", "7"))
	n.doDB(7, "LTRIM", "l", "0", "1")
	require.Equal(t, before, cut.Digest())
	require.Equal(t, []string{"(integer) 2"}, n.doDB(7, "LLEN", "l").lines())
}
