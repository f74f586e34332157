package kv

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// leafSlot is an entry of a leaf: in the low half where it is in the data, in the high half
// roughly what its key is (leafScale). A search reads slots, some of which share a line of
// the cache, and goes to an entry only to see that it is the one.
type leafSlot uint32

const roughBits = 16

func (s leafSlot) offset() int { return int(uint16(s)) }

func (s leafSlot) rough() uint16 { return uint16(s >> roughBits) }

// atLeast is the lowest slot of a rough key: slots compare as their rough keys do.
func atLeast(rough uint16) leafSlot { return leafSlot(rough) << roughBits }

// leafScale makes rough keys of the keys of one leaf: a number that never falls from one key
// to the next, so that a search only has to look at entries whose number is the same. It is
// chosen by the keys that are there, with room for more on both sides.
type leafScale struct {
	base  uint64 // the prefix that is 0
	shift uint8
	// low and top are the rough keys of the first entry and the last, for guessing.
	low, top uint16
}

// of is the rough key for a prefix.
func (s *leafScale) of(prefix uint64) uint16 {
	if prefix < s.base {
		return 0
	}
	return uint16(min((prefix-s.base)>>s.shift, math.MaxUint16))
}

// holds reports whether the prefix is within the scale, and not beyond one of its ends.
func (s *leafScale) holds(prefix uint64) bool {
	return prefix >= s.base && (prefix-s.base)>>s.shift <= math.MaxUint16
}

// scaleOf is a scale for prefixes between two, twice as wide as they are apart: a leaf that
// grows at one end needs a new one only now and then.
func scaleOf(first, last uint64) (s leafScale) {
	room := (last - first) / 2
	s.base = first - min(first, room)
	end := last + min(math.MaxUint64-last, room)
	s.shift = uint8(max(bits.Len64(end-s.base)-roughBits, 0))
	s.low, s.top = s.of(first), s.of(last)
	return s
}

// rescale gives the leaf a scale that holds its keys and one more prefix.
func (n *treeNode) rescale(prefix uint64) {
	first, last := prefix, prefix
	if n.n > 0 {
		first, last = min(first, n.prefixAt(0)), max(last, n.prefixAt(n.n-1))
	}
	n.scale = scaleOf(first, last)
	for i, s := range n.slots {
		n.slots[i] = atLeast(n.scale.of(n.prefixAt(i))) | leafSlot(s.offset())
	}
}

func (n *treeNode) prefixAt(i int) uint64 {
	key, _ := n.entry(i)
	return prefixOf(key)
}

// nearSlots is how far from a guess a search goes step by step: of a hundred evenly spread
// keys, the guess is some five away.
const nearSlots = 8

// guess is the slot that a rough key has if keys are spread evenly: hashes are, neighbouring
// scores and times nearly. The leaf must not be empty.
func (n *treeNode) guess(rough uint16) int {
	low, top := n.scale.low, n.scale.top
	if rough <= low || top <= low {
		return 0
	}
	last := len(n.slots) - 1
	return min(int(uint32(rough-low)*uint32(last+1)/(uint32(top-low)+1)), last)
}

