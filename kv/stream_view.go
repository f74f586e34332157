package kv

import (
	"bytes"
	"encoding/binary"
)

// streamView is a stream opened by a command. A stream is an object from its first
// moment, and everything it holds is in the object's two trees and in str, so that
// a cut sees one state of all of it:
//
//	t    id -> entry
//	t2   nodes, groups, consumers, pending entries, by a first byte that tells
//	     which (stream_node.go, stream_group.go)
//	str  the head
//
// An entry's value is a byte that tells whether it has the fields of its node, then
// packed elements: values alone in that case, else fields and values in turn.
type streamView struct {
	collection
	head streamHead
}

// streamHead is what a stream knows beyond its entries: 80 bytes, changed in place.
type streamHead struct {
	// last is the largest ID ever given, deleted the largest one that XDEL removed.
	last, deleted streamID
	// added counts the entries ever added.
	added uint64
	// numbers counts groups and consumers ever made: it numbers them.
	numbers uint64
	// tail is the node that grows (stream_node.go).
	tail streamTail
}

const streamHeadSize = 2*streamIDSize + 8 + 8 + streamIDSize + 4 + 4 + 8

func readStreamHead(b []byte) (h streamHead) {
	if len(b) != streamHeadSize {
		return h
	}
	h.last, h.deleted = readStreamID(b), readStreamID(b[16:])
	h.added, h.numbers = binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])
	h.tail = streamTail{
		id: readStreamID(b[48:]), total: binary.BigEndian.Uint32(b[64:]),
		deleted: binary.BigEndian.Uint32(b[68:]), body: binary.BigEndian.Uint64(b[72:]),
	}
	return h
}

func (h *streamHead) append(b []byte) []byte {
	b = h.deleted.appendKey(h.last.appendKey(b))
	b = binary.BigEndian.AppendUint64(b, h.added)
	b = binary.BigEndian.AppendUint64(b, h.numbers)
	b = h.tail.id.appendKey(b)
	b = binary.BigEndian.AppendUint32(b, h.tail.total)
	b = binary.BigEndian.AppendUint32(b, h.tail.deleted)
	return binary.BigEndian.AppendUint64(b, h.tail.body)
}

// openStream opens the key's stream. If ok is false WRONGTYPE was replied. Of a
// missing key only found and create may be used.
func (c *Ctx) openStream(key []byte) (s streamView, ok bool) {
	s.collection, ok = c.openCollection(key, TypeStream)
	if s.found {
		s.head = readStreamHead(s.object().str)
	}
	return s, ok
}

// newStreamObject is an empty stream.
func newStreamObject(h *heap) *object {
	o := h.newObject()
	o.t, o.t2 = newTree(h), newTree(h)
	o.str = (&streamHead{}).append(make([]byte, 0, streamHeadSize))
	return o
}

// create makes the missing key an empty stream.
func (s *streamView) create() {
	s.v = Value{Type: TypeStream}
	s.becomeTree(newStreamObject(s.heap()))
	s.c.put(s.key, s.v)
	s.pending, s.found = false, true
}

// viewStream is a stream outside of a command (digest, RDB).
func viewStream(o *object) streamView {
	s := streamView{head: readStreamHead(o.str)}
	s.v = Value{Type: TypeStream, Enc: EncTree, Obj: o}
	s.owned = true
	return s
}

// saveHead stores the head. It must follow the last change of it.
func (s *streamView) saveHead() {
	str := s.mutable().str
	s.head.append(str[:0])
}

// len is the number of entries.
func (s *streamView) len() int { return s.object().t.len() }

// first and final are the IDs of the entries at the ends, 0-0 if there are none.
func (s *streamView) first() streamID { return idAt(s.object().t.first()) }
func (s *streamView) final() streamID { return idAt(s.object().t.last()) }

func idAt(it treeIter) streamID {
	if !it.valid() {
		return streamID{}
	}
	return readStreamID(it.key())
}

// has reports whether there is an entry.
func (s *streamView) has(id streamID) bool {
	var key [streamIDSize]byte
	_, ok := s.object().t.get(id.appendKey(key[:0]))
	return ok
}

// rank is the number of entries before an ID.
func (s *streamView) rank(id streamID) int {
	var key [streamIDSize]byte
	n, _ := s.object().t.rank(id.appendKey(key[:0]))
	return n
}

