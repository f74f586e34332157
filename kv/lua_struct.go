package kv

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// structLib is Roberto Ierusalimschy's struct as Redis has it, with the sizes and
// the byte order of x86-64.
func (vm *luaVM) structLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"pack": vm.structPack, "unpack": vm.structUnpack, "size": vm.structSize}
}

// luaStructFormat walks over a format.
type luaStructFormat struct {
	vm     *luaVM
	L      *lua.LState
	f      string
	at     int
	big    bool
	align  int
	total  int // bytes so far, for alignment
	opcode byte
	size   int
	pad    int
}

const luaStructMaxInt = 32

// next reads one option that takes room; false at the end.
func (s *luaStructFormat) next() bool {
	for s.at < len(s.f) {
		s.vm.meter.work(s.L, 1)
		c := s.f[s.at]
		s.at++
		s.opcode, s.size, s.pad = c, 0, 0
		switch c {
		case ' ':
			continue
		case '<', '>':
			s.big = c == '>'
			continue
		case '!':
			a := s.number(8)
			if a == 0 || a&(a-1) != 0 {
				s.L.RaiseError("alignment is not a power of 2")
			}
			s.align = a
			continue
		case 'B', 'b', 'x':
			s.size = 1
		case 'H', 'h':
			s.size = 2
		case 'L', 'l', 'T', 'd':
			s.size = 8
		case 'f':
			s.size = 4
		case 'I', 'i':
			if s.size = s.number(4); s.size > luaStructMaxInt {
				s.L.RaiseError("integral size %d is larger than limit of %d", s.size, luaStructMaxInt)
			}
		case 'c':
			s.size = s.number(1)
		case 's':
		default:
			s.vm.argError(s.L, 1, "invalid format option '"+string([]byte{c})+"'")
		}
		s.pad = s.padding()
		return true
	}
	return false
}

func (s *luaStructFormat) number(def int) int {
	if s.at >= len(s.f) || !luaIsDigit(s.f[s.at]) {
		return def
	}
	n := 0
	for s.at < len(s.f) && luaIsDigit(s.f[s.at]) {
		if n = n*10 + int(s.f[s.at]-'0'); n > math.MaxInt32 {
			s.L.RaiseError("integral size overflow")
		}
		s.at++
	}
	return n
}

func (s *luaStructFormat) padding() int {
	if s.size == 0 || s.opcode == 'c' || s.opcode == 'x' {
		return 0
	}
	a := min(s.size, s.align)
	if a <= 1 {
		return 0
	}
	return (a - s.total&(a-1)) & (a - 1)
}

func (vm *luaVM) structPack(L *lua.LState) int {
	s := luaStructFormat{vm: vm, L: L, f: vm.str(L, 1), align: 1}
	var out []byte
	arg := 2
	for s.next() {
		vm.meter.alloc(L, s.pad+s.size)
		for range s.pad {
			out = append(out, 0)
		}
		switch s.opcode {
		case 'x':
			out = append(out, 0)
		case 's', 'c':
			v := vm.str(L, arg)
			arg++
			if s.size == 0 {
				s.size = len(v)
			}
			if len(v) < s.size {
				vm.argError(L, arg-1, "string too short")
			}
			vm.meter.alloc(L, s.size)
			out = append(out, v[:s.size]...)
			if s.opcode == 's' {
				out = append(out, 0)
			}
		case 'f':
			out = s.putInt(out, uint64(math.Float32bits(float32(vm.num(L, arg)))), false)
			arg++
		case 'd':
			out = s.putInt(out, math.Float64bits(vm.num(L, arg)), false)
			arg++
		default:
			f := vm.num(L, arg)
			arg++
			v := uint64(luaCast(f))
			if f >= 0 {
				v = luaUnsigned(f)
			}
			out = s.putInt(out, v, f < 0)
		}
		s.total = len(out)
	}
	vm.meter.str(L, len(out))
	return vm.result(L, out)
}

