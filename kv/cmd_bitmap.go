package kv

import "math"

// The bitmap commands (https://redis.io/docs/latest/commands/?group=bitmap): a
// string seen as bits. Bit 0 is the highest bit of the first byte. BITFIELD is in
// bitmap_field.go.
var bitmapCommands = []Command{
	{Name: "bitcount", Group: "bitmap", Since: "2.6.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdBitCount,
		Summary: "Counts the bits that are 1, in a whole string or a range of it."},
	{Name: "bitfield", Group: "bitmap", Since: "3.2.0", Arity: -2, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 512, Run: func(c *Ctx) { c.bitField(false) },
		Summary: "Reads, sets and adds to integers of any width inside a string."},
	{Name: "bitfield_ro", Group: "bitmap", Since: "6.0.0", Arity: -2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.bitField(true) },
		Summary: "Reads integers of any width inside a string."},
	{Name: "bitop", Group: "bitmap", Since: "2.6.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 2, LastKey: -1, KeyStep: 1, Op: 513, Run: cmdBitOp,
		Summary: "Combines strings bit by bit and keeps the result under a key."},
	{Name: "bitpos", Group: "bitmap", Since: "2.8.7", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdBitPos,
		Summary: "Finds the first bit that is 1, or 0, in a string."},
	{Name: "getbit", Group: "bitmap", Since: "2.2.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGetBit,
		Summary: "Reads one bit of a string."},
	{Name: "setbit", Group: "bitmap", Since: "2.2.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 514, Run: cmdSetBit,
		Summary: "Sets one bit of a string, which grows if need be."},
}

const (
	errBitOffset = "ERR bit offset is not an integer or out of range"
	errBit       = "ERR bit is not an integer or out of range"
)

// bitOffset reads the offset of a bit; else it replies an error. With bits > 0 it
// may be written "#n", the place of the n-th field of that width. It lies within
// the longest string that may be stored.
func (c *Ctx) bitOffset(arg []byte, bits int64) (int64, bool) {
	scale := int64(1)
	if bits > 0 && len(arg) > 0 && arg[0] == '#' {
		arg, scale = arg[1:], bits
	}
	n, ok := parseInt(arg)
	if !ok || n < 0 || n > math.MaxInt64/scale || n*scale>>3 >= c.settings().ProtoMaxBulkLen {
		c.Out.Error(errBitOffset)
		return 0, false
	}
	return n * scale, true
}

// cmdSetBit is SETBIT key offset value.
func cmdSetBit(c *Ctx) {
	key := c.Args[1]
	offset, ok := c.bitOffset(c.Args[2], 0)
	if !ok {
		return
	}
	bit, ok := parseInt(c.Args[3])
	if !ok || bit != 0 && bit != 1 {
		c.Out.Error(errBit)
		return
	}
	v, _, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	s := v.str()
	old, grows := bitAt(s, offset), int(offset>>3) >= len(s)
	c.Out.Int(old)
	if !grows && old == bit {
		if !hasObject(v.Enc) { // nobody is told, but to Redis it is raw from now on
			v.Enc = editedEncoding(s)
			c.ks.set(key, v)
		}
		return
	}
	c.changeString(key, v, max(len(s), int(offset>>3)+1), func(s []byte) {
		mask := byte(0x80) >> (offset & 7)
		s[offset>>3] = s[offset>>3]&^mask | mask*byte(bit)
	})
	c.touched("setbit", key)
}

// cmdGetBit is GETBIT key offset.
func cmdGetBit(c *Ctx) {
	offset, ok := c.bitOffset(c.Args[2], 0)
	if !ok {
		return
	}
	if v, _, ok := c.typed(c.Args[1], TypeString); ok {
		c.Out.Int(bitAt(v.str(), offset))
	}
}

// bitRange is the part of a string that BITCOUNT and BITPOS look at.
type bitRange struct {
	start, end int64 // inclusive, negative: from the end
	given      bool  // a start was named
	endGiven   bool
	inBits     bool
}

// unit reads BYTE or BIT; else it replies an error.
func (r *bitRange) unit(c *Ctx, arg []byte) bool {
	switch {
	case is(arg, "bit"):
		r.inBits = true
	case !is(arg, "byte"):
		c.syntaxError()
		return false
	}
	return true
}

