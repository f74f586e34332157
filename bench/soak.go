package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// soak loads a cluster on bounded keys, with snapshots often, and prints what
// should stay flat: memory, descriptors, threads and goroutines of every node.
func soak(o options, base string) error {
	return onCluster(o, filepath.Join(base, "soak"), func(r *running) error { return soakOn(r, o) }, "--snapshot-log-size", "64mb")
}

func soakOn(r *running, o options) error {
	host, port, _ := strings.Cut(r.addr, ":")
	stop := make(chan struct{})
	loaded := make(chan error, 1)
	go func() { loaded <- soakLoad(host, port, stop) }()
	const samples = 20
	var all [][]usage
	for range samples {
		time.Sleep(o.soak / samples)
		row, err := r.usage(o)
		if err != nil {
			return err
		}
		all = append(all, row)
		for i, u := range row {
			fmt.Printf("node %d: %s\n", i+1, u)
		}
	}
	close(stop)
	if err := <-loaded; err != nil {
		return err
	}
	return judge(all)
}

// soakLoad runs the default tests of redis-benchmark over and over.
func soakLoad(host, port string, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		out, err := exec.Command("redis-benchmark", "-h", host, "-p", port, "-q", "-n", "100000", "-r", "100000", "-d", "128",
			"-t", "set,get,incr,hset,sadd,zadd,mset", "-P", "4").CombinedOutput()
		if err != nil {
			return fmt.Errorf("redis-benchmark: %w: %s", err, out)
		}
	}
}

// usage is what one process holds.
type usage struct {
	rssMiB, fds, threads, goroutines int
	snapshots                        string
}

func (u usage) String() string {
	return fmt.Sprintf("rss %d MiB, %d descriptors, %d threads, %d goroutines, %s snapshots",
		u.rssMiB, u.fds, u.threads, u.goroutines, u.snapshots)
}

func (r *running) usage(o options) (row []usage, err error) {
	for i, p := range r.procs {
		var u usage
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(status), "\n") {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.Atoi(f[1])
			switch f[0] {
			case "VmRSS:":
				u.rssMiB = n / 1024
			case "Threads:":
				u.threads = n
			}
		}
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Process.Pid))
		if err != nil {
			return nil, err
		}
		u.fds = len(fds)
		m, err := info(fmt.Sprintf("127.0.0.1:%d", o.port+i))
		if err != nil {
			return nil, err
		}
		u.goroutines, _ = strconv.Atoi(m["raft_goroutines"])
		u.snapshots = m["raft_snapshots"]
		row = append(row, u)
	}
	return row, nil
}

// judge compares the second quarter with the last: after warming up nothing may grow.
func judge(all [][]usage) error {
	mean := func(rows [][]usage, node int, f func(usage) int) float64 {
		sum := 0
		for _, r := range rows {
			sum += f(r[node])
		}
		return float64(sum) / float64(len(rows))
	}
	q := len(all) / 4
	var bad []error
	for node := range all[0] {
		for name, f := range map[string]func(usage) int{
			"rss": func(u usage) int { return u.rssMiB }, "descriptors": func(u usage) int { return u.fds },
			"goroutines": func(u usage) int { return u.goroutines },
		} {
			early, late := mean(all[q:2*q], node, f), mean(all[3*q:], node, f)
			fmt.Printf("node %d %s: %.0f in the second quarter, %.0f in the last\n", node+1, name, early, late)
			if late > early*1.25+16 {
				bad = append(bad, fmt.Errorf("node %d: %s grew from %.0f to %.0f", node+1, name, early, late))
			}
		}
	}
	return errors.Join(bad...)
}
