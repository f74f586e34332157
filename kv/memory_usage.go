package kv

// MemoryUsage estimates the bytes a key and its value take, the key's part of the
// tables included (MEMORY USAGE); ok is false if the key is missing or expired by
// the stamp. It is this node's view: it takes the read lock and asks nobody.
func (s *Store) MemoryUsage(db int, key []byte) (bytes int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ks := s.dbs[db]
	v, ok := ks.get(key)
	if !ok || v.ExpireAt != 0 && v.ExpireAt <= s.st.Stamp {
		return 0, false
	}
	return memoryUsage(key, v), true
}

// cmdMemoryUsage is MEMORY USAGE key [SAMPLES n]. The estimate is exact enough
// without sampling, so SAMPLES changes nothing.
func cmdMemoryUsage(c *Ctx) {
	switch {
	case len(c.Args) == 3:
	case len(c.Args) == 5 && is(c.Args[3], "samples"):
		n, ok := c.intArg(4)
		if !ok {
			return
		}
		if n < 0 {
			c.syntaxError()
			return
		}
	default:
		c.syntaxError()
		return
	}
	v, ok := c.lookup(c.Args[2])
	if !ok {
		c.Out.Null()
		return
	}
	c.Out.Int(memoryUsage(c.Args[2], v))
}

const (
	// keySlotBytes is a key's part of a segment, which is seven tenths full.
	keySlotBytes = 8 * 10 / 7
	// objectBytes is an object's header with its place in the object table.
	objectBytes = 128
	// dueBytes is what an entry of the expiry index takes beside the key.
	dueBytes = 16
)

func memoryUsage(key []byte, v Value) int64 {
	rec := record{typ: v.Type, enc: v.Enc, expireAt: v.ExpireAt, key: key, val: v.Bytes}
	if v.Obj != nil {
		rec.val = make([]byte, objectIDBytes)
	}
	n := int64(keySlotBytes + rec.size())
	if v.ExpireAt != 0 {
		n += int64(dueBytes + len(key))
	}
	if o := v.Obj; o != nil {
		n += objectBytes + int64(len(o.str)) // not cap: that differs between nodes
		for _, t := range [2]*tree{o.t, o.t2} {
			if t != nil {
				n += t.bytes()
			}
		}
	}
	return n
}
