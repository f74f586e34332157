package kv

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFoundBySuite are cases of Redis's own suite that once failed, with its replies.
func TestFoundBySuite(t *testing.T) {
	t.Run("an empty list of flags", func(t *testing.T) {
		n := newTestNode(t)
		require.Equal(t, "(integer) 1", n.do("EVAL", "#!lua flags=\nreturn 1", "0"))
		require.Contains(t, n.do("EVAL", "#!lua flags=allow-oom,\nreturn 1", "0"), "Unexpected flag")
	})
	t.Run("scores of three hundred digits", func(t *testing.T) {
		n := newTestNode(t)
		long := "1" + strings.Repeat("0", 300) + "." + strings.Repeat("0", 17)
		require.Equal(t, "(integer) 1", n.do("ZADD", "z", long, "m"))
		require.Contains(t, n.do("ZSCORE", "z", "m"), "e+300")
	})
	t.Run("random numbers differ between scripts", func(t *testing.T) {
		n := newTestNode(t)
		const script = "return tostring(math.random())"
		var c Chunk
		addCommand(&c, "EVAL", script, "0")
		addCommand(&c, "EVAL", script, "0")
		c.LogScripts()
		n.run(&c)
		first, rest, err := parseValue(c.Reply.Bytes())
		require.NoError(t, err)
		second, _, err := parseValue(rest)
		require.NoError(t, err)
		require.NotEqual(t, first.text, second.text)
	})
	t.Run("a compiled function cannot be loaded", func(t *testing.T) {
		n := newTestNode(t)
		require.Contains(t, n.do("EVAL", "return loadstring(string.dump(function() return 1 end))()", "0"), "attempt to call a nil value")
		require.Contains(t, n.do("EVAL", "return string.dump(tostring)", "0"), "unable to dump given function")
	})

	t.Run("without active expiry a key goes when somebody asks", func(t *testing.T) {
		n := newTestNode(t)
		var c Chunk
		c.AppendConfigSet([][]byte{[]byte("active-expire"), []byte("no")})
		n.run(&c)
		n.do("SET", "k", "v", "PX", "10")
		n.now += 100
		n.do("SET", "other", "v")
		require.Equal(t, 2, n.s.DBSize(0))
		require.Equal(t, "(nil)", n.do("GET", "k"))
	})
}

// TestOOMRefusesExec: EXEC does nothing if one of its commands is refused.
func TestOOMRefusesExec(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	c.BeginExec(nil)
	addCommand(&c, "DEL", "a")
	addCommand(&c, "SET", "a", "1")
	c.EndExec()
	n.seq++
	n.waiting[n.seq] = &c
	n.index++
	body := BuildEntry(EntryHeader{Level: ApplyLevel, Flags: EntryOOM}, n.unit(&c, n.seq))
	require.NoError(t, n.s.Apply([]LogEntry{{Index: n.index, Body: body}}, n))
	require.Equal(t, "-EXECABORT Transaction discarded because of: "+errOOM+"\r\n", string(c.Reply.Bytes()))
}
