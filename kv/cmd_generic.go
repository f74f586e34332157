package kv

import (
	"bytes"
	"math"
	"strconv"
)

var genericCommands = []Command{
	{Name: "del", Group: "generic", Since: "1.0.0", Arity: -2, Flags: FlagWrite,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 80, Run: cmdDel,
		Summary: "Removes keys, whatever they hold."},
	{Name: "exists", Group: "generic", Since: "1.0.0", Arity: -2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: cmdExists,
		Summary: "Counts how many of the keys exist."},
	{Name: "expire", Group: "generic", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 81, Run: func(c *Ctx) { c.expireAt(1000, true) },
		Summary: "Sets the expiry of a key in seconds."},
	{Name: "expireat", Group: "generic", Since: "1.2.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 82, Run: func(c *Ctx) { c.expireAt(1000, false) },
		Summary: "Sets the expiry of a key to a Unix time in seconds."},
	{Name: "expiretime", Group: "generic", Since: "7.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyTTL(1000, false) },
		Summary: "Returns the expiry of a key as a Unix time in seconds."},
	{Name: "keys", Group: "generic", Since: "1.0.0", Arity: 2, Flags: FlagReadonly, Run: cmdKeys,
		Summary: "Returns all keys that match a pattern."},
	{Name: "object", Group: "generic", Since: "2.2.3", Arity: -2, Sub: []*Command{
		{Name: "object|encoding", Group: "generic", Since: "2.2.3", Arity: 3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdObjectEncoding,
			Summary: "Returns how the value of a key is stored."},
		{Name: "object|freq", Group: "generic", Since: "4.0.0", Arity: 3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdObjectFreq,
			Summary: "Returns how often a key is used (LFU)."},
		{Name: "object|help", Group: "generic", Since: "6.2.0", Arity: 2, Flags: FlagLoading | FlagStale, Run: cmdObjectHelp,
			Summary: "Returns a help text about the subcommands."},
		{Name: "object|idletime", Group: "generic", Since: "2.2.3", Arity: 3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdObjectIdleTime,
			Summary: "Returns the seconds since a key was last used."},
		{Name: "object|refcount", Group: "generic", Since: "2.2.3", Arity: 3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdObjectRefCount,
			Summary: "Returns how many references a value has."},
	}, Summary: "A container for commands that look into keys."},
	{Name: "persist", Group: "generic", Since: "2.2.0", Arity: 2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 83, Run: cmdPersist,
		Summary: "Removes the expiry of a key."},
	{Name: "pexpire", Group: "generic", Since: "2.6.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 84, Run: func(c *Ctx) { c.expireAt(1, true) },
		Summary: "Sets the expiry of a key in milliseconds."},
	{Name: "pexpireat", Group: "generic", Since: "2.6.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 85, Run: func(c *Ctx) { c.expireAt(1, false) },
		Summary: "Sets the expiry of a key to a Unix time in milliseconds."},
	{Name: "pexpiretime", Group: "generic", Since: "7.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyTTL(1, false) },
		Summary: "Returns the expiry of a key as a Unix time in milliseconds."},
	{Name: "pttl", Group: "generic", Since: "2.6.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyTTL(1, true) },
		Summary: "Returns the time a key has left in milliseconds."},
	{Name: "randomkey", Group: "generic", Since: "1.0.0", Arity: 1, Flags: FlagReadonly | FlagTouchesArbitraryKeys,
		Run: cmdRandomKey, Summary: "Returns a random key of the database."},
	{Name: "rename", Group: "generic", Since: "1.0.0", Arity: 3, Flags: FlagWrite,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 86, Run: func(c *Ctx) { c.rename(false) },
		Summary: "Gives a value another key, in place of what is there."},
	{Name: "renamenx", Group: "generic", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 87, Run: func(c *Ctx) { c.rename(true) },
		Summary: "Renames a key, only if the destination doesn't exist."},
	{Name: "scan", Group: "generic", Since: "2.8.0", Arity: -2, Flags: FlagReadonly | FlagTouchesArbitraryKeys,
		Run: cmdScan, Summary: "Iterates over the keys of the database."},
	{Name: "touch", Group: "generic", Since: "3.2.1", Arity: -2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: cmdExists,
		Summary: "Counts how many of the keys exist and notes that they were used."},
	{Name: "ttl", Group: "generic", Since: "1.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyTTL(1000, true) },
		Summary: "Returns the time a key has left in seconds."},
	{Name: "type", Group: "generic", Since: "1.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdType,
		Summary: "Returns the type of the value of a key."},
	{Name: "unlink", Group: "generic", Since: "4.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 88, Run: cmdUnlink,
		Summary: "Deletes one or more keys; their memory is freed later."},
}

