package kv

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
)

const (
	// leafMax bounds the entry bytes of a leaf that holds more than one entry, those that
	// are no longer used included: what a cut copies at the first touch.
	leafMax = 4096
	// leafWaste is how many unused bytes a full leaf must have for packing it to pay: with
	// fewer it is split, for the next change would have it packed again.
	leafWaste = leafMax / 8
	// leafMin is where a leaf looks for a neighbour to merge with; leafMerged is the
	// most the two may have, well below leafMax so that the next insert does not
	// split them again.
	leafMin    = leafMax / 4
	leafMerged = leafMax * 3 / 4

	fanMax = 64
	fanMin = fanMax / 4

	treeNodeBytes = 160 // a node's header with its share of the inner node above
)

// treeNode is a leaf (treeInner == nil) or an inner node.
//
// A leaf's data are entries, each
//
//	klen uvarint | vlen uvarint | key | value
//
// in the order in which they came, and between them bytes of entries that are gone: a change
// moves no other entry. slots say where each is, in the order of their keys. An entry above
// leafMax has a leaf of its own, so an offset always fits 16 bits.
type treeNode struct {
	*treeInner
	data  []byte
	slots []leafSlot
	scale leafScale

	// epoch is the heap's epoch when the node was made: below heap.shared an open
	// cut may see the node, and it must not change.
	epoch uint64
	n     int   // entries in the subtree
	size  int64 // bytes of these entries
}

// treeInner is what only an inner node has.
type treeInner struct {
	kids   []*treeNode
	counts []int // counts[i] == kids[i].n
	// seps[i] is above every key of kids[i-1] and not above any of kids[i], and as
	// short as that allows; seps[0] is unused. prefixes[i] is its prefix, so that most
	// comparisons go nowhere else: those of a node are a few lines of the cache.
	prefixes []uint64
	seps     []string
}

// treeSep is a separator on its way into an inner node.
type treeSep struct {
	prefix uint64
	key    string
}

// prefixOf is a key's first bytes as a number, zeros after its end: of two keys, that
// with the smaller prefix is smaller.
func prefixOf(key []byte) (p uint64) {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	for i, b := range key {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}

func (n *treeNode) isLeaf() bool { return n.treeInner == nil }

// width is the number of entries of a leaf, of children of an inner node.
func (n *treeNode) width() int {
	if n.isLeaf() {
		return len(n.slots)
	}
	return len(n.kids)
}

func (n *treeNode) clone() *treeNode {
	c := *n
	if n.isLeaf() {
		c.data, c.slots = slices.Clone(n.data), slices.Clone(n.slots)
		return &c
	}
	return innerNode(c, treeInner{
		slices.Clone(n.kids), slices.Clone(n.counts), slices.Clone(n.prefixes), slices.Clone(n.seps),
	})
}

// innerNode puts the two parts of an inner node side by side.
func innerNode(n treeNode, in treeInner) *treeNode {
	both := &struct {
		n  treeNode
		in treeInner
	}{n, in}
	both.n.treeInner = &both.in
	return &both.n
}

// treeKey is a key that is looked for, with its prefix.
type treeKey struct {
	key    []byte
	prefix uint64
}

func lookFor(key []byte) treeKey { return treeKey{key, prefixOf(key)} }

// kidFor is the child whose range holds the key.
func (n *treeNode) kidFor(k *treeKey) int {
	i := n.kidUpTo(k.prefix)
	if i == 0 || n.prefixes[i] != k.prefix || n.seps[i] <= string(k.key) {
		return i
	}
	// Separators with the key's own prefix: the rest of them decides.
	return sort.Search(i-1, func(j int) bool { return n.seps[j+1] > string(k.key) })
}

// kidUpTo is the last child whose separator's prefix is not above one. It halves without
// branches, which would be mispredicted every other time.
func (n *treeNode) kidUpTo(prefix uint64) (i int) {
	p := n.prefixes
	for left := len(p); left > 1; {
		half := left / 2
		next := i
		if p[i+half] <= prefix {
			next = i + half
		}
		i = next
		left -= half
	}
	return i
}

// kidAt is the child that holds a rank in [0, n.n), and the rank inside it.
func (n *treeNode) kidAt(rank int) (i, within int) {
	for rank >= n.counts[i] {
		rank -= n.counts[i]
		i++
	}
	return i, rank
}

// sizeBetween is the bytes of the entries of ranks lo <= r < hi below n.
func (n *treeNode) sizeBetween(lo, hi int) (size int64) {
	switch {
	case lo >= hi:
		return 0
	case lo == 0 && hi == n.n:
		return n.size
	case n.isLeaf():
		for i := lo; i < hi; i++ {
			size += int64(len(n.raw(i)))
		}
		return size
	}
	for i, kid := range n.kids {
		size += kid.sizeBetween(min(max(lo, 0), n.counts[i]), min(max(hi, 0), n.counts[i]))
		lo, hi = lo-n.counts[i], hi-n.counts[i]
	}
	return size
}

// entry is entry i of a leaf. The slices cannot grow into their neighbours.
func (n *treeNode) entry(i int) (key, val []byte) { return n.entryAt(n.slots[i].offset()) }

// entryAt is the entry that begins at an offset.
func (n *treeNode) entryAt(off int) (key, val []byte) {
	d := n.data[off:]
	if len(d) > 1 && d[0]|d[1] < 0x80 { // the common case: both below 128 bytes
		k, e := 2+int(d[0]), 2+int(d[0])+int(d[1])
		return d[2:k:k], d[k:e:e]
	}
	klen, kw := binary.Uvarint(d)
	vlen, vw := binary.Uvarint(d[kw:])
	s := kw + vw
	k, e := s+int(klen), s+int(klen)+int(vlen)
	return d[s:k:k], d[k:e:e]
}

// findValue is the first entry of a leaf from i on that has val and, as all entries of a
// list, no key; n.n if there is none.
func (n *treeNode) findValue(i int, val []byte) int {
	if len(val) == 0 || len(val) >= 0x80 {
		for ; i < n.n; i++ {
			if _, v := n.entry(i); bytes.Equal(v, val) {
				break
			}
		}
		return i
	}
	// Most elements differ in their length or, if they are numbered, at the end.
	end := len(val) + 1
	for ; i < len(n.slots); i++ {
		d := n.data[n.slots[i].offset():]
		if int(d[1]) == len(val) && d[end] == val[end-2] && bytes.Equal(d[2:end+1], val) {
			break
		}
	}
	return i
}

// separator is the shortest key above left and not above right, left < right.
func separator(left, right []byte) treeSep {
	i := 0
	for i < len(left) && i < len(right) && left[i] == right[i] {
		i++
	}
	key := right[:min(i+1, len(right))]
	return treeSep{prefixOf(key), string(key)}
}
