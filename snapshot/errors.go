package snapshot

import (
	"errors"
	"fmt"
)

// ErrOutdated is returned by Write and Receive when the store already holds a
// valid snapshot at that index or past it. Nothing was changed; the caller goes on
// with the one there is (R30, R32).
var ErrOutdated = errors.New("snapshot: a snapshot at or past this index exists")

// ErrNotFound: there is no valid snapshot at that index.
var ErrNotFound = errors.New("snapshot: not found")

// ErrMismatch is returned by Receive when the stream is a sound snapshot but not
// the announced one. Nothing was changed; ask again.
var ErrMismatch = errors.New("snapshot: not the announced snapshot")

// ErrNoSpace is returned by Receive before it reads a byte if the file system has
// no room for the announced size.
var ErrNoSpace = errors.New("snapshot: not enough free space")

// CorruptionError reports bytes that are not what was written. The snapshot must
// not be used; the one before it, or another member's, may be.
type CorruptionError struct {
	// File is the file's name, Offset where in it the damage was noticed.
	File   string
	Offset int64
	// Expected and Found describe what disagrees.
	Expected, Found string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("snapshot: %s is damaged at offset %d: expected %s, found %s", e.File, e.Offset, e.Expected, e.Found)
}

func corrupt(file string, offset int64, expected string, found any) error {
	return &CorruptionError{File: file, Offset: max(offset, 0), Expected: expected, Found: fmt.Sprint(found)}
}

func crcText(c uint32) string { return fmt.Sprintf("CRC %08x", c) }