// cmdDel is DEL and UNLINK key [key ...]: large values are freed in slices either
// way.
func cmdDel(c *Ctx) {
	n := int64(0)
	for _, key := range c.Args[1:] {
		if c.exists(key) && c.remove(key) {
			c.touched("del", key)
			n++
		}
	}
	c.work(opCost * len(c.Args))
	c.Out.Int(n)
}

// lazyWork is how large a value is at least that UNLINK counts as freed later, as Redis
// does. All of them are: nothing is taken apart while others wait.
const lazyWork = 64

// cmdUnlink is UNLINK key [key ...].
func cmdUnlink(c *Ctx) {
	for _, key := range c.Args[1:] {
		if v, found := c.ks.get(key); found && valueWork(v) > lazyWork {
			c.store.lazyFreed.Add(1)
		}
	}
	cmdDel(c)
}

// cmdExists is EXISTS and TOUCH key [key ...]; a key named twice counts twice.
func cmdExists(c *Ctx) {
	n := int64(0)
	for _, key := range c.Args[1:] {
		if c.exists(key) {
			n++
		}
	}
	c.work(len(c.Args))
	c.Out.Int(n)
}

// cmdType is TYPE key.
func cmdType(c *Ctx) {
	v, _ := c.lookup(c.Args[1])
	c.Out.Status(v.Type.String())
}

// expireCondition is the option of EXPIRE and its kin.
type expireCondition struct{ nx, xx, gt, lt bool }

func (e *expireCondition) parse(c *Ctx) bool {
	for _, opt := range c.Args[3:] {
		switch {
		case is(opt, "nx"):
			e.nx = true
		case is(opt, "xx"):
			e.xx = true
		case is(opt, "gt"):
			e.gt = true
		case is(opt, "lt"):
			e.lt = true
		default:
			c.Out.Error("ERR Unsupported option " + clip(opt, 128))
			return false
		}
	}
	switch {
	case e.nx && (e.xx || e.gt || e.lt):
		c.Out.Error("ERR NX and XX, GT or LT options at the same time are not compatible")
	case e.gt && e.lt:
		c.Out.Error("ERR GT and LT options at the same time are not compatible")
	default:
		return true
	}
	return false
}

// allows judges a new expiry against the current one (0: none, later than all).
func (e *expireCondition) allows(at, current int64) bool {
	switch {
	case e.nx && current != 0, e.xx && current == 0:
		return false
	case e.gt && (current == 0 || at <= current):
		return false
	}
	return !e.lt || current == 0 || at < current
}

// expireAt is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT key time [NX|XX|GT|LT]; unit
// is the time's unit in ms. A moment that has passed deletes the key.
func (c *Ctx) expireAt(unit int64, relative bool) {
	key := c.Args[1]
	var cond expireCondition
	if !cond.parse(c) {
		return
	}
	at, ok := c.intArg(2)
	if !ok {
		return
	}
	if at > math.MaxInt64/unit || at < math.MinInt64/unit || relative && at*unit > math.MaxInt64-c.now {
		c.invalidExpire()
		return
	}
	at *= unit
	if relative {
		at += c.now
	}
	v, found := c.lookup(key)
	switch {
	case !found || !cond.allows(at, v.ExpireAt):
		c.Out.Int(0)
		return
	case at <= c.now:
		c.remove(key)
		c.touched("del", key)
	default:
		c.setExpire(key, at)
		c.touched("expire", key)
	}
	c.Out.Int(1)
}

// cmdPersist is PERSIST key.
func cmdPersist(c *Ctx) {
	v, found := c.lookup(c.Args[1])
	if !found || v.ExpireAt == 0 {
		c.Out.Int(0)
		return
	}
	c.setExpire(c.Args[1], 0)
	c.touched("persist", c.Args[1])
	c.Out.Int(1)
}

