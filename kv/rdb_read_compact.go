package kv

import (
	"bytes"
	"encoding/binary"
)

// compactIter is a listpack or ziplist.
type compactIter interface {
	next() (elem []byte, ok bool, err error)
}

func openCompact(p []byte, ziplist bool) (compactIter, error) {
	if ziplist {
		it, _, err := iterZiplist(p)
		return &it, err
	}
	it, _, err := iterListpack(p)
	return &it, err
}

// compact decodes a collection in one string.
func (d *rdbValueDecoder) compact(code byte) (Value, error) {
	blob, err := d.in.string(&d.s1)
	if err != nil {
		return Value{}, err
	}
	ziplist := code == rdbListZiplist || code == rdbHashZiplist || code == rdbZSetZiplist
	return d.packed(compactType(code), blob, ziplist)
}

// packed makes a packed collection of one listpack or ziplist.
func (d *rdbValueDecoder) packed(t Type, blob []byte, ziplist bool) (Value, error) {
	it, err := openCompact(blob, ziplist)
	if err != nil {
		return Value{}, d.in.errorf("%v", err)
	}
	v := Value{Type: t, Enc: EncPacked}
	if v.Bytes, err = d.pack(it, t); err != nil {
		return Value{}, d.in.errorf("%v", err)
	}
	switch {
	case packedLen(v.Bytes) == 0:
		return Value{}, nil
	case len(v.Bytes) > d.maxPacked():
		return d.spread(v), nil
	}
	return v, nil
}

// maxPacked is the size above which a collection that comes packed is moved to
// trees. Of our own files all are kept as they were, whatever the settings were
// then; the bound is only there for what nobody has written.
func (d *rdbValueDecoder) maxPacked() int {
	if d.strict {
		return packedMaxBytes
	}
	return 16 << 20
}

func compactType(code byte) Type {
	switch code {
	case rdbSetListpack:
		return TypeSet
	case rdbHashListpack, rdbHashZiplist:
		return TypeHash
	case rdbZSetListpack, rdbZSetZiplist:
		return TypeZSet
	}
	return TypeList
}

// pack rewrites the elements in our packed form, checking what the type demands.
func (d *rdbValueDecoder) pack(it compactIter, t Type) ([]byte, error) {
	check := elementCheck{d: d, t: t}
	d.out = d.out[:0]
	n := 0
	for ; ; n++ {
		e, ok, err := it.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if e, err = check.element(n, e); err != nil {
			return nil, err
		}
		d.out = binary.AppendUvarint(d.out, uint64(len(e)))
		d.out = append(d.out, e...)
	}
	if n%2 != 0 && (t == TypeHash || t == TypeZSet) {
		return nil, d.in.errorf("odd number of elements")
	}
	// The count goes in front, and its length is known only now.
	d.alt = append(binary.AppendUvarint(d.alt[:0], uint64(n)), d.out...)
	return d.alt, nil
}

// elementCheck verifies elements as they come and turns scores into our form.
type elementCheck struct {
	d     *rdbValueDecoder
	t     Type
	score [scoreSize]byte
	// member and last are a sorted set's current and previous entry.
	member, lastMember []byte
	last               float64
}

func (c *elementCheck) element(i int, e []byte) ([]byte, error) {
	if i == 0 && c.d.strict {
		c.d.seen = make(map[string]struct{})
	}
	switch {
	case c.t == TypeZSet && i%2 == 1:
		return c.scored(i, e)
	case c.t == TypeList || c.t == TypeHash && i%2 == 1:
		return e, nil
	case c.d.strict:
		if _, dup := c.d.seen[string(e)]; dup {
			return nil, c.d.in.errorf("repeated element %.64q", e)
		}
		c.d.seen[string(e)] = struct{}{}
	}
	if c.t == TypeZSet {
		c.member = append(c.member[:0], e...)
	}
	return e, nil
}

func (c *elementCheck) scored(i int, e []byte) ([]byte, error) {
	f, ok := parseFloat(e)
	if !ok {
		return nil, c.d.in.errorf("score %.40q", e)
	}
	if i > 1 && (f < c.last || f == c.last && bytes.Compare(c.member, c.lastMember) <= 0) {
		return nil, c.d.in.errorf("sorted set out of order at %.64q", c.member)
	}
	c.last = f
	c.member, c.lastMember = c.lastMember, c.member
	return appendScore(c.score[:0], f), nil
}

