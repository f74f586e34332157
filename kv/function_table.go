package kv

import (
	"slices"
	"strings"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"
)

// functionTable holds the replicated libraries of functions.
type functionTable struct {
	libs   []*functionLibrary   // in the order of their names
	byName map[string]*function // in lower case
	bytes  int                  // of code
}

// functionRow is one library as it was loaded.
type functionRow struct {
	Name string
	Code string
}

// functionLibrary is a library's code and what it registered.
type functionLibrary struct {
	name      string
	code      string
	program   *luaProgram
	functions []*function // in the order of registration
}

type function struct {
	name, description string
	described         bool
	flags             scriptFlags
	lib               *functionLibrary
	writes            atomic.Bool // as script.writes
}

// maxFunctionBytes bounds the code of all libraries.
const maxFunctionBytes = 32 << 20

// Loading a library is bounded, too.
const (
	functionLoadSteps = 1 << 20
	functionLoadBytes = 32 << 20
)

// find returns the function of a name in any case; nil if there is none.
func (t *functionTable) find(name []byte) *function { return t.byName[strings.ToLower(string(name))] }

// freeze is a copy for a cut.
func (t *functionTable) freeze() functionTable { return functionTable{libs: slices.Clone(t.libs)} }

// rows are the libraries as a snapshot has them.
func (t *functionTable) rows() (rows []functionRow) {
	for _, lib := range t.libs {
		rows = append(rows, functionRow{lib.name, lib.code})
	}
	return rows
}

func (t *functionTable) search(name string) (at int, found bool) {
	return slices.BinarySearchFunc(t.libs, name, func(l *functionLibrary, n string) int { return strings.Compare(l.name, n) })
}

func (t *functionTable) library(name string) *functionLibrary {
	at, found := t.search(name)
	if !found {
		return nil
	}
	return t.libs[at]
}

// add takes libraries in, which replace those of the same name if replace is set. If msg
// is an error reply nothing was changed.
func (t *functionTable) add(more []*functionLibrary, replace bool) (msg string) {
	more, msg = lastOfName(more, replace)
	if msg != "" {
		return msg
	}
	gone, bytes := map[*functionLibrary]bool{}, t.bytes
	for _, lib := range more {
		bytes += len(lib.code)
		if old := t.library(lib.name); old != nil {
			if !replace {
				return "ERR Library " + lib.name + " already exists"
			}
			gone[old] = true
			bytes -= len(old.code)
		}
	}
	names := map[string]bool{}
	for _, lib := range more {
		for _, f := range lib.functions {
			name := strings.ToLower(f.name)
			if old := t.byName[name]; names[name] || old != nil && !gone[old.lib] {
				return "ERR Function " + f.name + " already exists"
			}
			names[name] = true
		}
	}
	if bytes > maxFunctionBytes {
		return "OOM the libraries of functions are larger than their limit"
	}
	for _, lib := range more {
		t.put(lib)
	}
	return ""
}

// lastOfName leaves one library of each name, the last, if they may replace each other.
func lastOfName(libs []*functionLibrary, replace bool) (left []*functionLibrary, msg string) {
	last := make(map[string]int, len(libs))
	for i, lib := range libs {
		if _, twice := last[lib.name]; twice && !replace {
			return nil, "ERR Library " + lib.name + " already exists"
		}
		last[lib.name] = i
	}
	for i, lib := range libs {
		if last[lib.name] == i {
			left = append(left, lib)
		}
	}
	return left, ""
}

// put adds a library or puts it in the place of one of its name.
func (t *functionTable) put(lib *functionLibrary) {
	t.remove(lib.name)
	at, _ := t.search(lib.name)
	t.libs = slices.Insert(t.libs, at, lib)
	t.bytes += len(lib.code)
	if t.byName == nil {
		t.byName = map[string]*function{}
	}
	for _, f := range lib.functions {
		t.byName[strings.ToLower(f.name)] = f
	}
}

// forget takes a library's functions out of the index.
func (t *functionTable) forget(lib *functionLibrary) {
	for _, f := range lib.functions {
		if name := strings.ToLower(f.name); t.byName[name] == f {
			delete(t.byName, name)
		}
	}
}

