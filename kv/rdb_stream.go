package kv

import (
	"encoding/binary"
)

// A stream in an RDB file (types 15, 19 and 21 by what Redis 5.0, 7.0 and 7.2 added):
//
//	nodes, each                     16-byte ID it begins at, listpack
//	length, last ID
//	(19) first ID, largest deleted ID, entries added
//	groups, each                    name, last-delivered ID, (19) entries read
//	  pending entries, each         16-byte ID, delivery time (8 LE), deliveries
//	  consumers, each               name, seen time (8 LE), (21) active time (8 LE)
//	    pending entries, each       16-byte ID
//
// IDs that are not 16 bytes are two numbers. A node's listpack:
//
//	entries, deleted entries, fields, field ..., 0
//	each entry: flags, ms and number beyond the node's ID,
//	            value ...                        if it has the node's fields (flag 2)
//	            fields, field, value ...         if not
//	            elements of the entry before this one
//
// We write no deleted entries: nobody has their contents any more. What nodes owe to
// them goes before the key in a field of ours, rdbAuxStream: for each such node its
// ID (16), how many are gone (8) and what they took (8), big endian.
const (
	rdbAuxStream     = "rkv-stream"
	rdbAuxStreamNode = streamIDSize + 16

	rdbEntryDeleted    = 1
	rdbEntrySameFields = 2
)

// streamAux writes what the stream's nodes owe to deleted entries, if anything.
func (w *RDBWriter) streamAux(o *object) {
	s := viewStream(o)
	var b []byte
	for it := s.firstNode(); isNode(&it); it.next() {
		if node, _ := nodeAt(it); node.gone > 0 {
			b = node.id.appendKey(b)
			b = binary.BigEndian.AppendUint64(b, node.gone)
			b = binary.BigEndian.AppendUint64(b, node.goneBytes)
		}
	}
	if b != nil {
		w.Aux(rdbAuxStream, b)
	}
}

// stream writes a stream as type 19 or 21.
func (w *RDBWriter) stream(o *object, code byte) {
	s := viewStream(o)
	w.b = appendRDBLen(w.b, uint64(s.countBelow([]byte{streamNodes}, []byte{streamNodes + 1})))
	entries, done := s.object().t.first(), 0
	for it := s.firstNode(); isNode(&it) && w.err == nil; it.next() {
		node, _ := nodeAt(it)
		end := s.len()
		if node.closed {
			end = s.rank(node.end)
		}
		var id [streamIDSize]byte
		w.string(node.id.appendKey(id[:0]))
		w.string(w.streamNode(&node, &entries, end-done))
		w.flush(w.piece)
		done = end
	}
	w.b = appendRDBLen(w.b, uint64(s.len()))
	for _, id := range [3]streamID{s.head.last, s.first(), s.head.deleted} {
		w.b = appendRDBID(w.b, id)
	}
	w.b = appendRDBLen(w.b, s.head.added)
	w.b = appendRDBLen(w.b, uint64(s.groups()))
	s.eachGroup(func(g *streamGroup) { w.streamGroup(&s, g, code) })
}

func appendRDBID(dst []byte, id streamID) []byte {
	return appendRDBLen(appendRDBLen(dst, id.ms), id.seq)
}

// streamNode is a node as a listpack. Its entries are the next n.
func (w *RDBWriter) streamNode(node *streamNode, entries *treeIter, n int) []byte {
	p := beginListpack(w.pack[:0])
	p = appendListpackNum(p, int64(n))
	p = appendListpackNum(p, 0)
	p = appendListpackNum(p, int64(packedLen(node.fields)))
	p, fields := appendListpackAll(p, node.fields)
	p = appendListpackNum(p, 0)
	elements := 4 + fields
	for n > 0 && entries.valid() {
		leaf, i := entries.p.leaf(), entries.p.pos()
		end := min(i+n, leaf.n)
		for n -= end - i; i < end; i++ {
			key, val := leaf.entry(i)
			var parts int
			p, parts = appendRDBEntry(p, node.id, readStreamID(key), val)
			elements += parts + 1
		}
		entries.toEntry(end)
	}
	w.pack = endListpack(p, 0, elements)
	return w.pack
}

// appendRDBEntry appends an entry of the node that begins at first, and tells of how
// many elements, beside the last one.
func appendRDBEntry(p []byte, first, id streamID, val []byte) (_ []byte, parts int) {
	flags, packed := byte(0), val[1:]
	if val[0] == streamSameFields {
		flags = rdbEntrySameFields
	}
	if ms, seq := id.ms-first.ms, id.seq-first.seq; ms|seq < 128 { // the common case, at once
		p = append(p, flags, 1, byte(ms), 1, byte(seq), 1)
	} else {
		p = append(p, flags, 1)
		p = appendListpackNum(p, int64(ms))
		p = appendListpackNum(p, int64(seq))
	}
	parts = 3
	if flags != rdbEntrySameFields {
		p = appendListpackNum(p, int64(packedLen(packed)/2))
		parts++
	}
	p, n := appendListpackAll(p, packed)
	parts += n
	return appendListpackNum(p, int64(parts)), parts
}

