package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A leaf whose entries come, go and change their lengths at random, so that there are always
// bytes of entries that are gone, holds what a model holds; so does the tree above many of
// them. Keys are spread in ways that keep scales changing.
func TestLeavesWithWasteEqualModel(t *testing.T) {
	spreads := map[string]func(r *rand.Rand) []byte{
		"hashes":     func(r *rand.Rand) []byte { return binary.BigEndian.AppendUint64(nil, r.Uint64()%997*(1<<53)) },
		"few scores": func(r *rand.Rand) []byte { return fmt.Appendf(make([]byte, 7), "%d:%d", r.IntN(3), r.IntN(300)) },
		"magnitudes": func(r *rand.Rand) []byte { return binary.BigEndian.AppendUint64(nil, 1<<r.IntN(64)+r.Uint64N(8)) },
	}
	for name, key := range spreads {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(name))))
			tr, m := newTree(newHeap(1)), modelTree{}
			for step := range 20_000 {
				k := key(r)
				i, found := m.find(k)
				if r.IntN(5) < 2 {
					require.Equal(t, found, tr.del(k))
					if found {
						m = slices.Delete(m, i, i+1)
					}
				} else {
					v := bytes.Repeat([]byte{byte(step)}, r.IntN(60))
					require.Equal(t, !found, tr.put(k, v))
					if found {
						m[i].v = v
					} else {
						m = slices.Insert(m, i, modelEntry{k, v})
					}
				}
				if ask := key(r); r.IntN(4) == 0 {
					i, found := m.find(ask)
					rank, ok := tr.rank(ask)
					require.Equal(t, i, rank)
					require.Equal(t, found, ok)
				}
				if step%1000 == 0 {
					tr.check(t)
					requireTree(t, m, tr)
				}
			}
			tr.check(t)
			requireTree(t, m, tr)
		})
	}
}

// Removing and adding in turn neither splits leaves nor lets them grow for good.
func TestWasteIsPacked(t *testing.T) {
	tr := newTree(newHeap(1))
	key := func(i int) []byte { return fmt.Appendf(nil, "%016d", i) }
	for i := range 100 {
		tr.put(key(i), nil)
	}
	require.True(t, tr.root.isLeaf())
	for i := range 10_000 {
		require.True(t, tr.del(key(i)))
		require.True(t, tr.put(key(i+100), nil))
	}
	tr.check(t)
	require.True(t, tr.root.isLeaf(), "100 entries of 18 bytes")
	require.LessOrEqual(t, cap(tr.root.data), leafMax)
}

// A short value in the place of one that had a leaf to itself does not inherit its room: with
// other entries, and holes, that leaf would come to more than a leaf may hold.
func TestShortForLongKeepsLeavesBounded(t *testing.T) {
	for _, long := range []int{leafMax + 1, 7000, 2*leafMax - 20, 3 * leafMax} {
		r := rand.New(rand.NewPCG(1, uint64(long)))
		tr := newTree(newHeap(1))
		tr.put([]byte("key:30"), make([]byte, long))
		tr.put([]byte("key:30"), make([]byte, 10))
		tr.check(t)
		for range 1000 {
			if k := fmt.Appendf(nil, "key:%d", r.IntN(60)); r.IntN(2) == 0 {
				tr.del(k)
			} else {
				tr.put(k, make([]byte, 40))
			}
			tr.check(t)
		}
	}
}

func TestScalesNeverFall(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		ps := []uint64{0, math.MaxUint64, r.Uint64() >> r.IntN(64), r.Uint64() >> r.IntN(64), r.Uint64(), r.Uint64()}
		slices.Sort(ps)
		first := r.IntN(len(ps))
		last := first + r.IntN(len(ps)-first)
		s := scaleOf(ps[first], ps[last])
		for i, p := range ps {
			if i > 0 {
				require.LessOrEqual(t, s.of(ps[i-1]), s.of(p))
			}
			if first <= i && i <= last {
				require.True(t, s.holds(p))
			}
		}
	}
}
