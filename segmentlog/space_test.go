package segmentlog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/vfs"
)

// fullLog is a log, with a goroutine that prepares, whose next segment has no room:
// full says for what reason, and mend ends it.
func fullLog(t *testing.T, fill func(*vfs.Mem) (mend func())) (*vfs.Mem, *Log, func()) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.Inline = false
	l, _ := mustOpen(t, o)
	t.Cleanup(func() { l.GiveUp(); l.Close() })
	require.NoError(t, l.Save(saveTerm(1, run(1, 1, 1, 100))))
	eventually(t, func() bool { return l.Stats().Prepared == 1 })
	mend := fill(disk)
	// The tail and the prepared segment are used up.
	next := uint64(2)
	for ; l.Stats().Rotations < 2; next++ {
		require.NoError(t, l.Save(save(run(next, next, 1, 4000))))
	}
	eventually(t, func() bool { starved, _ := l.OutOfSpace(); return starved })
	for ; l.tail().header.size-l.tail().end >= recordSize(4000); next++ {
		require.NoError(t, l.Save(save(run(next, next, 1, 4000))), "there is room in the tail")
	}
	return disk, l, mend
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, time.Millisecond)
}

// fillers are the ways a disk can be full: seen beforehand, or met by a write, a
// creation, a sync (delayed allocation), a rename.
var fillers = map[string]func(*vfs.Mem) func(){
	"no free space": func(m *vfs.Mem) func() {
		free, _ := m.Free("/")
		m.SetCapacity(1<<50 - int64(free) + 1)
		const huge = int64(1) << 40
		m.SetCapacity(huge)
		free, _ = m.Free("/")
		m.SetCapacity(huge - int64(free) + 100)
		return func() { m.SetCapacity(0) }
	},
	"quota at write":  refuse(vfs.OpWrite, unix.EDQUOT),
	"quota at create": refuse(vfs.OpCreate, unix.EDQUOT),
	"full at write":   refuse(vfs.OpWrite, unix.ENOSPC),
	"full at sync":    refuse(vfs.OpDatasync, unix.ENOSPC),
	"full at rename":  refuse(vfs.OpRename, unix.ENOSPC),
}

// refuse fails one kind of operation on files in preparation.
func refuse(kind vfs.OpKind, err error) func(*vfs.Mem) func() {
	return func(m *vfs.Mem) func() {
		m.SetFault(func(op vfs.Op) error {
			if op.Kind == kind && strings.Contains(op.Name, freePrefix) {
				return err
			}
			return nil
		})
		return func() { m.SetFault(nil) }
	}
}

// A full disk stops the log and fails nothing: the Save that needs a segment waits,
// leaves no half-made file, and goes on when there is room.
func TestSaveWaitsForRoom(t *testing.T) {
	for name, fill := range fillers {
		t.Run(name, func(t *testing.T) {
			disk, l, mend := fullLog(t, fill)
			last := l.LastIndex()
			saved := make(chan error, 1)
			go func() { saved <- l.Save(save(run(last+1, last+1, 1, 9000))) }()
			eventually(t, func() bool { _, waiting := l.OutOfSpace(); return waiting })
			select {
			case err := <-saved:
				t.Fatalf("the save did not wait: %v", err)
			case <-time.After(2 * spaceRetry): // tried again meanwhile, in vain
			}
			require.NoError(t, l.Err())
			require.Equal(t, last, l.LastIndex(), "acknowledged without room")
			eventually(t, func() bool { // one that is being tried may be there for a moment
				names, err := disk.List(testDir)
				require.NoError(t, err)
				left := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, freePrefix) })
				return !left || name == "full at sync"
			}) // else it was left half-made

			mend()
			require.NoError(t, <-saved)
			eventually(t, func() bool { starved, waiting := l.OutOfSpace(); return !starved && !waiting })
			require.NoError(t, l.Save(save(run(last+2, last+40, 1, 3000))))
			require.NoError(t, l.Close())
			o := testOptions(disk)
			l, _ = mustOpen(t, o)
			require.Equal(t, last+40, l.LastIndex())
			require.NoError(t, l.Close())
		})
	}
}

// Compaction gives room back by itself, without anybody's file being removed: what is
// released is recycled.
func TestReleasedSegmentsEndTheWait(t *testing.T) {
	_, l, _ := fullLog(t, fillers["no free space"])
	last := l.LastIndex()
	first := make(chan error, 1)
	require.NoError(t, l.Compact(last))
	go func() { first <- l.Save(save(run(last+1, last+1, 1, 9000))) }()
	require.NoError(t, <-first)
}

// A node that stops does not wait for its operator.
func TestGiveUpEndsTheWait(t *testing.T) {
	disk, l, mend := fullLog(t, fillers["no free space"])
	last := l.LastIndex()
	saved := make(chan error, 1)
	go func() { saved <- l.Save(save(run(last+1, last+1, 1, 9000))) }()
	eventually(t, func() bool { _, waiting := l.OutOfSpace(); return waiting })
	l.GiveUp()
	require.ErrorIs(t, <-saved, unix.ENOSPC)
	require.ErrorIs(t, l.Save(save(run(last+1, last+1, 1, 10))), unix.ENOSPC, "latched")
	require.NoError(t, l.Close())
	mend()
	l, _ = mustOpen(t, testOptions(disk))
	require.Equal(t, last, l.LastIndex())
	require.NoError(t, l.Close())
}

// The live log is another matter: a write or sync of it that fails latches, whatever
// the reason.
func TestNoRoomForTheLiveLogLatches(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpDatasync} {
		disk := vfs.NewMem()
		l, _ := mustOpen(t, testOptions(disk))
		require.NoError(t, l.Save(saveTerm(1, run(1, 1, 1, 100))))
		disk.FailNth(kind, 0, unix.ENOSPC)
		require.ErrorIs(t, l.Save(save(run(2, 2, 1, 100))), unix.ENOSPC)
		require.ErrorIs(t, l.Save(save(run(2, 2, 1, 100))), unix.ENOSPC)
		require.NoError(t, l.Close())
	}
}
