package kv

import (
	"bytes"
	"math"
	"math/big"
)

// Strings compared and set in one step: the commands of Redis 8.4 and 8.8 that
// spare a WATCH or a script.
var conditionCommands = []Command{
	{Name: "delex", Group: "string", Since: "8.4.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 32, Run: cmdDelEx,
		Summary: "Deletes a key if its string value or its digest compares as asked."},
	{Name: "digest", Group: "string", Since: "8.4.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdDigest,
		Summary: "Returns the XXH3 digest of a string value in hexadecimal."},
	{Name: "increx", Group: "string", Since: "8.8.0", Arity: -2, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 33, Run: cmdIncrEx,
		Summary: "Increments the number at a key within bounds and sets its expiry. Uses 0 as initial value."},
	{Name: "msetex", Group: "string", Since: "8.4.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		Keys: msetexKeys, Op: 34, Run: cmdMSetEx,
		Summary: "Sets the string values of several keys with one expiry, if all or none of them exist."},
}

// valueCondition is IFEQ, IFNE, IFDEQ or IFDNE.
type valueCondition struct {
	given, digest, not bool
	operand            []byte
}

// parse recognises a condition at option i; false if it is none, or the second.
func (v *valueCondition) parse(args [][]byte, i int) bool {
	if v.given || i+1 >= len(args) {
		return false
	}
	switch opt := args[i]; {
	case is(opt, "ifeq"):
	case is(opt, "ifne"):
		v.not = true
	case is(opt, "ifdeq"):
		v.digest = true
	case is(opt, "ifdne"):
		v.digest, v.not = true, true
	default:
		return false
	}
	v.given, v.operand = true, args[i+1]
	return true
}

// sound replies an error if the operand cannot be a digest and should be one.
func (v *valueCondition) sound(c *Ctx) bool {
	if !v.digest {
		return true
	}
	ok := len(v.operand) == 16
	for _, b := range v.operand {
		ok = ok && (b-'0' <= 9 || b|0x20 >= 'a' && b|0x20 <= 'f')
	}
	if !ok {
		c.Out.Error("ERR digest must be exactly 16 hexadecimal characters")
	}
	return ok
}

// holds judges a string; a missing one equals nothing.
func (v *valueCondition) holds(old Value, found bool) bool {
	switch {
	case !v.given:
		return true
	case !found:
		return v.not
	case v.digest:
		return equalFold(digestText(old.str()), v.operand) != v.not
	}
	return bytes.Equal(old.str(), v.operand) != v.not
}

// digestText is the digest in 16 lower-case hexadecimal characters.
func digestText(p []byte) string {
	const hexDigits = "0123456789abcdef"
	var out [16]byte
	h := xxh3(p)
	for i := range out {
		out[i] = hexDigits[h>>(60-4*i)&15]
	}
	return string(out[:])
}

// cmdDigest is DIGEST key.
func cmdDigest(c *Ctx) {
	v, found, ok := c.typed(c.Args[1], TypeString)
	switch {
	case !ok:
	case !found:
		c.Out.Null()
	default:
		c.work(len(v.str()) / bytesPerCost)
		c.Out.BulkString(digestText(v.str()))
	}
}

// cmdDelEx is DELEX key [IFEQ v|IFNE v|IFDEQ d|IFDNE d].
func cmdDelEx(c *Ctx) {
	key := c.Args[1]
	var cond valueCondition
	switch {
	case len(c.Args) == 2:
	case len(c.Args) != 4:
		c.wrongArgs()
		return
	case !cond.parse(c.Args, 2):
		c.syntaxError()
		return
	case !cond.sound(c):
		return
	}
	v, found := c.lookup(key)
	if found && cond.given && v.Type != TypeString {
		c.wrongType()
		return
	}
	if !found || !cond.holds(v, true) {
		c.Out.Int(0)
		return
	}
	c.remove(key)
	c.touched("del", key)
	c.Out.Int(1)
}

// msetexKeys finds the keys of MSETEX.
func msetexKeys(args [][]byte) (keys []int, ok bool) {
	n, ok := parseInt(args[1])
	if !ok || n <= 0 || n > int64(len(args)-2)/2 {
		return nil, false
	}
	for i := range int(n) {
		keys = append(keys, 2+2*i)
	}
	return keys, true
}

