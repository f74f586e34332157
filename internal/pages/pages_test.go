package pages_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/pages"
)

func TestPopulateKeepsWhatIsThere(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 16 << 10, 100_003} {
		for _, skip := range []int{0, 1, 4096} {
			if skip > n {
				continue
			}
			mem := bytes.Repeat([]byte{1, 2, 3}, n)[:n]
			want := bytes.Clone(mem)
			pages.Populate(mem[skip:])
			require.Equal(t, want, mem)
		}
	}
	words := []uint64{1, 9999: 2}
	pages.Populate(words)
	require.Equal(t, []uint64{1, 9999: 2}, words)
	pages.Populate([]uint64(nil))
}

func TestCloneIsACopy(t *testing.T) {
	for _, n := range []int{0, 10, 100_000} {
		b := bytes.Repeat([]byte{7}, n)
		c := pages.Clone(b)
		require.Equal(t, b, c)
		if n > 0 {
			c[0] = 8
			require.EqualValues(t, 7, b[0])
		}
	}
}

func TestSlabsMemoryIsNobodyElses(t *testing.T) {
	var s pages.Slab
	var all [][]byte
	for i, n := range []int{1, 0, 100, 60_000, 64 << 10, 64<<10 + 1, 1 << 20, 60_000, 60_000, 60_000, 60_000, 3} {
		b := s.Make(n)
		require.Len(t, b, n)
		require.Equal(t, n, cap(b), "an append must not reach a neighbour")
		require.Equal(t, make([]byte, n), b)
		for k := range b {
			b[k] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, len(b)), b)
	}
}
