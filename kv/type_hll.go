package kv

// The HyperLogLog commands (https://redis.io/docs/latest/commands/?group=hyperloglog).
// A HyperLogLog is a string in Redis's layout, byte for byte (hll_format.go).
//
// PFCOUNT of Redis writes the number it computed into the value. Here reads change
// nothing, so the cache is only ever invalidated: PFCOUNT believes one that came
// with a value (SET, RESTORE), and computes otherwise.
var hllCommands = []Command{
	{Name: "pfadd", Group: "hyperloglog", Since: "2.8.9", Arity: -2, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 544, Run: cmdPFAdd,
		Summary: "Counts elements in a HyperLogLog, a new one if need be."},
	{Name: "pfcount", Group: "hyperloglog", Since: "2.8.9", Arity: -2, Flags: FlagReadonly | FlagMayReplicate,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 547, ReadFirst: true, Run: cmdPFCount,
		Summary: "Estimates how many different elements HyperLogLogs have counted together."},
	{Name: "pfdebug", Group: "hyperloglog", Since: "2.8.9", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagAdmin,
		FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 545, Run: cmdPFDebug,
		Summary: "Looks inside a HyperLogLog; for tests."},
	{Name: "pfmerge", Group: "hyperloglog", Since: "2.8.9", Arity: -2, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 546, Run: cmdPFMerge,
		Summary: "Unites HyperLogLogs under a key."},
	{Name: "pfselftest", Group: "hyperloglog", Since: "2.8.9", Arity: 1, Flags: FlagAdmin, Run: cmdPFSelfTest,
		Summary: "Checks the HyperLogLog code; for tests."},
}

const (
	errNotHLL     = "WRONGTYPE Key is not a valid HyperLogLog string value."
	errCorruptHLL = "INVALIDOBJ Corrupted HLL object detected"
)

// hllAt is the key's HyperLogLog; it aliases the value. ok is false after an error.
func (c *Ctx) hllAt(key []byte) (h hll, v Value, found, ok bool) {
	v, found, ok = c.typed(key, TypeString)
	if !ok || !found {
		return nil, v, found, ok
	}
	if h = hll(v.str()); !h.valid() {
		c.Out.Error(errNotHLL)
		return nil, v, true, false
	}
	return h, v, true, true
}

// putHLL stores a HyperLogLog.
func (c *Ctx) putHLL(key []byte, h hll, expireAt int64) {
	c.putEdited(key, h, expireAt)
	c.touched("pfadd", key)
}

// cmdPFAdd is PFADD key [element ...].
func cmdPFAdd(c *Ctx) {
	key := c.Args[1]
	h, v, found, ok := c.hllAt(key)
	if !ok {
		return
	}
	e := hllEditor{h: append(c.store.buf[:0], h...), sparseMax: int(c.settings().HLLSparseMaxBytes)}
	changed := !found
	if !found {
		e.h = newHLL(e.h)
	}
	for _, element := range c.Args[2:] {
		grew, ok := e.add(element)
		if !ok {
			c.Out.Error(errCorruptHLL)
			return
		}
		changed = changed || grew
	}
	c.work(len(c.Args) * (1 + len(e.h)>>9))
	if changed {
		e.h.invalidate()
		c.putHLL(key, e.h, v.ExpireAt)
	}
	c.keepBuffer(e.h)
	c.Out.Bool(changed)
}

// keepBuffer keeps what grew out of the store's scratch buffer.
func (c *Ctx) keepBuffer(b []byte) {
	if c.store.buf = b[:0]; cap(b) > editBufferMax {
		c.store.buf = nil
	}
}

// cmdPFCount is PFCOUNT key [key ...]. The count of one key is kept in its value, as in
// Redis: the first who asks after a change takes the way through the log.
func cmdPFCount(c *Ctx) {
	if len(c.Args) == 2 {
		h, v, found, ok := c.hllAt(c.Args[1])
		if ok && !found {
			c.Out.Int(0)
		}
		if !ok || !found {
			return
		}
		n, cached := h.cached()
		switch {
		case cached:
			c.Out.Int(n)
			return
		case c.logged:
			c.keepCount(h, v.ExpireAt)
			return
		case c.mayLog && !c.caller.Stale:
			c.needLog = true
			return
		}
	}
	regs, _, ok := c.mergedHLL(c.Args[1:])
	if ok {
		c.Out.Int(regs.count())
	}
}

