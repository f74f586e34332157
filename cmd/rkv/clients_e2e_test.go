package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestGoRedisOnEveryNode(t *testing.T) {
	c := startCluster(t, 3)
	for _, p := range c.nodes {
		for _, proto := range []int{2, 3} {
			t.Run(fmt.Sprintf("node%d/RESP%d", p.id, proto), func(t *testing.T) {
				rdb := p.client(&redis.Options{Protocol: proto})
				defer rdb.Close()
				prefix := fmt.Sprintf("n%dp%d:", p.id, proto)
				exerciseStrings(t, rdb, prefix)
				exerciseCollections(t, rdb, prefix)
				exerciseTransactions(t, rdb, prefix)
			})
		}
	}
	c.sameDigests()
}

func exerciseStrings(t *testing.T, rdb *redis.Client, prefix string) {
	ctx := context.Background()
	key := prefix + "s"
	require.NoError(t, rdb.Set(ctx, key, "a\r\nb\x00", 0).Err())
	require.Equal(t, "a\r\nb\x00", rdb.Get(ctx, key).Val())
	require.ErrorIs(t, rdb.Get(ctx, prefix+"none").Err(), redis.Nil)
	require.EqualValues(t, 1, rdb.Incr(ctx, prefix+"i").Val())
	require.EqualValues(t, 11, rdb.IncrBy(ctx, prefix+"i", 10).Val())
	require.InDelta(t, 11.5, rdb.IncrByFloat(ctx, prefix+"f", 11.5).Val(), 0)
	require.NoError(t, rdb.MSet(ctx, prefix+"m1", 1, prefix+"m2", 2).Err())
	require.Equal(t, []any{"1", "2", nil}, rdb.MGet(ctx, prefix+"m1", prefix+"m2", prefix+"none").Val())
	require.True(t, rdb.SetNX(ctx, prefix+"nx", 1, time.Minute).Val())
	require.False(t, rdb.SetNX(ctx, prefix+"nx", 1, time.Minute).Val())
	ttl := rdb.TTL(ctx, prefix+"nx").Val()
	require.True(t, ttl > 50*time.Second && ttl <= time.Minute, ttl)
	require.EqualValues(t, 2, rdb.Exists(ctx, prefix+"m1", prefix+"m2").Val())
	require.EqualValues(t, 1, rdb.Del(ctx, prefix+"m1", prefix+"none").Val())
	require.Error(t, rdb.LPush(ctx, key, "x").Err())
	big := strings.Repeat("x", 3<<20)
	require.NoError(t, rdb.Set(ctx, prefix+"big", big, 0).Err())
	require.Equal(t, big, rdb.Get(ctx, prefix+"big").Val())
	iter, n := rdb.Scan(ctx, 0, prefix+"*", 3).Iterator(), 0
	for iter.Next(ctx) {
		n++
	}
	require.NoError(t, iter.Err())
	require.Equal(t, 6, n)
}

func exerciseCollections(t *testing.T, rdb *redis.Client, prefix string) {
	ctx := context.Background()
	require.EqualValues(t, 2, rdb.HSet(ctx, prefix+"h", "a", 1, "b", 2).Val())
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, rdb.HGetAll(ctx, prefix+"h").Val())
	require.EqualValues(t, 1, rdb.HDel(ctx, prefix+"h", "a").Val())
	require.EqualValues(t, 1, rdb.HLen(ctx, prefix+"h").Val())
	require.EqualValues(t, 3, rdb.RPush(ctx, prefix+"l", "a", "b", "c").Val())
	require.Equal(t, []string{"a", "b", "c"}, rdb.LRange(ctx, prefix+"l", 0, -1).Val())
	require.Equal(t, "a", rdb.LPop(ctx, prefix+"l").Val())
	require.Equal(t, "c", rdb.RPop(ctx, prefix+"l").Val())
	require.EqualValues(t, 3, rdb.SAdd(ctx, prefix+"set", "a", "b", "c", "c").Val())
	require.ElementsMatch(t, []string{"a", "b", "c"}, rdb.SMembers(ctx, prefix+"set").Val())
	require.True(t, rdb.SIsMember(ctx, prefix+"set", "b").Val())
	require.Len(t, rdb.SPopN(ctx, prefix+"set", 2).Val(), 2)
	require.EqualValues(t, 1, rdb.SCard(ctx, prefix+"set").Val())
	require.EqualValues(t, 2, rdb.ZAdd(ctx, prefix+"z", redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: -2, Member: "b"}).Val())
	require.Equal(t, []redis.Z{{Score: -2, Member: "b"}, {Score: 1.5, Member: "a"}}, rdb.ZRangeWithScores(ctx, prefix+"z", 0, -1).Val())
	require.InDelta(t, 1.5, rdb.ZScore(ctx, prefix+"z", "a").Val(), 0)
	require.Equal(t, []redis.Z{{Score: -2, Member: "b"}}, rdb.ZPopMin(ctx, prefix+"z").Val())
}

