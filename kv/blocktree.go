package kv

// tree is the block tree under every large collection and the expiry index: an
// ordered sequence of (key, value) entries in leaves of at most 4 KiB, below inner
// nodes that count the entries of each child. It is ordered by bytes.Compare of
// the keys, or, when all keys are empty, by position only (lists). One tree is
// used in one of the two ways.
//
// Lookups by key and by rank, inserts and deletes are O(log n); a change moves at
// most one leaf and a few inner nodes, so no step is long however large the tree.
//
// Slices it returns alias a leaf: read-only, valid until the next change to the
// tree. Arguments are copied and must not lie in this tree. A single writer at a time; readers may share it
// while nobody writes. While a cut is open, nodes the cut may see are copied
// before they are changed (node.epoch < heap.shared), so a reader that holds an
// older root needs no lock. So are nodes that a copy of the tree has in common with it
// (node.epoch < tree.commonBefore).
type tree struct {
	h    *heap // nil: the tree is in no cut (expiry index, scratch)
	root *treeNode
	// commonBefore: nodes made in an earlier epoch may be another tree's as well (share), and
	// are copied before they are changed. 0: there are none.
	commonBefore uint64
	// counted: a key holds the tree, so its bytes are part of heapStats.
	counted bool
}

// newTree returns an empty tree. h may be nil for a tree no cut will see.
func newTree(h *heap) *tree {
	t := &tree{h: h}
	t.root = t.newNode()
	return t
}

// len is the number of entries.
func (t *tree) len() int { return t.root.n }

// bytes estimates the memory the tree takes, slack in leaves included.
// Forms of hashes and sets depend on it, so all versions of an apply level must come to the same:
// it still counts two bytes of a slot's four (ADR 29).
func (t *tree) bytes() int64 {
	return treeNodeBytes + t.root.size + t.root.size/2 + 2*int64(t.root.n)
}

// sizeBetween is the bytes of the entries of ranks lo <= r < hi.
func (t *tree) sizeBetween(lo, hi int) int64 {
	return t.root.sizeBetween(max(lo, 0), min(hi, t.root.n))
}

// get is the value under key.
func (t *tree) get(key []byte) (val []byte, ok bool) {
	n, k := t.root, lookFor(key)
	for !n.isLeaf() {
		n = n.kids[n.kidFor(&k)]
	}
	i, ok := n.search(&k)
	if !ok {
		return nil, false
	}
	_, val = n.entry(i)
	return val, true
}

// put sets the value of key and reports whether the key is new.
func (t *tree) put(key, val []byte) (added bool) {
	var p treePath
	if t.findKey(&p, key) {
		t.replace(&p, key, val)
		return false
	}
	t.insert(&p, key, val)
	return true
}

// del removes key and reports whether it was there.
func (t *tree) del(key []byte) bool {
	var p treePath
	if !t.findKey(&p, key) {
		return false
	}
	t.remove(&p, 1)
	return true
}

// rank is the number of entries with smaller keys, and whether key is there.
func (t *tree) rank(key []byte) (rank int, ok bool) {
	n, k := t.root, lookFor(key)
	for !n.isLeaf() {
		i := n.kidFor(&k)
		for _, c := range n.counts[:i] {
			rank += c
		}
		n = n.kids[i]
	}
	i, ok := n.search(&k)
	return rank + i, ok
}

// at is the entry at a rank in [0, len); outside it, nil.
func (t *tree) at(rank int) (key, val []byte) {
	if rank < 0 || rank >= t.root.n {
		return nil, nil
	}
	n := t.root
	for !n.isLeaf() {
		var i int
		i, rank = n.kidAt(rank)
		n = n.kids[i]
	}
	return n.entry(rank)
}

// insertAt inserts an entry with an empty key before the one at rank; rank ==
// len adds at the end. A rank outside [0, len] is moved to the nearer end.
func (t *tree) insertAt(rank int, val []byte) {
	var p treePath
	t.findGap(&p, min(max(rank, 0), t.root.n))
	t.insert(&p, nil, val)
}

// setAt replaces the value at a rank in [0, len), keeping the key; outside it, it
// does nothing.
func (t *tree) setAt(rank int, val []byte) {
	if rank < 0 || rank >= t.root.n {
		return
	}
	var p treePath
	t.findRank(&p, rank)
	key, _ := p.leaf().entry(p.pos())
	t.replace(&p, append([]byte(nil), key...), val)
}

// delAt removes the entry at a rank in [0, len); outside it, nothing.
func (t *tree) delAt(rank int) { t.delRange(rank, rank+1) }

