package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// The tests of this file's kin run the real binary as real processes on loopback.

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rkv-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "rkv")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building rkv: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// cluster is a set of rkv processes.
type cluster struct {
	t     *testing.T
	dir   string
	extra []string
	nodes []*process // index 0 is node 1
}

type process struct {
	id         int
	addr, peer string
	args       []string
	cmd        *exec.Cmd
	exited     chan error
	log        string
}

// freePort is an address that no other call returns, nor is it taken before it is used, nor
// while its node is down: it is below the range of those that the system gives to outgoing
// connections and to whoever asks for any port.
func freePort(t *testing.T) string {
	const first, many = 14000, 7000
	for range many {
		addr := fmt.Sprintf("127.0.0.1:%d", first+(int64(os.Getpid())*61+portsGiven.Add(1))%many)
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

var portsGiven atomic.Int64

func startCluster(t *testing.T, n int, extra ...string) *cluster {
	c := &cluster{t: t, dir: t.TempDir(), extra: extra}
	var initial []string
	for i := 1; i <= n; i++ {
		p := c.process(i)
		c.nodes = append(c.nodes, p)
		initial = append(initial, fmt.Sprintf("%d=%s", i, p.peer))
	}
	for _, p := range c.nodes {
		p.args = append(p.args, "--initial-cluster", strings.Join(initial, ","))
		c.start(p)
	}
	t.Cleanup(c.stopAll)
	c.ready()
	return c
}

func (c *cluster) process(id int) *process {
	p := &process{id: id, addr: freePort(c.t), peer: freePort(c.t), log: filepath.Join(c.dir, fmt.Sprintf("n%d.log", id))}
	p.args = append([]string{"server", "--id", fmt.Sprint(id), "--data-dir", filepath.Join(c.dir, fmt.Sprintf("n%d", id)),
		"--addr", p.addr, "--peer-addr", p.peer}, c.extra...)
	return p
}

func (c *cluster) start(p *process) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(c.t, err)
	defer log.Close()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	require.NoError(c.t, p.cmd.Start())
	p.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan error) { exited <- cmd.Wait() }(p.cmd, p.exited)
}

// signal sends a signal to the process this test started and, if it is to end,
// waits for that.
func (c *cluster) signal(p *process, s syscall.Signal) {
	require.NoError(c.t, p.cmd.Process.Signal(s))
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		c.ended(p, s == syscall.SIGTERM)
	}
}

// ended waits for the end of a node that was told to stop.
func (c *cluster) ended(p *process, graceful bool) {
	select {
	case err := <-p.exited:
		if graceful {
			require.NoError(c.t, err, "a graceful stop exits with 0")
		}
	case <-time.After(20 * time.Second):
		c.t.Fatalf("node %d did not stop", p.id)
	}
	p.cmd = nil
}

func (c *cluster) stopAll() {
	for _, p := range c.nodes {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.exited
			p.cmd = nil
		}
	}
	if c.t.Failed() {
		for _, p := range c.nodes {
			c.t.Logf("the end of node %d's log:\n%s", p.id, tail(p.log, 25))
		}
	}
}

// info is INFO raft of a node; nil if it does not answer.
func (c *cluster) info(p *process) map[string]string {
	conn, err := dial(p.addr, "", 2*time.Second)
	if err != nil {
		return nil
	}
	defer conn.close()
	m, err := raftInfo(conn)
	if err != nil {
		return nil
	}
	return m
}

// ready waits until every running node answers a linearizable read.
func (c *cluster) ready() {
	for _, p := range c.nodes {
		if p.cmd == nil {
			continue
		}
		require.Eventually(c.t, func() bool {
			conn, err := dial(p.addr, "", 5*time.Second)
			if err != nil {
				return false
			}
			defer conn.close()
			_, err = conn.do("GET", "ready?")
			return err == nil
		}, 20*time.Second, 20*time.Millisecond, "node %d", p.id)
	}
}

func (c *cluster) leader() *process {
	var lead *process
	require.Eventually(c.t, func() bool {
		for _, p := range c.nodes {
			if p.cmd != nil && c.info(p)["raft_role"] == "leader" {
				lead = p
				return true
			}
		}
		return false
	}, 15*time.Second, 10*time.Millisecond, "no leader")
	return lead
}

func (c *cluster) followers() []*process { return c.others(c.leader()) }

// others are the running nodes but for one.
func (c *cluster) others(not *process) (out []*process) {
	for _, p := range c.nodes {
		if p != not && p.cmd != nil {
			out = append(out, p)
		}
	}
	return out
}

// leads sees to it that p leads, also if there was an election since it did.
func (c *cluster) leads(p *process) {
	require.Eventually(c.t, func() bool {
		if c.leader() == p {
			return true
		}
		runExit(c.t, "cluster", "transfer", "--addr", p.addr, strconv.Itoa(p.id))
		return false
	}, 20*time.Second, 10*time.Millisecond, "node %d does not lead", p.id)
}

func (p *process) client(opt *redis.Options) *redis.Client {
	if opt == nil {
		opt = &redis.Options{}
	}
	opt.Addr = p.addr
	return redis.NewClient(opt)
}

// sameDigests waits until all running nodes report one digest at one index.
func (c *cluster) sameDigests() {
	var seen map[string]bool
	require.Eventually(c.t, func() bool {
		seen = map[string]bool{}
		for _, p := range c.nodes {
			if p.cmd == nil {
				continue
			}
			conn, err := dial(p.addr, "", 10*time.Second)
			if err != nil {
				return false
			}
			reply, err := conn.do("RAFT", "DIGEST")
			conn.close()
			if err != nil {
				return false
			}
			seen[fmt.Sprint(reply)] = true
		}
		return len(seen) == 1
	}, 30*time.Second, 50*time.Millisecond, "digests differ: %v", &seen)
}

// runExit runs the binary and returns its exit code and what it said.
func runExit(t *testing.T, args ...string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	require.NoError(t, err)
	return 0, string(out)
}
