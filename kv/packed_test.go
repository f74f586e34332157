package kv

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func unpack(p []byte) (elems [][]byte) {
	it := iterPacked(p)
	for e, ok := it.next(); ok; e, ok = it.next() {
		elems = append(elems, e)
	}
	return elems
}

func requirePacked(tb testing.TB, m [][]byte, p []byte) {
	tb.Helper()
	require.True(tb, validPacked(p))
	require.Equal(tb, len(m), packedLen(p))
	got := unpack(p)
	require.Len(tb, got, len(m))
	for i := range m {
		require.True(tb, bytes.Equal(m[i], got[i]))
	}
}

func TestPackedEqualsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 200 {
		var m [][]byte
		var p []byte
		elem := func() []byte {
			n := r.IntN(12)
			if r.IntN(20) == 0 {
				n = r.IntN(300)
			}
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.IntN(3))
			}
			return b
		}
		for range 100 {
			i := r.IntN(len(m) + 1)
			switch r.IntN(5) {
			case 0:
				e := elem()
				p, m = packedAppend([]byte("head"), p, e)[4:], append(m, e)
			case 1:
				a, b := elem(), elem()
				p, m = packedInsertAt(nil, p, i, a, b), slices.Insert(m, i, a, b)
			case 2:
				if i < len(m) {
					e := elem()
					p = packedReplaceAt(nil, p, i, e)
					m[i] = e
				}
			case 3:
				n := min(r.IntN(3), len(m)-i)
				p, m = packedDeleteAt(nil, p, i, n), slices.Delete(m, i, i+n)
			default:
				stride := 1 + r.IntN(2)
				offset := r.IntN(stride)
				e := elem()
				want := -1
				for i := offset; i < len(m) && want < 0; i += stride {
					if bytes.Equal(m[i], e) {
						want = i
					}
				}
				got, ok := packedFind(p, e, stride, offset)
				require.Equal(t, want >= 0, ok)
				if ok {
					require.Equal(t, want, got)
				}
				e, ok = packedAt(p, i)
				require.Equal(t, i < len(m), ok)
				require.True(t, !ok || bytes.Equal(m[i], e))
			}
			requirePacked(t, m, p)
		}
	}
}

// Whatever the bytes, the functions neither panic nor read past them, and their
// results on valid input are valid.
func FuzzPacked(f *testing.F) {
	f.Add([]byte{}, 0, 1, []byte("x"))
	f.Add(packedOf(nil, []byte("a"), []byte("bb")), 1, 1, []byte("a"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 5, 2, []byte{})
	f.Add([]byte{2, 0x80, 0, 0}, 0, 0, []byte("z"))
	f.Add([]byte{1, 5, 'a'}, -1, 3, []byte("a"))
	f.Fuzz(func(t *testing.T, p []byte, i, n int, e []byte) {
		p = slices.Clip(slices.Clone(p))
		valid := validPacked(p)
		count := packedLen(p)
		elems := unpack(p)
		packedAt(p, i)
		packedFind(p, e, 1+max(n, 0)%3, max(i, 0)%4)
		results := [][]byte{
			packedAppend(nil, p, e), packedInsertAt(nil, p, i, e), packedReplaceAt(nil, p, i, e),
			packedDeleteAt(nil, p, i, n),
		}
		if !valid {
			return
		}
		if len(elems) != count {
			t.Fatalf("%d elements, count %d", len(elems), count)
		}
		if len(p) > 0 && !bytes.Equal(p, packedOf(nil, elems...)) {
			t.Fatal("a valid collection has one form")
		}
		for _, q := range results {
			if !validPacked(q) {
				t.Fatal("an edit made a valid collection invalid")
			}
		}
	})
}
