package kv

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

const (
	// leafMax bounds the entry bytes of a leaf that holds more than one entry: what
	// a cut copies at the first touch.
	leafMax = 4096
	// leafMin is where a leaf looks for a neighbour to merge with; leafMerged is the
	// most the two may have, well below leafMax so that the next insert does not
	// split them again.
	leafMin    = leafMax / 4
	leafMerged = leafMax * 3 / 4

	fanMax = 64
	fanMin = fanMax / 4

	treeNodeBytes = 160 // a node's header with its share of the inner node above
)

// treeNode is a leaf (kids == nil) or an inner node.
//
// A leaf's data is a run of entries, each
//
//	klen uvarint | vlen uvarint | key | value
//
// and offs the place of each. An entry above leafMax has a leaf of its own, so an
// offset always fits 16 bits.
type treeNode struct {
	// epoch is the heap's epoch when the node was made: below heap.shared an open
	// cut may see the node, and it must not change.
	epoch uint64
	n     int   // entries in the subtree
	size  int64 // entry bytes in the subtree

	data []byte
	offs []uint16

	kids   []*treeNode
	counts []int // counts[i] == kids[i].n
	// seps[i] is above every key of kids[i-1] and not above any of kids[i], and as
	// short as that allows; seps[0] is unused. The bytes are immutable and shared.
	seps []treeSep
}

// treeSep is a separator with its prefix, so that most comparisons go nowhere else.
type treeSep struct {
	prefix uint64
	key    []byte
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

// width is the number of entries of a leaf, of children of an inner node.
func (n *treeNode) width() int {
	if n.kids == nil {
		return len(n.offs)
	}
	return len(n.kids)
}

func (n *treeNode) clone() *treeNode {
	c := *n
	c.data, c.offs = slices.Clone(n.data), slices.Clone(n.offs)
	c.kids, c.counts, c.seps = slices.Clone(n.kids), slices.Clone(n.counts), slices.Clone(n.seps)
	return &c
}

// treeKey is a key that is looked for: its prefix and, of the node that the search has
// come to, the prefixes between which all keys are.
type treeKey struct {
	key                  []byte
	prefix, above, below uint64
}

func lookFor(key []byte) treeKey {
	return treeKey{key: key, prefix: prefixOf(key), below: math.MaxUint64}
}

// kidFor is the child whose range holds the key.
func (n *treeNode) kidFor(k *treeKey) int {
	lo, hi := 1, len(n.kids) // the answer is lo-1 in the end
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		s := &n.seps[m]
		if s.prefix < k.prefix || s.prefix == k.prefix && bytes.Compare(s.key, k.key) <= 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo > 1 {
		k.above = n.seps[lo-1].prefix
	}
	if lo < len(n.kids) {
		k.below = n.seps[lo].prefix
	}
	return lo - 1
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
	case n.kids == nil:
		return int64(n.offset(hi) - n.offset(lo))
	}
	for i, kid := range n.kids {
		size += kid.sizeBetween(min(max(lo, 0), n.counts[i]), min(max(hi, 0), n.counts[i]))
		lo, hi = lo-n.counts[i], hi-n.counts[i]
	}
	return size
}

// guesses is how often a search goes where the key should be if keys were spread evenly:
// hashes are, neighbouring scores and times nearly. Each entry that is looked at is a miss
// of the cache; halving a full leaf takes seven of them, and after two guesses the key is
// a few entries away.
const guesses = 2

// search is the first entry of a leaf whose key is >= the key, and whether it is equal.
func (n *treeNode) search(k *treeKey) (i int, ok bool) {
	lo, hi := 0, len(n.offs)
	above, below, last := k.above, k.below, 0
	for try := 0; try < guesses && hi-lo > 4 && above < below; try++ {
		share := float64(k.prefix-above) / float64(below-above)
		m := min(lo+int(share*float64(hi-lo)), hi-1)
		var prefix uint64
		switch last, prefix = n.compare(m, k); {
		case last < 0:
			lo, above = m+1, prefix
		case last == 0:
			return m, true
		default:
			hi, below = m, prefix
		}
	}
	// Outwards from the last guess, until the key is passed.
	for by := 1; last != 0 && hi-lo > by+1; by *= 2 {
		m := lo + by
		if last > 0 {
			m = hi - 1 - by
		}
		switch c, _ := n.compare(m, k); {
		case c == 0:
			return m, true
		case c < 0:
			lo, last = m+1, min(last, 0)
		default:
			hi, last = m, max(last, 0)
		}
	}
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		switch c, _ := n.compare(m, k); {
		case c == 0:
			return m, true
		case c < 0:
			lo = m + 1
		default:
			hi = m
		}
	}
	return lo, false
}

