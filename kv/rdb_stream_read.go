package kv

import (
	"encoding/binary"
	"math"
)

// number reads a number of any size.
func (in *rdbInput) number() (uint64, error) {
	n, special, err := in.length()
	if err == nil && special >= 0 {
		err = in.errorf("number of kind %d", special)
	}
	return n, err
}

// streamID reads an ID as two numbers.
func (in *rdbInput) streamID() (id streamID, err error) {
	if id.ms, err = in.number(); err == nil {
		id.seq, err = in.number()
	}
	return id, err
}

// rawStreamID reads an ID of 16 bytes.
func (in *rdbInput) rawStreamID() (id streamID, err error) {
	b, err := in.fixed(streamIDSize)
	if err == nil {
		id = readStreamID(b)
	}
	return id, err
}

// time reads Unix ms.
func (in *rdbInput) time() (int64, error) {
	b, err := in.fixed(8)
	if err != nil {
		return 0, err
	}
	return littleInt(b), nil
}

// rdbStreamReader builds one stream. It takes the entries as they come, so it needs
// no more memory than they do.
type rdbStreamReader struct {
	d    *rdbValueDecoder
	in   *rdbInput
	s    streamView
	code byte
	// top is the largest ID so far: the file must be in order.
	top   streamID
	any   bool
	entry []byte // scratch
	field []byte
}

// stream decodes a stream of type 15, 19 or 21.
func (d *rdbValueDecoder) stream(code byte) (Value, error) {
	r := rdbStreamReader{d: d, in: d.in, code: code, s: viewStream(newStreamObject(d.h))}
	for _, step := range []func() error{r.nodes, r.head, r.groups} {
		if err := step(); err != nil {
			return Value{}, err
		}
	}
	r.s.head.tail = r.s.lastNode()
	r.s.saveHead()
	return r.s.v, nil
}

func (r *rdbStreamReader) nodes() error {
	n, err := r.in.count()
	for ; n > 0 && err == nil; n-- {
		err = r.node()
	}
	return err
}

func (r *rdbStreamReader) node() error {
	key, err := r.in.string(&r.d.s1)
	if err != nil {
		return err
	}
	if len(key) != streamIDSize {
		return r.in.errorf("stream node with an ID of %d bytes", len(key))
	}
	id := readStreamID(key)
	if r.any && !r.top.less(id) {
		return r.in.errorf("stream nodes out of order")
	}
	blob, err := r.in.string(&r.d.s1)
	if err != nil {
		return err
	}
	it, _, err := iterListpack(blob)
	if err != nil {
		return r.in.errorf("%v", err)
	}
	p := listpackReader{in: r.in, it: it}
	live, deleted := p.number(), p.number()
	fields := r.master(&p)
	if p.err != nil {
		return p.err
	}
	if live < 1 || live > math.MaxUint32/2 || deleted < 0 || deleted > math.MaxUint32/2 {
		return r.in.errorf("stream node of %d entries, %d deleted", live, deleted)
	}
	before := r.s.len()
	node := streamNode{id: id, fields: fields}
	for !p.atEnd() {
		from := p.it.pos
		wasDeleted, err := r.nodeEntry(&p, id, fields)
		if err != nil {
			return err
		}
		if wasDeleted {
			node.gone++
			node.goneBytes += uint64(p.it.pos - from)
		}
	}
	if p.err != nil {
		return p.err
	}
	if int64(r.s.len()-before) != live || node.gone != uint64(deleted) {
		return r.in.errorf("stream node of %d entries says %d", r.s.len()-before, live)
	}
	r.s.saveNode(&node)
	return nil
}

// master reads a node's fields, packed.
func (r *rdbStreamReader) master(p *listpackReader) []byte {
	n := p.count()
	r.field = binary.AppendUvarint(r.field[:0], uint64(n))
	for ; n > 0 && p.err == nil; n-- {
		r.field = p.append(r.field)
	}
	p.number() // the terminator
	return r.field
}

// nodeEntry reads an entry and keeps it unless it was deleted.
func (r *rdbStreamReader) nodeEntry(p *listpackReader, node streamID, fields []byte) (deleted bool, err error) {
	flags := p.number()
	id := streamID{node.ms + uint64(p.number()), node.seq + uint64(p.number())}
	elems, same := packedLen(fields), flags&rdbEntrySameFields != 0
	r.entry = append(r.entry[:0], streamSameFields)
	if !same {
		r.entry[0] = streamOwnFields
		elems = 2 * p.count()
	}
	r.entry = binary.AppendUvarint(r.entry, uint64(elems))
	for ; elems > 0 && p.err == nil; elems-- {
		r.entry = p.append(r.entry)
	}
	p.number() // how far back the entry before begins
	switch {
	case p.err != nil:
		return false, p.err
	case flags&rdbEntryDeleted != 0:
		return true, nil
	case id.less(node) || r.any && !r.top.less(id):
		return false, r.in.errorf("stream entries out of order")
	}
	r.top, r.any = id, true
	var key [streamIDSize]byte
	r.s.object().t.put(id.appendKey(key[:0]), r.entry)
	return false, nil
}

func (r *rdbStreamReader) head() error {
	h := &r.s.head
	length, err := r.in.number()
	if err != nil {
		return err
	}
	if h.last, err = r.in.streamID(); err != nil {
		return err
	}
	if length != uint64(r.s.len()) || r.any && h.last.less(r.top) {
		return r.in.errorf("stream of %d entries says %d", r.s.len(), length)
	}
	if r.code < rdbStreamListpacks2 {
		h.added = length
		return nil
	}
	if _, err = r.in.streamID(); err != nil { // the first entry's: known
		return err
	}
	if h.deleted, err = r.in.streamID(); err != nil {
		return err
	}
	h.added, err = r.in.number()
	return err
}

