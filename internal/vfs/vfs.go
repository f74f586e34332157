// Package vfs is the seam between rkv and the file system: the operating system's
// in production, a crashable memory disk in tests and in the simulator. It offers
// only what the log, the snapshots and the identity file need.
package vfs

import "io"

// File is an open file. Implementations are safe for one writer and any number of
// concurrent ReadAt calls.
type File interface {
	io.Closer
	io.ReaderAt
	io.WriterAt
	// Writev writes the buffers contiguously at off in as few system calls as the
	// platform allows (one, for up to 1,024 buffers). It writes all or errors.
	Writev(bufs [][]byte, off int64) error
	// Datasync makes written data durable (fdatasync). An error means nothing
	// since the last success may be trusted, and is never retried.
	Datasync() error
	// Sync is Datasync plus all metadata (fsync).
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Name() string
}

// Writeback is what a File may offer besides.
type Writeback interface {
	// Writeback has the kernel begin to write n bytes from off on, if it has not done
	// so yet. It promises nothing and, unlike Datasync, neither waits for the disk nor
	// makes others wait: no journal is committed, no cache of the disk flushed.
	Writeback(off, n int64) error
}

// Direct is what a File may offer besides.
type Direct interface {
	// Direct has Writev pass the operating system's page cache by from now on, where it
	// can. It is for a file that is written once, front to back, and synced after each
	// write: then what the cache adds is copies and bookkeeping. The caller promises that
	// there are only zeros behind what a Writev writes, up to the end of its last block,
	// that the file's size stays as it is, a number of blocks, and that nobody writes to
	// that block through another handle. Mem does not bypass anything; its Writev fails
	// where the first promise is broken.
	Direct()
}

// Links is what a File may offer besides.
type Links interface {
	// Links is the number of names that the file has.
	Links() (uint64, error)
}

// FS is a file system. Paths use the operating system's separator.
type FS interface {
	// Create makes or empties a file for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	OpenRead(name string) (File, error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(from, to string) error
	MkdirAll(name string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
	// Free is the number of bytes available to this process on dir's file system.
	Free(dir string) (uint64, error)
	// Lock takes an exclusive lock file, held until the closer is closed or the
	// process dies. It fails at once, with ErrLocked, if somebody holds it.
	Lock(name string) (io.Closer, error)
	// Exists reports whether name exists.
	Exists(name string) (bool, error)
}
