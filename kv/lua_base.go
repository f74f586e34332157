package kv

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// baseLib are the basic functions: those that Redis leaves to scripts.
func (vm *luaVM) baseLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"assert": vm.baseAssert, "collectgarbage": vm.baseCollectGarbage, "error": vm.baseError, "gcinfo": vm.baseGCInfo,
		"getmetatable": vm.baseGetMetatable, "ipairs": vm.baseIpairs, "load": vm.baseLoad, "loadstring": vm.baseLoadString,
		"next": vm.baseNext, "pairs": vm.basePairs, "pcall": vm.basePCall, "rawequal": vm.baseRawEqual,
		"rawget": vm.baseRawGet, "rawset": vm.baseRawSet, "select": vm.baseSelect, "setmetatable": vm.baseSetMetatable,
		"tonumber": vm.baseToNumber, "tostring": vm.baseToString, "type": vm.baseType, "unpack": vm.baseUnpack,
		"xpcall": vm.baseXPCall,
	}
}

func (vm *luaVM) baseAssert(L *lua.LState) int {
	if lua.LVAsBool(vm.any(L, 1)) {
		return L.GetTop()
	}
	L.RaiseError("%s", vm.optStr(L, 2, "assertion failed!"))
	return 0
}

// baseCollectGarbage does nothing: how much memory is in use is not a function of
// the program. "count" answers with what the script was charged.
func (vm *luaVM) baseCollectGarbage(L *lua.LState) int {
	n := 0.0
	switch opt := vm.optStr(L, 1, "collect"); opt {
	case "count":
		n = math.Ceil(float64(vm.meter.bytes)/1024) + 40
	case "collect", "stop", "restart", "step", "setpause", "setstepmul":
	default:
		vm.argError(L, 1, "invalid option '"+clip([]byte(opt), 40)+"'")
	}
	L.Push(lua.LNumber(n))
	return 1
}

func (vm *luaVM) baseGCInfo(L *lua.LState) int {
	L.Push(lua.LNumber(math.Ceil(float64(vm.meter.bytes)/1024) + 40))
	return 1
}

func (vm *luaVM) baseError(L *lua.LState) int {
	v := L.Get(1)
	level := vm.optInteger(L, 2, 1)
	if s, ok := v.(lua.LString); ok && level > 0 && level < luaCallDepth {
		if where := L.Where(level); where != "" && !strings.HasPrefix(where, "[G]") {
			vm.meter.str(L, len(s)+len(where)+1)
			v = lua.LString(where + " " + string(s))
		}
	}
	L.Error(v, 0)
	return 0
}

func (vm *luaVM) baseGetMetatable(L *lua.LState) int {
	v := vm.any(L, 1)
	if m := L.GetMetaField(v, "__metatable"); m != lua.LNil {
		L.Push(m)
		return 1
	}
	L.Push(L.GetMetatable(v))
	return 1
}

func (vm *luaVM) baseSetMetatable(L *lua.LState) int {
	t := vm.table(L, 1)
	m := L.Get(2)
	if L.GetTop() < 2 || m != lua.LNil && m.Type() != lua.LTTable {
		vm.argError(L, 2, "nil or table expected")
	}
	vm.guard(L, t, 0)
	if L.GetMetaField(t, "__metatable") != lua.LNil {
		L.RaiseError("cannot change a protected metatable")
	}
	t.Metatable = m
	L.SetTop(1)
	return 1
}

func (vm *luaVM) baseNext(L *lua.LState) int {
	k, v := vm.next(L, vm.table(L, 1), L.Get(2))
	L.Push(k)
	if k == lua.LNil {
		return 1
	}
	L.Push(v)
	return 2
}

func (vm *luaVM) basePairs(L *lua.LState) int {
	t := vm.table(L, 1)
	L.Push(vm.globals.RawGetString("next"))
	L.Push(t)
	L.Push(lua.LNil)
	return 3
}

func (vm *luaVM) baseIpairs(L *lua.LState) int {
	t := vm.table(L, 1)
	L.Push(vm.ipairsStep())
	L.Push(t)
	L.Push(lua.LNumber(0))
	return 3
}

