package kv

import (
	"encoding/binary"
	"hash/crc64"
	"sync"
)

// jones is the CRC-64 that Redis ends an RDB file and a DUMP with: the Jones
// polynomial, bits reflected, no inversion before or after.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// crc64Update continues a CRC, 0 at the start. hash/crc64 inverts on the way in and
// out, which is undone here.
func crc64Update(crc uint64, p []byte) uint64 {
	if len(p) >= crcFew {
		crc, p = crc64Blocks(crc, p)
	}
	if len(p) == 0 {
		return crc
	}
	return ^crc64.Update(^crc, jones, p)
}

// Each step of a CRC waits for the one before. Of a long string three lanes are summed
// side by side, which takes half the time, and then put together: a CRC is linear, so
// that of ab is that of a, followed by as many zeros as b has bytes, xor that of b.
//
// The rest is summed a word at a time: for a polynomial that it has no tables of,
// hash/crc64 makes them anew in each call, or goes by single bytes.
const (
	crcLane  = 1 << 10
	crcBlock = 3 * crcLane
	crcFew   = 64 // fewer bytes go one by one
)

// crcBytes has, by byte of a word, what each value of it does to the CRC.
type crcBytes [8][256]uint64

// apply is the sum over a word's bytes.
func (t *crcBytes) apply(v uint64) uint64 {
	return t[0][byte(v)] ^ t[1][byte(v>>8)] ^ t[2][byte(v>>16)] ^ t[3][byte(v>>24)] ^
		t[4][byte(v>>32)] ^ t[5][byte(v>>40)] ^ t[6][byte(v>>48)] ^ t[7][v>>56]
}

// crcTables returns what eight bytes of input do to a CRC, and what a lane of zeros does.
var crcTables = sync.OnceValues(func() (word, lane *crcBytes) {
	after := func(zeros int) *crcBytes {
		t, none := new(crcBytes), make([]byte, zeros)
		for k := range t {
			for bit := range 8 {
				t[k][1<<bit] = ^crc64.Update(^(uint64(1) << (8*k + bit)), jones, none)
			}
			for v := range t[k] {
				t[k][v] = t[k][v&-v] ^ t[k][v&(v-1)]
			}
		}
		return t
	}
	return after(8), after(crcLane)
})

// crc64Blocks takes in all whole blocks and words of p and returns the rest.
func crc64Blocks(crc uint64, p []byte) (uint64, []byte) {
	word, lane := crcTables()
	for ; len(p) >= crcBlock; p = p[crcBlock:] {
		a, b, c := p[:crcLane], p[crcLane:2*crcLane], p[2*crcLane:crcBlock]
		var crcB, crcC uint64
		for len(a) >= 8 && len(b) >= 8 && len(c) >= 8 {
			crc = word.apply(crc ^ binary.LittleEndian.Uint64(a))
			crcB = word.apply(crcB ^ binary.LittleEndian.Uint64(b))
			crcC = word.apply(crcC ^ binary.LittleEndian.Uint64(c))
			a, b, c = a[8:], b[8:], c[8:]
		}
		crc = lane.apply(lane.apply(crc)^crcB) ^ crcC
	}
	for ; len(p) >= 8; p = p[8:] {
		crc = word.apply(crc ^ binary.LittleEndian.Uint64(p))
	}
	return crc, p
}