// cmdMSetEx is MSETEX numkeys key value [key value ...] [NX|XX] [EX s|PX ms|EXAT s|
// PXAT ms|KEEPTTL]: all or none.
func cmdMSetEx(c *Ctx) {
	n, ok := parseInt(c.Args[1])
	if !ok || n <= 0 || n > math.MaxInt32 {
		c.Out.Error("ERR invalid numkeys value")
		return
	}
	if n > int64(len(c.Args)-2)/2 {
		c.Out.Error("ERR wrong number of key-value pairs")
		return
	}
	pairs := c.Args[2 : 2+2*n]
	var exp expireOption
	var nx, xx, keep bool
	for i := 2 + int(2*n); i < len(c.Args); i++ {
		switch opt := c.Args[i]; {
		case is(opt, "nx") && !xx:
			nx = true
		case is(opt, "xx") && !nx:
			xx = true
		case is(opt, "keepttl") && exp.ms == 0:
			keep = true
		case !keep && exp.parse(c.Args, i):
			i++
		default:
			c.syntaxError()
			return
		}
	}
	at := int64(0)
	if exp.ms != 0 {
		if at, ok = exp.at(c); !ok {
			return
		}
	}
	c.work(opCost * int(n))
	for i := 0; i < len(pairs) && (nx || xx); i += 2 {
		if c.exists(pairs[i]) != xx {
			c.Out.Int(0)
			return
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		key := pairs[i]
		if keep {
			old, _ := c.lookup(key)
			at = old.ExpireAt
		}
		c.putString(key, pairs[i+1], at)
		c.touched("set", key)
		if exp.ms != 0 {
			c.touched("expire", key)
		}
	}
	c.Out.Int(1)
}

// incrExArgs are the options of INCREX. Numbers are held as long doubles, which
// hold every integer too.
type incrExArgs struct {
	by, lower, upper *big.Float
	float, saturate  bool
	exp              expireOption
	persist, enx     bool
}

// number reads an operand in the mode of the command; else it replies an error.
func (a *incrExArgs) number(c *Ctx, arg []byte) (*big.Float, bool) {
	if !a.float {
		n, ok := parseInt(arg)
		if !ok {
			c.Out.Error(errNotInt)
		}
		return new(big.Float).SetPrec(longDoublePrec).SetInt64(n), ok
	}
	f, ok := parseLongDouble(arg)
	if !ok || f.IsInf() {
		c.Out.Error(errNotFloat)
		return nil, false
	}
	return f, true
}

func (a *incrExArgs) parse(c *Ctx) (ok bool) {
	var by, lower, upper []byte
	for i := 2; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		switch opt := c.Args[i]; {
		case (is(opt, "byint") || is(opt, "byfloat")) && more && by == nil:
			i++
			a.float, by = is(opt, "byfloat"), c.Args[i]
		case is(opt, "lbound") && more && lower == nil:
			i++
			lower = c.Args[i]
		case is(opt, "ubound") && more && upper == nil:
			i++
			upper = c.Args[i]
		case is(opt, "saturate"):
			a.saturate = true
		case is(opt, "enx"):
			a.enx = true
		case is(opt, "persist") && a.exp.ms == 0:
			a.persist = true
		case !a.persist && a.exp.parse(c.Args, i):
			i++
		default:
			c.syntaxError()
			return false
		}
	}
	if a.enx && a.exp.ms == 0 {
		c.syntaxError()
		return false
	}
	if by == nil {
		by = []byte("1")
	}
	if a.by, ok = a.number(c, by); !ok {
		return false
	}
	if a.lower, ok = a.bound(c, lower, math.MinInt64); !ok {
		return false
	}
	if a.upper, ok = a.bound(c, upper, math.MaxInt64); !ok {
		return false
	}
	if a.lower != nil && a.upper != nil && a.lower.Cmp(a.upper) > 0 {
		c.Out.Error("ERR LBOUND can't be greater than UBOUND")
		return false
	}
	return true
}

// bound is a bound, for integers the type's own if none is given.
func (a *incrExArgs) bound(c *Ctx, arg []byte, limit int64) (*big.Float, bool) {
	if arg != nil {
		return a.number(c, arg)
	}
	if a.float {
		return nil, true
	}
	return new(big.Float).SetPrec(longDoublePrec).SetInt64(limit), true
}

// cmdIncrEx is INCREX key [BYFLOAT n|BYINT n] [LBOUND n] [UBOUND n] [SATURATE]
// [EX s|PX ms|EXAT s|PXAT ms|PERSIST] [ENX]. It replies the value and what was
// added; a result out of bounds leaves everything as it is.
func cmdIncrEx(c *Ctx) {
	key := c.Args[1]
	var a incrExArgs
	if !a.parse(c) {
		return
	}
	at, ok := int64(0), true
	if a.exp.ms != 0 {
		if at, ok = a.exp.at(c); !ok {
			return
		}
	}
	v, found, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	text := []byte("0")
	if found {
		text = v.str()
	}
	old, ok := a.number(c, text)
	if !ok {
		return
	}
	next, fits := a.add(old)
	if next.IsInf() || next.MantExp(nil) > longDoubleMaxExp {
		c.Out.Error("ERR increment would produce NaN or Infinity")
		return
	}
	if fits {
		switch {
		case a.persist:
			v.ExpireAt = 0
		case a.exp.ms != 0 && (!a.enx || v.ExpireAt == 0):
			v.ExpireAt = at
		}
		a.store(c, key, next, v.ExpireAt)
	} else {
		next = old
	}
	c.Out.Array(2)
	a.reply(c, next)
	a.reply(c, new(big.Float).SetPrec(longDoublePrec).Sub(next, old))
}

// add is old and the increment together; fits is false if that is out of bounds
// and must not be brought back.
func (a *incrExArgs) add(old *big.Float) (next *big.Float, fits bool) {
	// One bit more than an integer has: the sum of two is exact.
	next = new(big.Float).SetPrec(longDoublePrec+1).Add(old, a.by)
	if a.float {
		next.SetPrec(longDoublePrec)
	}
	switch {
	case a.lower != nil && next.Cmp(a.lower) < 0:
		return a.lower, a.saturate
	case a.upper != nil && next.Cmp(a.upper) > 0:
		return a.upper, a.saturate
	}
	return next, true
}

func (a *incrExArgs) text(f *big.Float) []byte {
	if !a.float {
		return f.Append(nil, 'f', 0)
	}
	return appendLongDouble(nil, f)
}

func (a *incrExArgs) store(c *Ctx, key []byte, next *big.Float, at int64) {
	c.putString(key, a.text(next), at)
	c.touched("incrby", key)
	if a.exp.ms != 0 && at != 0 {
		c.touched("expire", key)
	}
}

func (a *incrExArgs) reply(c *Ctx, f *big.Float) {
	if a.float {
		c.Out.DoubleText(a.text(f))
		return
	}
	if n, acc := f.Int64(); acc == big.Exact {
		c.Out.Int(n)
	} else {
		c.Out.Bulk(a.text(f)) // what was added to saturate may exceed 64 bits
	}
}
