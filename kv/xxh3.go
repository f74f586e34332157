package kv

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// xxh3 is XXH3 in its 64-bit form with seed 0
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): the digest of
// DIGEST and of the conditions IFDEQ and IFDNE, which clients compute themselves.
func xxh3(p []byte) uint64 {
	n := len(p)
	switch {
	case n > 240:
		return xxh3Long(p)
	case n > 128:
		return xxh3Middle(p)
	case n > 16:
		return xxh3Short(p)
	case n > 8:
		lo := le64(p) ^ xxh3Key(24) ^ xxh3Key(32)
		hi := le64(p[n-8:]) ^ xxh3Key(40) ^ xxh3Key(48)
		return xxh3Avalanche(uint64(n) + bits.ReverseBytes64(lo) + hi + foldedMul(lo, hi))
	case n >= 4:
		h := uint64(binary.LittleEndian.Uint32(p))<<32 + uint64(binary.LittleEndian.Uint32(p[n-4:]))
		h ^= xxh3Key(8) ^ xxh3Key(16)
		h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
		h *= 0x9fb21c651e98df25
		h ^= h>>35 + uint64(n)
		h *= 0x9fb21c651e98df25
		return h ^ h>>28
	case n > 0:
		h := uint64(p[0])<<16 | uint64(p[n/2])<<24 | uint64(p[n-1]) | uint64(n)<<8
		return xxh64Avalanche(h ^ xxh3Key(0)&0xffffffff ^ xxh3Key(0)>>32)
	}
	return xxh64Avalanche(xxh3Key(56) ^ xxh3Key(64))
}

const (
	xxPrime32n1 = 0x9e3779b1
	xxPrime32n2 = 0x85ebca77
	xxPrime32n3 = 0xc2b2ae3d
	xxPrime64n1 = 0x9e3779b185ebca87
	xxPrime64n2 = 0xc2b2ae3d27d4eb4f
	xxPrime64n3 = 0x165667b19e3779f9
	xxPrime64n4 = 0x85ebca77c2b2ae63
	xxPrime64n5 = 0x27d4eb2f165667c5

	xxh3Stripe  = 64
	xxh3Stripes = 16 // in a block: then the accumulators are scrambled
)

// xxh3Secret is the specification's default secret.
var xxh3Secret = mustHex("b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f" +
	"cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c" +
	"3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8" +
	"a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364" +
	"eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e" +
	"2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }

func xxh3Key(at int) uint64 { return le64(xxh3Secret[at:]) }

func foldedMul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func xxh3Avalanche(h uint64) uint64 {
	h = (h ^ h>>37) * 0x165667919e3779f9
	return h ^ h>>32
}

func xxh64Avalanche(h uint64) uint64 {
	h = (h ^ h>>33) * xxPrime64n2
	h = (h ^ h>>29) * xxPrime64n3
	return h ^ h>>32
}

// xxh3Mix mixes 16 bytes with the secret from key on.
func xxh3Mix(p []byte, key int) uint64 {
	return foldedMul(le64(p)^xxh3Key(key), le64(p[8:])^xxh3Key(key+8))
}

// xxh3Short takes 17 to 128 bytes, from both ends inwards.
func xxh3Short(p []byte) uint64 {
	h := uint64(len(p)) * xxPrime64n1
	for i := (len(p) - 1) / 32; i >= 0; i-- {
		h += xxh3Mix(p[16*i:], 32*i) + xxh3Mix(p[len(p)-16*(i+1):], 32*i+16)
	}
	return xxh3Avalanche(h)
}

// xxh3Middle takes 129 to 240 bytes.
func xxh3Middle(p []byte) uint64 {
	h := uint64(len(p)) * xxPrime64n1
	for i := range 8 {
		h += xxh3Mix(p[16*i:], 16*i)
	}
	h = xxh3Avalanche(h)
	for i := 8; i < len(p)/16; i++ {
		h += xxh3Mix(p[16*i:], 16*(i-8)+3)
	}
	return xxh3Avalanche(h + xxh3Mix(p[len(p)-16:], 136-17))
}

// xxh3Long takes more, in blocks of stripes over eight accumulators.
func xxh3Long(p []byte) uint64 {
	acc := [8]uint64{xxPrime32n3, xxPrime64n1, xxPrime64n2, xxPrime64n3, xxPrime64n4, xxPrime32n2, xxPrime64n5, xxPrime32n1}
	last := len(xxh3Secret) - xxh3Stripe
	for i := range (len(p) - 1) / xxh3Stripe {
		xxh3Accumulate(&acc, p[i*xxh3Stripe:], 8*(i%xxh3Stripes))
		if i%xxh3Stripes == xxh3Stripes-1 {
			for j := range acc {
				acc[j] = (acc[j] ^ acc[j]>>47 ^ xxh3Key(last+8*j)) * xxPrime32n1
			}
		}
	}
	xxh3Accumulate(&acc, p[len(p)-xxh3Stripe:], last-7)
	h := uint64(len(p)) * xxPrime64n1
	for i := 0; i < len(acc); i += 2 {
		h += foldedMul(acc[i]^xxh3Key(11+8*i), acc[i+1]^xxh3Key(19+8*i))
	}
	return xxh3Avalanche(h)
}

func xxh3Accumulate(acc *[8]uint64, p []byte, key int) {
	for i := range acc {
		v := le64(p[8*i:])
		k := v ^ xxh3Key(key+8*i)
		acc[i^1] += v
		acc[i] += k & 0xffffffff * (k >> 32)
	}
}
