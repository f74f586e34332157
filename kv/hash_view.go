package kv

import "bytes"

// hashView is a hash opened by a command.
//
//	packed: field, value, field, value ... in the order of insertion
//	tree:   hash64(field) field -> value
//
// (hash_ttl.go has what belongs to fields that expire.)
type hashView struct {
	collection
	// hidden counts fields of the tree that are due: they are not shown.
	hidden int
}

// openHash opens the key's hash, empty if the key is missing. If ok is false
// WRONGTYPE was replied.
func (c *Ctx) openHash(key []byte) (h hashView, ok bool) {
	if h.collection, ok = c.openCollection(key, TypeHash); ok {
		h.hideDue()
	}
	return h, ok
}

func (h *hashView) len() int {
	if h.isTree() {
		return h.object().t.len() - h.hidden
	}
	return packedLen(h.v.Bytes) / 2
}

// get returns the field's value, valid until the next change.
func (h *hashView) get(field []byte) (val []byte, ok bool) {
	if h.isTree() {
		var tmp [keyBufSize]byte
		key := appendHashed(tmp[:0], h.heap(), field)
		if val, ok = h.object().t.get(key); ok && h.isHidden(key) {
			return nil, false
		}
		return val, ok
	}
	_, val, ok = h.find(field)
	return val, ok
}

// find looks for a field in the packed form.
func (h *hashView) find(field []byte) (rank int, val []byte, ok bool) {
	it := iterPacked(h.v.Bytes)
	for rank = 0; ; rank += 2 {
		f, more := it.next()
		if !more {
			return 0, nil, false
		}
		if val, more = it.next(); !more {
			return 0, nil, false
		}
		if bytes.Equal(f, field) {
			return rank, val, true
		}
	}
}

// expect prepares for the coming puts as Redis does: a long element, or more
// fields than may be packed, make a hash table at once.
func (h *hashView) expect(pairs [][]byte) {
	if h.isTree() {
		return
	}
	set := h.c.settings()
	big := len(pairs)/2 > int(set.HashMaxListpackEntries)
	for _, e := range pairs {
		big = big || len(e) > int(set.HashMaxListpackValue)
	}
	if big {
		h.convert()
	}
}

// put sets the field, which then does not expire, and reports whether it is new.
func (h *hashView) put(field, val []byte) (added bool) { return h.set(field, val, false) }

// set is put; with keepTTL an existing field expires when it would have.
func (h *hashView) set(field, val []byte, keepTTL bool) (added bool) {
	if h.isTree() {
		return h.setInTree(field, val, keepTTL)
	}
	rank, _, exists := h.find(field)
	if h.mustConvert(field, val, exists) {
		h.convert()
		return h.setInTree(field, val, keepTTL)
	}
	dst := h.beginEdit()
	if exists {
		h.endEdit(packedReplaceAt(dst, h.v.Bytes, rank+1, val))
		return false
	}
	h.endEdit(packedPush(dst, h.v.Bytes, field, val))
	return true
}

func (h *hashView) setInTree(field, val []byte, keepTTL bool) (added bool) {
	var tmp [keyBufSize]byte
	key, o := appendHashed(tmp[:0], h.heap(), field), h.mutable()
	if o.t2 == nil {
		return o.t.put(key, val)
	}
	gone := h.isHidden(key)
	if gone {
		h.hidden--
	}
	if gone || !keepTTL {
		o.setFieldTTL(h.heap(), key, 0)
	}
	added = o.t.put(key, val) || gone
	h.keepsSmall(field, val)
	return added
}

func (h *hashView) mustConvert(field, val []byte, exists bool) bool {
	set := h.c.settings()
	limit := int(set.HashMaxListpackValue)
	if len(field) > limit || len(val) > limit {
		return true
	}
	return !exists && (h.len() >= int(set.HashMaxListpackEntries) || !h.fitsPacked(len(field)+len(val)))
}

// del removes the field and reports whether it was there.
func (h *hashView) del(field []byte) bool {
	if h.isTree() {
		var tmp [keyBufSize]byte
		key := appendHashed(tmp[:0], h.heap(), field)
		if _, ok := h.object().t.rank(key); !ok || h.isHidden(key) {
			return false
		}
		o := h.mutable()
		if o.t2 != nil {
			o.setFieldTTL(h.heap(), key, 0)
		}
		return o.t.del(key)
	}
	rank, _, ok := h.find(field)
	if ok {
		h.endEdit(packedDeleteAt(h.beginEdit(), h.v.Bytes, rank, 2))
	}
	return ok
}

// each visits all fields; fn must not change the hash.
func (h *hashView) each(fn func(field, val []byte)) {
	if h.isTree() {
		for it := h.object().t.first(); it.valid(); it.next() {
			if !h.isHidden(it.key()) {
				fn(hashedMember(it.key()), it.val())
			}
		}
		return
	}
	it := iterPacked(h.v.Bytes)
	for {
		field, _ := it.next()
		val, ok := it.next()
		if !ok {
			return
		}
		fn(field, val)
	}
}

// ranked gives access by rank (replyRandom).
func (h *hashView) ranked() rankedPairs {
	if h.hidden > 0 {
		var elems [][]byte
		h.each(func(field, val []byte) { elems = append(elems, field, val) })
		return func(rank int) (field, val []byte) { return elems[2*rank], elems[2*rank+1] }
	}
	if h.isTree() {
		t := h.object().t
		return func(rank int) (field, val []byte) {
			key, val := t.at(rank)
			return hashedMember(key), val
		}
	}
	elems := packedElems(h.v.Bytes)
	return func(rank int) (field, val []byte) { return elems[2*rank], elems[2*rank+1] }
}

func (h *hashView) convert() {
	t := newTree(h.heap())
	var key []byte
	h.each(func(field, val []byte) {
		key = appendHashed(key[:0], h.heap(), field)
		t.put(key, val)
	})
	o := h.heap().newObject()
	o.t = t
	h.becomeTree(o)
}
