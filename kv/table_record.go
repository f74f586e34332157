package kv

import (
	"bytes"
	"encoding/binary"
)

// A record is one key with its value, in one block of the arena:
//
//	+----------------------------+------------+------+------+-----+-------+
//	| type 4 | enc 3 | expires 1 | [expireAt] | klen | vlen | key | value |
//	+----------------------------+------------+------+------+-----+-------+
//	  one byte, from the low bits   8 bytes LE   uvarints
//
// value is the string or the packed collection, or, for the encodings that have an
// object, its id in 4 bytes LE. While a cut can see a record it does not change.
const (
	recordExpires  = 0x80
	recordEncShift = 4
	recordEncMask  = 7
	recordTypeMask = 15

	objectIDBytes = 4
)

// record is a decoded record. Slices alias the arena.
type record struct {
	typ      Type
	enc      Encoding
	expireAt int64
	key      []byte
	val      []byte
}

// hasObject reports whether values of the encoding live in an object.
func hasObject(e Encoding) bool { return e == EncTree || e == EncBigString }

func (r *record) objectID() uint32 { return binary.LittleEndian.Uint32(r.val) }

func (r *record) size() int {
	n := 1 + entrySize(r.key, r.val)
	if r.expireAt != 0 {
		n += 8
	}
	return n
}

// write lays the record out in mem.
func (r *record) write(mem []byte) {
	b := append(mem[:0], r.head())
	if r.expireAt != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.expireAt))
	}
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = binary.AppendUvarint(b, uint64(len(r.val)))
	b = append(b, r.key...)
	copy(mem[len(b):], r.val)
}

// head is the first byte.
func (r *record) head() byte {
	b := byte(r.typ) | byte(r.enc)<<recordEncShift
	if r.expireAt != 0 {
		b |= recordExpires
	}
	return b
}

// readRecord decodes the record at the start of mem.
func readRecord(mem []byte) (r record) {
	r.read(mem)
	return r
}

// read is readRecord in place: a record that was just written field by field is slow to copy.
func (r *record) read(mem []byte) {
	head := mem[0]
	r.typ = Type(head & recordTypeMask)
	r.enc = Encoding(head >> recordEncShift & recordEncMask)
	b := mem[1:]
	if r.expireAt = 0; head&recordExpires != 0 {
		r.expireAt = int64(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	klen, vlen, b := readLengths(b)
	r.key, r.val = b[:klen:klen], b[klen:klen+vlen:klen+vlen]
}

// recordKey is the key of the record at the start of mem.
func recordKey(mem []byte) []byte {
	b := mem[1:]
	if mem[0]&recordExpires != 0 {
		b = b[8:]
	}
	klen, _, b := readLengths(b)
	return b[:klen:klen]
}

func recordHasKey(mem, key []byte) bool { return bytes.Equal(recordKey(mem), key) }

func readLengths(b []byte) (klen, vlen int, rest []byte) {
	if b[0]|b[1] < 0x80 { // the common case: both below 128 bytes
		return int(b[0]), int(b[1]), b[2:]
	}
	k, kw := binary.Uvarint(b)
	v, vw := binary.Uvarint(b[kw:])
	return int(k), int(v), b[kw+vw:]
}
