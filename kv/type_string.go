package kv

import (
	"math"
	"strconv"
)

// bigString is the length above which a string is an object (docs/adr/0005).
const bigString = maxRecordString

// editBufferMax is the size above which the buffer of editString is not kept: one
// odd value must not be held for ever.
const editBufferMax = 128 << 10

var stringCommands = []Command{
	{Name: "append", Group: "string", Since: "2.0.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 16, Run: cmdAppend,
		Summary: "Adds bytes to the end of a string; a missing key counts as an empty one."},
	{Name: "decr", Group: "string", Since: "1.0.0", Arity: 2, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 17, Run: func(c *Ctx) { c.increment(-1) },
		Summary: "Takes one from the integer at a key; a missing one counts as 0."},
	{Name: "decrby", Group: "string", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 18, Run: cmdDecrBy,
		Summary: "Takes a number from the integer at a key; a missing one counts as 0."},
	{Name: "get", Group: "string", Since: "1.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyString(c.Args[1]) },
		Summary: "Reads a string."},
	{Name: "getdel", Group: "string", Since: "6.2.0", Arity: 2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 19, Run: cmdGetDel,
		Summary: "Returns the string value of a key and deletes the key."},
	{Name: "getex", Group: "string", Since: "6.2.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 20, Run: cmdGetEx,
		Summary: "Returns the string value of a key and sets or removes its expiry."},
	{Name: "getrange", Group: "string", Since: "2.4.0", Arity: 4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGetRange,
		Summary: "Returns a part of the string value of a key."},
	{Name: "getset", Group: "string", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 21, Run: cmdGetSet,
		Summary: "Returns the previous string value of a key and sets a new one."},
	{Name: "incr", Group: "string", Since: "1.0.0", Arity: 2, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 22, Run: func(c *Ctx) { c.increment(1) },
		Summary: "Adds one to the integer at a key; a missing one counts as 0."},
	{Name: "incrby", Group: "string", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 23, Run: cmdIncrBy,
		Summary: "Increments the integer value of a key by a number."},
	{Name: "incrbyfloat", Group: "string", Since: "2.6.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 24, Run: cmdIncrByFloat,
		Summary: "Increments the floating point value of a key by a number."},
	{Name: "lcs", Group: "string", Since: "7.0.0", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Run: cmdLCS,
		Summary: "Finds the longest common subsequence of two strings."},
	{Name: "mget", Group: "string", Since: "1.0.0", Arity: -2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: cmdMGet,
		Summary: "Returns the string values of one or more keys."},
	{Name: "mset", Group: "string", Since: "1.0.1", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 2, Op: 25, Run: cmdMSet,
		Summary: "Sets the string values of one or more keys."},
	{Name: "msetnx", Group: "string", Since: "1.0.1", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 2, Op: 26, Run: cmdMSetNX,
		Summary: "Sets the string values of one or more keys, only if none of them exists."},
	{Name: "psetex", Group: "string", Since: "2.6.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 27, Run: func(c *Ctx) { c.setWithTTL(1) },
		Summary: "Sets the string value of a key and its expiry in milliseconds."},
	{Name: "set", Group: "string", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 28, Run: cmdSet,
		Summary: "Sets the string value of a key, whatever type it held. Creates the key if it doesn't exist."},
	{Name: "setex", Group: "string", Since: "2.0.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 29, Run: func(c *Ctx) { c.setWithTTL(1000) },
		Summary: "Sets the string value of a key and its expiry in seconds."},
	{Name: "setnx", Group: "string", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 30, Run: cmdSetNX,
		Summary: "Sets a string under a key that does not exist."},
	{Name: "setrange", Group: "string", Since: "2.2.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 31, Run: cmdSetRange,
		Summary: "Overwrites a part of a string from an offset on; the string grows if need be."},
	{Name: "strlen", Group: "string", Since: "2.2.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdStrLen,
		Summary: "Tells how long a string is."},
	{Name: "substr", Group: "string", Since: "1.0.0", Arity: 4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGetRange,
		Summary: "Returns a part of the string value of a key."},
}

// str is the text of a string value; read only, valid until the next change.
func (v *Value) str() []byte {
	if v.Enc == EncBigString {
		return v.Obj.str
	}
	return v.Bytes
}

// putString stores a string; p is copied and may alias the arena.
func (c *Ctx) putString(key, p []byte, expireAt int64) {
	c.put(key, Value{Type: TypeString, Enc: EncRaw, ExpireAt: expireAt, Bytes: p})
}

// putEdited is putString for a string that was put together in place: one that is
// short enough to be anything else is raw to OBJECT ENCODING.
func (c *Ctx) putEdited(key, p []byte, expireAt int64) {
	c.put(key, Value{Type: TypeString, Enc: editedEncoding(p), ExpireAt: expireAt, Bytes: p})
}

