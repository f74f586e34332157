package kv

import (
	"bytes"
	"encoding/binary"
	"math"
)

// rdbValueDecoder turns one encoded value into a Value whose bytes are valid until
// the next call. It is total: whatever the bytes, it returns a value or an error,
// and takes no more memory than a small multiple of the bytes that arrived.
type rdbValueDecoder struct {
	in *rdbInput
	h  *heap
	// settings decide between packed and tree where the type does not say.
	settings *Settings
	version  int
	// strict: look for repeated elements.
	strict bool

	out, alt []byte // results
	s1, s2   []byte // strings that span blocks
	treeKey  []byte
	scoreKey []byte
	seen     map[string]struct{}
}

// value decodes a value of the given type; Type is TypeNone for an empty collection.
func (d *rdbValueDecoder) value(code byte) (Value, error) {
	switch code {
	case rdbString:
		return d.str()
	case rdbList, rdbSet, rdbHash, rdbZSet, rdbZSet2:
		return d.elements(code)
	case rdbListQuicklist, rdbListQuicklist2:
		return d.quicklist(code == rdbListQuicklist2)
	case rdbSetIntset:
		return d.intset()
	case rdbListZiplist, rdbSetListpack, rdbHashListpack, rdbHashZiplist, rdbZSetListpack, rdbZSetZiplist:
		return d.compact(code)
	}
	return Value{}, unsupportedRDB(code, nil)
}

// stringValue is a string held as its length demands.
func stringValue(h *heap, p []byte) Value {
	if len(p) <= bigString {
		return Value{Type: TypeString, Enc: EncRaw, Bytes: p}
	}
	o := h.newObject()
	o.str = bytes.Clone(p)
	return Value{Type: TypeString, Enc: EncBigString, Obj: o}
}

func (d *rdbValueDecoder) str() (Value, error) {
	b, err := d.in.string(&d.s1)
	if err != nil {
		return Value{}, err
	}
	return stringValue(d.h, b), nil
}

// elements decodes a collection written element by element: one held in a tree.
func (d *rdbValueDecoder) elements(code byte) (Value, error) {
	n, err := d.in.count()
	if err != nil || n == 0 {
		return Value{}, err
	}
	b := treeBuilder{d: d, left: n, code: code}
	v := b.build()
	if b.err != nil {
		return Value{}, b.err
	}
	if v.Obj.t.len() != n || v.Obj.t2 != nil && v.Obj.t2.len() != n {
		return Value{}, d.in.errorf("repeated element in a collection of type %d", code)
	}
	if code == rdbSet && d.version < rdbVersion {
		return d.smallSet(v), nil
	}
	return v, nil
}

// smallSet packs a set that before version 11 had no packed form, if it may be.
func (d *rdbValueDecoder) smallSet(v Value) Value {
	t := v.Obj.t
	if int64(t.len()) > d.settings.SetMaxListpackEntries || t.bytes() > packedMaxBytes {
		return v
	}
	d.out = d.out[:0]
	for it := t.first(); it.valid(); it.next() {
		m := hashedMember(it.key())
		if int64(len(m)) > d.settings.SetMaxListpackValue {
			return v
		}
		d.out = appendElems(d.out, [][]byte{m})
	}
	d.alt = append(binary.AppendUvarint(d.alt[:0], uint64(t.len())), d.out...)
	return Value{Type: TypeSet, Enc: EncPacked, Bytes: d.alt}
}

// treeBuilder feeds treeFrom from the stream.
type treeBuilder struct {
	d      *rdbValueDecoder
	left   int
	code   byte
	byName *tree // a sorted set's second tree
	err    error
}

func (b *treeBuilder) build() Value {
	v := Value{Type: TypeList, Enc: EncTree, Obj: b.d.h.newObject()}
	next := b.listElement
	switch b.code {
	case rdbSet:
		v.Type, next = TypeSet, b.setMember
	case rdbHash:
		v.Type, next = TypeHash, b.hashField
	case rdbZSet, rdbZSet2:
		v.Type, next = TypeZSet, b.zsetMember
		b.byName = newTree(b.d.h)
		v.Obj.t2 = b.byName
	}
	v.Obj.t = treeFrom(b.d.h, func() (key, val []byte, ok bool) {
		if b.left == 0 || b.err != nil {
			return nil, nil, false
		}
		b.left--
		key, val = next()
		return key, val, b.err == nil
	})
	return v
}

func (b *treeBuilder) listElement() (key, val []byte) {
	val, b.err = b.d.in.string(&b.d.s1)
	return nil, val
}

func (b *treeBuilder) setMember() (key, val []byte) {
	var m []byte
	if m, b.err = b.d.in.string(&b.d.s1); b.err != nil {
		return nil, nil
	}
	b.d.treeKey = appendHashed(b.d.treeKey[:0], b.d.h, m)
	return b.d.treeKey, nil
}

func (b *treeBuilder) hashField() (key, val []byte) {
	if key, _ = b.setMember(); b.err != nil {
		return nil, nil
	}
	val, b.err = b.d.in.string(&b.d.s2)
	return key, val
}

func (b *treeBuilder) zsetMember() (key, val []byte) {
	if key, _ = b.setMember(); b.err != nil {
		return nil, nil
	}
	var score float64
	if score, b.err = b.d.score(b.code == rdbZSet2); b.err != nil {
		return nil, nil
	}
	return b.d.addScored(b.byName, key, score)
}

// addScored puts a member, given as its key there, into the tree by member and
// returns its entry of the tree by score.
func (d *rdbValueDecoder) addScored(byName *tree, hashed []byte, score float64) (key, val []byte) {
	var exact [scoreSize]byte
	byName.put(hashed, appendScore(exact[:0], score))
	d.scoreKey = appendScored(d.scoreKey[:0], score, hashedMember(hashed))
	return d.scoreKey, nil
}

// score reads a score of the element-wise layouts.
func (d *rdbValueDecoder) score(binaryForm bool) (float64, error) {
	if binaryForm {
		b, err := d.in.fixed(8)
		if err != nil {
			return 0, err
		}
		f := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if math.IsNaN(f) {
			return 0, d.in.errorf("score is not a number")
		}
		return f, nil
	}
	n, err := d.in.byte()
	if err != nil {
		return 0, err
	}
	switch n {
	case 253:
		return 0, d.in.errorf("score is not a number")
	case 254:
		return math.Inf(1), nil
	case 255:
		return math.Inf(-1), nil
	}
	b, err := d.in.take(int(n), &d.s2)
	if err != nil {
		return 0, err
	}
	f, ok := parseFloat(b)
	if !ok {
		return 0, d.in.errorf("score %.40q", b)
	}
	return f, nil
}

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
	it, err := openCompact(blob, code == rdbListZiplist || code == rdbHashZiplist || code == rdbZSetZiplist)
	if err != nil {
		return Value{}, d.in.errorf("%v", err)
	}
	v := Value{Type: compactType(code), Enc: EncPacked}
	if v.Bytes, err = d.pack(it, v.Type); err != nil {
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
				return d.listNode(blob, !kinds)
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

// listNode makes a packed list of one node.
func (d *rdbValueDecoder) listNode(blob []byte, ziplist bool) (Value, error) {
	it, err := openCompact(blob, ziplist)
	if err != nil {
		return Value{}, d.in.errorf("%v", err)
	}
	v := Value{Type: TypeList, Enc: EncPacked}
	if v.Bytes, err = d.pack(it, TypeList); err != nil {
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
