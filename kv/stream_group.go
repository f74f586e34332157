package kv

import (
	"encoding/binary"
)

// Consumer groups live in the stream's second tree, below these first bytes. A group
// and a consumer have a number, unique in the stream, which stands for the name in
// the keys that are many:
//
//	'g' name          -> number(6) last-delivered-id(16) entries-read(8)
//	'c' group(6) name -> number(6) seen-time(8) active-time(8)
//	'n' consumer(6)   -> name
//	'p' group(6) id   -> consumer(6) delivery-time(8) delivery-count(8)
//	'q' consumer(6) id -> nothing: the consumer's share of the line above
//
// So names list in Redis's order, pending entries in that of their IDs, and how many
// a group or a consumer has is a difference of two ranks. A number has 48 bits: a
// million new consumers a second use them up in nine years. Numbers are no part of
// what is replicated: a restored stream may number its groups otherwise.
const (
	streamGroups    = 'g'
	streamConsumers = 'c'
	streamNames     = 'n'
	streamPending   = 'p'
	streamOwned     = 'q'
)

const streamNumberSize = 6

// unknownRead is a group's entries-read when nobody can tell.
const unknownRead = -1

// streamGroup is a group opened by a command. Its fields are copies; saveGroup
// writes them back.
type streamGroup struct {
	name   []byte
	number uint64
	last   streamID
	read   int64
}

// streamConsumer is a consumer of a group, as a copy.
type streamConsumer struct {
	name   []byte
	number uint64
	// seen and active are Unix ms of the last attempt and of the last success;
	// active is -1 before the first.
	seen, active int64
}

// streamNack is a pending entry: delivered, not yet acknowledged.
type streamNack struct {
	id       streamID
	consumer uint64
	time     int64 // Unix ms of the last delivery
	count    int64 // of deliveries
}

