package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// masterName is what Sentinel clients ask for.
const masterName = "mymaster"

// cluster is three rkv processes with all three listeners.
type cluster struct {
	binary, dir string
	nodes       []*process
}

// process is one node; killed and started again it is the same node.
type process struct {
	id                       int
	plain, cluster, sentinel string // addresses
	args                     []string
	log                      *os.File
	admin                    *redis.Client

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	doomed bool
	fault  error // it ended by itself
}

// startLimit is how long a node may take to serve on a machine that has other work, too: how
// fast it starts is not judged here.
const startLimit = 2 * time.Minute

func newCluster(binary, dir string, port int, extra ...string) (*cluster, error) {
	c := &cluster{binary: binary, dir: dir}
	addr := func(kind, id int) string { return fmt.Sprintf("127.0.0.1:%d", port+10*kind+id) }
	var initial []string
	for id := 1; id <= 3; id++ {
		initial = append(initial, fmt.Sprintf("%d=%s", id, addr(3, id)))
	}
	for id := 1; id <= 3; id++ {
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("n%d.log", id)))
		if err != nil {
			return nil, err
		}
		p := &process{id: id, plain: addr(0, id), cluster: addr(1, id), sentinel: addr(2, id), log: log}
		p.args = append([]string{"server", "--id", fmt.Sprint(id), "--data-dir", filepath.Join(dir, fmt.Sprint("n", id)),
			"--addr", p.plain, "--peer-addr", addr(3, id), "--cluster-addr", p.cluster, "--sentinel-addr", p.sentinel,
			"--initial-cluster", strings.Join(initial, ","), "--segment-size", "4mb", "--snapshot-log-size", "16mb",
			"--enable-debug-command", "local"}, extra...)
		p.admin = redis.NewClient(&redis.Options{Addr: p.plain, MaxRetries: -1, DialTimeout: time.Second,
			DisableIdentity: true, Protocol: 2})
		c.nodes = append(c.nodes, p)
	}
	for _, p := range c.nodes {
		if err := p.start(binary); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	if err := c.awaitAll(); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (p *process) String() string { return fmt.Sprint("n", p.id) }

func (p *process) start(binary string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(binary, p.args...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.doomed = cmd, exited, false
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		if !p.doomed {
			p.fault = fmt.Errorf("%v ended by itself: %v (see %s)", p, err, p.log.Name())
		}
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// end sends the signal and waits until the process is gone.
func (p *process) end(s syscall.Signal) error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.doomed = true
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s)
	select {
	case <-exited:
	case <-time.After(startLimit):
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("%v did not end after %v", p, s)
	}
	if s == syscall.SIGTERM && cmd.ProcessState.ExitCode() != 0 {
		return fmt.Errorf("%v ended with %v after SIGTERM", p, cmd.ProcessState)
	}
	return nil
}

// info is one field of the node's INFO raft; "" if it does not answer.
func (p *process) info(field string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	text, _ := p.admin.Info(ctx, "raft").Result()
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

// awaitAll waits until each node serves a linearizable read and all agree on the leader.
func (c *cluster) awaitAll() error {
	for _, p := range c.nodes {
		err := await(startLimit, func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return errors.Is(p.admin.Get(ctx, "none").Err(), redis.Nil)
		})
		if err != nil {
			return fmt.Errorf("%v does not serve: %w", p, err)
		}
	}
	return await(startLimit, func() bool {
		lead := c.nodes[0].info("raft_leader_id")
		return lead != "" && lead != "0" && lead == c.nodes[1].info("raft_leader_id") && lead == c.nodes[2].info("raft_leader_id")
	})
}

// leader is who leads now.
func (c *cluster) leader() (*process, error) {
	var found *process
	err := await(startLimit, func() bool {
		for _, p := range c.nodes {
			if p.info("raft_role") == "leader" {
				found = p
			}
		}
		return found != nil
	})
	return found, err
}

// others are the nodes that are not p.
func (c *cluster) others(p *process) (list []*process) {
	for _, q := range c.nodes {
		if q != p {
			list = append(list, q)
		}
	}
	return list
}

// restart starts a node that was ended and waits until it serves.
func (c *cluster) restart(p *process) error {
	if err := p.start(c.binary); err != nil {
		return err
	}
	return c.awaitAll()
}

// faults are the ends of processes nobody asked for.
func (c *cluster) faults() (err error) {
	for _, p := range c.nodes {
		p.mu.Lock()
		err = errors.Join(err, p.fault)
		p.fault = nil
		p.mu.Unlock()
	}
	return err
}

func (c *cluster) stop() (err error) {
	for _, p := range c.nodes {
		_ = p.end(syscall.SIGKILL)
		_ = p.admin.Close()
		_ = p.log.Close()
	}
	return c.faults()
}

// await polls until ok or the limit has passed.
func await(limit time.Duration, ok func() bool) error {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v", limit)
		}
	}
}

// portOf is an address's port.
func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