// remove takes one library away; false if there is none of the name.
func (t *functionTable) remove(name string) bool {
	at, found := t.search(name)
	if !found {
		return false
	}
	lib := t.libs[at]
	t.forget(lib)
	t.bytes -= len(lib.code)
	t.libs = slices.Delete(t.libs, at, at+1)
	return true
}

// loadFunctions loads libraries from a snapshot; false if one cannot be.
func loadFunctions(rows []functionRow) (t functionTable, ok bool) {
	if len(rows) == 0 {
		return t, true
	}
	vm := newLuaVM()
	var libs []*functionLibrary
	for _, r := range rows {
		lib, msg := vm.loadLibrary(r.Code)
		if msg != "" {
			return functionTable{}, false
		}
		if libs = append(libs, lib); vm.dirty {
			vm = newLuaVM()
		}
	}
	return t, t.add(libs, false) == ""
}

// loadLibrary runs a library's code, which registers its functions.
func (vm *luaVM) loadLibrary(code string) (lib *functionLibrary, msg string) {
	name, body, msg := parseLibrary(code)
	if msg != "" {
		return nil, msg
	}
	program, err := compileLua(body, luaFunctionSource)
	if err != nil {
		return nil, "ERR Error compiling function: " + err.Error()
	}
	lib = &functionLibrary{name: name, code: code, program: program}
	run := &scriptRun{}
	vm.begin(run, functionLoadSteps, functionLoadBytes)
	_, failed := vm.register1(lib)
	stop := vm.meter.stop
	vm.end()
	switch {
	case stop != luaGoesOn:
		return nil, "ERR Error registering functions: FUNCTION LOAD timeout: " + luaStopTexts[stop]
	case failed != nil:
		return nil, "ERR Error registering functions: " + (&scriptRun{}).errorText(vm, &luaError{value: failed.value})
	case len(lib.functions) == 0:
		return nil, "ERR No functions registered"
	}
	return lib, ""
}

// register1 runs the library's code and returns the functions by name.
func (vm *luaVM) register1(lib *functionLibrary) (callbacks map[string]*lua.LFunction, failed *luaError) {
	vm.lib = lib
	vm.callbacks = map[string]*lua.LFunction{}
	vm.outer.RawSetString("__index", vm.loadGlobals)
	_, failed = vm.execute(lib.program, vm.load(lib.program))
	vm.outer.RawSetString("__index", vm.globals)
	vm.lib = nil
	return vm.callbacks, failed
}

// parseLibrary reads "#!lua name=mylib".
func parseLibrary(code string) (name, body, msg string) {
	if !strings.HasPrefix(code, "#!") {
		return "", "", "ERR Missing library metadata"
	}
	line, rest, ok := strings.Cut(code, "\n")
	if !ok {
		return "", "", "ERR Invalid library metadata"
	}
	engine, options, _ := strings.Cut(line[2:], " ")
	words, ok := splitWords(options)
	if !ok {
		return "", "", "ERR Invalid library metadata"
	}
	for _, w := range words {
		value, ok := strings.CutPrefix(w, "name=")
		switch {
		case !ok:
			return "", "", "ERR Invalid metadata value given: " + clip([]byte(w), 128)
		case name != "":
			return "", "", "ERR Invalid metadata value, name argument was given multiple times"
		}
		name = value
	}
	switch {
	case name == "":
		return "", "", "ERR Library name was not given"
	case !validLibraryName(name):
		return "", "", errLibraryName
	case !strings.EqualFold(strings.TrimSpace(engine), "lua"):
		return "", "", "ERR Engine '" + clip([]byte(strings.TrimSpace(engine)), 128) + "' not found"
	}
	return name, "\n" + rest, ""
}

// splitWords splits at blanks; single and double quotes hold words together. ok is
// false if a quote does not end, or ends inside a word.
func splitWords(s string) (words []string, ok bool) {
	for s = strings.TrimLeft(s, " \t\r"); s != ""; s = strings.TrimLeft(s, " \t\r") {
		var word strings.Builder
		for s != "" && !strings.ContainsRune(" \t\r", rune(s[0])) {
			quote := s[0]
			if quote != '"' && quote != '\'' {
				word.WriteByte(quote)
				s = s[1:]
				continue
			}
			quoted, rest, found := strings.Cut(s[1:], string(quote))
			if !found || rest != "" && !strings.ContainsRune(" \t\r", rune(rest[0])) {
				return nil, false
			}
			word.WriteString(quoted)
			s = rest
		}
		words = append(words, word.String())
	}
	return words, true
}