// compare compares entry i of a leaf with the key; prefix is the entry's.
func (n *treeNode) compare(i int, k *treeKey) (c int, prefix uint64) {
	e, _ := n.entry(i)
	prefix = prefixOf(e)
	switch {
	case prefix < k.prefix:
		return -1, prefix
	case prefix > k.prefix:
		return 1, prefix
	}
	return bytes.Compare(e, k.key), prefix
}

// entry is entry i of a leaf. The slices cannot grow into their neighbours.
func (n *treeNode) entry(i int) (key, val []byte) { return n.entryAt(int(n.offs[i])) }

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
	for ; i < len(n.offs); i++ {
		d := n.data[n.offs[i]:]
		if int(d[1]) == len(val) && d[end] == val[end-2] && bytes.Equal(d[2:end+1], val) {
			break
		}
	}
	return i
}

func entrySize(key, val []byte) int {
	return uvarintLen(uint64(len(key))) + uvarintLen(uint64(len(val))) + len(key) + len(val)
}

// offset is where entry i begins, or the end of the data for i == n.n.
func (n *treeNode) offset(i int) int {
	if i == len(n.offs) {
		return len(n.data)
	}
	return int(n.offs[i])
}

// insertEntry adds an entry before entry i of a leaf. It does not split.
func (n *treeNode) insertEntry(i int, key, val []byte) {
	size, off, old := entrySize(key, val), n.offset(i), len(n.data)
	n.grow(size)
	copy(n.data[off+size:], n.data[off:old])
	e := binary.AppendUvarint(n.data[:off], uint64(len(key)))
	e = binary.AppendUvarint(e, uint64(len(val)))
	e = append(e, key...)
	copy(n.data[len(e):], val)
	n.offs = slices.Insert(n.offs, i, uint16(off))
	for j := i + 1; j < len(n.offs); j++ {
		n.offs[j] += uint16(size)
	}
	n.n++
	n.size += int64(size)
}

// grow lengthens the data, doubling its room only up to a full leaf.
func (n *treeNode) grow(by int) {
	need := len(n.data) + by
	if need > cap(n.data) {
		room := max(need, min(2*cap(n.data), leafMax))
		n.data = append(make([]byte, 0, room), n.data...)
	}
	n.data = n.data[:need]
}

// removeEntries deletes k entries of a leaf from i on and returns their bytes.
func (n *treeNode) removeEntries(i, k int) (size int) {
	from, to := n.offset(i), n.offset(i+k)
	size = to - from
	n.data = append(n.data[:from], n.data[to:]...)
	if cap(n.data) > 2*leafMax { // the room of an entry that had the leaf to itself
		n.data = slices.Clone(n.data)
	}
	n.offs = slices.Delete(n.offs, i, i+k)
	for j := i; j < len(n.offs); j++ {
		n.offs[j] -= uint16(size)
	}
	n.n -= k
	n.size -= int64(size)
	return size
}

// slice is a new leaf with the entries [i, j).
func (t *tree) slice(n *treeNode, i, j int) *treeNode {
	from, to := n.offset(i), n.offset(j)
	s := t.newNode()
	s.data = append([]byte(nil), n.data[from:to]...)
	s.offs = slices.Clone(n.offs[i:j])
	for k := range s.offs {
		s.offs[k] -= uint16(from)
	}
	s.n, s.size = j-i, int64(to-from)
	return s
}

// separator is the shortest key above left and not above right, left < right.
func separator(left, right []byte) treeSep {
	i := 0
	for i < len(left) && i < len(right) && left[i] == right[i] {
		i++
	}
	key := bytes.Clone(right[:min(i+1, len(right))])
	return treeSep{prefixOf(key), key}
}