// putInt appends size bytes of v; beyond eight they are zero, as Redis leaves them.
func (s *luaStructFormat) putInt(out []byte, v uint64, _ bool) []byte {
	at := len(out)
	for range s.size {
		out = append(out, 0)
	}
	for i := range s.size {
		b := byte(0)
		if i < 8 {
			b = byte(v >> (8 * i))
		}
		if s.big {
			out[at+s.size-1-i] = b
		} else {
			out[at+i] = b
		}
	}
	return out
}

func (vm *luaVM) structUnpack(L *lua.LState) int {
	s := luaStructFormat{vm: vm, L: L, f: vm.str(L, 1), align: 1}
	data := vm.str(L, 2)
	pos := vm.optInteger(L, 3, 1) - 1
	if pos < 0 {
		vm.argError(L, 3, "offset must be 1 or greater")
	}
	if pos > len(data) {
		vm.argError(L, 2, "data string too short")
	}
	n := 0
	var last lua.LValue = lua.LNil
	push := func(v lua.LValue) {
		if n++; n > luaMaxResults {
			L.RaiseError("too many results in unpack")
		}
		L.Push(v)
		last = v
	}
	room := func(size int) {
		if size > len(data) || pos > len(data)-size {
			vm.argError(L, 2, "data string too short")
		}
	}
	for {
		s.total = pos
		if !s.next() {
			break
		}
		pos += s.pad
		room(s.size)
		switch s.opcode {
		case 'x':
		case 's':
			end := pos
			for end < len(data) && data[end] != 0 {
				end++
			}
			vm.meter.work(L, (end-pos)/8)
			if end >= len(data) {
				L.RaiseError("unfinished string in data")
			}
			vm.meter.alloc(L, 32)
			push(lua.LString(data[pos:end]))
			s.size = end - pos + 1
		case 'c':
			if s.size == 0 {
				f, ok := last.(lua.LNumber)
				if n == 0 || !ok {
					L.RaiseError("format 'c0' needs a previous size")
				}
				L.Pop(1)
				n--
				if f < 0 || f > math.MaxInt32 {
					vm.argError(L, 2, "data string too short")
				}
				s.size = int(f)
				room(s.size)
			}
			vm.meter.alloc(L, 32)
			push(lua.LString(data[pos : pos+s.size]))
		case 'f':
			push(lua.LNumber(math.Float32frombits(uint32(s.getInt(data[pos : pos+4])))))
		case 'd':
			push(lua.LNumber(math.Float64frombits(s.getInt(data[pos : pos+8]))))
		default:
			v := s.getInt(data[pos : pos+s.size])
			if s.opcode >= 'a' { // signed
				if shift := 64 - 8*s.size; shift > 0 && shift < 64 {
					push(lua.LNumber(int64(v<<shift) >> shift))
				} else {
					push(lua.LNumber(int64(v)))
				}
			} else {
				push(lua.LNumber(v))
			}
		}
		pos += s.size
	}
	L.Push(lua.LNumber(pos + 1))
	return n + 1
}

// getInt reads the low eight bytes.
func (s *luaStructFormat) getInt(b string) uint64 {
	var v uint64
	for i := range len(b) {
		at := i
		if !s.big {
			at = len(b) - 1 - i
		}
		v = v<<8 | uint64(b[at])
	}
	return v
}

func (vm *luaVM) structSize(L *lua.LState) int {
	s := luaStructFormat{vm: vm, L: L, f: vm.str(L, 1), align: 1}
	for s.next() {
		if s.opcode == 's' {
			vm.argError(L, 1, "option 's' has no fixed size")
		}
		if s.opcode == 'c' && s.size == 0 {
			vm.argError(L, 1, "option 'c0' has no fixed size")
		}
		s.total += s.pad + s.size
	}
	L.Push(lua.LNumber(s.total))
	return 1
}
