package kv

import "slices"

// splitLeaf is the leaf with an entry added at i, in two or more leaves. At the
// edge of the tree the old leaf stays full and the entry begins a new one, so
// that sequential inserts (lists, time-ordered keys) leave full leaves behind.
func (t *tree) splitLeaf(leaf *treeNode, i int, key, val []byte, edge bool) (parts []*treeNode) {
	size := entrySize(key, val)
	if edge || leaf.n == 1 || leaf.size > leafMax || size > leafMax {
		alone := t.newNode()
		alone.insertEntry(0, key, val)
		switch {
		case i == 0:
			return append(parts, alone, leaf)
		case i == leaf.n:
			return append(parts, leaf, alone)
		}
		return append(parts, t.slice(leaf, 0, i), alone, t.slice(leaf, i, leaf.n))
	}
	m := leaf.middle()
	left, right := t.slice(leaf, 0, m), t.slice(leaf, m, leaf.n)
	into, at := left, i
	if i > m || i == m && right.size < left.size {
		into, at = right, i-m
	}
	added := []*treeNode{into}
	if into.takes(size) {
		into.insertEntry(at, key, val)
	} else { // entries of 2, 3 and 2 KiB fit in pairs nowhere
		added = t.splitLeaf(into, at, key, val, false)
	}
	if into == left {
		return append(added, right)
	}
	return append(append(parts, left), added...)
}

// middle is the number of entries in the first half of a leaf of several, by their bytes.
func (n *treeNode) middle() (m int) {
	for half := n.size; m < n.n-1 && half > 0; m++ {
		half -= 2 * int64(len(n.raw(m)))
	}
	return m
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
		n.kids = slices.Replace(n.kids, i, i+1, parts...)
		n.insertSeps(i+1, seps[1:])
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

// insertSeps puts separators before separator i.
func (n *treeNode) insertSeps(i int, seps []treeSep) {
	for j, sep := range seps {
		n.prefixes = slices.Insert(n.prefixes, i+j, sep.prefix)
		n.seps = slices.Insert(n.seps, i+j, sep.key)
	}
}

// splitInner moves the upper half of n's children to a new node.
func (t *tree) splitInner(n *treeNode) (right *treeNode, sep treeSep) {
	m := len(n.kids) / 2
	sep = treeSep{n.prefixes[m], n.seps[m]}
	right = t.innerAbove(treeInner{kids: slices.Clone(n.kids[m:]), prefixes: slices.Clone(n.prefixes[m:]), seps: slices.Clone(n.seps[m:])})
	n.truncateKids(m)
	n.n -= right.n
	n.size -= right.size
	return right, sep
}

// newInner is a node above kids; it takes the slice.
func (t *tree) newInner(kids []*treeNode, seps []treeSep) *treeNode {
	in := treeInner{kids: kids, prefixes: make([]uint64, len(kids)), seps: make([]string, len(kids))}
	for i, sep := range seps {
		in.prefixes[i], in.seps[i] = sep.prefix, sep.key
	}
	return t.innerAbove(in)
}

// innerAbove is a node that has all but the counts.
func (t *tree) innerAbove(in treeInner) *treeNode {
	n := innerNode(*t.newNode(), in)
	n.counts = countsOf(n.kids)
	n.forgetFirst()
	for _, k := range n.kids {
		n.n += k.n
		n.size += k.size
	}
	return n
}

// forgetFirst empties the separator before the first child, which is not used.
func (n *treeNode) forgetFirst() { n.prefixes[0], n.seps[0] = 0, "" }

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
	n.kids, n.counts, n.prefixes, n.seps = n.kids[:m], n.counts[:m], n.prefixes[:m], n.seps[:m]
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
	n.counts = slices.Delete(n.counts, i, i+1)
	n.prefixes = slices.Delete(n.prefixes, i, i+1)
	n.seps = slices.Delete(n.seps, i, i+1)
	if len(n.seps) > 0 {
		n.forgetFirst()
	}
}

// settle restores the least widths from a level of the path upwards after a
// removal there. The path is stale afterwards.
func (t *tree) settle(p *treePath, level int) {
	t.widen(p, level)
	if t.root.n == 0 {
		t.root = t.newNode()
	}
	for !t.root.isLeaf() && len(t.root.kids) == 1 {
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
		case n.isLeaf():
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
		for j := range b.n {
			a.appendEntry(b.entry(j))
		}
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
	m := len(a.kids)
	a.kids = append(a.kids, b.kids...)
	a.counts = append(a.counts, b.counts...)
	a.prefixes = append(a.prefixes, b.prefixes...)
	a.seps = append(a.seps, b.seps...)
	a.prefixes[m], a.seps[m] = up.prefixes[left+1], up.seps[left+1]
	a.n += b.n
	a.size += b.size
	up.kids[left] = a
	if len(a.kids) <= fanMax {
		up.counts[left] = a.n
		up.deleteKid(left + 1)
		return
	}
	right, sep := t.splitInner(a)
	up.kids[left+1], up.prefixes[left+1], up.seps[left+1] = right, sep.prefix, sep.key
	up.counts[left], up.counts[left+1] = a.n, right.n
}
