package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// counters increments one key per worker through a node and remembers the last
// acknowledged value: nothing acknowledged may be lost, nothing applied twice.
type counters struct {
	acked   []int64
	unknown []int64
	errs    atomic.Int64
	stop    chan struct{}
	wg      sync.WaitGroup
}

func startCounters(t *testing.T, nodes []*Node) *counters {
	c := &counters{acked: make([]int64, len(nodes)), unknown: make([]int64, len(nodes)), stop: make(chan struct{})}
	for i, n := range nodes {
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				r, err := do(t, n, "incr", "counter"+strconv.Itoa(i))
				if err != nil {
					c.errs.Add(1)
					if strings.HasPrefix(err.Error(), "TIMEOUT") {
						c.unknown[i]++
					}
					continue
				}
				v, perr := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(r, ":")), 10, 64)
				if perr != nil {
					t.Errorf("reply %q", r)
					return
				}
				if v <= c.acked[i] || v > c.acked[i]+1+c.unknown[i] {
					t.Errorf("counter %d went from %d to %d with %d unknown outcomes", i, c.acked[i], v, c.unknown[i])
					return
				}
				c.acked[i], c.unknown[i] = v, 0
			}
		}()
	}
	return c
}

func (c *counters) end() {
	close(c.stop)
	c.wg.Wait()
}

func (c *testCluster) others(not *Node) (out []*Node) {
	for _, n := range c.nodes {
		if n != not {
			out = append(out, n)
		}
	}
	return out
}

func (c *testCluster) kill(n *Node) raftcore.NodeID {
	id := n.identity.Node
	require.NoError(c.t, n.abort())
	delete(c.nodes, id)
	return id
}

func (c *testCluster) restart(id raftcore.NodeID) *Node {
	n := c.open(id, c.addrs, nil)
	c.nodes[id] = n
	return n
}

func TestLeaderDiesUnderLoad(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	lead := c.leader()
	w := startCounters(t, c.others(lead))
	for range 3 {
		from := c.leader().Status().Commit
		require.Eventually(t, func() bool { return c.leader().Status().Commit > from+100 }, 10*time.Second, 5*time.Millisecond,
			"no progress between the blows")
		require.Eventually(t, func() bool { // after an election by itself, too: clients of the node that dies see errors
			return c.leader() == lead || lead.Transfer(t.Context(), uint64(lead.identity.Node)) == nil && c.leader() == lead
		}, 20*time.Second, 5*time.Millisecond)
		id := c.kill(lead)
		require.Eventually(t, func() bool {
			for _, n := range c.nodes {
				if n.Status().Role == raftcore.Leader {
					return true
				}
			}
			return false
		}, 5*time.Second, 5*time.Millisecond)
		w.end()
		require.Zero(t, w.errs.Load(), "clients of surviving nodes must not see errors")
		for i, v := range w.acked {
			require.Positive(t, v)
			got := get(t, c.leader(), "counter"+strconv.Itoa(i))
			require.Contains(t, got, strconv.FormatInt(v, 10))
		}
		c.restart(id)
		c.sameDigests()
		require.Eventually(t, func() bool { _, err := do(t, c.leader(), "flushall"); return err == nil }, 5*time.Second, 10*time.Millisecond)
		lead = c.leader()
		w = startCounters(t, c.others(lead))
	}
	w.end()
}

func TestAllNodesDieAtOnce(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	var nodes []*Node
	for _, n := range c.nodes {
		nodes = append(nodes, n)
	}
	for range 3 {
		w := startCounters(t, nodes)
		// Loads of this round, not what the rounds before committed.
		before := c.leader().Status().Commit
		require.Eventually(t, func() bool { return c.leader().Status().Commit > before+50 }, 20*time.Second, 5*time.Millisecond)
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Add(1)
			go func() { defer wg.Done(); _ = n.abort() }()
		}
		wg.Wait()
		w.end()
		acked := w.acked
		nodes = nil
		for id := raftcore.NodeID(1); id <= 3; id++ {
			nodes = append(nodes, c.restart(id))
		}
		c.leader()
		for i, v := range acked {
			got := get(t, nodes[0], "counter"+strconv.Itoa(i))
			if v == 0 && got == "_\r\n" {
				continue // its client had no answer before the end
			}
			lines := strings.Split(got, "\r\n")
			require.Len(t, lines, 3, "%q after %d acknowledged increments", got, v)
			n, err := strconv.ParseInt(lines[1], 10, 64)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, v, "acknowledged increments were lost")
		}
		_, err := do(t, nodes[0], "flushall")
		require.NoError(t, err)
	}
	c.sameDigests()
}

