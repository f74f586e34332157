package segmentlog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// SyncMode says when Save makes entries durable.
type SyncMode uint8

const (
	// SyncAlways: Save returns after fdatasync. The only mode of a cluster.
	SyncAlways SyncMode = iota
	// SyncNever leaves entries to the operating system until a segment is full.
	// A power cut loses acknowledged entries; one-node clusters only.
	SyncNever
)

// Options configure Open.
type Options struct {
	FS  vfs.FS
	Dir string // created if missing
	// SegmentSize is the size of a segment file in bytes, default 64 MiB. Much
	// smaller: more rotations and directory fsyncs. Much larger: coarser
	// compaction, and disk space is held longer.
	SegmentSize int64
	Logger      *slog.Logger
	// RecycleLimit is how many segments released by Compact are kept for reuse,
	// default 2. Zero means the default, negative none.
	RecycleLimit int
	// RoomShort, if not nil, reports that the disk is filling up: files that Compact and
	// Reset released then go at once instead of with pauses. It is asked often, from any
	// goroutine, and must not block.
	RoomShort func() bool
	Sync      SyncMode
	// Inline prepares segments inside Save instead of a background goroutine.
	// For the simulator, where nothing may run on its own.
	Inline bool
	// LogID marks every file of this log; zero means random. For the simulator.
	LogID uint64
}

// Recovered is what Open found.
type Recovered struct {
	HardState raftcore.HardState
	// FirstIndex is BaseIndex+1: the first entry that can be read. The log is
	// empty if LastIndex < FirstIndex.
	FirstIndex, LastIndex uint64
	// BaseTerm is the term of entry FirstIndex-1 (0 when FirstIndex is 1).
	BaseTerm uint64
	Terms    []raftcore.TermRun
	// Configs holds every EntryConfig in the log, oldest first.
	Configs []raftcore.Entry
	// TornBytes counts the bytes of an unacknowledged last write that were cut.
	TornBytes int64
	// Suspect is the ambiguous tail, nil when the log's end is certain.
	Suspect *Suspect
}

// Suspect describes entries that this node may have acknowledged and can no
// longer read (RELIABILITY 3.2, ambiguous tail). While it stands the node must
// not campaign, and may grant a vote only to a candidate whose last
// (term, index) is at least (LastTerm, LastIndex) by the rule of thesis 3.6.1;
// it refetches from FirstIndex on like any follower. The log remembers it
// durably, and lifts it when its own last entry reaches that identity.
type Suspect struct {
	File       string
	Offset     int64
	FirstIndex uint64 // the first entry that is lost here
	// LastIndex and LastTerm are the identity the damaged batch claims for its
	// last entry; an upper bound where the headers themselves are damaged.
	LastIndex, LastTerm uint64
}

// Stats are counters since Open, for INFO and metrics.
type Stats struct {
	Segments     int    // in use
	Prepared     int    // zeroed and waiting
	Free         int    // released, kept for reuse
	Saves        uint64 // calls that wrote entries
	Writes       uint64 // writes of entries
	Syncs        uint64 // fdatasync for entries
	StateSyncs   uint64 // hard-state slots written and synced
	Rotations    uint64
	Truncations  uint64
	SegmentWaits uint64 // Saves that had to wait for a segment to be prepared
	PrepareError string // why the last preparation failed, "" if it did not
}

// Log is an open log. See the package comment for who may call what when.
type Log struct {
	fs     vfs.FS
	dir    string
	logger *slog.Logger
	sync   SyncMode
	prep   *preparer

	// w serializes the callers that change the log: Save, Compact, Reset, Close.
	w        sync.Mutex
	meta     meta // the newest slot; the commit index in it may be ahead of the file
	metaFile vfs.File
	dirtyTo  int64  // bytes of a suspect tail behind the last segment's end; 0 if none
	scratch  []byte // headers and small bodies of the batch being written

	// mu guards what readers see. Only a holder of w changes it, so such a holder
	// reads it without mu.
	mu    sync.RWMutex
	segs  []*segment // oldest first; empty after Reset until the next entry
	last  uint64
	terms []raftcore.TermRun
	// epoch counts truncations, compactions and resets. A reader whose bytes turn
	// out bad, or whose file is closed, looks whether it moved: then the bytes were
	// taken away under it and nothing is damaged.
	epoch     uint64
	baseIndex uint64
	baseTerm  uint64
	suspect   *Suspect
	err       error // the first failure; latched
	closed    bool
	stats     Stats
}

