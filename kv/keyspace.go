package kv

import (
	"encoding/binary"
	"math/bits"

	"github.com/rkvdb/rkv/internal/pages"
)

// keyspace is one database: a table of records and an index of the keys that
// expire. It judges nothing: an expired key is there until somebody deletes it.
//
// One writer, under the store's lock; get, scan, at, each, nextDue and the counts
// may run concurrently with each other under the shared lock. Keys and Bytes they
// hand out alias the arena: read-only, and valid until the next change to any
// keyspace of the heap.
type keyspace struct {
	h *heap
	t *table
	// due orders the keys with an expiry by (expireAt BE, key). No cut reads it.
	due *tree
	// fieldsDue orders the hashes with fields that expire by (first expireAt BE, key).
	fieldsDue *tree
	// dueKey is scratch for its keys.
	dueKey []byte
}

// maxRecordString is the longest string kept in a record; longer ones are objects.
const maxRecordString = 64 << 10

// newKeyspace adds an empty keyspace to the heap, for good.
func newKeyspace(h *heap) *keyspace {
	ks := &keyspace{h: h, t: newTable(h), due: newTree(nil), fieldsDue: newTree(nil)}
	h.spaces = append(h.spaces, ks)
	return ks
}

// get returns what key holds, expired or not.
func (ks *keyspace) get(key []byte) (v Value, ok bool) {
	r, ok := ks.t.find(ks.h.arena, hash64(ks.h, key), key)
	if !ok {
		return Value{}, false
	}
	var rec record
	rec.read(ks.h.arena.at(r))
	return ks.h.value(&rec), true
}

// value is the view of a record that commands see.
func (h *heap) value(rec *record) Value {
	v := Value{Type: rec.typ, Enc: rec.enc, ExpireAt: rec.expireAt}
	if !hasObject(rec.enc) {
		v.Bytes = rec.val
		return v
	}
	v.Obj = h.objects.get(rec.objectID())
	v.Bytes = v.Obj.str
	return v
}

// set makes v what key holds, in place of whatever it held; v.ExpireAt is taken as
// given. key and v.Bytes are copied and may alias the old value. A string too long
// for a record becomes an object; v.Obj, if not nil, becomes the key's own, and
// v.Bytes does not count. To move an object to another key, set it there and delete the first key before
// anything changes it; to change it, see heap.mutable. It reports whether the key was
// not there before.
func (ks *keyspace) set(key []byte, v Value) (created bool) {
	return ks.setHashed(hash64(ks.h, key), key, v)
}

// setHashed is set for who knows the key's hash.
func (ks *keyspace) setHashed(hash uint64, key []byte, v Value) (created bool) {
	h := ks.h
	var rec, old record
	var id [objectIDBytes]byte
	if h.compose(&rec, key, &v); v.Obj != nil {
		rec.val = v.Obj.name(&id)
	}
	r, found := ks.t.find(h.arena, hash, key)
	if !found {
		ks.t.insert(hash, ks.write(&rec))
		ks.reindex(key, 0, v.ExpireAt)
		ks.indexFields(key, &v)
		return true
	}
	old.read(h.arena.at(r))
	ks.reindex(old.key, old.expireAt, v.ExpireAt)
	if hasObject(old.enc) {
		o := h.objects.get(old.objectID())
		ks.unindexFields(key, o)
		h.releaseObject(o)
	}
	ks.indexFields(key, &v)
	if ks.overwrite(r, &old, &rec) {
		return false
	}
	fresh := ks.write(&rec)
	ks.t.replace(hash, key, fresh)
	h.releaseRecord(ks.t, hash, r)
	return false
}

// compose makes rec, which is zero, the record of a value, whose object, if it has one then, gets one
// more key that holds it; its name is left to the caller to put in.
func (h *heap) compose(rec *record, key []byte, v *Value) {
	if v.Obj == nil && v.Type == TypeString && len(v.Bytes) > maxRecordString {
		v.Obj = h.newObject()
		v.Obj.str = pages.Clone(v.Bytes)
		v.Enc = EncBigString
	} else if v.Obj == nil && hasObject(v.Enc) {
		v.Enc = EncRaw // a big string that was cut short
	}
	rec.typ, rec.enc, rec.expireAt, rec.key, rec.val = v.Type, v.Enc, v.ExpireAt, key, v.Bytes
	if v.Obj != nil {
		h.holdObject(v.Obj)
	}
}