// spread moves a packed collection into block trees.
func (d *rdbValueDecoder) spread(v Value) Value {
	o := d.h.newObject()
	o.t = newTree(d.h)
	if v.Type == TypeZSet {
		o.t2 = newTree(d.h)
	}
	it := iterPacked(v.Bytes)
	for e, ok := it.next(); ok; e, ok = it.next() {
		switch v.Type {
		case TypeList:
			o.t.insertAt(o.t.len(), e)
			continue
		case TypeSet:
			d.treeKey = appendHashed(d.treeKey[:0], d.h, e)
			o.t.put(d.treeKey, nil)
			continue
		}
		d.treeKey = appendHashed(d.treeKey[:0], d.h, e)
		val, _ := it.next()
		if v.Type == TypeHash {
			o.t.put(d.treeKey, val)
			continue
		}
		o.t.put(d.addScored(o.t2, d.treeKey, readScore(val)))
	}
	return Value{Type: v.Type, Enc: EncTree, Obj: o}
}

// quicklist decodes a list of nodes. One packed node is a packed list; more, or one
// that is too large, make a tree.
func (d *rdbValueDecoder) quicklist(kinds bool) (Value, error) {
	nodes, err := d.in.count()
	if err != nil || nodes == 0 {
		return Value{}, err
	}
	o := Value{Type: TypeList, Enc: EncTree}
	for i := range nodes {
		kind := rdbNodePacked
		if kinds {
			if kind, err = d.in.count(); err != nil {
				return Value{}, err
			}
		}
		blob, err := d.in.string(&d.s1)
		if err != nil {
			return Value{}, err
		}
		if i == 0 {
			if kind == rdbNodePacked && nodes == 1 {
				return d.packed(TypeList, blob, !kinds)
			}
			o.Obj = d.h.newObject()
			o.Obj.t = newTree(d.h)
		}
		if err := d.appendNode(o.Obj.t, kind, blob, !kinds); err != nil {
			return Value{}, err
		}
	}
	if o.Obj.t.len() == 0 {
		return Value{}, nil
	}
	return o, nil
}

// appendNode adds a node's elements to a list in a tree.
func (d *rdbValueDecoder) appendNode(t *tree, kind int, blob []byte, ziplist bool) error {
	switch kind {
	case rdbNodePlain:
		t.insertAt(t.len(), blob)
		return nil
	case rdbNodePacked:
	default:
		return d.in.errorf("quicklist node of kind %d", kind)
	}
	it, err := openCompact(blob, ziplist)
	if err != nil {
		return d.in.errorf("%v", err)
	}
	for {
		e, ok, err := it.next()
		if err != nil {
			return d.in.errorf("%v", err)
		}
		if !ok {
			return nil
		}
		t.insertAt(t.len(), e)
	}
}

// intset decodes Redis's set of integers: width, count, integers in order.
func (d *rdbValueDecoder) intset() (Value, error) {
	b, err := d.in.string(&d.s1)
	if err != nil {
		return Value{}, err
	}
	if len(b) < intsetHeader {
		return Value{}, d.in.errorf("intset of %d bytes", len(b))
	}
	all := b
	width, n := int(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	if width != 2 && width != 4 && width != 8 || intsetHeader+n*uint64(width) != uint64(len(b)) {
		return Value{}, d.in.errorf("intset of %d integers of %d bytes", n, width)
	}
	if n == 0 {
		return Value{}, nil
	}
	v := Value{Type: TypeSet, Enc: EncIntset, Bytes: all}
	for i := 1; i < int(n); i++ {
		if intsetAt(all, i-1) >= intsetAt(all, i) {
			return Value{}, d.in.errorf("intset out of order")
		}
	}
	if n > maxThreshold {
		return d.spread(Value{Type: TypeSet, Bytes: packedOf(nil, intsetTexts(all)...)}), nil
	}
	return v, nil
}
