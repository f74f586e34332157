package kv

import (
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaMessage words an error of the interpreter as PUC Lua does: scripts match on
// error texts, and people know them.
func (vm *luaVM) luaMessage(msg string) string {
	where, text := luaSplitWhere(msg)
	switch {
	case strings.HasPrefix(text, "attempt to index a non-table object("):
		typ, rest, _ := strings.Cut(text[len("attempt to index a non-table object("):], ")")
		key := strings.TrimSuffix(strings.TrimPrefix(rest, " with key '"), "'")
		return where + "attempt to index " + vm.named(where, key, typ)
	case strings.HasPrefix(text, "attempt to call a non-function object"):
		return where + "attempt to call " + vm.named(where, "\x00call", "nil")
	case strings.HasPrefix(text, "cannot perform "):
		_, types, _ := strings.Cut(text, " between ")
		a, b, _ := strings.Cut(types, " and ")
		if a == "number" || a == "string" {
			a = b
		}
		return where + "attempt to perform arithmetic on a " + a + " value"
	case strings.HasPrefix(text, "attempt to compare "):
		a, b, ok := strings.Cut(text[len("attempt to compare "):], " with ")
		if ok {
			return where + luaCompareError(a, b)
		}
	case text == "__unm undefined":
		return where + "attempt to perform arithmetic on a table value"
	case text == "__len undefined":
		return where + "attempt to get length of a number value"
	case text == "for statement init must be a number":
		return where + "'for' initial value must be a number"
	case text == "for statement limit must be a number":
		return where + "'for' limit must be a number"
	case text == "for statement step must be a number":
		return where + "'for' step must be a number"
	case text == "lua callstack overflow", text == "registry overflow", text == "stack overflow":
		return where + "stack overflow"
	case strings.HasPrefix(text, "runtime error:"):
		return where + "internal error of the interpreter"
	}
	return msg
}

func (vm *luaVM) named(where, key, typ string) string {
	if vm.program != nil {
		parts := strings.Split(where, ":")
		if len(parts) > 1 {
			line, _ := strconv.Atoi(parts[1])
			if name := vm.program.names[luaPlace{line, key}]; name != "" {
				return name + " (a " + typ + " value)"
			}
		}
	}
	return "a " + typ + " value"
}

// luaSplitWhere splits "user_script:1: text".
func luaSplitWhere(msg string) (where, text string) {
	for _, source := range []string{luaScriptSource, luaFunctionSource} {
		if rest, ok := strings.CutPrefix(msg, source+":"); ok {
			if n := strings.Index(rest, ": "); n > 0 {
				at := len(source) + 1 + n + 2
				return msg[:at], msg[at:]
			}
		}
	}
	return "", msg
}

func luaTypeName(v lua.LValue) string {
	if v == nil {
		return "nil"
	}
	return v.Type().String()
}

// argError raises Lua's error for a bad argument.
func (vm *luaVM) argError(L *lua.LState, n int, msg string) {
	name := vm.callee(L)
	if _, line := vm.position(L); vm.program != nil && vm.program.names[luaPlace{line, "\x00by" + name}] == "method" {
		if n--; n == 0 { // self is not counted
			L.RaiseError("calling '%s' on bad self (%s)", name, msg)
		}
	}
	L.RaiseError("bad argument #%d to '%s' (%s)", n, name, msg)
}

func (vm *luaVM) typeError(L *lua.LState, n int, want string) {
	got := "no value"
	if n <= L.GetTop() {
		got = luaTypeName(L.Get(n))
	}
	vm.argError(L, n, want+" expected, got "+got)
}

// callee is the name by which the running function was called.
func (vm *luaVM) callee(L *lua.LState) string {
	dbg, ok := L.GetStack(0)
	if !ok {
		return "?"
	}
	if _, err := L.GetInfo("n", dbg, lua.LNil); err != nil || dbg.Name == "" || dbg.Name[0] == '(' || dbg.Name[0] == '<' {
		return "?"
	}
	if i := strings.LastIndexAny(dbg.Name, ".:"); i >= 0 {
		return dbg.Name[i+1:]
	}
	return dbg.Name
}

// table, function, integer, num and str are argument n, or they raise; the opt ones
// have a value for nil and nothing.

func (vm *luaVM) table(L *lua.LState, n int) *lua.LTable {
	t, ok := L.Get(n).(*lua.LTable)
	if !ok {
		vm.typeError(L, n, "table")
	}
	return t
}

func (vm *luaVM) function(L *lua.LState, n int) *lua.LFunction {
	f, ok := L.Get(n).(*lua.LFunction)
	if !ok {
		vm.typeError(L, n, "function")
	}
	return f
}

func (vm *luaVM) num(L *lua.LState, n int) float64 {
	f, ok := luaToNumber(L.Get(n))
	if !ok {
		vm.typeError(L, n, "number")
	}
	return f
}

// integer truncates; what an int cannot hold is cut to its ends on every machine
// alike (NaN is 0).
func (vm *luaVM) integer(L *lua.LState, n int) int { return int(luaInt64(vm.num(L, n))) }

func (vm *luaVM) optInteger(L *lua.LState, n, def int) int {
	if L.Get(n) == lua.LNil {
		return def
	}
	return vm.integer(L, n)
}

func (vm *luaVM) str(L *lua.LState, n int) string {
	switch v := L.Get(n).(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return luaNumberText(float64(v))
	}
	vm.typeError(L, n, "string")
	return ""
}

func (vm *luaVM) optStr(L *lua.LState, n int, def string) string {
	if L.Get(n) == lua.LNil {
		return def
	}
	return vm.str(L, n)
}

// any is argument n, which must be there, be it nil.
func (vm *luaVM) any(L *lua.LState, n int) lua.LValue {
	if n > L.GetTop() {
		vm.argError(L, n, "value expected")
	}
	return L.Get(n)
}
