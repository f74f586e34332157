package diff

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/servers"
)

// TestReplicaFollows lets a real redis-server follow a node by SYNC while random
// commands of all types change the data, and compares the digests of both now and then.
func TestReplicaFollows(t *testing.T) {
	dir, cluster := startFollowed(t)
	leader, err := dial(cluster.Leader)
	require.NoError(t, err)
	do(t, leader, []string{"SET", "before", "it came"}, []string{"XADD", "xbefore", "*", "f", "v"})
	host, port := "127.0.0.1", cluster.Follower[len("127.0.0.1:"):]
	redis, err := servers.Redis(filepath.Join(dir, "redis"), "--replicaof", host+" "+port)
	require.NoError(t, err)
	t.Cleanup(func() { _ = redis.Stop() })
	replica, err := dial(redis.Leader)
	require.NoError(t, err)
	grammar, err := ReadGrammar(do(t, replica, []string{"COMMAND", "DOCS"})[0])
	require.NoError(t, err)

	rounds := 60
	if s := os.Getenv("REPLICA_ROUNDS"); s != "" {
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for round := range rounds {
		g := newGenerator(grammar, uint64(round)+1)
		var cmds [][]string
		for range 300 {
			cmds = append(cmds, g.command())
			if g.IntN(4) == 0 {
				cmds = append(cmds, chancy(g))
			}
		}
		do(t, leader, cmds...)
		mark := strconv.Itoa(round)
		do(t, leader, []string{"SET", "mark", mark})
		require.Eventually(t, func() bool {
			return do(t, replica, []string{"GET", "mark"})[0].Text == mark
		}, 20*time.Second, 5*time.Millisecond, "the replica follows")
		if !sameDigest(t, leader, replica) {
			log, _ := os.ReadFile(filepath.Join(dir, "redis", "redis.log"))
			refused := regexp.MustCompile(`(?m)^.*CRITICAL.*$`).FindAll(log, 5)
			t.Fatalf("round %d: the data differ\n%s%s", round, differing(t, leader, replica), bytes.Join(refused, []byte("\n")))
		}
		if round%10 == 9 {
			do(t, leader, []string{"FLUSHALL"})
		}
	}
	follower, err := dial(cluster.Follower)
	require.NoError(t, err)
	require.Contains(t, do(t, follower, []string{"CLIENT", "LIST", "TYPE", "replica"})[0].Text, " flags=S ")
	require.Contains(t, do(t, follower, []string{"INFO", "replication"})[0].Text, "\nslave0:ip=127.0.0.1,port=")
	require.Equal(t, "1", do(t, follower, []string{"CLIENT", "KILL", "TYPE", "slave"})[0].Text)
}

// startFollowed starts a cluster, whose nodes must not have met a data race by the
// test's end.
func startFollowed(t *testing.T) (dir string, cluster *servers.Server) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	dir, err := os.MkdirTemp("", "rkv-replica-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "rkv")
	args := append(append([]string{"build"}, buildFlags...), "-o", binary, "github.com/rkvdb/rkv/cmd/rkv")
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, string(out))
	cluster, err = servers.RKV(binary, filepath.Join(dir, "cluster"), 3, "--enable-debug-command", "yes")
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cluster.Stop()
		logs, _ := filepath.Glob(filepath.Join(cluster.Dir, "*.log"))
		for _, name := range logs {
			text, _ := os.ReadFile(name)
			if _, race, found := bytes.Cut(text, []byte("WARNING: DATA RACE")); found {
				t.Errorf("%s: DATA RACE%.4000s", filepath.Base(name), race)
			}
		}
	})
	return dir, cluster
}

// TestReplicasFollowUnderLoad lets one server follow the leader and one a follower while
// clients of both nodes write at once, and breaks their connections again and again. When
// the load is over both have the cluster's data.
func TestReplicasFollowUnderLoad(t *testing.T) {
	dir, cluster := startFollowed(t)
	type pair struct{ node, replica *conn }
	var pairs []pair
	var grammar Grammar
	for i, addr := range []string{cluster.Leader, cluster.Follower} {
		redis, err := servers.Redis(filepath.Join(dir, fmt.Sprint("redis", i)), "--replicaof", "127.0.0.1 "+addr[len("127.0.0.1:"):])
		require.NoError(t, err)
		t.Cleanup(func() { _ = redis.Stop() })
		p := pair{}
		p.node, err = dial(addr)
		require.NoError(t, err)
		p.replica, err = dial(redis.Leader)
		require.NoError(t, err)
		if grammar == nil {
			grammar, err = ReadGrammar(do(t, p.replica, []string{"COMMAND", "DOCS"})[0])
			require.NoError(t, err)
		}
		pairs = append(pairs, p)
	}

	rounds := 40
	if s := os.Getenv("REPLICA_ROUNDS"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	const writers = 4
	done := make(chan error, writers)
	for w := range writers {
		addr := []string{cluster.Leader, cluster.Follower}[w%2]
		go func() { done <- writeRandomly(addr, grammar, uint64(w)*1e6, rounds) }()
	}
	for busy := writers; busy > 0; {
		select {
		case err := <-done:
			require.NoError(t, err)
			busy--
		case <-time.After(500 * time.Millisecond):
			for _, p := range pairs {
				do(t, p.node, []string{"CLIENT", "KILL", "TYPE", "replica"})
			}
		}
	}

	do(t, pairs[0].node, []string{"SET", "mark", "end"})
	for i, p := range pairs {
		require.Eventually(t, func() bool {
			v := do(t, p.replica, []string{"GET", "mark"})[0]
			return v.Text == "end"
		}, 60*time.Second, 20*time.Millisecond, "replica %d follows", i)
		if !sameDigest(t, p.node, p.replica) {
			log, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint("redis", i), "redis.log"))
			refused := regexp.MustCompile(`(?m)^.*CRITICAL.*$`).FindAll(log, 5)
			t.Fatalf("replica %d: the data differ\n%s%s", i, differing(t, p.node, p.replica), bytes.Join(refused, []byte("\n")))
		}
	}
}