// replyTTL is TTL, PTTL, EXPIRETIME and PEXPIRETIME key; seconds are rounded to
// the nearest.
func (c *Ctx) replyTTL(unit int64, relative bool) {
	v, found := c.lookup(c.Args[1])
	switch {
	case !found:
		c.Out.Int(-2)
		return
	case v.ExpireAt == 0:
		c.Out.Int(-1)
		return
	}
	ms := v.ExpireAt
	if relative {
		ms = max(ms-c.now, 0)
	}
	n := ms / unit
	if ms%unit >= unit/2 && unit > 1 {
		n++
	}
	c.Out.Int(n)
}

// rename is RENAME and RENAMENX key newkey. The value moves as it is, with its
// expiry.
func (c *Ctx) rename(nx bool) {
	from, to := c.Args[1], c.Args[2]
	v, found := c.lookup(from)
	if !found {
		c.Out.Error(errNoKey)
		return
	}
	same := bytes.Equal(from, to)
	// Looked up in any case: an expired destination is removed here, and in
	// Redis's eyes never was there.
	if nx && (same || c.exists(to)) {
		c.Out.Int(0)
		return
	}
	if !same {
		if nx {
			v, _ = c.lookup(from) // removing the destination may have moved the bytes
		}
		c.putNew(to, v)
		c.remove(from)
		c.touched("rename_from", from)
		c.touched("rename_to", to)
	}
	if nx {
		c.Out.Int(1)
		return
	}
	c.Out.OK()
}

// cmdKeys is KEYS pattern.
func cmdKeys(c *Ctx) {
	pattern := c.Args[1]
	all := len(pattern) == 1 && pattern[0] == '*'
	n, guess := 0, 0
	if all {
		guess = c.ks.len()
	}
	c.Out.expect(guess)
	head := c.Out.beginLate('*', guess)
	c.ks.each(func(key []byte, v Value) bool {
		if (all || matchGlob(pattern, key)) && c.visible(v) {
			c.Out.Bulk(key)
			n++
		}
		return true
	})
	c.work(c.ks.len())
	c.Out.endLate(head, n)
}

// visible is lookup's judgement for a value met on the way: it removes nothing.
func (c *Ctx) visible(v Value) bool {
	if v.ExpireAt == 0 || v.ExpireAt > c.now {
		return true
	}
	if !c.logged && v.ExpireAt > c.store.st.Stamp {
		c.needTick = true
	}
	return false
}

// cmdScan is SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]. The cursor is a
// position in hash order: it survives resizes, restarts and a change of node.
func cmdScan(c *Ctx) {
	cursor, ok := c.cursor(c.Args[1])
	if !ok {
		c.Out.Error("ERR invalid cursor")
		return
	}
	count, pattern, typ := int64(10), []byte(nil), []byte(nil)
	for i := 2; i < len(c.Args); i += 2 {
		opt := c.Args[i]
		switch {
		case i+1 == len(c.Args):
			c.syntaxError()
			return
		case is(opt, "count"):
			if count, ok = c.intArg(i + 1); !ok {
				return
			}
			if count < 1 {
				c.syntaxError()
				return
			}
		case is(opt, "match"):
			pattern = c.Args[i+1]
		case is(opt, "type"):
			typ = c.Args[i+1]
		default:
			c.syntaxError()
			return
		}
	}
	var body Reply
	n, seen := 0, 0
	next := c.ks.scan(cursor, int(min(count, math.MaxInt32)), func(key []byte, v Value) {
		seen++
		// The type last: who asks for one learns of every key that is due, as in Redis.
		if pattern != nil && !matchGlob(pattern, key) || !c.visible(v) || typ != nil && !is(typ, v.Type.String()) {
			return
		}
		body.Bulk(key)
		n++
	})
	c.work(seen)
	var tmp [20]byte
	c.Out.Array(2)
	c.Out.Bulk(strconv.AppendUint(tmp[:0], next, 10))
	c.Out.Array(n)
	c.Out.AppendTape(&body)
}

// cursor reads the cursor of SCAN and its kin. Since Redis 7.4 it may not be empty and no
// plain negative number, but blanks may stand before it.
func (c *Ctx) cursor(b []byte) (uint64, bool) {
	if c.settings().RedisVersion >= redis74 {
		if n, isInt := parseInt(b); isInt && n < 0 || len(b) == 0 {
			return 0, false
		}
		b = bytes.TrimLeft(b, " \t\n\v\f\r")
		if len(b) == 0 {
			return 0, false
		}
	}
	return parseCursor(b)
}

