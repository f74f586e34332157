package snapshot

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Options tune a Store. The zero value is usable.
type Options struct {
	// BytesPerSecond bounds how fast Write and Receive write to the disk, so that a
	// snapshot does not starve the log of it. 0 means no bound. Too low, and the log
	// grows for longer than a snapshot takes; too high, and commits wait for the disk.
	BytesPerSecond int64
	// Workers is the number of goroutines that compress or decompress; default 1
	// for Write, GOMAXPROCS for Verify and Restore. Each holds about 4 MiB.
	Workers int
	// Logger receives one line per snapshot written, received, found damaged or
	// removed; default: discard.
	Logger *slog.Logger
}

// Info describes a snapshot on disk.
type Info struct {
	Meta raftcore.SnapshotMeta
	// Name is the file's name within the store's directory.
	Name string
	// Size is the file's length in bytes, RawSize that of the RDB inside.
	Size, RawSize int64
	Keys          uint64
	Frames        int
	// Hash is the SHA-256 of the file up to the hash itself: it names the contents.
	Hash [32]byte
}

// Source produces the raw RDB of one cut of the state machine (kv.Cut).
type Source interface {
	// Blocks calls emit with consecutive pieces of the RDB, about 1 MiB each, and
	// with the number of keys that begin in the piece. raw is valid only until emit
	// returns. An error of emit ends Blocks, which returns it.
	Blocks(emit func(raw []byte, keys int) error) error
}

// ErrOutdated is returned by Write and Receive when the store already holds a
// newer snapshot. Nothing was changed; the caller goes on with the newer one (R30, R32).
var ErrOutdated = errors.New("snapshot: a newer snapshot exists")

// ErrNotFound: there is no (valid) snapshot at that index.
var ErrNotFound = errors.New("snapshot: not found")

// Store is a directory of snapshots.
type Store struct{}

// Open opens the directory, creating it if needed; removes temporary files; and
// lists the snapshots whose footers are sound.
func Open(fs vfs.FS, dir string, opts Options) (*Store, error) {
	return nil, errors.New("snapshot: not built")
}

// Write takes a snapshot: it drains src into a temporary file and publishes it.
// When it returns nil the snapshot is durable. On any error, also that of ctx,
// nothing is left but perhaps a temporary file that the next Open removes.
func (s *Store) Write(ctx context.Context, meta raftcore.SnapshotMeta, src Source) (Info, error) {
	return Info{}, nil
}

// Newest returns the newest valid snapshot.
func (s *Store) Newest() (Info, bool) { return Info{}, false }

// List returns all valid snapshots, newest first.
func (s *Store) List() []Info { return nil }

// OpenNewest opens the newest valid snapshot for reading.
func (s *Store) OpenNewest() (*Reader, error) { return nil, ErrNotFound }

// Open opens the snapshot at index for reading.
func (s *Store) Open(index uint64) (*Reader, error) { return nil, ErrNotFound }

// Receive stores a snapshot streamed by another member: exactly size bytes of r,
// the bytes of that member's Raw. It becomes visible only once it was verified in
// full (frames, hash, and that it is the snapshot meta announces) and is durable.
func (s *Store) Receive(ctx context.Context, meta raftcore.SnapshotMeta, size int64, r io.Reader) (Info, error) {
	return Info{}, nil
}

// Raw opens the file at index for streaming it as it is, with its length in bytes.
// The file is not deleted before the reader is closed.
func (s *Store) Raw(index uint64) (io.ReadCloser, int64, error) { return nil, 0, ErrNotFound }

// Retire removes all but the newest keep snapshots (at least one is kept). Files in
// use go when their last user closes them.
func (s *Store) Retire(keep int) error { return nil }

// Reader reads one snapshot. It keeps the file from being removed until Close.
type Reader struct{}

// Meta is the raft metadata of the snapshot.
func (r *Reader) Meta() raftcore.SnapshotMeta { return raftcore.SnapshotMeta{} }

// Info describes the snapshot.
func (r *Reader) Info() Info { return Info{} }

// Verify reads the whole file and checks everything that can be checked: frame
// CRCs, that each frame decodes to its declared size, the whole-file hash. Call it
// before anything is replaced by the snapshot. A *CorruptionError also removes the
// snapshot from the store's list, so that Newest falls back to the one before.
func (r *Reader) Verify() error { return nil }

// Restore delivers the RDB in order, in pieces of at most 2 MiB. Frames are
// checked and decompressed ahead of sink in parallel. raw is valid until sink returns.
func (r *Reader) Restore(sink func(raw []byte) error) error { return nil }

// Close lets the file go. It is safe to call more than once.
func (r *Reader) Close() error { return nil }
