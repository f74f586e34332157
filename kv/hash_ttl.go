package kv

import (
	"encoding/binary"
	"slices"
)

// Fields of hashes that expire.
//
// A hash with at least one such field is an object: t holds the fields as always,
// t2 the expiries, twice, so that both questions are quick:
//
//	0 expireAt(8 BE) hash64(field) field -> nothing      which are due?
//	1 hash64(field) field -> expireAt(8 BE)              when is this one due?
//
// Without such a field t2 is nil. A hash that Redis would hold in a listpack is
// marked (object.aux) and becomes packed again with its last expiry; holding it
// packed throughout would save some hundred bytes per hash, at the price of a third
// form of everything here.
//
// A field is expired iff expireAt <= stamp, as a key is (docs/adr/0004). What is due
// is removed at the start of an entry, in bounded number (expire.go), and where a
// logged command meets it; what is left over, and what a read meets, is hidden.
const (
	ttlByTime  = 0
	ttlByField = 1

	// hashIsSmall in object.aux: OBJECT ENCODING says listpackex.
	hashIsSmall = 1

	// fieldTTLMax is the latest time a field may expire at, Unix ms: Redis's limit.
	fieldTTLMax = 1<<46 - 1
	// purgeMax bounds how many due fields a command removes before it begins.
	purgeMax = 256
)

func appendTTLTime(dst []byte, at int64, hashed []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, ttlByTime), uint64(at))
	return append(dst, hashed...)
}

func appendTTLField(dst, hashed []byte) []byte { return append(append(dst, ttlByField), hashed...) }

// hasFieldTTL reports whether a field of the value expires.
func (v *Value) hasFieldTTL() bool {
	return v.Type == TypeHash && v.Obj != nil && v.Obj.t2 != nil
}

// fieldTTL is when a field expires, 0 for never; hashed is its key in t.
func (o *object) fieldTTL(hashed []byte) int64 {
	if o.t2 == nil {
		return 0
	}
	var tmp [keyBufSize]byte
	return readTTL(o.t2.get(appendTTLField(tmp[:0], hashed)))
}

func readTTL(val []byte, ok bool) int64 {
	if !ok || len(val) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(val))
}

// setFieldTTL changes when a field expires; at 0 is never. The object is mutable.
func (o *object) setFieldTTL(h *heap, hashed []byte, at int64) {
	old := o.fieldTTL(hashed)
	if old == at {
		return
	}
	if o.t2 == nil {
		o.t2 = newTree(h)
	}
	var tmp [keyBufSize]byte
	if old != 0 {
		o.t2.del(appendTTLTime(tmp[:0], old, hashed))
	}
	if at == 0 {
		o.t2.del(appendTTLField(tmp[:0], hashed))
		return
	}
	var val [8]byte
	binary.BigEndian.PutUint64(val[:], uint64(at))
	o.t2.put(appendTTLTime(tmp[:0], at, hashed), nil)
	o.t2.put(appendTTLField(tmp[:0], hashed), val[:])
}

// fieldTTLAt is the entry of a rank in the order of expiry.
func (o *object) fieldTTLAt(rank int) (at int64, hashed []byte) {
	key, _ := o.t2.at(rank)
	if len(key) < 9 || key[0] != ttlByTime {
		return 0, nil
	}
	return int64(binary.BigEndian.Uint64(key[1:])), key[9:]
}

// firstFieldTTL is the earliest expiry of a field, 0 if there is none.
func (o *object) firstFieldTTL() int64 {
	if o == nil || o.t2 == nil || o.t == nil {
		return 0
	}
	at, _ := o.fieldTTLAt(0)
	return at
}

// dueFields is the number of fields that are due by now.
func (o *object) dueFields(now int64) int {
	var tmp [9]byte
	binary.BigEndian.PutUint64(tmp[1:], uint64(now)+1)
	rank, _ := o.t2.rank(tmp[:])
	return rank
}

// fieldsGone reports whether all fields of the hash are due, so that the key counts
// as missing.
func (c *Ctx) fieldsGone(v *Value) bool {
	o := v.Obj
	if n := o.t2.len() / 2; n < o.t.len() {
		return false
	} else if last, _ := o.fieldTTLAt(n - 1); last > c.now {
		return false
	} else if !c.logged && last > c.store.st.Stamp {
		c.needTick = true
	}
	return true
}

// loseFields is the end of a hash whose fields are all due.
func (c *Ctx) loseFields(key []byte) (Value, bool) {
	if c.logged {
		c.ks.delete(key)
		c.touched("hexpired", key)
		c.touched("del", key)
	}
	return Value{}, false
}