// segment is an open segment file.
type segment struct {
	header segmentHeader
	file   vfs.File
	// offsets of the records, 8 bytes each. Appended under mu; a reader's copy of
	// the slice header stays valid because elements within its length never change
	// before a truncation replaces the slice.
	offsets []int64
	end     int64 // behind the last record
	synced  int64 // synced <= end; less only under SyncNever
	written bool  // the active header has been written
	direct  bool  // batches pass the page cache by, if they can
}

func (s *segment) lastIndex() uint64 { return s.header.baseIndex + uint64(len(s.offsets)) }

// FirstIndex is the first index that can be read; LastIndex()+1 if the log is empty.
func (l *Log) FirstIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.baseIndex + 1
}

// LastIndex is the last durable index (the last written one under SyncNever).
func (l *Log) LastIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// Bytes is the size of all records in the log, headers included.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var sum int64
	for _, s := range l.segs {
		sum += s.end - firstRecord
	}
	return sum
}

// Stats returns counters since Open.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.stats
	st.Segments = len(l.segs)
	l.prep.count(&st)
	return st
}

// OutOfSpace reports that the next segment could not be made because the disk is
// full; waiting, that a Save waits for it. Neither fails anything: it is made when
// there is room. Both are cheap to ask.
func (l *Log) OutOfSpace() (starved, waiting bool) {
	l.prep.mu.Lock()
	defer l.prep.mu.Unlock()
	return l.prep.starved, l.prep.starved && l.prep.need > 0 && !l.prep.impatient
}

// GiveUp ends the waiting for room: a Save that waits, or would, fails with the disk's
// error. For whoever wants to Close the log without waiting for an operator.
func (l *Log) GiveUp() { l.prep.giveUp() }

// Suspect is the ambiguous tail as it stands now, nil when there is none. The
// result is not changed any more by the log.
func (l *Log) Suspect() *Suspect {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.suspect
}

// Err is the first failure of the log, nil while there was none. It is latched:
// after a failed write or sync nobody knows what is on the disk, so every later
// Save, Compact and Reset returns it and only a new Open may go on.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.err
}

// latch remembers the first failure and returns it.
func (l *Log) latch(err error) error {
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("segmentlog: %s: %w", l.dir, err)
	}
	return l.err
}

// usable returns the latched failure or ErrClosed.
func (l *Log) usable() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	return l.err
}

// Close stops the preparer, writes the promise that everything is synced (unless
// the log failed), and closes the files. Blocking; idempotent.
func (l *Log) Close() error {
	l.w.Lock()
	defer l.w.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	failed := l.err != nil
	l.mu.Unlock()

	l.prep.stop()
	var errs []error
	if tail := l.tail(); !failed && tail != nil && tail.synced < tail.end {
		errs = append(errs, l.syncTail(tail))
	}
	if !failed && errors.Join(errs...) == nil {
		errs = append(errs, l.writeMeta(l.meta))
	}
	return errors.Join(append(errs, l.closeFiles())...)
}

func (l *Log) closeFiles() error {
	var errs []error
	for _, s := range l.segs {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, l.metaFile.Close())...)
}

// tail is the segment being written, nil if the log has none yet.
func (l *Log) tail() *segment {
	if len(l.segs) == 0 {
		return nil
	}
	return l.segs[len(l.segs)-1]
}

// lastTerm is the term of the last entry, or of the base if there is none.
func (l *Log) lastTerm() uint64 {
	if n := len(l.terms); n > 0 {
		return l.terms[n-1].Term
	}
	return l.baseTerm
}
