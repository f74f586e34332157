package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// stress measures what clients notice at parts of the peak, with a follower that is
// paused, dead or catching up, beside a flood of ten times what the cluster takes, and
// beside one client that wants everything for itself.
func stress(o options, base string) error {
	return onCluster(o, filepath.Join(base, "stress"), func(r *running) error {
		b := &clusterBench{running: r, o: o, leader: r.leader(o)}
		if err := errors.Join(b.fill(), b.findRate()); err != nil {
			return err
		}
		return b.perform(map[string]func() error{
			"open": b.openLoop, "paused": b.pausedFollower, "dead": b.deadFollower, "flood": b.flood, "greedy": b.greedy,
		})
	})
}

// openLoop loads at fixed rates: what a client sees that does not wait for others.
func (b *clusterBench) openLoop() error {
	peak := 2 * b.load.rate
	for _, part := range []float64{0.25, 0.5, 0.75} {
		load := b.load
		load.rate = peak * part
		times, err := load.during(b.o.phase)
		if err != nil {
			return err
		}
		fmt.Printf("open loop, %2.0f %% of the peak:   %s\n", part*100, times)
	}
	return nil
}

// compare loads while work goes on and prints p99 as a ratio to that without it.
func (b *clusterBench) compare(what string, work func() error) error {
	usual, err := b.load.during(b.o.phase)
	if err != nil {
		return err
	}
	times, err := b.load.while(work)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("%-30s %s\n%-30s %s\np99 %s: %.2f x\n", "as usual:", usual, what+":", times, what, ratio(times, usual))
	return nil
}

// pausedFollower stops a follower, which keeps its connections, and lets it go on.
func (b *clusterBench) pausedFollower() error {
	p := b.procs[(b.leader+1)%len(b.procs)].Process
	if err := b.compare("a follower is paused", func() error {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(b.o.phase)
		return nil
	}); err != nil {
		_ = p.Signal(syscall.SIGCONT)
		return err
	}
	return b.compareCatchUp("a paused follower catches up", func() error { return p.Signal(syscall.SIGCONT) })
}

// deadFollower kills one and starts it again.
func (b *clusterBench) deadFollower() error {
	victim := (b.leader + 2) % len(b.procs)
	if err := b.compare("a follower is dead", func() error {
		if err := b.kill(victim); err != nil {
			return err
		}
		time.Sleep(b.o.phase)
		return nil
	}); err != nil {
		return err
	}
	return b.compareCatchUp("a dead follower catches up", func() error {
		return b.start(victim, "--initial-cluster", initialCluster(b.o))
	})
}

