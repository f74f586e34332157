package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// Listpack: Redis's layout of small collections since 7.0.
//
//	total bytes u32 | elements u16 (65535: count them) | entry ... | 0xFF
//	entry: encoding and data | their length, again, readable backwards
//
// The first byte of an entry tells its kind:
//
//	0xxxxxxx              unsigned 7 bit      1110xxxx + 1 byte    string up to 4095
//	10xxxxxx              string up to 63     0xF0 + u32           string
//	110xxxxx + 1 byte     signed 13 bit       0xF1 .. 0xF4         int16, 24, 32, 64
const (
	listpackHeader = 6
	listpackEnd    = 0xff
)

// beginListpack appends the header; endListpack completes it.
func beginListpack(dst []byte) []byte { return append(dst, 0, 0, 0, 0, 0, 0) }

// endListpack ends the listpack that begins at start and has n elements.
func endListpack(dst []byte, start, n int) []byte {
	dst = append(dst, listpackEnd)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	binary.LittleEndian.PutUint16(dst[start+4:], uint16(min(n, math.MaxUint16)))
	return dst
}

// appendListpack appends one element: as an integer where it is one, as Redis does.
func appendListpack(dst, elem []byte) []byte {
	if n, ok := parseInt(elem); ok {
		return appendListpackNum(dst, n)
	}
	start := len(dst)
	switch n := len(elem); {
	case n < 64:
		dst = append(dst, 0x80|byte(n))
	case n < 4096:
		dst = append(dst, 0xe0|byte(n>>8), byte(n))
	default:
		dst = binary.LittleEndian.AppendUint32(append(dst, 0xf0), uint32(n))
	}
	dst = append(dst, elem...)
	return appendBacklen(dst, uint64(len(dst)-start))
}

// appendListpackAll appends the elements of a packed collection and counts them.
func appendListpackAll(dst, packed []byte) (_ []byte, n int) {
	for left, body := cutCount(packed); n < left; n++ {
		// A short text has its length in front here and there, the same but for two bits.
		if size := shortText(body); size > 0 {
			dst = append(dst, body[:size]...)
			dst[len(dst)-size] |= 0x80
			dst = append(dst, byte(size))
			body = body[size:]
			continue
		}
		elem, rest, ok := cutElem(body)
		if !ok {
			break
		}
		dst = appendListpack(dst, elem)
		body = rest
	}
	return dst, n
}

// shortText is what the first element of a packed body takes if it has less than 64
// bytes and begins as no integer does, else 0.
func shortText(body []byte) int {
	if len(body) < 2 || body[0]-1 >= 63 || int(body[0]) >= len(body) {
		return 0
	}
	if c := body[1]; c == '-' || c-'0' < 10 {
		return 0
	}
	return 1 + int(body[0])
}

// appendListpackNum appends one element that is an integer.
func appendListpackNum(dst []byte, n int64) []byte {
	if 0 <= n && n <= 127 {
		return append(dst, byte(n), 1)
	}
	start := len(dst)
	dst = appendListpackInt(dst, n)
	return append(dst, byte(len(dst)-start)) // at most 9
}

// appendListpackInt leaves the length behind the number to the caller.
func appendListpackInt(dst []byte, n int64) []byte {
	u := uint64(n)
	switch {
	case n >= 0 && n <= 127:
		return append(dst, byte(n))
	case n >= -4096 && n <= 4095:
		return append(dst, 0xc0|byte(u>>8)&0x1f, byte(u))
	case n >= math.MinInt16 && n <= math.MaxInt16:
		return append(dst, 0xf1, byte(u), byte(u>>8))
	case n >= -1<<23 && n < 1<<23:
		return append(dst, 0xf2, byte(u), byte(u>>8), byte(u>>16))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		return binary.LittleEndian.AppendUint32(append(dst, 0xf3), uint32(u))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xf4), u)
}