// putOwnEdited is putEdited without expiry of bytes that nobody else has: a long string
// keeps them.
func (c *Ctx) putOwnEdited(key, p []byte) {
	if len(p) <= maxRecordString {
		c.putEdited(key, p, 0)
		return
	}
	o := c.store.heap.newObject()
	o.str = p
	c.put(key, Value{Type: TypeString, Enc: EncBigString, Obj: o})
}

func editedEncoding(p []byte) Encoding {
	if len(p) <= embstrMax {
		return EncEdited
	}
	return EncRaw
}

// replyString replies the key's string value, null if it is missing; false after
// an error.
func (c *Ctx) replyString(key []byte) bool {
	v, found, ok := c.typed(key, TypeString)
	switch {
	case !ok:
		return false
	case !found:
		c.Out.Null()
	default:
		c.Out.Bulk(v.str())
	}
	return true
}

// expireOption is what SET and GETEX accept about the expiry.
type expireOption struct {
	// ms is what one unit of the number is; 0 means no number was given.
	ms       int64
	relative bool
	number   []byte
}

// parse recognises EX, PX, EXAT and PXAT at option i; it returns false if it is
// none of them, or another of them was given before. The same one may come again,
// as in Redis: the last counts.
func (e *expireOption) parse(args [][]byte, i int) bool {
	if i+1 >= len(args) {
		return false
	}
	next := expireOption{number: args[i+1]}
	switch opt := args[i]; {
	case is(opt, "ex"):
		next.ms, next.relative = 1000, true
	case is(opt, "px"):
		next.ms, next.relative = 1, true
	case is(opt, "exat"):
		next.ms = 1000
	case is(opt, "pxat"):
		next.ms = 1
	default:
		return false
	}
	if e.ms != 0 && (e.ms != next.ms || e.relative != next.relative) {
		return false
	}
	*e = next
	return true
}

// at is the moment the option names, Unix ms; else it replies an error.
func (e *expireOption) at(c *Ctx) (int64, bool) {
	n, ok := parseInt(e.number)
	if !ok {
		c.Out.Error(errNotInt)
		return 0, false
	}
	if n <= 0 || n > math.MaxInt64/e.ms || e.relative && n*e.ms > math.MaxInt64-c.now {
		c.invalidExpire()
		return 0, false
	}
	n *= e.ms
	if e.relative {
		n += c.now
	}
	return n, true
}

func (c *Ctx) invalidExpire() {
	c.Out.Error("ERR invalid expire time in '" + c.cmd.Name + "' command")
}

// cmdSet is SET key value [NX|XX|IFEQ v|IFNE v|IFDEQ d|IFDNE d] [GET] [EX s|PX ms|
// EXAT s|PXAT ms|KEEPTTL].
func cmdSet(c *Ctx) {
	key, value := c.Args[1], c.Args[2]
	if len(c.Args) == 3 {
		c.putString(key, value, 0)
		c.touched("set", key)
		c.Out.OK()
		return
	}
	var exp expireOption
	var cond valueCondition
	var nx, xx, get, keep bool
	for i := 3; i < len(c.Args); i++ {
		switch opt := c.Args[i]; {
		case is(opt, "nx") && !xx && !cond.given:
			nx = true
		case is(opt, "xx") && !nx && !cond.given:
			xx = true
		case is(opt, "get"):
			get = true
		case is(opt, "keepttl") && exp.ms == 0:
			keep = true
		case !nx && !xx && cond.parse(c.Args, i):
			i++
		case !keep && exp.parse(c.Args, i):
			i++
		default:
			c.syntaxError()
			return
		}
	}
	at := int64(0)
	if exp.ms != 0 {
		var ok bool
		if at, ok = exp.at(c); !ok {
			return
		}
	}
	if !cond.sound(c) || get && !c.replyString(key) {
		return
	}
	old, found := c.lookup(key)
	if cond.given && found && old.Type != TypeString {
		c.wrongType()
		return
	}
	if nx && found || xx && !found || !cond.holds(old, found) {
		if !get {
			c.Out.Null()
		}
		return
	}
	if keep {
		at = old.ExpireAt
	}
	c.putString(key, value, at)
	c.touched("set", key)
	if exp.ms != 0 {
		c.touched("expire", key)
	}
	if !get {
		c.Out.OK()
	}
}

