package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// compacting takes snapshots early and keeps hardly any log behind them.
func compacting(cfg *Config) {
	cfg.SegmentSize, cfg.SnapshotLogBytes, cfg.KeepLogBytes = 64<<10, 1<<30, 1
}

func (c *testCluster) write(n *Node, from, to int) {
	for i := from; i < to; i++ {
		_, err := do(c.t, n, "set", fmt.Sprint("key", i), strings.Repeat("v", 4<<10))
		require.NoError(c.t, err)
	}
}

// spoil flips a bit in the record of an entry of a stopped node.
func (c *testCluster) spoil(id raftcore.NodeID, index func(recs []record) int) record {
	recs := c.records(id)
	r := recs[index(recs)]
	flip(c.t, r.file, r.off+64+int64(r.length)/2)
	return r
}

// A node's log is damaged where all others have let go of theirs: it takes a snapshot
// from one of them, at the latest when the others have got as far as its log goes.
func TestDamageThatAllPeersCompacted(t *testing.T) {
	for name, idle := range map[string]bool{"others go on": false, "nobody writes": true} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, 3, compacting)
			lead := c.leader()
			c.write(lead, 0, 60)
			c.settled()
			others := c.others(lead)
			victim, other := others[0], others[1]
			c.write(lead, 60, 70)
			c.settled()
			id := c.kill(victim)
			hurt := c.spoil(id, func(recs []record) int { return len(recs) / 2 })
			if !idle {
				c.write(lead, 70, 130)
			}
			for _, n := range []*Node{lead, other} {
				_, err := n.Snapshot(context.Background())
				require.NoError(t, err)
				require.Eventually(t, func() bool { return n.wal.FirstIndex() > hurt.index }, 10*time.Second, 5*time.Millisecond,
					"entry %d is still there", hurt.index)
			}
			back := c.restart(id)
			require.NotZero(t, back.Status().SnapshotIndex)
			require.Contains(t, get(t, back, "key3"), strings.Repeat("v", 4<<10))
			c.write(back, 130, 140)
			c.settled()
			c.sameDigests()
			c.kill(back)
			c.restart(id)
			c.settled()
			c.sameDigests()
		})
	}
}

// The damaged log goes on behind what the others ever had of it: a snapshot that does
// not reach its end is not good enough, though it holds the damaged entry.
func TestReplacementReachesTheEndOfTheLog(t *testing.T) {
	c := newTestCluster(t, 3, compacting)
	lead := c.leader()
	c.write(lead, 0, 60)
	c.settled()
	shared := lead.wal.LastIndex()
	for _, n := range c.others(lead) {
		c.kill(n)
	}
	answers := make(chan error, 3)
	for i := range cap(answers) { // the leader alone has these
		go func() { _, err := do(t, lead, "set", fmt.Sprint("alone", i), "1"); answers <- err }()
	}
	for range cap(answers) {
		require.Error(t, <-answers, "committed by one of three")
	}
	last := lead.wal.LastIndex()
	require.Greater(t, last, shared)
	id := c.kill(lead)
	hurt := c.spoil(id, func(recs []record) int { return len(recs) / 2 })
	for other := range c.addrs {
		if other != id {
			c.restart(other)
		}
	}
	c.settled()
	for _, n := range c.nodes {
		_, err := n.Snapshot(context.Background())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return n.wal.FirstIndex() > hurt.index }, 10*time.Second, 5*time.Millisecond)
	}
	back := c.restart(id)
	require.GreaterOrEqual(t, back.Status().SnapshotIndex, last)
	c.settled()
	c.sameDigests()
}

// Its own snapshot holds what was damaged, and nobody has it in the log any more: what
// is behind the snapshot stays.
func TestDamageBelowTheOwnSnapshot(t *testing.T) {
	c := newTestCluster(t, 3, compacting)
	lead := c.leader()
	c.write(lead, 0, 60)
	c.settled()
	victim := c.others(lead)[0]
	id := victim.identity.Node
	// A snapshot that is there while the log of before it is, too.
	held := victim.deliveries.begin(9)
	require.True(t, held)
	victim.deliveries.sending(9, 1)
	_, err := victim.Snapshot(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 1, victim.wal.FirstIndex())
	c.write(lead, 60, 90)
	c.settled()
	own := victim.Status().SnapshotIndex
	c.kill(victim)
	hurt := c.spoil(id, func(recs []record) int { return 5 })
	require.Less(t, hurt.index, own)
	for _, n := range c.nodes {
		_, err := n.Snapshot(context.Background())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return n.wal.FirstIndex() > hurt.index }, 10*time.Second, 5*time.Millisecond)
	}
	back := c.restart(id)
	require.Equal(t, own, back.Status().SnapshotIndex, "a snapshot was fetched without need")
	c.settled()
	c.sameDigests()
}

// All nodes lost the same entry, which is in no snapshot that reaches the end: refused.
func TestSameDamageEverywhereIsRefused(t *testing.T) {
	c := newTestCluster(t, 3, compacting)
	c.write(c.leader(), 0, 20)
	c.settled()
	for _, n := range c.others(nil) {
		c.kill(n)
	}
	for id := range c.addrs {
		c.spoil(id, func(recs []record) int {
			for i, r := range recs {
				if r.index == 10 {
					return i
				}
			}
			return 0
		})
	}
	errs := make(chan error, 3)
	for id := range c.addrs {
		cfg := Config{ID: id, DataDir: filepath.Join(c.dir, fmt.Sprint(id)), PeerAddr: c.addrs[id]}
		compacting(&cfg)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			n, err := Open(ctx, cfg)
			if n != nil {
				_ = n.Close(context.Background())
			}
			errs <- err
		}()
	}
	refused := 0
	for range 3 {
		err := <-errs
		var damage *segmentlog.CorruptionError
		require.ErrorAs(t, err, &damage, "a node started without an entry that was acknowledged")
		require.EqualValues(t, 10, damage.Index)
		refused++
	}
	require.Equal(t, 3, refused)
}
