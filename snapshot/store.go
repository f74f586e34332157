package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Store is a directory of snapshots. Its methods may be called concurrently.
type Store struct {
	fs           vfs.FS
	dir          string
	opts         Options
	log          *slog.Logger
	codec        *codec
	eraseStep    int64
	writeWorkers int

	// publishing serialises renames and removals; it is held across them. mu guards
	// what is below it and is held for a few instructions only, so that Newest never
	// waits for the disk. publishing is taken before mu.
	publishing sync.Mutex
	receiving  sync.Mutex // one stream at a time
	incoming   string     // the partial file that it fills; publishing guards it
	mu         sync.Mutex
	entries    []*entry // newest first
	nextTemp   uint64
	garbage    []string  // files under temporary names to be removed
	sweeping   bool      // somebody removes them
	swept      sync.Cond // of mu: sweeping ended
	hurried    int       // so many wait for the room they hold
	aside      []*entry  // damaged, and perhaps still read
}

// entry is one snapshot that was found sound. Fields are guarded by Store.mu.
type entry struct {
	info Info
	// refs counts open readers. A retired file is removed when they are gone.
	refs    int
	retired bool
	// proven is set once the whole file was read back and verified.
	proven bool
}

// Options tune a Store. The zero value is usable.
type Options struct {
	// BytesPerSecond bounds how fast Write and Receive write to the disk, and then
	// read back, so that a snapshot does not starve the log and the clients. 0 means
	// no bound. Too low, and the log grows for longer than a snapshot takes; too high,
	// and commits wait for the disk.
	BytesPerSecond int64
	// Share, if not nil, is asked again and again which share of the time Write,
	// Receive and Reader.RestoreBeside may work, in (0, 1]; they rest for what remains
	// after every piece of work. Time in which others had the processor counts as work,
	// so they take the less the busier the machine is.
	Share func() float64
	// Workers is the number of frames that are compressed at once by Write, and
	// decompressed at once by Verify and Restore. Each holds about 4 MiB. Default: 1
	// for Write, which competes with traffic, GOMAXPROCS for the others.
	Workers int
	// Beside and Rest have files removed little by little: Beside runs a function on a
	// goroutine of its own, or not at all, Rest waits between two steps for so long, or
	// less if there is a reason. An error of Rest ends the removal. What is left the next
	// Open finds. Both or neither are nil: then files are gone when a call returns.
	Beside func(work func())
	Rest   func(time.Duration) error
	// Logger receives one line per snapshot written, received, found damaged or
	// removed; default: none.
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
	// Blocks calls emit with consecutive pieces of the RDB, some KiB each, and
	// with the number of keys that begin in the piece; a piece may be empty, to let the
	// writer rest. raw is valid only until emit returns. An error of emit ends Blocks, which returns it.
	Blocks(emit func(raw []byte, keys int) error) error
}

const (
	fileSuffix    = ".rkvsnap"
	tempSuffix    = ".tmp"
	damagedSuffix = ".damaged"
)

// fileName sorts by index, then term.
func fileName(index, term uint64) string {
	return fmt.Sprintf("%020d-%020d%s", index, term, fileSuffix)
}

// Open opens the directory, creating it if needed; removes temporary files, which only a
// crash leaves, but not what came of a broken stream; and lists the snapshots whose
// footers are sound. Others are set aside under the suffix ".damaged". Only frames are not
// looked at: Verify does.
func Open(fs vfs.FS, dir string, opts Options) (*Store, error) {
	s := &Store{fs: fs, dir: dir, opts: opts, log: opts.Logger, eraseStep: vfs.EraseStep, writeWorkers: max(opts.Workers, 1)}
	s.swept.L = &s.mu
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	workers := opts.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	s.codec = codecFor(workers)
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	// A name whose publication failed at its directory sync may be seen and yet be
	// lost in a crash; what is adopted is relied on.
	if err := fs.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	for _, name := range names {
		if err := s.adopt(name); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.entries, newestFirst)
	if err := s.sweep(); err != nil {
		return nil, err
	}
	return s, nil
}

// adopt takes up one name found in the directory at start.
func (s *Store) adopt(name string) error {
	path := filepath.Join(s.dir, name)
	if strings.HasSuffix(name, tempSuffix) {
		s.garbage = append(s.garbage, path)
		s.nextTemp = max(s.nextTemp, tempNumber(name)) // its name is not to be used meanwhile
		return nil
	}
	if !strings.HasSuffix(name, fileSuffix) {
		return nil // not ours to judge
	}
	info, err := s.inspect(name)
	var damage *CorruptionError
	switch {
	case err == nil:
		s.entries = append(s.entries, &entry{info: info})
	case errors.As(err, &damage):
		s.setAside(name, err)
	default:
		return err
	}
	return nil
}

// inspect reads the footer of a file and checks that it is under its own name.
func (s *Store) inspect(name string) (Info, error) {
	f, err := s.fs.OpenRead(filepath.Join(s.dir, name))
	if err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	sf, err := openFile(f, name)
	if err != nil {
		return Info{}, err
	}
	if want := fileName(sf.foot.meta.Index, sf.foot.meta.Term); want != name {
		return Info{}, corrupt(name, sf.size-int64(len(sf.tail)), "the snapshot of that name", want)
	}
	return sf.foot.info(name), nil
}

func newestFirst(a, b *entry) int { return strings.Compare(b.info.Name, a.info.Name) }

// Newest returns the newest valid snapshot.
func (s *Store) Newest() (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) == 0 {
		return Info{}, false
	}
	return s.entries[0].info, true
}

