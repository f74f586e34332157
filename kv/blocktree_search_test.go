package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Guessing by the spread of keys finds what halving finds, however they are spread.
func TestSearchGuessesRightForAnySpread(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	spreads := map[string]func(i int) []byte{
		"hashes":            func(int) []byte { return append(number(r.Uint64()), "member"...) },
		"one prefix":        func(i int) []byte { return fmt.Appendf(nil, "the same for long:%d", i) },
		"times":             func(i int) []byte { return append(number(1_700_000_000_000+uint64(i/7)), byte(i)) },
		"powers":            func(i int) []byte { return append(number(1<<(i%64)), byte(i/64)) },
		"short":             func(i int) []byte { return number(uint64(i) << 40)[:r.IntN(4)] },
		"zeros at the end":  func(i int) []byte { return make([]byte, i%40) },
		"the highest":       func(i int) []byte { return append(bytes.Repeat([]byte{0xff}, 8+i%3), byte(i)) },
		"one far from many": func(i int) []byte { return number([]uint64{uint64(i), 1 << 63}[min(i/299, 1)]) },
	}
	for name, spread := range spreads {
		t.Run(name, func(t *testing.T) {
			tree := newTree(nil)
			var keys [][]byte
			for i := range 300 {
				k := spread(i)
				if tree.put(k, number(uint64(i))) {
					keys = append(keys, k)
				}
			}
			slices.SortFunc(keys, bytes.Compare)
			tree.check(t)
			ask := slices.Clone(keys)
			for _, k := range keys {
				ask = append(ask, append(bytes.Clone(k), 0), k[:len(k)/2], append(bytes.Clone(k[:len(k)/2]), 0xff))
			}
			for _, k := range ask {
				want, found := slices.BinarySearchFunc(keys, k, bytes.Compare)
				rank, ok := tree.rank(k)
				require.Equal(t, want, rank, "%x", k)
				require.Equal(t, found, ok, "%x", k)
			}
		})
	}
}

func TestPrefixesAreInTheOrderOfKeys(t *testing.T) {
	keys := [][]byte{nil, {0}, {0, 0}, {0, 1}, {1}, {1, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0, 1}, {1, 0, 0, 0, 0, 0, 0, 1}, {1, 1}, bytes.Repeat([]byte{0xff}, 9)}
	for i := range keys[1:] {
		require.LessOrEqual(t, prefixOf(keys[i]), prefixOf(keys[i+1]))
	}
}
