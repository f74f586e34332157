package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// testCluster runs whole nodes in this process, over loopback and real files.
type testCluster struct {
	t     *testing.T
	dir   string
	addrs map[raftcore.NodeID]string
	nodes map[raftcore.NodeID]*Node
	tune  func(*Config)
}

func newTestCluster(t *testing.T, n int, tune func(*Config)) *testCluster {
	c := &testCluster{t: t, dir: t.TempDir(), addrs: map[raftcore.NodeID]string{}, nodes: map[raftcore.NodeID]*Node{}, tune: tune}
	for i := 1; i <= n; i++ {
		c.addrs[raftcore.NodeID(i)] = freeAddr(t)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for id := range c.addrs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			node := c.open(id, c.addrs, nil)
			mu.Lock()
			c.nodes[id] = node
			mu.Unlock()
		}()
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, n := range c.nodes {
			_ = n.Close(context.Background())
		}
	})
	return c
}

// freeAddr is an address that no other call returns, nor another process: each call has a
// loopback host of its own, and no outgoing connection takes a port of it.
func freeAddr(t *testing.T) string {
	n := addrsGiven.Add(1)
	host := fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, 1+n/250, 1+n%250)
	l, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

var addrsGiven atomic.Int64

func (c *testCluster) open(id raftcore.NodeID, initial map[raftcore.NodeID]string, join []string) *Node {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	cfg := Config{
		ID: id, DataDir: filepath.Join(c.dir, fmt.Sprint(id)), PeerAddr: c.addrs[id],
		ClientAddr: fmt.Sprintf("client-%d", id), Initial: initial, Join: join,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), SegmentSize: 1 << 20,
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n, err := Open(ctx, cfg)
	require.NoError(c.t, err)
	return n
}

// waiter turns ChunkDone into a channel.
type waiter chan *kv.Chunk

func (w waiter) ChunkDone(c *kv.Chunk) { w <- c }

// do proposes one command on a node and returns its reply tape.
func do(t *testing.T, n *Node, args ...string) (string, error) {
	c := &kv.Chunk{}
	w := make(waiter, 1)
	c.Waiter = w
	argv := make([][]byte, len(args))
	for i, a := range args {
		argv[i] = []byte(a)
	}
	cmd := kv.Lookup(argv[0])
	require.NotNil(t, cmd, args[0])
	c.AppendOp(cmd, argv)
	n.Propose(c)
	n.Flush()
	select {
	case c = <-w:
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
	}
	return string(c.Reply.Bytes()), c.Err
}

// get reads linearizably on a node.
func get(t *testing.T, n *Node, key string) string {
	done := make(chan error, 1)
	n.ReadBarrier(func(err error) { done <- err })
	n.Flush()
	require.NoError(t, <-done)
	c := &kv.Chunk{}
	c.AddRead(kv.Lookup([]byte("get")), [][]byte{[]byte("get"), []byte(key)})
	n.Store().Read(c, n.Now())
	return string(c.Reply.Bytes())
}

func (c *testCluster) leader() *Node {
	var lead *Node
	require.Eventually(c.t, func() bool {
		for _, n := range c.nodes {
			if s := n.Status(); s.Role == raftcore.Leader {
				lead = n
				return true
			}
		}
		return false
	}, 10*time.Second, 10*time.Millisecond)
	return lead
}

func (c *testCluster) sameDigests() {
	require.Eventually(c.t, func() bool {
		seen := map[string]bool{}
		for _, n := range c.nodes {
			index, d, err := n.Digest(context.Background())
			require.NoError(c.t, err)
			seen[fmt.Sprint(index, d)] = true
		}
		return len(seen) == 1
	}, 10*time.Second, 20*time.Millisecond)
}

func TestThreeNodesAgree(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newTestCluster(t, 3, nil)
	for id, n := range c.nodes {
		key := fmt.Sprintf("k%d", id)
		r, err := do(t, n, "set", key, "v")
		require.NoError(t, err)
		require.Equal(t, "+OK\r\n", r)
		for _, m := range c.nodes {
			require.Equal(t, "$1\r\nv\r\n", get(t, m, key))
		}
	}
	c.sameDigests()
	for id, n := range c.nodes {
		require.NoError(t, n.Close(context.Background()))
		delete(c.nodes, id)
	}
}
