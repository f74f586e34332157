package kv

import "bytes"

// fanBuilt is the width of inner nodes of a built tree: not full, so that the
// first inserts split nothing.
const fanBuilt = 48

// treeFrom builds a tree from entries in ascending key order (or with empty keys,
// in positional order), in O(n) and with full leaves. next's slices are copied. An
// entry out of order, which only a faulty file could bring, is put where it
// belongs, so the result is a correct tree in any case.
func treeFrom(h *heap, next func() (key, val []byte, ok bool)) *tree {
	t := newTree(h)
	var leaves []*treeNode
	leaf := t.root
	var prev []byte
	key, val, ok := next()
	for ; ok; key, val, ok = next() {
		if leaf.n > 0 && len(prev)+len(key) > 0 && bytes.Compare(prev, key) >= 0 {
			break
		}
		if leaf.n > 0 && leaf.size+int64(entrySize(key, val)) > leafMax {
			leaf.endBuilding()
			leaves = append(leaves, leaf)
			leaf = t.leafLike(leaf)
		}
		leaf.build(key, val)
		prev = leaf.data[len(leaf.data)-len(val)-len(key) : len(leaf.data)-len(val)]
	}
	leaf.endBuilding()
	t.root = t.buildInner(append(leaves, leaf))
	for ; ok; key, val, ok = next() {
		t.put(key, val)
	}
	return t
}

// leafLike is an empty leaf with room for as much as one that is full: the first leaf
// of a tree grows, the others need not. Of large entries a leaf may hold much less
// than leafMax: they grow theirs.
func (t *tree) leafLike(full *treeNode) *treeNode {
	n := t.newNode()
	if full.n >= 8 {
		n.data = make([]byte, 0, leafMax)
		n.slots = make([]leafSlot, 0, full.n+full.n/8+1)
	}
	return n
}

// rebuild makes the entries of next, as treeFrom takes them, the tree's only ones.
// They may lie in the tree: its nodes do not change, they are left behind. This is
// how a large part of a tree is changed: each entry costs a tenth of a search.
func (t *tree) rebuild(next func() (key, val []byte, ok bool)) {
	root := treeFrom(t.h, next).root
	t.count(root.size - t.root.size)
	t.root = root
}

// bulkShare says when rebuilding pays: if at least one in so many entries changes.
const bulkShare = 16

// keep removes the entries that fn is false for, in one pass over all.
func (t *tree) keep(fn func(key, val []byte) bool) {
	it := t.first()
	t.rebuild(func() (key, val []byte, ok bool) {
		for it.valid() {
			key, val = it.entry()
			it.next()
			if fn(key, val) {
				return key, val, true
			}
		}
		return nil, nil, false
	})
}

// buildInner builds the levels above leaves, sharing children out evenly.
func (t *tree) buildInner(level []*treeNode) *treeNode {
	for len(level) > 1 {
		var up []*treeNode
		nodes := (len(level) + fanBuilt - 1) / fanBuilt
		for i := range nodes {
			kids := level[i*len(level)/nodes : (i+1)*len(level)/nodes]
			seps := make([]treeSep, len(kids))
			for j := 1; j < len(kids); j++ {
				seps[j] = separator(kids[j-1].lastKey(), kids[j].firstKey())
			}
			up = append(up, t.newInner(append([]*treeNode(nil), kids...), seps))
		}
		level = up
	}
	return level[0]
}

func (n *treeNode) firstKey() []byte {
	for !n.isLeaf() {
		n = n.kids[0]
	}
	k, _ := n.entry(0)
	return k
}

func (n *treeNode) lastKey() []byte {
	for !n.isLeaf() {
		n = n.kids[len(n.kids)-1]
	}
	k, _ := n.entry(n.n - 1)
	return k
}
