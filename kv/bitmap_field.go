package kv

// fieldType is the type of a BITFIELD operand: u1 to u63, i1 to i64.
type fieldType struct {
	signed bool
	bits   int64
}

func parseFieldType(b []byte) (t fieldType, ok bool) {
	if len(b) == 0 || b[0] != 'i' && b[0] != 'u' {
		return t, false
	}
	t.signed = b[0] == 'i'
	t.bits, ok = parseInt(b[1:])
	return t, ok && t.bits >= 1 && (t.bits <= 63 || t.signed && t.bits == 64)
}

// get reads a field; bits beyond the end of s are 0. An unsigned one never has its
// top bit set.
func (t fieldType) get(s []byte, offset int64) int64 {
	u := uint64(0)
	for i := range t.bits {
		u = u<<1 | uint64(bitAt(s, offset+i))
	}
	if t.signed && t.bits < 64 && u>>(t.bits-1) != 0 {
		u |= ^uint64(0) << t.bits
	}
	return int64(u)
}

// set writes a field into s, which is long enough.
func (t fieldType) set(s []byte, offset, value int64) {
	for i := range t.bits {
		at := offset + i
		mask := byte(0x80) >> (at & 7)
		if uint64(value)>>(t.bits-1-i)&1 != 0 {
			s[at>>3] |= mask
		} else {
			s[at>>3] &^= mask
		}
	}
}

// limits are the least and the greatest value of the type.
func (t fieldType) limits() (lo, hi int64) {
	if !t.signed {
		return 0, int64(uint64(1)<<t.bits - 1)
	}
	hi = int64(uint64(1)<<(t.bits-1) - 1)
	return -hi - 1, hi
}

// wrap is value modulo 2^bits, in the type's range.
func (t fieldType) wrap(value uint64) int64 {
	if t.bits == 64 {
		return int64(value)
	}
	value &^= ^uint64(0) << t.bits
	if t.signed && value>>(t.bits-1) != 0 {
		value |= ^uint64(0) << t.bits
	}
	return int64(value)
}

// fieldOverflow is what happens to a result that the type cannot hold.
type fieldOverflow int

const (
	overflowWrap fieldOverflow = iota
	overflowSat
	overflowFail
)

// add is old + incr in the type, as the rule for overflows says; ok is false if
// the rule is FAIL and it applies.
func (o fieldOverflow) add(t fieldType, old, incr int64) (sum int64, ok bool) {
	above, below := t.overflows(old, incr)
	return o.settle(t, uint64(old)+uint64(incr), above, below)
}

// fit is value as the type can hold it: value + 0.
func (o fieldOverflow) fit(t fieldType, value int64) (fitted int64, ok bool) {
	return o.add(t, value, 0)
}

// overflows reports whether old + incr is above or below the type. Which of the two a
// number far outside is follows from Redis's arithmetic, which wraps: the least integer
// is above an i5, and negative numbers are above an unsigned field, as those of 2^64 less.
func (t fieldType) overflows(old, incr int64) (above, below bool) {
	lo, hi := t.limits()
	up, down := hi-old, lo-old
	switch {
	case !t.signed:
		above = uint64(old) > uint64(hi) || incr > 0 && incr > up
		below = incr < 0 && incr < down
	case t.bits == 64:
		above = old >= 0 && incr > 0 && incr > up
		below = old < 0 && incr < 0 && incr < down
	default:
		above = old > hi || incr > up
		below = old < lo || incr < down
	}
	return above, below && !above
}

func (o fieldOverflow) settle(t fieldType, exact uint64, above, below bool) (int64, bool) {
	lo, hi := t.limits()
	switch {
	case !above && !below:
		return int64(exact), true
	case o == overflowFail:
		return 0, false
	case o == overflowWrap:
		return t.wrap(exact), true
	case above:
		return hi, true
	}
	return lo, true
}

// fieldOp is one operation of BITFIELD.
type fieldOp struct {
	kind     fieldKind
	t        fieldType
	offset   int64
	operand  int64
	overflow fieldOverflow
}

