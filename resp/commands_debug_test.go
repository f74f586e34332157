package resp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDebugIsRefusedUnlessEnabled(t *testing.T) {
	for setting, want := range map[string]string{"": "-ERR DEBUG command not allowed", "no": "-ERR DEBUG command not allowed", "local": "+OK", "yes": "+OK"} {
		s := startServer(t, func(o *Options) { o.DebugCommand = setting })
		c := s.dial()
		c.send("DEBUG SLEEP 0\r\n")
		c.expect(want)
	}
	require.False(t, (&session{srv: &Server{opt: Options{DebugCommand: "local"}}}).debugAllowed(), "another machine")
}

func TestDebug(t *testing.T) {
	s := startServer(t, func(o *Options) { o.DebugCommand = "yes" })
	c := s.dial()
	c.send("SET a 1\r\nDEBUG DIGEST-VALUE a\r\nDEBUG POPULATE 2\r\nGET key:1\r\n")
	c.expect("+OK\r\n*1\r\n+b4fc66738120fba0b5aa500ab5c2bf89cea1c5da\r\n+OK\r\n$7\r\nvalue:1\r\n")
	c.send("MULTI\r\nDEBUG POPULATE 3\r\nGET key:2\r\nDEBUG SLEEP 0\r\nDEBUG OBJECT nosuch\r\nEXEC\r\n")
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n$7\r\nvalue:2\r\n+OK\r\n-ERR no such key\r\n")
	c.send("DEBUG PROTOCOL attrib\r\nDEBUG PROTOCOL true\r\nDEBUG NOSUCH\r\nDEBUG SLEEP x\r\n")
	c.expect("$39\r\nSome real reply following the attribute\r\n:1\r\n" +
		"-ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP.\r\n-ERR value is not a valid float\r\n")
}

// DEBUG SLEEP in a transaction sleeps once, and keys may expire meanwhile.
func TestDebugSleepInExec(t *testing.T) {
	s := startServer(t, func(o *Options) { o.DebugCommand = "yes" })
	c := s.dial()
	require.Equal(t, "+OK", c.do("MULTI"))
	for _, line := range []string{"SET k v PX 5", "GET k", "DEBUG SLEEP 0.02", "GET k"} {
		require.Equal(t, "+QUEUED", c.line(line))
	}
	started := time.Now()
	require.Equal(t, `[+OK "v" +OK nil]`, c.do("EXEC"))
	require.GreaterOrEqual(t, time.Since(started), 20*time.Millisecond)
}
