package node

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// leaderThatMustRead is a leader whose third member is away and needs entries that are
// on the disk alone.
func leaderThatMustRead(t *testing.T) (c *testCluster, disks map[raftcore.NodeID]*moodyDisk, lead, other *Node, away raftcore.NodeID) {
	c, disks = moodyCluster(t, func(cfg *Config) {
		cfg.Tune = func(r *raftcore.Config) { r.WindowBytes = 64 << 10 }
	})
	lead = c.leader()
	others := c.others(lead)
	away, other = c.kill(others[0]), others[1]
	c.write(lead, 0, 60)
	require.Eventually(t, func() bool { return other.Status().Applied == lead.Status().Applied }, 10*time.Second, time.Millisecond)
	lead = c.leader() // an election among the two may have come in between
	return c, disks, lead, c.others(lead)[0], away
}

// stopsItself waits for a node to find its disk bad, and ends it as its owner does.
func (c *testCluster) stopsItself(n *Node) *segmentlog.CorruptionError {
	select {
	case <-n.Failed():
	case <-time.After(20 * time.Second):
		c.t.Fatal("the node goes on with a log it cannot read")
	}
	var damage *segmentlog.CorruptionError
	require.ErrorAs(c.t, n.Err(), &damage)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.Error(c.t, n.Close(ctx))
	delete(c.nodes, n.identity.Node)
	return damage
}

// A running leader cannot read old entries of its log: it stops, naming the place, and
// the others go on. As long as the disk gives no answer it does not start: that disk is
// failing, and repairing it in place would trust it with what it just refused.
func TestUnreadableLogStopsARunningNode(t *testing.T) {
	c, disks, lead, other, away := leaderThatMustRead(t)
	id := lead.identity.Node
	disks[id].blind.Store(true)
	_, err := do(t, lead, "set", "a", "1")
	require.NoError(t, err, "writing does not need it")
	c.restart(away)
	damage := c.stopsItself(lead)
	require.ErrorIs(t, damage, unix.EIO)
	require.NotEmpty(t, damage.File)
	_, err = do(t, other, "set", "a", "2")
	require.NoError(t, err)
	require.Equal(t, "$1\r\n2\r\n", get(t, c.nodes[away], "a"))

	cfg := Config{ID: id, DataDir: filepath.Join(c.dir, fmt.Sprint(id)), PeerAddr: c.addrs[id], FS: disks[id]}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = Open(ctx, cfg)
	require.ErrorAs(t, err, &damage)
	require.ErrorIs(t, err, unix.EIO)

	disks[id].blind.Store(false)
	c.restart(id)
	c.settled()
	c.sameDigests()
}

// A running leader finds a damaged entry: it stops, and its next start repairs it.
func TestDamageFoundWhileRunning(t *testing.T) {
	c, _, lead, _, away := leaderThatMustRead(t)
	id := lead.identity.Node
	var hurt record
	for _, r := range c.records(id) {
		if r.index == 20 {
			hurt = r
		}
	}
	flip(t, hurt.file, hurt.off+64+int64(hurt.length)/2)
	c.restart(away)
	damage := c.stopsItself(lead)
	require.Equal(t, hurt.file, damage.File)
	require.Equal(t, hurt.off, damage.Offset)
	require.EqualValues(t, 20, damage.Index)
	c.restart(id)
	c.settled()
	c.sameDigests()
}
