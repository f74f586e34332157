package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// logDir is where a node of the test keeps its log.
func (c *testCluster) logDir(id raftcore.NodeID) string {
	return filepath.Join(c.dir, fmt.Sprint(id), "groups", "0", "log")
}

// spoilTail copies a running node's log, with less in it than a graceful stop
// writes, and flips a bit in the last byte of the copy's last record. It reports
// false if that is provably damage and not merely ambiguous, for the hard state was
// written since, or if the log's files changed meanwhile. restore puts the copy in the log's place, once the node is down.
func (c *testCluster) spoilTail(id raftcore.NodeID) (restore func(), ambiguous bool) {
	spoilt := filepath.Join(c.t.TempDir(), "log")
	if err := os.CopyFS(spoilt, os.DirFS(c.logDir(id))); errors.Is(err, fs.ErrNotExist) {
		return nil, false // a prepared segment got its name meanwhile
	} else if err != nil {
		require.NoError(c.t, err)
	}
	spoilEnd(c.t, spoilt)
	report, err := segmentlog.Verify(vfs.OS{}, spoilt)
	require.NoError(c.t, err)
	return func() {
		require.NoError(c.t, os.RemoveAll(c.logDir(id)))
		require.NoError(c.t, os.CopyFS(c.logDir(id), os.DirFS(spoilt)))
	}, report.Suspect != nil
}

// spoilEnd flips a bit in the last byte that a log holds.
func spoilEnd(t *testing.T, dir string) {
	segs, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	for i := len(segs) - 1; i >= 0; i-- {
		b, err := os.ReadFile(segs[i])
		require.NoError(t, err)
		end := len(b)
		for end > 4096 && b[end-1] == 0 {
			end--
		}
		if end > 4096 { // else prepared, not used yet
			b[end-1] ^= 4
			require.NoError(t, os.WriteFile(segs[i], b, 0o600))
			return
		}
	}
	t.Fatal("no log")
}

func (c *testCluster) settled() {
	require.Eventually(c.t, func() bool {
		last := c.leader().Status().LastIndex
		for _, n := range c.nodes {
			if s := n.Status(); s.DurableIndex != last || s.Applied != last {
				return false
			}
		}
		return true
	}, 10*time.Second, 10*time.Millisecond)
}

// An acknowledged write is on A and B, B's copy turns out damaged and A is away:
// B and C must not go on without it (RELIABILITY 3.2, ambiguous tail).
func TestAmbiguousTailDoesNotLoseAWrite(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	_, err := do(t, c.leader(), "set", "a", "1")
	require.NoError(t, err)
	c.settled()
	a := c.leader()
	others := c.others(a)
	b, third := others[0], others[1]
	thirdID := c.kill(third)
	var restore func()
	require.Eventually(t, func() bool {
		_, err := do(t, a, "set", "a", "2")
		require.NoError(t, err)
		c.settled()
		var ambiguous bool
		restore, ambiguous = c.spoilTail(b.identity.Node)
		return ambiguous
	}, 10*time.Second, time.Millisecond)
	aID, bID := c.kill(a), c.kill(b)
	restore()

	c.restart(thirdID)
	b = c.restart(bID)
	require.Eventually(t, func() bool { return b.Status().Suspect.Index > 0 }, 10*time.Second, time.Millisecond, "the damage was not noticed")
	require.Never(t, func() bool {
		for _, n := range c.nodes {
			if n.Status().Role == raftcore.Leader {
				return true
			}
		}
		return false
	}, 8*b.cfg.ElectionTimeout, 10*time.Millisecond, "a leader without an acknowledged write")
	c.restart(aID)
	require.Equal(t, "$1\r\n2\r\n", get(t, c.leader(), "a"))
	c.settled()
	require.Zero(t, b.Status().Suspect)
	c.sameDigests()
}

// All nodes lose their last, unpromised write at once: no operator is needed.
func TestEveryTailIsAmbiguous(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	for i := range 4 {
		_, err := do(t, c.leader(), "set", fmt.Sprint("key", i), "1")
		require.NoError(t, err)
	}
	var restores []func()
	require.Eventually(t, func() bool {
		_, err := do(t, c.leader(), "set", "last", "1")
		require.NoError(t, err)
		c.settled()
		restores = nil
		all := true
		for id := range c.nodes {
			restore, ambiguous := c.spoilTail(id)
			restores, all = append(restores, restore), all && ambiguous
		}
		return all
	}, 10*time.Second, time.Millisecond)
	for _, n := range c.others(nil) {
		c.kill(n)
	}
	for _, f := range restores {
		f()
	}
	for id := range c.addrs {
		c.restart(id)
	}
	for i := range 4 {
		require.Equal(t, "$1\r\n1\r\n", get(t, c.leader(), fmt.Sprint("key", i)))
	}
	_, err := do(t, c.leader(), "set", "key9", "1")
	require.NoError(t, err)
	c.settled()
	c.sameDigests()
	for _, n := range c.nodes {
		require.Zero(t, n.Status().Suspect)
	}
}
