package kv

import "math"

// The hash commands (https://redis.io/docs/latest/commands/?group=hash).
var hashCommands = []Command{
	{Name: "hset", Group: "hash", Since: "2.0.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 176, Run: cmdHSet,
		Summary: "Sets fields of a hash; tells how many are new."},
	{Name: "hdel", Group: "hash", Since: "2.0.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 177, Run: cmdHDel,
		Summary: "Removes fields; the hash goes with its last one."},
	{Name: "hmset", Group: "hash", Since: "2.0.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 178, Run: cmdHMSet,
		Summary: "Sets fields of a hash; HSET does the same."},
	{Name: "hsetnx", Group: "hash", Since: "2.0.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 179, Run: cmdHSetNX,
		Summary: "Sets a field that the hash does not have."},
	{Name: "hincrby", Group: "hash", Since: "2.0.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 180, Run: cmdHIncrBy,
		Summary: "Adds to the integer in a field; a missing one counts as 0."},
	{Name: "hincrbyfloat", Group: "hash", Since: "2.6.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 181, Run: cmdHIncrByFloat,
		Summary: "Adds to the floating-point number in a field; a missing one counts as 0."},

	{Name: "hget", Group: "hash", Since: "2.0.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHGet,
		Summary: "Reads a field of a hash."},
	{Name: "hmget", Group: "hash", Since: "2.0.0", Arity: -3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHMGet,
		Summary: "Reads several fields of a hash."},
	{Name: "hgetall", Group: "hash", Since: "2.0.0", Arity: 2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHGetAll,
		Summary: "Reads a whole hash, fields and values."},
	{Name: "hkeys", Group: "hash", Since: "2.0.0", Arity: 2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHKeys,
		Summary: "Lists the fields of a hash."},
	{Name: "hvals", Group: "hash", Since: "2.0.0", Arity: 2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHVals,
		Summary: "Lists the values of a hash."},
	{Name: "hlen", Group: "hash", Since: "2.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHLen,
		Summary: "Counts the fields of a hash."},
	{Name: "hexists", Group: "hash", Since: "2.0.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHExists,
		Summary: "Tells whether a hash has a field."},
	{Name: "hstrlen", Group: "hash", Since: "3.2.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHStrlen,
		Summary: "Tells how long the value of a field is."},
	{Name: "hscan", Group: "hash", Since: "2.8.0", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHScan,
		Summary: "Goes through a hash in steps."},
	{Name: "hrandfield", Group: "hash", Since: "6.2.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdHRandField,
		Summary: "Picks fields of a hash by chance."},
}

// cmdHSet is HSET key field value [field value ...].
func cmdHSet(c *Ctx) {
	if added, ok := hsetPairs(c); ok {
		c.Out.Int(int64(added))
	}
}

// cmdHMSet is HMSET key field value [field value ...].
func cmdHMSet(c *Ctx) {
	if _, ok := hsetPairs(c); ok {
		c.Out.OK()
	}
}

func hsetPairs(c *Ctx) (added int, ok bool) {
	pairs := c.Args[2:]
	if len(pairs)%2 != 0 {
		c.wrongArgs()
		return 0, false
	}
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return 0, false
	}
	h.expect(pairs)
	for i := 0; i < len(pairs); i += 2 {
		if h.put(pairs[i], pairs[i+1]) {
			added++
		}
	}
	h.save(h.len())
	c.touched("hset", c.Args[1])
	return added, true
}

// cmdHSetNX is HSETNX key field value.
func cmdHSetNX(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	if _, exists := h.get(c.Args[2]); exists {
		c.Out.Int(0)
		return
	}
	h.put(c.Args[2], c.Args[3])
	h.save(h.len())
	c.touched("hset", c.Args[1])
	c.Out.Int(1)
}

// cmdHDel is HDEL key field [field ...].
func cmdHDel(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	deleted, left := 0, h.len()
	for _, field := range c.Args[2:] {
		if left > 0 && h.del(field) {
			deleted++
			left--
		}
	}
	if deleted > 0 {
		h.save(left)
		c.touchedRemoving("hdel", c.Args[1], left)
	}
	c.Out.Int(int64(deleted))
}

