package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

// shifted is a clock of leases that a test can move.
type shifted struct{ by atomic.Int64 }

func (s *shifted) elapsed() int64 { return bootTime() + s.by.Load() }

// leased waits until n reads by lease, and returns the term.
func leased(t *testing.T, n *Node) (term uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		var ok bool
		term, ok = n.LeaseRead()
		return ok && n.LeaseHolds(term)
	}, 10*time.Second, time.Millisecond)
	return term
}

// anyLeased waits until some node reads by lease.
func anyLeased(t *testing.T, c *testCluster) (lead *Node, term uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, n := range c.nodes {
			if at, ok := n.LeaseRead(); ok && n.LeaseHolds(at) {
				lead, term = n, at
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
	return lead, term
}

func TestReadsByLease(t *testing.T) {
	clocks := map[raftcore.NodeID]*shifted{1: {}, 2: {}, 3: {}}
	c := newTestCluster(t, 3, func(cfg *Config) {
		cfg.ReadMode, cfg.Elapsed = ReadLease, clocks[cfg.ID].elapsed
	})
	lead := c.leader()
	_, err := do(t, lead, "set", "a", "1")
	require.NoError(t, err)
	term := leased(t, lead)
	require.Equal(t, lead.Status().Term, term)
	for _, n := range c.others(lead) {
		_, ok := n.LeaseRead()
		require.False(t, ok, "a follower has none")
		require.Equal(t, "$1\r\n1\r\n", get(t, n, "a"), "but its reads are linearizable all the same")
	}

	// The leader's machine slept for a minute: reads go on, by quorum, then by a new lease.
	clocks[lead.identity.Node].by.Add(time.Minute.Nanoseconds())
	require.Equal(t, "$1\r\n1\r\n", get(t, lead, "a"))
	lead, term = anyLeased(t, c) // on a busy machine the others may have had their election

	// A hand-over ends it for the term.
	require.NoError(t, lead.Transfer(context.Background(), 0))
	require.False(t, lead.LeaseHolds(term))
	var next *Node
	require.Eventually(t, func() bool { next = c.leader(); return next != lead }, 10*time.Second, time.Millisecond)
	require.Greater(t, leased(t, next), term)
	require.False(t, lead.LeaseHolds(term))
}

// The preferred member leads, and again when it is back.
func TestPreferredMemberLeads(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) { cfg.ElectionTimeout, cfg.Priority = 200*time.Millisecond, int32(cfg.ID) })
	leads := func(id raftcore.NodeID) func() bool {
		return func() bool { return c.nodes[id].Status().Role == raftcore.Leader }
	}
	require.Eventually(t, leads(3), 20*time.Second, 10*time.Millisecond, "its flag says so")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.Eventually(t, func() bool { return c.nodes[2].SetPriority(ctx, 1, 10) == nil }, 20*time.Second, 10*time.Millisecond,
		"whatever elections a busy machine has meanwhile")
	require.Eventually(t, leads(1), 20*time.Second, 10*time.Millisecond, "the operator says so")
	require.Error(t, c.nodes[1].SetPriority(ctx, 9, 1))
	require.Error(t, c.nodes[1].SetPriority(ctx, 1, MaxPriority+1))
	c.restart(c.kill(c.nodes[1]))
	require.Eventually(t, leads(1), 20*time.Second, 10*time.Millisecond, "handed back")
}

// A leader whose loop does not run, and whose peers do not hear it, still answers "no"
// on its clock's authority alone.
func TestLeaseEndsByTheClock(t *testing.T) {
	var clock shifted
	c := newTestCluster(t, 1, func(cfg *Config) { cfg.ReadMode, cfg.Elapsed = ReadLease, clock.elapsed })
	n := c.leader()
	term := leased(t, n)
	stop, resume := make(chan struct{}), make(chan struct{})
	n.call(func(*loop) { close(stop); <-resume })
	<-stop
	if _, ok := n.LeaseRead(); ok {
		clock.by.Add(n.cfg.ElectionTimeout.Nanoseconds())
		require.False(t, n.LeaseHolds(term))
	}
	close(resume)
	leased(t, n)
}

func TestReadModeIsSwitched(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	lead := c.leader()
	_, err := do(t, lead, "set", "a", "1")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, ok := lead.LeaseRead()
	require.False(t, ok, "off by default")
	require.NoError(t, c.others(lead)[0].SetReadMode(ctx, ReadLease), "on any node")
	anyLeased(t, c) // whoever leads by then
	for _, n := range c.nodes {
		require.Eventually(t, func() bool { return n.Status().ReadMode == ReadLease }, 5*time.Second, time.Millisecond)
	}
	require.NoError(t, lead.SetReadMode(ctx, ReadLease), "already")
	require.Error(t, lead.SetReadMode(ctx, "eventual"))

	// Known after a restart; a flag that says otherwise is refused, with the way out.
	gone := c.kill(c.others(c.leader())[0])
	_, err = Open(ctx, Config{
		ID: gone, DataDir: filepath.Join(c.dir, fmt.Sprint(gone)), PeerAddr: c.addrs[gone], Initial: c.addrs, ReadMode: ReadQuorum,
	})
	require.ErrorContains(t, err, "rkv cluster read-mode quorum")
	back := c.restart(gone)
	require.Eventually(t, func() bool { return back.Status().ReadMode == ReadLease }, 5*time.Second, time.Millisecond)

	require.Equal(t, "$1\r\n1\r\n", get(t, back, "a"), "it knows the leader")
	require.NoError(t, back.SetReadMode(ctx, ReadQuorum))
	_, ok = c.leader().LeaseRead()
	require.False(t, ok)
	require.Equal(t, "$1\r\n1\r\n", get(t, back, "a"))
}
