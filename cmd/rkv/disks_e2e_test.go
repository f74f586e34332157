package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// flips is how many places of a log TestBitFlipAtEachPosition damages; 0: all.
var flips = flag.Int("flips", 8, "damage so many places of a node's log, 0: all of them")

// place is one byte of a log to be damaged.
type place struct {
	name string
	file string
	off  int64
}

// places lists, for each segment of a log, bytes in the header and the body of its
// first, middle and last record.
func places(recs []logRecord) (found []place) {
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].file == recs[0].file {
			n++
		}
		for i, name := range map[int]string{0: "first", n / 2: "middle", n - 1: "last"} {
			r := recs[i]
			base := filepath.Base(r.file)
			found = append(found, place{base + " header of the " + name, r.file, r.off + 24})
			if r.length > 0 {
				found = append(found, place{base + " body of the " + name, r.file, r.off + 64 + r.length/2})
			}
		}
		recs = recs[n:]
	}
	return found
}

// A bit flips in one node's log, at each position of each segment in turn (a few of
// them unless asked for more): the cluster serves on, the node repairs itself, and in
// the end all are equal.
func TestBitFlipAtEachPosition(t *testing.T) {
	c := startCluster(t, 3, "--segment-size", "256kb")
	victim := c.nodes[1]
	log := filepath.Join(c.dir, "n2", "groups", "0", "log")
	ctx := context.Background()
	rdb := c.nodes[0].client(nil)
	defer rdb.Close()
	for i := range 400 {
		require.NoError(t, rdb.Set(ctx, fmt.Sprint("key", i%100), strings.Repeat("v", 5000), 0).Err())
	}
	c.sameDigests() // the victim, too, has everything in its log
	c.signal(victim, syscall.SIGKILL)
	all := places(logRecords(t, log))
	require.Greater(t, len(all), 40, "too few segments")
	n := *flips
	if n == 0 || n > len(all) {
		n = len(all)
	}
	repaired, unnoticed := 0, 0
	started := time.Now()
	for i := range n {
		p := all[i*len(all)/n]
		flipByte(t, p.file, p.off)
		before := logSize(t, victim)
		require.NoError(t, rdb.Incr(ctx, "meanwhile").Err(), "the cluster serves on")
		c.start(victim)
		require.NoError(t, rdb.Incr(ctx, "meanwhile").Err(), "the cluster serves on")
		c.ready()
		c.sameDigests()
		if said := logSince(t, victim, before); strings.Contains(said, "repaired") || strings.Contains(said, "ambiguous") || strings.Contains(said, "torn_bytes=") && !strings.Contains(said, "torn_bytes=0") {
			repaired++
		} else {
			unnoticed++
		}
		c.signal(victim, syscall.SIGKILL)
		code, out := runExit(t, "log", "verify", log)
		require.Zero(t, code, "%s: still damaged: %s", p.name, out)
	}
	t.Logf("%d of %d places damaged in turn in %.0f s: %d repaired, %d unnoticed; digests equal after each", n, len(all), time.Since(started).Seconds(), repaired, unnoticed)
	require.Zero(t, unnoticed)
	c.start(victim)
	c.ready()
	c.sameDigests()
}

func logSize(t *testing.T, p *process) int64 {
	st, err := os.Stat(p.log)
	require.NoError(t, err)
	return st.Size()
}

// logSince is what a node logged behind a size.
func logSince(t *testing.T, p *process, size int64) string {
	raw, err := os.ReadFile(p.log)
	require.NoError(t, err)
	return string(raw[size:])
}

// A node loses its whole disk: with --join it is back as a learner under a new
// incarnation, becomes a voter by itself, and nobody waited for it.
func TestWholeDiskLost(t *testing.T) {
	c := startCluster(t, 3)
	lost := c.followers()[0]
	var others []*process
	for _, p := range c.nodes {
		if p != lost {
			others = append(others, p)
		}
	}
	l := startLoad(t, others)
	l.grows(200)
	c.signal(lost, syscall.SIGKILL)
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, fmt.Sprintf("n%d", lost.id))))

	var args []string // as before, but for --initial-cluster
	for i := 0; i < len(lost.args); i++ {
		if lost.args[i] == "--initial-cluster" {
			i++
			continue
		}
		args = append(args, lost.args[i])
	}
	lost.args = append(args, "--join", others[0].peer+","+others[1].peer)
	c.start(lost)
	require.Eventually(t, func() bool {
		// Until it has joined, its predecessor is one of three voters.
		if role := c.info(lost)["raft_role"]; role != "follower" && role != "leader" {
			return false
		}
		_, out := runExit(t, "cluster", "status", "--addr", others[0].addr)
		return strings.Count(out, "voter") == 3
	}, 30*time.Second, 50*time.Millisecond, "the node was not promoted")
	said := logSince(t, lost, 0)
	require.Contains(t, said, "learner", "it did not begin as a learner")
	l.grows(200)
	l.end()
	require.Zero(t, l.errs.Load(), "%v", l.lastErr.Load())
	c.ready()
	l.verify(c)
	c.sameDigests()
	// It counts: with one of the others gone, it is half of the quorum.
	c.signal(others[0], syscall.SIGKILL)
	rdb := lost.client(nil)
	defer rdb.Close()
	require.NoError(t, rdb.Set(context.Background(), "a", "1", 0).Err())
}

