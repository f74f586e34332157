package kv

// object is a value too large for a record: a string above 64 KiB or a collection
// in block trees. A record refers to it by id.
//
// An object belongs to the key it was set under. To change one, pass it through
// heap.mutable first; while a cut may see it that returns a copy of the header
// (trees are shared and copied block by block as they are touched).
type object struct {
	// str is the string of EncBigString. It is replaced or changed in place only
	// after mutable.
	str []byte
	// t is the collection; for a sorted set t is ordered by score and t2 by member.
	t, t2 *tree
	// aux is the type's own number.
	aux int64

	id    uint32 // place in the object table; 0: in no key yet
	refs  uint32 // keys that hold it: 1, or 2 in the middle of a RENAME
	epoch uint64 // the heap's epoch when the header was made
}

// newObject returns an empty object; the caller fills it and stores it with
// keyspace.set.
func (h *heap) newObject() *object { return &object{epoch: h.epoch} }

// mutable returns an object that may be changed in place: o itself, or, while an
// open cut may see o, a copy. In the latter case the caller stores the copy with
// keyspace.set under o's key before the command ends. Cost: a few words, but for a
// big string its length.
func (h *heap) mutable(o *object) *object { return o }

// copyObject is a deep copy that shares nothing with o (COPY).
func (h *heap) copyObject(o *object) *object {
	c := h.newObject()
	c.str = append([]byte(nil), o.str...)
	c.aux = o.aux
	for _, p := range []struct {
		from *tree
		to   **tree
	}{{o.t, &c.t}, {o.t2, &c.t2}} {
		if p.from == nil {
			continue
		}
		it := p.from.first()
		*p.to = treeFrom(h, func() (key, val []byte, ok bool) {
			if !it.valid() {
				return nil, nil, false
			}
			key, val = it.key(), it.val()
			it.next()
			return key, val, true
		})
	}
	return c
}