// name is what a record holds of the object, in id.
func (o *object) name(id *[objectIDBytes]byte) []byte {
	binary.LittleEndian.PutUint32(id[:], o.id)
	return id[:]
}

// write puts a record in a new block.
func (ks *keyspace) write(rec *record) ref {
	size := rec.size()
	r := ks.h.arena.alloc(size)
	rec.write(ks.h.arena.at(r)[:size:size])
	return r
}

// overwrite changes a record in place, if no cut can see it and the new one has
// the same class and its value at the same offset. Then the key stays where it is,
// and a new value that aliases the old one is moved correctly by copy.
func (ks *keyspace) overwrite(r ref, old, rec *record) bool {
	a := ks.h.arena
	if (old.expireAt != 0) != (rec.expireAt != 0) ||
		uvarintLen(uint64(len(old.val))) != uvarintLen(uint64(len(rec.val))) ||
		!a.fits(r, rec.size()) || !ks.h.isPrivate(r) {
		return false
	}
	size := rec.size()
	mem := a.at(r)[:size:size]
	copy(mem[size-len(rec.val):], rec.val)
	b := append(mem[:0], rec.head())
	if rec.expireAt != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(rec.expireAt))
	}
	b = binary.AppendUvarint(b, uint64(len(old.key)))
	binary.AppendUvarint(b, uint64(len(rec.val)))
	return true
}

// setExpire sets when key expires (Unix ms; 0: never) and reports whether the key
// is there.
func (ks *keyspace) setExpire(key []byte, at int64) bool {
	v, ok := ks.get(key)
	if !ok {
		return false
	}
	if v.ExpireAt == at {
		return true
	}
	v.ExpireAt = at
	if v.Obj != nil {
		v.Bytes = nil
	}
	ks.set(key, v)
	return true
}

// delete removes key and reports whether it was there. It costs the same whatever
// the key holds: trees are left to the garbage collector.
func (ks *keyspace) delete(key []byte) bool {
	h := ks.h
	hash := hash64(h, key)
	r, ok := ks.t.find(h.arena, hash, key)
	if !ok {
		return false
	}
	old := readRecord(h.arena.at(r))
	ks.reindex(old.key, old.expireAt, 0)
	if hasObject(old.enc) {
		o := h.objects.get(old.objectID())
		ks.unindexFields(key, o)
		h.releaseObject(o)
	}
	ks.t.remove(hash, key)
	h.releaseRecord(ks.t, hash, r)
	return true
}

// reindex moves a key in the index of expiries; 0 is no expiry.
func (ks *keyspace) reindex(key []byte, from, to int64) {
	if from == to {
		return
	}
	if from != 0 {
		ks.due.del(ks.dueKeyOf(from, key))
	}
	if to != 0 {
		ks.due.put(ks.dueKeyOf(to, key), nil)
	}
}

func (ks *keyspace) dueKeyOf(at int64, key []byte) []byte {
	ks.dueKey = binary.BigEndian.AppendUint64(ks.dueKey[:0], uint64(at))
	ks.dueKey = append(ks.dueKey, key...)
	return ks.dueKey
}

// nextDue is the key that expires first: the smallest (expireAt, key).
func (ks *keyspace) nextDue() (key []byte, at int64, ok bool) {
	k, _ := ks.due.at(0)
	if len(k) < 8 {
		return nil, 0, false
	}
	return k[8:], int64(binary.BigEndian.Uint64(k)), true
}

// len is the number of keys, expired ones included.
func (ks *keyspace) len() int { return ks.t.n }

// expires is the number of keys with an expiry.
func (ks *keyspace) expires() int { return ks.due.len() }

// scan calls fn for about count keys from the cursor on, in hash order, and
// returns the cursor to go on with; 0 begins and ends a scan. What it calls fn for
// and returns depends on the keys and the seed alone. A key that is there from the
// first call of a scan to the last is seen exactly once, whatever is inserted,
// deleted or resized between calls, and whichever node serves them. fn must not
// change a keyspace.
func (ks *keyspace) scan(cursor uint64, count int, fn func(key []byte, v Value)) (next uint64) {
	count = max(count, 1)
	w := walker{h: ks.h, v: &ks.t.tableView, from: cursor << positionShift, window: count + 8}
	var room [128]orderedKey
	last := uint64(0)
	for keys, ok := w.next(room[:0]); ok; keys, ok = w.next(keys) {
		for _, k := range keys {
			rec := readRecord(ks.h.arena.at(k.r))
			if count <= 0 {
				if at := hash64(ks.h, rec.key) >> positionShift; at != last {
					return at
				}
			}
			if count--; count <= 0 { // keys of one position go together
				last = hash64(ks.h, rec.key) >> positionShift
			}
			fn(rec.key, ks.h.value(&rec))
		}
	}
	return 0
}

