package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelTree is the plain truth a tree is compared with.
type modelTree []modelEntry

type modelEntry struct{ k, v []byte }

func (m modelTree) find(key []byte) (int, bool) {
	i := sort.Search(len(m), func(i int) bool { return bytes.Compare(m[i].k, key) >= 0 })
	return i, i < len(m) && bytes.Equal(m[i].k, key)
}

// check verifies the tree's invariants: counts, sizes, bounds of leaves and fans,
// order, separators.
func (t *tree) check(tb testing.TB) {
	tb.Helper()
	depth := -1
	var walk func(n *treeNode, level int, lo, hi []byte)
	walk = func(n *treeNode, level int, lo, hi []byte) {
		if n.isLeaf() {
			if depth < 0 {
				depth = level
			}
			require.Equal(tb, depth, level, "leaves at one level")
			require.Equal(tb, n.n, len(n.slots))
			n.checkLeaf(tb)
			require.True(tb, n.n == 1 || n.size <= leafMax, "leaf of %d entries has %d bytes", n.n, n.size)
			require.True(tb, n.n > 0 || n == t.root, "empty leaf")
			for i := range n.n {
				k, _ := n.entry(i)
				if lo != nil {
					require.GreaterOrEqual(tb, bytes.Compare(k, lo), 0)
				}
				if hi != nil {
					require.Less(tb, bytes.Compare(k, hi), 0)
				}
				if i > 0 && len(k) > 0 {
					prev, _ := n.entry(i - 1)
					require.Less(tb, bytes.Compare(prev, k), 0)
				}
			}
			return
		}
		require.LessOrEqual(tb, len(n.kids), fanMax)
		require.True(tb, len(n.kids) >= fanMin || n == t.root && len(n.kids) >= 2)
		require.Len(tb, n.counts, len(n.kids))
		require.Len(tb, n.seps, len(n.kids))
		require.Len(tb, n.prefixes, len(n.kids))
		entries, size := 0, int64(0)
		for i, k := range n.kids {
			require.Equal(tb, k.n, n.counts[i])
			entries, size = entries+k.n, size+k.size
			l, h := lo, hi
			if require.Equal(tb, prefixOf([]byte(n.seps[i])), n.prefixes[i]); i > 0 && len(n.seps[i]) > 0 {
				l = []byte(n.seps[i])
			}
			if i+1 < len(n.kids) && len(n.seps[i+1]) > 0 {
				h = []byte(n.seps[i+1])
			}
			walk(k, level+1, l, h)
		}
		require.Equal(tb, entries, n.n)
		require.Equal(tb, size, n.size)
	}
	walk(t.root, 0, nil, nil)
}

// checkLeaf verifies what a leaf's slots and its scale say of its entries.
func (n *treeNode) checkLeaf(tb testing.TB) {
	tb.Helper()
	size, places := int64(0), make([]int, 0, n.n)
	for i, s := range n.slots {
		size += int64(len(n.raw(i)))
		places = append(places, s.offset())
		require.Equal(tb, atLeast(n.scale.of(n.prefixAt(i))), s&^0xffff, "rough key of entry %d", i)
		require.True(tb, n.scale.holds(n.prefixAt(i)))
	}
	require.Equal(tb, size, n.size)
	require.GreaterOrEqual(tb, n.waste(), 0)
	require.True(tb, n.n == 0 || n.size > leafMax || cap(n.data) <= leafMax, "room of %d bytes for %d", cap(n.data), n.size)
	slices.Sort(places)
	for i := range places[:max(len(places)-1, 0)] {
		key, val := n.entryAt(places[i])
		require.LessOrEqual(tb, places[i]+entrySize(key, val), places[i+1], "entries do not overlap")
	}
}

// requireTree compares contents both ways, by rank and by key.
func requireTree(tb testing.TB, m modelTree, t *tree) {
	tb.Helper()
	require.Equal(tb, len(m), t.len())
	i := 0
	for it := t.first(); it.valid(); it.next() {
		require.True(tb, bytes.Equal(m[i].k, it.key()) && bytes.Equal(m[i].v, it.val()), "entry %d", i)
		i++
	}
	require.Equal(tb, len(m), i)
	for it := t.last(); it.valid(); it.prev() {
		i--
		require.True(tb, bytes.Equal(m[i].k, it.key()), "entry %d backwards", i)
	}
	require.Zero(tb, i)
}

func randomEntry(r *rand.Rand, keys int) (k, v []byte) {
	k = fmt.Appendf(nil, "key:%d", r.IntN(keys))
	if r.IntN(50) == 0 {
		k = append(k, bytes.Repeat([]byte{'k'}, r.IntN(3000))...)
	}
	switch n := r.IntN(200); {
	case n == 0:
		v = make([]byte, r.IntN(20_000))
	case n < 10:
		v = make([]byte, r.IntN(3000))
	default:
		v = make([]byte, r.IntN(40))
	}
	binary.LittleEndian.AppendUint32(v[:0:len(v)], 0)
	if len(v) > 0 {
		v[0] = byte(r.Uint32())
	}
	return k, v
}

func TestTreeByKeyEqualsModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := newHeap(1)
		tr, m := newTree(h), modelTree{}
		keys := []int{20, 500, 5000}[seed%3]
		for step := range 12_000 {
			grow := (step/3000)%2 == 0
			switch op := r.IntN(10); {
			case op < 4 || grow && op < 7:
				k, v := randomEntry(r, keys)
				i, found := m.find(k)
				require.Equal(t, !found, tr.put(k, v))
				if found {
					m[i].v = v
				} else {
					m = slices.Insert(m, i, modelEntry{k, v})
				}
			case op < 9:
				k, _ := randomEntry(r, keys)
				if len(m) > 0 && r.IntN(2) == 0 {
					k = m[r.IntN(len(m))].k
				}
				i, found := m.find(k)
				rank, ok := tr.rank(k)
				require.Equal(t, i, rank)
				require.Equal(t, found, ok)
				v, ok := tr.get(k)
				require.Equal(t, found, ok)
				if found {
					require.True(t, bytes.Equal(m[i].v, v))
					m = slices.Delete(m, i, i+1)
				}
				require.Equal(t, found, tr.del(k))
			case r.IntN(40) == 0:
				lo := r.IntN(len(m) + 1)
				hi := lo + r.IntN(len(m)-lo+1)
				tr.delRange(lo, hi)
				m = slices.Delete(m, lo, hi)
			default:
				k, _ := randomEntry(r, keys)
				i, _ := m.find(k)
				it := tr.seek(k)
				require.Equal(t, i < len(m), it.valid())
				if it.valid() {
					require.True(t, bytes.Equal(m[i].k, it.key()))
					it.prev()
					require.Equal(t, i > 0, it.valid())
				}
				if len(m) > 0 {
					i := r.IntN(len(m))
					k, v := tr.at(i)
					require.True(t, bytes.Equal(m[i].k, k) && bytes.Equal(m[i].v, v))
					it := tr.seekRank(i)
					require.True(t, bytes.Equal(m[i].k, it.key()))
				}
			}
			if step%500 == 0 {
				tr.check(t)
			}
		}
		tr.check(t)
		requireTree(t, m, tr)
	}
}

func TestTreeByPositionEqualsModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 2))
		tr, m := newTree(newHeap(1)), modelTree{}
		for step := range 12_000 {
			_, v := randomEntry(r, 1)
			grow := (step/3000)%2 == 0
			switch op := r.IntN(12); {
			case op < 5 || grow && op < 7:
				i := r.IntN(len(m) + 1)
				if op < 2 {
					i = 0
				} else if op < 4 {
					i = len(m)
				}
				tr.insertAt(i, v)
				m = slices.Insert(m, i, modelEntry{nil, v})
			case len(m) == 0:
			case op < 8:
				i := r.IntN(len(m))
				tr.setAt(i, v)
				m[i].v = v
			case op < 11 || r.IntN(50) > 0:
				i := r.IntN(len(m))
				tr.delAt(i)
				m = slices.Delete(m, i, i+1)
			default:
				lo := r.IntN(len(m) + 1)
				hi := lo + r.IntN(len(m)-lo+1)
				tr.delRange(lo, hi)
				m = slices.Delete(m, lo, hi)
			}
			if step%500 == 0 {
				tr.check(t)
			}
		}
		tr.check(t)
		requireTree(t, m, tr)
	}
}

func TestTreeBuildEqualsPuts(t *testing.T) {
	for _, n := range []int{0, 1, 2, 150, 10_000, 60_000} {
		i := 0
		m := make(modelTree, 0, n)
		tr := treeFrom(newHeap(1), func() (k, v []byte, ok bool) {
			if i == n {
				return nil, nil, false
			}
			i++
			k, v = fmt.Appendf(nil, "%010d", i), fmt.Appendf(nil, "v%d", i)
			m = append(m, modelEntry{k, v})
			return k, v, true
		})
		tr.check(t)
		requireTree(t, m, tr)
		if n > 1000 {
			require.Less(t, tr.bytes(), int64(n*(12+7+2+2)*2), "leaves are full")
			for i := 0; i < n; i += 3 {
				require.True(t, tr.del(m[i].k))
			}
			tr.check(t)
		}
	}
}

