package kv

import "bytes"

// hashView is a hash opened by a command.
//
//	packed: field, value, field, value ... in the order of insertion
//	tree:   hash64(field) field -> value
type hashView struct{ collection }

// openHash opens the key's hash, empty if the key is missing. If ok is false
// WRONGTYPE was replied.
func (c *Ctx) openHash(key []byte) (h hashView, ok bool) {
	h.collection, ok = c.openCollection(key, TypeHash)
	return h, ok
}

func (h *hashView) len() int {
	if h.isTree() {
		return h.object().t.len()
	}
	return packedLen(h.v.Bytes) / 2
}

// get returns the field's value, valid until the next change.
func (h *hashView) get(field []byte) (val []byte, ok bool) {
	if h.isTree() {
		var tmp [keyBufSize]byte
		return h.object().t.get(appendHashed(tmp[:0], h.heap(), field))
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

// put sets the field and reports whether it is new.
func (h *hashView) put(field, val []byte) (added bool) {
	if h.isTree() {
		var tmp [keyBufSize]byte
		return h.mutable().t.put(appendHashed(tmp[:0], h.heap(), field), val)
	}
	rank, _, exists := h.find(field)
	if h.mustConvert(field, val, exists) {
		h.convert()
		return h.put(field, val)
	}
	dst := h.beginEdit()
	if exists {
		h.endEdit(packedReplaceAt(dst, h.v.Bytes, rank+1, val))
		return false
	}
	h.endEdit(packedPush(dst, h.v.Bytes, field, val))
	return true
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
		if _, ok := h.object().t.rank(key); !ok {
			return false
		}
		return h.mutable().t.del(key)
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
			fn(hashedMember(it.key()), it.val())
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
