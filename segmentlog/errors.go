package segmentlog

import (
	"errors"
	"fmt"
)

// Errors of reading. They are expected in normal operation.
var (
	// ErrCompacted means the requested entries start at or below the log's base:
	// the caller needs a snapshot instead.
	ErrCompacted = errors.New("segmentlog: entries were compacted away")
	// ErrUnavailable means the requested entries are beyond the last one.
	ErrUnavailable = errors.New("segmentlog: entries beyond the end of the log")
	// ErrClosed means the log was closed.
	ErrClosed = errors.New("segmentlog: log is closed")
)

// CorruptionError says that bytes which were once durable cannot be trusted.
// Nothing was changed on disk. It carries an address good enough to open a hex
// dump at the right place.
type CorruptionError struct {
	File   string
	Offset int64
	// Index and Term identify the entry when its header still can be read (or
	// when its neighbours tell); zero means the identity is lost.
	Index, Term     uint64
	Expected, Found string
	// Cause is the read error, if the bytes could not be read at all.
	Cause error
}

// Unwrap returns the read error, if there was one.
func (e *CorruptionError) Unwrap() error { return e.Cause }

// Error names the place, the difference, and what the operator can do.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("segmentlog: %s is damaged at byte %d (index %d, term %d): expected %s, found %s. "+
		"Nothing was changed. Run `rkv log verify` on the directory for the extent; then remove this member, "+
		"empty its data directory and add it again, so that it fetches the log from its peers",
		e.File, e.Offset, e.Index, e.Term, e.Expected, e.Found)
}

// HardStateError says that the file with term and vote cannot be trusted, so the
// node might vote twice in one term if it went on.
type HardStateError struct {
	File   string
	Reason string
}

// Error names the file, the reason, and what the operator can do.
func (e *HardStateError) Error() string {
	return fmt.Sprintf("segmentlog: hard state %s cannot be trusted: %s. The newest vote may be lost, so this node "+
		"must not vote under its old identity: remove this member, empty its data directory and add it again", e.File, e.Reason)
}
