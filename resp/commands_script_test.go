package resp

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A script enters the log when it writes, and the first time it is seen; nothing
// else of it does.
func TestScriptsInTheLog(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	logged := func(want int64, args ...string) string {
		t.Helper()
		before := s.node.proposals.Load()
		got := c.do(args...)
		require.Equal(t, want, s.node.proposals.Load()-before, "%v", args)
		return got
	}
	const get = "return redis.call('GET', KEYS[1])"
	require.Equal(t, "nil", logged(1, "EVAL", get, "1", "k"), "the cache learns it")
	require.Equal(t, "nil", logged(0, "EVAL", get, "1", "k"))
	require.Equal(t, "+OK", logged(1, "SET", "k", "v"))
	require.Equal(t, `"v"`, logged(0, "EVAL", get, "1", "k"))

	// A script whose path decides whether it writes: redsync's unlock.
	const unlock = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end`
	sha := strings.Trim(logged(1, "SCRIPT", "LOAD", unlock), `"`)
	require.Equal(t, ":0", logged(0, "EVALSHA", sha, "1", "k", "other"))
	require.Equal(t, ":1", logged(1, "EVALSHA", sha, "1", "k", "v"), "dropped as a read, then proposed")
	require.Equal(t, ":0", logged(1, "EVALSHA", sha, "1", "k", "v"), "it is known to write now")

	require.Equal(t, "-ERR Write commands are not allowed from read-only scripts. script: "+
		"32da2aa7be78ce02a1c3ef9a84e3da2a67bd4d2e, on @user_script:1.",
		replaceSHA(c.do("EVAL_RO", "return redis.call('SET', 'a', 1)", "0"), "32da2aa7be78ce02a1c3ef9a84e3da2a67bd4d2e"))
	require.Equal(t, "-NOSCRIPT No matching script. Please use EVAL.", logged(0, "EVALSHA", strings.Repeat("f", 40), "0"))
	require.Equal(t, "-NOTBUSY No scripts in execution right now.", logged(0, "SCRIPT", "KILL"))
	require.Equal(t, `["a" "b"]`, c.do("COMMAND", "GETKEYS", "EVAL", "x", "2", "a", "b", "c"))
}

// replaceSHA puts a known digest in the place of the reply's.
func replaceSHA(reply, sha string) string {
	before, after, ok := strings.Cut(reply, " script: ")
	if !ok {
		return reply
	}
	_, rest, _ := strings.Cut(after, ",")
	return before + " script: " + sha + "," + rest
}

// Scripts among other commands of a pipeline, and in transactions, in their places.
func TestScriptsInChunks(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	const incr = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
	const get = "return redis.call('GET', KEYS[1])"
	require.Equal(t, ":1", c.do("EVAL", incr, "1", "n", "1"))
	require.Equal(t, `"1"`, c.do("EVAL", get, "1", "n"))

	// Only reads and scripts: none is known to write before the second one tries.
	c.do("SCRIPT", "LOAD", incr+" --")
	c.send(command("GET", "n") + command("EVAL", incr+" --", "1", "n", "5") + command("GET", "n") +
		command("EVAL", get, "1", "n") + command("SET", "n", "10") + command("EVAL", get, "1", "n") + command("GET", "n"))
	for _, want := range []string{`"1"`, ":6", `"6"`, `"6"`, "+OK", `"10"`, `"10"`} {
		require.Equal(t, want, c.reply())
	}

	for _, db := range []string{"0", "3"} {
		require.Equal(t, "+OK", c.do("SELECT", db))
		require.Equal(t, "+OK", c.do("SET", "n", "2"))
		require.Equal(t, "+OK", c.do("WATCH", "n"))
		require.Equal(t, "+OK", c.do("MULTI"))
		for _, cmd := range [][]string{
			{"GET", "n"}, {"EVAL", get, "1", "n"}, {"SELECT", "0"}, {"SET", "other", "x"}, {"EVAL", get, "1", "other"},
			{"SELECT", db}, {"EVAL", incr, "1", "n", "5"}, {"GET", "n"}, {"PING"},
		} {
			require.Equal(t, "+QUEUED", c.do(cmd...))
		}
		require.Equal(t, `["2" "2" +OK +OK "x" +OK :7 "7" +PONG]`, c.do("EXEC"))
	}
	// Scripts alone in a transaction that turn out to write.
	sha := strings.Trim(c.do("SCRIPT", "LOAD", incr+" ---"), `"`)
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "+QUEUED", c.do("GET", "n"))
	require.Equal(t, "+QUEUED", c.do("EVALSHA", sha, "1", "n", "1"))
	require.Equal(t, "+QUEUED", c.do("GET", "n"))
	require.Equal(t, `["7" :8 "8"]`, c.do("EXEC"))
	// EXEC that its WATCH aborts.
	require.Equal(t, "+OK", c.do("WATCH", "n"))
	require.Equal(t, "+OK", s.elsewhere(t, "SET", "n", "0"))
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "+QUEUED", c.do("EVALSHA", sha, "1", "n", "1"))
	require.Equal(t, "nil-array", c.do("EXEC"))
}

