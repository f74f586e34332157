package kv

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Redis keeps a stream in nodes, of about a hundred entries each, and shows it:
// approximate trimming removes whole nodes only, XINFO counts them. So we keep their
// borders: for each node an entry of t2, with the ID it begins at and the fields of
// the entry that opened it, which entries with the same fields do not repeat. A node
// ends where the next begins. It has entries: with the last of them it goes.
//
//	'a' id(16) -> uvarint gone, uvarint goneBytes, packed fields
//
// Redis leaves deleted entries in their node, which is as full with them as it was
// before. So the node keeps account of them.
const streamNodes = 'a'

// streamTail is the node new entries go to: what decides whether it is full. It
// follows from the nodes (lastNode), and is kept because every XADD asks for it.
type streamTail struct {
	id streamID
	// total counts the entries the node ever had, 0: there is no node; deleted those
	// that are gone.
	total, deleted uint32
	// body is the size of Redis's node of these entries without its frame and its
	// two counters.
	body uint64
}

// streamNode is a node looked up. It aliases the stream.
type streamNode struct {
	id streamID
	// end is where the next one begins; ok is false if there is none.
	end    streamID
	closed bool
	found  bool
	// gone counts deleted entries, goneBytes is what they took in Redis's node.
	gone, goneBytes uint64
	fields          []byte
}

// holds reports whether an entry of this ID would be in the node.
func (n *streamNode) holds(id streamID) bool {
	return n.found && !id.less(n.id) && (!n.closed || id.less(n.end))
}

func appendNodeKey(dst []byte, id streamID) []byte { return id.appendKey(append(dst, streamNodes)) }

// isNode reports whether an iterator of t2 is at a node.
func isNode(it *treeIter) bool { return it.valid() && it.key()[0] == streamNodes }

func nodeAt(it treeIter) (n streamNode, ok bool) {
	if !isNode(&it) {
		return n, false
	}
	key, val := it.entry()
	n = streamNode{id: readStreamID(key[1:]), found: true}
	n.gone, val = cutUvarint(val)
	n.goneBytes, n.fields = cutUvarint(val)
	if it.next(); isNode(&it) {
		n.end, n.closed = readStreamID(it.key()[1:]), true
	}
	return n, true
}

func cutUvarint(b []byte) (n uint64, rest []byte) {
	n, w := binary.Uvarint(b)
	return n, b[max(w, 0):]
}

// saveNode adds or changes a node.
func (s *streamView) saveNode(n *streamNode) {
	val := binary.AppendUvarint(nil, n.gone)
	val = binary.AppendUvarint(val, n.goneBytes)
	var key [1 + streamIDSize]byte
	s.mutable().t2.put(appendNodeKey(key[:0], n.id), append(val, n.fields...))
}

// nodeOf is the node an entry of this ID is in.
func (s *streamView) nodeOf(id streamID) (streamNode, bool) {
	var key [1 + streamIDSize]byte
	return nodeAt(s.object().t2.floor(appendNodeKey(key[:0], id)))
}

// firstNode is at the first node, if it is a node.
func (s *streamView) firstNode() treeIter { return s.object().t2.seek([]byte{streamNodes}) }

// placeInNode makes room for an entry that is going to be added: in the tail, or in
// a new node if that is full. It reports whether the entry has the node's fields.
func (s *streamView) placeInNode(id streamID, pairs [][]byte) (same bool) {
	tail := &s.head.tail
	if tail.total > 0 && !s.tailIsFull(pairs) {
		node, _ := s.nodeOf(tail.id)
		same = sameFields(node.fields, pairs)
	} else {
		s.openNode(id, pairs)
		same = true
	}
	tail.total++
	tail.body += nodeEntrySize(tail.id, id, same, pairs)
	return same
}

func (s *streamView) openNode(id streamID, pairs [][]byte) {
	fields := make([][]byte, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, pairs[i])
	}
	node := streamNode{id: id, fields: packedOf(nil, fields...)}
	s.saveNode(&node)
	s.head.tail = streamTail{id: id, body: nodeMasterSize(node.fields)}
}

// streamNodeMaxBytes is Redis's bound of a node when the setting is 0.
const streamNodeMaxBytes = 1 << 30

// tailIsFull judges as Redis does: by the node's size with the new elements, though
// not with what they cost beyond their bytes, and by the entries it ever had.
func (s *streamView) tailIsFull(pairs [][]byte) bool {
	set, tail := s.c.settings(), &s.head.tail
	size := tail.bytes()
	for _, e := range pairs {
		size += uint64(len(e))
	}
	limit := uint64(set.StreamNodeMaxBytes)
	if limit == 0 || limit > streamNodeMaxBytes {
		limit = streamNodeMaxBytes
	}
	return size >= limit || set.StreamNodeMaxEntries > 0 && int64(tail.total) >= set.StreamNodeMaxEntries
}

// bytes is the size of Redis's node.
func (t *streamTail) bytes() uint64 {
	return listpackHeader + 1 + listpackIntSize(int64(t.total-t.deleted)) + listpackIntSize(int64(t.deleted)) + t.body
}

func sameFields(fields []byte, pairs [][]byte) bool {
	if 2*packedLen(fields) != len(pairs) {
		return false
	}
	it := iterPacked(fields)
	for i := 0; i < len(pairs); i += 2 {
		if field, ok := it.next(); !ok || !bytes.Equal(field, pairs[i]) {
			return false
		}
	}
	return true
}

