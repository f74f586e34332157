package kv

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// listView is a list opened by a command. Ranks count from the head.
//
//	packed: the elements
//	tree:   positional, without keys
type listView struct{ collection }

// openList opens the key's list, empty if the key is missing. If ok is false
// WRONGTYPE was replied.
func (c *Ctx) openList(key []byte) (l listView, ok bool) {
	l.collection, ok = c.openCollection(key, TypeList)
	return l, ok
}

func (l *listView) len() int {
	if l.isTree() {
		return l.object().t.len()
	}
	return packedLen(l.v.Bytes)
}

// at returns the element at a rank within the list, valid until the next change.
func (l *listView) at(rank int) []byte {
	if l.isTree() {
		_, val := l.object().t.at(rank)
		return val
	}
	elem, _ := packedAt(l.v.Bytes, rank)
	return elem
}

// forward visits the elements from rank on until visit returns false.
func (l *listView) forward(rank int, visit func(rank int, elem []byte) bool) {
	if l.isTree() {
		for it := l.object().t.seekRank(rank); it.valid() && visit(rank, it.val()); it.next() {
			rank++
		}
		return
	}
	it := iterPacked(l.v.Bytes)
	for r := 0; ; r++ {
		elem, ok := it.next()
		if !ok || r >= rank && !visit(r, elem) {
			return
		}
	}
}

// eachEqual visits the ranks of the elements equal to elem until visit returns false.
func (l *listView) eachEqual(elem []byte, visit func(rank int) bool) {
	if l.isTree() {
		l.object().t.eachValue(elem, visit)
		return
	}
	l.forward(0, func(rank int, e []byte) bool { return !bytes.Equal(e, elem) || visit(rank) })
}

// backward visits the elements from rank down to the head until visit returns
// false.
func (l *listView) backward(rank int, visit func(rank int, elem []byte) bool) {
	if rank < 0 {
		return
	}
	if l.isTree() {
		for it := l.object().t.seekRank(rank); it.valid() && visit(rank, it.val()); it.prev() {
			rank--
		}
		return
	}
	elems := packedElems(l.v.Bytes)
	for r := min(rank, len(elems)-1); r >= 0 && visit(r, elems[r]); r-- {
	}
}

// push adds the elements one after the other at the head (the last one ends up
// first) or at the tail.
func (l *listView) push(elems [][]byte, head bool) {
	if !l.isTree() && !l.fits(elems) {
		l.convert()
	}
	switch {
	case l.isTree() && head:
		t := l.mutable().t
		for _, e := range elems {
			t.insertAt(0, e)
		}
	case l.isTree() && l.len() == 0:
		l.mutable().t.rebuild(func() (key, val []byte, ok bool) {
			if len(elems) == 0 {
				return nil, nil, false
			}
			val, elems = elems[0], elems[1:]
			return nil, val, true
		})
	case l.isTree():
		t := l.mutable().t
		for _, e := range elems {
			t.insertAt(t.len(), e)
		}
	case head && len(elems) > 1:
		turned := make([][]byte, len(elems))
		for i, e := range elems {
			turned[len(elems)-1-i] = e
		}
		l.endEdit(packedInsertAt(l.beginEdit(), l.v.Bytes, 0, turned...))
	case head:
		l.endEdit(packedInsertAt(l.beginEdit(), l.v.Bytes, 0, elems...))
	default:
		l.endEdit(packedPush(l.beginEdit(), l.v.Bytes, elems...))
	}
}

// fill makes the values of next all that is in a new list: a tree, packed again if they
// turn out to be few.
func (l *listView) fill(next func() (key, val []byte, ok bool)) {
	o := l.heap().newObject()
	o.t = treeFrom(l.heap(), next)
	maxElems, maxBytes := listLimits(l.c.settings())
	n := o.t.len()
	packed := int(o.t.root.size) - n // without the lengths of keys
	if packed > maxBytes || n > maxElems {
		l.becomeTree(o)
		return
	}
	p := binary.AppendUvarint(l.beginEdit(), uint64(n))
	for it := o.t.first(); it.valid(); it.next() {
		p = appendElems(p, [][]byte{it.val()})
	}
	l.endEdit(p)
}

