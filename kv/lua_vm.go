package kv

import (
	"fmt"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaVM is one interpreter with its sandbox. Scripts run in it one after the other;
// nothing they do outlives them: what is shared is read-only, what is not is made
// anew. One goroutine uses it at a time.
type luaVM struct {
	L     *lua.LState
	meter luaMeter
	// globals is what scripts see as _G. Code runs in another table, env, that has
	// nothing in it but our helpers and falls back to globals: thus every assignment
	// to a global meets env's metatable, which refuses.
	globals, env *lua.LTable
	// outer is env's metatable. While a library's code runs it falls back to
	// loadGlobals, which is as little as Redis gives it.
	outer, loadGlobals *lua.LTable
	redis              *lua.LTable
	fixed              map[*lua.LTable]struct{} // tables a script may not change

	program   *luaProgram // the present one, for error texts
	run       *scriptRun
	lib       *functionLibrary          // being loaded
	callbacks map[string]*lua.LFunction // that it registered
	ids       map[lua.LValue]int
	handler   *lua.LFunction // notes in at where an error that nobody catches was raised
	at        luaError
	json      luaJSONConfig
	panic     any // of a command: a bug, to be raised again outside the interpreter
	dirty     bool
}

const (
	luaScriptSource   = "user_script"
	luaFunctionSource = "user_function"
	// luaCallDepth is how deep Lua functions may call each other, luaRegisters how many
	// values all of them hold.
	luaCallDepth = 1000
	luaRegisters = 64 << 10
)

func newLuaVM() *luaVM {
	L := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: luaCallDepth, MinimizeStackMemory: true,
		RegistrySize: 1 << 10, RegistryGrowStep: 4 << 10, RegistryMaxSize: luaRegisters,
	})
	vm := &luaVM{L: L, fixed: map[*lua.LTable]struct{}{}, ids: map[lua.LValue]int{}}
	vm.meter.vm = vm
	L.SetContext(&vm.meter)
	L.G.MainThread, L.G.CurrentThread = L, L
	vm.meter.begin(1<<40, 1<<40, nil)
	vm.sandbox()
	vm.handler = L.NewFunction(func(L *lua.LState) int {
		vm.at.where, vm.at.line = vm.position(L)
		return 1
	})
	return vm
}

// sandbox builds the globals.
func (vm *luaVM) sandbox() {
	L := vm.L
	vm.globals, vm.env = L.NewTable(), L.NewTable()
	for _, group := range []struct {
		name string
		fns  map[string]lua.LGFunction
	}{
		{"", vm.baseLib()}, {"string", vm.stringLib()}, {"table", vm.tableLib()}, {"math", vm.mathLib()}, {"os", vm.osLib()},
		{"coroutine", vm.coroutineLib()}, {"bit", vm.bitLib()}, {"cjson", vm.jsonLib()},
		{"cmsgpack", vm.msgpackLib()}, {"struct", vm.structLib()}, {"redis", vm.redisLib()},
	} {
		t := vm.globals
		if group.name != "" {
			t = L.NewTable()
			vm.globals.RawSetString(group.name, t)
			vm.fix(t)
		}
		vm.register(t, group.fns)
	}
	vm.globals.RawSetString("_G", vm.globals)
	vm.globals.RawSetString("_VERSION", lua.LString("Lua 5.1"))
	vm.constants()
	vm.fix(vm.globals)

	strings := L.NewTable()
	strings.RawSetString("__index", vm.globals.RawGetString("string"))
	vm.register(strings, vm.stringArith())
	vm.fix(strings)
	L.SetMetatable(lua.LString(""), strings)

	missing := L.NewTable()
	missing.RawSetString("__index", L.NewFunction(vm.missingGlobal))
	vm.fix(missing)
	vm.globals.Metatable = missing
	vm.libraryGlobals(missing)

	for name, fn := range map[string]lua.LGFunction{
		luaHelpAssign: vm.helpAssign, luaHelpConcat: vm.helpConcat, luaHelpTable: vm.helpTable,
		luaHelpKey: vm.helpKey, luaHelpCharge: vm.helpCharge,
	} {
		vm.env.RawSetString(name, L.NewFunction(fn))
	}
	outer := L.NewTable()
	outer.RawSetString("__index", vm.globals)
	outer.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
		L.RaiseError(luaReadonly)
		return 0
	}))
	vm.env.Metatable, vm.outer = outer, outer
	L.Env = vm.env
	L.G.Global = vm.env
}

