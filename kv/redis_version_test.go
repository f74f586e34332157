package kv

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRedisVersion: replies have the form of the version that is set, in scripts, too.
func TestRedisVersion(t *testing.T) {
	n := newTestNode(t)
	n.do("RPUSH", "list", "a")
	n.do("SADD", "set", "a")
	n.do("SADD", "ints", "1")
	n.do("HSET", "hash", "a", "1")
	n.do("ZADD", "zset", "0.1", "a", "1e20", "b", "3", "c", "9223372036854775807", "d")
	script := []string{"EVAL", "return redis.call('zscore','zset','a')", "0"}
	for _, tc := range []struct{ version, list, set, score string }{
		{"7.0", `"quicklist"`, `"hashtable"`, `"0.10000000000000001"`},
		{"7.2", `"listpack"`, `"listpack"`, `"0.1"`},
		{"7.4", `"listpack"`, `"listpack"`, `"0.1"`},
	} {
		require.Equal(t, "OK", n.do("CONFIG", "SET", "redis-version", tc.version))
		require.Equal(t, tc.list, n.do("OBJECT", "ENCODING", "list"))
		require.Equal(t, tc.set, n.do("OBJECT", "ENCODING", "set"))
		require.Equal(t, `"intset"`, n.do("OBJECT", "ENCODING", "ints"))
		require.Equal(t, `"listpack"`, n.do("OBJECT", "ENCODING", "hash"))
		require.Equal(t, tc.score, n.do("ZSCORE", "zset", "a"))
		require.Equal(t, tc.score, n.do(script...))
		require.Equal(t, `"1e+20"`, n.do("ZSCORE", "zset", "b"))
		require.Equal(t, map[string]string{"7.0": `"9.2233720368547758e+18"`}[tc.version] == "", n.do("ZSCORE", "zset", "d") == `"9223372036854776000"`)
		require.Equal(t, `"3"`, n.do("ZSCORE", "zset", "c"))
	}
	n.do("XADD", "x", "1-18446744073709551615", "f", "v")
	require.Contains(t, n.do("XADD", "x", "1-*", "f", "v"), "equal or smaller than the target stream top item")
	n.do("CONFIG", "SET", "redis-version", "7.0")
	require.Contains(t, n.do("XADD", "x", "1-*", "f", "v"), "Elements are too large to be stored")

	// Any number is a list-max-listpack-size: below -5 is -5, 0 is 1.
	for _, size := range []string{"-6", "0"} {
		require.Equal(t, "OK", n.do("CONFIG", "SET", "list-max-listpack-size", size))
		n.do("RPUSH", "l"+size, strings.Repeat("x", 60000))
		n.do("RPUSH", "l"+size, "y")
	}
	n.do("CONFIG", "SET", "redis-version", "7.2")
	require.Equal(t, `"listpack"`, n.do("OBJECT", "ENCODING", "l-6"))
	require.Equal(t, `"quicklist"`, n.do("OBJECT", "ENCODING", "l0"))

	// Reading again what is pending is no change.
	n.do("XGROUP", "CREATE", "x", "g", "0")
	n.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
	dirty := n.s.Stats().Dirty
	n.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", "0")
	require.Equal(t, dirty, n.s.Stats().Dirty)
	n.do("CONFIG", "SET", "list-max-listpack-size", "-2")

	require.Contains(t, n.do("CONFIG", "SET", "redis-version", "6.2"), "must be one of 7.0, 7.2, 7.4")
	require.Equal(t, int64(redis70), defaultSettings().RedisVersion)
}

// TestLikeRedisByFuzzing holds what random comparison with the original found.
func TestLikeRedisByFuzzing(t *testing.T) {
	n := newTestNode(t)
	long := strings.Repeat("long", 20)
	n.do("ZADD", "z", "1", "a")
	n.do("ZADD", "z", "XX", "90", long)
	require.Equal(t, `"listpack"`, n.do("OBJECT", "ENCODING", "z"), "a member that was not added converts nothing")
	n.do("ZADD", "z", "90", long)
	require.Equal(t, `"skiplist"`, n.do("OBJECT", "ENCODING", "z"))

	n.do("SADD", "s", "2", "\x001", "1")
	require.Equal(t, n.do("SORT", "s", "DESC", "LIMIT", "2", "1"), "1) \"\\x001\"", "strtod ends at NUL")
	require.Contains(t, n.do("SRANDMEMBER", "s", "x", "1"), "ERR syntax error")

	require.Contains(t, n.do("INCRBYFLOAT", "f", "1e308"), "999999999999")
	require.Contains(t, n.do("INCRBYFLOAT", "f", "1"), "999999999999", "309 digits are a number")
}

// TestListShrinksBack: since Redis 7.2 a list that has shrunk to half of what a listpack
// holds is one again.
func TestListShrinksBack(t *testing.T) {
	n := newTestNode(t)
	n.do("CONFIG", "SET", "redis-version", "7.4")
	n.do("CONFIG", "SET", "list-max-listpack-size", "6")
	n.do("RPUSH", "l", "1", "2", "3", "4", "5", "6", "7")
	for _, want := range []string{"quicklist", "quicklist", "quicklist", "quicklist", "listpack", "listpack"} {
		require.Equal(t, `"`+want+`"`, n.do("OBJECT", "ENCODING", "l"))
		n.do("RPOP", "l")
	}
	dirty := n.s.Stats().Dirty
	n.do("RPOP", "l")
	require.Equal(t, dirty+1, n.s.Stats().Dirty, "the key's end is no change of its own")
	require.Equal(t, "(integer) 0", n.do("EXISTS", "l"))
}
