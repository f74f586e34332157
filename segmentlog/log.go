package segmentlog

import (
	"errors"
	"io"
	"log/slog"

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
	Sync         SyncMode
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
	Saves        uint64 // calls that wrote entries
	Writes       uint64 // pwritev of entries
	Syncs        uint64 // fdatasync for entries
	StateSyncs   uint64 // hard-state slots written and synced
	Rotations    uint64
	Truncations  uint64
	SegmentWaits uint64 // Saves that had to wait for a segment to be prepared
}

var errNotBuilt = errors.New("segmentlog: not built")

// Log is an open log.
type Log struct{}

// Open recovers the log in o.Dir, creating an empty one if there is none.
func Open(o Options) (*Log, Recovered, error) { return nil, Recovered{}, errNotBuilt }

// Save makes saves durable, in order, and returns when they are.
func (l *Log) Save(saves []raftcore.Save) error { return errNotBuilt }

// Entries reads [lo, hi).
func (l *Log) Entries(lo, hi uint64, maxBytes int) ([]raftcore.Entry, error) { return nil, errNotBuilt }

// Compact releases whole segments up to upTo.
func (l *Log) Compact(upTo uint64) error { return errNotBuilt }

// Reset drops everything; the next append is index+1.
func (l *Log) Reset(index, term uint64) error { return errNotBuilt }

// FirstIndex is the first readable index.
func (l *Log) FirstIndex() uint64 { return 0 }

// LastIndex is the last index.
func (l *Log) LastIndex() uint64 { return 0 }

// Bytes is the number of bytes of records in the log.
func (l *Log) Bytes() int64 { return 0 }

// Stats returns counters.
func (l *Log) Stats() Stats { return Stats{} }

// Suspect is the ambiguous tail as it stands now, nil when there is none.
func (l *Log) Suspect() *Suspect { return nil }

// Err is the first failure of a write or sync, nil while there was none.
func (l *Log) Err() error { return nil }

// Close stops the preparer and closes the files.
func (l *Log) Close() error { return nil }

// Report is what Verify found.
type Report struct {
	FirstIndex, LastIndex uint64
	Segments, Records     int
	Bytes                 int64
	TornBytes             int64
	Suspect               *Suspect
	Damage                []*CorruptionError
}

// Dump prints a directory's contents.
func Dump(fs vfs.FS, dir string, w io.Writer) error { return errNotBuilt }

// Verify checks a directory without changing it.
func Verify(fs vfs.FS, dir string) (Report, error) { return Report{}, errNotBuilt }