// libraryGlobals builds what a library sees while it is loaded: redis, with what does
// not touch data.
func (vm *luaVM) libraryGlobals(missing *lua.LTable) {
	redis := vm.L.NewTable()
	vm.register(redis, map[string]lua.LGFunction{"log": vm.redisLog, "register_function": vm.registerFunction})
	for _, name := range []string{"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"} {
		redis.RawSetString(name, vm.redis.RawGetString(name))
	}
	vm.loadGlobals = vm.L.NewTable()
	vm.loadGlobals.RawSetString("redis", redis)
	for _, t := range []*lua.LTable{redis, vm.loadGlobals} {
		t.Metatable = missing
		vm.fix(t)
	}
}

// register adds functions in the order of their names: pairs over a library shows it.
func (vm *luaVM) register(t *lua.LTable, fns map[string]lua.LGFunction) {
	names := make([]string, 0, len(fns))
	for name := range fns {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.RawSetString(name, vm.L.NewFunction(fns[name]))
	}
}

func (vm *luaVM) fix(t *lua.LTable) { vm.fixed[t] = struct{}{} }

func (vm *luaVM) missingGlobal(L *lua.LState) int {
	L.RaiseError("Script attempted to access nonexistent global variable '%s'", clip([]byte(luaKeyText(L.Get(2))), 128))
	return 0
}

func luaKeyText(v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return luaNumberText(float64(v))
	}
	return luaTypeName(v)
}

// begin prepares for a script; end lets go of it. A VM that was left dirty must not
// be used again.
func (vm *luaVM) begin(run *scriptRun, steps, bytes int64) {
	vm.meter.begin(steps, bytes, run.kill)
	vm.run, vm.panic = run, nil
	clear(vm.ids)
	vm.json = defaultJSONConfig
}

func (vm *luaVM) end() {
	vm.run, vm.program, vm.lib, vm.callbacks = nil, nil, nil, nil
	vm.globals.RawSetString("KEYS", lua.LNil)
	vm.globals.RawSetString("ARGV", lua.LNil)
	vm.L.SetTop(0)
	// A large run leaves large stacks behind.
	vm.dirty = vm.dirty || vm.meter.steps > 1<<20 || vm.meter.bytes > 8<<20
}

// luaError is an error that nobody caught.
type luaError struct {
	value lua.LValue
	line  int
	where string // source name
}

// execute calls fn and returns its first result.
func (vm *luaVM) execute(p *luaProgram, fn *lua.LFunction, args ...lua.LValue) (result lua.LValue, failed *luaError) {
	L := vm.L
	vm.program = p
	vm.meter.long = vm.meter.long || p.wide
	L.Push(fn)
	for _, a := range args {
		L.Push(a)
	}
	vm.at = luaError{}
	err := L.PCall(len(args), 1, vm.handler)
	if vm.panic != nil {
		panic(vm.panic)
	}
	if err != nil {
		vm.dirty = true
		at := vm.at
		at.value = vm.errorValue(err)
		return nil, &at
	}
	result = L.Get(-1)
	L.Pop(1)
	return result, nil
}

// load makes a function of the program.
func (vm *luaVM) load(p *luaProgram) *lua.LFunction {
	fn := vm.L.NewFunctionFromProto(p.proto)
	fn.Env = vm.env
	return fn
}

// position is the innermost line of Lua that runs.
func (vm *luaVM) position(L *lua.LState) (source string, line int) {
	for level := 0; level < 4; level++ {
		dbg, ok := L.GetStack(level)
		if !ok {
			break
		}
		if _, err := L.GetInfo("Sl", dbg, lua.LNil); err == nil && dbg.Source != "" && dbg.CurrentLine > 0 {
			return dbg.Source, dbg.CurrentLine
		}
	}
	return "", 0
}

func (vm *luaVM) errorValue(err error) lua.LValue {
	api, ok := err.(*lua.ApiError)
	if !ok {
		return lua.LString(vm.luaMessage(err.Error()))
	}
	if s, ok := api.Object.(lua.LString); ok {
		return lua.LString(vm.luaMessage(string(s)))
	}
	if api.Object == nil {
		return lua.LNil
	}
	return api.Object
}

// The helpers of rewritten code (lua_compile.go).

func (vm *luaVM) helpAssign(L *lua.LState) int {
	vm.assign(L, L.Get(1), L.Get(2), L.Get(3))
	return 0
}

func (vm *luaVM) helpCharge(L *lua.LState) int {
	n, _ := L.Get(1).(lua.LNumber)
	vm.meter.deep(L)
	vm.meter.alloc(L, int(n))
	return 0
}

func (vm *luaVM) helpKey(L *lua.LState) int {
	k := L.Get(1)
	if n, ok := luaArrayKey(k); ok {
		vm.meter.alloc(L, luaElemBytes*n)
	} else if f, ok := k.(lua.LNumber); ok && f != f {
		L.RaiseError("table index is NaN")
	} else if k == lua.LNil {
		L.RaiseError("table index is nil")
	}
	L.SetTop(1)
	return 1
}