func (w *RDBWriter) streamGroup(s *streamView, g *streamGroup, code byte) {
	var raw [streamIDSize]byte
	w.string(g.name)
	w.b = appendRDBID(w.b, g.last)
	w.b = appendRDBLen(w.b, uint64(g.read))
	w.b = appendRDBLen(w.b, uint64(s.pendingCount(g)))
	s.eachPending(g, streamID{}, maxStreamID, func(n *streamNack) bool {
		w.b = n.id.appendKey(w.b)
		w.b = binary.LittleEndian.AppendUint64(w.b, uint64(n.time))
		w.b = appendRDBLen(w.b, uint64(n.count))
		w.flush(w.piece)
		return w.err == nil
	})
	w.b = appendRDBLen(w.b, uint64(s.countNumbered(streamConsumers, g.number)))
	s.eachConsumer(g, func(c *streamConsumer) {
		w.string(c.name)
		w.b = binary.LittleEndian.AppendUint64(w.b, uint64(c.seen))
		if code >= rdbStreamListpacks3 {
			w.b = binary.LittleEndian.AppendUint64(w.b, uint64(c.active))
		}
		w.b = appendRDBLen(w.b, uint64(s.ownedCount(c)))
		s.eachOwned(c, streamID{}, maxStreamID, func(id streamID) bool {
			w.b = append(w.b, id.appendKey(raw[:0])...)
			w.flush(w.piece)
			return w.err == nil
		})
	})
}

// stream copies a stream of type 21; for version 10 as type 19. The type is not
// written yet.
func (x *rdbExporter) stream() error {
	code := byte(rdbStreamListpacks3)
	if x.version < rdbVersion {
		code = rdbStreamListpacks2
	}
	x.w.b = append(x.w.b, code)
	if err := x.strings(1); err != nil {
		return err
	}
	nodes, err := x.count()
	if err == nil {
		err = x.strings(2 * nodes)
	}
	if err == nil {
		err = x.numbers(8)
	}
	if err != nil {
		return err
	}
	groups, err := x.count()
	for ; groups > 0 && err == nil; groups-- {
		err = x.streamGroup(code)
	}
	return err
}

func (x *rdbExporter) numbers(n int) error {
	for ; n > 0; n-- {
		v, err := x.in.number()
		if err != nil {
			return err
		}
		x.w.b = appendRDBLen(x.w.b, v)
	}
	return nil
}

func (x *rdbExporter) streamGroup(code byte) error {
	if err := x.strings(1); err != nil {
		return err
	}
	if err := x.numbers(3); err != nil {
		return err
	}
	pending, err := x.count()
	for ; pending > 0 && err == nil; pending-- {
		if err = x.fixed(streamIDSize); err == nil {
			err = x.fixed(8)
		}
		if err == nil {
			err = x.numbers(1)
		}
		x.w.flush(x.w.piece)
	}
	if err != nil {
		return err
	}
	consumers, err := x.count()
	for ; consumers > 0 && err == nil; consumers-- {
		err = x.streamConsumer(code)
	}
	return err
}

func (x *rdbExporter) streamConsumer(code byte) error {
	if err := x.strings(1); err != nil {
		return err
	}
	if err := x.fixed(8); err != nil {
		return err
	}
	active, err := x.in.fixed(8)
	if err != nil {
		return err
	}
	if code >= rdbStreamListpacks3 {
		x.w.b = append(x.w.b, active...)
	}
	owned, err := x.count()
	for ; owned > 0 && err == nil; owned-- {
		err = x.fixed(streamIDSize)
		x.w.flush(x.w.piece)
	}
	return err
}

// sumStream digests a stream: entries and nodes in their order, what it counts, and
// groups with what is pending. Numbers of groups and consumers do not count.
func (d *keyDigest) sumStream(o *object) sum128 {
	s := viewStream(o)
	d.begin()
	h := &s.head
	d.id(h.last)
	d.id(h.deleted)
	d.number(h.added)
	for it := s.firstNode(); isNode(&it); it.next() {
		key, val := it.entry()
		d.id(readStreamID(key[1:]))
		d.element(val)
	}
	d.number(uint64(s.len()))
	s.walk(streamID{}, maxStreamID, false, func(e *streamEntry) bool {
		d.id(e.id)
		d.number(uint64(e.len()))
		e.each(func(field, val []byte) {
			d.element(field)
			d.element(val)
		})
		return true
	})
	s.eachGroup(func(g *streamGroup) { d.streamGroup(&s, g) })
	return d.end()
}

func (d *keyDigest) id(id streamID) {
	d.number(id.ms)
	d.number(id.seq)
}

func (d *keyDigest) streamGroup(s *streamView, g *streamGroup) {
	d.element(g.name)
	d.id(g.last)
	d.number(uint64(g.read))
	s.eachConsumer(g, func(c *streamConsumer) {
		d.element(c.name)
		d.number(uint64(c.seen))
		d.number(uint64(c.active))
	})
	d.number(uint64(s.pendingCount(g)))
	s.eachPending(g, streamID{}, maxStreamID, func(n *streamNack) bool {
		d.id(n.id)
		d.element(s.consumerName(n.consumer))
		d.number(uint64(n.time))
		d.number(uint64(n.count))
		return true
	})
}
