package kv

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Ziplist: Redis's layout of small collections before 7.0. Read only.
//
//	bytes u32 | tail offset u32 | elements u16 | entry ... | 0xFF
//	entry: length of the one before (1 byte, or 0xFE and u32) | encoding | data
type ziplistIter struct {
	p   []byte
	pos int
	num [20]byte
}

const (
	ziplistHeader = 10
	ziplistEnd    = 0xff
)

func iterZiplist(p []byte) (it ziplistIter, count int, err error) {
	if len(p) < ziplistHeader+1 || binary.LittleEndian.Uint32(p) != uint32(len(p)) || p[len(p)-1] != ziplistEnd {
		return it, 0, fmt.Errorf("%w: ziplist frame of %d bytes", ErrRDB, len(p))
	}
	return ziplistIter{p: p, pos: ziplistHeader}, min(int(binary.LittleEndian.Uint16(p[8:])), len(p)), nil
}

// next returns the next element, which lives until the next call; ok is false at
// the end.
func (it *ziplistIter) next() (elem []byte, ok bool, err error) {
	b := it.p[it.pos:]
	if b[0] == ziplistEnd {
		if len(b) != 1 {
			return nil, false, fmt.Errorf("%w: ziplist ends %d bytes early", ErrRDB, len(b)-1)
		}
		return nil, false, nil
	}
	prev := 1
	if b[0] == 0xfe {
		prev = 5
	}
	if prev < len(b) {
		head, size, number, isInt := ziplistEntry(b[prev:])
		if end := uint64(prev+head) + size; head > 0 && end < uint64(len(b)) { // the end byte must follow
			elem = b[prev+head : end]
			if isInt {
				elem = strconv.AppendInt(it.num[:0], number, 10)
			}
			it.pos += int(end)
			return elem, true, nil
		}
	}
	return nil, false, fmt.Errorf("%w: ziplist entry at %d", ErrRDB, it.pos)
}

// ziplistEntry decodes the encoding at the start of b; head is 0 if b is too short
// or no entry.
func ziplistEntry(b []byte) (head int, size uint64, number int64, isInt bool) {
	c := b[0]
	switch {
	case c < 0x40:
		return 1, uint64(c), 0, false
	case c < 0x80 && len(b) >= 2:
		return 2, uint64(c&0x3f)<<8 | uint64(b[1]), 0, false
	case c == 0x80 && len(b) >= 5:
		return 5, uint64(binary.BigEndian.Uint32(b[1:])), 0, false
	case c >= 0xf1 && c <= 0xfd:
		return 1, 0, int64(c&0x0f) - 1, true
	}
	width := 0
	switch c {
	case 0xfe:
		width = 1
	case 0xc0:
		width = 2
	case 0xf0:
		width = 3
	case 0xd0:
		width = 4
	case 0xe0:
		width = 8
	}
	if width == 0 || len(b) < 1+width {
		return 0, 0, 0, false
	}
	return 1 + width, 0, littleInt(b[1 : 1+width]), true
}
