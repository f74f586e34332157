package kv

import (
	"encoding/binary"
	"math"
)

// An intset is a sorted array of distinct integers, laid out as Redis's intset
// (and as RDB stores it), all little endian:
//
//	+-----------------+-----------------+-----------+-----------+ ...
//	| width 4 (2/4/8) | count 4         | integer 0 | integer 1 |
//	+-----------------+-----------------+-----------+-----------+ ...
//
// width is that of the widest integer ever added. An empty slice is an empty set.
// Like the functions of packed.go these read p, append a whole new set to dst,
// which must not overlap p, and never read outside p.
const intsetHeader = 8

// intsetWidth is the size of one integer.
func intsetWidth(p []byte) int {
	if len(p) < intsetHeader {
		return 2
	}
	switch w := binary.LittleEndian.Uint32(p); w {
	case 4, 8:
		return int(w)
	}
	return 2
}

func intsetLen(p []byte) int {
	if len(p) < intsetHeader {
		return 0
	}
	n := uint64(binary.LittleEndian.Uint32(p[4:]))
	return int(min(n, uint64((len(p)-intsetHeader)/intsetWidth(p))))
}

// intsetAt is the i-th smallest integer, i < intsetLen(p).
func intsetAt(p []byte, i int) int64 { return intsetGet(p[intsetHeader:], intsetWidth(p), i) }

func intsetGet(ints []byte, width, i int) int64 {
	b := ints[i*width:]
	switch width {
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func intsetAppend(dst []byte, width int, v int64) []byte {
	switch width {
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(v))
}

// intsetFind is v's rank, or the rank it would have.
func intsetFind(p []byte, v int64) (rank int, found bool) {
	lo, hi := 0, intsetLen(p)
	for lo < hi {
		mid := (lo + hi) / 2
		if intsetAt(p, mid) < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < intsetLen(p) && intsetAt(p, lo) == v
}

// intsetInsert appends to dst the set p with v, which is not in it, at its rank.
func intsetInsert(dst, p []byte, rank int, v int64) []byte {
	n, old := intsetLen(p), intsetWidth(p)
	width := max(old, intWidth(v))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(width))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n+1))
	if n == 0 {
		return intsetAppend(dst, width, v)
	}
	ints := p[intsetHeader : intsetHeader+n*old]
	if width == old {
		dst = append(dst, ints[:rank*width]...)
		dst = intsetAppend(dst, width, v)
		return append(dst, ints[rank*width:]...)
	}
	for i := range n {
		if i == rank {
			dst = intsetAppend(dst, width, v)
		}
		dst = intsetAppend(dst, width, intsetGet(ints, old, i))
	}
	if rank == n {
		dst = intsetAppend(dst, width, v)
	}
	return dst
}

// intsetDelete appends to dst the set p without the integer at rank.
func intsetDelete(dst, p []byte, rank int) []byte {
	n, width := intsetLen(p), intsetWidth(p)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(width))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n-1))
	ints := p[intsetHeader : intsetHeader+n*width]
	dst = append(dst, ints[:rank*width]...)
	return append(dst, ints[(rank+1)*width:]...)
}

// intWidth is the number of bytes v needs.
func intWidth(v int64) int {
	switch {
	case v >= math.MinInt16 && v <= math.MaxInt16:
		return 2
	case v >= math.MinInt32 && v <= math.MaxInt32:
		return 4
	}
	return 8
}