// keepCount counts what the key holds and puts the count into its value.
func (c *Ctx) keepCount(h hll, expireAt int64) {
	regs := new(hllRegisters)
	if !h.mergeInto(regs) {
		c.Out.Error(errCorruptHLL)
		return
	}
	c.work(hllRegisterCount >> 6)
	n := regs.count()
	counted := append(hll(c.store.buf[:0]), h...)
	counted.cache(n)
	c.putEdited(c.Args[1], counted, expireAt)
	c.store.dirty++
	c.keepBuffer(counted)
	c.Out.Int(n)
}

// mergedHLL is the union of the keys' HyperLogLogs; missing ones are empty. dense:
// one of them is. ok is false after an error.
func (c *Ctx) mergedHLL(keys [][]byte) (regs *hllRegisters, dense, ok bool) {
	regs = new(hllRegisters)
	for _, key := range keys {
		h, _, found, ok := c.hllAt(key)
		if !ok {
			return nil, false, false
		}
		if !found {
			continue
		}
		dense = dense || h.dense()
		if !h.mergeInto(regs) {
			c.Out.Error(errCorruptHLL)
			return nil, false, false
		}
	}
	c.work(len(keys) * hllRegisterCount >> 6)
	return regs, dense, true
}

// cmdPFMerge is PFMERGE destkey [sourcekey ...].
func cmdPFMerge(c *Ctx) {
	dest := c.Args[1]
	regs, dense, ok := c.mergedHLL(c.Args[1:])
	if !ok {
		return
	}
	h, v, found, _ := c.hllAt(dest)
	e := hllEditor{h: append(c.store.buf[:0], h...), sparseMax: int(c.settings().HLLSparseMaxBytes)}
	if !found {
		e.h = newHLL(e.h)
	}
	if dense {
		e.toDense()
	}
	for i, n := range regs {
		if n == 0 {
			continue
		}
		if _, ok := e.set(i, n); !ok {
			c.Out.Error(errCorruptHLL)
			return
		}
	}
	e.h.invalidate()
	c.putHLL(dest, e.h, v.ExpireAt)
	c.keepBuffer(e.h)
	c.Out.OK()
}

// cmdPFDebug is PFDEBUG GETREG|DECODE|ENCODING|TODENSE key.
func cmdPFDebug(c *Ctx) {
	word, key := c.Args[1], c.Args[2]
	v, found := c.lookup(key)
	if !found {
		c.Out.Error("ERR The specified key does not exist")
		return
	}
	h, _, _, ok := c.hllAt(key)
	if !ok {
		return
	}
	switch {
	case is(word, "getreg"):
		c.makeDense(key, v, h)
		var regs hllRegisters
		if !h.mergeInto(&regs) {
			c.Out.Error(errCorruptHLL)
			return
		}
		c.Out.Array(len(regs))
		for _, n := range regs {
			c.Out.Int(int64(n))
		}
	case is(word, "decode"):
		if h.dense() {
			c.Out.Error("ERR HLL encoding is not sparse")
			return
		}
		c.Out.BulkString(h.describe())
	case is(word, "encoding"):
		if h.dense() {
			c.Out.Status("dense")
		} else {
			c.Out.Status("sparse")
		}
	case is(word, "todense"):
		c.Out.Bool(c.makeDense(key, v, h))
	default:
		c.Out.Error("ERR Unknown PFDEBUG subcommand '" + clip(word, 128) + "'")
	}
}

// makeDense stores a sparse HyperLogLog as a dense one and reports whether it did.
func (c *Ctx) makeDense(key []byte, v Value, h hll) bool {
	e := hllEditor{h: append(hll(nil), h...)}
	if h.dense() || !e.toDense() {
		return false
	}
	c.putHLL(key, e.h, v.ExpireAt)
	return true
}

// cmdPFSelfTest is PFSELFTEST: every register of both forms holds what was put in.
func cmdPFSelfTest(c *Ctx) {
	c.work(10_000)
	sparse, dense := hllEditor{h: newHLL(nil), sparseMax: 1 << 20}, hllEditor{h: newHLL(nil)}
	dense.toDense()
	var want, inDense, inSparse hllRegisters
	for i := range want {
		want[i] = uint8(i*7%hllSparseValueMax + 1)
		dense.set(i, want[i])
		sparse.set(i, want[i])
	}
	if !dense.h.mergeInto(&inDense) || !sparse.h.mergeInto(&inSparse) || inDense != want || inSparse != want {
		c.Out.Error("ERR TESTFAILED a register does not hold what was set")
		return
	}
	c.Out.OK()
}
