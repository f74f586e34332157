package resp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// CLIENT PAUSE WRITE holds back what may write, and such clients count as blocked; what
// only reads goes on, scripts that declare so included.
func TestPauseOfWrites(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("SET", "x", "y")
	queued := s.dial()
	queued.do("MULTI")
	queued.do("SET", "q", "1")
	reading := s.dial()
	reading.do("MULTI")
	reading.do("GET", "x")
	sha := c.do("SCRIPT", "LOAD", "#!lua flags=no-writes\nreturn 2")
	c.do("FUNCTION", "LOAD", "#!lua name=f\nredis.register_function{function_name='f1', callback=function() return 1 end, flags={'no-writes'}}")

	require.Equal(t, "+OK", c.do("CLIENT", "PAUSE", "600000", "WRITE"))
	blocked := []string{
		command("SET", "a", "1"), command("PFCOUNT", "h"), command("PUBLISH", "ch", "m"),
		command("EVAL", "return 1", "0"), command("EVAL", "#!lua\nreturn 1", "0"),
	}
	held := []*testClient{queued}
	queued.send(command("EXEC"))
	for _, cmd := range blocked {
		o := s.dial()
		o.send(cmd)
		held = append(held, o)
	}
	eventually(t, func() bool { return s.stats.blocked.Load() == int64(len(held)) }, "all are held back")
	require.Contains(t, c.do("CLIENT", "LIST"), " flags=b ")
	for _, x := range [][]string{
		{`"y"`, "GET", "x"},
		{":2", "EVAL", "#!lua flags=no-writes\nreturn 2", "0"},
		{":2", "EVALSHA", sha[1 : len(sha)-1], "0"},
		{`"y"`, "EVAL_RO", "return redis.call('get', KEYS[1])", "1", "x"},
		{":1", "FCALL", "f1", "0"},
		{"-ERR wrong number of arguments for 'set' command", "SET", "x"},
	} {
		require.Equal(t, x[0], c.do(x[1:]...), x)
	}
	require.Equal(t, `["y"]`, reading.do("EXEC"))

	// As in Redis a pause is never shortened, nor narrowed.
	require.Equal(t, "+OK", c.do("CLIENT", "PAUSE", "1", "WRITE"))
	require.Equal(t, int64(len(held)), s.stats.blocked.Load())
	require.Equal(t, "+OK", c.do("CLIENT", "UNPAUSE"))
	for i, want := range []string{"[+OK]", "+OK", ":0", ":0", ":1", ":1"} {
		require.Equal(t, want, held[i].reply())
	}
	require.Zero(t, s.stats.blocked.Load())
}

// A client that leaves while it is held back is not counted any more.
func TestPausedClientLeaves(t *testing.T) {
	s := startServer(t, nil)
	c, o := s.dial(), s.dial()
	c.do("CLIENT", "PAUSE", "600000", "WRITE")
	o.send(command("SET", "a", "1"))
	eventually(t, func() bool { return s.stats.blocked.Load() == 1 }, "held back")
	o.conn.Close()
	eventually(t, func() bool { return s.stats.blocked.Load() == 0 }, "gone")
	require.Equal(t, "+OK", c.do("CLIENT", "UNPAUSE"))
	require.Equal(t, "nil", c.do("GET", "a"))
}