func TestTreeBuildPutsDisorderRight(t *testing.T) {
	in := []string{"a", "c", "b", "c", "z", "d"}
	tr := treeFrom(nil, func() (k, v []byte, ok bool) {
		if len(in) == 0 {
			return nil, nil, false
		}
		k = []byte(in[0])
		in = in[1:]
		return k, nil, true
	})
	tr.check(t)
	require.Equal(t, 5, tr.len())
	_, ok := tr.get([]byte("d"))
	require.True(t, ok)
}

// Trees that were copied from one another, before and after changes, go their own
// ways, also while a cut is open.
func TestSharedTreesGoTheirOwnWays(t *testing.T) {
	type pair struct {
		tr *tree
		m  modelTree
	}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 3))
		h := newHeap(1)
		all := []pair{{tr: newTree(h)}}
		var c *cut
		var seen []pair // what the cut sees: it stays as it was
		for step := range 10_000 {
			p := &all[r.IntN(len(all))]
			switch op := r.IntN(2000); {
			case op == 0 && len(all) < 6:
				all = append(all, pair{p.tr.share(), slices.Clone(p.m)})
			case op == 1:
				*p = pair{all[0].tr.share(), slices.Clone(all[0].m)}
			case op == 2 && c == nil:
				c = h.openCut(nil)
				for _, p := range all {
					seen = append(seen, pair{&tree{h: h, root: p.tr.root}, slices.Clone(p.m)})
				}
			case op < 6 && c != nil:
				for _, p := range seen {
					requireTree(t, p.m, p.tr)
				}
				c.close()
				c, seen = nil, nil
			case op < 20:
				lo := r.IntN(len(p.m) + 1)
				hi := lo + r.IntN(len(p.m)-lo+1)/4
				p.tr.delRange(lo, hi)
				p.m = slices.Delete(p.m, lo, hi)
			case op < 30:
				odd := func(k []byte) bool { return k[len(k)-1]%7 == 1 }
				p.tr.keep(func(k, _ []byte) bool { return !odd(k) })
				p.m = slices.DeleteFunc(p.m, func(e modelEntry) bool { return odd(e.k) })
			case op < 1500:
				k, v := randomEntry(r, 5000)
				i, found := p.m.find(k)
				p.tr.put(k, v)
				if found {
					p.m[i] = modelEntry{k, v}
				} else {
					p.m = slices.Insert(p.m, i, modelEntry{k, v})
				}
			case len(p.m) > 0:
				i := r.IntN(len(p.m))
				require.True(t, p.tr.del(p.m[i].k))
				p.m = slices.Delete(p.m, i, i+1)
			}
			if step%1000 == 0 {
				for _, p := range all {
					p.tr.check(t)
					requireTree(t, p.m, p.tr)
				}
			}
		}
		for _, p := range all {
			p.tr.check(t)
			requireTree(t, p.m, p.tr)
		}
	}
}

// Sequential inserts must leave full leaves; random deletes must give memory back.
func TestTreeStaysDense(t *testing.T) {
	tr := newTree(newHeap(1))
	for range 50_000 {
		tr.insertAt(tr.len(), []byte("0123456789"))
	}
	leaves := 0
	for it := tr.first(); it.valid(); {
		leaves++
		n := it.p.leaf().n
		for range n {
			it.next()
		}
	}
	require.Less(t, leaves, 50_000*12/leafMax+10)
	r := rand.New(rand.NewPCG(1, 1))
	for tr.len() > 500 {
		tr.delAt(r.IntN(tr.len()))
	}
	tr.check(t)
	nodes := 0
	var walk func(n *treeNode)
	walk = func(n *treeNode) {
		nodes++
		if n.isLeaf() {
			return
		}
		for _, k := range n.kids {
			walk(k)
		}
	}
	walk(tr.root)
	require.Less(t, nodes, 20)
}

func TestTreeReadsDoNotAllocate(t *testing.T) {
	tr := newTree(newHeap(1))
	for i := range 10_000 {
		tr.put(fmt.Appendf(nil, "key%06d", i), []byte("value"))
	}
	key, val := []byte("key005000"), []byte("VALUE")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		tr.get(key)
		tr.rank(key)
		tr.put(key, val)
		it := tr.seek(key)
		for range 300 {
			it.next()
		}
		sink = it.val()
	}))
}

var sink []byte

func BenchmarkTreePut(b *testing.B) {
	tr := newTree(newHeap(1))
	var k [8]byte
	for i := range b.N {
		binary.BigEndian.PutUint64(k[:], uint64(i)*0x9E3779B97F4A7C15)
		tr.put(k[:], k[:])
	}
}

func BenchmarkTreePushPop(b *testing.B) {
	tr := newTree(newHeap(1))
	for i := range b.N {
		tr.insertAt(0, []byte("xxx"))
		if i > 10_000 {
			tr.delAt(tr.len() - 1)
		}
	}
}
