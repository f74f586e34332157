package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "run a local cluster in the foreground; Ctrl-C stops it, the data stays",
		Flags: withEnv([]cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 3, Usage: "how many nodes, 1 to 7"},
			&cli.IntFlag{Name: "port", Value: 6379, Usage: "client port of the first node; the others follow"},
			&cli.StringFlag{Name: "data-dir", Value: "./rkv-demo", Usage: "where the nodes keep their data and logs"},
		}),
		Action: func(c *cli.Context) error {
			d := &demo{out: c.App.Writer, dir: c.String("data-dir"), port: c.Int("port"), nodes: c.Int("nodes")}
			if err := d.check(); err != nil {
				return usageError{err}
			}
			return d.run()
		},
	}
}

// demo runs every node as a process of its own, so that one can be killed.
type demo struct {
	out   io.Writer
	dir   string
	port  int
	nodes int

	mu       sync.Mutex // guards out and stopping
	stopping bool
}

func (d *demo) check() error {
	if d.nodes < 1 || d.nodes > 7 {
		return fmt.Errorf("--nodes is %d, must be 1 to 7", d.nodes)
	}
	if d.port < 1 || d.port+d.nodes-1+20000 > 65535 {
		return fmt.Errorf("--port is %d; client ports and the ports 1000 (cluster), 10000 (peers) and 20000 (Sentinel) higher must be ports", d.port)
	}
	return nil
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

func (d *demo) addr(i int) string { return "127.0.0.1:" + strconv.Itoa(d.port+i) }

// persona is node i's address for cluster clients, 1000 above its client port (7379 for
// 6379), or for Sentinel clients, 20000 above (26379).
func (d *demo) persona(i, above int) string { return "127.0.0.1:" + strconv.Itoa(d.port+i+above) }

func (d *demo) run() error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d.say("starting %d nodes, data and logs in %s ...", d.nodes, d.dir)
	failed := make(chan error, d.nodes)
	var wg sync.WaitGroup
	for i := range d.nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := d.keep(ctx, i); err != nil {
				failed <- err
			}
		}()
	}
	go d.watch(ctx)
	var err error
	select {
	case <-signals:
		d.say("\nstopping ...")
	case err = <-failed:
	}
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	stop()
	wg.Wait()
	if err == nil {
		d.say("stopped; the data is in %s", d.dir)
	}
	return err
}

// keep runs node i and starts it again when it dies, so that killing one shows a
// failover and a recovery. A node that cannot even start ends the demo.
func (d *demo) keep(ctx context.Context, i int) error {
	for {
		started := time.Now()
		err := d.start(ctx, i)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) < 2*time.Second {
			return fmt.Errorf("node %d did not start (%v); the end of %s:\n%s", i+1, err, d.logFile(i), tail(d.logFile(i), 5))
		}
		d.say("node %d ended (%v); starting it again in 2 s", i+1, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}

func (d *demo) logFile(i int) string { return filepath.Join(d.dir, fmt.Sprintf("node%d.log", i+1)) }

// start runs one node process until it ends. When ctx ends it gets SIGTERM, so
// that leadership is handed over and everything is flushed.
func (d *demo) start(ctx context.Context, i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(d.logFile(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	var cluster []string
	for k := range d.nodes {
		cluster = append(cluster, fmt.Sprintf("%d=127.0.0.1:%d", k+1, d.port+k+10000))
	}
	cmd := exec.CommandContext(ctx, self, "server", "--id", strconv.Itoa(i+1),
		"--data-dir", filepath.Join(d.dir, fmt.Sprintf("node%d", i+1)), "--addr", d.addr(i),
		"--cluster-addr", d.persona(i, 1000), "--sentinel-addr", d.persona(i, 20000),
		"--initial-cluster", strings.Join(cluster, ","), "--log-format", "text")
	cmd.Stdout, cmd.Stderr = log, log
	// Its own group: Ctrl-C reaches the demo alone, which then stops the nodes in
	// good order; and they do not outlive it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = shutdownTimeout + 5*time.Second
	return runPinned(cmd)
}

// watch tells when the cluster serves and whenever another node leads.
func (d *demo) watch(ctx context.Context) {
	greeted, last := false, ""
	for ctx.Err() == nil {
		if info, err := d.ask(); err == nil && info["raft_leader_id"] != "0" {
			now := fmt.Sprintf("node %s leads (%s), term %s", info["raft_leader_id"], info["raft_leader_addr"], info["raft_term"])
			if now != last && !d.quiet() {
				last = now
				d.say("%s", now)
			}
			if !greeted {
				greeted = true
				d.greet()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *demo) quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

func (d *demo) greet() {
	for i := range d.nodes {
		d.say("  node %d  %s  (cluster clients %s, Sentinel clients %s)", i+1, d.addr(i), d.persona(i, 1000), d.persona(i, 20000))
	}
	d.say("try:\n  redis-cli -p %d set a 1\n  redis-cli -p %d get a\nCtrl-C stops all nodes; the data stays.",
		d.port+d.nodes-1, d.port)
}

// ask gets the section "Raft" of INFO from the first node that answers.
func (d *demo) ask() (map[string]string, error) {
	err := errors.New("no node answers")
	for i := range d.nodes {
		var c *client
		if c, err = dial(d.addr(i), "", time.Second); err != nil {
			continue
		}
		var info map[string]string
		info, err = raftInfo(c)
		c.close()
		if err == nil && info["raft_leader_id"] != "0" {
			return info, nil
		}
	}
	return map[string]string{"raft_leader_id": "0"}, err
}

// tail is the last lines of a file.
func tail(name string, lines int) string {
	raw, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
