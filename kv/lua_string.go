package kv

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// stringLib is Lua's string library on bytes, metered.
func (vm *luaVM) stringLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"byte": vm.strByte, "char": vm.strChar, "dump": vm.strDump, "find": vm.strFind, "format": vm.strFormat,
		"gfind": vm.strGmatch, "gmatch": vm.strGmatch, "gsub": vm.strGsub, "len": vm.strLen, "lower": vm.strLower,
		"match": vm.strMatch, "rep": vm.strRep, "reverse": vm.strReverse, "sub": vm.strSub, "upper": vm.strUpper,
	}
}

// result charges and returns a string.
func (vm *luaVM) result(L *lua.LState, s []byte) int {
	L.Push(lua.LString(s))
	return 1
}

// span turns Lua's i and j into s[lo:hi].
func luaSpan(i, j, n int) (lo, hi int) {
	if i < 0 {
		i = max(n+i+1, 1)
	} else if i == 0 {
		i = 1
	}
	if j < 0 {
		j = n + j + 1
	} else if j > n {
		j = n
	}
	if i > j {
		return 0, 0
	}
	return i - 1, j
}

func (vm *luaVM) strLen(L *lua.LState) int {
	L.Push(lua.LNumber(len(vm.str(L, 1))))
	return 1
}

func (vm *luaVM) strSub(L *lua.LState) int {
	s := vm.str(L, 1)
	lo, hi := luaSpan(vm.integer(L, 2), vm.optInteger(L, 3, -1), len(s))
	vm.meter.alloc(L, 32) // it shares s's bytes
	L.Push(lua.LString(s[lo:hi]))
	return 1
}

func (vm *luaVM) strByte(L *lua.LState) int {
	s := vm.str(L, 1)
	i := vm.optInteger(L, 2, 1)
	lo, hi := luaSpan(i, vm.optInteger(L, 3, i), len(s))
	if i == 0 && L.Get(3) == lua.LNil {
		return 0
	}
	if hi-lo >= luaMaxResults {
		L.RaiseError("string slice too long")
	}
	vm.meter.wide(L, hi-lo)
	for k := lo; k < hi; k++ {
		L.Push(lua.LNumber(s[k]))
	}
	return hi - lo
}

func (vm *luaVM) strChar(L *lua.LState) int {
	n := L.GetTop()
	out := make([]byte, n)
	for i := range out {
		c := vm.integer(L, i+1)
		if c < 0 || c > 255 {
			vm.argError(L, i+1, "invalid value")
		}
		out[i] = byte(c)
	}
	vm.meter.str(L, n)
	return vm.result(L, out)
}

// strDump is string.dump. What it makes cannot be loaded, here as in Redis, so it is
// the mark of a compiled chunk and nothing behind it.
func (vm *luaVM) strDump(L *lua.LState) int {
	if vm.function(L, 1).IsG {
		L.RaiseError("unable to dump given function")
	}
	return vm.result(L, []byte("\x1bLua"))
}

func (vm *luaVM) strLower(L *lua.LState) int { return vm.mapBytes(L, 'A', 'Z', 32) }
func (vm *luaVM) strUpper(L *lua.LState) int { return vm.mapBytes(L, 'a', 'z', 256-32) }

func (vm *luaVM) mapBytes(L *lua.LState, from, to byte, add int) int {
	s := vm.str(L, 1)
	vm.meter.str(L, len(s))
	vm.meter.work(L, len(s)/16)
	out := []byte(s)
	for i, c := range out {
		if from <= c && c <= to {
			out[i] = c + byte(add)
		}
	}
	return vm.result(L, out)
}

func (vm *luaVM) strReverse(L *lua.LState) int {
	s := vm.str(L, 1)
	vm.meter.str(L, len(s))
	out := make([]byte, len(s))
	for i := range out {
		out[i] = s[len(s)-1-i]
	}
	return vm.result(L, out)
}

func (vm *luaVM) strRep(L *lua.LState) int {
	s, n := vm.str(L, 1), vm.integer(L, 2)
	if n <= 0 || s == "" {
		L.Push(lua.LString(""))
		return 1
	}
	if n > math.MaxInt/2/len(s) {
		n = math.MaxInt / 2 / len(s)
	}
	vm.meter.str(L, n*len(s))
	L.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

// strFormat is C's printf, as far as Lua allows it.
func (vm *luaVM) strFormat(L *lua.LState) int {
	f := vm.str(L, 1)
	var out []byte
	arg := 1
	flush := 0 // of out, charged so far
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			out = append(out, f[i])
			continue
		}
		if i++; i < len(f) && f[i] == '%' {
			out = append(out, '%')
			continue
		}
		start := i
		for i < len(f) && strings.IndexByte("-+ #0", f[i]) >= 0 {
			i++
		}
		if i-start > 5 {
			L.RaiseError("invalid format (repeated flags)")
		}
		width := i
		for i < len(f) && i-width < 2 && luaIsDigit(f[i]) {
			i++
		}
		precision := -1
		if i < len(f) && f[i] == '.' {
			i++
			from := i
			for i < len(f) && i-from < 2 && luaIsDigit(f[i]) {
				i++
			}
			precision, _ = strconv.Atoi(f[from:i]) // none is 0
		}
		if i < len(f) && luaIsDigit(f[i]) {
			L.RaiseError("invalid format (width or precision too long)")
		}
		verb := byte(0)
		if i < len(f) {
			verb = f[i]
		}
		arg++
		out = vm.formatOne(L, out, f[start:i], precision, verb, arg)
		vm.meter.alloc(L, len(out)-flush)
		flush = len(out)
	}
	vm.meter.str(L, len(out)-flush)
	if len(out) >= luaLongString {
		vm.meter.long = true
	}
	return vm.result(L, out)
}