// ipairsStep is kept where scripts cannot reach it by name.
func (vm *luaVM) ipairsStep() lua.LValue {
	const name = "\x00ipairs"
	fn := vm.env.RawGetString(name)
	if fn == lua.LNil {
		fn = vm.L.NewFunction(func(L *lua.LState) int {
			i := vm.integer(L, 2) + 1
			v := vm.table(L, 1).RawGet(lua.LNumber(i))
			if v == lua.LNil {
				return 0
			}
			L.Push(lua.LNumber(i))
			L.Push(v)
			return 2
		})
		vm.env.RawSetString(name, fn)
	}
	return fn
}

func (vm *luaVM) baseRawEqual(L *lua.LState) int {
	a, b := vm.any(L, 1), vm.any(L, 2)
	vm.meter.work(L, len(luaStringOf(a))/luaStepBytes)
	L.Push(lua.LBool(a == b))
	return 1
}

func luaStringOf(v lua.LValue) string {
	s, _ := v.(lua.LString)
	return string(s)
}

func (vm *luaVM) baseRawGet(L *lua.LState) int {
	k := vm.any(L, 2)
	vm.meter.work(L, len(luaStringOf(k))/luaStepBytes)
	L.Push(vm.table(L, 1).RawGet(k))
	return 1
}

func (vm *luaVM) baseRawSet(L *lua.LState) int {
	vm.rawSet(L, vm.table(L, 1), vm.any(L, 2), vm.any(L, 3), 0)
	L.SetTop(1)
	return 1
}

func (vm *luaVM) baseSelect(L *lua.LState) int {
	n := L.GetTop()
	vm.meter.work(L, n/4)
	if s, ok := L.Get(1).(lua.LString); ok && s == "#" {
		L.Push(lua.LNumber(n - 1))
		return 1
	}
	i := vm.integer(L, 1)
	switch {
	case i < 0:
		i = n + i
	case i > n:
		i = n
	}
	if i < 1 {
		vm.argError(L, 1, "index out of range")
	}
	return n - i
}

func (vm *luaVM) baseToNumber(L *lua.LState) int {
	base := vm.optInteger(L, 2, 10)
	v := vm.any(L, 1)
	if base == 10 {
		if f, ok := luaToNumber(v); ok {
			L.Push(lua.LNumber(f))
		} else {
			L.Push(lua.LNil)
		}
		return 1
	}
	s := strings.ToLower(strings.Trim(vm.str(L, 1), " \f\n\r\t\v"))
	if base < 2 || base > 36 {
		vm.argError(L, 2, "base out of range")
	}
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	if base == 16 {
		s = strings.TrimPrefix(s, "0x")
	}
	vm.meter.work(L, len(s)/8)
	f := 0.0
	for i := 0; i < len(s); i++ {
		d := luaDigit(s[i])
		if d >= base {
			s = ""
			break
		}
		f = float64(f*float64(base)) + float64(d)
	}
	switch {
	case s == "":
		L.Push(lua.LNil)
	case negative:
		L.Push(lua.LNumber(-f))
	default:
		L.Push(lua.LNumber(f))
	}
	return 1
}

func (vm *luaVM) baseToString(L *lua.LState) int {
	s := vm.toString(L, vm.any(L, 1))
	vm.meter.alloc(L, 32)
	L.Push(lua.LString(s))
	return 1
}

func (vm *luaVM) baseType(L *lua.LState) int {
	L.Push(lua.LString(luaTypeName(vm.any(L, 1))))
	return 1
}

// luaMaxResults bounds the values one call may return beside its arguments, as PUC
// Lua's C stack does.
const luaMaxResults = 8000

func (vm *luaVM) baseUnpack(L *lua.LState) int {
	t := vm.table(L, 1)
	i := vm.optInteger(L, 2, 1)
	j := vm.optInteger(L, 3, luaLen(t))
	if i > j {
		return 0
	}
	if n := uint64(j) - uint64(i); n >= uint64(max(luaMaxResults-L.GetTop(), 0)) {
		L.RaiseError("too many results to unpack")
	}
	vm.meter.wide(L, j-i+1)
	for k := i; ; k++ {
		L.Push(t.RawGet(lua.LNumber(k)))
		if k == j {
			break
		}
	}
	return j - i + 1
}