type fieldKind int

const (
	fieldGet fieldKind = iota
	fieldSet
	fieldIncr
)

// bitField is BITFIELD and BITFIELD_RO key [GET type offset | [OVERFLOW
// WRAP|SAT|FAIL] SET type offset value | INCRBY type offset increment ...].
func (c *Ctx) bitField(readOnly bool) {
	key := c.Args[1]
	ops, end, ok := c.fieldOps()
	if !ok {
		return
	}
	if end > 0 && readOnly {
		c.Out.Error("ERR BITFIELD_RO only supports the GET subcommand")
		return
	}
	v, _, ok := c.typed(key, TypeString)
	if !ok {
		return
	}
	c.work(len(ops))
	c.Out.Array(len(ops))
	if end == 0 {
		for i := range ops {
			c.Out.Int(ops[i].t.get(v.str(), ops[i].offset))
		}
		return
	}
	n := int((end + 7) >> 3)
	changed := n > len(v.str())
	c.changeString(key, v, max(n, len(v.str())), func(s []byte) {
		for i := range ops {
			changed = ops[i].run(s, c.Out) || changed
		}
	})
	if changed {
		c.touched("setbit", key)
	}
}

// run executes the operation on s, replies, and reports whether s changed.
func (o *fieldOp) run(s []byte, out *Reply) bool {
	old := o.t.get(s, o.offset)
	var next int64
	ok := true
	switch o.kind {
	case fieldGet:
		out.Int(old)
		return false
	case fieldSet:
		next, ok = o.overflow.fit(o.t, o.operand)
	case fieldIncr:
		next, ok = o.overflow.add(o.t, old, o.operand)
	}
	switch {
	case !ok:
		out.Null()
		return false
	case o.kind == fieldSet:
		out.Int(old)
	default:
		out.Int(next)
	}
	o.t.set(s, o.offset, next)
	return next != old
}

// fieldOps reads the operations; else it replies an error. end is the first bit
// behind all that are written, 0 if none is.
func (c *Ctx) fieldOps() (ops []fieldOp, end int64, ok bool) {
	overflow := overflowWrap
	for args := c.Args[2:]; len(args) > 0; {
		op := fieldOp{overflow: overflow}
		size := 4
		switch more := len(args) - 1; {
		case is(args[0], "get") && more >= 2:
			op.kind, size = fieldGet, 3
		case is(args[0], "set") && more >= 3:
			op.kind = fieldSet
		case is(args[0], "incrby") && more >= 3:
			op.kind = fieldIncr
		case is(args[0], "overflow") && more >= 1:
			if overflow, ok = parseFieldOverflow(args[1]); !ok {
				c.Out.Error("ERR Invalid OVERFLOW type specified")
				return nil, 0, false
			}
			args = args[2:]
			continue
		default:
			c.syntaxError()
			return nil, 0, false
		}
		if !op.parse(c, args[:size]) {
			return nil, 0, false
		}
		if op.kind != fieldGet {
			end = max(end, op.offset+op.t.bits)
		}
		ops, args = append(ops, op), args[size:]
	}
	return ops, end, true
}

// parse reads type, offset and operand.
func (o *fieldOp) parse(c *Ctx, args [][]byte) (ok bool) {
	if o.t, ok = parseFieldType(args[1]); !ok {
		c.Out.Error("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
		return false
	}
	if o.offset, ok = c.bitOffset(args[2], o.t.bits); !ok {
		return false
	}
	if o.kind == fieldGet {
		return true
	}
	if o.operand, ok = parseInt(args[3]); !ok {
		c.Out.Error(errNotInt)
	}
	return ok
}

func parseFieldOverflow(b []byte) (fieldOverflow, bool) {
	for o, name := range [...]string{"wrap", "sat", "fail"} {
		if is(b, name) {
			return fieldOverflow(o), true
		}
	}
	return 0, false
}