func appendNumber(dst []byte, n uint64) []byte {
	return append(dst, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func readNumber(b []byte) uint64 {
	return uint64(b[0])<<40 | uint64(b[1])<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

func numberKey(dst []byte, kind byte, n uint64) []byte { return appendNumber(append(dst, kind), n) }

func numberedID(dst []byte, kind byte, n uint64, id streamID) []byte {
	return id.appendKey(numberKey(dst, kind, n))
}

const numberedIDSize = 1 + streamNumberSize + streamIDSize

// newNumber is the number of a new group or consumer. saveHead must follow.
func (s *streamView) newNumber() uint64 {
	s.head.numbers++
	return s.head.numbers
}

// group looks a group up.
func (s *streamView) group(name []byte) (g streamGroup, ok bool) {
	var room [keyBufSize]byte
	val, ok := s.object().t2.get(append(append(room[:0], streamGroups), name...))
	if ok {
		g = readGroup(name, val)
	}
	return g, ok
}

func readGroup(name, val []byte) streamGroup {
	return streamGroup{name: name, number: readNumber(val), last: readStreamID(val[6:]), read: int64(binary.BigEndian.Uint64(val[22:]))}
}

// saveGroup adds or changes a group.
func (s *streamView) saveGroup(g *streamGroup) {
	var room [keyBufSize]byte
	var val [streamNumberSize + streamIDSize + 8]byte
	v := g.last.appendKey(appendNumber(val[:0], g.number))
	v = binary.BigEndian.AppendUint64(v, uint64(g.read))
	s.mutable().t2.put(append(append(room[:0], streamGroups), g.name...), v)
}

// eachGroup visits the groups in the order of their names; visit must not change
// the stream.
func (s *streamView) eachGroup(visit func(g *streamGroup)) {
	prefix := [1]byte{streamGroups}
	for it := s.object().t2.seek(prefix[:]); it.valid() && it.key()[0] == streamGroups; it.next() {
		key, val := it.entry()
		g := readGroup(key[1:], val)
		visit(&g)
	}
}

// groups is the number of groups.
func (s *streamView) groups() int {
	return s.countBelow([]byte{streamGroups}, []byte{streamGroups + 1})
}

// countBelow is the number of keys of t2 in [lo, hi).
func (s *streamView) countBelow(lo, hi []byte) int {
	t := s.object().t2
	from, _ := t.rank(lo)
	to, _ := t.rank(hi)
	return to - from
}

// countNumbered is the number of keys of a kind under a number.
func (s *streamView) countNumbered(kind byte, n uint64) int {
	var lo, hi [1 + streamNumberSize]byte
	return s.countBelow(numberKey(lo[:0], kind, n), numberKey(hi[:0], kind, n+1))
}

func (s *streamView) dropNumbered(kind byte, n uint64) {
	t := s.mutable().t2
	var key [1 + streamNumberSize]byte
	from, _ := t.rank(numberKey(key[:0], kind, n))
	to, _ := t.rank(numberKey(key[:0], kind, n+1))
	t.delRange(from, to)
}

// dropGroup deletes a group with all it has.
func (s *streamView) dropGroup(g *streamGroup) {
	var gone []uint64
	s.eachConsumer(g, func(c *streamConsumer) { gone = append(gone, c.number) })
	for _, n := range gone {
		s.dropNumbered(streamOwned, n)
		s.dropNumbered(streamNames, n)
	}
	s.dropNumbered(streamPending, g.number)
	s.dropNumbered(streamConsumers, g.number)
	s.mutable().t2.del(append([]byte{streamGroups}, g.name...))
	s.c.work(10 * len(gone))
}

func consumerKey(dst []byte, g *streamGroup, name []byte) []byte {
	return append(numberKey(dst, streamConsumers, g.number), name...)
}

// consumer looks a consumer up.
func (s *streamView) consumer(g *streamGroup, name []byte) (c streamConsumer, ok bool) {
	var room [keyBufSize]byte
	val, ok := s.object().t2.get(consumerKey(room[:0], g, name))
	if ok {
		c = readConsumer(name, val)
	}
	return c, ok
}

func readConsumer(name, val []byte) streamConsumer {
	return streamConsumer{
		name: name, number: readNumber(val),
		seen: int64(binary.BigEndian.Uint64(val[6:])), active: int64(binary.BigEndian.Uint64(val[14:])),
	}
}

// saveConsumer changes a consumer, or adds one that has a number.
func (s *streamView) saveConsumer(g *streamGroup, c *streamConsumer) {
	var room [keyBufSize]byte
	var val [streamNumberSize + 16]byte
	v := appendNumber(val[:0], c.number)
	v = binary.BigEndian.AppendUint64(v, uint64(c.seen))
	v = binary.BigEndian.AppendUint64(v, uint64(c.active))
	s.mutable().t2.put(consumerKey(room[:0], g, c.name), v)
}

// addConsumer makes a new consumer. saveHead must follow.
func (s *streamView) addConsumer(g *streamGroup, name []byte, now int64) streamConsumer {
	c := streamConsumer{name: name, number: s.newNumber(), seen: now, active: -1}
	s.saveConsumer(g, &c)
	var key [1 + streamNumberSize]byte
	s.mutable().t2.put(numberKey(key[:0], streamNames, c.number), name)
	return c
}

// eachConsumer visits a group's consumers in the order of their names; visit must
// not change the stream.
func (s *streamView) eachConsumer(g *streamGroup, visit func(c *streamConsumer)) {
	var room [1 + streamNumberSize]byte
	prefix := numberKey(room[:0], streamConsumers, g.number)
	for it := s.object().t2.seek(prefix); it.valid() && hasPrefix(it.key(), prefix); it.next() {
		key, val := it.entry()
		c := readConsumer(key[len(prefix):], val)
		visit(&c)
	}
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix)
}

// consumerName is the name of the consumer with a number.
func (s *streamView) consumerName(n uint64) []byte {
	var key [1 + streamNumberSize]byte
	name, _ := s.object().t2.get(numberKey(key[:0], streamNames, n))
	return name
}

// dropConsumer deletes a consumer with what is pending with it, and returns how many
// entries that were.
func (s *streamView) dropConsumer(g *streamGroup, c *streamConsumer) (pending int) {
	var ids []streamID
	s.eachOwned(c, streamID{}, maxStreamID, func(id streamID) bool {
		ids = append(ids, id)
		return true
	})
	t := s.mutable().t2
	var key [numberedIDSize]byte
	for _, id := range ids {
		t.del(numberedID(key[:0], streamPending, g.number, id))
	}
	s.dropNumbered(streamOwned, c.number)
	s.dropNumbered(streamNames, c.number)
	t.del(consumerKey(nil, g, c.name))
	s.c.work(5 * len(ids))
	return len(ids)
}

// pendingCount is the number of entries pending with the group, ownedCount that with a
// consumer.
func (s *streamView) pendingCount(g *streamGroup) int {
	return s.countNumbered(streamPending, g.number)
}

func (s *streamView) ownedCount(c *streamConsumer) int { return s.countNumbered(streamOwned, c.number) }

// nack looks a pending entry up.
func (s *streamView) nack(g *streamGroup, id streamID) (n streamNack, ok bool) {
	var key [numberedIDSize]byte
	val, ok := s.object().t2.get(numberedID(key[:0], streamPending, g.number, id))
	if ok {
		n = readNack(id, val)
	}
	return n, ok
}

func readNack(id streamID, val []byte) streamNack {
	return streamNack{
		id: id, consumer: readNumber(val),
		time: int64(binary.BigEndian.Uint64(val[6:])), count: int64(binary.BigEndian.Uint64(val[14:])),
	}
}

// saveNack adds or changes a pending entry. from is the consumer that had it, 0 if
// none did.
func (s *streamView) saveNack(g *streamGroup, n *streamNack, from uint64) {
	t := s.mutable().t2
	var key [numberedIDSize]byte
	var val [streamNumberSize + 16]byte
	v := appendNumber(val[:0], n.consumer)
	v = binary.BigEndian.AppendUint64(v, uint64(n.time))
	v = binary.BigEndian.AppendUint64(v, uint64(n.count))
	t.put(numberedID(key[:0], streamPending, g.number, n.id), v)
	if from == n.consumer {
		return
	}
	if from != 0 {
		t.del(numberedID(key[:0], streamOwned, from, n.id))
	}
	t.put(numberedID(key[:0], streamOwned, n.consumer, n.id), nil)
}

// dropNack ends an entry's being pending.
func (s *streamView) dropNack(g *streamGroup, n *streamNack) {
	t := s.mutable().t2
	var key [numberedIDSize]byte
	t.del(numberedID(key[:0], streamPending, g.number, n.id))
	t.del(numberedID(key[:0], streamOwned, n.consumer, n.id))
}

// eachPending visits the group's pending entries lo <= id <= hi until visit returns
// false; visit must not change the stream.
func (s *streamView) eachPending(g *streamGroup, lo, hi streamID, visit func(n *streamNack) bool) {
	var from, prefix [numberedIDSize]byte
	p := numberKey(prefix[:0], streamPending, g.number)
	it := s.object().t2.seek(numberedID(from[:0], streamPending, g.number, lo))
	for ; it.valid() && hasPrefix(it.key(), p); it.next() {
		key, val := it.entry()
		n := readNack(readStreamID(key[len(p):]), val)
		if hi.less(n.id) || !visit(&n) {
			return
		}
	}
}

// eachOwned visits the IDs pending with a consumer, likewise.
func (s *streamView) eachOwned(c *streamConsumer, lo, hi streamID, visit func(id streamID) bool) {
	var from, prefix [numberedIDSize]byte
	p := numberKey(prefix[:0], streamOwned, c.number)
	it := s.object().t2.seek(numberedID(from[:0], streamOwned, c.number, lo))
	for ; it.valid() && hasPrefix(it.key(), p); it.next() {
		id := readStreamID(it.key()[len(p):])
		if hi.less(id) || !visit(id) {
			return
		}
	}
}

// The logical position of groups: how many of the entries ever added a group has
// read, and how many it lags behind. Redis gives a number only where it is sure of
// it, and so do we, by the same rules.

// hasTombstones reports whether an entry from an ID on may have been deleted out of
// the middle.
func (s *streamView) hasTombstones(from streamID) bool {
	return s.len() > 0 && !s.head.deleted.isZero() && !s.head.deleted.less(s.first()) && !s.head.deleted.less(from)
}

// distance is how many entries had been added when this ID was the last, or
// unknownRead.
func (s *streamView) distance(id streamID) int64 {
	h := &s.head
	switch first := s.first(); {
	case h.added == 0:
		return 0
	case s.len() == 0 && !h.last.less(id):
		return int64(h.added)
	case id == h.last:
		return int64(h.added)
	case h.last.less(id):
		return unknownRead
	case !h.deleted.isZero() && !h.deleted.less(first):
		return unknownRead
	case id.less(first):
		return int64(h.added) - int64(s.len())
	case id == first:
		return int64(h.added) - int64(s.len()) + 1
	}
	return unknownRead
}

// lag is how many entries the group has yet to read; ok is false if nobody can tell.
func (s *streamView) lag(g *streamGroup) (n int64, ok bool) {
	if s.head.added == 0 {
		return 0, true
	}
	if g.read != unknownRead && !s.hasTombstones(g.last) {
		return int64(s.head.added) - g.read, true
	}
	n = s.distance(g.last)
	return int64(s.head.added) - n, n != unknownRead
}

// advance notes that the group was handed an entry.
func (s *streamView) advance(g *streamGroup, id streamID) {
	if !g.last.less(id) {
		return
	}
	if g.read != unknownRead && !s.hasTombstones(id) {
		g.read++
	} else if s.head.added > 0 {
		g.read = s.distance(id)
	}
	g.last = id
}