// insert adds an element before the one at rank.
func (l *listView) insert(rank int, elem []byte) {
	if !l.isTree() && !l.fits([][]byte{elem}) {
		l.convert()
	}
	if l.isTree() {
		l.mutable().t.insertAt(rank, elem)
		return
	}
	l.endEdit(packedInsertAt(l.beginEdit(), l.v.Bytes, rank, elem))
}

// set replaces the element at rank.
func (l *listView) set(rank int, elem []byte) {
	if !l.isTree() && len(elem) > len(l.at(rank)) && !l.fits([][]byte{elem}) {
		l.convert()
	}
	if l.isTree() {
		l.mutable().t.setAt(rank, elem)
		return
	}
	l.endEdit(packedReplaceAt(l.beginEdit(), l.v.Bytes, rank, elem))
}

// remove deletes the ranks lo <= r < hi.
func (l *listView) remove(lo, hi int) {
	if lo >= hi {
		return
	}
	if l.isTree() {
		l.mutable().t.delRange(lo, hi)
		return
	}
	l.endEdit(packedDeleteAt(l.beginEdit(), l.v.Bytes, lo, hi-lo))
}

// removeEqual deletes up to limit elements equal to elem (0: all), from the tail
// on if tail is set, and returns how many.
func (l *listView) removeEqual(elem []byte, limit int, tail bool) (removed int) {
	var ranks []int
	note := func(rank int) bool {
		ranks = append(ranks, rank)
		return len(ranks) != limit
	}
	if tail {
		l.backward(l.len()-1, func(rank int, e []byte) bool { return !bytes.Equal(e, elem) || note(rank) })
	} else {
		l.eachEqual(elem, note)
	}
	if len(ranks) == 0 {
		return 0
	}
	if tail {
		slices.Reverse(ranks)
	}
	switch {
	case l.isTree() && len(ranks) > l.len()/bulkShare:
		rank, gone := -1, ranks
		l.mutable().t.keep(func(_, _ []byte) bool {
			rank++
			if len(gone) > 0 && gone[0] == rank {
				gone = gone[1:]
				return false
			}
			return true
		})
	case l.isTree():
		t := l.mutable().t
		for _, rank := range slices.Backward(ranks) {
			t.delAt(rank)
		}
	default:
		l.endEdit(packedWithout(l.beginEdit(), l.v.Bytes, ranks))
	}
	return len(ranks)
}

// packedWithout appends to dst the collection p without the elements at the given
// ranks, which are ascending.
func packedWithout(dst, p []byte, ranks []int) []byte {
	elems := packedElems(p)
	kept := elems[:0]
	for r, e := range elems {
		if len(ranks) > 0 && ranks[0] == r {
			ranks = ranks[1:]
			continue
		}
		kept = append(kept, e)
	}
	return packedOf(dst, kept...)
}

// Sizes of a list node for list-max-listpack-size -1 ... -5.
var listNodeBytes = [...]int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}

// listNodeMaxBytes bounds a node whose size is given as a number of elements.
const listNodeMaxBytes = 8 << 10

// fits reports whether a packed list may take the elements: as long as Redis
// would keep it in one quicklist node.
func (l *listView) fits(elems [][]byte) bool {
	size := len(l.v.Bytes)
	for _, e := range elems {
		size += len(e) + uvarintLen(uint64(len(e)))
	}
	maxElems, maxBytes := listLimits(l.c.settings())
	return size <= maxBytes && (maxElems == math.MaxInt || l.len()+len(elems) <= maxElems)
}

// listLimits is what one node of a quicklist holds at most.
func listLimits(s *Settings) (elements, bytes int) {
	fill := int(s.ListMaxListpackSize)
	if fill >= 0 {
		return max(fill, 1), listNodeMaxBytes
	}
	return math.MaxInt, listNodeBytes[min(-fill, len(listNodeBytes))-1]
}

func (l *listView) convert() {
	it := iterPacked(l.v.Bytes)
	o := l.heap().newObject()
	o.t = treeFrom(l.heap(), func() (key, val []byte, ok bool) {
		val, ok = it.next()
		return nil, val, ok
	})
	l.becomeTree(o)
}
