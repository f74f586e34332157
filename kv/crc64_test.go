package kv

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lanes side by side sum to what one lane does, whatever the length and the start.
func TestCRC64OfLongStrings(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 5*crcBlock)
	for i := range p {
		p[i] = byte(dice.Uint32())
	}
	for range 200 {
		part := p[dice.IntN(100):]
		part = part[:dice.IntN(len(part))]
		start := dice.Uint64()
		require.Equal(t, ^crc64.Update(^start, jones, part), crc64Update(start, part), len(part))
	}
}

func BenchmarkCRC64(b *testing.B) {
	p := make([]byte, 96<<10)
	b.Run("lanes", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for range b.N {
			crc64Update(1, p)
		}
	})
	b.Run("piece", func(b *testing.B) { // as RDBWriter emits them
		b.SetBytes(rdbBlock + 50)
		for range b.N {
			crc64Update(1, p[:rdbBlock+50])
		}
	})
	b.Run("short", func(b *testing.B) {
		b.SetBytes(1500)
		for range b.N {
			crc64Update(1, p[:1500])
		}
	})
	b.Run("one", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for range b.N {
			crc64.Update(1, jones, p)
		}
	})
}
