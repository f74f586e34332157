package kv

import "github.com/cespare/xxhash/v2"

// hash64 is xxhash64 of b under the store's secret seed: the order of SCAN and of
// the keys inside trees of hashes, sets and sorted sets. It is the same on all
// nodes of a cluster. It does not allocate.
func hash64(h *heap, b []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(h.seed)
	d.Write(b)
	return d.Sum64()
}