// setWithTTL is SETEX and PSETEX key ttl value; ms is the TTL's unit.
func (c *Ctx) setWithTTL(ms int64) {
	exp := expireOption{ms: ms, relative: true, number: c.Args[2]}
	at, ok := exp.at(c)
	if !ok {
		return
	}
	c.putString(c.Args[1], c.Args[3], at)
	c.touched("set", c.Args[1])
	c.touched("expire", c.Args[1])
	c.Out.OK()
}

// cmdSetNX is SETNX key value.
func cmdSetNX(c *Ctx) {
	if c.exists(c.Args[1]) {
		c.Out.Int(0)
		return
	}
	c.putString(c.Args[1], c.Args[2], 0)
	c.touched("set", c.Args[1])
	c.Out.Int(1)
}

// cmdGetSet is GETSET key value.
func cmdGetSet(c *Ctx) {
	if !c.replyString(c.Args[1]) {
		return
	}
	c.putString(c.Args[1], c.Args[2], 0)
	c.touched("set", c.Args[1])
}

// cmdGetDel is GETDEL key.
func cmdGetDel(c *Ctx) {
	if !c.replyString(c.Args[1]) {
		return
	}
	if c.remove(c.Args[1]) {
		c.touched("del", c.Args[1])
	}
}

// cmdGetEx is GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST].
func cmdGetEx(c *Ctx) {
	key := c.Args[1]
	var exp expireOption
	persist := false
	for i := 2; i < len(c.Args); i++ {
		switch {
		case is(c.Args[i], "persist") && exp.ms == 0:
			persist = true
		case !persist && exp.parse(c.Args, i):
			i++
		default:
			c.syntaxError()
			return
		}
	}
	v, found, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	if !found {
		c.Out.Null()
		return
	}
	at := int64(0)
	if exp.ms != 0 {
		if at, ok = exp.at(c); !ok {
			return
		}
	}
	c.Out.Bulk(v.str())
	switch {
	case exp.ms != 0 && at <= c.now:
		c.remove(key)
		c.touched("del", key)
	case exp.ms != 0:
		c.setExpire(key, at)
		c.touched("expire", key)
	case persist && v.ExpireAt != 0:
		c.setExpire(key, 0)
		c.touched("persist", key)
	}
}

// cmdGetRange is GETRANGE (once SUBSTR) key start end.
func cmdGetRange(c *Ctx) {
	start, ok := c.intArg(2)
	if !ok {
		return
	}
	end, ok := c.intArg(3)
	if !ok {
		return
	}
	v, _, ok := c.typed(c.Args[1], TypeString)
	if !ok {
		return
	}
	s := v.str()
	n := int64(len(s))
	empty := start < 0 && end < 0 && start > end
	if start < 0 {
		start = max(n+start, 0)
	}
	if end < 0 {
		end = max(n+end, 0)
	}
	end = min(end, n-1)
	if empty || start > end {
		c.Out.Bulk(nil)
		return
	}
	c.Out.Bulk(s[start : end+1])
}

// cmdSetRange is SETRANGE key offset value.
func cmdSetRange(c *Ctx) {
	key, value := c.Args[1], c.Args[3]
	offset, ok := c.intArg(2)
	if !ok {
		return
	}
	if offset < 0 {
		c.Out.Error("ERR offset is out of range")
		return
	}
	v, _, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	if len(value) == 0 {
		c.Out.Int(int64(len(v.str())))
		return
	}
	if !c.lengthOK(offset, len(value)) {
		return
	}
	end := int(offset) + len(value)
	c.editString(key, v, max(end, len(v.str())), func(s []byte) { copy(s[offset:], value) })
	c.touched("setrange", key)
}

// cmdAppend is APPEND key value.
func cmdAppend(c *Ctx) {
	key, value := c.Args[1], c.Args[2]
	v, found, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	n := len(v.str())
	if found && !c.lengthOK(int64(n), len(value)) {
		return
	}
	if found {
		c.editString(key, v, n+len(value), func(s []byte) { copy(s[n:], value) })
	} else {
		c.putString(key, value, 0)
		c.Out.Int(int64(len(value)))
	}
	c.touched("append", key)
}

// lengthOK replies an error when a string of a+b bytes would be beyond the limit.
func (c *Ctx) lengthOK(a int64, b int) bool {
	limit := c.settings().ProtoMaxBulkLen
	if a > limit || a+int64(b) > limit {
		c.Out.Error(errTooLong)
		return false
	}
	return true
}

// editString changes the key's string, extended with zero bytes to length n, and
// replies the length.
func (c *Ctx) editString(key []byte, v Value, n int, edit func(s []byte)) {
	c.changeString(key, v, n, edit)
	c.Out.Int(int64(n))
}

