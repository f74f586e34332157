package kv

// treeMaxDepth bounds the levels: inner nodes have 16 children or more, so ten
// levels hold more leaves than memory does.
const treeMaxDepth = 12

// treePath is a place in a tree: the nodes from the root to a leaf and the child
// or entry taken in each.
type treePath struct {
	at    [treeMaxDepth]treeStep
	depth int // at[depth] is the leaf
}

type treeStep struct {
	n *treeNode
	i int
}

func (p *treePath) leaf() *treeNode { return p.at[p.depth].n }
func (p *treePath) pos() int        { return p.at[p.depth].i }

// isEdge reports whether the place is before the first or after the last entry of
// the whole tree.
func (p *treePath) isEdge() bool {
	first, last := p.pos() == 0, p.pos() == p.leaf().n
	for _, s := range p.at[:p.depth] {
		first = first && s.i == 0
		last = last && s.i == len(s.n.kids)-1
	}
	return first || last
}

// findKey leads p to key's entry or, if there is none, to where it would be.
func (t *tree) findKey(p *treePath, key []byte) (found bool) {
	n, k := t.root, lookFor(key)
	for !n.isLeaf() {
		i := n.kidFor(&k)
		p.at[p.depth] = treeStep{n, i}
		p.depth++
		n = n.kids[i]
	}
	i, found := n.search(&k)
	p.at[p.depth] = treeStep{n, i}
	return found
}

// findRank leads p to the entry at a rank in [0, len).
func (t *tree) findRank(p *treePath, rank int) {
	n := t.root
	for !n.isLeaf() {
		i, within := n.kidAt(rank)
		p.at[p.depth] = treeStep{n, i}
		p.depth++
		n, rank = n.kids[i], within
	}
	p.at[p.depth] = treeStep{n, rank}
}

// findGap leads p to the gap before a rank in [0, len]; between two leaves it is
// the end of the left one.
func (t *tree) findGap(p *treePath, rank int) {
	if rank == 0 {
		t.findEdge(p, false)
		return
	}
	t.findRank(p, rank-1)
	p.at[p.depth].i++
}

// findEdge leads p to the first or the last entry. In an empty tree the place is
// -1 for the last.
func (t *tree) findEdge(p *treePath, last bool) {
	n := t.root
	for !n.isLeaf() {
		i := 0
		if last {
			i = len(n.kids) - 1
		}
		p.at[p.depth] = treeStep{n, i}
		p.depth++
		n = n.kids[i]
	}
	i := 0
	if last {
		i = n.n - 1
	}
	p.at[p.depth] = treeStep{n, i}
}

// treeIter is a place in a tree; any change to the tree invalidates it. Moving off
// either end makes it invalid for good. It is a value and does not allocate.
type treeIter struct {
	p  treePath
	ok bool
}

// first is at the first entry.
func (t *tree) first() treeIter {
	var it treeIter
	t.findEdge(&it.p, false)
	it.ok = t.root.n > 0
	return it
}

// last is at the last entry.
func (t *tree) last() treeIter {
	var it treeIter
	t.findEdge(&it.p, true)
	it.ok = t.root.n > 0
	return it
}

// eachValue visits the ranks of a list at which val is, in order, until visit returns
// false.
func (t *tree) eachValue(val []byte, visit func(rank int) bool) {
	rank := 0
	for it := t.first(); it.valid(); it.nextLeaf() {
		leaf := it.p.leaf()
		for i := leaf.findValue(0, val); i < leaf.n; i = leaf.findValue(i+1, val) {
			if !visit(rank + i) {
				return
			}
		}
		rank += leaf.n
	}
}

// leaves are the leaves in order.
func (t *tree) leaves() []*treeNode {
	return t.root.appendLeaves(make([]*treeNode, 0, 1+t.root.size/(leafMax/2)))
}

func (n *treeNode) appendLeaves(to []*treeNode) []*treeNode {
	if n.isLeaf() {
		return append(to, n)
	}
	for _, kid := range n.kids {
		to = kid.appendLeaves(to)
	}
	return to
}

// seek is at the first entry whose key is >= key; invalid if there is none.
func (t *tree) seek(key []byte) treeIter {
	var it treeIter
	t.findKey(&it.p, key)
	it.ok = true
	if it.p.pos() == it.p.leaf().n {
		it.p.at[it.p.depth].i--
		it.next()
	}
	return it
}

// seekRank is at a rank; invalid outside [0, len).
func (t *tree) seekRank(rank int) treeIter {
	var it treeIter
	if rank >= 0 && rank < t.root.n {
		t.findRank(&it.p, rank)
		it.ok = true
	}
	return it
}

// valid reports whether the iterator is at an entry; key, val, next and prev may
// be called only then.
func (it *treeIter) valid() bool { return it.ok }

func (it *treeIter) key() []byte {
	k, _ := it.p.leaf().entry(it.p.pos())
	return k
}

func (it *treeIter) val() []byte {
	_, v := it.p.leaf().entry(it.p.pos())
	return v
}

// entry is key and val at once.
func (it *treeIter) entry() (key, val []byte) { return it.p.leaf().entry(it.p.pos()) }

func (it *treeIter) next() { it.move(1) }
func (it *treeIter) prev() { it.move(-1) }

// toEntry moves to an entry of the leaf; to the first one of the next leaf behind the last.
func (it *treeIter) toEntry(i int) {
	it.p.at[it.p.depth].i = i - 1
	it.next()
}

// nextLeaf moves to the first entry of the next leaf.
func (it *treeIter) nextLeaf() { it.toEntry(it.p.leaf().n) }

func (it *treeIter) move(by int) {
	p := &it.p
	l := p.depth
	s := &p.at[l]
	s.i += by
	for s.i < 0 || s.i >= s.n.width() {
		if l == 0 {
			it.ok = false
			return
		}
		l--
		s = &p.at[l]
		s.i += by
	}
	for ; l < p.depth; l++ {
		kid := p.at[l].n.kids[p.at[l].i]
		i := 0
		if by < 0 {
			i = kid.width() - 1
		}
		p.at[l+1] = treeStep{kid, i}
	}
}