// basePCall is Redis's pcall: the error of a command is handed over as its text.
func (vm *luaVM) basePCall(L *lua.LState) int {
	vm.any(L, 1)
	if err := L.PCall(L.GetTop()-1, lua.MultRet, nil); err != nil {
		return vm.caught(L, err)
	}
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

func (vm *luaVM) caught(L *lua.LState, err error) int {
	v := vm.errorValue(err)
	if t, ok := v.(*lua.LTable); ok {
		if s, ok := t.RawGetString("err").(lua.LString); ok {
			v = s
		}
	}
	L.SetTop(0)
	L.Push(lua.LFalse)
	L.Push(v)
	return 2
}

func (vm *luaVM) baseXPCall(L *lua.LState) int {
	handler := vm.any(L, 2)
	fn := L.Get(1)
	L.SetTop(0)
	L.Push(fn)
	on := L.NewFunction(func(L *lua.LState) int {
		v := L.Get(1)
		if s, ok := v.(lua.LString); ok {
			v = lua.LString(vm.luaMessage(string(s)))
		}
		L.Push(vm.call(L, handler, v))
		return 1
	})
	vm.meter.alloc(L, luaFuncBytes)
	if err := L.PCall(0, lua.MultRet, on); err != nil {
		v := vm.errorValue(err)
		L.SetTop(0)
		L.Push(lua.LFalse)
		L.Push(v)
		return 2
	}
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

func (vm *luaVM) baseLoadString(L *lua.LState) int {
	s := vm.str(L, 1)
	return vm.compile(L, s, vm.optStr(L, 2, s))
}

func (vm *luaVM) baseLoad(L *lua.LState) int {
	reader := vm.function(L, 1)
	name := vm.optStr(L, 2, "=(load)")
	var b strings.Builder
	for {
		vm.meter.work(L, 4)
		piece := vm.call(L, reader)
		if piece == lua.LNil {
			break
		}
		s, ok := piece.(lua.LString)
		if !ok {
			L.RaiseError("reader function must return a string")
		}
		if s == "" {
			break
		}
		vm.meter.alloc(L, len(s))
		b.WriteString(string(s))
	}
	return vm.compile(L, b.String(), name)
}

// compile is load and loadstring. Parsing costs memory many times the source.
func (vm *luaVM) compile(L *lua.LState, source, name string) int {
	vm.meter.alloc(L, 100*len(source)+4096)
	vm.meter.work(L, 8*len(source))
	if strings.HasPrefix(source, "\x1b") {
		L.Push(lua.LNil)
		L.Push(lua.LString("attempt to load a bytecode chunk"))
		return 2
	}
	p, err := compileLua(source, luaSourceName(name))
	if err != nil {
		L.Push(lua.LNil)
		L.Push(lua.LString(err.Error()))
		return 2
	}
	vm.meter.long = vm.meter.long || p.wide
	L.Push(vm.load(p))
	return 1
}

// coroutineLib is gopher-lua's, which needs no goroutines, with the meter put into
// each coroutine: by itself it would run unmetered.
func (vm *luaVM) coroutineLib() map[string]lua.LGFunction {
	lua.OpenCoroutine(vm.L)
	lib, _ := vm.L.Get(-1).(*lua.LTable)
	vm.L.Pop(1)
	fns := map[string]lua.LGFunction{}
	for name, pos := range map[string]int{"create": 1, "resume": 0, "running": 0, "status": 0, "wrap": 1, "yield": 0} {
		fn := lib.RawGetString(name).(*lua.LFunction).GFunction
		if pos == 0 {
			fns[name] = fn
			continue
		}
		fns[name] = func(L *lua.LState) int {
			vm.meter.alloc(L, luaCoroBytes)
			vm.function(L, 1)
			n := fn(L)
			switch v := L.Get(-1).(type) {
			case *lua.LState:
				v.SetContext(&vm.meter)
			case *lua.LFunction: // of wrap: the coroutine is its upvalue
				if th, ok := v.Upvalues[0].Value().(*lua.LState); ok {
					th.SetContext(&vm.meter)
				}
			}
			return n
		}
	}
	return fns
}