// List returns all valid snapshots, newest first.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]Info, len(s.entries))
	for i, e := range s.entries {
		infos[i] = e.info
	}
	return infos
}

// Write takes a snapshot: it drains src into a temporary file, reads it back to
// verify it, and publishes it. When it returns nil the snapshot is durable. On any
// error, ctx's among them, nothing has changed. It blocks for as long as that
// takes and uses a few MiB whatever the size.
func (s *Store) Write(ctx context.Context, meta raftcore.SnapshotMeta, src Source) (Info, error) {
	if s.outdated(meta.Index) {
		return Info{}, ErrOutdated
	}
	name := fileName(meta.Index, meta.Term)
	temp := s.tempPath(name)
	f, err := s.fs.Create(temp)
	if err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}
	info := Info{}
	if err = s.writeFile(f, s.newPacer(ctx), meta, src); err == nil {
		info, err = s.seal(ctx, f, name, meta)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("snapshot: %w", cerr)
	}
	if err == nil {
		err = s.publish(temp, info)
	}
	if err != nil {
		s.drop(temp)
		return Info{}, err
	}
	s.log.Info("snapshot written", "index", meta.Index, "term", meta.Term, "keys", info.Keys, "bytes", info.Size)
	return info, nil
}

// seal makes a complete file durable, and reads it back. A file that cannot be
// read back must not push out the one before it. Reading back is paced like the
// writing, and by as few workers, for clients are being served meanwhile.
func (s *Store) seal(ctx context.Context, f vfs.File, name string, meta raftcore.SnapshotMeta) (Info, error) {
	if err := f.Sync(); err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}
	sf, err := openFile(f, name)
	if err != nil {
		return Info{}, err
	}
	got := sf.foot.meta
	if got.Index != meta.Index || got.Term != meta.Term ||
		string(sf.foot.membership) != string(raftcore.EncodeMembership(meta.Membership)) {
		return Info{}, fmt.Errorf("%w: announced index %d term %d, got index %d term %d (or another membership)",
			ErrMismatch, meta.Index, meta.Term, got.Index, got.Term)
	}
	if err := sf.verify(s.codec, s.writeWorkers, s.newPacer(ctx), nil); err != nil {
		return Info{}, err
	}
	return sf.foot.info(name), nil
}

// publish renames temp to its final name and lists it. A crash before the rename
// is durable leaves the temporary file or the final one, both complete.
func (s *Store) publish(temp string, info Info) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	// Again: another one may have come in while this one was being written (R32).
	if s.outdated(info.Meta.Index) {
		return ErrOutdated
	}
	path := filepath.Join(s.dir, info.Name)
	if err := s.fs.Rename(temp, path); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		// The name may or may not survive a crash; it is a complete snapshot in either
		// case. But nobody may drop log entries on its account.
		return fmt.Errorf("snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, &entry{info: info, proven: true})
	slices.SortFunc(s.entries, newestFirst)
	return nil
}

func (s *Store) outdated(index uint64) bool {
	newest, ok := s.Newest()
	return ok && newest.Meta.Index >= index
}

// tempPath is a name nobody else uses: a Write and a Receive of one index may run
// at once.
func (s *Store) tempPath(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextTemp++
	return filepath.Join(s.dir, fmt.Sprintf("%s.%d%s", name, s.nextTemp, tempSuffix))
}

// tempNumber is the number in such a name, 0 if there is none.
func tempNumber(name string) uint64 {
	name = strings.TrimSuffix(name, tempSuffix)
	n, _ := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 63)
	return n
}

// OpenNewest opens the newest valid snapshot for reading; ErrNotFound if there is
// none.
func (s *Store) OpenNewest() (*Reader, error) {
	return s.open(func(*entry) bool { return true })
}

// Open opens the snapshot at index for reading; ErrNotFound if there is none.
func (s *Store) Open(index uint64) (*Reader, error) {
	return s.open(func(e *entry) bool { return e.info.Meta.Index == index })
}

func (s *Store) open(match func(*entry) bool) (*Reader, error) {
	e := s.acquire(match)
	if e == nil {
		return nil, ErrNotFound
	}
	f, err := s.fs.OpenRead(filepath.Join(s.dir, e.info.Name))
	if err != nil {
		s.release(e)
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	sf, err := openFile(f, e.info.Name)
	if err == nil && sf.foot.hash != e.info.Hash {
		err = corrupt(e.info.Name, sf.size, fmt.Sprintf("SHA-256 %x as at start", e.info.Hash), fmt.Sprintf("%x", sf.foot.hash))
	}
	if err != nil {
		f.Close()
		if damage := (*CorruptionError)(nil); errors.As(err, &damage) {
			s.quarantine(e, err)
		}
		s.release(e)
		return nil, err
	}
	return &Reader{store: s, codec: s.codec, entry: e, file: sf}, nil
}

// acquire finds the newest entry that matches and takes a reference to it.
func (s *Store) acquire(match func(*entry) bool) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if match(e) {
			e.refs++
			return e
		}
	}
	return nil
}

// release gives a reference back. The last one of a retired file removes it.
func (s *Store) release(e *entry) {
	s.mu.Lock()
	e.refs--
	last := e.refs == 0 && e.retired
	s.mu.Unlock()
	if last {
		if err := s.discard(e.info.Name); err != nil {
			s.log.Warn("an old snapshot was not removed", "file", e.info.Name, "err", err)
		}
	}
}

// prove notes that e was read in full and found sound.
func (s *Store) prove(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.proven = true
}
