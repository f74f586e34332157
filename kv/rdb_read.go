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
	case rdbHashMetadata, rdbHashListpackEx:
		return d.expiringHash(code)
	case rdbListQuicklist, rdbListQuicklist2:
		return d.quicklist(code == rdbListQuicklist2)
	case rdbSetIntset:
		return d.intset()
	case rdbListZiplist, rdbSetListpack, rdbHashListpack, rdbHashZiplist, rdbZSetListpack, rdbZSetZiplist:
		return d.compact(code)
	case rdbStreamListpacks, rdbStreamListpacks2, rdbStreamListpacks3:
		return d.stream(code)
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
	enc, err := d.marked()
	if err != nil {
		return Value{}, err
	}
	b, err := d.in.string(&d.s1)
	if err != nil {
		return Value{}, err
	}
	v := stringValue(d.h, b)
	if v.Enc == EncRaw && len(b) <= embstrMax {
		v.Enc = enc
	}
	return v, nil
}

// marked tells what RDBWriter.marked says by the kind of the length. What it says
// counts for short strings only; others have such lengths in any case.
func (d *rdbValueDecoder) marked() (Encoding, error) {
	kind, err := d.in.peek()
	switch {
	case err != nil:
		return EncRaw, err
	case kind == 0x80:
		return EncEdited, nil
	case kind == 0x40:
		return EncText, nil
	}
	return EncRaw, nil
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
