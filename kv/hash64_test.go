package kv

import (
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
)

// What is computed here is what the library computes, of every length.
func TestHash64IsXXH64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for size := range 100 {
		for range 20 {
			h, b := newHeap(r.Uint64()), make([]byte, size)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			d := xxhash.NewWithSeed(h.seed)
			_, _ = d.Write(b)
			require.Equal(t, d.Sum64(), hash64(h, b), "%x", b)
		}
	}
}

func BenchmarkHash64(b *testing.B) {
	h, key := newHeap(1), []byte("key:000000123456")
	for range b.N {
		h.read ^= byte(hash64(h, key))
	}
}
