package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// peer is something to measure: a name and a way to start it.
type peer struct {
	Name  string
	start func() (*running, error)
	// does reports whether it takes part in a cell; nil: in all of them.
	does func(cell) bool
}

func (p peer) takesPart(c cell) bool { return p.does == nil || p.does(c) }

// running is a started peer: its processes and where to send the load.
type running struct {
	procs []*exec.Cmd
	addr  string
	// log reads the counters of the log of the node under load; nil: it has none.
	log  func() (logCounters, error)
	dir  string
	keep bool // leave the directory: something went wrong

	plain  bool // knows little more than SET and GET: no MSET, no INFO
	filled bool // has all the keys that GETs look for
}

func redisAlways(o options, base string) peer   { return redis(o, base, "always", 0) }
func redisEverysec(o options, base string) peer { return redis(o, base, "everysec", 1) }

func redis(o options, base, fsync string, n int, extra ...string) peer {
	return peer{Name: "redis x1 " + fsync, start: func() (*running, error) {
		dir, err := os.MkdirTemp(base, "redis-")
		if err != nil {
			return nil, err
		}
		port := strconv.Itoa(o.port + 10 + n)
		r := &running{addr: "127.0.0.1:" + port, dir: dir}
		args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir,
			"--save", "", "--appendonly", "yes", "--appendfsync", fsync}, extra...)
		err = r.spawn(filepath.Join(dir, "log"), "redis-server", args...)
		if err != nil {
			return nil, err
		}
		if err := r.await(func(m map[string]string) bool { return m["loading"] == "0" }); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		reply, err := ask(r.addr, "CONFIG", "GET", "appendfsync")
		if err != nil || !strings.Contains(reply, fsync) {
			return nil, errors.Join(fmt.Errorf("redis is not set to appendfsync %s: %q", fsync, reply), err, r.stop())
		}
		return r, nil
	}}
}

// rkvCluster is three durable nodes; role says who gets the load.
func rkvCluster(o options, base, role string, extra ...string) peer {
	return peer{Name: "rkv x3 via " + role, start: func() (*running, error) {
		dir, err := os.MkdirTemp(base, "rkv-")
		if err != nil {
			return nil, err
		}
		r := &running{dir: dir}
		if err := startNodes(r, o, dir, extra...); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		if err := r.pick(o, role); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		return r, nil
	}}
}

// rkvLease is the same cluster where the leader reads by its lease, without a round
// (ADR 9). It takes part where that makes a difference.
func rkvLease(o options, base string) peer {
	p := rkvCluster(o, base, "leader", "--read-mode", "lease")
	start := p.start
	p.Name = "rkv x3 lease"
	p.does = func(c cell) bool { return strings.HasPrefix(c.Name, "get ") }
	p.start = func() (*running, error) {
		r, err := start()
		if err != nil {
			return nil, err
		}
		if err := r.await(func(m map[string]string) bool { return m["raft_read_mode"] == "lease" }); err != nil {
			return nil, errors.Join(fmt.Errorf("not in lease mode: %w", err), r.stop())
		}
		return r, nil
	}
	return p
}

// rkvAlone is one durable node, a cluster of one.
func rkvAlone(o options, base string, extra ...string) peer {
	return peer{Name: "rkv x1", start: func() (*running, error) {
		dir, err := os.MkdirTemp(base, "rkv-")
		if err != nil {
			return nil, err
		}
		r := &running{dir: dir}
		args := append(nodeArgs(o, dir, 0), "--initial-cluster", fmt.Sprintf("1=127.0.0.1:%d", o.port+20))
		if err := r.spawn(filepath.Join(dir, "n1.log"), o.rkv, append(args, extra...)...); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		if err := r.pick(o, "leader"); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		return r, nil
	}}
}

// onCluster starts three nodes in dir, has work done on them, and stops them. What they
// left stays if that failed, for the logs tell more.
func onCluster(o options, dir string, work func(*running) error, flags ...string) (err error) {
	r := &running{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := startNodes(r, o, dir, flags...); err != nil {
		return err
	}
	if err := r.pick(o, "leader"); err != nil {
		return err
	}
	err = work(r)
	r.keep = err != nil
	return err
}

func startNodes(r *running, o options, dir string, extra ...string) error {
	for i := range 3 {
		args := append(append(nodeArgs(o, dir, i), "--initial-cluster", initialCluster(o)), extra...)
		if err := r.spawn(filepath.Join(dir, fmt.Sprintf("n%d.log", i+1)), o.rkv, args...); err != nil {
			return err
		}
	}
	return nil
}

// nodeArgs are a node's, but for how it comes to its cluster.
func nodeArgs(o options, dir string, i int) []string {
	return []string{"server", "--id", strconv.Itoa(i + 1), "--data-dir", filepath.Join(dir, fmt.Sprint("n", i+1)),
		"--addr", fmt.Sprintf("127.0.0.1:%d", o.port+i), "--peer-addr", fmt.Sprintf("127.0.0.1:%d", o.port+20+i)}
}

func initialCluster(o options) string {
	var cluster []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("%d=127.0.0.1:%d", i+1, o.port+20+i))
	}
	return strings.Join(cluster, ",")
}

