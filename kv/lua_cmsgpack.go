package kv

import (
	"encoding/binary"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// luaMsgpackDepth is how deep cmsgpack nests; what is deeper becomes nil.
const luaMsgpackDepth = 16

func (vm *luaVM) msgpackLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"pack": vm.msgPack, "unpack": vm.msgUnpack, "unpack_one": vm.msgUnpackOne, "unpack_limit": vm.msgUnpackLimit,
	}
}

func (vm *luaVM) msgPack(L *lua.LState) int {
	n := L.GetTop()
	if n == 0 {
		vm.argError(L, 0, "MessagePack pack needs input.")
	}
	e := luaMsgEncoder{vm: vm, L: L}
	for i := 1; i <= n; i++ {
		e.value(L.Get(i), 0)
	}
	vm.meter.str(L, len(e.out))
	return vm.result(L, e.out)
}

type luaMsgEncoder struct {
	vm      *luaVM
	L       *lua.LState
	out     []byte
	charged int
}

func (e *luaMsgEncoder) value(v lua.LValue, depth int) {
	switch v := v.(type) {
	case lua.LString:
		e.vm.meter.alloc(e.L, len(v))
		e.str(string(v))
	case lua.LNumber:
		e.number(float64(v))
	case lua.LBool:
		if v {
			e.out = append(e.out, 0xc3)
		} else {
			e.out = append(e.out, 0xc2)
		}
	case *lua.LTable:
		if depth == luaMsgpackDepth {
			e.out = append(e.out, 0xc0)
		} else {
			e.table(v, depth+1)
		}
	default:
		e.out = append(e.out, 0xc0)
	}
	e.vm.meter.alloc(e.L, len(e.out)-e.charged+8)
	e.charged = len(e.out)
}

func (e *luaMsgEncoder) str(s string) {
	switch n := len(s); {
	case n < 32:
		e.out = append(e.out, 0xa0|byte(n))
	case n <= 0xff:
		e.out = append(e.out, 0xd9, byte(n))
	case n <= 0xffff:
		e.out = binary.BigEndian.AppendUint16(append(e.out, 0xda), uint16(n))
	default:
		e.out = binary.BigEndian.AppendUint32(append(e.out, 0xdb), uint32(n))
	}
	e.out = append(e.out, s...)
}

func (e *luaMsgEncoder) number(f float64) {
	switch {
	case f == math.Trunc(f) && f >= -1<<63 && f < 1<<63:
		e.integer(int64(f))
	case float64(float32(f)) == f:
		e.out = binary.BigEndian.AppendUint32(append(e.out, 0xca), math.Float32bits(float32(f)))
	default:
		if f != f {
			f = math.Float64frombits(0xfff8000000000000) // one NaN on every machine
		}
		e.out = binary.BigEndian.AppendUint64(append(e.out, 0xcb), math.Float64bits(f))
	}
}

func (e *luaMsgEncoder) integer(n int64) {
	switch {
	case 0 <= n && n <= 127, -32 <= n && n < 0:
		e.out = append(e.out, byte(n))
	case 0 <= n && n <= 0xff:
		e.out = append(e.out, 0xcc, byte(n))
	case 0 <= n && n <= 0xffff:
		e.out = binary.BigEndian.AppendUint16(append(e.out, 0xcd), uint16(n))
	case 0 <= n && n <= 0xffffffff:
		e.out = binary.BigEndian.AppendUint32(append(e.out, 0xce), uint32(n))
	case 0 <= n:
		e.out = binary.BigEndian.AppendUint64(append(e.out, 0xcf), uint64(n))
	case n >= -128:
		e.out = append(e.out, 0xd0, byte(n))
	case n >= -32768:
		e.out = binary.BigEndian.AppendUint16(append(e.out, 0xd1), uint16(n))
	case n >= math.MinInt32:
		e.out = binary.BigEndian.AppendUint32(append(e.out, 0xd2), uint32(n))
	default:
		e.out = binary.BigEndian.AppendUint64(append(e.out, 0xd3), uint64(n))
	}
}

// table packs an array if the keys are 1..n without a gap.
func (e *luaMsgEncoder) table(t *lua.LTable, depth int) {
	count, highest := 0, 0.0
	array := true
	for k, _ := e.vm.next(e.L, t, lua.LNil); k != lua.LNil; k, _ = e.vm.next(e.L, t, k) {
		e.vm.meter.work(e.L, 1)
		count++
		f, ok := k.(lua.LNumber)
		if !ok || f < 1 || float64(f) != math.Floor(float64(f)) {
			array = false
			continue
		}
		highest = max(highest, float64(f))
	}
	if array && highest == float64(count) {
		e.head(count, 0x90, 0xdc)
		for i := 1; i <= count; i++ {
			e.value(t.RawGet(lua.LNumber(i)), depth)
		}
		return
	}
	e.head(count, 0x80, 0xde)
	for k, v := e.vm.next(e.L, t, lua.LNil); k != lua.LNil; k, v = e.vm.next(e.L, t, k) {
		e.value(k, depth)
		e.value(v, depth)
	}
}