// nextID is the ID XADD gives to an entry at a time in ms.
func (s *streamView) nextID(now int64) streamID {
	if ms := uint64(max(now, 0)); ms > s.head.last.ms {
		return streamID{ms: ms}
	}
	id, _ := s.head.last.next()
	return id
}

// add appends an entry; its ID is above head.last. saveHead must follow.
func (s *streamView) add(id streamID, pairs [][]byte) {
	o := s.mutable()
	same := s.placeInNode(id, pairs)
	var key [streamIDSize]byte
	var room [256]byte
	o.t.put(id.appendKey(key[:0]), appendStreamEntry(room[:0], same, pairs))
	s.head.last = id
	s.head.added++
}

// remove deletes an entry and reports whether it was there. saveHead must follow.
func (s *streamView) remove(id streamID) bool {
	size, found := s.entrySize(id)
	if !found {
		return false
	}
	var key [streamIDSize]byte
	s.mutable().t.del(id.appendKey(key[:0]))
	s.leaveNode(id, size)
	return true
}

// An entry's first byte.
const (
	streamOwnFields  = 0
	streamSameFields = 1
)

func appendStreamEntry(dst []byte, same bool, pairs [][]byte) []byte {
	if !same {
		return packedOf(append(dst, streamOwnFields), pairs...)
	}
	dst = append(dst, streamSameFields)
	dst = binary.AppendUvarint(dst, uint64(len(pairs)/2))
	for i := 1; i < len(pairs); i += 2 {
		dst = appendElems(dst, pairs[i:i+1])
	}
	return dst
}

// streamEntry is one entry as it is held. It aliases the stream.
type streamEntry struct {
	id streamID
	// same: packed holds the values of the node's fields; else fields and values.
	same   bool
	packed []byte
	fields []byte // packed fields of the node
}

// len is the number of fields.
func (e *streamEntry) len() int {
	if e.same {
		return packedLen(e.fields)
	}
	return packedLen(e.packed) / 2
}

// each calls fn for the fields.
func (e *streamEntry) each(fn func(field, val []byte)) {
	vals, fields := iterPacked(e.packed), iterPacked(e.fields)
	for n := e.len(); n > 0; n-- {
		var field []byte
		if e.same {
			field, _ = fields.next()
		} else {
			field, _ = vals.next()
		}
		val, _ := vals.next()
		fn(field, val)
	}
}

// reply appends the entry as XRANGE shows it.
func (e *streamEntry) reply(out *Reply) {
	out.Array(2)
	e.id.reply(out)
	out.Array(2 * e.len())
	e.each(func(field, val []byte) {
		out.Bulk(field)
		out.Bulk(val)
	})
}

// walk visits the entries lo <= id <= hi, from hi down if rev, until visit returns
// false. visit must not change the stream; the entry is valid during the call.
func (s *streamView) walk(lo, hi streamID, rev bool, visit func(e *streamEntry) bool) {
	t := s.object().t
	var key [streamIDSize]byte
	var it treeIter
	if rev {
		it = t.floor(hi.appendKey(key[:0]))
	} else {
		it = t.seek(lo.appendKey(key[:0]))
	}
	var e streamEntry
	var node streamNode
	for it.valid() {
		k, val := it.entry()
		e.id = readStreamID(k)
		if e.id.less(lo) || hi.less(e.id) {
			return
		}
		if !node.holds(e.id) {
			node, _ = s.nodeOf(e.id)
		}
		e.same, e.packed, e.fields = val[0] == streamSameFields, val[1:], node.fields
		if !visit(&e) {
			return
		}
		if rev {
			it.prev()
		} else {
			it.next()
		}
	}
}

// entry is one entry, if it is there.
func (s *streamView) entry(id streamID, visit func(e *streamEntry)) (found bool) {
	s.walk(id, id, false, func(e *streamEntry) bool {
		found = true
		visit(e)
		return false
	})
	return found
}

// floor is at the last entry whose key is <= key; invalid if there is none.
func (t *tree) floor(key []byte) treeIter {
	it := t.seek(key)
	switch {
	case !it.valid():
		return t.last()
	case !bytes.Equal(it.key(), key):
		it.prev()
	}
	return it
}
