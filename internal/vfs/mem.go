package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mem is a memory disk that can lose power. Everything it does is a function of
// the calls made and of the generator given to Crash, so a seed replays a run.
//
// Fault model. It may:
//   - at Crash keep or lose each 512-byte sector written since the file's last
//     successful Datasync or Sync, independently of every other;
//   - at Crash keep or lose each creation, rename and removal since the last
//     SyncDir of its directory, independently, and a changed file size with
//     neither of its contents;
//   - fail any operation (SetFault). A failed Datasync or Sync leaves the written
//     data readable but clean, as Linux does: a later successful sync does not
//     save it, and a Crash keeps or loses each of its sectors;
//   - run out of space (SetCapacity); flip bits at rest (FlipBit);
//   - cut the power at the n-th operation (PowerOffAfter), which is then begun
//     but never acknowledged.
//
// It never tears inside a sector, never mixes two files, never loses what a
// successful sync covered, and never makes a new directory itself vanish.
type Mem struct {
	mu       sync.Mutex
	names    map[string]*inode // the directory tree as processes see it
	durable  map[string]*inode // the tree as the platter has it
	pending  []dirOp           // changes of names not yet in durable, oldest first
	dirs     map[string]bool
	locks    map[string]bool
	boot     uint64 // handles opened under an older boot are dead
	capacity int64  // bytes; 0 is unlimited
	fault    func(Op) error
	counts   map[OpKind]int
	powerOff int // changing operations left, the dying one included; negative: never
}

var _ FS = (*Mem)(nil)

// OpKind is a kind of operation, for counting and fault injection.
type OpKind uint8

// The kinds of operation that Mem counts and SetFault sees.
const (
	OpRead OpKind = iota
	OpWrite
	OpDatasync
	OpSync
	OpTruncate
	OpCreate
	OpRemove
	OpRename
	OpSyncDir
)

// Op is one operation about to be performed.
type Op struct {
	Kind   OpKind
	Name   string
	N      int   // how many of this kind came before it
	Offset int64 // of reads and writes
	Len    int   // of reads and writes
}

// sectorSize is the unit that a disk writes whole or not at all.
const sectorSize = 512

// inode is a file's content. data is what readers see; unsaved are the sectors whose
// present bytes a crash may undo, in the order in which they were first written.
type inode struct {
	data        []byte
	fates       []fate // by sector, as far as any was written
	unsaved     []unsaved
	durableSize int64
}

// fate of a sector: the next sync saves a dirty one; a lost one had a sync fail over
// it, so that only a new write makes it dirty again.
type fate uint8

const (
	clean fate = iota
	dirty
	lost
)

// unsaved is a sector and its bytes before the first write that no sync has covered.
type unsaved struct {
	sector int64
	before []byte
}

// dirOp sets name to node and, if gone is not "", removes gone if it still is old.
type dirOp struct {
	dirs []string
	name string
	node *inode
	gone string
	old  *inode
}

// NewMem returns an empty disk with a root directory.
func NewMem() *Mem {
	return &Mem{
		names: map[string]*inode{}, durable: map[string]*inode{},
		dirs: map[string]bool{"/": true, ".": true}, locks: map[string]bool{},
		counts: map[OpKind]int{}, powerOff: -1,
	}
}

// Crash cuts the power and starts the machine again: every handle and lock is
// gone, and rng decides what unsynced work survived. Injected faults and a pending
// PowerOffAfter are cleared.
func (m *Mem) Crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range m.pending {
		if rng.IntN(2) == 0 {
			op.apply(m.durable)
		}
	}
	m.pending = nil
	m.names = maps.Clone(m.durable)
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		m.names[name].crash(rng)
	}
	m.locks = map[string]bool{}
	m.boot++
	m.fault, m.powerOff = nil, -1
}

// CrashClone returns a copy of the disk as a Crash now would leave it; m goes on.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	c := m.clone()
	c.Crash(rng)
	return c
}

// Clone returns a copy of the disk as it is, unsynced work included; m goes on.
func (m *Mem) Clone() *Mem { return m.clone() }