// firstAtLeast is the first slot whose rough key is not below one.
func (n *treeNode) firstAtLeast(rough uint16) int {
	s, key, lo, hi := n.slots, atLeast(rough), 0, len(n.slots)
	if hi == 0 {
		return 0
	}
	guess := n.guess(rough)
	if s[guess] >= key {
		hi = guess
		for end := max(guess-nearSlots, 0); hi > end; hi-- {
			if s[hi-1] < key {
				return hi
			}
		}
	} else {
		lo = guess + 1
		for end := min(lo+nearSlots, hi); lo < end; lo++ {
			if s[lo] >= key {
				return lo
			}
		}
	}
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if s[m] < key {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// search is the first entry of a leaf whose key is >= the key, and whether it is equal.
func (n *treeNode) search(k *treeKey) (i int, ok bool) {
	rough := n.scale.of(k.prefix)
	lo := n.firstAtLeast(rough)
	hi := lo
	for by := 1; hi < len(n.slots) && n.slots[hi].rough() == rough; by *= 2 {
		hi = min(hi+by, len(n.slots))
	}
	// Entries from hi on may be above the key, but none below lo is not below it.
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		switch c := n.compare(m, k); {
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

// compare compares entry i of a leaf with the key.
func (n *treeNode) compare(i int, k *treeKey) int {
	key, _ := n.entry(i)
	return bytes.Compare(key, k.key)
}

// raw is entry i of a leaf with its lengths.
func (n *treeNode) raw(i int) []byte { return rawIn(n.data, n.slots[i]) }

func rawIn(data []byte, s leafSlot) []byte {
	d := data[s.offset():]
	if len(d) > 1 && d[0]|d[1] < 0x80 {
		return d[:2+int(d[0])+int(d[1])]
	}
	klen, kw := binary.Uvarint(d)
	vlen, vw := binary.Uvarint(d[kw:])
	return d[:kw+vw+int(klen)+int(vlen)]
}

func appendRaw(dst, key, val []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = binary.AppendUvarint(dst, uint64(len(val)))
	dst = append(dst, key...)
	return append(dst, val...)
}

func entrySize(key, val []byte) int {
	return uvarintLen(uint64(len(key))) + uvarintLen(uint64(len(val))) + len(key) + len(val)
}

// waste is the bytes of entries that are gone.
func (n *treeNode) waste() int { return len(n.data) - int(n.size) }

// takes reports whether an entry of so many bytes may be added without a split.
func (n *treeNode) takes(size int) bool {
	return int(n.size)+size <= leafMax && (len(n.data)+size <= leafMax || n.waste() >= leafWaste)
}

// leafRoom is the memory that a leaf gets for so many bytes: room for some more, but a leaf
// half full, as it is after a split, does not get all that it will once need.
func leafRoom(need int) int {
	switch {
	case need > leafMax:
		return need
	case need > leafMax*3/4:
		return leafMax
	case need > leafMax/2:
		return leafMax * 3 / 4
	}
	return max(1<<bits.Len(uint(need-1)), 8)
}

// makeRoom prepares the data for an entry of so many bytes at its end.
func (n *treeNode) makeRoom(size int) {
	need, room := int(n.size)+size, cap(n.data)
	switch {
	case room > leafMax && need <= leafMax: // the room of an entry that had the leaf to itself
		n.pack(slices.Grow([]byte(nil), leafRoom(need)), n.data)
		return
	case len(n.data)+size <= room:
		return
	}
	if need > room || room < leafMax && n.waste() < room/8 {
		// More than it has, if that is not what a full leaf has: packing soon again is dearer.
		room = leafRoom(max(need, min(room+1, leafMax)))
		n.pack(slices.Grow([]byte(nil), room), n.data)
		return
	}
	var old [leafMax]byte
	n.pack(n.data[:0], old[:copy(old[:], n.data)])
}

// pack moves the entries together, in their order, from their data into other memory.
func (n *treeNode) pack(to, from []byte) {
	if n.waste() == 0 {
		n.data = append(to, from...)
		return
	}
	for i, s := range n.slots {
		n.slots[i] = s&^math.MaxUint16 | leafSlot(len(to))
		to = append(to, rawIn(from, s)...)
	}
	n.data = to
}

// insertEntry adds an entry before entry i of a leaf. It does not split.
func (n *treeNode) insertEntry(i int, key, val []byte) {
	prefix := prefixOf(key)
	if !n.scale.holds(prefix) {
		n.rescale(prefix)
	}
	size, rough := entrySize(key, val), n.scale.of(prefix)
	n.makeRoom(size)
	n.insertSlot(i, atLeast(rough)|leafSlot(len(n.data)))
	n.data = appendRaw(n.data, key, val)
	n.n++
	n.size += int64(size)
	n.noteEnds(i)
}

func (n *treeNode) insertSlot(i int, s leafSlot) {
	if l := len(n.slots); l == cap(n.slots) {
		n.slots = append(slices.Grow([]leafSlot(nil), l+l/4+4), n.slots...)
	}
	n.slots = slices.Insert(n.slots, i, s)
}

// noteEnds keeps the scale's ends after a change at entry i.
func (n *treeNode) noteEnds(i int) {
	if i == 0 && n.n > 0 {
		n.scale.low = n.slots[0].rough()
	}
	if i+1 >= n.n && n.n > 0 {
		n.scale.top = n.slots[n.n-1].rough()
	}
}

// appendEntry is insertEntry at the end.
func (n *treeNode) appendEntry(key, val []byte) { n.insertEntry(n.n, key, val) }

// build is appendEntry for a leaf whose entries all come one after the other: they get
// their rough keys together, by endBuilding.
func (n *treeNode) build(key, val []byte) {
	size := entrySize(key, val)
	n.makeRoom(size)
	n.insertSlot(n.n, leafSlot(len(n.data)))
	n.data = appendRaw(n.data, key, val)
	n.n++
	n.size += int64(size)
}

func (n *treeNode) endBuilding() {
	if n.n > 0 {
		n.rescale(n.prefixAt(0))
	}
}

// rewrite gives entry i, whose key it is, a value of another length, if there is memory for
// it: where it is, or behind all others. by is what it then takes more.
func (n *treeNode) rewrite(i int, key, val []byte) (by int, ok bool) {
	size, old := entrySize(key, val), len(n.raw(i))
	if by = size - old; cap(n.data) > leafMax || n.size+int64(by) > leafMax {
		return 0, false
	}
	if by < 0 {
		off := n.slots[i].offset()
		appendRaw(n.data[:off], key, val)
	} else if len(n.data)+size <= cap(n.data) {
		n.slots[i] = n.slots[i]&^math.MaxUint16 | leafSlot(len(n.data))
		n.data = appendRaw(n.data, key, val)
	} else {
		return 0, false
	}
	n.size += int64(by)
	return by, true
}

// removeEntries deletes k entries of a leaf from i on and returns their bytes. They stay
// where they are, but for the last of the data.
func (n *treeNode) removeEntries(i, k int) (size int) {
	for j := i; j < i+k; j++ {
		e := n.raw(j)
		size += len(e)
		if off := n.slots[j].offset(); off+len(e) == len(n.data) {
			n.data = n.data[:off]
		}
	}
	n.slots = slices.Delete(n.slots, i, i+k)
	n.n -= k
	n.size -= int64(size)
	switch {
	case cap(n.data) > 2*leafMax: // more than to wait for what makeRoom will do with it
		n.pack(slices.Grow([]byte(nil), leafRoom(int(n.size))), n.data)
	case n.n == 0:
		n.data = n.data[:0]
	}
	n.noteEnds(i)
	return size
}

// slice is a new leaf with the entries [i, j).
func (t *tree) slice(n *treeNode, i, j int) *treeNode {
	s := t.newNode()
	s.scale = scaleOf(n.prefixAt(i), n.prefixAt(j-1))
	s.n, s.size = j-i, n.sizeBetween(i, j)
	s.data = slices.Grow([]byte(nil), leafRoom(int(s.size)))
	s.slots = slices.Grow([]leafSlot(nil), s.n+s.n/4+4)
	for k := i; k < j; k++ {
		s.slots = append(s.slots, atLeast(s.scale.of(n.prefixAt(k)))|leafSlot(len(s.data)))
		s.data = append(s.data, n.raw(k)...)
	}
	return s
}
