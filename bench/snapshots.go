package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// snapshots measures what clients notice of a snapshot, of the installation on a node
// that lost its disk, and of a restart, with many keys: design section 7, last rows.
func snapshots(o options, base string) error {
	// Snapshots are taken when this asks for them and not before: the log between two
	// has room for twice the keys. What it keeps for laggards is far less than they are.
	room := max(int64(o.keys)*200, 64<<20)
	return onCluster(o, filepath.Join(base, "snapshots"), func(r *running) error {
		b := &clusterBench{running: r, o: o, leader: r.leader(o)}
		return b.measure()
	}, "--snapshot-log-size", fmt.Sprint(room))
}

// measure fills the cluster and takes the steps asked for.
func (b *clusterBench) measure() error {
	if err := b.fill(); err != nil {
		return err
	}
	if b.o.pause {
		fmt.Println("Enter begins to measure")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
	}
	if err := b.findRate(); err != nil {
		return err
	}
	return b.perform(map[string]func() error{
		"snapshot": b.snapshotUnderLoad, "idle": b.snapshotWhileIdle, "install": b.install, "restart": b.restart,
	})
}

// perform takes the steps that -steps asks for.
func (b *clusterBench) perform(steps map[string]func() error) error {
	for _, name := range strings.Split(b.o.steps, ",") {
		step := steps[name]
		if step == nil {
			return fmt.Errorf("-steps: there is no %q", name)
		}
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

type clusterBench struct {
	*running
	o       options
	leader  int // index of its process
	load    traffic
	control *running // a Redis beside; nil: none
}

// quietTime is how long the load is measured without anything beside it.
const quietTime = 20 * time.Second

func (b *clusterBench) fill() error {
	started := time.Now()
	if err := fill(b.addr, b.o.keys); err != nil {
		return err
	}
	took := time.Since(started)
	fmt.Printf("filled with %d keys of 16 + 64 bytes in %.1f s (%.0f keys/s)\n", b.o.keys, took.Seconds(), float64(b.o.keys)/took.Seconds())
	time.Sleep(5 * time.Second) // followers apply, collectors of garbage finish
	return nil
}

// findRate loads as fast as answers come, then settles for half of that.
func (b *clusterBench) findRate() error {
	b.load = traffic{addr: b.addr, keys: b.o.keys, conns: 32}
	times, err := b.load.during(5 * time.Second)
	if err != nil {
		return err
	}
	b.load.rate = float64(len(times)) / 5 / 2
	fmt.Printf("peak of %d connections, SET and GET in equal parts: %.0f/s; the load from here on is half of it\n", b.load.conns, 2*b.load.rate)
	return nil
}

func (b *clusterBench) snapshotUnderLoad() error {
	var before, most int64
	watch := func(most *int64) {
		if now, err := rss(b.procs[b.leader].Process.Pid); err == nil {
			*most = max(*most, now)
		}
	}
	usual, err := b.phase("under load, no snapshot:      ", func() error {
		for started := time.Now(); time.Since(started) < quietTime; time.Sleep(50 * time.Millisecond) {
			watch(&before)
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Duration(0)
	times, err := b.phase("under load, leader snapshots: ", func() (err error) {
		took, err = b.snapshot(b.addr, func() { watch(&most) })
		return err
	})
	if err != nil {
		return err
	}
	// As long as the other: what the machine does once in minutes falls on both.
	after, err := b.phase("under load, as long without:  ", func() error { time.Sleep(max(took, quietTime)); return nil })
	if err != nil {
		return err
	}
	fmt.Printf("p99 with a snapshot: %s of before, %s of as long after (took %.1f s); memory of the leader at most: %d MiB without, %+.1f %% with\n",
		times.against(usual), times.against(after), took.Seconds(), before>>20, 100*(float64(most)/float64(before)-1))
	return nil
}

// phase loads as long as work takes and says what clients saw, and how many processors
// the nodes used: near what the machine has, times say little of their cause.
func (b *clusterBench) phase(what string, work func() error) (phase, error) {
	started := time.Now()
	before, err := b.cpu()
	if err != nil {
		return phase{}, err
	}
	times, err := b.timed(what, work)
	if err != nil {
		return phase{}, err
	}
	after, err := b.cpu()
	fmt.Printf("%31s nodes used %.2f processors\n", "", (after-before).Seconds()/time.Since(started).Seconds())
	return times, err
}

// phase is what clients saw: all of it, and the p99 of the median second (timeline).
type phase struct {
	times  latencies
	median time.Duration
}

// against is one phase's p99 as multiples of another's.
func (p phase) against(other phase) string {
	return fmt.Sprintf("%.2f x (median second %.2f x)", ratio(p.times, other.times), float64(p.median)/float64(max(other.median, 1)))
}

// timed is a phase in which nodes may end.
func (b *clusterBench) timed(what string, work func() error) (phase, error) {
	load := b.load
	load.seconds = newTimeline()
	times, err := load.while(work)
	if err != nil {
		return phase{}, err
	}
	p := phase{times, load.seconds.median()}
	fmt.Printf("%s%s\n%31s p99 of the median second %.2f ms\n", what, times, "", p.median.Seconds()*1e3)
	if b.o.seconds {
		fmt.Printf("  the longest of each second from %s\n", load.seconds)
	}
	return p, nil
}

// snapshotWhileIdle looks for pauses: no client but one, that reads a millisecond after
// each answer. It does not write: a write waits for the disk, which has pauses of its own.
// What a Redis that does nothing else answers such a client at the same time says what the
// machine's part is.
func (b *clusterBench) snapshotWhileIdle() (err error) {
	if !b.o.noRedis {
		if b.control, err = redis(b.o, b.dir, "everysec", 2).start(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.control.stop()) }()
	}
	// Or there would be nothing to take one of, if this step was asked for twice.
	if _, err := ask(b.addr, "SET", keyName(0), randomValue(rand.New(rand.NewPCG(0, 3)))); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	took := time.Duration(0)
	pause, err := b.longestPause("one reader, snapshot:         ", func() (err error) {
		took, err = b.snapshot(b.addr, func() {})
		return err
	})
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	// As long as the other: the longest of more is longer.
	quiet, err := b.longestPause("one reader, idle:             ", func() error { time.Sleep(took); return nil })
	if err != nil {
		return err
	}
	fmt.Printf("longest pause in %.1f s: %s (without a snapshot, as long: %s)\n", took.Seconds(), pause, quiet)
	return nil
}

// longestPause is what one reader waits for an answer at most while work is done, and the
// machine's part in it.
func (b *clusterBench) longestPause(what string, work func() error) (string, error) {
	var slow []span
	probe := traffic{addr: b.addr, keys: b.o.keys, conns: 1, reads: true, gap: time.Millisecond, slow: &slow}
	m, begun := watchMachine(), time.Now()
	beside, err := latencies(nil), error(nil)
	times, failed := probe.while(func() error {
		if b.control == nil {
			return work()
		}
		other := traffic{addr: b.control.addr, keys: 1, conns: 1, reads: true, gap: time.Millisecond}
		beside, err = other.while(work)
		return err
	})
	stalls := m.end()
	if err := errors.Join(failed, err); err != nil {
		return "", err
	}
	fmt.Println(what, times)
	if b.control != nil {
		fmt.Println("  an idle Redis, meanwhile:   ", beside)
	}
	if b.o.seconds {
		slices.SortFunc(slow, func(a, b span) int { return cmp.Compare(b.length(), a.length()) })
		for _, s := range slow[:min(len(slow), 5)] {
			fmt.Printf("  %.2f ms from %s, after %.1f s\n", s.length().Seconds()*1e3, s.from.Format("15:04:05.000000"), s.from.Sub(begun).Seconds())
		}
	}
	if m.denied != nil {
		return fmt.Sprintf("%.2f ms (what the machine did is not known: %v)", times.at(1).Seconds()*1e3, m.denied), nil
	}
	return fmt.Sprintf("%.2f ms, or %.2f without the times in which a processor stood still, %d, the longest %.2f ms",
		times.at(1).Seconds()*1e3, longestWithout(slow, stalls).Seconds()*1e3, len(stalls), longestWithout(stalls, nil).Seconds()*1e3), nil
}

// install kills a follower, empties its directory and lets it join again, under load. What
// the others notice of its death, whose memory and files this machine has to take back,
// is told apart from what they notice of the installation.
func (b *clusterBench) install() error {
	victim := (b.leader + 1) % len(b.procs)
	if err := b.letGo(); err != nil {
		return err
	}
	usual, err := b.phase("under load, three nodes:      ", func() error { time.Sleep(quietTime); return nil })
	if err != nil {
		return err
	}
	if _, err := b.timed("under load, one dies:         ", func() error {
		if err := b.kill(victim); err != nil {
			return err
		}
		time.Sleep(quietTime / 2)
		return os.RemoveAll(filepath.Join(b.dir, fmt.Sprint("n", victim+1)))
	}); err != nil {
		return err
	}
	if _, err := b.timed("under load, two are left:     ", func() error { time.Sleep(quietTime); return nil }); err != nil {
		return err
	}
	took := time.Duration(0)
	times, err := b.timed("under load, the third is new: ", func() error {
		started := time.Now()
		defer func() { took = time.Since(started) }()
		if err := b.start(victim, "--join", fmt.Sprintf("127.0.0.1:%d", b.o.port+20+b.leader)); err != nil {
			return err
		}
		return b.awaitLine(victim, "snapshot installed", patience)
	})
	if err != nil {
		return err
	}
	if _, err := b.timed("under load, it catches up:    ", b.awaitEven); err != nil {
		return err
	}
	after, err := b.phase("under load, as long without:  ", func() error { time.Sleep(max(took, quietTime)); return nil })
	if err != nil {
		return err
	}
	fmt.Printf("p99 of the others during an installation: %s of before, %s of as long after (%.1f s from the start to the installed snapshot)\n",
		times.against(usual), times.against(after), took.Seconds())
	return nil
}

// patience is how long an installation or a start of many keys may take.
const patience = 10 * time.Minute

// letGo makes the leader take a snapshot and let go of its log, or a new node would
// simply be sent the log. A step before may have seen to it.
func (b *clusterBench) letGo() error {
	if m, err := info(b.addr); err == nil && m["raft_log_first_index"] != "1" {
		return nil
	}
	if _, err := b.snapshot(b.addr, func() {}); err != nil {
		return err
	}
	for started := time.Now(); time.Since(started) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if m, err := info(b.addr); err == nil && m["raft_log_first_index"] != "1" {
			return nil
		}
	}
	return errors.New("the leader keeps its whole log")
}

// restart kills the leader, which has a snapshot of its own, and reads in its log how
// fast it was loaded.
func (b *clusterBench) restart() error {
	if err := b.letGo(); err != nil {
		return err
	}
	if err := b.kill(b.leader); err != nil {
		return err
	}
	started := time.Now()
	if err := b.start(b.leader, "--initial-cluster", initialCluster(b.o)); err != nil {
		return err
	}
	if err := b.awaitLine(b.leader, "snapshot loaded", patience); err != nil {
		return err
	}
	loaded := time.Since(started)
	if err := b.awaitLine(b.leader, `"msg":"ready"`, patience); err != nil {
		return err
	}
	line, err := b.line(b.leader, "snapshot loaded")
	if err != nil {
		return err
	}
	var said struct {
		Keys uint64
		Took string
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	took, err := time.ParseDuration(said.Took)
	if err != nil {
		return err
	}
	fmt.Printf("restart: %d keys loaded in %.2f s (%.2f M keys/s), %.2f s after the start; ready after %.2f s\n",
		said.Keys, took.Seconds(), float64(said.Keys)/took.Seconds()/1e6, loaded.Seconds(), time.Since(started).Seconds())
	return nil
}

// snapshot asks a node for one and calls meanwhile often until it is there.
func (b *clusterBench) snapshot(addr string, meanwhile func()) (time.Duration, error) {
	started := time.Now()
	before, err := info(addr)
	if err != nil {
		return 0, err
	}
	if _, err := ask(addr, "RAFT", "SNAPSHOT"); err != nil && !strings.Contains(err.Error(), "still being written") && !os.IsTimeout(err) {
		return 0, err
	}
	for ; time.Since(started) < patience; time.Sleep(50 * time.Millisecond) {
		meanwhile()
		if m, err := info(addr); err == nil && m["raft_snapshots"] != before["raft_snapshots"] {
			return time.Since(started), nil
		}
	}
	return 0, errors.New("no snapshot in time; see " + b.dir)
}

func (b *clusterBench) kill(i int) error {
	if err := b.procs[i].Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = b.procs[i].Wait()
	return nil
}

// start starts a node again, on the ports it had.
func (b *clusterBench) start(i int, extra ...string) error {
	if err := b.spawn(b.logFile(i), b.o.rkv, append(nodeArgs(b.o, b.dir, i), extra...)...); err != nil {
		return err
	}
	last := len(b.procs) - 1
	b.procs[i], b.procs = b.procs[last], b.procs[:last]
	return nil
}

func (b *clusterBench) logFile(i int) string {
	return filepath.Join(b.dir, fmt.Sprintf("n%d.log", i+1))
}

func (b *clusterBench) awaitLine(i int, text string, patience time.Duration) error {
	for started := time.Now(); time.Since(started) < patience; time.Sleep(50 * time.Millisecond) {
		if line, err := b.line(i, text); err != nil || line != "" {
			return err
		}
	}
	return fmt.Errorf("no %q in %s after %s", text, b.logFile(i), patience)
}

// line is the first line of a node's log with text in it.
func (b *clusterBench) line(i int, text string) (string, error) {
	raw, err := os.ReadFile(b.logFile(i))
	for _, line := range strings.Split(string(raw), "\n") {
		if strings.Contains(line, text) {
			return line, nil
		}
	}
	return "", err
}

// leader is the index of the process that the load goes to.
func (r *running) leader(o options) int {
	port, _ := strconv.Atoi(r.addr[strings.LastIndexByte(r.addr, ':')+1:])
	return port - o.port
}

func ratio(a, b latencies) float64 { return float64(a.at(0.99)) / float64(max(b.at(0.99), 1)) }

var vmRSS = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// rss is the memory of a process in bytes.
func rss(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := vmRSS.FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("no memory of process %d", pid)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	return kib << 10, err
}