// backlenSize is the number of bytes of the backward length n. The bounds are
// Redis's, which leaves the last number of each size to the next.
func backlenSize(n uint64) int {
	switch {
	case n <= 127:
		return 1
	case n < 1<<14-1:
		return 2
	case n < 1<<21-1:
		return 3
	case n < 1<<28-1:
		return 4
	}
	return 5
}

func appendBacklen(dst []byte, n uint64) []byte {
	size := backlenSize(n)
	dst = append(dst, byte(n>>(7*(size-1)))&0x7f)
	for i := size - 2; i >= 0; i-- {
		dst = append(dst, byte(n>>(7*i))&0x7f|0x80)
	}
	return dst
}

// listpackIter walks a listpack from outside. It reads no byte beyond p, whatever
// p claims.
type listpackIter struct {
	p   []byte
	pos int
	// num holds the text of an integer element.
	num [20]byte
}

// iterListpack checks the frame; count is a hint and at most len(p).
func iterListpack(p []byte) (it listpackIter, count int, err error) {
	if len(p) < listpackHeader+1 || binary.LittleEndian.Uint32(p) != uint32(len(p)) || p[len(p)-1] != listpackEnd {
		return it, 0, fmt.Errorf("%w: listpack frame of %d bytes", ErrRDB, len(p))
	}
	return listpackIter{p: p, pos: listpackHeader}, min(int(binary.LittleEndian.Uint16(p[4:])), len(p)), nil
}

// next returns the next element, which lives until the next call; ok is false at
// the end.
func (it *listpackIter) next() (elem []byte, ok bool, err error) {
	b := it.p[it.pos:]
	if b[0] == listpackEnd {
		if len(b) != 1 {
			return nil, false, fmt.Errorf("%w: listpack ends %d bytes early", ErrRDB, len(b)-1)
		}
		return nil, false, nil
	}
	head, size, number, isInt := listpackEntry(b)
	if head == 0 || size > uint64(len(b)-head) {
		return nil, false, fmt.Errorf("%w: listpack entry at %d", ErrRDB, it.pos)
	}
	whole := uint64(head) + size
	next := whole + uint64(backlenSize(whole))
	if next >= uint64(len(b)) { // the end byte must follow
		return nil, false, fmt.Errorf("%w: listpack entry at %d", ErrRDB, it.pos)
	}
	elem = b[head:whole]
	if isInt {
		elem = strconv.AppendInt(it.num[:0], number, 10)
	}
	it.pos += int(next)
	return elem, true, nil
}

// listpackEntry decodes the head of an entry: its length, that of the string after
// it, or the integer it holds. head is 0 if b is too short or no entry.
func listpackEntry(b []byte) (head int, size uint64, number int64, isInt bool) {
	c := b[0]
	switch {
	case c < 0x80:
		return 1, 0, int64(c), true
	case c < 0xc0:
		return 1, uint64(c & 0x3f), 0, false
	case len(b) < 2:
		return 0, 0, 0, false
	case c < 0xe0:
		return 2, 0, int64(int16(uint16(c&0x1f)<<11|uint16(b[1])<<3)) >> 3, true
	case c < 0xf0:
		return 2, uint64(c&0x0f)<<8 | uint64(b[1]), 0, false
	case c == 0xf0 && len(b) >= 5:
		return 5, uint64(binary.LittleEndian.Uint32(b[1:])), 0, false
	}
	width := [...]int{0, 2, 3, 4, 8}
	if c < 0xf1 || c > 0xf4 || len(b) < 1+width[c-0xf0] {
		return 0, 0, 0, false
	}
	w := width[c-0xf0]
	return 1 + w, 0, littleInt(b[1 : 1+w]), true
}

// littleInt decodes a little-endian signed integer of 1 to 8 bytes.
func littleInt(b []byte) int64 {
	var u uint64
	for i, c := range b {
		u |= uint64(c) << (8 * i)
	}
	shift := 64 - 8*len(b)
	return int64(u<<shift) >> shift
}
