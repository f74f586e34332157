package kv

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var numbering = regexp.MustCompile(`\d+\) \(integer\) `)

// The replies follow Redis 8.2's documentation.
func TestDeletingReferencedEntries(t *testing.T) {
	n := newTestNode(t)
	answers := func(args ...string) string {
		return numbering.ReplaceAllString(strings.ReplaceAll(n.do(args...), "\n", " "), "")
	}
	fill := func() {
		n.do("DEL", "s")
		for _, id := range []string{"1-0", "2-0", "3-0", "4-0"} {
			n.do("XADD", "s", id, "f", "v")
		}
		n.do("XGROUP", "CREATE", "s", "a", "0")
		n.do("XGROUP", "CREATE", "s", "b", "0")
		n.do("XREADGROUP", "GROUP", "a", "x", "COUNT", "3", "STREAMS", "s", ">")
		n.do("XREADGROUP", "GROUP", "b", "y", "COUNT", "2", "STREAMS", "s", ">")
	}
	pending := func(group string) string { return n.do("XPENDING", "s", group, "-", "+", "10") }

	fill()
	require.Equal(t, "1 -1", answers("XDELEX", "s", "IDS", "2", "1-0", "9-0"))
	require.Equal(t, "(integer) 3", n.do("XLEN", "s"))
	require.Contains(t, pending("a"), "1-0", "references are kept")
	require.Equal(t, "1", answers("XDELEX", "s", "DELREF", "IDS", "1", "2-0"))
	require.NotContains(t, pending("a"), "2-0")
	require.NotContains(t, pending("b"), "2-0")

	fill()
	n.do("XACK", "s", "a", "1-0")
	n.do("XACK", "s", "b", "1-0")
	n.do("XACK", "s", "a", "2-0")
	n.do("XACK", "s", "a", "3-0")
	require.Equal(t, "1 2 2 2",
		answers("XDELEX", "s", "acked", "ids", "4", "1-0", "2-0", "3-0", "4-0"), "pending, not read by b, not read at all")
	require.Equal(t, "(integer) 3", n.do("XLEN", "s"))

	fill()
	require.Equal(t, "2 -1", answers("XACKDEL", "s", "a", "ACKED", "IDS", "2", "1-0", "4-0"))
	require.NotContains(t, pending("a"), "1-0", "acknowledged in any case")
	require.Equal(t, "1", answers("XACKDEL", "s", "b", "ACKED", "IDS", "1", "1-0"), "b was the last")
	require.Equal(t, "1", answers("XACKDEL", "s", "a", "IDS", "1", "2-0"))
	require.Contains(t, pending("b"), "2-0")
	require.Equal(t, "1", answers("XACKDEL", "s", "b", "DELREF", "IDS", "1", "2-0"), "pending, though the entry is gone")
	require.Equal(t, "(integer) 2", n.do("XLEN", "s"))
	require.Equal(t, "-1", answers("XACKDEL", "s", "none", "IDS", "1", "3-0"))
	require.Equal(t, "-1", answers("XACKDEL", "none", "a", "IDS", "1", "3-0"))
	require.Equal(t, "-1", answers("XDELEX", "none", "IDS", "1", "3-0"))

	for _, x := range [][]string{
		{"ERR Number of IDs must be a positive integer", "XDELEX", "s", "IDS", "0", "1-0"},
		{"ERR The `numids` parameter must match the number of arguments", "XDELEX", "s", "IDS", "2", "1-0"},
		{"ERR syntax error", "XDELEX", "s", "KEEPREF", "ACKED", "IDS", "1", "1-0"},
		{"ERR syntax error", "XDELEX", "s", "KEEPREF", "1-0", "2-0"},
		{"ERR Invalid stream ID specified as stream command argument", "XACKDEL", "s", "a", "IDS", "1", "x"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value", "XDELEX", "str", "IDS", "1", "1-0"},
	} {
		n.do("SET", "str", "v")
		require.Contains(t, n.do(x[1:]...), x[0])
	}
}
