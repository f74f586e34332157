package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// moodyDisk is a real disk that can pretend to be full, beforehand or only when a new
// file of the log is made, can refuse to read the log, and can hang: every sync then
// waits until it is released. It never loses or changes anything.
type moodyDisk struct {
	vfs.FS
	full  atomic.Bool
	quota atomic.Bool
	blind atomic.Bool
	mu    sync.Mutex
	gate  chan struct{} // nil: not hanging
}

func (d *moodyDisk) Free(dir string) (uint64, error) {
	if d.full.Load() {
		return 4096, nil
	}
	return d.FS.Free(dir)
}

func (d *moodyDisk) hang() (release func()) {
	gate := make(chan struct{})
	d.mu.Lock()
	d.gate = gate
	d.mu.Unlock()
	return sync.OnceFunc(func() {
		d.mu.Lock()
		d.gate = nil
		d.mu.Unlock()
		close(gate)
	})
}

func (d *moodyDisk) wait() {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

type moodyFile struct {
	vfs.File
	d *moodyDisk
}

func (f moodyFile) Datasync() error { f.d.wait(); return f.File.Datasync() }
func (f moodyFile) Sync() error     { f.d.wait(); return f.File.Sync() }

func (f moodyFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.blind.Load() && strings.HasSuffix(f.Name(), ".seg") {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: unix.EIO}
	}
	return f.File.ReadAt(p, off)
}

func (d *moodyDisk) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return moodyFile{f, d}, nil
}

func (d *moodyDisk) Create(name string) (vfs.File, error) {
	if d.quota.Load() && strings.HasPrefix(filepath.Base(name), "free-") {
		return nil, &fs.PathError{Op: "create", Path: name, Err: unix.EDQUOT}
	}
	return d.wrap(d.FS.Create(name))
}

func (d *moodyDisk) OpenRead(name string) (vfs.File, error) { return d.wrap(d.FS.OpenRead(name)) }

func (d *moodyDisk) Open(name string) (vfs.File, error) { return d.wrap(d.FS.Open(name)) }

func moodyCluster(t *testing.T, tune func(*Config)) (*testCluster, map[raftcore.NodeID]*moodyDisk) {
	disks := map[raftcore.NodeID]*moodyDisk{}
	for id := raftcore.NodeID(1); id <= 3; id++ {
		disks[id] = &moodyDisk{FS: vfs.OS{}}
	}
	c := newTestCluster(t, 3, func(cfg *Config) {
		cfg.FS = disks[cfg.ID]
		if tune != nil {
			tune(cfg)
		}
	})
	return c, disks
}

// The leader's disk hangs for longer than an election timeout: it hands over, others
// go on, and when the disk answers again nothing was lost.
func TestHangingDiskHandsOver(t *testing.T) {
	c, disks := moodyCluster(t, nil)
	old := c.leader()
	_, err := do(t, old, "set", "a", "1")
	require.NoError(t, err)
	release := disks[old.identity.Node].hang()
	defer release()
	other := c.others(old)[0]
	_, err = do(t, other, "set", "a", "2") // committed without the leader's own disk
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s := other.Status()
		return s.Leader != 0 && s.Leader != old.identity.Node
	}, 10*time.Second, 5*time.Millisecond, "leadership stayed on a disk that hangs")
	_, err = do(t, other, "set", "a", "3")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return old.Status().Role != raftcore.Leader }, 5*time.Second, 5*time.Millisecond,
		"the old leader did not step down") // its status may be a tick old
	require.Never(t, func() bool { return old.Status().Role == raftcore.Leader }, 4*old.cfg.ElectionTimeout, 5*time.Millisecond,
		"it campaigns while its disk hangs")
	release()
	c.settled()
	require.Equal(t, "$1\r\n3\r\n", get(t, old, "a"))
	c.sameDigests()
}

// A disk that does not come back stops the node.
func TestDeadDiskStopsTheNode(t *testing.T) {
	c, disks := moodyCluster(t, func(cfg *Config) { cfg.StallLimit = 3 * time.Second })
	old := c.leader()
	release := disks[old.identity.Node].hang()
	defer release()
	other := c.others(old)[0]
	_, err := do(t, other, "set", "a", "1")
	require.NoError(t, err)
	select {
	case <-old.Failed():
	case <-time.After(15 * time.Second):
		t.Fatal("the node waits for ever")
	}
	require.ErrorIs(t, old.Err(), ErrDiskStalled)
	_, err = do(t, other, "set", "a", "2")
	require.NoError(t, err)
}

