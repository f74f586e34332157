package resp

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var slowArgsOf = regexp.MustCompile(`^\[\[:\d+ :\d+ :\d+ (\[[^\]]*\]) `)

// newest is the newest entry's arguments.
func (c *testClient) newestSlow() string {
	c.t.Helper()
	m := slowArgsOf.FindStringSubmatch(c.do("SLOWLOG", "GET", "1"))
	require.NotNil(c.t, m)
	return m[1]
}

// The slow log shows commands as they were sent, though the log knows only which they
// were.
func TestSlowlogSpelling(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	admin := s.dial() // its own commands come behind what it asks about
	require.Equal(t, "+OK", admin.do("CONFIG", "SET", "slowlog-log-slower-than", "0"))
	for _, args := range [][]string{
		{"INCRBYFLOAT", "A", "1.0"}, {"incrbyfloat", "A", "1.0"}, {"InCrByFlOaT", "A", "1.0"},
		{"xgroup", "CREATE", "s", "g", "$", "MKSTREAM"}, {"GET", "x"},
	} {
		c.do(args...)
		want := "["
		for i, a := range args {
			if i > 0 {
				want += " "
			}
			want += `"` + a + `"`
		}
		require.Equal(t, want+"]", admin.newestSlow())
	}
}

// What a transaction's commands take is theirs, and EXEC is not logged.
func TestSlowlogOfExec(t *testing.T) {
	s := startServer(t, func(o *Options) { o.DebugCommand = "yes" })
	c := s.dial()
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "500000") // no other command takes that, on any machine
	c.do("MULTI")
	c.do("SET", "a", "b")
	c.do("DEBUG", "SLEEP", "0.6")
	c.do("PING")
	require.Equal(t, `[+OK +OK +PONG]`, c.do("EXEC"))
	require.Equal(t, ":1", c.do("SLOWLOG", "LEN"))
	require.Equal(t, `["DEBUG" "SLEEP" "0.6"]`, c.newestSlow())
}

// A command that is refused when it is executed was called, and is logged.
func TestRefusedSetUserIsCounted(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "0")
	require.Contains(t, c.do("ACL", "SETUSER", "bad name", "+get"), "-ERR")
	require.Equal(t, `["ACL" "SETUSER" "(redacted)" "(redacted)"]`, c.newestSlow())
	require.Contains(t, c.do("INFO", "commandstats"), "cmdstat_acl|setuser:calls=1,")
}

// Commands that scripts call count, also those of transactions that this node answers.
func TestCommandStatsOfScripts(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("CONFIG", "RESETSTAT")
	c.do("SET", "k", "v")
	c.do("EVAL", "redis.call('set', KEYS[1], 0); redis.call('set', KEYS[1], 1); redis.pcall('lpush', KEYS[1], 1); return redis.call('get', KEYS[1])", "1", "k")
	c.do("MULTI")
	c.do("PING")
	c.do("CLIENT", "SETNAME", "a b")
	c.do("EXEC")
	stats := c.do("INFO", "commandstats")
	require.Contains(t, stats, "cmdstat_set:calls=3,")
	require.Contains(t, stats, "cmdstat_get:calls=1,")
	require.Regexp(t, `cmdstat_lpush:calls=1,[^\\]*failed_calls=1`, stats)
	require.Contains(t, stats, "cmdstat_ping:calls=1,")
	require.Regexp(t, `cmdstat_client\|setname:calls=1,[^\\]*failed_calls=1`, stats)
}

// MONITOR shows EXEC behind what it executes, also when it is refused.
func TestMonitorOfExec(t *testing.T) {
	s := startServer(t, nil)
	m, c := s.dial(), s.dial()
	require.Equal(t, "+OK", m.do("MONITOR"))
	c.do("MULTI")
	c.do("SET", "a", "b")
	c.do("EXEC")
	c.do("MULTI")
	c.do("NOSUCH")
	c.do("EXEC")
	for _, want := range []string{`"MULTI"`, `"SET" "a" "b"`, `"EXEC"`, `"MULTI"`, `"EXEC"`} {
		require.Contains(t, m.reply(), want)
	}
}

// A parameter for tests of Redis itself is shown to who asks for it by its name.
func TestHiddenParameters(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.NotContains(t, c.do("CONFIG", "GET", "*"), "key-load-delay")
	require.Equal(t, `["key-load-delay" "0"]`, c.do("CONFIG", "GET", "Key-Load-Delay"))
}

// CONFIG SET of the cluster's settings is logged like any command, its secrets hidden.
func TestSlowlogOfConfigSet(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "0")
	c.do("config", "set", "requirepass", "")
	require.Equal(t, `["config" "set" "requirepass" "(redacted)"]`, c.newestSlow())
	c.do("MULTI")
	c.do("CONFIG", "SET", "maxmemory", "0")
	c.do("EXEC")
	require.Equal(t, `["CONFIG" "SET" "maxmemory" "0"]`, c.newestSlow())
	c.do("acl", "deluser", "nobody")
	require.Equal(t, `["acl" "deluser" "(redacted)"]`, c.newestSlow())
}

// What is freed later is counted, as in Redis: large values of UNLINK, keys of a flush.
func TestLazyFreedObjects(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	args := []string{"RPUSH", "big"}
	for range 1000 {
		args = append(args, strings.Repeat("x", 100))
	}
	c.do(args...)
	c.do("SET", "small", "x")
	c.do("UNLINK", "big", "small", "none")
	require.Contains(t, c.do("INFO", "memory"), `lazyfreed_objects:1\r\n`)
	c.do("MSET", "a", "1", "b", "2")
	c.do("FLUSHALL", "ASYNC")
	require.Contains(t, c.do("INFO", "memory"), `lazyfreed_objects:3\r\n`)
	c.do("CONFIG", "RESETSTAT")
	require.Contains(t, c.do("INFO", "memory"), `lazyfreed_objects:0\r\n`)
}
