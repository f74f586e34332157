package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// Create makes or empties a file for reading and writing.
func (OS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Open opens an existing file for reading and writing.
func (OS) Open(name string) (File, error) { return openFile(name, os.O_RDWR) }

// OpenRead opens an existing file for reading.
func (OS) OpenRead(name string) (File, error) { return openFile(name, os.O_RDONLY) }

// Remove deletes a file or an empty directory.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll deletes name and everything below it.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename replaces to by from, atomically for whoever looks; durable after SyncDir.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// MkdirAll makes a directory and its parents, readable by the owner alone.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, 0o700) }

// List returns the names in a directory, sorted.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir makes creations, renames and removals in dir durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	fd := int(d.Fd())
	err = retryEINTR(func() error { return fsync(fd) })
	return errors.Join(wrapPath("fsync", dir, err), d.Close())
}

// Free is the number of bytes available to this process on dir's file system.
func (OS) Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return 0, wrapPath("statfs", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Lock takes an exclusive flock on name, creating the file if need be. The kernel
// drops it with the process, however that dies. The file itself stays: removing
// it would let two processes lock two different files of one name.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = retryEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, name)
	}
	return nil, wrapPath("flock", name, err)
}

// Exists reports whether name exists.
func (OS) Exists(name string) (bool, error) {
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// osFile is an open file of the operating system. The descriptor is fetched once:
// os.File.Fd is safe to keep for as long as the os.File is kept, and the file
// stays in blocking mode, so a read or write never parks in the poller.
type osFile struct {
	f      *os.File
	fd     int
	direct *direct // nil: Writev goes through the page cache
	syncs  syncPace
}

func openFile(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, fd: int(f.Fd())}, nil
}

func (o *osFile) Name() string { return o.f.Name() }
func (o *osFile) Close() error { return errors.Join(o.endDirect(), o.f.Close()) }

// ReadAt loops over short reads and EINTR (os.File does both).
func (o *osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }

// WriteAt loops over short writes and EINTR (os.File does both).
func (o *osFile) WriteAt(p []byte, off int64) (int, error) {
	o.forget()
	o.syncs.owes(len(p))
	return o.f.WriteAt(p, off)
}

// maxIovecs is the kernel's IOV_MAX.
const maxIovecs = 1024

// Writev writes bufs at off: one pwritev for up to 1,024 buffers, and more only
// after a short write, which a regular file returns at most on a full disk or a
// signal. After Direct it writes whole blocks, and if they are few, by one pwrite past
// the page cache.
func (o *osFile) Writev(bufs [][]byte, off int64) error {
	if o.direct != nil {
		return o.writeBlocks(bufs, off)
	}
	for _, b := range bufs {
		o.syncs.owes(len(b))
	}
	return o.pwritev(bufs, off)
}

func (o *osFile) pwritev(bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		n, err := unix.Pwritev(o.fd, bufs[:min(len(bufs), maxIovecs)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return wrapPath("pwritev", o.Name(), err)
		}
		rest := dropBytes(bufs, n)
		if n == 0 && len(rest) > 0 {
			return wrapPath("pwritev", o.Name(), io.ErrShortWrite)
		}
		off += int64(n)
		bufs = rest
	}
	return nil
}

// dropBytes returns bufs without their first n bytes and without empty buffers
// in front. The caller's slices are never changed.
func dropBytes(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n == 0 {
		return bufs
	}
	rest := slices.Clone(bufs)
	rest[0] = rest[0][n:]
	return rest
}

// Datasync is fdatasync(2).
func (o *osFile) Datasync() error {
	sync := fdatasync
	if o.syncs.brief() {
		sync = unix.Fdatasync
	}
	began := time.Now()
	err := retryEINTR(func() error { return sync(o.fd) })
	o.syncs.took(time.Since(began))
	return wrapPath("fdatasync", o.Name(), err)
}

// Writeback is sync_file_range(2).
func (o *osFile) Writeback(off, n int64) error {
	return wrapPath("sync_file_range", o.Name(), retryEINTR(func() error { return beginWriteback(o.fd, off, n) }))
}

// Sync is fsync(2).
func (o *osFile) Sync() error {
	return wrapPath("fsync", o.Name(), retryEINTR(func() error { return fsync(o.fd) }))
}

// Truncate sets the size.
func (o *osFile) Truncate(size int64) error {
	o.forget()
	return o.f.Truncate(size)
}

// forget has direct read the last block again.
func (o *osFile) forget() {
	if o.direct != nil {
		o.direct.end = -1
	}
}

// Size is the size now.
func (o *osFile) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Links is the number of hard links.
func (o *osFile) Links() (uint64, error) {
	var st unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstat(o.fd, &st) }); err != nil {
		return 0, wrapPath("fstat", o.Name(), err)
	}
	return uint64(st.Nlink), nil
}

// retryEINTR repeats a call that a signal interrupted before it did anything.
// EINTR from fsync means the wait was interrupted, not that writing failed.
func retryEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func wrapPath(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