// leaveNode takes an entry that was just deleted out of its node's account; size is
// what it took.
func (s *streamView) leaveNode(id streamID, size uint64) {
	node, _ := s.nodeOf(id)
	var key [streamIDSize]byte
	if left := s.object().t.seek(node.id.appendKey(key[:0])); left.valid() && node.holds(idAt(left)) {
		s.bury(&node, 1, size)
		return
	}
	s.dropNode(node.id)
	if node.id == s.head.tail.id {
		s.head.tail = s.lastNode()
	}
}

// bury notes deleted entries of a node that has others.
func (s *streamView) bury(node *streamNode, entries int, size uint64) {
	node.gone += uint64(entries)
	node.goneBytes += size
	s.saveNode(node)
	if node.id == s.head.tail.id {
		s.head.tail.deleted += uint32(entries)
	}
}

func (s *streamView) dropNode(id streamID) {
	var key [1 + streamIDSize]byte
	s.mutable().t2.del(appendNodeKey(key[:0], id))
}

// lastNode counts the last node.
func (s *streamView) lastNode() (tail streamTail) {
	node, ok := s.nodeOf(maxStreamID)
	if !ok {
		return tail
	}
	tail = streamTail{id: node.id, deleted: uint32(node.gone), body: nodeMasterSize(node.fields) + node.goneBytes}
	live, size := s.nodeEntries(&node, math.MaxInt)
	tail.total = uint32(live) + tail.deleted
	tail.body += size
	return tail
}

// nodeEntries counts a node's first entries, at most limit, and what they take.
func (s *streamView) nodeEntries(node *streamNode, limit int) (n int, size uint64) {
	var pairs [][]byte
	s.walk(node.id, maxStreamID, false, func(e *streamEntry) bool {
		if n == limit || !node.holds(e.id) {
			return false
		}
		pairs = pairs[:0]
		e.each(func(field, val []byte) { pairs = append(pairs, field, val) })
		n++
		size += nodeEntrySize(node.id, e.id, e.same, pairs)
		return true
	})
	return n, size
}

// entrySize is what an entry takes in its node, if it is there.
func (s *streamView) entrySize(id streamID) (size uint64, found bool) {
	var pairs [][]byte
	found = s.entry(id, func(e *streamEntry) {
		node, _ := s.nodeOf(id)
		e.each(func(field, val []byte) { pairs = append(pairs, field, val) })
		size = nodeEntrySize(node.id, id, e.same, pairs)
	})
	return size, found
}

// The sizes of Redis's node are those of the listpack in rdb_stream.go.

func nodeMasterSize(fields []byte) (n uint64) {
	it := iterPacked(fields)
	for field, ok := it.next(); ok; field, ok = it.next() {
		n += listpackSize(field)
	}
	return n + listpackIntSize(int64(packedLen(fields))) + listpackIntSize(0)
}

func nodeEntrySize(master, id streamID, same bool, pairs [][]byte) uint64 {
	n := listpackIntSize(0) + listpackIntSize(int64(id.ms-master.ms)) + listpackIntSize(int64(id.seq-master.seq))
	parts := 3 + len(pairs)/2
	if !same {
		parts += 1 + len(pairs)/2
		n += listpackIntSize(int64(len(pairs) / 2))
	}
	for i, e := range pairs {
		if !same || i%2 == 1 {
			n += listpackSize(e)
		}
	}
	return n + listpackIntSize(int64(parts))
}

// listpackSize is the number of bytes appendListpack appends.
func listpackSize(elem []byte) uint64 {
	if n, ok := parseInt(elem); ok {
		return listpackIntSize(n)
	}
	n := uint64(len(elem))
	switch {
	case n < 64:
		n++
	case n < 4096:
		n += 2
	default:
		n += 5
	}
	return n + uint64(backlenSize(n))
}

// listpackIntSize is listpackSize of an integer.
func listpackIntSize(n int64) uint64 {
	switch {
	case n >= 0 && n <= 127:
		return 2
	case n >= -4096 && n <= 4095:
		return 3
	case n >= math.MinInt16 && n <= math.MaxInt16:
		return 4
	case n >= -1<<23 && n < 1<<23:
		return 5
	case n >= math.MinInt32 && n <= math.MaxInt32:
		return 6
	}
	return 10
}

// nodeCount is the number of nodes, and of nodes of the radix tree that Redis keeps
// them in: one per key, one per fork, and one per run of bytes between forks.
func (s *streamView) nodeCount() (keys, radix int) {
	var forks []int // depths on the way to the current key
	top := func() int {
		if len(forks) == 0 {
			return -1
		}
		return forks[len(forks)-1]
	}
	add := func(depth, parent int) {
		radix++
		if depth > parent+1 {
			radix++
		}
	}
	var prev, key [streamIDSize]byte
	for it := s.firstNode(); isNode(&it); it.next() {
		copy(key[:], it.key()[1:])
		if keys++; keys > 1 {
			common := 0
			for prev[common] == key[common] {
				common++
			}
			add(streamIDSize, max(top(), common))
			for top() > common {
				depth := top()
				forks = forks[:len(forks)-1]
				add(depth, max(top(), common))
			}
			if top() < common {
				forks = append(forks, common)
			}
		}
		prev = key
	}
	if keys == 0 {
		return 0, 1
	}
	add(streamIDSize, top())
	for len(forks) > 0 {
		depth := top()
		forks = forks[:len(forks)-1]
		add(depth, top())
	}
	return keys, radix
}