// compareCatchUp lets a follower come back and loads until all have the same log. What is
// usual is measured afterwards.
func (b *clusterBench) compareCatchUp(what string, back func() error) error {
	times, err := b.load.while(func() error {
		if err := back(); err != nil {
			return err
		}
		return b.awaitEven()
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	usual, err := b.load.during(b.o.phase)
	if err != nil {
		return err
	}
	fmt.Printf("%-30s %s\n%-30s %s\np99 while %s: %.2f x\n", what+":", times, "afterwards:", usual, what, ratio(times, usual))
	return nil
}

func (b *clusterBench) awaitEven() error {
	for started := time.Now(); time.Since(started) < patience; time.Sleep(20 * time.Millisecond) {
		if b.even() {
			return nil
		}
	}
	return errors.New("it does not catch up")
}

// even reports whether every node has applied what the leader had a moment ago.
func (b *clusterBench) even() bool {
	lead, err := info(b.addr)
	if err != nil {
		return false
	}
	want, _ := strconv.ParseUint(lead["raft_commit_index"], 10, 64)
	for i := range b.procs {
		m, err := info(fmt.Sprintf("127.0.0.1:%d", b.o.port+i))
		at, _ := strconv.ParseUint(m["raft_applied_index"], 10, 64)
		if err != nil || at+1000 < want {
			return false
		}
	}
	return true
}

// flood loads with ten times as many clients, each with a pipeline, as the rest of the
// bench, and looks at memory, elections and one client that asks for little.
func (b *clusterBench) flood() error {
	before, err := b.terms()
	if err != nil {
		return err
	}
	probe := traffic{addr: b.addr, keys: b.o.keys, conns: 4, rate: 200}
	usual, err := probe.during(b.o.phase)
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(b.addr, ":")
	var refused atomic.Int64
	var memory []int64
	times, err := probe.tolerant(&refused).while(func() error {
		cmd := exec.Command("redis-benchmark", "-h", host, "-p", port, "-q", "-t", "set", "-c", strconv.Itoa(10*b.load.conns),
			"-P", "64", "-r", strconv.Itoa(b.o.keys), "-d", "64", "-n", "1000000000")
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		for end := time.Now().Add(2 * b.o.phase); time.Now().Before(end); time.Sleep(b.o.phase / 20) {
			n, err := rss(b.procs[b.leader].Process.Pid)
			if err != nil {
				return err
			}
			memory = append(memory, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := b.terms()
	if err != nil {
		return err
	}
	half := memory[len(memory)/2]
	fmt.Printf("%-30s %s\n%-30s %s\n", "one quiet client:", usual, "... beside the flood:", times)
	fmt.Printf("elections: %d; refused, definitely: %d; memory of the leader: %d MiB at half time, %d MiB at the end\n",
		after-before, refused.Load(), half>>20, memory[len(memory)-1]>>20)
	if after != before {
		return errors.New("the flood caused an election")
	}
	return nil
}

// terms is the newest term of the cluster.
func (b *clusterBench) terms() (term uint64, err error) {
	for i := range b.procs {
		m, err := info(fmt.Sprintf("127.0.0.1:%d", b.o.port+i))
		if err != nil {
			return 0, err
		}
		t, err := strconv.ParseUint(m["raft_term"], 10, 64)
		if err != nil {
			return 0, err
		}
		term = max(term, t)
	}
	return term, nil
}

// greedy is one client with values of 16 MB, then with a pipeline of 512 MB: beside an
// offered load that goes on whatever happens, and beside clients who wait for their
// answers, these on a Redis, too.
func (b *clusterBench) greedy() error {
	for _, g := range greeds(b.o.keys) {
		if err := b.compare(g.what, func() error { return g.push(b.running) }); err != nil {
			return err
		}
	}
	if err := besidePatient("rkv x3", b.running, b.o); err != nil || b.o.noRedis {
		return err
	}
	redis, err := redisAlways(b.o, b.dir).start()
	if err != nil {
		return err
	}
	return errors.Join(besidePatient("redis x1 always", redis, b.o), redis.stop())
}

// greed is what a client sends that wants everything for itself.
type greed struct {
	what string
	push func(r *running) error
}

func greeds(keys int) []greed {
	big, value := strings.Repeat("v", 16<<20), strings.Repeat("v", 1024)
	return []greed{
		{"values of 16 MB", func(r *running) error {
			return r.push(8, func(int) []string { return []string{"SET", "big", big} })
		}},
		{"a pipeline of 512 MB", func(r *running) error {
			return r.push(512<<10, func(i int) []string { return []string{"SET", keyName(i % keys), value} })
		}},
	}
}

// besidePatient prints what eight clients wait for that send their next command, a SET or a
// GET, 2 ms after an answer.
func besidePatient(name string, r *running, o options) error {
	load := traffic{addr: r.addr, keys: o.keys, conns: 8, gap: 2 * time.Millisecond}
	usual, err := load.during(o.phase)
	if err != nil {
		return err
	}
	fmt.Printf("eight clients, %-18s alone: %s\n", name, usual)
	for _, g := range greeds(o.keys) {
		began := time.Now()
		times, err := load.while(func() error { return g.push(r) })
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, g.what, err)
		}
		fmt.Printf("beside %-25s (%4.1f s): %s\n", g.what, time.Since(began).Seconds(), times)
	}
	return nil
}

// push sends n commands without waiting for answers, which it reads meanwhile.
func (r *running) push(n int, command func(i int) []string) error {
	c, err := dial(r.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	read := make(chan error, 1)
	go func() {
		for range n {
			if err := c.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
				read <- err
				return
			}
			if _, err := readReply(c.in); err != nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	for i := range n {
		c.out = appendCommand(c.out, command(i)...)
		if len(c.out) < 1<<20 && i < n-1 {
			continue
		}
		if _, err := c.Write(c.out); err != nil {
			return errors.Join(err, <-read)
		}
		c.out = c.out[:0]
	}
	return <-read
}