const errLibraryName = "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"

func validLibraryName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !luaIsAlnum(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= 1024
}

// registerFunction is redis.register_function(name, callback), or of one table.
func (vm *luaVM) registerFunction(L *lua.LState) int {
	f := &function{lib: vm.lib}
	var callback *lua.LFunction
	switch n := L.GetTop(); {
	case vm.lib == nil:
		vm.raise(L, "ERR redis.register_function can only be called on FUNCTION LOAD command")
	case n < 1 || n > 2:
		vm.raise(L, "ERR wrong number of arguments to redis.register_function")
	case n == 1:
		t, ok := L.Get(1).(*lua.LTable)
		if !ok {
			vm.raise(L, "ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).")
		}
		callback = vm.namedArguments(L, t, f)
	default:
		switch name := L.Get(1).(type) {
		case lua.LString, lua.LNumber:
			f.name = string(luaAppendString(nil, name))
		default:
			vm.raise(L, "ERR first argument to redis.register_function must be a string")
		}
		var ok bool
		if callback, ok = L.Get(2).(*lua.LFunction); !ok {
			vm.raise(L, "ERR second argument to redis.register_function must be a function")
		}
	}
	if !validLibraryName(f.name) {
		vm.raise(L, errLibraryName)
	}
	if vm.callbacks[f.name] != nil {
		vm.raise(L, "ERR Function already exists in the library")
	}
	vm.meter.alloc(L, 1024)
	vm.callbacks[f.name] = callback
	if vm.loading() {
		vm.lib.functions = append(vm.lib.functions, f)
	}
	return 0
}

// loading reports whether a library is loaded for the first time: a call of a
// function runs the code again, which registers the same once more.
func (vm *luaVM) loading() bool { return vm.run == nil || vm.run.c == nil }

func (vm *luaVM) namedArguments(L *lua.LState, t *lua.LTable, f *function) (callback *lua.LFunction) {
	for k, v := vm.next(L, t, lua.LNil); k != lua.LNil; k, v = vm.next(L, t, k) {
		ok := true
		switch luaStringOf(k) {
		case "function_name":
			if f.name, ok = luaTextOf(v); !ok {
				vm.raise(L, "ERR function_name argument given to redis.register_function must be a string")
			}
		case "description":
			if f.description, ok = luaTextOf(v); !ok {
				vm.raise(L, "ERR description argument given to redis.register_function must be a string")
			}
			f.described = true
		case "callback":
			if callback, ok = v.(*lua.LFunction); !ok {
				vm.raise(L, "ERR callback argument given to redis.register_function must be a function")
			}
		case "flags":
			f.flags = vm.functionFlags(L, v)
		default:
			if k.Type() != lua.LTString {
				vm.raise(L, "ERR named argument key given to redis.register_function is not a string")
			}
			vm.raise(L, "ERR unknown argument given to redis.register_function")
		}
	}
	switch {
	case f.name == "":
		vm.raise(L, "ERR redis.register_function must get a function name argument")
	case callback == nil:
		vm.raise(L, "ERR redis.register_function must get a callback argument")
	}
	return callback
}

func luaTextOf(v lua.LValue) (string, bool) {
	if !lua.LVCanConvToString(v) {
		return "", false
	}
	return string(luaAppendString(nil, v)), true
}

func (vm *luaVM) functionFlags(L *lua.LState, v lua.LValue) (flags scriptFlags) {
	t, ok := v.(*lua.LTable)
	if !ok {
		vm.raise(L, "ERR flags argument to redis.register_function must be a table representing function flags")
	}
	for i := 1; i <= luaLen(t); i++ {
		flag, ok := scriptFlag(luaStringOf(t.RawGetInt(i)))
		if !ok {
			vm.raise(L, "ERR unknown flag given")
		}
		flags |= flag
	}
	return flags
}