// Space runs out on one node, then on a quorum: writes that need room are refused,
// definitely and in Redis's words, everything else goes on, and space ends it.
func TestFullDisksRefuseWritesAndRecover(t *testing.T) {
	c, disks := moodyCluster(t, nil)
	_, err := do(t, c.leader(), "set", "a", "1")
	require.NoError(t, err)
	set := func(n *Node) error { _, err := do(t, n, "set", "b", "1"); return err }
	lead := c.leader()
	followers := c.others(lead)
	disks[followers[0].identity.Node].full.Store(true)
	require.Eventually(t, func() bool { return followers[0].diskFull() }, 5*time.Second, 5*time.Millisecond)
	for range 20 {
		require.NoError(t, set(followers[0]), "two of three have room")
	}
	disks[lead.identity.Node].full.Store(true)
	for _, n := range c.nodes {
		require.Eventually(t, func() bool {
			err := set(n)
			return err != nil && strings.HasPrefix(err.Error(), "MISCONF ")
		}, 10*time.Second, 5*time.Millisecond, "node %d still takes writes", n.identity.Node)
	}
	// An election in between adds an entry of its own, and its leader has to hear first who
	// is full: then it is looked at again.
	require.Eventually(t, func() bool {
		at := c.leader()
		last := at.wal.LastIndex() // its status may be a tick old
		for _, n := range c.nodes {
			if !errors.Is(set(n), errDiskFull) {
				return false
			}
		}
		return at.wal.LastIndex() == last
	}, 10*time.Second, 5*time.Millisecond, "a refused write was proposed")
	for _, n := range c.nodes {
		require.Equal(t, "$1\r\n1\r\n", get(t, n, "a"))
	}
	r, err := do(t, followers[1], "del", "a")
	require.NoError(t, err)
	require.Equal(t, ":1\r\n", r)

	for _, d := range disks {
		d.full.Store(false)
	}
	for _, n := range c.nodes {
		require.Eventually(t, func() bool { return set(n) == nil }, 10*time.Second, 5*time.Millisecond)
	}
	c.sameDigests()
	require.NoError(t, lead.Close(context.Background()))
	delete(c.nodes, lead.identity.Node)
}

// A disk that is full without having been foreseen, for a quota or for what others
// write: the node waits for room, for longer than a disk may hang, leads no more, and
// goes on by itself.
func TestNodeWaitsForRoomForItsLog(t *testing.T) {
	c, disks := moodyCluster(t, func(cfg *Config) { cfg.StallLimit = 3 * time.Second })
	old := c.leader()
	disks[old.identity.Node].quota.Store(true)
	other := c.others(old)[0]
	require.Eventually(t, func() bool {
		_, err := do(t, other, "set", "a", strings.Repeat("v", 100_000))
		require.NoError(t, err, "the others have room")
		return old.waitsForSpace()
	}, 30*time.Second, time.Millisecond, "three megabytes and more fitted into the segments of one")
	require.Eventually(t, old.diskFull, 10*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return c.leader() != old && old.Status().Role != raftcore.Leader },
		10*time.Second, 5*time.Millisecond, "it leads though it cannot acknowledge anything")
	for deadline := time.Now().Add(2 * old.cfg.StallLimit); time.Now().Before(deadline); {
		_, err := do(t, other, "incr", "n")
		require.NoError(t, err)
		require.NoError(t, old.Err(), "a full disk stopped the node")
	}
	require.True(t, old.waitsForSpace())

	disks[old.identity.Node].quota.Store(false)
	require.Eventually(t, func() bool { return !old.diskFull() }, 10*time.Second, 5*time.Millisecond)
	c.settled()
	c.sameDigests()
	_, err := do(t, old, "set", "a", "1")
	require.NoError(t, err)
}

// A node that waits for room stops when it is told to, without an error, and has lost
// nothing.
func TestNodeThatWaitsForRoomStops(t *testing.T) {
	c, disks := moodyCluster(t, nil)
	victim := c.others(c.leader())[0]
	id := victim.identity.Node
	disks[id].quota.Store(true)
	require.Eventually(t, func() bool {
		_, err := do(t, c.leader(), "set", "a", strings.Repeat("v", 100_000))
		require.NoError(t, err)
		return victim.waitsForSpace()
	}, 30*time.Second, time.Millisecond)
	delete(c.nodes, id)
	require.NoError(t, victim.Close(context.Background()))
	disks[id].quota.Store(false)
	c.restart(id)
	c.settled()
	c.sameDigests()
}

// A full leader leaves the office to a voter with room, before it has to.
func TestFullLeaderHandsOver(t *testing.T) {
	c, disks := moodyCluster(t, nil)
	old := c.leader()
	disks[old.identity.Node].full.Store(true)
	require.Eventually(t, func() bool {
		_, err := do(t, old, "set", "a", "1")
		require.NoError(t, err, "two of three have room, whoever leads")
		return c.leader() != old
	}, 10*time.Second, 5*time.Millisecond)
	for range 100 {
		_, err := do(t, old, "set", "a", "1")
		require.NoError(t, err, "the new leader refuses before it knows")
	}
	c.sameDigests()
}

// owing are gauges of a disk that has not answered since.
type owing struct {
	gauges
	since time.Time
}

func (g owing) syncAge(now time.Time) time.Duration { return now.Sub(g.since) }

// A process that was stopped, or whose machine was, did not hear its disk: the disk is
// given up for what it owes from then on.
func TestStoppedProcessDoesNotBlameItsDisk(t *testing.T) {
	for name, paused := range map[string]time.Duration{"runs all the time": 0, "is stopped": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(1, 3, io.Discard)
			l := w.node(1).loop
			var failed error
			l.fail = func(err error) { failed = err }
			now := w.now
			l.watchDisk(now)
			l.gauges = owing{l.gauges, now}
			now = now.Add(paused)
			for end := now.Add(l.cfg.StallLimit); now.Before(end); now = now.Add(l.cfg.ElectionTimeout / 2) {
				l.watchDisk(now)
				require.NoError(t, failed, "after %v", now.Sub(w.now))
			}
			l.watchDisk(now)
			require.ErrorIs(t, failed, ErrDiskStalled)
		})
	}
}
