package kv

import (
	"bytes"
	"sort"
)

// tree is an ordered sequence of entries.
type tree struct{ e []treeEntry }

type treeEntry struct{ k, v []byte }

func newTree(h *heap) *tree { return &tree{} }

// treeFrom builds a tree from entries in order.
func treeFrom(h *heap, next func() (key, val []byte, ok bool)) *tree {
	t := newTree(h)
	for k, v, ok := next(); ok; k, v, ok = next() {
		t.e = append(t.e, treeEntry{bytes.Clone(k), bytes.Clone(v)})
	}
	return t
}
func (t *tree) len() int     { return len(t.e) }
func (t *tree) bytes() int64 { return int64(len(t.e)) * 64 }
func (t *tree) rank(key []byte) (int, bool) {
	i := sort.Search(len(t.e), func(i int) bool { return bytes.Compare(t.e[i].k, key) >= 0 })
	return i, i < len(t.e) && bytes.Equal(t.e[i].k, key)
}
func (t *tree) get(key []byte) ([]byte, bool) {
	i, ok := t.rank(key)
	if !ok {
		return nil, false
	}
	return t.e[i].v, true
}
func (t *tree) put(key, val []byte) (added bool) {
	i, ok := t.rank(key)
	if ok {
		t.e[i].v = bytes.Clone(val)
		return false
	}
	t.e = append(t.e, treeEntry{})
	copy(t.e[i+1:], t.e[i:])
	t.e[i] = treeEntry{bytes.Clone(key), bytes.Clone(val)}
	return true
}
func (t *tree) del(key []byte) bool {
	i, ok := t.rank(key)
	if ok {
		t.delAt(i)
	}
	return ok
}
func (t *tree) at(rank int) (key, val []byte) { return t.e[rank].k, t.e[rank].v }
func (t *tree) insertAt(rank int, val []byte) {
	t.e = append(t.e, treeEntry{})
	copy(t.e[rank+1:], t.e[rank:])
	t.e[rank] = treeEntry{nil, bytes.Clone(val)}
}
func (t *tree) setAt(rank int, val []byte) { t.e[rank].v = bytes.Clone(val) }
func (t *tree) delAt(rank int)             { t.delRange(rank, rank+1) }

// delRange removes the ranks lo <= r < hi.
func (t *tree) delRange(lo, hi int) { t.e = append(t.e[:lo], t.e[hi:]...) }

// first, last, seek (first >= key; invalid if none), seekRank
func (t *tree) first() treeIter            { return treeIter{t, 0} }
func (t *tree) last() treeIter             { return treeIter{t, len(t.e) - 1} }
func (t *tree) seek(key []byte) treeIter   { i, _ := t.rank(key); return treeIter{t, i} }
func (t *tree) seekRank(rank int) treeIter { return treeIter{t, rank} }

// treeIter is a place in a tree; any change to the tree invalidates it. Moving
// off either end makes it invalid, for good.
type treeIter struct {
	t *tree
	i int
}

func (it *treeIter) valid() bool { return it.i >= 0 && it.i < len(it.t.e) }
func (it *treeIter) next()       { it.i++ }
func (it *treeIter) prev()       { it.i-- }
func (it *treeIter) key() []byte { return it.t.e[it.i].k }
func (it *treeIter) val() []byte { return it.t.e[it.i].v }