// delRange removes the entries of ranks lo <= r < hi, whole subtrees at a time.
func (t *tree) delRange(lo, hi int) {
	lo, hi = max(lo, 0), min(hi, t.root.n)
	for lo < hi {
		hi -= t.delSome(lo, hi-lo)
	}
}

// delSome removes between 1 and limit entries from rank lo on: the highest child
// that lies wholly inside the range, or a run inside one leaf.
func (t *tree) delSome(lo, limit int) int {
	if lo == 0 && limit >= t.root.n {
		n := t.root.n
		t.count(-t.root.size)
		t.root = t.newNode()
		return n
	}
	var p treePath
	n := t.root
	for !n.isLeaf() {
		i, within := n.kidAt(lo)
		p.at[p.depth] = treeStep{n, i}
		if within == 0 && n.counts[i] <= limit {
			gone := n.counts[i]
			t.own(&p, p.depth)
			t.dropKid(&p, p.depth)
			t.settle(&p, p.depth)
			return gone
		}
		p.depth++
		n, lo = n.kids[i], within
	}
	p.at[p.depth] = treeStep{n, lo}
	k := min(limit, n.n-lo)
	t.remove(&p, k)
	return k
}

// insert puts an entry at the path's place and reports whether the path still
// holds: it does unless the leaf was split.
func (t *tree) insert(p *treePath, key, val []byte) (holds bool) {
	t.own(p, p.depth)
	leaf, size := p.leaf(), entrySize(key, val)
	if leaf.n == 0 || leaf.takes(size) {
		leaf.insertEntry(p.pos(), key, val)
		t.add(p, 1, int64(size))
		return true
	}
	atEnd := p.isEdge()
	t.add(p, 1, int64(size))
	t.replaceLeaf(p, t.splitLeaf(leaf, p.pos(), key, val, atEnd))
	return false
}

// replace gives the entry at the path's place a new value; key is its own key.
func (t *tree) replace(p *treePath, key, val []byte) {
	t.own(p, p.depth)
	leaf := p.leaf()
	_, old := leaf.entry(p.pos())
	if len(old) == len(val) {
		copy(old, val)
		return
	}
	holds := true
	if by, ok := leaf.rewrite(p.pos(), key, val); ok {
		t.add(p, 0, int64(by))
	} else {
		gone := leaf.removeEntries(p.pos(), 1)
		t.add(p, -1, -int64(gone))
		holds = t.insert(p, key, val)
	}
	if holds && leaf.size < leafMin {
		t.settle(p, p.depth)
	}
}

// remove deletes k entries of the leaf from the path's place on.
func (t *tree) remove(p *treePath, k int) {
	t.own(p, p.depth)
	gone := p.leaf().removeEntries(p.pos(), k)
	t.add(p, -k, -int64(gone))
	t.settle(p, p.depth)
}

// add changes the totals on the path above the leaf; the leaf keeps its own.
func (t *tree) add(p *treePath, entries int, size int64) {
	for l := 0; l < p.depth; l++ {
		s := p.at[l]
		s.n.n += entries
		s.n.size += size
		s.n.counts[s.i] += entries
	}
	t.count(size)
}

// count keeps heapStats.
func (t *tree) count(size int64) {
	if t.counted {
		t.h.treeBytes += size
	}
}

// own makes the nodes on the path down to level safe to change: those an open cut
// or another tree may see are replaced by copies.
func (t *tree) own(p *treePath, level int) {
	if t.h == nil || t.h.shared|t.commonBefore == 0 {
		return
	}
	for l := 0; l <= level; l++ {
		n := t.ownNode(p.at[l].n)
		p.at[l].n = n
		if l == 0 {
			t.root = n
		} else {
			p.at[l-1].n.kids[p.at[l-1].i] = n
		}
	}
}

// ownNode is n, or a copy of it when an open cut or another tree may see n.
func (t *tree) ownNode(n *treeNode) *treeNode {
	if t.h == nil || n.epoch >= max(t.h.shared, t.commonBefore) {
		return n
	}
	c := n.clone()
	c.epoch = t.h.epoch
	return c
}

// share is another tree with the same entries, in O(1): the nodes become both trees',
// and whichever changes one first makes a copy of it, as for a cut. In a new epoch,
// nodes that either makes from now on are its own, and what is in a tree from before
// is known by its age, however often it was shared since.
//
// The nodes are the collector's to free, so no one counts who holds them. treeBytes
// counts them in both trees: it is what they may come to take.
func (t *tree) share() *tree {
	if t == nil {
		return nil
	}
	t.h.epoch++
	t.commonBefore = t.h.epoch
	return &tree{h: t.h, root: t.root, commonBefore: t.commonBefore}
}

func (t *tree) newNode() *treeNode {
	n := &treeNode{}
	if t.h != nil {
		n.epoch = t.h.epoch
	}
	return n
}
