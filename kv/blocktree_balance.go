package kv

import "slices"

// splitLeaf is the leaf with an entry added at i, in two or more leaves. At the
// edge of the tree the old leaf stays full and the entry begins a new one, so
// that sequential inserts (lists, time-ordered keys) leave full leaves behind.
func (t *tree) splitLeaf(leaf *treeNode, i int, key, val []byte, edge bool) []*treeNode {
	if edge || leaf.size > leafMax || entrySize(key, val) > leafMax {
		alone := t.newNode()
		alone.insertEntry(0, key, val)
		var parts []*treeNode
		switch {
		case i == 0:
			return append(parts, alone, leaf)
		case i == leaf.n:
			return append(parts, leaf, alone)
		}
		return append(parts, t.slice(leaf, 0, i), alone, t.slice(leaf, i, leaf.n))
	}
	leaf.insertEntry(i, key, val)
	return t.halve(nil, leaf)
}

// halve appends to parts the leaf cut into leaves within leafMax. Two cuts can be
// needed: entries of 2, 3 and 2 KiB fit in pairs nowhere.
func (t *tree) halve(parts []*treeNode, leaf *treeNode) []*treeNode {
	if leaf.n == 1 || leaf.size <= leafMax {
		return append(parts, leaf)
	}
	m := 1
	for m < leaf.n-1 && leaf.offset(m) < len(leaf.data)/2 {
		m++
	}
	parts = t.halve(parts, t.slice(leaf, 0, m))
	return t.halve(parts, t.slice(leaf, m, leaf.n))
}

// replaceLeaf puts parts in the place of the path's leaf and splits inner nodes
// that grow too wide.
func (t *tree) replaceLeaf(p *treePath, parts []*treeNode) {
	seps := make([]treeSep, len(parts))
	for i := 1; i < len(parts); i++ {
		left, _ := parts[i-1].entry(parts[i-1].n - 1)
		right, _ := parts[i].entry(0)
		seps[i] = separator(left, right)
	}
	for l := p.depth - 1; l >= 0 && len(parts) > 1; l-- {
		n, i := p.at[l].n, p.at[l].i
		seps[0] = n.seps[i]
		n.kids = slices.Replace(n.kids, i, i+1, parts...)
		n.seps = slices.Replace(n.seps, i, i+1, seps...)
		n.counts = slices.Replace(n.counts, i, i+1, countsOf(parts)...)
		parts, seps = parts[:1], seps[:1]
		parts[0] = n
		if len(n.kids) > fanMax {
			right, sep := t.splitInner(n)
			parts, seps = []*treeNode{n, right}, []treeSep{{}, sep}
		}
	}
	if len(parts) > 1 {
		t.root = t.newInner(parts, seps)
	} else if p.depth == 0 {
		t.root = parts[0]
	}
}

// splitInner moves the upper half of n's children to a new node.
func (t *tree) splitInner(n *treeNode) (right *treeNode, sep treeSep) {
	m := len(n.kids) / 2
	sep = n.seps[m]
	right = t.newInner(slices.Clone(n.kids[m:]), slices.Clone(n.seps[m:]))
	n.truncateKids(m)
	n.n -= right.n
	n.size -= right.size
	return right, sep
}

// newInner is a node above kids; it takes both slices.
func (t *tree) newInner(kids []*treeNode, seps []treeSep) *treeNode {
	n := t.newNode()
	n.kids, n.seps, n.counts = kids, seps, countsOf(kids)
	n.seps[0] = treeSep{}
	for _, k := range kids {
		n.n += k.n
		n.size += k.size
	}
	return n
}

func countsOf(kids []*treeNode) []int {
	c := make([]int, len(kids))
	for i, k := range kids {
		c[i] = k.n
	}
	return c
}

func (n *treeNode) truncateKids(m int) {
	clear(n.kids[m:])
	clear(n.seps[m:])
	n.kids, n.seps, n.counts = n.kids[:m], n.seps[:m], n.counts[:m]
}

// dropKid removes the child taken at a level of the path, with all below it, and
// corrects the totals at and above that level.
func (t *tree) dropKid(p *treePath, level int) {
	n, i := p.at[level].n, p.at[level].i
	entries, size := n.counts[i], n.kids[i].size
	n.deleteKid(i)
	n.n -= entries
	n.size -= size
	for l := range level {
		s := p.at[l]
		s.n.n -= entries
		s.n.size -= size
		s.n.counts[s.i] -= entries
	}
	t.count(-size)
}

func (n *treeNode) deleteKid(i int) {
	n.kids = slices.Delete(n.kids, i, i+1)
	n.seps = slices.Delete(n.seps, i, i+1)
	n.counts = slices.Delete(n.counts, i, i+1)
	if len(n.seps) > 0 {
		n.seps[0] = treeSep{}
	}
}

// settle restores the least widths from a level of the path upwards after a
// removal there. The path is stale afterwards.
func (t *tree) settle(p *treePath, level int) {
	t.widen(p, level)
	if t.root.n == 0 {
		t.root = t.newNode()
	}
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
}

// widen merges the nodes on the path that became too narrow, bottom up.
func (t *tree) widen(p *treePath, level int) {
	for l := level; l > 0; l-- {
		n, up, i := p.at[l].n, p.at[l-1].n, p.at[l-1].i
		switch {
		case n.n == 0:
			up.deleteKid(i)
		case n.kids == nil:
			if n.size >= leafMin || !t.mergeLeaf(up, i) {
				return
			}
		case len(n.kids) >= fanMin || len(up.kids) == 1:
			return
		default:
			t.mergeInner(up, i)
		}
	}
}

// mergeLeaf joins leaf i of up with a neighbour, if the two are small enough.
func (t *tree) mergeLeaf(up *treeNode, i int) bool {
	for _, left := range [2]int{i - 1, i} {
		if left < 0 || left+1 >= len(up.kids) {
			continue
		}
		a, b := up.kids[left], up.kids[left+1]
		if a.size+b.size > leafMerged {
			continue
		}
		a = t.ownNode(a)
		base := len(a.data)
		a.grow(len(b.data))
		copy(a.data[base:], b.data)
		for _, off := range b.offs {
			a.offs = append(a.offs, off+uint16(base))
		}
		a.n += b.n
		a.size += b.size
		up.kids[left], up.counts[left] = a, a.n
		up.deleteKid(left + 1)
		return true
	}
	return false
}

// mergeInner joins the narrow inner node i of up with a neighbour, or takes
// children from it when the two together would be too wide.
func (t *tree) mergeInner(up *treeNode, i int) {
	left := max(i-1, 0)
	a, b := t.ownNode(up.kids[left]), up.kids[left+1]
	sep := up.seps[left+1]
	m := len(a.kids)
	a.kids = append(a.kids, b.kids...)
	a.counts = append(a.counts, b.counts...)
	a.seps = append(a.seps, b.seps...)
	a.seps[m] = sep
	a.n += b.n
	a.size += b.size
	up.kids[left] = a
	if len(a.kids) <= fanMax {
		up.counts[left] = a.n
		up.deleteKid(left + 1)
		return
	}
	right, sep := t.splitInner(a)
	up.kids[left+1], up.seps[left+1] = right, sep
	up.counts[left], up.counts[left+1] = a.n, right.n
}
