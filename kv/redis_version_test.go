package kv

import (
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
	n.do("ZADD", "zset", "0.1", "a", "1e20", "b", "3", "c")
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
		require.Equal(t, `"3"`, n.do("ZSCORE", "zset", "c"))
	}
	require.Contains(t, n.do("CONFIG", "SET", "redis-version", "6.2"), "must be one of 7.0, 7.2, 7.4")
	require.Equal(t, int64(redis70), defaultSettings().RedisVersion)
}
