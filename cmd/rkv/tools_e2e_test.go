package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// writeAll puts a key of every kind, and many plain ones, into a cluster.
func writeAll(t *testing.T, p *process) {
	ctx := context.Background()
	rdb := p.client(nil)
	defer rdb.Close()
	pipe := rdb.Pipeline()
	for i := range 500 {
		pipe.Set(ctx, fmt.Sprint("key", i), strings.Repeat("v", i), 0)
	}
	pipe.Set(ctx, "expiring", "1", time.Hour)
	pipe.HSet(ctx, "hash", "f", "1", "g", "2")
	pipe.SAdd(ctx, "set", "a", "b", "c")
	pipe.SAdd(ctx, "intset", 1, 2, 3)
	pipe.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: "m"}, redis.Z{Score: 2, Member: "n"})
	for i := range 300 {
		pipe.RPush(ctx, "list", i)
		pipe.HSet(ctx, "bighash", fmt.Sprint("field", i), i)
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
}

// readAll is what writeAll wrote, as text to compare.
func readAll(t *testing.T, p *process) string {
	ctx := context.Background()
	rdb := p.client(nil)
	defer rdb.Close()
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintln(&b, rdb.Get(ctx, fmt.Sprint("key", i)).Val())
	}
	ttl := rdb.TTL(ctx, "expiring").Val()
	fmt.Fprintln(&b, ttl > 50*time.Minute && ttl <= time.Hour)
	for _, k := range []string{"a", "b", "c"} {
		fmt.Fprintln(&b, rdb.SIsMember(ctx, "set", k).Val())
	}
	fmt.Fprintln(&b, rdb.SCard(ctx, "intset").Val(), rdb.HGetAll(ctx, "hash").Val(), rdb.HGetAll(ctx, "bighash").Val(),
		rdb.ZRangeWithScores(ctx, "zset", 0, -1).Val(), rdb.LRange(ctx, "list", 0, -1).Val(), rdb.DBSize(ctx).Val())
	return b.String()
}

// alone starts a node on a directory that a tool made.
func (c *cluster) alone(dir string, p *process) *cluster {
	one := &cluster{t: c.t, dir: c.dir, nodes: []*process{p}}
	p.args = append(p.args, "--data-dir", dir)
	one.start(p)
	c.t.Cleanup(one.stopAll)
	one.ready()
	return one
}

func TestBackupAndRestore(t *testing.T) {
	c := startCluster(t, 3)
	writeAll(t, c.nodes[0])
	want := readAll(t, c.nodes[0])
	dir := t.TempDir()
	file := filepath.Join(dir, "all.rkv")
	l := startLoad(t, c.nodes)
	l.grows(100)
	require.Eventually(t, func() bool { return l.acked[0].Load() > 0 }, 20*time.Second, time.Millisecond)
	acked := l.acked[0].Load()
	code, out := runExit(t, "backup", file, "--addr", c.followers()[0].addr)
	l.end()
	require.Zero(t, code, out)
	require.Contains(t, out, "sha256")
	code, out = runExit(t, "backup", file, "--addr", c.nodes[0].addr)
	require.Equal(t, exitUsage, code, "a file is never overwritten: %s", out)

	code, out = runExit(t, "snapshot", "verify", file)
	require.Zero(t, code, out)
	code, out = runExit(t, "snapshot", "info", file)
	require.Zero(t, code, out)
	require.Equal(t, 3, strings.Count(out, "voter"))
	rdb10, rdb11 := filepath.Join(dir, "10.rdb"), filepath.Join(dir, "11.rdb")
	code, out = runExit(t, "snapshot", "export", file, "--rdb-version", "10", rdb10)
	require.Zero(t, code, out)
	code, out = runExit(t, "snapshot", "export", file, rdb11)
	require.Zero(t, code, out)
	for path, magic := range map[string]string{rdb10: "REDIS0010", rdb11: "REDIS0011"} {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, magic, string(b[:9]))
	}

	for _, from := range []string{file, rdb10, rdb11} {
		t.Run("restore "+filepath.Base(from), func(t *testing.T) {
			restored := filepath.Join(t.TempDir(), "new")
			p := c.process(1)
			code, out := runExit(t, "restore", "--data-dir", restored, "--addr", p.addr, "--peer-addr", p.peer, from)
			require.Zero(t, code, out)
			code, out = runExit(t, "restore", "--data-dir", restored, from)
			require.Equal(t, exitDataDir, code, "a directory is never overwritten: %s", out)
			one := (&cluster{t: t, dir: t.TempDir()}).alone(restored, p)
			rdb := p.client(nil)
			defer rdb.Close()
			n, err := rdb.Get(context.Background(), "load0").Int64()
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, acked, "a write acknowledged before the backup is missing")
			for i := range loadClients {
				require.NoError(t, rdb.Del(context.Background(), fmt.Sprint("load", i)).Err())
			}
			require.Equal(t, want, readAll(t, p))
			second := one.process(2)
			second.args = append(second.args, "--join", p.peer)
			one.nodes = append(one.nodes, second)
			one.start(second)
			one.ready()
			one.sameDigests()
			one.signal(p, syscall.SIGKILL)
			one.start(p)
			one.ready()
			require.Equal(t, want, readAll(t, p))
		})
	}
}

