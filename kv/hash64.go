package kv

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// hash64 is xxhash64 of b under the store's secret seed: the order of SCAN and of
// the keys inside trees of hashes, sets and sorted sets. It is the same on all
// nodes of a cluster. It does not allocate.
//
// XXH64 is fast but no keyed function in the cryptographic sense: who learns the
// seed can compute keys with equal hashes (the tests do), and there may be keys
// that collide under every seed. Such a flood costs time, not safety: the table
// chains the segments concerned instead of growing its directory, and trees order
// equal hashes by member. The way out, should it ever matter, is another function
// here at the next format of cursors and cluster seeds; nothing else knows which.
func hash64(h *heap, b []byte) uint64 {
	if len(b) >= 32 {
		var d xxhash.Digest
		d.ResetWithSeed(h.seed)
		d.Write(b)
		return d.Sum64()
	}
	return hashShort(h.seed, b)
}

// The primes of XXH64.
const (
	prime1 uint64 = 11400714785074694791
	prime2 uint64 = 14029467366897019727
	prime3 uint64 = 1609587929392839161
	prime4 uint64 = 9650029242287828579
	prime5 uint64 = 2870177450012600261
)

// hashShort is XXH64 of less than 32 bytes, which is most keys: a Digest is there to be
// written to piece by piece, and takes three times as long.
func hashShort(seed uint64, b []byte) uint64 {
	h := seed + prime5 + uint64(len(b))
	for ; len(b) >= 8; b = b[8:] {
		h ^= bits.RotateLeft64(binary.LittleEndian.Uint64(b)*prime2, 31) * prime1
		h = bits.RotateLeft64(h, 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h ^= uint64(binary.LittleEndian.Uint32(b)) * prime1
		h = bits.RotateLeft64(h, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, c := range b {
		h ^= uint64(c) * prime5
		h = bits.RotateLeft64(h, 11) * prime1
	}
	h ^= h >> 33
	h *= prime2
	h ^= h >> 29
	h *= prime3
	return h ^ h>>32
}