func luaIsDigit(c byte) bool { return '0' <= c && c <= '9' }

// formatOne formats one argument. spec is the flags, width and precision.
func (vm *luaVM) formatOne(L *lua.LState, out []byte, spec string, precision int, verb byte, arg int) []byte {
	unsigned := strings.Map(func(c rune) rune {
		if c == '+' || c == ' ' {
			return -1
		}
		return c
	}, spec)
	need := func() {
		if arg > L.GetTop() {
			vm.argError(L, arg, "no value")
		}
	}
	switch verb {
	case 'c':
		need()
		return fmt.Appendf(out, "%"+strings.ReplaceAll(unsigned, "0", "")+"s", string([]byte{byte(vm.integer(L, arg))}))
	case 'd', 'i':
		need()
		return fmt.Appendf(out, "%"+luaNoZero(spec, precision)+"d", luaCast(vm.num(L, arg)))
	case 'u':
		need()
		return fmt.Appendf(out, "%"+luaNoZero(unsigned, precision)+"d", luaUnsigned(vm.num(L, arg)))
	case 'x', 'X', 'o':
		need()
		return fmt.Appendf(out, "%"+luaNoZero(unsigned, precision)+string(verb), luaUnsigned(vm.num(L, arg)))
	case 'e', 'E', 'f', 'g', 'G':
		need()
		return luaAppendFloat(out, spec, precision, verb, vm.num(L, arg))
	case 'q':
		need()
		s := vm.str(L, arg)
		vm.meter.alloc(L, len(s))
		return luaQuote(out, s)
	case 's':
		need()
		s := vm.str(L, arg)
		vm.meter.alloc(L, len(s))
		if precision < 0 && len(s) >= 100 {
			return append(out, s...) // C's buffer would be too small: no width
		}
		if precision >= 0 {
			s = s[:min(len(s), precision)]
		}
		flags, _, _ := strings.Cut(unsigned, ".")
		return luaPad(out, s, flags)
	}
	L.RaiseError("invalid option '%%%s' to 'format'", clip([]byte{verb}, 1))
	return out
}

// luaPad pads to the width of flags with blanks.
func luaPad(out []byte, s, flags string) []byte {
	left := strings.IndexByte(flags, '-') >= 0
	width, _ := strconv.Atoi(strings.TrimLeft(flags, "-+ #0"))
	for n := len(s); !left && n < width; n++ {
		out = append(out, ' ')
	}
	out = append(out, s...)
	for n := len(s); left && n < width; n++ {
		out = append(out, ' ')
	}
	return out
}

// luaNoZero drops the flag 0, which C ignores when there is a precision or -.
func luaNoZero(spec string, precision int) string {
	flags := spec[:len(spec)-len(strings.TrimLeft(spec, "-+ #0"))]
	if precision >= 0 || strings.IndexByte(flags, '-') >= 0 {
		return strings.ReplaceAll(flags, "0", "") + spec[len(flags):]
	}
	return spec
}

func luaUnsigned(f float64) uint64 {
	if f >= 1<<63 && f < 1<<64 {
		return uint64(f-1<<63) + 1<<63
	}
	return uint64(luaCast(f))
}

func luaAppendFloat(out []byte, spec string, precision int, verb byte, f float64) []byte {
	if f != f || math.IsInf(f, 0) {
		s := string(luaAppendNumber(nil, f, 14))
		if f > 0 && strings.IndexByte(spec, '+') >= 0 {
			s = "+" + s
		}
		if verb == 'E' || verb == 'G' {
			s = strings.ToUpper(s)
		}
		flags, _, _ := strings.Cut(spec, ".")
		return luaPad(out, s, flags)
	}
	flags, _, _ := strings.Cut(spec, ".")
	if strings.IndexByte(flags, '-') >= 0 {
		at := len(flags) - len(strings.TrimLeft(flags, "-+ #0"))
		flags = strings.ReplaceAll(flags[:at], "0", "") + flags[at:]
	}
	if precision < 0 {
		precision = 6
	}
	if (verb == 'g' || verb == 'G') && precision == 0 {
		precision = 1
	}
	return fmt.Appendf(out, "%"+flags+"."+strconv.Itoa(precision)+string(verb), f)
}

func luaQuote(out []byte, s string) []byte {
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			out = append(out, '\\', c)
		case '\r':
			out = append(out, `\r`...)
		case 0:
			out = append(out, `\000`...)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
