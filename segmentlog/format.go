package segmentlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/rkvdb/rkv/raftcore"
)

// A segment file (little endian):
//
//	0        segment header, one block of 4 KiB (segmentHeader)
//	4096     record, record, ... each 8-byte aligned (recordHeader + body + padding)
//	...      zeros up to the file's fixed size
//
// All bytes behind the last record are zeros that are really on the disk, except
// what a write that was never acknowledged left there. That is what makes the end
// of the log recognisable, and a torn write distinguishable from damage.
const (
	blockSize        = 4096
	sectorSize       = 512 // what a disk writes whole or not at all
	recordHeaderSize = 64
	recordAlign      = 8
	firstRecord      = int64(blockSize)
)

const (
	recordMagic  = 0x4c766b72 // "rkvL"
	segmentMagic = 0x53766b72 // "rkvS"
	formatV1     = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
var le = binary.LittleEndian

// recordHeader precedes each entry's body (docs/adr/0001):
//
//	 0 magic       u32  "rkvL"
//	 4 header CRC  u32  CRC-32C of bytes 8..63: identity survives a bad body
//	 8 lap         u64  a stale record of an earlier use of the file has an older one
//	16 segment     u64  a record copied from another file is not ours
//	24 index       u64
//	32 term        u64
//	40 durable     u64  bytes of this segment below it were synced before this record was written
//	48 length      u32  body bytes
//	52 body CRC    u32  Entry.CRC: covers term, index, type and body
//	56 type        u8
//	57 flags       u8   bit 0: first record of a write batch
//	58 reserved    u16  zero
//	60 batch       u32  bytes of the write batch that starts here, else 0
type recordHeader struct {
	lap, segment uint64
	index, term  uint64
	durable      uint64
	length       uint32
	crc          uint32
	typ          raftcore.EntryType
	first        bool
	batch        uint32
}

const flagFirst = 1

func (h *recordHeader) put(b []byte) {
	clear(b[:recordHeaderSize])
	le.PutUint32(b[0:], recordMagic)
	le.PutUint64(b[8:], h.lap)
	le.PutUint64(b[16:], h.segment)
	le.PutUint64(b[24:], h.index)
	le.PutUint64(b[32:], h.term)
	le.PutUint64(b[40:], h.durable)
	le.PutUint32(b[48:], h.length)
	le.PutUint32(b[52:], h.crc)
	b[56] = byte(h.typ)
	if h.first {
		b[57] = flagFirst
	}
	le.PutUint32(b[60:], h.batch)
	le.PutUint32(b[4:], crc32.Checksum(b[8:recordHeaderSize], castagnoli))
}

// parseRecordHeader returns false unless b starts with an intact header. Whether
// it belongs here (lap, segment, index) is the caller's question.
func parseRecordHeader(b []byte) (recordHeader, bool) {
	if len(b) < recordHeaderSize || le.Uint32(b) != recordMagic ||
		le.Uint32(b[4:]) != crc32.Checksum(b[8:recordHeaderSize], castagnoli) {
		return recordHeader{}, false
	}
	return recordHeader{
		lap: le.Uint64(b[8:]), segment: le.Uint64(b[16:]),
		index: le.Uint64(b[24:]), term: le.Uint64(b[32:]), durable: le.Uint64(b[40:]),
		length: le.Uint32(b[48:]), crc: le.Uint32(b[52:]),
		typ: raftcore.EntryType(b[56]), first: b[57]&flagFirst != 0, batch: le.Uint32(b[60:]),
	}, true
}

// size is the space of the record: header, body, padding.
func (h *recordHeader) size() int64 { return recordSize(int(h.length)) }

// entry is the record's entry over body bytes.
func (h *recordHeader) entry(body []byte) raftcore.Entry {
	return raftcore.Entry{Term: h.term, Index: h.index, Type: h.typ, CRC: h.crc, Body: body}
}

func recordSize(body int) int64 {
	return (recordHeaderSize + int64(body) + recordAlign - 1) &^ (recordAlign - 1)
}

// segmentState says whether a file holds records.
type segmentState uint32

const (
	statePrepared segmentState = 1 // zeroed and waiting
	stateActive   segmentState = 2 // part of the log
)

// segmentHeader is the start of a segment file. It fits one sector, so a power cut
// leaves the old or the new one, never a mixture.
//
//	 0 magic      u32  "rkvS"
//	 4 CRC        u32  CRC-32C of bytes 8..127
//	 8 version    u32  1
//	12 state      u32  1 prepared, 2 active
//	16 log id     u64  a file of another log is not ours
//	24 segment    u64  number of the segment; must equal the file's name
//	32 lap        u64  number of this use of the file, from 1
//	40 size       u64  bytes of the file; it never changes
//	48 previous   u64  the active segment before this one, 0 if it is the first
//	56 base index u64  the entry before this segment's first
//	64 base term  u64  its term
//	72 zeros up to 4096
type segmentHeader struct {
	state               segmentState
	logID, id, lap      uint64
	size                int64
	previous            uint64
	baseIndex, baseTerm uint64
}

const segmentHeaderSize = 128

// block is the header as the 4 KiB that open the file.
func (h *segmentHeader) block() []byte {
	b := make([]byte, blockSize)
	le.PutUint32(b[0:], segmentMagic)
	le.PutUint32(b[8:], formatV1)
	le.PutUint32(b[12:], uint32(h.state))
	le.PutUint64(b[16:], h.logID)
	le.PutUint64(b[24:], h.id)
	le.PutUint64(b[32:], h.lap)
	le.PutUint64(b[40:], uint64(h.size))
	le.PutUint64(b[48:], h.previous)
	le.PutUint64(b[56:], h.baseIndex)
	le.PutUint64(b[64:], h.baseTerm)
	le.PutUint32(b[4:], crc32.Checksum(b[8:segmentHeaderSize], castagnoli))
	return b
}

// parseSegmentHeader checks magic, version and CRC.
func parseSegmentHeader(b []byte) (segmentHeader, error) {
	if len(b) < segmentHeaderSize {
		return segmentHeader{}, fmt.Errorf("only %d bytes", len(b))
	}
	if m := le.Uint32(b); m != segmentMagic {
		return segmentHeader{}, fmt.Errorf("magic %#x", m)
	}
	if crc := crc32.Checksum(b[8:segmentHeaderSize], castagnoli); crc != le.Uint32(b[4:]) {
		return segmentHeader{}, fmt.Errorf("checksum %#x over bytes summing to %#x", le.Uint32(b[4:]), crc)
	}
	if v := le.Uint32(b[8:]); v != formatV1 {
		return segmentHeader{}, fmt.Errorf("format version %d", v)
	}
	h := segmentHeader{
		state: segmentState(le.Uint32(b[12:])), logID: le.Uint64(b[16:]), id: le.Uint64(b[24:]),
		lap: le.Uint64(b[32:]), size: int64(le.Uint64(b[40:])), previous: le.Uint64(b[48:]),
		baseIndex: le.Uint64(b[56:]), baseTerm: le.Uint64(b[64:]),
	}
	if h.state != statePrepared && h.state != stateActive {
		return segmentHeader{}, fmt.Errorf("state %d", h.state)
	}
	return h, nil
}

// allZero reports whether b holds only zeros.
func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// lastNonZero is the offset just behind the last non-zero byte of b.
func lastNonZero(b []byte) int {
	for len(b) >= blockSize && allZero(b[len(b)-blockSize:]) {
		b = b[:len(b)-blockSize]
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return len(b)
}
