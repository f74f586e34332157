package sim

import (
	"errors"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func (w *world) stall() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	d := w.around(w.opt.cutTime) + 20*time.Millisecond
	w.say("node %d: disk hangs for %v", p.m.id, d)
	if p.s.Core().Role() == raftcore.Leader {
		w.hit("stall at leader")
	}
	p.m.stuckUntil = max(p.m.stuckUntil, w.now+d)
	return true
}

func (w *world) syncError() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	kind := pick(w.rng, []vfs.OpKind{vfs.OpDatasync, vfs.OpDatasync, vfs.OpSync, vfs.OpWrite, vfs.OpRename, vfs.OpSyncDir, vfs.OpCreate, vfs.OpRead})
	w.say("node %d: a %v will fail", p.m.id, kind)
	if p.s.Core().Role() == raftcore.Leader && kind == vfs.OpDatasync {
		w.hit("fsync failed at leader")
	}
	p.fallible = true
	p.m.disk.FailNth(kind, w.rng.IntN(6), errDisk)
	return true
}

// torn cuts the power in the middle of a write.
func (w *world) torn() bool {
	p := w.victim()
	if p == nil || p.m.dying {
		return false
	}
	m := p.m
	w.say("node %d: power fails within a write", m.id)
	p.fallible, m.dying = true, true
	m.disk.PowerOffAfter(w.rng.IntN(8))
	w.later(500*time.Millisecond, func() {
		if m.dying {
			m.powerOff()
			m.restartLater()
		}
	})
	return true
}

// noSpace fills the disk for a while.
func (w *world) noSpace() bool {
	p := w.victim()
	if p == nil || p.m.full {
		return false
	}
	m := p.m
	const huge = int64(1) << 40
	m.disk.SetCapacity(huge)
	free, _ := m.disk.Free("/")
	m.disk.SetCapacity(huge - int64(free) + int64(w.rng.IntN(16<<10)) + 1)
	m.full, p.fallible = true, true
	w.say("node %d: disk full", m.id)
	w.later(2*time.Second, func() {
		m.disk.SetCapacity(0)
		m.full = false
	})
	return true
}

func noSpaceError(err error) bool { return errors.Is(err, syscall.ENOSPC) }
