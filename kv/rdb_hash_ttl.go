package kv

import (
	"encoding/binary"
)

// Hashes with fields that expire, as Redis 7.4 writes them:
//
//	HASH_METADATA     first expiry u64 LE | count | (ttl field value) ...
//	HASH_LISTPACK_EX  first expiry u64 LE | listpack of (field value expiry) ...
//
// A ttl is 0 for none, else the distance from the first expiry and 1; an expiry is
// Unix ms, 0 for none, and the listpack is in its order, those without at the end.

// expiringHash writes HASH_METADATA.
func (w *RDBWriter) expiringHash(o *object) {
	first := o.firstFieldTTL()
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(first))
	w.b = appendRDBLen(w.b, uint64(o.t.len()))
	for it := o.t.first(); it.valid() && w.err == nil; it.next() {
		ttl := o.fieldTTL(it.key())
		if ttl != 0 {
			ttl += 1 - first
		}
		w.b = appendRDBLen(w.b, uint64(ttl))
		w.string(hashedMember(it.key()))
		w.string(it.val())
		w.flush(w.piece)
	}
}

// expiringListpack writes HASH_LISTPACK_EX.
func (w *RDBWriter) expiringListpack(o *object) {
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(o.firstFieldTTL()))
	w.pack = beginListpack(w.pack[:0])
	var num [20]byte
	add := func(hashed, val []byte, at int64) {
		w.pack = appendListpack(w.pack, hashedMember(hashed))
		w.pack = appendListpack(w.pack, val)
		w.pack = appendListpack(w.pack, appendInt(num[:0], at))
	}
	for rank := range o.t2.len() / 2 {
		at, hashed := o.fieldTTLAt(rank)
		val, _ := o.t.get(hashed)
		add(hashed, val, at)
	}
	for it := o.t.first(); it.valid(); it.next() {
		if o.fieldTTL(it.key()) == 0 {
			add(it.key(), it.val(), 0)
		}
	}
	w.pack = endListpack(w.pack, 0, 3*o.t.len())
	w.string(w.pack)
}

// expiringHash decodes either form.
func (d *rdbValueDecoder) expiringHash(code byte) (Value, error) {
	b, err := d.in.fixed(8)
	if err != nil {
		return Value{}, err
	}
	first := binary.LittleEndian.Uint64(b)
	o := d.h.newObject()
	o.t = newTree(d.h)
	if code == rdbHashListpackEx {
		o.aux = hashIsSmall
		err = d.expiringListpack(o)
	} else {
		err = d.expiringFields(o, first)
	}
	if err != nil || o.t.len() == 0 {
		return Value{}, err
	}
	if o.t2 == nil { // nothing expires after all
		o.aux = 0
	}
	return Value{Type: TypeHash, Enc: EncTree, Obj: o}, nil
}

func (d *rdbValueDecoder) expiringFields(o *object, first uint64) error {
	n, err := d.in.count()
	if err != nil {
		return err
	}
	for range n {
		ttl, special, err := d.in.length()
		if err != nil {
			return err
		}
		field, err := d.in.string(&d.s1)
		if err != nil {
			return err
		}
		d.treeKey = appendHashed(d.treeKey[:0], d.h, field)
		val, err := d.in.string(&d.s2)
		if err != nil {
			return err
		}
		at := uint64(0)
		if ttl != 0 {
			at = first + ttl - 1
		}
		if special >= 0 || first > fieldTTLMax || ttl > fieldTTLMax {
			return d.in.errorf("expiry of a field")
		}
		if err := d.addExpiring(o, val, at); err != nil {
			return err
		}
	}
	return nil
}

func (d *rdbValueDecoder) expiringListpack(o *object) error {
	blob, err := d.in.string(&d.s1)
	if err != nil {
		return err
	}
	it, _, err := iterListpack(blob)
	if err != nil {
		return d.in.errorf("%v", err)
	}
	for n := 0; ; n++ {
		e, ok, err := it.next()
		switch {
		case err != nil:
			return d.in.errorf("%v", err)
		case !ok && n%3 != 0:
			return d.in.errorf("number of elements")
		case !ok:
			return nil
		case n%3 == 0:
			d.treeKey = appendHashed(d.treeKey[:0], d.h, e)
		case n%3 == 1:
			d.s2 = append(d.s2[:0], e...)
		default:
			at, ok := parseUint(e)
			if !ok {
				return d.in.errorf("expiry of a field")
			}
			if err := d.addExpiring(o, d.s2, at); err != nil {
				return err
			}
		}
	}
}

// addExpiring adds the field in treeKey.
func (d *rdbValueDecoder) addExpiring(o *object, val []byte, at uint64) error {
	if at > fieldTTLMax {
		return d.in.errorf("expiry of a field at %d", at)
	}
	if !o.t.put(d.treeKey, val) {
		return d.in.errorf("repeated field")
	}
	o.setFieldTTL(d.h, d.treeKey, int64(at))
	return nil
}