// SetFault installs a hook asked before each operation; an error it returns is the
// operation's result, and a failed write changes nothing. Nil removes it.
func (m *Mem) SetFault(fault func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// FailNth makes the n-th operation of a kind from now on (0 is the next) fail once.
func (m *Mem) FailNth(kind OpKind, n int, err error) {
	m.mu.Lock()
	n += m.counts[kind]
	m.mu.Unlock()
	m.SetFault(func(op Op) error {
		if op.Kind == kind && op.N == n {
			return err
		}
		return nil
	})
}

// PowerOffAfter lets n more changing operations succeed; the next one is begun and
// fails with ErrCrashed, as does all that follows until Crash.
func (m *Mem) PowerOffAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.powerOff = n + 1
}

// SetCapacity bounds the sum of all file sizes; beyond it writes fail with ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Count is how many operations of a kind were asked for since NewMem.
func (m *Mem) Count(kind OpKind) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[kind]
}

// FlipBit inverts one bit of a file at rest, durably.
func (m *Mem) FlipBit(name string, bit int64) error {
	b, err := m.ReadFile(name)
	if err != nil {
		return err
	}
	if bit/8 >= int64(len(b)) {
		return fmt.Errorf("vfs: bit %d beyond the end of %s", bit, name)
	}
	b[bit/8] ^= 1 << (bit % 8)
	return m.WriteFile(name, b)
}

// ReadFile returns a copy of a file's content as readers see it, uncounted.
func (m *Mem) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(name)]
	if n == nil {
		return nil, notExist("read", name)
	}
	return slices.Clone(n.data), nil
}

// WriteFile sets a file's content, durably, uncounted and without faults: the way
// tests plant damage.
func (m *Mem) WriteFile(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	n := m.names[name]
	if n == nil {
		n = &inode{}
		m.names[name], m.durable[name] = n, n
	}
	*n = inode{data: slices.Clone(data), durableSize: int64(len(data))}
	return nil
}

// Create makes or empties a file.
func (m *Mem) Create(name string) (File, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	dead, err := m.begin(Op{Kind: OpCreate, Name: name})
	if err != nil {
		return nil, err
	}
	if !m.dirs[filepath.Dir(name)] {
		return nil, notExist("create", name)
	}
	n := m.names[name]
	if n == nil {
		n = &inode{}
		m.change(dirOp{dirs: []string{filepath.Dir(name)}, name: name, node: n})
	}
	n.resize(0)
	return m.handle(name, n, false), dead
}

// Open opens an existing file for reading and writing.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenRead opens an existing file for reading.
func (m *Mem) OpenRead(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, readOnly bool) (File, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.powerOff == 0 {
		return nil, ErrCrashed
	}
	n := m.names[name]
	if n == nil {
		return nil, notExist("open", name)
	}
	return m.handle(name, n, readOnly), nil
}

// Remove deletes a file or an empty directory.
func (m *Mem) Remove(name string) error {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	dead, err := m.begin(Op{Kind: OpRemove, Name: name})
	if err != nil {
		return err
	}
	if n := m.names[name]; n != nil {
		m.change(dirOp{dirs: []string{filepath.Dir(name)}, gone: name, old: n})
		return dead
	}
	if !m.dirs[name] {
		return notExist("remove", name)
	}
	if len(m.children(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: unix.ENOTEMPTY}
	}
	delete(m.dirs, name)
	return dead
}

// RemoveAll deletes name and everything below it.
func (m *Mem) RemoveAll(name string) error {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	dead, err := m.begin(Op{Kind: OpRemove, Name: name})
	if err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(m.names)) {
		if within(name, file) {
			m.change(dirOp{dirs: []string{filepath.Dir(file)}, gone: file, old: m.names[file]})
		}
	}
	maps.DeleteFunc(m.dirs, func(d string, _ bool) bool { return within(name, d) })
	return dead
}

// Rename replaces to by from. Directories cannot be renamed here.
func (m *Mem) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	m.mu.Lock()
	defer m.mu.Unlock()
	dead, err := m.begin(Op{Kind: OpRename, Name: from})
	if err != nil {
		return err
	}
	n := m.names[from]
	if n == nil || !m.dirs[filepath.Dir(to)] {
		return notExist("rename", from)
	}
	m.change(dirOp{dirs: []string{filepath.Dir(from), filepath.Dir(to)}, name: to, node: n, gone: from, old: n})
	return dead
}

// MkdirAll makes a directory and its parents, durably at once.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.powerOff == 0 {
		return ErrCrashed
	}
	for d := filepath.Clean(name); !m.dirs[d]; d = filepath.Dir(d) {
		m.dirs[d] = true
	}
	return nil
}

