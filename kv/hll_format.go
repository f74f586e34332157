package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// hll is a HyperLogLog as bytes, in Redis's layout:
//
//	"HYLL" | encoding u8 | 3 unused | cached cardinality u64 LE | registers
//
// The top bit of the cached cardinality tells that it is out of date. There are
// 16,384 registers, each the longest run seen of the hashes that fell to it, 0 to
// 51. Dense (encoding 0): 6 bits each, the first in the lowest bits of the first
// byte. Sparse (encoding 1): runs of equal registers, in order:
//
//	00nnnnnn              n+1 registers are 0
//	01nnnnnn nnnnnnnn     n+1 registers are 0
//	1vvvvvnn              n+1 registers are v+1
type hll []byte

const (
	hllMagic         = "HYLL"
	hllHeader        = 16
	hllIndexBits     = 14
	hllRegisterCount = 1 << hllIndexBits
	hllHashBits      = 64 - hllIndexBits
	hllRegisterBits  = 6
	hllDenseSize     = hllHeader + hllRegisterCount*hllRegisterBits/8
	hllHashSeed      = 0xadc83b19

	hllSparseValueMax = 32
	hllSparseRunMax   = 4  // registers of a value in one opcode
	hllSparseZeroMax  = 64 // zero registers in an opcode of one byte
)

// hllRegisters are all registers, unpacked.
type hllRegisters [hllRegisterCount]uint8

// newHLL appends an empty one.
func newHLL(dst []byte) hll {
	dst = append(dst, hllMagic...)
	dst = append(dst, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return appendZeroRun(dst, hllRegisterCount)
}

// valid checks the frame; the runs of a sparse one are checked as they are read.
func (h hll) valid() bool {
	return len(h) >= hllHeader && string(h[:4]) == hllMagic && h[4] <= 1 &&
		(h[4] == 1 || len(h) == hllDenseSize)
}

func (h hll) dense() bool { return h[4] == 0 }

// cached is the cardinality in the header, if it is up to date.
func (h hll) cached() (n int64, ok bool) {
	return int64(binary.LittleEndian.Uint64(h[8:])), h[15]&0x80 == 0
}

func (h hll) cache(n int64) { binary.LittleEndian.PutUint64(h[8:], uint64(n)) }

func (h hll) invalidate() { h[15] |= 0x80 }

// hllRun is one opcode of the sparse form.
type hllRun struct {
	at, size int // where it is in the value
	first, n int // the registers it covers
	value    uint8
}

// runs calls fn for the opcodes until it returns false; ok is false if they do not
// make up exactly all registers.
func (h hll) runs(fn func(r hllRun) bool) (ok bool) {
	first := 0
	for at := hllHeader; at < len(h); {
		r := hllRun{at: at, size: 1, first: first}
		switch b := h[at]; {
		case b >= 0x80:
			r.value, r.n = b>>2&0x1f+1, int(b&3)+1
		case b < 0x40:
			r.n = int(b) + 1
		case at+1 == len(h):
			return false
		default:
			r.size, r.n = 2, int(b&0x3f)<<8|int(h[at+1])+1
		}
		if first += r.n; first > hllRegisterCount {
			return false
		}
		if !fn(r) {
			return true
		}
		at += r.size
	}
	return first == hllRegisterCount
}

// get is a register of a dense one.
func (h hll) get(i int) uint8 {
	at, shift := hllHeader+i*hllRegisterBits/8, i*hllRegisterBits&7
	v := uint(h[at]) >> shift
	if shift > 2 {
		v |= uint(h[at+1]) << (8 - shift)
	}
	return uint8(v & 0x3f)
}

// put sets a register of a dense one.
func (h hll) put(i int, n uint8) {
	at, shift := hllHeader+i*hllRegisterBits/8, i*hllRegisterBits&7
	h[at] = h[at]&^(0x3f<<shift) | n<<shift
	if shift > 2 {
		h[at+1] = h[at+1]&^(0x3f>>(8-shift)) | n>>(8-shift)
	}
}

// mergeInto raises the registers to this one's; false if it is corrupt.
func (h hll) mergeInto(regs *hllRegisters) bool {
	if h.dense() {
		for i := range regs {
			regs[i] = max(regs[i], h.get(i))
		}
		return true
	}
	return h.runs(func(r hllRun) bool {
		for i := r.first; r.value > 0 && i < r.first+r.n; i++ {
			regs[i] = max(regs[i], r.value)
		}
		return true
	})
}

// describe lists the opcodes of a sparse one as PFDEBUG DECODE does.
func (h hll) describe() string {
	var out []string
	h.runs(func(r hllRun) bool {
		switch {
		case r.value > 0:
			out = append(out, fmt.Sprintf("v:%d,%d", r.value, r.n))
		case r.size == 2:
			out = append(out, fmt.Sprintf("Z:%d", r.n))
		default:
			out = append(out, fmt.Sprintf("z:%d", r.n))
		}
		return true
	})
	return strings.Join(out, " ")
}

// hllHash is the register an element falls to, and the run its hash shows there.
func hllHash(element []byte) (register int, run uint8) {
	h := murmur64A(element, hllHashSeed)
	return int(h & (hllRegisterCount - 1)), uint8(bits.TrailingZeros64(h>>hllIndexBits|1<<hllHashBits) + 1)
}

// murmur64A is MurmurHash64A, reading little endian: the hash of Redis's
// HyperLogLog, on which the registers depend.
func murmur64A(b []byte, seed uint64) uint64 {
	const m = 0xc6a4a7935bd1e995
	h := seed ^ uint64(len(b))*m
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * m
		h = (h ^ (k^k>>47)*m) * m
	}
	if len(b) > 0 {
		for i, c := range b {
			h ^= uint64(c) << (8 * i)
		}
		h *= m
	}
	h = (h ^ h>>47) * m
	return h ^ h>>47
}

// count estimates the cardinality by Ertl's improved estimator ("New cardinality
// estimation algorithms for HyperLogLog sketches", 2017), as Redis does. The
// conversions keep the compiler from fusing operations: the estimate must be the
// same on every machine.
func (regs *hllRegisters) count() int64 {
	const m = float64(hllRegisterCount)
	const alphaInf = 0.721347520444481703680 // 1 / (2 ln 2)
	var histogram [64]int
	for _, n := range regs {
		histogram[n&63]++
	}
	z := float64(m * hllTau((m-float64(histogram[hllHashBits+1]))/m))
	for n := hllHashBits; n >= 1; n-- {
		z = float64((z + float64(histogram[n])) * 0.5)
	}
	z += float64(m * hllSigma(float64(histogram[0])/m))
	return int64(math.Round(float64(float64(alphaInf*m)*m) / z))
}

func hllSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for last := -1.0; last != z; {
		x = float64(x * x)
		last = z
		z += float64(x * y)
		y += y
	}
	return z
}

func hllTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for last := -1.0; last != z; {
		x = math.Sqrt(x)
		last = z
		y = float64(y * 0.5)
		d := 1 - x
		z -= float64(float64(d*d) * y)
	}
	return z / 3
}
