package kv

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// sum128 is a digest in two lanes: xxhash64 under two fixed seeds. It finds
// replicas that differ by accident, not by intent.
type sum128 struct{ lo, hi uint64 }

func (s *sum128) add(o sum128) { s.lo, s.hi = s.lo+o.lo, s.hi+o.hi }

// digestCut is a digest of all keys of the cut's keyspaces: database number, key,
// type, expiry and logical content.
//
// The rule: neither the table's layout nor how a value is encoded matters, so a
// node that restored a snapshot agrees with one that did not. Keys, members of
// sets, fields of hashes and members of sorted sets are summed, in any order;
// elements of lists and entries of streams count in their order.
func digestCut(c *cut) (lo, hi uint64) {
	var sum keysDigest
	for db := range c.dbs {
		d := &c.dbs[db]
		sum.database(c.h, db, &d.tableView, d)
	}
	return sum.lo, sum.hi
}

// keysDigest adds up databases.
type keysDigest struct {
	sum128
	d keyDigest
}

func (s *keysDigest) database(h *heap, db int, keys *tableView, cut *cutDB) {
	h.scatter(keys, cut, func(key []byte, v Value) { s.add(s.d.sumKey(db, key, v)) })
}

// keyDigest digests one key at a time.
type keyDigest struct {
	lo, hi xxhash.Digest
	num    [8]byte
}

func (d *keyDigest) sumKey(db int, key []byte, v Value) sum128 {
	content := d.sumContent(v)
	d.begin()
	d.number(uint64(db))
	d.number(uint64(v.Type))
	d.number(uint64(v.ExpireAt))
	d.element(key)
	d.number(content.lo)
	d.number(content.hi)
	return d.end()
}

func (d *keyDigest) sumContent(v Value) (s sum128) {
	switch v.Type {
	case TypeList:
		d.begin()
		eachElement(v, func(e []byte) { d.element(e) })
		return d.end()
	case TypeStream:
		return d.sumStream(v.Obj)
	case TypeSet:
		eachElement(v, func(e []byte) {
			d.begin()
			d.element(e)
			s.add(d.end())
		})
		return s
	case TypeHash, TypeZSet:
		if v.hasFieldTTL() {
			return d.sumExpiring(v.Obj)
		}
		first := true
		eachElement(v, func(e []byte) {
			if first {
				d.begin()
			}
			d.element(e)
			if !first {
				s.add(d.end())
			}
			first = !first
		})
		return s
	}
	d.begin()
	d.element(v.Bytes)
	return d.end()
}

// sumExpiring sums a hash with fields that expire; one that does not counts as in
// any other hash.
func (d *keyDigest) sumExpiring(o *object) (s sum128) {
	for it := o.t.first(); it.valid(); it.next() {
		key, val := it.entry()
		d.begin()
		d.element(hashedMember(key))
		d.element(val)
		if at := o.fieldTTL(key); at != 0 {
			d.number(uint64(at))
		}
		s.add(d.end())
	}
	return s
}

// eachElement calls fn for the elements of a collection as its packed form lists
// them: one for an entry of a list or set, two (field and value, member and
// score) of a hash or sorted set.
func eachElement(v Value, fn func(e []byte)) {
	switch v.Enc {
	case EncPacked:
		it := iterPacked(v.Bytes)
		for e, ok := it.next(); ok; e, ok = it.next() {
			fn(e)
		}
	case EncIntset:
		var text [20]byte
		for i := range intsetLen(v.Bytes) {
			fn(appendInt(text[:0], intsetAt(v.Bytes, i)))
		}
	case EncTree:
		t := v.Obj.t
		if v.Type == TypeZSet {
			t = v.Obj.t2
		}
		for it := t.first(); it.valid(); it.next() {
			key, val := it.entry()
			switch v.Type {
			case TypeList:
				fn(val)
			case TypeSet:
				fn(hashedMember(key))
			default:
				fn(hashedMember(key))
				fn(val)
			}
		}
	}
}

func (d *keyDigest) begin() {
	d.lo.ResetWithSeed(0x726b76646967_01)
	d.hi.ResetWithSeed(0x726b76646967_02)
}

func (d *keyDigest) end() sum128 { return sum128{d.lo.Sum64(), d.hi.Sum64()} }

// element adds bytes with their length, so that "ab","c" and "a","bc" differ.
func (d *keyDigest) element(e []byte) {
	d.number(uint64(len(e)))
	d.lo.Write(e)
	d.hi.Write(e)
}

func (d *keyDigest) number(n uint64) {
	binary.LittleEndian.PutUint64(d.num[:], n)
	d.lo.Write(d.num[:])
	d.hi.Write(d.num[:])
}
