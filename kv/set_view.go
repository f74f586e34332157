package kv

// setView is a set opened by a command.
//
//	intset: integers (set_intset.go)
//	packed: members in the order of insertion
//	tree:   hash64(member) member
type setView struct{ collection }

// openSet opens the key's set, empty if the key is missing. If ok is false
// WRONGTYPE was replied.
func (c *Ctx) openSet(key []byte) (s setView, ok bool) {
	s.collection, ok = c.openCollection(key, TypeSet)
	if !s.found {
		s.v.Enc = EncIntset
	}
	return s, ok
}

// newSet is a set under construction, to be stored with replaceKey.
func (c *Ctx) newSet(key []byte) setView {
	s := setView{c.newCollection(key, TypeSet)}
	s.v.Enc = EncIntset
	return s
}

func (s *setView) len() int {
	switch s.v.Enc {
	case EncTree:
		return s.object().t.len()
	case EncIntset:
		return intsetLen(s.v.Bytes)
	}
	return packedLen(s.v.Bytes)
}

func (s *setView) has(member []byte) bool {
	switch s.v.Enc {
	case EncTree:
		var tmp [keyBufSize]byte
		_, ok := s.object().t.get(appendHashed(tmp[:0], s.heap(), member))
		return ok
	case EncIntset:
		n, ok := parseInt(member)
		if ok {
			_, ok = intsetFind(s.v.Bytes, n)
		}
		return ok
	}
	_, ok := packedFind(s.v.Bytes, member, 1, 0)
	return ok
}

// expect prepares for adding the members as Redis does: more than may be in a
// small encoding make a hash table at once. Before 7.2 integers are counted only when
// they are in, repeated ones once.
func (s *setView) expect(members [][]byte) {
	set, n := s.c.settings(), len(members)
	if _, isInt := parseInt(members[0]); isInt && s.v.Enc == EncIntset && set.RedisVersion < redis72 {
		return
	}
	if s.v.Enc == EncIntset && s.len() == 0 && n > 0 {
		if _, isInt := parseInt(members[0]); !isInt || n > int(set.SetMaxIntsetEntries) {
			s.v.Enc, s.v.Bytes = EncPacked, nil
		}
	}
	if s.v.Enc == EncIntset && n > int(set.SetMaxIntsetEntries) ||
		s.v.Enc == EncPacked && n > int(set.SetMaxListpackEntries) {
		s.convert()
	}
}

// add adds the member and reports whether it is new.
func (s *setView) add(member []byte) (added bool) {
	switch s.v.Enc {
	case EncTree:
		var tmp [keyBufSize]byte
		return s.mutable().t.put(appendHashed(tmp[:0], s.heap(), member), nil)
	case EncIntset:
		return s.addToIntset(member)
	}
	if s.has(member) {
		return false
	}
	set := s.c.settings()
	if s.len() >= int(set.SetMaxListpackEntries) || len(member) > int(set.SetMaxListpackValue) ||
		!s.fitsPacked(len(member)) {
		s.convert()
		return s.add(member)
	}
	s.endEdit(packedPush(s.beginEdit(), s.v.Bytes, member))
	return true
}

func (s *setView) addToIntset(member []byte) (added bool) {
	v, isInt := parseInt(member)
	if !isInt {
		s.leaveIntset(member)
		return s.add(member)
	}
	rank, found := intsetFind(s.v.Bytes, v)
	if found {
		return false
	}
	s.endEdit(intsetInsert(s.beginEdit(), s.v.Bytes, rank, v))
	if s.len() > int(s.c.settings().SetMaxIntsetEntries) {
		s.convert()
	}
	return true
}