// cmdHIncrBy is HINCRBY key field increment.
func cmdHIncrBy(c *Ctx) {
	incr, ok := c.intArg(3)
	if !ok {
		return
	}
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	var n int64
	if old, exists := h.get(c.Args[2]); exists {
		if n, ok = parseInt(old); !ok {
			c.Out.Error("ERR hash value is not an integer")
			return
		}
	}
	if incr > 0 && n > math.MaxInt64-incr || incr < 0 && n < math.MinInt64-incr {
		c.Out.Error(errOverflow)
		return
	}
	var tmp [20]byte
	h.set(c.Args[2], appendInt(tmp[:0], n+incr), true)
	h.save(h.len())
	c.touched("hincrby", c.Args[1])
	c.Out.Int(n + incr)
}

// cmdHIncrByFloat is HINCRBYFLOAT key field increment.
func cmdHIncrByFloat(c *Ctx) {
	incr, ok := parseLongDouble(c.Args[3])
	if !ok {
		c.Out.Error(errNotFloat)
		return
	}
	if incr.IsInf() {
		c.Out.Error("ERR value is NaN or Infinity")
		return
	}
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	old, exists := h.get(c.Args[2])
	if !exists {
		old = []byte("0")
	}
	if _, ok = parseLongDouble(old); !ok {
		c.Out.Error("ERR hash value is not a float")
		return
	}
	sum, ok := addFloats(old, c.Args[3])
	if !ok {
		c.Out.Error("ERR increment would produce NaN or Infinity")
		return
	}
	h.set(c.Args[2], sum, true)
	h.save(h.len())
	c.touched("hincrbyfloat", c.Args[1])
	c.Out.Bulk(sum)
}

// cmdHGet is HGET key field.
func cmdHGet(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	if val, exists := h.get(c.Args[2]); exists {
		c.Out.Bulk(val)
	} else {
		c.Out.Null()
	}
}

// cmdHMGet is HMGET key field [field ...].
func cmdHMGet(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	c.Out.Array(len(c.Args) - 2)
	for _, field := range c.Args[2:] {
		if val, exists := h.get(field); exists {
			c.Out.Bulk(val)
		} else {
			c.Out.Null()
		}
	}
}

// cmdHGetAll is HGETALL key.
func cmdHGetAll(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		h.growReply(0, h.len(), bulkRoom) // the field's hash is the other length
		c.Out.Map(h.len())
		h.each(func(field, val []byte) {
			c.Out.Bulk(field)
			c.Out.Bulk(val)
		})
	}
}

// cmdHKeys is HKEYS key.
func cmdHKeys(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		h.growParts(h.len())
		c.Out.Array(h.len())
		h.each(func(field, _ []byte) { c.Out.Bulk(field) })
	}
}

// cmdHVals is HVALS key.
func cmdHVals(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		h.growParts(h.len())
		c.Out.Array(h.len())
		h.each(func(_, val []byte) { c.Out.Bulk(val) })
	}
}

// cmdHLen is HLEN key.
func cmdHLen(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		c.Out.Int(int64(h.len()))
	}
}

// cmdHExists is HEXISTS key field.
func cmdHExists(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		_, exists := h.get(c.Args[2])
		c.Out.Bool(exists)
	}
}

// cmdHStrlen is HSTRLEN key field.
func cmdHStrlen(c *Ctx) {
	if h, ok := c.openHash(c.Args[1]); ok {
		val, _ := h.get(c.Args[2])
		c.Out.Int(int64(len(val)))
	}
}

// cmdHScan is HSCAN key cursor [MATCH pattern] [COUNT count].
func cmdHScan(c *Ctx) {
	s, ok := c.scanCursor()
	if !ok {
		return
	}
	h, ok := c.openHash(c.Args[1])
	if !ok || !s.options(h.found) {
		return
	}
	if h.isTree() {
		s.tree(h.object().t, func(key, val []byte) {
			if !h.isHidden(key) {
				s.emit(hashedMember(key), val)
			}
		})
	} else {
		h.each(func(field, val []byte) { s.emit(field, val) })
	}
	s.reply()
}

// cmdHRandField is HRANDFIELD key [count [WITHVALUES]].
func cmdHRandField(c *Ctx) {
	d, ok := c.randomArgs("withvalues")
	if !ok {
		return
	}
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	c.replyRandom(d, h.len(), h.ranked(), func(val []byte) { c.Out.Bulk(val) })
}
