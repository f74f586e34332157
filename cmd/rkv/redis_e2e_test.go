package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// dataOfRedis are commands that make keys of every type in every encoding, with and
// without expiry, in two databases.
func dataOfRedis() (commands [][]any) {
	add := func(args ...any) { commands = append(commands, args) }
	later := time.Now().Add(time.Hour).UnixMilli()
	for _, db := range []int{0, 5} {
		add("SELECT", db)
		for i, n := range []int64{0, -1, math.MaxInt8, math.MinInt16, math.MaxInt32, math.MinInt64, math.MaxInt64} {
			add("SET", fmt.Sprint("int", i), n)
			add("SADD", "ints", n)
			add("SADD", fmt.Sprint("ints", i), n, 7)
		}
		add("SET", "empty", "")
		add("SET", "binary", "\x00\r\n\xff")
		add("SET", "embstr", "short")
		add("SET", "raw", strings.Repeat("0123456789", 10))
		add("SET", "compresses", strings.Repeat("abc", 40_000))
		for i := range 600 {
			e := fmt.Sprintf("%d:%s", i, strings.Repeat("x", i%90))
			add("RPUSH", "list", e)
			add("SADD", "set", e)
			add("HSET", "hash", e, i)
			add("ZADD", "zset", fmt.Sprint(float64(i)/7), e)
			add("XADD", "stream", fmt.Sprintf("%d-%d", 1+i/3, i%3), "field", e, "other", i)
			if i < 20 {
				add("RPUSH", "small list", e)
				add("SADD", "small set", e)
				add("HSET", "small hash", e, i)
				add("ZADD", "small zset", i, e)
			}
		}
		add("RPUSH", "list of large", strings.Repeat("L", 20_000), "s", strings.Repeat("M", 9_000))
		add("ZADD", "infinite", "inf", "a", "-inf", "b", "0.1", "c", "1e300", "d")
		add("XDEL", "stream", "5-1", "7-0")
		add("XGROUP", "CREATE", "stream", "readers", "0")
		add("XREADGROUP", "GROUP", "readers", "one", "COUNT", 9, "STREAMS", "stream", ">")
		add("XACK", "stream", "readers", "2-0")
		add("XGROUP", "CREATECONSUMER", "stream", "readers", "idle")
		add("XGROUP", "CREATE", "nothing", "g", "$", "MKSTREAM")
		for i, key := range []string{"raw", "int1", "small list", "list", "set", "small hash", "zset", "stream"} {
			add("PEXPIREAT", key, later+int64(i))
		}
	}
	return commands
}

func writeDataOfRedis(t *testing.T, addr string) {
	rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	defer rdb.Close()
	conn := rdb.Conn() // SELECT is the connection's
	defer conn.Close()
	pipe := conn.Pipeline()
	for _, c := range dataOfRedis() {
		pipe.Do(context.Background(), c...)
	}
	_, err := pipe.Exec(context.Background())
	require.NoError(t, err)
}

// valuesOf describes every key of a server by Redis's own digest of its value, its
// expiry, and what a digest leaves out of streams.
func valuesOf(t *testing.T, addr string) (found []string) {
	ctx := context.Background()
	for _, db := range []int{0, 5} {
		rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DB: db})
		keys, err := rdb.Keys(ctx, "*").Result()
		require.NoError(t, err)
		slices.Sort(keys)
		for _, key := range keys {
			digest, err := rdb.Do(ctx, "DEBUG", "DIGEST-VALUE", key).StringSlice()
			require.NoError(t, err)
			kind := rdb.Type(ctx, key).Val()
			found = append(found, fmt.Sprint(db, " ", key, " ", kind, " ", digest, " ", rdb.Do(ctx, "PEXPIRETIME", key).Val()))
			if kind == "stream" {
				groups, err := rdb.XInfoGroups(ctx, key).Result()
				require.NoError(t, err)
				info, err := rdb.XInfoStream(ctx, key).Result()
				require.NoError(t, err)
				found = append(found, fmt.Sprint(groups, info.Length, info.LastGeneratedID, info.MaxDeletedEntryID, info.EntriesAdded))
				for _, g := range groups {
					found = append(found, fmt.Sprint(rdb.XPending(ctx, key, g.Name).Val(), len(rdb.XInfoConsumers(ctx, key, g.Name).Val())))
				}
			}
		}
		require.NoError(t, rdb.Close())
	}
	require.Greater(t, len(found), 60)
	return found
}

// startRedis runs a real Redis on a directory, which may hold a dump.rdb.
func startRedis(t *testing.T, dir string) (addr string) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server")
	}
	addr = freePort(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	cmd := exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--enable-debug-command", "yes")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	require.Eventually(t, func() bool { return rdb.Ping(context.Background()).Err() == nil }, 20*time.Second, 20*time.Millisecond)
	return addr
}

// What a running cluster's snapshot exports, a real Redis loads, and has the same values.
func TestRedisLoadsASnapshot(t *testing.T) {
	c := startCluster(t, 3, "--enable-debug-command", "yes")
	writeDataOfRedis(t, c.nodes[0].addr)
	follower := c.followers()[0]
	rdb := follower.client(nil)
	defer rdb.Close()
	require.NoError(t, rdb.Get(context.Background(), "raw").Err()) // a linearizable read: all is applied there
	require.NoError(t, rdb.Do(context.Background(), "RAFT", "SNAPSHOT").Err())
	files, err := filepath.Glob(filepath.Join(c.dir, "n"+strconv.Itoa(follower.id), "groups", "0", "snapshot", "*.rkvsnap"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	dir := t.TempDir()
	code, out := runExit(t, "snapshot", "export", "--rdb-version", "10", files[0], filepath.Join(dir, "dump.rdb"))
	require.Zero(t, code, out)
	require.Equal(t, valuesOf(t, follower.addr), valuesOf(t, startRedis(t, dir)))
}

// A dump that a real Redis wrote becomes a cluster with the same values.
func TestRestoreOfADumpOfRedis(t *testing.T) {
	dir := t.TempDir()
	addr := startRedis(t, dir)
	writeDataOfRedis(t, addr)
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	require.NoError(t, rdb.Save(context.Background()).Err())

	c := &cluster{t: t, dir: t.TempDir(), extra: []string{"--enable-debug-command", "yes"}}
	p := c.process(1)
	restored := filepath.Join(c.dir, "restored")
	code, out := runExit(t, "restore", "--data-dir", restored, "--addr", p.addr, "--peer-addr", p.peer, filepath.Join(dir, "dump.rdb"))
	require.Zero(t, code, out)
	c.alone(restored, p)
	require.Equal(t, valuesOf(t, addr), valuesOf(t, p.addr))
}
