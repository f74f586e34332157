package kv

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"

	"github.com/rkvdb/rkv/internal/pages"
)

// bitAt is a bit of s; what lies beyond its end is 0.
func bitAt(s []byte, offset int64) int64 {
	if offset>>3 >= int64(len(s)) {
		return 0
	}
	return int64(s[offset>>3]>>(7-offset&7)) & 1
}

// countBits counts the ones among the bits lo <= b < hi of s.
func countBits(s []byte, lo, hi int64) (n int64) {
	if lo >= hi {
		return 0
	}
	part := s[lo>>3 : (hi+7)>>3]
	n -= int64(bits.OnesCount8(part[0] &^ (0xff >> (lo & 7))))
	n -= int64(bits.OnesCount8(part[len(part)-1] & lowMask(hi)))
	for ; len(part) >= 8; part = part[8:] {
		n += int64(bits.OnesCount64(binary.LittleEndian.Uint64(part)))
	}
	for _, b := range part {
		n += int64(bits.OnesCount8(b))
	}
	return n
}

// lowMask selects the bits of the last byte that lie at or behind the bit hi.
func lowMask(hi int64) byte {
	if hi&7 == 0 {
		return 0
	}
	return 0xff >> (hi & 7)
}

// findBit is the first bit of the given value among lo <= b < hi of s, -1 if there
// is none.
func findBit(s []byte, bit, lo, hi int64) int64 {
	skip := byte(0) // a byte without such a bit
	if bit == 0 {
		skip = 0xff
	}
	for lo < hi {
		if lo&7 == 0 {
			lo = skipBytes(s, skip, lo, hi)
		}
		for end := min(hi, lo|7+1); lo < end; lo++ {
			if bitAt(s, lo) == bit {
				return lo
			}
		}
	}
	return -1
}

// skipBytes moves on over whole bytes equal to skip.
func skipBytes(s []byte, skip byte, lo, hi int64) int64 {
	i, end := lo>>3, hi>>3
	word := uint64(skip) * 0x0101010101010101
	for i+8 <= end && binary.LittleEndian.Uint64(s[i:]) == word {
		i += 8
	}
	for i < end && s[i] == skip {
		i++
	}
	return i << 3
}

// bitOp is an operation of BITOP.
type bitOp int

const (
	bitAnd bitOp = iota
	bitOr
	bitXor
	bitNot
)

func parseBitOp(b []byte) (bitOp, bool) {
	for op, name := range [...]string{"and", "or", "xor", "not"} {
		if is(b, name) {
			return bitOp(op), true
		}
	}
	return 0, false
}

// combineBits combines the sources, each extended with zeros to the length of the longest.
func combineBits(op bitOp, sources [][]byte) []byte {
	longest := 0
	for i, s := range sources {
		if len(s) > len(sources[longest]) {
			longest = i
		}
	}
	out := pages.Clone(sources[longest])
	if op == bitNot {
		for i := range out {
			out[i] = ^out[i]
		}
		return out
	}
	for i, s := range sources {
		switch {
		case i == longest:
		case op == bitAnd:
			andBytes(out, s)
			clear(out[len(s):])
		case op == bitOr:
			orBytes(out, s)
		default:
			subtle.XORBytes(out, out[:len(s)], s)
		}
	}
	return out
}

func andBytes(out, s []byte) {
	for ; len(s) >= 8; out, s = out[8:], s[8:] {
		binary.LittleEndian.PutUint64(out, binary.LittleEndian.Uint64(out)&binary.LittleEndian.Uint64(s))
	}
	for i, b := range s {
		out[i] &= b
	}
}

func orBytes(out, s []byte) {
	for ; len(s) >= 8; out, s = out[8:], s[8:] {
		binary.LittleEndian.PutUint64(out, binary.LittleEndian.Uint64(out)|binary.LittleEndian.Uint64(s))
	}
	for i, b := range s {
		out[i] |= b
	}
}