// elsewhere runs one command on another connection, in database 3.
func (s *testServer) elsewhere(t *testing.T, args ...string) string {
	t.Helper()
	o := s.dial()
	require.Equal(t, "+OK", o.do("SELECT", "3"))
	return o.do(args...)
}

func TestScriptKill(t *testing.T) {
	s := startServer(t, nil)
	c, killer := s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "script-max-instructions", "1000000000"))
	require.Equal(t, "nil", c.do("EVAL", "if KEYS[1] then while true do end end", "0"))
	c.send(command("EVAL", "if KEYS[1] then while true do end end", "1", "k"))
	writer := s.dial() // waits for the script, and keeps no reader from killing it
	writer.send(command("SET", "a", "b"))
	eventually(t, func() bool { return killer.do("SCRIPT", "KILL") == "+OK" }, "the script could not be killed")
	require.Contains(t, c.reply(), "Script killed by user with SCRIPT KILL...")
	require.Equal(t, "+OK", writer.reply())
	require.Equal(t, "+PONG", c.do("PING"))
}

// A script that takes longer than busy-reply-threshold makes this node answer -BUSY
// until it is killed; a transaction that met it is discarded as a whole.
func TestBusyScripts(t *testing.T) {
	s := startServer(t, nil)
	c, other, queued := s.dial(), s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "busy-reply-threshold", "1", "script-max-instructions", "1000000000"))
	require.Equal(t, "+OK", queued.do("MULTI"))
	require.Equal(t, "+QUEUED", queued.do("INCR", "n"))
	before := s.node.proposals.Load()
	c.send(command("EVAL", "while true do end", "0"))
	const busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
	require.Eventually(t, func() bool { return other.do("PING") == busy }, 5*time.Second, time.Millisecond)
	require.Equal(t, busy, other.do("FUNCTION", "KILL"))
	require.Equal(t, "-EXECABORT Transaction discarded because of: "+busy[1:], queued.do("EXEC"))
	require.Equal(t, "+OK", other.do("SCRIPT", "KILL"))
	require.Contains(t, c.reply(), "Script killed by user")
	require.Eventually(t, func() bool { return other.do("PING") == "+PONG" }, 5*time.Second, time.Millisecond)
	require.Equal(t, "nil", other.do("GET", "n"))
	require.Equal(t, before, s.node.proposals.Load(), "no other node ran it")
}

// A function that is called in the pipeline that loads it runs as one called later: only
// here, and until it is killed.
func TestBusyFunctionBehindItsLibrary(t *testing.T) {
	s := startServer(t, nil)
	c, other := s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "busy-reply-threshold", "1", "script-max-instructions", "1000000000"))
	c.send(command("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() while true do end end)") +
		command("FCALL", "f", "0") + command("PING"))
	require.Eventually(t, func() bool { return strings.HasPrefix(other.do("PING"), "-BUSY") }, 5*time.Second, time.Millisecond)
	require.Equal(t, "+OK", other.do("FUNCTION", "KILL"))
	require.Equal(t, `"lib"`, c.reply())
	require.Contains(t, c.reply(), "Script killed by user")
	require.Equal(t, "+PONG", c.reply())
}

// Inside MULTI a command is refused room when it is queued, and EXEC for it.
func TestMultiWithoutMemory(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("SET", "k", "v")
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "maxmemory", "1"))
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "-OOM command not allowed when used memory > 'maxmemory'.", c.do("SET", "k", "w"))
	require.Equal(t, "+QUEUED", c.do("GET", "k"))
	require.Equal(t, "-EXECABORT Transaction discarded because of previous errors.", c.do("EXEC"))
}

// A key that is due when it is watched does not count as modified once it goes.
func TestWatchOfDueKey(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("SET", "k", "v", "PX", "5000")
	s.node.offset.Store(6000) // the node's clock passes the expiry, the stamp does not
	require.Eventually(t, func() bool {
		require.Equal(t, "+OK", c.do("WATCH", "k"))
		return s.node.ticksAsked.Load() > 0
	}, 5*time.Second, time.Millisecond, "the loop's clock follows")
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, "+QUEUED", c.do("PING"))
	require.Equal(t, `[+PONG]`, c.do("EXEC"))
}

// A writer that waits for a long script does not hold up the event loops: SCRIPT KILL
// gets through.
func TestScriptKillWhileAWriteWaits(t *testing.T) {
	s := startServer(t, nil)
	c, writer, other := s.dial(), s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "busy-reply-threshold", "0", "script-max-instructions", "1000000000"))
	c.send(command("EVAL", "while true do end", "0"))
	store := s.node.Store()
	require.Eventually(t, func() bool { return store.BusyText() != "" && s.longReads.n.Load() > 0 }, 5*time.Second, time.Millisecond)
	writer.send(command("SET", "k", "v"))
	started := time.Now()
	for time.Since(started) < 200*time.Millisecond { // ticks of the loop among them
		require.Equal(t, "+PONG", other.do("PING"))
	}
	require.Equal(t, "+OK", other.do("SCRIPT", "KILL"))
	require.Contains(t, c.reply(), "Script killed by user")
	require.Equal(t, "+OK", writer.reply())
}
