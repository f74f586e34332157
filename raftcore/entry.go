package raftcore

import "hash/crc32"

// EntryType says who interprets an entry's Body.
type EntryType uint8

const (
	// EntryNoop is the empty entry a leader appends at the start of its term
	// (thesis 6.4): it lets older entries commit and reads be served.
	EntryNoop EntryType = 0
	// EntryNormal carries units for the state machine (docs/adr/0001).
	EntryNormal EntryType = 1
	// EntryConfig carries an encoded Membership (thesis 4.3). It is in force
	// from the moment it is appended, not when it commits.
	EntryConfig EntryType = 2
)

// Entry is one slot of the replicated log.
//
// The bytes of Body are built once, by the leader that appends the entry, and
// are then shared by the log, the wire and memory: nobody may write to them.
type Entry struct {
	Term  uint64
	Index uint64
	Type  EntryType
	// CRC is Checksum of the other fields. It is computed once, by the leader
	// that appended the entry, and verified wherever bytes cross a boundary
	// (disk, network), so that an entry cannot change or move unnoticed.
	CRC  uint32
	Body []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of an entry's identity (term, index, type) followed
// by its body. Covering the identity means that a body copied to another index
// fails the check (a misdirected write, RELIABILITY 3.2).
func Checksum(term, index uint64, typ EntryType, body []byte) uint32 {
	// The identity is folded in byte by byte: handing crc32 an array would move it
	// to the heap, once per entry and boundary.
	crc := foldUint64(foldUint64(^uint32(0), term), index)
	crc = ^(castagnoli[byte(crc)^byte(typ)] ^ crc>>8)
	return crc32.Update(crc, castagnoli, body)
}

// foldUint64 advances an inverted CRC over v's bytes, little endian.
func foldUint64(crc uint32, v uint64) uint32 {
	for range 8 {
		crc = castagnoli[byte(crc)^byte(v)] ^ crc>>8
		v >>= 8
	}
	return crc
}

// Verify reports whether e.CRC matches the entry's identity and body.
func (e *Entry) Verify() bool {
	return e.CRC == Checksum(e.Term, e.Index, e.Type, e.Body)
}

// entryOverhead is what an entry costs beside its body in windows and frames.
const entryOverhead = 48

// Size is the number of bytes the entry counts for in every byte-bounded
// window and queue.
func (e *Entry) Size() int { return len(e.Body) + entryOverhead }

// TermRun says that entries from Index on, up to the next run, have Term. A whole
// log's terms fit in a few of them, so Term(i) never needs the disk.
type TermRun struct {
	Index, Term uint64
}