// at is the first key in hash order at or after a hash point, wrapping round; ok
// is false only when the keyspace is empty.
func (ks *keyspace) at(point uint64) (key []byte, v Value, ok bool) {
	var room [32]orderedKey
	for _, from := range [2]uint64{point, 0} {
		w := walker{h: ks.h, v: &ks.t.tableView, from: from, window: 8}
		for keys, ok := w.next(room[:0]); ok; keys, ok = w.next(keys) {
			if len(keys) > 0 {
				rec := readRecord(ks.h.arena.at(keys[0].r))
				return rec.key, ks.h.value(&rec), true
			}
		}
	}
	return nil, Value{}, false
}

const (
	// 1<<randomBits is how many keys a slice of the hash space holds on average, or up to
	// twice as many; randomMost is more than any slice ever holds, unless somebody chose
	// the hashes: then what is beyond is never drawn.
	randomBits = 5
	randomMost = 128
	// randomSlices bounds the search for a slice. Two to five are looked at; thousands
	// of misses mean a flood of keys with chosen hashes.
	randomSlices = 4096
)

// random is a key chosen by dice, each with the same chance. It depends on the keys and
// the seed alone: a slice of the hash space is drawn and a number below randomMost; the
// key of that number in the slice's order, if there is one, is it.
func (ks *keyspace) random(dice *rng) (key []byte, v Value, ok bool) {
	if ks.len() == 0 {
		return nil, Value{}, false
	}
	depth := max(bits.Len(uint(ks.len()))-1-randomBits, 0)
	most := uint64(randomMost)
	if depth == 0 {
		most = uint64(ks.len())
	}
	width := uint64(1)<<(64-depth) - 1
	for range randomSlices {
		from := dice.next() &^ width
		if r, ok := ks.inSlice(from, from+width, int(dice.intn(most))); ok {
			rec := readRecord(ks.h.arena.at(r))
			return rec.key, ks.h.value(&rec), true
		}
	}
	return ks.at(dice.next())
}

// inSlice is the record number skip, in hash order, of those with hashes in [from, to].
func (ks *keyspace) inSlice(from, to uint64, skip int) (ref, bool) {
	var room [randomMost]orderedKey
	w := walker{h: ks.h, v: &ks.t.tableView, from: from, window: randomMost / 2}
	for keys, ok := w.next(room[:0]); ok; keys, ok = w.next(keys) {
		for n := len(keys); n > 0 && w.fullHash(keys[n-1]) > to; n-- {
			keys = keys[:n-1]
		}
		if skip < len(keys) {
			return keys[skip].r, true
		}
		if skip -= len(keys); w.from > to {
			break
		}
	}
	return 0, false
}

// each calls fn for all keys in hash order until it returns false. fn must not
// change a keyspace.
func (ks *keyspace) each(fn func(key []byte, v Value) bool) {
	ks.h.walk(walker{h: ks.h, v: &ks.t.tableView, window: segmentSlots}, fn)
}

// walk is each for all that a walker yields.
func (h *heap) walk(w walker, fn func(key []byte, v Value) bool) {
	buf := make([]orderedKey, 0, segmentSlots)
	for keys, ok := w.next(buf); ok; keys, ok = w.next(keys) {
		w.warm(keys)
		for _, k := range keys {
			rec := readRecord(h.arena.at(k.r))
			if !fn(rec.key, h.value(&rec)) {
				return
			}
		}
	}
}

// scatter calls fn for all keys of a view, a cut's if that is not nil, in the order in
// which they lie about. fn must not change a keyspace.
func (h *heap) scatter(v *tableView, cut *cutDB, fn func(key []byte, v Value)) {
	if v.dir[0] == nil {
		return
	}
	var scratch [segmentBytes]byte
	for i := 0; i < len(v.dir); {
		first := v.dir[i]
		cut.enter(first)
		for s := first; s != nil; s = s.next {
			h.scatterSlots(cut.slots(s, &scratch), fn)
		}
		i += 1 << (v.bits - first.depth)
	}
}

// clear removes all keys at once; heap.freeSome gives their memory back.
func (ks *keyspace) clear() {
	ks.h.doom(ks.t.tableView)
	ks.t, ks.due, ks.fieldsDue = newTable(ks.h), newTree(nil), newTree(nil)
}