func TestRestoreIsAllOrNothing(t *testing.T) {
	c := startCluster(t, 1)
	writeAll(t, c.nodes[0])
	dir := t.TempDir()
	file, into := filepath.Join(dir, "f"), filepath.Join(dir, "new")
	code, out := runExit(t, "backup", "--addr", c.nodes[0].addr, file)
	require.Zero(t, code, out)
	flipByte(t, file, 500)
	for _, cmd := range [][]string{
		{"restore", "--data-dir", into, file},
		{"snapshot", "verify", file},
		{"snapshot", "export", file, filepath.Join(dir, "out.rdb")},
	} {
		code, out := runExit(t, cmd...)
		require.Equal(t, exitCorrupt, code, "%v: %s", cmd, out)
		require.Contains(t, out, "damaged at offset")
	}
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1, "only the backup itself is there")
	code, out = runExit(t, "backup", "--addr", freePort(t), filepath.Join(dir, "none"))
	require.Equal(t, exitNoQuorum, code, out)
	code, out = runExit(t, "log", "dump", dir)
	require.Equal(t, exitDataDir, code, out)
}

// Two of three are gone for good: the third goes on alone when its operator insists.
func TestRecoverFromLostQuorum(t *testing.T) {
	c := startCluster(t, 3)
	writeAll(t, c.nodes[0])
	want := readAll(t, c.nodes[0])
	c.sameDigests()
	for _, p := range c.nodes {
		c.signal(p, syscall.SIGKILL)
	}
	survivor := c.nodes[2]
	dir := filepath.Join(c.dir, "n3")
	code, out := runExit(t, "recover", "--data-dir", dir, "--confirm", "wrong")
	require.Equal(t, exitUsage, code, out)
	require.Contains(t, out, "the other 2 voters acknowledged without this node")
	require.Contains(t, out, "nothing was changed")
	_, id, ok := strings.Cut(out, "of cluster ")
	require.True(t, ok)
	id, _, _ = strings.Cut(id, ",")
	code, out = runExit(t, "recover", "--data-dir", dir, "--confirm", id)
	require.Zero(t, code, out)
	require.Contains(t, out, "new cluster")
	require.NotContains(t, out[strings.Index(out, "new cluster"):], id)
	old, err := filepath.Glob(dir + ".before-recovery-*")
	require.NoError(t, err)
	require.Len(t, old, 1, "the old directory is kept")

	one := &cluster{t: t, dir: c.dir, nodes: []*process{survivor}}
	one.start(survivor)
	t.Cleanup(one.stopAll)
	one.ready()
	require.Equal(t, want, readAll(t, survivor))
	code, out = runExit(t, "recover", "--data-dir", dir, "--confirm", id)
	require.Equal(t, exitDataDir, code, "not while it runs: %s", out)
	second := one.process(7)
	second.args = append(second.args, "--join", survivor.peer)
	one.nodes = append(one.nodes, second)
	one.start(second)
	one.ready()
	one.sameDigests()
}

// An entry can be left out by its index.
func TestRecoverSkipsAnEntry(t *testing.T) {
	c := startCluster(t, 1)
	ctx := context.Background()
	rdb := c.nodes[0].client(nil)
	defer rdb.Close()
	require.NoError(t, rdb.Set(ctx, "a", 1, 0).Err())
	require.NoError(t, rdb.Set(ctx, "b", 1, 0).Err())
	c.signal(c.nodes[0], syscall.SIGTERM)
	dir := filepath.Join(c.dir, "n1")
	recs := logRecords(t, dir)
	last := fmt.Sprint(recs[len(recs)-2].index) // SET a; the last one is SET b
	code, out := runExit(t, "recover", "--data-dir", dir, "--skip-entry", "999999")
	require.Equal(t, exitUsage, code, out)
	_, out = runExit(t, "recover", "--data-dir", dir, "--confirm", "?")
	_, id, _ := strings.Cut(out, "of cluster ")
	id, _, _ = strings.Cut(id, ",")
	code, out = runExit(t, "recover", "--data-dir", dir, "--skip-entry", last, "--confirm", id)
	require.Zero(t, code, out)
	require.Contains(t, out, "not the effect of entry "+last)
	c.start(c.nodes[0])
	c.ready()
	require.Equal(t, int64(0), rdb.Exists(ctx, "a").Val())
	require.Equal(t, "1", rdb.Get(ctx, "b").Val())
}