func TestLaggardGetsASnapshot(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) { cfg.SnapshotLogBytes, cfg.KeepLogBytes = 4<<20, 1<<20 })
	lead := c.leader()
	away := c.kill(c.others(lead)[0])
	value := strings.Repeat("v", 64<<10)
	for i := range 400 {
		_, err := do(t, lead, "set", fmt.Sprintf("key%d", i%50), value)
		require.NoError(t, err)
	}
	_, err := do(t, lead, "rpush", "list", "a", "b")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return lead.Status().FirstIndex > 2 }, 10*time.Second, 10*time.Millisecond,
		"the log was not compacted")
	back := c.restart(away)
	require.Eventually(t, func() bool { return back.Status().Applied >= lead.Status().Commit }, 15*time.Second, 10*time.Millisecond)
	require.Positive(t, back.Status().SnapshotIndex)
	c.sameDigests()
	// The node must be whole again: restart it from what it received.
	c.kill(back)
	back = c.restart(away)
	require.Contains(t, get(t, back, "key7"), value)
	c.sameDigests()
}

func TestMembersComeAndGo(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	lead := c.leader()
	_, err := do(t, lead, "set", "a", "1")
	require.NoError(t, err)
	c.addrs[4] = freeAddr(t)
	fourth := c.open(4, nil, []string{c.addrs[1], c.addrs[2]})
	c.nodes[4] = fourth
	require.Eventually(t, func() bool {
		m := findMember(c.leader().Status().Membership, 4)
		return m != nil && !m.Learner
	}, 10*time.Second, 10*time.Millisecond, "the learner was not promoted")
	require.Equal(t, "$1\r\n1\r\n", get(t, fourth, "a"))
	_, err = do(t, fourth, "set", "b", "2")
	require.NoError(t, err)

	others := c.others(c.leader()) // in another order each time
	gone := others[0]
	if gone == fourth {
		gone = others[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.Eventually(t, func() bool { // the change that promoted it may not be over
		err := fourth.Remove(ctx, uint64(gone.identity.Node))
		return err == nil || !assert.ErrorContains(t, err, "membership change in progress")
	}, 10*time.Second, 10*time.Millisecond, "administration works on any node")
	require.Eventually(t, func() bool { return findMember(c.leader().Status().Membership, gone.identity.Node) == nil },
		10*time.Second, time.Millisecond)
	c.kill(gone)
	// It is tried again if an election came in between, or it took too long.
	require.Eventually(t, func() bool { return fourth.Transfer(ctx, 4) == nil && c.leader() == fourth }, 10*time.Second, time.Millisecond)
	_, err = do(t, c.others(fourth)[0], "incr", "n")
	require.NoError(t, err)
	c.sameDigests()
}

func TestNoQuorumIsAnHonestError(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) { cfg.ParkTimeout, cfg.RequestTimeout = 300*time.Millisecond, 600*time.Millisecond })
	lead := c.leader()
	survivor := c.others(lead)[0]
	for _, n := range c.others(survivor) {
		c.kill(n)
	}
	require.Eventually(t, func() bool { return survivor.Status().Leader == 0 }, 5*time.Second, 5*time.Millisecond)
	_, err := do(t, survivor, "set", "a", "1")
	require.ErrorIs(t, err, errNoLeader, "never sent, so the error is definite")
	done := make(chan error, 1)
	survivor.ReadBarrier(func(err error) { done <- err })
	survivor.Flush()
	require.ErrorIs(t, <-done, errNoLeader)
}