func exerciseTransactions(t *testing.T, rdb *redis.Client, prefix string) {
	ctx := context.Background()
	key := prefix + "tx"
	cmds, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key, 1, 0)
		p.Incr(ctx, key)
		p.Get(ctx, key)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "2", cmds[2].(*redis.StringCmd).Val())
	err = rdb.Watch(ctx, func(tx *redis.Tx) error {
		require.NoError(t, rdb.Incr(ctx, key).Err()) // from another connection
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, key, "lost", 0); return nil })
		return err
	}, key)
	require.ErrorIs(t, err, redis.TxFailedErr)
	err = rdb.Watch(ctx, func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, key, "won", 0); return nil })
		return err
	}, key)
	require.NoError(t, err)
	require.Equal(t, "won", rdb.Get(ctx, key).Val())
	replies, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 1000 {
			p.Set(ctx, prefix+"pipe", i, 0)
			p.Get(ctx, prefix+"pipe")
		}
		return nil
	})
	require.NoError(t, err)
	for i := range 1000 {
		require.Equal(t, strconv.Itoa(i), replies[2*i+1].(*redis.StringCmd).Val(), "a read behind a write in one pipeline sees it")
	}
}

// Concurrent WATCH transactions through different nodes must not lose updates.
func TestWatchAcrossNodes(t *testing.T) {
	c := startCluster(t, 3)
	ctx := context.Background()
	var wg sync.WaitGroup
	const each = 30
	for _, p := range c.nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rdb := p.client(nil)
			defer rdb.Close()
			for done := 0; done < each; {
				err := rdb.Watch(ctx, func(tx *redis.Tx) error {
					n, err := tx.Get(ctx, "n").Int()
					if err != nil && !errors.Is(err, redis.Nil) {
						return err
					}
					_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "n", n+1, 0); return nil })
					return err
				}, "n")
				switch {
				case err == nil:
					done++
				case !errors.Is(err, redis.TxFailedErr):
					t.Errorf("%v", err)
					return
				}
			}
		}()
	}
	wg.Wait()
	rdb := c.nodes[0].client(nil)
	defer rdb.Close()
	require.Equal(t, strconv.Itoa(3*each), rdb.Get(ctx, "n").Val())
}

func tool(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is missing; `make test` installs it", name)
	return path
}

func TestRedisCLI(t *testing.T) {
	cli := tool(t, "redis-cli")
	c := startCluster(t, 3)
	run := func(p *process, args ...string) string {
		_, port, _ := net.SplitHostPort(p.addr)
		out, err := exec.Command(cli, append([]string{"-p", port}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	require.Equal(t, "OK", run(c.nodes[2], "set", "a", "1"))
	require.Equal(t, "1", run(c.nodes[0], "get", "a"))
	require.Contains(t, run(c.nodes[1], "-3", "hello"), "server")
	require.Contains(t, run(c.nodes[1], "command", "docs", "set"), "summary")
	require.Contains(t, run(c.nodes[1], "info"), "raft_role")
	require.Equal(t, "(error) ERR unknown command 'nonsense', with args beginning with: 'x' ", "(error) "+run(c.nodes[1], "nonsense", "x")+" ")
	require.Eventually(t, func() bool { return run(c.nodes[1], "wait", "0", "100") == "2" }, 10*time.Second, 10*time.Millisecond,
		"WAIT right after nothing written counts all replicas")
}

func TestRedisBenchmarkDefaults(t *testing.T) {
	bench := tool(t, "redis-benchmark")
	c := startCluster(t, 3)
	shapes := [][]string{{}, {"-P", "16"}, {"-c", "256"}, {"--threads", "2"}}
	for name, p := range map[string]*process{"leader": c.leader(), "follower": c.followers()[0]} {
		for _, shape := range shapes {
			t.Run(name+strings.Join(shape, ""), func(t *testing.T) {
				_, port, _ := net.SplitHostPort(p.addr)
				args := append([]string{"-p", port, "-q", "-n", "3000", "-r", "1000"}, shape...)
				out, err := exec.Command(bench, args...).CombinedOutput()
				require.NoError(t, err, "%s", out)
				text := strings.ReplaceAll(string(out), "\r", "\n")
				require.NotContains(t, text, "rror", "redis-benchmark must not see one error")
				for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET:", "GET:", "INCR:", "LPUSH:", "RPUSH:", "LPOP:", "RPOP:",
					"SADD:", "HSET:", "SPOP:", "ZADD:", "ZPOPMIN:", "LRANGE_600", "MSET"} {
					require.Contains(t, text, test)
				}
			})
		}
	}
	c.sameDigests()
}

// redis-cli --rdb gets a file that Redis's own checker finds sound, through any node.
func TestRedisCLICopiesAll(t *testing.T) {
	cli, checker := tool(t, "redis-cli"), tool(t, "redis-check-rdb")
	c := startCluster(t, 3)
	writeAll(t, c.leader())
	for _, p := range c.nodes {
		_, port, _ := net.SplitHostPort(p.addr)
		file := filepath.Join(t.TempDir(), "dump.rdb")
		out, err := exec.Command(cli, "-p", port, "--rdb", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "Transfer finished with success")
		out, err = exec.Command(checker, file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "RDB looks OK")
		require.Contains(t, string(out), "507 keys read")
	}
}
