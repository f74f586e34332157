package kv

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDigestIsRedis: the same data have the same DEBUG DIGEST here and in Redis.
func TestDigestIsRedis(t *testing.T) {
	n := newTestNode(t)
	r := startRedisIn(t, shortDir(t), "--enable-debug-command", "yes")
	both := func(args ...string) {
		require.NotEqual(t, byte('-'), r.do(t, args...).kind, "%.60q", args)
		n.do(args...)
	}
	both("SET", "string", "1")
	both("SET", "big", strings.Repeat("x", 100_000))
	both("PEXPIREAT", "big", "32503680000000")
	both("ZADD", "infinite", "inf", "a", "-inf", "b", "1e300", "c", "1e-300", "d", "100000", "e")
	for i := range 300 {
		e := strings.Repeat("e", i)
		both("RPUSH", "list", e)
		both("SADD", "set", e)
		both("ZADD", "zset", "0."+strings.Repeat("1", i%20+1), e)
		both("HSET", "hash", e, "v"+e)
		both("XADD", "stream", "1-*", "f", e, e, "v")
		if i < 10 {
			both("RPUSH", "list small", e)
			both("SADD", "set small", e)
			both("SADD", "intset", "1"+strings.Repeat("0", i))
			both("ZADD", "zset small", "1.5", e)
			both("HSET", "hash small", e, "v"+e)
		}
	}
	keys := []string{"string", "big", "list", "set", "zset", "hash", "stream", "list small", "set small", "intset",
		"zset small", "hash small", "infinite", "missing"}
	for _, key := range keys {
		require.Equal(t, r.do(t, "DEBUG", "DIGEST-VALUE", key).elems[0].text, n.debug("digest-value", key).elems[0].text, key)
	}
	require.Equal(t, r.do(t, "DEBUG", "DIGEST").text, n.debug("digest").text)
}

// debug runs a subcommand of DEBUG.
func (n *testNode) debug(args ...string) value {
	argv := [][]byte{[]byte("debug")}
	for _, a := range args {
		argv = append(argv, []byte(a))
	}
	var c Chunk
	if cmd := DebugCommand(argv[1]); cmd.Logged() {
		c.AppendOp(cmd, argv)
	} else {
		c.AddRead(cmd, argv)
	}
	n.run(&c)
	v, _, err := parseValue(c.Reply.Bytes())
	require.NoError(n.t, err)
	return v
}

func TestDebugPopulate(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "key:1", "mine")
	require.Equal(t, "OK", n.debug("populate", "3").text)
	require.Equal(t, `"value:0"`, n.do("GET", "key:0"))
	require.Equal(t, `"mine"`, n.do("GET", "key:1"))
	require.Equal(t, "OK", n.debug("populate", "2", "k", "10").text)
	require.Equal(t, "(integer) 10", n.do("STRLEN", "k:1"))
	for _, bad := range [][]string{{"-1"}, {"1000000000"}, {"x"}, {"1000000", "k", "1000000"}} {
		require.Equal(t, byte('-'), n.debug(append([]string{"populate"}, bad...)...).kind, bad)
	}
}
