package kv

import "github.com/cespare/xxhash/v2"

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
	var d xxhash.Digest
	d.ResetWithSeed(h.seed)
	d.Write(b)
	return d.Sum64()
}
