package vfs

import (
	"bytes"
	"cmp"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

// memFile is a handle on a file of a Mem.
type memFile struct {
	m        *Mem
	n        *inode
	name     string
	boot     uint64
	readOnly bool
	direct   bool // Direct was called: what Writev does not write of a block must be zeros
	closed   bool
}

// Direct checks from now on what is promised with it.
func (f *memFile) Direct() { f.direct = true }

// onlyZeros reports whether nothing stands behind end in its block.
func (n *inode) onlyZeros(end int64) bool {
	const block = 4096
	rest := n.data[min(end, int64(len(n.data))):min((end+block-1)/block*block, int64(len(n.data)))]
	return bytes.Count(rest, []byte{0}) == len(rest)
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.closed = true
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	if _, err := f.m.begin(Op{Kind: OpRead, Name: f.name, Offset: off, Len: len(p)}); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.Writev([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *memFile) Writev(bufs [][]byte, off int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if f.readOnly {
		return &fs.PathError{Op: "write", Path: f.name, Err: unix.EBADF}
	}
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	dead, err := f.m.begin(Op{Kind: OpWrite, Name: f.name, Offset: off, Len: size})
	if err != nil {
		return err
	}
	end := off + int64(size)
	if f.direct && !f.n.onlyZeros(end) {
		return &fs.PathError{Op: "direct write before other bytes", Path: f.name, Err: unix.EINVAL}
	}
	if grow := end - int64(len(f.n.data)); grow > 0 {
		if f.m.capacity > 0 && f.m.used()+grow > f.m.capacity {
			return &fs.PathError{Op: "write", Path: f.name, Err: unix.ENOSPC}
		}
		f.n.resize(end)
	}
	f.n.touch(off, end)
	for _, b := range bufs {
		off += int64(copy(f.n.data[off:], b))
	}
	return dead
}

func (f *memFile) Datasync() error { return f.sync(OpDatasync) }
func (f *memFile) Sync() error     { return f.sync(OpSync) }

func (f *memFile) sync(kind OpKind) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	dead, err := f.m.begin(Op{Kind: kind, Name: f.name})
	if err != nil {
		f.n.abandon()
	}
	if err != nil || dead != nil {
		return first(err, dead)
	}
	f.n.save()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	dead, err := f.m.begin(Op{Kind: OpTruncate, Name: f.name, Offset: size})
	if err != nil {
		return err
	}
	f.n.resize(size)
	return dead
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) usable() error {
	if f.closed {
		return ErrClosed
	}
	if f.boot != f.m.boot {
		return ErrCrashed
	}
	return nil
}

// touch remembers what the sectors of [off, end) hold before they change.
func (n *inode) touch(off, end int64) {
	if sectors := int((end + sectorSize - 1) / sectorSize); sectors > len(n.fates) {
		n.fates = append(n.fates, make([]fate, sectors-len(n.fates))...)
	}
	for s := off / sectorSize; s*sectorSize < end; s++ {
		if n.fates[s] == clean {
			lo := min(s*sectorSize, int64(len(n.data)))
			hi := min(lo+sectorSize, int64(len(n.data)))
			n.unsaved = append(n.unsaved, unsaved{s, before(n.data[lo:hi])})
		}
		n.fates[s] = dirty // if it was lost: written again, so the next sync covers it
	}
}

var zeroSector [sectorSize]byte

// before copies a sector; one of zeros needs no copy: what is missing is zero.
func before(sector []byte) []byte {
	if bytes.Equal(sector, zeroSector[:len(sector)]) {
		return nil
	}
	return slices.Clone(sector)
}

// resize changes the size; what is cut or added counts as written.
func (n *inode) resize(size int64) {
	old := int64(len(n.data))
	if size < old {
		n.touch(size, old)
		n.data = n.data[:size:size]
		return
	}
	n.data = append(n.data, make([]byte, size-old)...)
}

// save makes everything durable that no sync failed over.
func (n *inode) save() {
	n.durableSize = int64(len(n.data))
	rest := n.unsaved[:0]
	for _, u := range n.unsaved {
		if n.fates[u.sector] == lost {
			rest = append(rest, u)
			continue
		}
		n.fates[u.sector] = clean
	}
	clear(n.unsaved[len(rest):])
	n.unsaved = rest
}

// abandon marks unsynced sectors as clean although they are not saved.
func (n *inode) abandon() {
	for _, u := range n.unsaved {
		n.fates[u.sector] = lost
	}
}

// crash decides each unsynced sector, then the size. Sectors are visited in order
// so that one seed gives one result.
func (n *inode) crash(rng *rand.Rand) {
	size := int64(len(n.data))
	if size != n.durableSize && rng.IntN(2) == 0 {
		size = n.durableSize
	}
	if old := int64(len(n.data)); size <= old {
		n.data = n.data[:size:size]
	} else {
		n.data = append(n.data, make([]byte, size-old)...)
	}
	slices.SortFunc(n.unsaved, func(a, b unsaved) int { return cmp.Compare(a.sector, b.sector) })
	for _, u := range n.unsaved {
		if rng.IntN(2) == 0 || u.sector*sectorSize >= size {
			continue
		}
		sector := n.data[u.sector*sectorSize : min((u.sector+1)*sectorSize, size)]
		clear(sector[copy(sector, u.before):])
	}
	n.fates, n.unsaved, n.durableSize = nil, nil, size
}