// bits is the range as bits lo <= b < hi of a string of n bytes; lo >= hi if there
// are none.
func (r *bitRange) bits(n int) (lo, hi int64) {
	total := int64(n)
	if r.inBits {
		total <<= 3
	}
	start, end := r.start, r.end
	if !r.given {
		start = 0
	}
	if !r.endGiven {
		end = total - 1
	}
	if start < 0 {
		start = max(total+start, 0)
	}
	if end < 0 {
		end = max(total+end, 0)
	}
	end = min(end, total-1)
	switch {
	case start > end:
		return 0, 0
	case r.inBits:
		return start, end + 1
	}
	return start << 3, (end + 1) << 3
}

// cmdBitCount is BITCOUNT key [start end [BYTE|BIT]].
func cmdBitCount(c *Ctx) {
	r := bitRange{}
	switch n := len(c.Args); {
	case n == 4 || n == 5:
		var ok bool
		if r.start, r.end, ok = c.rangeArgs(2); !ok {
			return
		}
		r.given, r.endGiven = true, true
		if n == 5 && !r.unit(c, c.Args[4]) {
			return
		}
	case n != 2:
		c.syntaxError()
		return
	}
	v, _, ok := c.typed(c.Args[1], TypeString)
	if !ok {
		return
	}
	if r.start < 0 && r.end < 0 && r.start > r.end {
		c.Out.Int(0)
		return
	}
	s := v.str()
	lo, hi := r.bits(len(s))
	c.workBits(hi - lo)
	c.Out.Int(countBits(s, lo, hi))
}

// cmdBitPos is BITPOS key bit [start [end [BYTE|BIT]]].
func cmdBitPos(c *Ctx) {
	bit, ok := c.intArg(2)
	if !ok {
		return
	}
	if bit != 0 && bit != 1 {
		c.Out.Error("ERR The bit argument must be 1 or 0.")
		return
	}
	r, ok := c.bitPosRange()
	if !ok {
		return
	}
	v, found, ok := c.typed(c.Args[1], TypeString)
	if !ok {
		return
	}
	if !found { // an endless row of zeros
		c.Out.Int(-bit)
		return
	}
	s := v.str()
	lo, hi := r.bits(len(s))
	c.workBits(hi - lo)
	pos := findBit(s, bit, lo, hi)
	if pos < 0 && bit == 0 && lo < hi && !r.endGiven {
		pos = hi // zeros follow the string's end
	}
	c.Out.Int(pos)
}

func (c *Ctx) bitPosRange() (r bitRange, ok bool) {
	n := len(c.Args)
	if n > 6 {
		c.syntaxError()
		return r, false
	}
	if n > 3 {
		if r.start, ok = c.intArg(3); !ok {
			return r, false
		}
		r.given = true
	}
	if n > 5 && !r.unit(c, c.Args[5]) {
		return r, false
	}
	if n > 4 {
		if r.end, ok = c.intArg(4); !ok {
			return r, false
		}
		r.endGiven = true
	}
	return r, true
}

// workBits notes the work on n bits: about 10 bytes a nanosecond.
func (c *Ctx) workBits(n int64) { c.work(int(n >> 13)) }

// cmdBitOp is BITOP AND|OR|XOR|NOT destkey key [key ...].
func cmdBitOp(c *Ctx) {
	op, ok := parseBitOp(c.Args[1])
	if !ok {
		c.syntaxError()
		return
	}
	dest, keys := c.Args[2], c.Args[3:]
	if op == bitNot && len(keys) != 1 {
		c.Out.Error("ERR BITOP NOT must be called with a single source key.")
		return
	}
	c.settle(keys)
	sources := make([][]byte, len(keys))
	longest := 0
	for i, key := range keys {
		v, _, ok := c.typed(key, TypeString)
		if !ok {
			return
		}
		sources[i] = v.str()
		longest = max(longest, len(sources[i]))
	}
	c.workBits(int64(longest) * int64(len(keys)) * 8)
	if longest == 0 {
		if c.exists(dest) && c.remove(dest) {
			c.touched("del", dest)
		}
	} else {
		c.putOwnEdited(dest, combineBits(op, sources))
		c.touched("set", dest)
	}
	c.Out.Int(int64(longest))
}