// changeString changes the key's string, extended with zero bytes to length n. A
// big string is changed in place, so that a long one grows at the price of what is
// appended.
func (c *Ctx) changeString(key []byte, v Value, n int, edit func(s []byte)) {
	if v.Enc == EncBigString {
		v = c.mutableObj(key, v)
		old := len(v.Obj.str)
		v.Obj.str = grow(v.Obj.str, n)
		clear(v.Obj.str[old:])
		edit(v.Obj.str)
		c.put(key, v) // its size changed
		return
	}
	buf := append(c.store.buf[:0], v.Bytes...)
	buf = grow(buf, n)
	clear(buf[len(v.Bytes):])
	edit(buf)
	c.putEdited(key, buf, v.ExpireAt)
	if c.store.buf = buf; cap(buf) > editBufferMax {
		c.store.buf = nil
	}
}

// grow extends s to length n at amortised cost; the new bytes are arbitrary.
func grow(s []byte, n int) []byte {
	if n <= cap(s) {
		return s[:n]
	}
	g := make([]byte, n, n+n/4)
	copy(g, s)
	return g
}

// increment is INCR and its kin: it adds by to the key's integer.
func (c *Ctx) increment(by int64) {
	key := c.Args[1]
	v, found, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	n := int64(0)
	if found {
		if n, ok = parseInt(v.str()); !ok {
			c.Out.Error(errNotInt)
			return
		}
	}
	if by < 0 && n < math.MinInt64-by || by > 0 && n > math.MaxInt64-by {
		c.Out.Error(errOverflow)
		return
	}
	n += by
	c.store.buf = strconv.AppendInt(c.store.buf[:0], n, 10)
	c.putString(key, c.store.buf, v.ExpireAt)
	c.touched("incrby", key)
	c.Out.Int(n)
}

// cmdIncrBy is INCRBY key increment.
func cmdIncrBy(c *Ctx) {
	if by, ok := c.intArg(2); ok {
		c.increment(by)
	}
}

// cmdDecrBy is DECRBY key decrement.
func cmdDecrBy(c *Ctx) {
	by, ok := c.intArg(2)
	if !ok {
		return
	}
	if by == math.MinInt64 {
		c.Out.Error("ERR decrement would overflow")
		return
	}
	c.increment(-by)
}

// cmdIncrByFloat is INCRBYFLOAT key increment.
func cmdIncrByFloat(c *Ctx) {
	key := c.Args[1]
	v, found, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	old := v.str()
	if !found {
		old = []byte("0")
	}
	if _, ok := parseLongDouble(old); !ok {
		c.Out.Error(errNotFloat)
		return
	}
	if _, ok := parseLongDouble(c.Args[2]); !ok {
		c.Out.Error(errNotFloat)
		return
	}
	sum, ok := addFloats(old, c.Args[2])
	if !ok {
		c.Out.Error("ERR increment would produce NaN or Infinity")
		return
	}
	sumValue := Value{Type: TypeString, Enc: EncRaw, ExpireAt: v.ExpireAt, Bytes: sum}
	if _, isInt := parseInt(sum); isInt {
		sumValue.Enc = EncText
	}
	c.put(key, sumValue)
	c.touched("incrbyfloat", key)
	c.Out.Bulk(sum)
}

// cmdMGet is MGET key [key ...]: null for a missing key and for another type.
func cmdMGet(c *Ctx) {
	c.Out.Array(len(c.Args) - 1)
	for _, key := range c.Args[1:] {
		if v, ok := c.lookup(key); ok && v.Type == TypeString {
			c.Out.Bulk(v.str())
		} else {
			c.Out.Null()
		}
	}
	c.work(len(c.Args))
}

// cmdMSet is MSET key value [key value ...].
func cmdMSet(c *Ctx) {
	if len(c.Args)%2 == 0 {
		c.wrongArgs()
		return
	}
	c.setAll()
	c.Out.OK()
}

// cmdMSetNX is MSETNX key value [key value ...].
func cmdMSetNX(c *Ctx) {
	if len(c.Args)%2 == 0 {
		c.wrongArgs()
		return
	}
	for i := 1; i < len(c.Args); i += 2 {
		if c.exists(c.Args[i]) {
			c.Out.Int(0)
			return
		}
	}
	c.setAll()
	c.Out.Int(1)
}

func (c *Ctx) setAll() {
	for i := 1; i < len(c.Args); i += 2 {
		c.putString(c.Args[i], c.Args[i+1], 0)
		c.touched("set", c.Args[i])
	}
	c.work(opCost * len(c.Args) / 2)
}

// cmdStrLen is STRLEN key.
func cmdStrLen(c *Ctx) {
	if v, _, ok := c.typed(c.Args[1], TypeString); ok {
		c.Out.Int(int64(len(v.str())))
	}
}