// parseCursor reads a number as C's strtoul does, but without blanks before it: nothing is
// 0, and a sign turns the number round within 64 bits.
func parseCursor(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, true
	}
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	for len(b) > 1 && b[0] == '0' {
		b = b[1:]
	}
	cursor, ok := parseUint(b)
	if negative {
		cursor = -cursor
	}
	return cursor, ok
}

// randomTries bounds RANDOMKEY's search for a key that has not expired.
const randomTries = 100

// cmdRandomKey is RANDOMKEY.
func cmdRandomKey(c *Ctx) {
	for i := 0; i < randomTries; i++ {
		key, v, ok := c.ks.random(&c.rng)
		if !ok {
			break
		}
		if c.visible(v) {
			c.Out.Bulk(key)
			return
		}
	}
	c.Out.Null()
}

// objectValue is the value OBJECT looks at; else it replied null.
func (c *Ctx) objectValue() (Value, bool) {
	v, found := c.lookup(c.Args[2])
	if !found {
		c.Out.Null()
	}
	return v, found
}

// cmdObjectEncoding is OBJECT ENCODING key.
func cmdObjectEncoding(c *Ctx) {
	if v, ok := c.objectValue(); ok {
		c.Out.BulkString(c.encodingOf(v))
	}
}

// encodingOf is the name of the encoding in the Redis that is imitated: small lists and
// sets of strings became listpacks in 7.2.
func (c *Ctx) encodingOf(v Value) string {
	name := objectEncoding(v)
	old := c.settings().RedisVersion < redis72
	switch {
	case v.Type == TypeSet && old && name == "listpack":
		return "hashtable"
	case v.Type == TypeList && (old || v.Enc != EncPacked && !c.smallAgain(v)):
		return "quicklist"
	case v.Type == TypeList:
		return "listpack"
	}
	return name
}

// smallAgain reports whether a list that outgrew its packed form has shrunk to half of
// what that may be: Redis turns it back then.
func (c *Ctx) smallAgain(v Value) bool {
	elements, bytes := listLimits(c.settings())
	t := v.Obj.t
	return t.len() <= elements/2 && t.root.size <= int64(bytes/2)
}

// embstrMax is the longest string Redis keeps in one piece with its header.
const embstrMax = 44

// objectEncoding is Redis's name for the encoding.
func objectEncoding(v Value) string {
	if v.Type != TypeString {
		return encodingName(v)
	}
	s := v.str()
	if v.Enc == EncEdited {
		return "raw"
	}
	if _, ok := parseInt(s); ok && v.Enc != EncText {
		return "int"
	}
	if len(s) <= embstrMax {
		return "embstr"
	}
	return "raw"
}

// cmdObjectFreq is OBJECT FREQ key: how often this node used it, if the policy goes
// by that.
func cmdObjectFreq(c *Ctx) {
	switch _, ok := c.objectValue(); {
	case !ok:
	case usesFrequency(c.settings().MaxMemoryPolicy):
		c.Out.Int(c.store.access.frequency(c.db, c.store.hash(c.Args[2]), c.now))
	default:
		c.Out.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
			"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
	}
}

// cmdObjectIdleTime is OBJECT IDLETIME key: for how many seconds this node did not use
// it; 0 if it never did.
func cmdObjectIdleTime(c *Ctx) {
	switch _, ok := c.objectValue(); {
	case !ok:
	case usesFrequency(c.settings().MaxMemoryPolicy):
		c.Out.Error("ERR An LFU maxmemory policy is selected, idle time not tracked. " +
			"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
	default:
		c.Out.Int(c.store.access.idle(c.db, c.store.hash(c.Args[2]), c.now))
	}
}

// cmdObjectRefCount is OBJECT REFCOUNT key. Redis shares the small integers.
func cmdObjectRefCount(c *Ctx) {
	v, ok := c.objectValue()
	if !ok {
		return
	}
	if n, ok := parseInt(v.str()); v.Type == TypeString && ok && n >= 0 && n < 10000 && objectEncoding(v) == "int" {
		c.Out.Int(math.MaxInt32)
		return
	}
	c.Out.Int(1)
}

// cmdObjectHelp is OBJECT HELP.
func cmdObjectHelp(c *Ctx) {
	lines := []string{
		"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
		"HELP",
		"    Prints this help.",
	}
	c.Out.Array(len(lines))
	for _, l := range lines {
		c.Out.Status(l)
	}
}
