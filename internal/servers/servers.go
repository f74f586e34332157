package servers

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
	"sync/atomic"
	"time"
)

// Server is one or more processes that answer the Redis protocol together.
type Server struct {
	Leader   string // host:port; of a single server, the same as Follower
	Follower string // host:port of a node that does not lead
	Dir      string // data and logs

	procs []*exec.Cmd
}

// startTime is how long a server may take until it answers. A loaded machine with two
// cores needs seconds.
const startTime = 60 * time.Second

// Redis starts the redis-server found in PATH, or the one named by REDIS_SERVER, with
// everything enabled that its own test suite asks for, and no persistence.
func Redis(dir string, extra ...string) (*Server, error) {
	program := os.Getenv("REDIS_SERVER")
	if program == "" {
		program = "redis-server"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Leader: "127.0.0.1:" + port, Follower: "127.0.0.1:" + port}
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
		"--enable-debug-command", "yes", "--enable-protected-configs", "yes", "--enable-module-command", "yes"}, extra...)
	if err := s.spawn(filepath.Join(dir, "redis.log"), program, args...); err != nil {
		return nil, err
	}
	return s, s.await(func() bool { _, err := Ask(s.Leader, "PING"); return err == nil })
}

// RKV starts a cluster of nodes processes of the given binary, with a durable log.
func RKV(binary, dir string, nodes int, extra ...string) (*Server, error) {
	s := &Server{Dir: dir}
	var addrs, peers, cluster []string
	for i := range nodes {
		for _, list := range []*[]string{&addrs, &peers} {
			port, err := FreePort()
			if err != nil {
				return nil, err
			}
			*list = append(*list, "127.0.0.1:"+port)
		}
		cluster = append(cluster, fmt.Sprintf("%d=%s", i+1, peers[i]))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for i := range nodes {
		args := append([]string{"server", "--id", strconv.Itoa(i + 1), "--data-dir", filepath.Join(dir, fmt.Sprint("n", i+1)),
			"--addr", addrs[i], "--peer-addr", peers[i], "--initial-cluster", strings.Join(cluster, ","), "--sync", "always"}, extra...)
		if err := s.spawn(filepath.Join(dir, fmt.Sprintf("n%d.log", i+1)), binary, args...); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, s.await(func() bool { return s.findLeader(addrs) })
}

// findLeader names who leads, once every node is ready to serve.
func (s *Server) findLeader(addrs []string) bool {
	s.Leader, s.Follower = "", ""
	for _, addr := range addrs {
		info, err := Ask(addr, "INFO", "raft")
		if err != nil || !strings.Contains(info, "raft_quorum_ok:1") {
			return false
		}
		if _, err := Ask(addr, "GET", "x"); err != nil {
			return false
		}
		if strings.Contains(info, "raft_role:leader") {
			s.Leader = addr
		} else {
			s.Follower = addr
		}
	}
	if len(addrs) == 1 {
		s.Follower = s.Leader
	}
	return s.Leader != "" && s.Follower != ""
}

func (s *Server) spawn(logFile, name string, args ...string) error {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, cmd)
	return nil
}

func (s *Server) await(ready func() bool) error {
	deadline := time.Now().Add(startTime)
	for !ready() {
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not ready after %v; logs are in %s", startTime, s.Dir), s.Stop())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// Stop kills the processes and waits for them; their directory stays.
func (s *Server) Stop() error {
	for _, p := range s.procs {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	s.procs = nil
	return nil
}

// Alive says whether every process still runs.
func (s *Server) Alive() bool {
	for _, p := range s.procs {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return false
		}
	}
	return true
}

// Ask sends one command over a connection of its own and returns the reply's text: of
// a bulk string its content, of other types the line.
func Ask(addr string, args ...string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(a), a)
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line[0] == '-' {
		return "", errors.New(line)
	}
	if n, err := strconv.Atoi(line[1:]); line[0] == '$' && err == nil && n > 0 {
		body := make([]byte, n)
		for got := 0; got < n; {
			k, err := r.Read(body[got:])
			if err != nil {
				return "", err
			}
			got += k
		}
		return string(body), nil
	}
	return line[1:], nil
}

// FreePort is a port of 127.0.0.1 that no other call returns, nor does anybody have it by
// the time it is used: it is below the range of those that the system gives to outgoing
// connections and to whoever asks for any port. Processes begin in different places.
func FreePort() (string, error) {
	const first, many = 22000, 10000
	for range many {
		port := strconv.Itoa(first + (os.Getpid()*61+int(portsGiven.Add(1)))%many)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

var portsGiven atomic.Int64