func (r *rdbStreamReader) groups() error {
	n, err := r.in.count()
	for ; n > 0 && err == nil; n-- {
		err = r.group()
	}
	return err
}

func (r *rdbStreamReader) group() error {
	name, err := r.in.string(&r.d.s1)
	if err != nil {
		return err
	}
	if _, exists := r.s.group(name); exists {
		return r.in.errorf("repeated group %.64q", name)
	}
	g := streamGroup{name: append([]byte(nil), name...), number: r.s.newNumber()}
	if g.last, err = r.in.streamID(); err != nil {
		return err
	}
	if r.code >= rdbStreamListpacks2 {
		read, err := r.in.number()
		if err != nil {
			return err
		}
		g.read = int64(read)
	} else {
		g.read = r.s.distance(g.last)
	}
	r.s.saveGroup(&g)
	pending, err := r.pending(&g)
	if err != nil {
		return err
	}
	consumers, err := r.in.count()
	for ; consumers > 0 && err == nil; consumers-- {
		var owned int
		owned, err = r.consumer(&g)
		pending -= owned
	}
	if err == nil && pending != 0 {
		err = r.in.errorf("%d pending entries of nobody", pending)
	}
	return err
}

// pending reads the group's pending entries, whose consumers are not known yet, and
// returns how many there are.
func (r *rdbStreamReader) pending(g *streamGroup) (n int, err error) {
	if n, err = r.in.count(); err != nil {
		return 0, err
	}
	var key [numberedIDSize]byte
	var val [streamNumberSize + 16]byte
	for range n {
		id, err := r.in.rawStreamID()
		if err != nil {
			return 0, err
		}
		at, err := r.in.time()
		if err != nil {
			return 0, err
		}
		count, err := r.in.number()
		if err != nil {
			return 0, err
		}
		v := appendNumber(val[:0], 0)
		v = binary.BigEndian.AppendUint64(v, uint64(at))
		v = binary.BigEndian.AppendUint64(v, count)
		if !r.s.object().t2.put(numberedID(key[:0], streamPending, g.number, id), v) {
			return 0, r.in.errorf("repeated pending entry")
		}
	}
	return n, nil
}

// consumer reads a consumer and returns how many entries are pending with it.
func (r *rdbStreamReader) consumer(g *streamGroup) (owned int, err error) {
	name, err := r.in.string(&r.d.s1)
	if err != nil {
		return 0, err
	}
	if _, exists := r.s.consumer(g, name); exists {
		return 0, r.in.errorf("repeated consumer %.64q", name)
	}
	c := r.s.addConsumer(g, append([]byte(nil), name...), 0)
	if c.seen, err = r.in.time(); err != nil {
		return 0, err
	}
	c.active = c.seen
	if r.code >= rdbStreamListpacks3 {
		if c.active, err = r.in.time(); err != nil {
			return 0, err
		}
	}
	r.s.saveConsumer(g, &c)
	if owned, err = r.in.count(); err != nil {
		return 0, err
	}
	for range owned {
		id, err := r.in.rawStreamID()
		if err != nil {
			return 0, err
		}
		n, ok := r.s.nack(g, id)
		if !ok || n.consumer != 0 {
			return 0, r.in.errorf("consumer %.64q has what is not the group's, or another's", c.name)
		}
		n.consumer = c.number
		r.s.saveNack(g, &n, 0)
	}
	return owned, nil
}

// restoreGone takes rdbAuxStream over into a stream that was just decoded.
func restoreGone(o *object, aux []byte) bool {
	s := viewStream(o)
	for ; len(aux) >= rdbAuxStreamNode; aux = aux[rdbAuxStreamNode:] {
		id := readStreamID(aux)
		node, ok := s.nodeOf(id)
		if !ok || node.id != id {
			return false
		}
		node.gone, node.goneBytes = binary.BigEndian.Uint64(aux[16:]), binary.BigEndian.Uint64(aux[24:])
		s.saveNode(&node)
	}
	s.head.tail = s.lastNode()
	s.saveHead()
	return len(aux) == 0
}

// listpackReader reads elements of known meaning. The first error sticks.
type listpackReader struct {
	in  *rdbInput
	it  listpackIter
	err error
}

func (p *listpackReader) atEnd() bool { return p.err != nil || p.it.p[p.it.pos] == listpackEnd }

func (p *listpackReader) next() []byte {
	if p.err != nil {
		return nil
	}
	e, ok, err := p.it.next()
	switch {
	case err != nil:
		p.err = p.in.errorf("%v", err)
	case !ok:
		p.err = p.in.errorf("stream node ends early")
	}
	return e
}

func (p *listpackReader) number() int64 {
	e := p.next()
	n, ok := parseInt(e)
	if !ok && p.err == nil {
		p.err = p.in.errorf("stream node has %.40q for a number", e)
	}
	return n
}

// count is a number of fields, which is at least 1.
func (p *listpackReader) count() int {
	n := p.number()
	if p.err == nil && (n < 1 || n > int64(len(p.it.p))) {
		p.err = p.in.errorf("stream entry of %d fields", n)
	}
	if p.err != nil {
		return 0
	}
	return int(n)
}

// append appends an element as packed collections hold it.
func (p *listpackReader) append(dst []byte) []byte {
	e := p.next()
	dst = binary.AppendUvarint(dst, uint64(len(e)))
	return append(dst, e...)
}