// writeRandomly sends rounds of random commands over one connection.
func writeRandomly(addr string, grammar Grammar, seed uint64, rounds int) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for round := range rounds {
		g := newGenerator(grammar, seed+uint64(round))
		var cmds [][]string
		for range 100 {
			cmds = append(cmds, g.command())
			if g.IntN(4) == 0 {
				cmds = append(cmds, chancy(g))
			}
			if g.IntN(8) == 0 {
				cmds = append(cmds, []string{"MULTI"}, g.command(), chancy(g), []string{"EXEC"})
			}
		}
		if err := c.send(cmds); err != nil {
			return err
		}
		if _, err := c.receive(len(cmds)); err != nil {
			return err
		}
	}
	return nil
}

// chancy draws a command whose effect follows from the log alone: chance, time, several
// keys, scripts.
func chancy(g *generator) []string {
	g.family = "set"
	n := fmt.Sprint(1 + g.IntN(3))
	switch g.IntN(16) {
	case 0:
		return []string{"SPOP", g.key()}
	case 1:
		return []string{"SPOP", g.key(), n}
	case 2:
		return []string{"EVAL", "redis.call('SADD', KEYS[1], math.random(100)) return redis.call('SPOP', KEYS[1])", "1", g.key()}
	case 3:
		return []string{"XADD", "st" + n, "MAXLEN", "~", "20", "*", "f", "v"}
	case 4:
		return []string{"EXPIRE", g.key(), "1000"}
	case 5:
		return []string{"SET", "tt" + n, "v", "PX", "1"}
	case 6:
		return []string{"GETEX", "tt" + n, "EX", "100"}
	case 7:
		return []string{"BLPOP", "li1", "li2", "0.001"}
	case 8:
		return []string{"BLMPOP", "0.001", "2", "li1", "li2", "RIGHT", "COUNT", n}
	case 9:
		return []string{"BZPOPMAX", "zs" + n, "0.001"}
	case 10:
		return []string{"BZMPOP", "0.001", "1", "zs" + n, "MIN", "COUNT", n}
	case 11:
		return []string{"EVAL", "for i = 1, 3 do redis.call('RPUSH', KEYS[1], i) end redis.call('SELECT', 2) redis.call('INCRBYFLOAT', 'fl', '0.1')", "1", "li" + n}
	case 12:
		return []string{"INCRBYFLOAT", "nf" + n, "0.3"}
	case 13:
		return []string{"HSETEX", "ha" + n, "FIELDS", "1", "f", "v"}
	case 14:
		return []string{"BLMOVE", "li1", "li2", "LEFT", "RIGHT", "0.001"}
	}
	return []string{"MSETEX", "2", "me1", "a", "me2", "b", "EX", "500"}
}

func do(t *testing.T, c *conn, cmds ...[]string) []Value {
	t.Helper()
	require.NoError(t, c.send(cmds))
	values, err := c.receive(len(cmds))
	require.NoError(t, err)
	return values
}

// sameDigest waits until the replica has the node's data. Nobody writes any more, but a
// key that is due may go behind the mark, and the replica hears of it a moment later.
func sameDigest(t *testing.T, node, replica *conn) bool {
	t.Helper()
	digest := []string{"DEBUG", "DIGEST"}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ours, theirs := do(t, node, digest)[0], do(t, replica, digest)[0]; ours.Text == theirs.Text {
			return true
		} else if time.Now().After(deadline) {
			return false
		}
	}
}

// differing names the keys whose values differ.
func differing(t *testing.T, a, b *conn) (text string) {
	for db := range 16 {
		sel := []string{"SELECT", strconv.Itoa(db)}
		keys := map[string]bool{}
		for _, c := range []*conn{a, b} {
			for _, k := range do(t, c, sel, []string{"KEYS", "*"})[1].Elems {
				keys[k.Text] = true
			}
		}
		for k := range keys {
			look := [][]string{sel, {"DEBUG", "DIGEST-VALUE", k}, {"PEXPIRETIME", k}, {"TYPE", k}, {"DUMP", k}}
			va, vb := do(t, a, look...), do(t, b, look...)
			if va[1].String() != vb[1].String() || va[2].String() != vb[2].String() {
				text += fmt.Sprintf("db %d, %q: rkv %v, redis %v\n", db, k, va[1:], vb[1:])
			}
		}
	}
	do(t, a, []string{"SELECT", "0"})
	return text
}