// leaveIntset changes to the encoding in which the member, not an integer, can
// join the integers.
func (s *setView) leaveIntset(member []byte) {
	set, n := s.c.settings(), s.len()
	longest := 0
	if n > 0 {
		var tmp [20]byte
		longest = max(len(appendInt(tmp[:0], intsetAt(s.v.Bytes, 0))), len(appendInt(tmp[:0], intsetAt(s.v.Bytes, n-1))))
	}
	limit := int(set.SetMaxListpackValue)
	if n >= int(set.SetMaxListpackEntries) || len(member) > limit || longest > limit ||
		!s.fitsPacked(len(member)+21*n) {
		s.convert()
		return
	}
	packed := s.beginEdit()
	if n > 0 {
		packed = packedOf(packed, intsetTexts(s.v.Bytes)...)
	}
	s.endEdit(packed)
	s.v.Enc = EncPacked
}

// remove removes the member and reports whether it was there.
func (s *setView) remove(member []byte) bool {
	rank, ok := 0, false
	switch s.v.Enc {
	case EncTree:
		var tmp [keyBufSize]byte
		rank, ok = s.object().t.rank(appendHashed(tmp[:0], s.heap(), member))
	case EncIntset:
		var n int64
		if n, ok = parseInt(member); ok {
			rank, ok = intsetFind(s.v.Bytes, n)
		}
	default:
		rank, ok = packedFind(s.v.Bytes, member, 1, 0)
	}
	if ok {
		s.removeAt(rank)
	}
	return ok
}

// removeAt removes the member at a rank (ranked).
func (s *setView) removeAt(rank int) {
	switch s.v.Enc {
	case EncTree:
		s.mutable().t.delAt(rank)
	case EncIntset:
		s.endEdit(intsetDelete(s.beginEdit(), s.v.Bytes, rank))
	default:
		s.endEdit(packedDeleteAt(s.beginEdit(), s.v.Bytes, rank, 1))
	}
}

// each visits the members until visit returns false. A member is valid during its
// visit; visit must not change the set.
func (s *setView) each(visit func(member []byte) bool) {
	switch s.v.Enc {
	case EncTree:
		for it := s.object().t.first(); it.valid() && visit(hashedMember(it.key())); it.next() {
		}
	case EncIntset:
		var tmp [20]byte
		for i, n := 0, s.len(); i < n && visit(appendInt(tmp[:0], intsetAt(s.v.Bytes, i))); i++ {
		}
	default:
		it := iterPacked(s.v.Bytes)
		for m, ok := it.next(); ok && visit(m); m, ok = it.next() {
		}
	}
}

// at returns the member at a rank, valid until the next change; buf is memory for
// it.
func (s *setView) at(rank int, buf []byte) []byte {
	switch s.v.Enc {
	case EncTree:
		key, _ := s.object().t.at(rank)
		return hashedMember(key)
	case EncIntset:
		return appendInt(buf[:0], intsetAt(s.v.Bytes, rank))
	}
	member, _ := packedAt(s.v.Bytes, rank)
	return member
}

// ranked gives access to many ranks; a member is valid until the next call.
func (s *setView) ranked() rankedPairs {
	if s.v.Enc == EncPacked {
		elems := packedElems(s.v.Bytes)
		return func(rank int) (member, _ []byte) { return elems[rank], nil }
	}
	buf := make([]byte, 0, 20)
	return func(rank int) (member, _ []byte) { return s.at(rank, buf), nil }
}

// intsetTexts lists the integers as members.
func intsetTexts(p []byte) [][]byte {
	n := intsetLen(p)
	texts, buf := make([][]byte, 0, n), make([]byte, 0, n*20)
	for i := range n {
		start := len(buf)
		buf = appendInt(buf, intsetAt(p, i))
		texts = append(texts, buf[start:])
	}
	return texts
}

func (s *setView) convert() {
	t := newTree(s.heap())
	var key []byte
	s.each(func(member []byte) bool {
		key = appendHashed(key[:0], s.heap(), member)
		t.put(key, nil)
		return true
	})
	o := s.heap().newObject()
	o.t = t
	s.becomeTree(o)
}