// head announces n elements; short is the code up to 15, wide the one of 16 bits.
func (e *luaMsgEncoder) head(n int, short, wide byte) {
	switch {
	case n <= 15:
		e.out = append(e.out, short|byte(n))
	case n <= 0xffff:
		e.out = binary.BigEndian.AppendUint16(append(e.out, wide), uint16(n))
	default:
		e.out = binary.BigEndian.AppendUint32(append(e.out, wide+1), uint32(n))
	}
}

func (vm *luaVM) msgUnpack(L *lua.LState) int {
	return vm.msgUnpackFull(L, 0, 0)
}

func (vm *luaVM) msgUnpackOne(L *lua.LState) int {
	offset := vm.optInteger(L, 2, 0)
	return vm.msgUnpackFull(L, 1, offset)
}

func (vm *luaVM) msgUnpackLimit(L *lua.LState) int {
	limit := vm.integer(L, 2)
	offset := vm.optInteger(L, 3, 0)
	return vm.msgUnpackFull(L, limit, offset)
}

func (vm *luaVM) msgUnpackFull(L *lua.LState, limit, offset int) int {
	s := vm.str(L, 1)
	all := limit == 0 && offset == 0
	switch {
	case offset < 0 || limit < 0:
		L.RaiseError("Invalid request to unpack with offset of %d and limit of %d.", offset, len(s))
	case offset > len(s):
		L.RaiseError("Start offset %d greater than input length %d.", offset, len(s))
	}
	if all {
		limit = math.MaxInt
	}
	d := luaMsgDecoder{vm: vm, L: L, s: s, at: offset}
	n := 0
	if !all {
		L.Push(lua.LNil) // the offset, in the end
	}
	base := L.GetTop()
	for d.at < len(s) && n < limit {
		if n++; n > luaMaxResults {
			L.RaiseError("too many results to unpack")
		}
		v := d.value(0)
		L.Push(v)
	}
	vm.meter.wide(L, n)
	if all {
		return n
	}
	next := lua.LNumber(d.at)
	if d.at >= len(s) {
		next = -1
	}
	L.Replace(base, next)
	return n + 1
}

type luaMsgDecoder struct {
	vm *luaVM
	L  *lua.LState
	s  string
	at int
}

// luaMsgNesting is how deep a message may nest when it is read.
const luaMsgNesting = 1000

func (d *luaMsgDecoder) take(n int) string {
	if n < 0 || n > len(d.s)-d.at {
		d.L.RaiseError("Missing bytes in input.")
	}
	d.at += n
	return d.s[d.at-n : d.at]
}

func (d *luaMsgDecoder) uint(n int) uint64 {
	var v uint64
	for _, c := range []byte(d.take(n)) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (d *luaMsgDecoder) value(depth int) lua.LValue {
	if depth > luaMsgNesting {
		d.L.RaiseError("Found too many nested data structures (%d)", depth)
	}
	d.vm.meter.work(d.L, 1)
	c := d.take(1)[0]
	switch {
	case c < 0x80:
		return lua.LNumber(c)
	case c < 0x90:
		return d.table(int(c&15), depth)
	case c < 0xa0:
		return d.array(int(c&15), depth)
	case c < 0xc0:
		return d.str(int(c & 31))
	case c >= 0xe0:
		return lua.LNumber(int8(c))
	}
	switch c {
	case 0xc0:
		return lua.LNil
	case 0xc2, 0xc3:
		return lua.LBool(c == 0xc3)
	case 0xc4, 0xd9:
		return d.str(int(d.uint(1)))
	case 0xc5, 0xda:
		return d.str(int(d.uint(2)))
	case 0xc6, 0xdb:
		return d.str(int(d.uint(4)))
	case 0xca:
		return lua.LNumber(math.Float32frombits(uint32(d.uint(4))))
	case 0xcb:
		return lua.LNumber(math.Float64frombits(d.uint(8)))
	case 0xcc, 0xcd, 0xce, 0xcf:
		return lua.LNumber(d.uint(1 << (c - 0xcc)))
	case 0xd0:
		return lua.LNumber(int8(d.uint(1)))
	case 0xd1:
		return lua.LNumber(int16(d.uint(2)))
	case 0xd2:
		return lua.LNumber(int32(d.uint(4)))
	case 0xd3:
		return lua.LNumber(int64(d.uint(8)))
	case 0xdc:
		return d.array(int(d.uint(2)), depth)
	case 0xdd:
		return d.array(int(d.uint(4)), depth)
	case 0xde:
		return d.table(int(d.uint(2)), depth)
	case 0xdf:
		return d.table(int(d.uint(4)), depth)
	}
	d.L.RaiseError("Bad data format in input.")
	return lua.LNil
}

func (d *luaMsgDecoder) str(n int) lua.LValue {
	s := d.take(n)
	d.vm.meter.str(d.L, n)
	return lua.LString(s)
}

// array makes room only as elements arrive: the count may be a lie.
func (d *luaMsgDecoder) array(n, depth int) lua.LValue {
	t := d.vm.newTable(d.L, 0)
	for i := 1; i <= n; i++ {
		d.vm.setIntAny(d.L, t, i, d.value(depth+1))
	}
	return t
}

func (d *luaMsgDecoder) table(n, depth int) lua.LValue {
	t := d.vm.newTable(d.L, 0)
	for range n {
		k := d.value(depth + 1)
		v := d.value(depth + 1)
		d.vm.rawSet(d.L, t, k, v, 1)
	}
	return t
}