func (vm *luaVM) helpTable(L *lua.LState) int {
	if t, ok := L.Get(1).(*lua.LTable); ok {
		n := len(*luaArray(t))
		vm.meter.alloc(L, luaElemBytes*n)
		luaTrim(t)
	}
	L.SetTop(1)
	return 1
}

// helpConcat is a .. b .. c.
func (vm *luaVM) helpConcat(L *lua.LState) int {
	n := L.GetTop()
	size := 0
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			size += len(v)
		case lua.LNumber:
			size += 24
		default:
			return vm.concatMeta(L, n)
		}
	}
	vm.meter.str(L, size)
	out := make([]byte, 0, size)
	for i := 1; i <= n; i++ {
		out = luaAppendString(out, L.Get(i))
	}
	L.Push(lua.LString(out))
	return 1
}

// concatMeta goes from the right, pair by pair, as metamethods want it.
func (vm *luaVM) concatMeta(L *lua.LState, n int) int {
	right := L.Get(n)
	for i := n - 1; i >= 1; i-- {
		left := L.Get(i)
		if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
			a := luaAppendString(nil, left)
			b := luaAppendString(nil, right)
			vm.meter.str(L, len(a)+len(b))
			right = lua.LString(append(a, b...))
			continue
		}
		h := L.GetMetaField(left, "__concat")
		if h == lua.LNil {
			h = L.GetMetaField(right, "__concat")
		}
		if h == lua.LNil {
			bad := left
			if lua.LVCanConvToString(left) {
				bad = right
			}
			L.RaiseError("attempt to concatenate a %s value", luaTypeName(bad))
		}
		right = vm.call(L, h, left, right)
	}
	L.Push(right)
	return 1
}

// stringArith are the metamethods by which numerals take part in arithmetic:
// gopher-lua's own conversion reads "010" as 8.
func (vm *luaVM) stringArith() map[string]lua.LGFunction {
	fns := map[string]lua.LGFunction{}
	for event, op := range map[string]func(a, b float64) float64{
		"__add": func(a, b float64) float64 { return a + b },
		"__sub": func(a, b float64) float64 { return a - b },
		"__mul": func(a, b float64) float64 { return a * b },
		"__div": func(a, b float64) float64 { return a / b },
		"__mod": luaMod, "__pow": luaPow,
		"__unm": func(a, _ float64) float64 { return -a },
	} {
		fns[event] = func(L *lua.LState) int {
			a, ok := luaToNumber(L.Get(1))
			b, ok2 := 0.0, true
			if event != "__unm" {
				b, ok2 = luaToNumber(L.Get(2))
			}
			if !ok || !ok2 {
				// The other operand may have a metamethod of its own.
				bad := L.Get(1)
				if ok {
					bad = L.Get(2)
				}
				if h := L.GetMetaField(bad, event); bad.Type() == lua.LTTable && h != lua.LNil {
					L.Push(vm.call(L, h, L.Get(1), L.Get(2)))
					return 1
				}
				L.RaiseError("attempt to perform arithmetic on a %s value", luaTypeName(bad))
			}
			L.Push(lua.LNumber(op(a, b)))
			return 1
		}
	}
	return fns
}

// idText names a table or function: by its number in the run, for an address would
// differ from node to node.
func (vm *luaVM) idText(v lua.LValue) string {
	id, ok := vm.ids[v]
	if !ok {
		id = len(vm.ids) + 1
		vm.meter.alloc(vm.L, 64)
		vm.ids[v] = id
	}
	return fmt.Sprintf("%s: 0x%012x", luaTypeName(v), id*16)
}

// toString is tostring(v).
func (vm *luaVM) toString(L *lua.LState, v lua.LValue) string {
	if h := L.GetMetaField(v, "__tostring"); h != lua.LNil {
		r := vm.call(L, h, v)
		if s, ok := r.(lua.LString); ok {
			return string(s)
		}
		if n, ok := r.(lua.LNumber); ok {
			return luaNumberText(float64(n))
		}
		L.RaiseError("'tostring' must return a string to 'tostring'")
	}
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return luaNumberText(float64(v))
	case lua.LBool:
		return v.String()
	case *lua.LNilType:
		return "nil"
	case *lua.LUserData:
		return "userdata: (nil)" // cjson.null, the only one there is
	}
	return vm.idText(v)
}

// luaSourceName is how a chunk is named in error texts.
func luaSourceName(chunk string) string {
	if rest, ok := strings.CutPrefix(chunk, "@"); ok {
		return clip([]byte(rest), 60)
	}
	if rest, ok := strings.CutPrefix(chunk, "="); ok {
		return clip([]byte(rest), 60)
	}
	line, _, cut := strings.Cut(chunk, "\n")
	if len(line) > 45 {
		line, cut = line[:45], true
	}
	if cut {
		line += "..."
	}
	return `[string "` + line + `"]`
}
