package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

// partOf is how much of a snapshot a node has received so far, in bytes on its disk.
func (c *testCluster) partOf(id raftcore.NodeID) (name string, size int64) {
	parts, err := filepath.Glob(filepath.Join(c.dir, fmt.Sprint(id), "groups", "0", "snapshot", "*.part"))
	require.NoError(c.t, err)
	if len(parts) == 0 {
		return "", 0
	}
	st, err := os.Stat(parts[0])
	if err != nil { // it is a part no more
		return "", 0
	}
	return parts[0], st.Sys().(*syscall.Stat_t).Blocks * 512
}

// A member that dies in the middle of a snapshot, again and again, gets the rest of the
// same one each time, though there are newer ones; the log waits for it.
func TestSnapshotIsContinuedNotBegunAgain(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) {
		cfg.SnapshotLogBytes, cfg.KeepLogBytes, cfg.SnapshotBytesPerSecond = 8<<20, 1<<20, 4<<20
	})
	lead := c.leader()
	away := c.kill(c.others(lead)[0])
	noise := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 256<<10)
	for i := range 32 { // 8 MiB that do not compress: two seconds
		_, _ = noise.Read(value)
		_, err := do(t, lead, "set", fmt.Sprint("key", i), string(value))
		require.NoError(t, err)
	}
	first, err := lead.Snapshot(context.Background())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return lead.Status().FirstIndex > 2 }, 10*time.Second, 5*time.Millisecond)

	have := int64(0)
	for range 2 {
		back := c.restart(away)
		require.Eventually(t, func() bool { _, size := c.partOf(away); return size > have+3<<19 }, 30*time.Second, 5*time.Millisecond)
		_, have = c.partOf(away)
		c.kill(back)
		_, kept := c.partOf(away)
		require.GreaterOrEqual(t, kept, have, "what was received is gone")
		_, err := do(t, lead, "set", "key1", string(value))
		require.NoError(t, err)
		newer, err := lead.Snapshot(context.Background())
		require.NoError(t, err)
		require.Greater(t, newer, first)
	}
	back := c.restart(away)
	require.Eventually(t, func() bool { return back.Status().SnapshotIndex == first }, 30*time.Second, 5*time.Millisecond,
		"it was sent a newer snapshot from the beginning")
	c.settled()
	c.sameDigests()
	name, _ := c.partOf(away)
	require.Empty(t, name)
	require.Zero(t, lead.delivering())
}

// Members get their snapshots one after the other, but nobody waits for ever.
func TestDeliveriesTakeTurns(t *testing.T) {
	var d deliveries
	first := d.enter(t.Context(), time.Hour)
	entered := make(chan func())
	go func() { entered <- d.enter(context.Background(), time.Hour) }()
	d.enter(t.Context(), time.Millisecond)() // did not get it, and passes nothing on
	select {
	case <-entered:
		t.Fatal("two at a time")
	default:
	}
	first()
	first()
	second := <-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d.enter(ended, time.Hour)()
	second()
	d.enter(t.Context(), time.Hour)()
}

func TestBehind(t *testing.T) {
	peers := []raftcore.PeerStatus{{ID: 2, Match: 7, Active: true}, {ID: 3, Match: 7}}
	require.True(t, behind(peers, 2, 8))
	require.False(t, behind(peers, 2, 7), "it has the snapshot")
	require.False(t, behind(peers, 3, 8), "it is away")
	require.False(t, behind(peers, 4, 8), "it is no member")
}