func TestUnknownOutcomeIsSealed(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) { cfg.ParkTimeout, cfg.RequestTimeout = 300*time.Millisecond, 600*time.Millisecond })
	lead := c.leader()
	// One after the other: the leader logs whom it lost, and while two entries are under
	// way it does not begin a third.
	c.kill(c.others(lead)[0])
	for range 2 { // also when two that are left have an election meanwhile
		require.Eventually(t, func() bool { _, err := do(t, lead, "incr", "a"); return err == nil }, 10*time.Second, time.Millisecond)
	}
	lead = c.leader()
	c.kill(c.others(lead)[0])
	_, err := do(t, lead, "incr", "a")
	require.ErrorIs(t, err, errUnknownOutcome, "it is in a log; nobody knows")
}

func TestExpiryIsOneForAll(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	_, err := do(t, c.leader(), "set", "a", "1", "px", "150")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		for _, n := range c.nodes {
			if n.Store().DBSize(0) != 0 {
				return false
			}
		}
		return true
	}, 5*time.Second, 10*time.Millisecond, "due keys must go without anybody touching them")
	c.sameDigests()
}

func TestTickMakesDueKeysExpired(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	n := c.leader()
	_, err := do(t, n, "set", "a", "1", "px", "30")
	require.NoError(t, err)
	deadline := n.Now() + 31
	require.Eventually(t, func() bool { return n.Now() > deadline }, 10*time.Second, time.Millisecond)
	done := make(chan error, 1)
	n.Tick(n.Now(), func(err error) { done <- err })
	n.Flush()
	require.NoError(t, <-done)
	c2 := &kv.Chunk{}
	c2.AddRead(kv.Lookup([]byte("get")), [][]byte{[]byte("get"), []byte("a")})
	require.False(t, n.Store().Read(c2, deadline), "the stamp has passed the expiry, no further tick is needed")
	require.Equal(t, "_\r\n", string(c2.Reply.Bytes()))
}

func TestWaitCountsDurableReplicas(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	n := c.others(c.leader())[0]
	chunk := &kv.Chunk{}
	w := make(waiter, 1)
	chunk.Waiter = w
	chunk.AppendOp(kv.Lookup([]byte("set")), [][]byte{[]byte("set"), []byte("a"), []byte("1")})
	n.Propose(chunk)
	n.Flush()
	<-w
	require.NoError(t, chunk.Err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got := make(chan int, 1)
	n.WaitReplicas(ctx, chunk.Index, 2, func(k int) { got <- k })
	require.Equal(t, 2, <-got)
}

// A leader that removes itself commits that, answers, and hands over at once: it still
// needs the acknowledgements of nodes whose configuration no longer names it.
func TestLeaderRemovesItself(t *testing.T) {
	for range 3 {
		c := newTestCluster(t, 3, nil)
		lead := c.leader()
		w := startCounters(t, c.others(lead))
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		require.NoError(t, lead.Remove(ctx, uint64(lead.identity.Node)))
		cancel()
		require.Eventually(t, func() bool { return c.others(lead)[0].Status().Leader != lead.identity.Node }, 5*time.Second, time.Millisecond)
		w.end()
		require.Zero(t, w.errs.Load())
		require.Eventually(t, func() bool { return lead.Status().Role != raftcore.Leader }, 5*time.Second, time.Millisecond)
		c.kill(lead)
		c.sameDigests()
		for _, n := range c.nodes {
			require.NoError(t, n.abort())
		}
	}
}

// A node that learns of its removal says so instead of asking clients to try again.
func TestRemovedNodeSaysSo(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	n := c.leader()
	for _, step := range []struct {
		members []raftcore.Member
		says    error
	}{
		{[]raftcore.Member{{ID: 1}, {ID: 2}}, errNoLeader},
		{[]raftcore.Member{{ID: 2}}, errRemoved},
		{[]raftcore.Member{{ID: 1}, {ID: 2}}, errNoLeader},
	} {
		require.NoError(t, n.onLoop(context.Background(), func(l *loop) {
			l.noteMembership(raftcore.Membership{Members: step.members})
			require.Equal(t, step.says, noLeader(l.origin.removed))
			require.Equal(t, step.says, noLeader(l.reads.removed))
		}))
	}
}