// hideDue makes the view show only fields that are not due. In a logged command it
// removes those that are, up to a bound.
func (h *hashView) hideDue() {
	if !h.v.hasFieldTTL() {
		return
	}
	c := h.c
	h.hidden = h.object().dueFields(c.now)
	switch {
	case h.hidden == 0:
	case c.logged:
		h.hidden -= h.purge(purgeMax)
	case h.hidden > h.object().dueFields(c.store.st.Stamp):
		c.needTick = true
	}
}

// purge removes up to limit due fields and returns their number. Others are left.
func (h *hashView) purge(limit int) (n int) {
	o := h.mutable()
	for ; n < limit; n++ {
		at, hashed := o.fieldTTLAt(0)
		if hashed == nil || at > h.c.now {
			break
		}
		hashed = slices.Clone(hashed)
		o.setFieldTTL(h.heap(), hashed, 0)
		o.t.del(hashed)
	}
	if n > 0 {
		h.c.work(4 * n)
		h.settleFields()
		h.c.touched("hexpired", h.key)
	}
	return n
}

// isHidden reports whether the field, given as its key in t, is due.
func (h *hashView) isHidden(hashed []byte) bool {
	if h.hidden == 0 {
		return false
	}
	at := h.object().fieldTTL(hashed)
	return at != 0 && at <= h.c.now
}

// settleFields brings the form of a changed hash and the keyspace's index in line
// with its expiries, and stores the hash if it has to be.
func (x *collection) settleFields() {
	o := x.v.Obj
	switch {
	case o.t2.len() > 0:
	case o.aux == hashIsSmall && o.t.bytes() < packedMaxBytes:
		elems := make([][]byte, 0, 2*o.t.len())
		for it := o.t.first(); it.valid(); it.next() {
			elems = append(elems, hashedMember(it.key()), it.val())
		}
		x.v.Enc, x.v.Bytes, x.v.Obj = EncPacked, packedOf(nil, elems...), nil
		x.pending = true
	default:
		o = x.mutable()
		o.t2, o.aux = nil, 0
	}
	if x.pending {
		x.c.put(x.key, x.v)
		x.pending = false
		return
	}
	x.heap().recount(o)
	x.c.ks.reindexFields(x.key, o)
}

// keepsSmall unmarks a hash that Redis would no longer hold in a listpack.
func (h *hashView) keepsSmall(field, val []byte) {
	o, set := h.object(), h.c.settings()
	limit := int(set.HashMaxListpackValue)
	if o.aux == hashIsSmall && (o.t.len() > int(set.HashMaxListpackEntries) || len(field) > limit || len(val) > limit) {
		h.mutable().aux = 0
	}
}

// ttlOf is when the field expires, 0 for never; ok is false if there is no field.
func (h *hashView) ttlOf(field []byte) (at int64, ok bool) {
	if _, ok = h.get(field); !ok || !h.isTree() {
		return 0, ok
	}
	var tmp [keyBufSize]byte
	return h.object().fieldTTL(appendHashed(tmp[:0], h.heap(), field)), true
}

// setTTL changes when an existing field expires; 0 is never.
func (h *hashView) setTTL(field []byte, at int64) {
	if !h.isTree() {
		if at == 0 {
			return
		}
		h.convert()
		h.object().aux = hashIsSmall
	}
	var tmp [keyBufSize]byte
	h.mutable().setFieldTTL(h.heap(), appendHashed(tmp[:0], h.heap(), field), at)
}

// indexFields notes under key when the next field of its new value expires. Objects of
// other types have a second tree, too, with something else in it.
func (ks *keyspace) indexFields(key []byte, v *Value) {
	if v.hasFieldTTL() {
		ks.indexObject(key, v.Obj)
	}
}

func (ks *keyspace) indexObject(key []byte, o *object) {
	if at := o.firstFieldTTL(); at != 0 {
		o.fieldDue = at
		ks.fieldsDue.put(ks.dueKeyOf(at, key), nil)
	}
}

// unindexFields is the opposite. The object may be another key's as well.
func (ks *keyspace) unindexFields(key []byte, o *object) {
	if o != nil && o.fieldDue != 0 {
		ks.fieldsDue.del(ks.dueKeyOf(o.fieldDue, key))
	}
}

// reindexFields follows a change of the object in place.
func (ks *keyspace) reindexFields(key []byte, o *object) {
	if at := o.firstFieldTTL(); at != o.fieldDue {
		ks.unindexFields(key, o)
		o.fieldDue = 0
		ks.indexObject(key, o)
	}
}

// nextFieldDue is the key whose field expires first.
func (ks *keyspace) nextFieldDue() (key []byte, at int64, ok bool) {
	k, _ := ks.fieldsDue.at(0)
	if len(k) < 8 {
		return nil, 0, false
	}
	return k[8:], int64(binary.BigEndian.Uint64(k)), true
}
