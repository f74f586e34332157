package vfs

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/blocking"
)

// These give the processor away before they block. A sync that is expected to be brief
// keeps it (syncPace, docs/adr/0032).

// fdatasync is fdatasync(2).
func fdatasync(fd int) error {
	return asError(blocking.Syscall(unix.SYS_FDATASYNC, uintptr(fd), 0, 0, 0))
}

// fsync is fsync(2), of which nobody expects that it is brief.
func fsync(fd int) error { return asError(blocking.Syscall(unix.SYS_FSYNC, uintptr(fd), 0, 0, 0)) }

// beginWriteback is sync_file_range(2), which blocks while the disk has enough to do.
func beginWriteback(fd int, off, n int64) error {
	return asError(blocking.Syscall(unix.SYS_SYNC_FILE_RANGE, uintptr(fd), uintptr(off), uintptr(n), unix.SYNC_FILE_RANGE_WRITE))
}

func asError(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// syncPace foresees whether a file's next sync is brief, together with a direct write before
// it: there is little to write, and the one before was. Its methods may be called by several
// goroutines.
type syncPace struct {
	owed  atomic.Int64 // bytes written since the last sync began
	early atomic.Int64 // how long direct writes took since then, ns
	last  atomic.Int64 // what the last sync took, with the direct writes before it, ns
}

const (
	// briefSyncBytes is what a disk writes about as fast as nothing.
	briefSyncBytes = 96 << 10
	// briefSync is how long a brief sync takes at most. The monitor thread has the P back
	// of one that takes longer than expected.
	briefSync = time.Millisecond
)

func (p *syncPace) owes(bytes int) { p.owed.Add(int64(bytes)) }

// foresee reports whether the sync will be brief if so many bytes are written before it.
func (p *syncPace) foresee(bytes int) bool {
	return p.owed.Load()+int64(bytes) <= briefSyncBytes && p.last.Load() <= int64(briefSync) &&
		p.early.Load() <= int64(briefSync)
}

// spent is told how long a direct write took.
func (p *syncPace) spent(d time.Duration) { p.early.Add(int64(d)) }

// took is told how long a sync took.
func (p *syncPace) took(d time.Duration) { p.last.Store(int64(d) + p.early.Swap(0)) }

// brief is asked once before each sync.
func (p *syncPace) brief() bool {
	brief := p.foresee(0)
	p.owed.Store(0)
	return brief
}