// List returns the names in a directory, sorted.
func (m *Mem) List(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.powerOff == 0 {
		return nil, ErrCrashed
	}
	if !m.dirs[dir] {
		return nil, notExist("list", dir)
	}
	return m.children(dir), nil
}

// SyncDir makes creations, renames and removals in dir durable.
func (m *Mem) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if dead, err := m.begin(Op{Kind: OpSyncDir, Name: dir}); err != nil || dead != nil {
		return first(err, dead)
	}
	if !m.dirs[dir] {
		return notExist("syncdir", dir)
	}
	rest := m.pending[:0]
	for _, op := range m.pending {
		if slices.Contains(op.dirs, dir) {
			op.apply(m.durable)
		} else {
			rest = append(rest, op)
		}
	}
	m.pending = rest
	return nil
}

// Free is what is left of the capacity, or a very large number without one.
func (m *Mem) Free(string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return 1 << 50, nil
	}
	return uint64(max(0, m.capacity-m.used())), nil
}

// Lock takes an exclusive lock until the closer is closed or the machine crashes.
func (m *Mem) Lock(name string) (io.Closer, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, fmt.Errorf("%w: %s", ErrLocked, name)
	}
	m.locks[name] = true
	return &memLock{m: m, name: name, boot: m.boot}, nil
}

// Exists reports whether name exists.
func (m *Mem) Exists(name string) (bool, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.powerOff == 0 {
		return false, ErrCrashed
	}
	return m.names[name] != nil || m.dirs[name], nil
}

// begin counts an operation and decides its fate. err: do not perform it. dead:
// perform what may have reached the disk, and return dead.
func (m *Mem) begin(op Op) (dead, err error) {
	op.N = m.counts[op.Kind]
	m.counts[op.Kind]++
	if m.fault != nil {
		if err := m.fault(op); err != nil {
			return nil, &fs.PathError{Op: op.Kind.String(), Path: op.Name, Err: err}
		}
	}
	if m.powerOff == 0 {
		return nil, ErrCrashed
	}
	if op.Kind == OpRead || m.powerOff < 0 {
		return nil, nil
	}
	m.powerOff--
	if m.powerOff == 0 {
		return ErrCrashed, nil
	}
	return nil, nil
}

func (m *Mem) change(op dirOp) {
	op.apply(m.names)
	m.pending = append(m.pending, op)
}

func (op dirOp) apply(tree map[string]*inode) {
	if op.gone != "" && tree[op.gone] == op.old {
		delete(tree, op.gone)
	}
	if op.node != nil {
		tree[op.name] = op.node
	}
}

func (m *Mem) children(dir string) []string {
	var names []string
	for name := range m.names {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	for name := range m.dirs {
		if name != dir && filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

func (m *Mem) used() int64 {
	var sum int64
	for _, n := range m.names {
		sum += int64(len(n.data))
	}
	return sum
}

// clone copies the disk. An inode reached by several names stays one inode.
func (m *Mem) clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	copies := map[*inode]*inode{nil: nil}
	dup := func(n *inode) *inode {
		if d, ok := copies[n]; ok {
			return d
		}
		d := &inode{data: slices.Clone(n.data), fates: slices.Clone(n.fates), unsaved: slices.Clone(n.unsaved), durableSize: n.durableSize}
		copies[n] = d
		return d
	}
	for name, n := range m.names {
		c.names[name] = dup(n)
	}
	for name, n := range m.durable {
		c.durable[name] = dup(n)
	}
	for _, op := range m.pending {
		op.node, op.old = dup(op.node), dup(op.old)
		c.pending = append(c.pending, op)
	}
	c.dirs, c.capacity = maps.Clone(m.dirs), m.capacity
	return c
}

func (m *Mem) handle(name string, n *inode, readOnly bool) File {
	return &memFile{m: m, n: n, name: name, boot: m.boot, readOnly: readOnly}
}

type memLock struct {
	m    *Mem
	name string
	boot uint64
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.boot == l.m.boot {
		delete(l.m.locks, l.name)
	}
	return nil
}

func within(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// String is the operation's name in errors.
func (k OpKind) String() string {
	return [...]string{"read", "write", "datasync", "sync", "truncate", "create", "remove", "rename", "syncdir"}[k]
}
