package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// load increments counters through given nodes and keeps books: what was
// acknowledged must be there, and nothing may count twice.
type load struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	acked   []atomic.Int64
	unknown []atomic.Int64
	errs    atomic.Int64
	lastErr atomic.Value
	gap     atomic.Int64 // longest time between two acknowledgements of one client, ns
}

const loadClients = 8

func startLoad(t *testing.T, through []*process) *load {
	l := &load{t: t, acked: make([]atomic.Int64, loadClients), unknown: make([]atomic.Int64, loadClients)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range loadClients {
		l.wg.Add(1)
		go l.run(i, through[i%len(through)])
	}
	return l
}

func (l *load) run(i int, p *process) {
	defer l.wg.Done()
	// No retries by the client: an error is an error.
	rdb := p.client(&redis.Options{MaxRetries: -1, ReadTimeout: 20 * time.Second, PoolSize: 1})
	defer rdb.Close()
	last := time.Now()
	for l.ctx.Err() == nil {
		v, err := rdb.Incr(context.Background(), "load"+strconv.Itoa(i)).Result()
		if err != nil {
			l.errs.Add(1)
			l.lastErr.Store(err.Error())
			if !strings.HasPrefix(err.Error(), "CLUSTERDOWN") {
				l.unknown[i].Add(1)
			}
			continue
		}
		now := time.Now()
		if g := now.Sub(last).Nanoseconds(); g > l.gap.Load() {
			l.gap.Store(g)
		}
		last = now
		was := l.acked[i].Load()
		if v <= was || v > was+1+l.unknown[i].Load() {
			l.t.Errorf("counter %d went from %d to %d with %d unknown outcomes", i, was, v, l.unknown[i].Load())
			return
		}
		l.acked[i].Store(v)
		l.unknown[i].Store(0)
	}
}

func (l *load) end() {
	l.cancel()
	l.wg.Wait()
}

// verify reads every counter through every node.
func (l *load) verify(c *cluster) {
	for _, p := range c.nodes {
		if p.cmd == nil {
			continue
		}
		rdb := p.client(nil)
		for i := range loadClients {
			n := counted(l.t, rdb, i)
			require.GreaterOrEqual(l.t, n, l.acked[i].Load(), "acknowledged increments were lost")
			require.LessOrEqual(l.t, n, l.acked[i].Load()+l.unknown[i].Load(), "an increment was applied twice")
		}
		rdb.Close()
	}
}

// counted is a client's counter, 0 before its first increment.
func counted(t *testing.T, rdb *redis.Client, i int) int64 {
	n, err := rdb.Get(context.Background(), "load"+strconv.Itoa(i)).Int64()
	if !errors.Is(err, redis.Nil) {
		require.NoError(t, err)
	}
	return n
}

func (l *load) total() (sum int64) {
	for i := range l.acked {
		sum += l.acked[i].Load()
	}
	return sum
}

// grows waits until the load made progress.
func (l *load) grows(by int64) {
	from := l.total()
	require.Eventually(l.t, func() bool { return l.total() >= from+by }, 30*time.Second, 5*time.Millisecond)
}

func TestKillLeaderUnderLoad(t *testing.T) {
	c := startCluster(t, 3)
	for range 3 {
		lead := c.leader()
		l := startLoad(t, c.others(lead))
		l.grows(500)
		c.leads(lead)
		c.signal(lead, syscall.SIGKILL)
		l.grows(500)
		l.end()
		require.Zero(t, l.errs.Load(), "a client of a surviving node saw %v", l.lastErr.Load())
		// DESIGN 12: p99 of the gap is 2.5 T; the bound here leaves room for a busy machine.
		require.Less(t, time.Duration(l.gap.Load()), 5*time.Second)
		t.Logf("longest gap %v", time.Duration(l.gap.Load()).Round(time.Millisecond))
		l.verify(c)
		c.start(lead)
		c.ready()
		l.verify(c)
		c.sameDigests()
		rdb := lead.client(nil)
		require.NoError(t, rdb.FlushAll(context.Background()).Err())
		rdb.Close()
	}
}

func TestKillAllAtOnce(t *testing.T) {
	c := startCluster(t, 3)
	for range 2 {
		l := startLoad(t, c.nodes)
		l.grows(500)
		for _, p := range c.nodes {
			require.NoError(t, p.cmd.Process.Kill())
		}
		for _, p := range c.nodes {
			<-p.exited
			p.cmd = nil
		}
		l.end()
		for _, p := range c.nodes {
			c.start(p)
		}
		c.ready()
		l.verify(c)
		c.sameDigests()
		rdb := c.nodes[0].client(nil)
		require.NoError(t, rdb.FlushAll(context.Background()).Err())
		rdb.Close()
	}
}

// A paused leader is deposed; when it wakes it must neither answer stale reads nor
// lose anything.
func TestPausedLeader(t *testing.T) {
	c := startCluster(t, 3)
	lead := c.leader()
	l := startLoad(t, c.others(lead))
	l.grows(200)
	c.leads(lead)
	c.signal(lead, syscall.SIGSTOP)
	l.grows(500)
	c.signal(lead, syscall.SIGCONT)
	rdb := lead.client(nil)
	defer rdb.Close()
	before := l.acked[0].Load()
	n := counted(t, rdb, 0)
	require.GreaterOrEqual(t, n, before, "a read through the old leader was stale")
	l.end()
	require.Zero(t, l.errs.Load(), "a client of a running node saw %v", l.lastErr.Load())
	l.verify(c)
	c.sameDigests()
}

func TestGracefulRollingRestart(t *testing.T) {
	c := startCluster(t, 3)
	for _, p := range c.nodes {
		var through []*process
		for _, q := range c.nodes {
			if q != p {
				through = append(through, q)
			}
		}
		l := startLoad(t, through)
		l.grows(200)
		c.signal(p, syscall.SIGTERM)
		l.grows(200)
		c.start(p)
		c.ready()
		l.grows(200)
		l.end()
		require.Zero(t, l.errs.Load(), "a client of a node that stayed saw %v", l.lastErr.Load())
		t.Logf("longest gap %v", time.Duration(l.gap.Load()).Round(time.Millisecond))
		l.verify(c)
		rdb := c.nodes[0].client(nil)
		require.NoError(t, rdb.FlushAll(context.Background()).Err())
		rdb.Close()
	}
	c.sameDigests()
}

func TestLongAbsenceNeedsASnapshot(t *testing.T) {
	c := startCluster(t, 3, "--snapshot-log-size", "2mb", "--segment-size", "1mb")
	away := c.followers()[0]
	c.signal(away, syscall.SIGKILL)
	rdb := c.leader().client(nil)
	defer rdb.Close()
	ctx := context.Background()
	value := strings.Repeat("v", 32<<10)
	for i := range 400 {
		require.NoError(t, rdb.Set(ctx, fmt.Sprintf("key%d", i%40), value, 0).Err())
	}
	require.NoError(t, rdb.ZAdd(ctx, "z", redis.Z{Score: 1, Member: "m"}).Err())
	require.Eventually(t, func() bool {
		first, _ := strconv.Atoi(c.info(c.leader())["raft_log_first_index"])
		return first > 100
	}, 15*time.Second, 20*time.Millisecond, "the log was not compacted")
	c.start(away)
	c.ready()
	c.sameDigests()
	require.Eventually(t, func() bool { // INFO may be a clock tick old
		snap, _ := strconv.Atoi(c.info(away)["raft_snapshot_index"])
		return snap > 0
	}, 5*time.Second, 10*time.Millisecond, "it caught up without a snapshot")
	c.signal(away, syscall.SIGKILL)
	c.start(away)
	c.ready()
	c.sameDigests()
}

func TestGrowAndShrink(t *testing.T) {
	c := startCluster(t, 3)
	l := startLoad(t, c.nodes[:3])
	l.grows(100)
	fourth := c.process(4)
	fourth.args = append(fourth.args, "--join", c.nodes[0].peer+","+c.nodes[1].peer)
	c.nodes = append(c.nodes, fourth)
	c.start(fourth)
	require.Eventually(t, func() bool {
		_, out := runExit(t, "cluster", "status", "--addr", c.nodes[0].addr)
		return strings.Count(out, "voter") == 4
	}, 20*time.Second, 50*time.Millisecond, "the fourth node was not promoted")
	l.grows(100)
	followers := c.followers()
	gone := followers[0]
	if gone == fourth {
		gone = followers[1]
	}
	l.end()
	require.Zero(t, l.errs.Load(), "%v", l.lastErr.Load())
	var code int
	var out string
	require.Eventually(t, func() bool { // the change that promoted it may not be over
		code, out = runExit(t, "cluster", "remove", "--addr", fourth.addr, strconv.Itoa(gone.id))
		return code == 0 || !strings.Contains(out, "membership change in progress")
	}, 20*time.Second, 10*time.Millisecond)
	require.Zero(t, code, out)
	c.signal(gone, syscall.SIGTERM)
	l.verify(c)
	require.Eventually(t, func() bool { // again if an election came in between, or it took too long
		code, out = runExit(t, "cluster", "transfer", "--addr", c.leader().addr, "4")
		return code == 0 && c.leader() == fourth
	}, 20*time.Second, 10*time.Millisecond, "leadership was not handed over")
	c.sameDigests()
}