// syscallLine is one call of strace -f -y -T -o FILE: name, file, result.
var syscallLine = regexp.MustCompile(`^\d+ +(\w+)\(\d+<([^>]*)>.*\) += (-?\d+)`)

// A commit is one write and one fdatasync of the segment in use, whose size and
// blocks do not change: seen from outside, by strace.
func TestCommitIsOneWriteAndOneSync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("STRACE IS NOT INSTALLED: nothing was checked")
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("STRACE MAY NOT TRACE HERE: nothing was checked: %v %s", err, out)
	}
	c := &cluster{t: t, dir: t.TempDir()}
	p := c.process(1)
	trace := filepath.Join(c.dir, "trace")
	const commits = 100
	plain := binary
	defer func() { binary = plain }()
	binary = strace                            // which starts the server
	p.args = append([]string{"-D", "-f", "-y", // -D: the process that is started is the server
		"-e", "trace=pwrite64,pwritev,pwritev2,write,writev,fdatasync,fsync,sync_file_range,fallocate,ftruncate," +
			"rename,renameat,renameat2",
		"-o", trace, plain}, p.args...)
	c.nodes = append(c.nodes, p)
	c.start(p)
	binary = plain
	t.Cleanup(c.stopAll)
	c.ready()
	conn, err := dial(p.addr, "", 10*time.Second)
	require.NoError(t, err)
	defer conn.close()
	set := func(i int) {
		_, err := conn.do("SET", fmt.Sprint("key", i), "value")
		require.NoError(t, err)
	}
	set(0)
	// The next segment has been made when its name is durable: nothing but commits
	// writes from then on.
	made := regexp.MustCompile(`rename\w*\(.*free-0*2".*0*2\.seg"(.*\n)+?.*fsync\(\d+<[^>]*/log>`)
	require.Eventually(t, func() bool {
		free, _ := filepath.Glob(filepath.Join(c.dir, "n1", "groups", "0", "log", "free-*"))
		segs, _ := filepath.Glob(filepath.Join(c.dir, "n1", "groups", "0", "log", "*.seg"))
		return len(free) == 0 && len(segs) == 2 && made.MatchString(read(t, trace))
	}, 30*time.Second, 20*time.Millisecond)
	segs, err := filepath.Glob(filepath.Join(c.dir, "n1", "groups", "0", "log", "*.seg"))
	require.NoError(t, err)
	before, from := stat(t, segs[0]), int64(len(read(t, trace)))
	for i := range commits {
		set(i)
	}
	after := stat(t, segs[0])
	calls := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(read(t, trace)[from:]))
	for lines.Scan() {
		m := syscallLine.FindStringSubmatch(lines.Text())
		if m == nil || !strings.Contains(m[2], "/groups/") {
			if strings.Contains(lines.Text(), "resumed") && strings.Contains(lines.Text(), "fdatasync") {
				continue // its beginning has the name
			}
			m = unfinished.FindStringSubmatch(lines.Text())
			if m == nil || !strings.Contains(m[2], "/groups/") {
				continue
			}
		}
		calls[m[1]+" "+filepath.Base(m[2])]++
	}
	t.Logf("%d commits: %v; size %d, blocks %d", commits, calls, after.Size, after.Blocks)
	seg := filepath.Base(segs[0])
	// Past the page cache where the sync before was brief, through it otherwise.
	calls["write "+seg] = calls["pwrite64 "+seg] + calls["pwritev "+seg]
	delete(calls, "pwrite64 "+seg)
	delete(calls, "pwritev "+seg)
	require.Equal(t, map[string]int{"write " + seg: commits, "fdatasync " + seg: commits}, calls)
	require.Equal(t, before.Size, after.Size)
	require.Equal(t, before.Blocks, after.Blocks)
}

// unfinished is the first half of a call that another thread's interrupted in the trace.
var unfinished = regexp.MustCompile(`^\d+ +(\w+)\(\d+<([^>]*)>.*<unfinished`)

func read(t *testing.T, path string) string {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	st, err := os.Stat(path)
	require.NoError(t, err)
	return st.Sys().(*syscall.Stat_t)
}
