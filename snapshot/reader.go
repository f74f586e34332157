package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Reader reads one snapshot. It keeps the file from being removed until Close. Its
// methods are not for concurrent use, but several Readers may read one snapshot.
type Reader struct {
	store *Store // nil: a file outside of any
	codec *codec
	entry *entry
	file  snapshotFile
	close sync.Once
}

// Meta is the raft metadata of the snapshot.
func (r *Reader) Meta() raftcore.SnapshotMeta { return r.file.foot.meta }

// Info describes the snapshot.
func (r *Reader) Info() Info { return r.entry.info }

// Verify reads the whole file and checks everything that can be checked: frame
// CRCs, that each frame decodes to its declared size, the whole-file hash. If it
// finds a *CorruptionError the store forgets the snapshot, so that Newest falls back
// to the one before; the file is kept, with the suffix ".damaged", until the next
// Retire.
func (r *Reader) Verify() error { return r.Restore(nil) }

// Restore delivers the RDB in order, in pieces of at most 2 MiB, and verifies the
// file as Verify does. Frames are checked and decompressed ahead of sink in parallel.
// raw is valid until sink returns. It stops at the first error, sink's among them.
//
// A frame is found damaged before it is delivered, but not before the frames in
// front of it, and the whole-file hash is known last: build what was delivered beside
// what is there, and replace nothing before Restore has returned nil.
func (r *Reader) Restore(sink func(raw []byte) error) error {
	return r.restore(r.codec.workers, nil, sink)
}

// RestoreBeside is Restore at the pace of Options, for a process that has other work
// to do meanwhile. The Reader is one of a Store's.
func (r *Reader) RestoreBeside(ctx context.Context, sink func(raw []byte) error) error {
	pace := r.store.newPacer(ctx)
	return r.restore(1, pace, func(raw []byte) error {
		for piece := range slices.Chunk(raw, restorePiece) {
			if err := sink(piece); err != nil {
				return err
			}
			if err := pace.pass(0); err != nil {
				return err
			}
		}
		return nil
	})
}

// restorePiece is what may be delivered without a rest: some eighty small keys, each of which
// goes to a place in memory that nobody may have touched for long (docs/adr/0034).
const restorePiece = 8 << 10

func (r *Reader) restore(workers int, pace *pacer, sink func(raw []byte) error) error {
	err := r.file.verify(r.codec, workers, pace, sink)
	var damage *CorruptionError
	switch {
	case r.store == nil:
	case err == nil:
		r.store.prove(r.entry)
	case errors.As(err, &damage):
		r.store.quarantine(r.entry, err)
	}
	return err
}

// Close lets the file go. It is safe to call more than once.
func (r *Reader) Close() error {
	var err error
	r.close.Do(func() {
		err = r.file.f.Close()
		if r.store != nil {
			r.store.release(r.entry)
		}
	})
	return err
}

// snapshotFile is an open file whose footer was read.
type snapshotFile struct {
	f    vfs.File
	name string
	size int64
	foot *footer
	// tail holds the footer's bytes.
	tail []byte
}

// openFile reads and checks the footer of f.
func openFile(f vfs.File, name string) (snapshotFile, error) {
	s := snapshotFile{f: f, name: name}
	var err error
	if s.size, err = f.Size(); err != nil {
		return s, fmt.Errorf("snapshot: %w", err)
	}
	if s.size < minFileSize {
		return s, corrupt(name, s.size, fmt.Sprintf("at least %d bytes", minFileSize), "end of file")
	}
	trailer := make([]byte, trailerSize)
	if err := s.readAt(trailer, s.size-trailerSize); err != nil {
		return s, err
	}
	n, err := parseTrailer(trailer, name, s.size)
	if err != nil {
		return s, err
	}
	s.tail = make([]byte, n)
	if err := s.readAt(s.tail, s.size-int64(n)); err != nil {
		return s, err
	}
	s.foot, err = parseFooter(s.tail, name, s.size)
	return s, err
}

func (s *snapshotFile) readAt(b []byte, off int64) error {
	n, err := s.f.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt(s.name, off+int64(n), fmt.Sprintf("%d bytes from %d", len(b), off), "end of file")
	}
	return fmt.Errorf("snapshot: %s: reading at %d: %w", s.name, off, err)
}

// verify checks the file in full; pace and sink may be nil.
func (s *snapshotFile) verify(c *codec, workers int, pace *pacer, sink func([]byte) error) error {
	h := sha256.New()
	if err := s.decode(c, workers, h, pace, sink); err != nil {
		return err
	}
	h.Write(s.tail[:len(s.tail)-footerTailSize])
	if got := h.Sum(nil); !bytes.Equal(got, s.foot.hash[:]) {
		return corrupt(s.name, s.size-footerTailSize, fmt.Sprintf("SHA-256 %x", s.foot.hash), fmt.Sprintf("%x", got))
	}
	return nil
}

// decode reads, checks and decompresses all frames; h is shown their compressed bytes,
// sink, if not nil, the raw ones, both in order.
func (s *snapshotFile) decode(c *codec, workers int, h hash.Hash, pace *pacer, sink func([]byte) error) error {
	dec, err := c.decoder()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	w := newJobs(workers)
	defer w.drain()
	deliver := func() error {
		j := w.oldest()
		defer w.recycle(j)
		if j.err != nil || sink == nil {
			return j.err
		}
		return sink(j.raw)
	}
	var off int64
	for i, fr := range s.foot.frames {
		if w.full() {
			if err := deliver(); err != nil {
				return err
			}
		}
		j := w.take()
		j.index, j.offset = i, off
		j.encoded = resize(j.encoded, int(fr.encoded))
		if err := s.readAt(j.encoded, off); err != nil {
			return err
		}
		if pace != nil {
			if err := pace.pass(len(j.encoded)); err != nil {
				return err
			}
		}
		off += int64(fr.encoded)
		before := w.newest()
		w.start(j, func(j *job) {
			decodeFrame(dec, j, fr, s.name)
			if before != nil {
				<-before
			}
			h.Write(j.encoded)
		})
	}
	for len(w.running) > 0 {
		if err := deliver(); err != nil {
			return err
		}
	}
	return nil
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
