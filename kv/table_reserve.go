package kv

import (
	"bytes"
	"cmp"
	"slices"
)

// A snapshot brings its keys in hash order. Put into a table that grows as it is
// filled, all of them would go to one segment's first group until that segment has
// split down to its final depth, and each insertion would pass all that came before
// it. So the table gets its directory first; its segments come with their first key.

const (
	// reservedFill is how many keys a segment of a reserved table is to get, on
	// average at most: few segments then have to split (they hold 896; the spread is
	// about 28), and none is emptier than one that just did.
	reservedFill = 800
	// reservedMax bounds what a count is believed, to a directory of 32 MiB.
	reservedMax = reservedFill << 22
)

// reserve prepares an empty table for n keys. Until seal it has segments only where
// it has keys: it must not be read in order or cut.
func (t *table) reserve(n uint64) {
	if t.n > 0 || t.dir[0] != nil {
		return
	}
	segments := (min(n, reservedMax) + reservedFill - 1) / reservedFill
	t.bits = uint8(log2ceil(int(segments)))
	t.reserved = 1 << t.bits
	t.dir = make([]*segment, t.reserved)
}

// seal gives every stretch of hashes that got no key one empty segment.
func (t *table) seal() {
	t.reserved = 0
	if t.n == 0 {
		t.dir, t.bits = make([]*segment, 1), 0
		return
	}
	t.sealRange(0, len(t.dir))
	for t.bits > 0 && t.depths[t.bits] == 0 {
		t.halve()
	}
}

// sealRange seals the 2^k directory entries from lo up to hi.
func (t *table) sealRange(lo, hi int) {
	part := t.dir[lo:hi]
	switch i := slices.IndexFunc(part, func(s *segment) bool { return s != nil }); {
	case i < 0:
		depth := t.bits - uint8(log2ceil(len(part)))
		s := t.h.newSegment(uint64(lo)<<(64-t.bits), depth)
		t.depths[depth]++
		t.segments++
		t.point(s)
	case len(part) > 1<<(t.bits-part[i].depth):
		t.sealRange(lo, (lo+hi)/2)
		t.sealRange((lo+hi)/2, hi)
	}
}

// dueKey is a key with an expiry that the index does not have yet.
type dueKey struct {
	at int64
	r  ref
}

// has reports whether a key is there.
func (ks *keyspace) has(hash uint64, key []byte) bool {
	_, found := ks.t.find(ks.h.arena, hash, key)
	return found
}

// addNew is set for a key that is not there. It leaves the index of expiries to
// indexDue: a tree that is built from sorted keys costs a fifth of one they are put
// into.
func (ks *keyspace) addNew(hash uint64, key []byte, v Value, due []dueKey) []dueKey {
	if v.Type == TypeString && v.Obj == nil && v.ExpireAt == 0 && len(v.Bytes) <= maxRecordString && !hasObject(v.Enc) {
		ks.t.insert(hash, ks.write(&record{typ: TypeString, enc: v.Enc, key: key, val: v.Bytes}))
		return due
	}
	var id [objectIDBytes]byte
	var rec record
	if ks.h.compose(&rec, key, &v); v.Obj != nil {
		rec.val = v.Obj.name(&id)
	}
	r := ks.write(&rec)
	ks.t.insert(hash, r)
	ks.indexFields(key, &v)
	if v.ExpireAt != 0 {
		due = append(due, dueKey{v.ExpireAt, r})
	}
	return due
}

// indexDue makes the index of expiries, of exactly these keys. It reorders due.
func (ks *keyspace) indexDue(due []dueKey) {
	key := func(d dueKey) []byte { return recordKey(ks.h.arena.at(d.r)) }
	slices.SortFunc(due, func(a, b dueKey) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return bytes.Compare(key(a), key(b))
	})
	ks.due = treeFrom(nil, func() (k, val []byte, ok bool) {
		if len(due) == 0 {
			return nil, nil, false
		}
		d := due[0]
		due = due[1:]
		return ks.dueKeyOf(d.at, key(d)), nil, true
	})
}