// pick finds the leader and aims at it or at another node.
func (r *running) pick(o options, role string) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		for i := range 3 {
			addr := fmt.Sprintf("127.0.0.1:%d", o.port+i)
			m, err := info(addr)
			if err == nil && m["raft_role"] == "leader" {
				r.addr = addr
				if role == "follower" {
					r.addr = fmt.Sprintf("127.0.0.1:%d", o.port+(i+1)%3)
				}
				r.log = logOf(r.addr, "raft_fsyncs", "raft_last_index")
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("no leader after 20 s; see " + r.dir)
}

func (r *running) spawn(logFile, name string, args ...string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// No server outlives the bench, however it ends (main holds its thread).
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.procs = append(r.procs, cmd)
	return nil
}

func (r *running) await(ready func(map[string]string) bool) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if m, err := info(r.addr); err == nil && ready(m) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer", r.addr)
}

// stop ends the processes it started, by their pids, and removes their data.
func (r *running) stop() error {
	for _, p := range r.procs {
		_ = p.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range r.procs {
		done := time.AfterFunc(15*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Wait()
		done.Stop()
	}
	if r.keep {
		return nil
	}
	return os.RemoveAll(r.dir)
}

// logCounters are of one node's log. Entries are the distance of its last index: a few
// are the cluster's own (what expires, who leads), so that a mean batch is a little larger
// than this makes it.
type logCounters struct{ syncs, entries uint64 }

// logOf reads them from fields of INFO.
func logOf(addr, syncs, entries string) func() (logCounters, error) {
	return func() (n logCounters, err error) {
		m, err := info(addr)
		if err != nil {
			return n, err
		}
		var err1, err2 error
		n.syncs, err1 = strconv.ParseUint(m[syncs], 10, 64)
		n.entries, err2 = strconv.ParseUint(m[entries], 10, 64)
		return n, errors.Join(err1, err2)
	}
}

// spent is what the servers have used up so far.
type spent struct {
	cpu     time.Duration // of all processes
	written uint64        // bytes, of all processes
	log     logCounters
}

func (r *running) spent() (s spent, err error) {
	if s.cpu, err = r.cpu(); err != nil {
		return s, err
	}
	for _, p := range r.procs {
		n, err := written(p.Process.Pid)
		if err != nil {
			return s, err
		}
		s.written += n
	}
	if r.log != nil {
		s.log, err = r.log()
	}
	return s, err
}

// written are the bytes a process has sent to disks, in whole pages of the page cache: one
// that is synced again with a few bytes more counts again. rkv's contain the next
// segments, which it fills with zeros beforehand, be it while only reads come.
func written(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(raw), "\nwrite_bytes: ")
	digits, _, _ := strings.Cut(after, "\n")
	return strconv.ParseUint(digits, 10, 64)
}

// cpu is user and system time of all processes so far.
func (r *running) cpu() (sum time.Duration, err error) {
	for _, p := range r.procs {
		d, err := processTime(p.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// processTime is user and system time of one process so far.
func processTime(pid int) (time.Duration, error) {
	const ticksPerSecond = 100 // USER_HZ, fixed in the Linux ABI
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Fields after the command's closing parenthesis; utime and stime are 14 and 15.
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	u, err1 := strconv.ParseInt(f[11], 10, 64)
	s, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(u+s) * time.Second / ticksPerSecond, errors.Join(err1, err2)
}

// info is INFO of a server, all sections, as a map.
func info(addr string) (map[string]string, error) {
	text, err := ask(addr, "INFO", "everything")
	m := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r"), ":"); ok {
			m[k] = v
		}
	}
	return m, err
}

// ask sends one command and returns its raw reply.
func ask(addr string, args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := conn.Write([]byte(b.String())); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, _ := strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
	switch line[0] {
	case '-':
		return "", errors.New(strings.TrimSpace(line[1:]))
	case '$':
		p := make([]byte, max(n, -2)+2)
		if n >= 0 {
			for i := 0; i < len(p); {
				k, err := r.Read(p[i:])
				if err != nil {
					return "", err
				}
				i += k
			}
		}
		return strings.TrimSuffix(string(p), "\r\n"), nil
	case '*':
		var all []string
		for range n {
			s, err := readReply(r)
			if err != nil {
				return "", err
			}
			all = append(all, s)
		}
		return strings.Join(all, " "), nil
	}
	return strings.TrimSpace(line[1:]), nil
}
