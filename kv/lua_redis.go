package kv

import (
	"crypto/sha1"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// redisVersion is the version of Redis whose commands rkv offers, as scripts see it.
const (
	redisVersion    = "7.4.0"
	redisVersionNum = 7<<16 | 4<<8
)

// redisLib is the table redis.
func (vm *luaVM) redisLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"call":  func(L *lua.LState) int { return vm.redisCall(L, true) },
		"pcall": func(L *lua.LState) int { return vm.redisCall(L, false) },
		"log":   vm.redisLog, "sha1hex": vm.redisSHA1, "setresp": vm.redisSetResp,
		"error_reply": vm.redisErrorReply, "status_reply": vm.redisStatusReply,
		"replicate_commands": func(L *lua.LState) int { L.Push(lua.LTrue); return 1 },
		"set_repl":           vm.redisSetRepl,
		"breakpoint":         func(L *lua.LState) int { L.Push(lua.LFalse); return 1 },
		"debug":              func(*lua.LState) int { return 0 },
		"acl_check_cmd":      vm.redisACLCheck,
	}
}

// constants completes the tables after their functions.
func (vm *luaVM) constants() {
	vm.redis = vm.globals.RawGetString("redis").(*lua.LTable)
	for _, c := range []struct {
		name string
		n    int
	}{
		{"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2}, {"LOG_WARNING", 3},
		{"REPL_NONE", 0}, {"REPL_AOF", 1}, {"REPL_SLAVE", 2}, {"REPL_REPLICA", 2}, {"REPL_ALL", 3},
		{"REDIS_VERSION_NUM", redisVersionNum},
	} {
		vm.redis.RawSetString(c.name, lua.LNumber(c.n))
	}
	vm.redis.RawSetString("REDIS_VERSION", lua.LString(redisVersion))
	for lib, fields := range map[string][][2]string{
		"cjson":    {{"_NAME", "cjson"}, {"_VERSION", "2.1.0"}},
		"cmsgpack": {{"_NAME", "cmsgpack"}, {"_VERSION", "lua-cmsgpack 0.4.0"}},
	} {
		t := vm.globals.RawGetString(lib).(*lua.LTable)
		for _, f := range fields {
			t.RawSetString(f[0], lua.LString(f[1]))
		}
	}
	vm.globals.RawGetString("cjson").(*lua.LTable).RawSetString("null", luaNull)
	m := vm.globals.RawGetString("math").(*lua.LTable)
	m.RawSetString("pi", lua.LNumber(math.Pi))
	m.RawSetString("huge", lua.LNumber(math.Inf(1)))
	hidden := vm.L.NewTable()
	hidden.RawSetString("__metatable", lua.LFalse)
	vm.fix(hidden)
	vm.redis.Metatable = hidden
}

// raise raises an error of Redis: a table with the message, which says no line.
func (vm *luaVM) raise(L *lua.LState, msg string) {
	L.Error(vm.errorTable(L, msg), 0)
}

func (vm *luaVM) errorTable(L *lua.LState, msg string) *lua.LTable {
	t := vm.newTable(L, 0)
	t.RawSetString("err", lua.LString(msg))
	t.RawSetString(countedError, lua.LTrue)
	return t
}

// countedError is the field by which Redis marks the errors of calls: they count once,
// also if the script replies them.
const countedError = "ignore_error_stats_update"

// repliesError notes that the script replies the error in t.
func (s *scriptRun) repliesError(t *lua.LTable, msg string) {
	if s.c != nil && s.c.caller != nil && t.RawGetString(countedError) == lua.LTrue {
		s.c.caller.callErrorReplied(msg)
	}
}

// redisCall is redis.call, or redis.pcall if raise is false.
func (vm *luaVM) redisCall(L *lua.LState, raise bool) int {
	if vm.lib != nil || vm.run == nil {
		name := "pcall"
		if raise {
			name = "call"
		}
		L.RaiseError("Script attempted to access nonexistent global variable '%s'", name)
	}
	msg := vm.run.call(vm, L)
	if msg == "" {
		tape := vm.run.tape.Bytes()
		if tape[0] != '-' {
			v, _ := vm.fromTape(L, tape)
			L.Push(v)
			return 1
		}
		msg = string(tape[1 : len(tape)-2])
	}
	t := vm.errorTable(L, msg)
	if raise {
		L.Error(t, 0)
	}
	L.Push(t)
	return 1
}

// fromTape converts a reply, as Redis does, and returns what follows it.
func (vm *luaVM) fromTape(L *lua.LState, b []byte) (lua.LValue, []byte) {
	tag, head, rest := b[0], "", b
	for i := 1; ; i++ {
		if b[i] == '\r' {
			head, rest = string(b[1:i]), b[i+2:]
			break
		}
	}
	resp3 := vm.run.resp3
	n := 0
	if !strings.ContainsRune("+-:,#(_N", rune(tag)) {
		n, _ = strconv.Atoi(head)
	}
	switch tag {
	case '+':
		return vm.field(L, "ok", lua.LString(head)), rest
	case '-':
		return vm.errorTable(L, head), rest
	case ':':
		i, _ := strconv.ParseInt(head, 10, 64)
		return lua.LNumber(i), rest
	case '$':
		vm.meter.str(L, n)
		return lua.LString(rest[:n]), rest[n+2:]
	case '_', 'N':
		if resp3 {
			return lua.LNil, rest
		}
		return lua.LFalse, rest
	case ',':
		if !resp3 {
			vm.meter.str(L, len(head))
			return lua.LString(head), rest
		}
		f, _ := strconv.ParseFloat(head, 64)
		return vm.field(L, "double", lua.LNumber(f)), rest
	case '#':
		switch {
		case resp3:
			return lua.LBool(head == "t"), rest
		case head == "t":
			return lua.LNumber(1), rest
		}
		return lua.LNumber(0), rest
	case '(':
		if !resp3 {
			return lua.LString(head), rest
		}
		return vm.field(L, "big_number", lua.LString(head)), rest
	case '=':
		vm.meter.str(L, n)
		text := lua.LString(rest[4:n])
		if !resp3 {
			return text, rest[n+2:]
		}
		t := vm.field(L, "string", text)
		t.RawSetString("format", lua.LString(rest[:3]))
		return vm.field(L, "verbatim_string", t), rest[n+2:]
	case '*':
		return vm.fromArray(L, rest, n)
	case '~':
		if !resp3 {
			return vm.fromArray(L, rest, n)
		}
		set := vm.newTable(L, 0)
		for range n {
			var k lua.LValue
			k, rest = vm.fromTape(L, rest)
			vm.rawSet(L, set, k, lua.LTrue, 1)
		}
		return vm.field(L, "set", set), rest
	case 'K':
		if !resp3 {
			return vm.fromPairs(L, rest, n)
		}
		fallthrough
	case '%':
		if !resp3 {
			return vm.fromArray(L, rest, 2*n)
		}
		m := vm.newTable(L, 0)
		for range n {
			var k, v lua.LValue
			k, rest = vm.fromTape(L, rest)
			v, rest = vm.fromTape(L, rest)
			vm.rawSet(L, m, k, v, 1)
		}
		return vm.field(L, "map", m), rest
	case 'P':
		if !resp3 {
			return vm.fromArray(L, rest, 2*n)
		}
		return vm.fromPairs(L, rest, n)
	}
	return lua.LFalse, rest
}

// fromPairs is an array of n arrays of two.
func (vm *luaVM) fromPairs(L *lua.LState, b []byte, n int) (lua.LValue, []byte) {
	t := vm.newTable(L, n)
	for range n {
		var pair lua.LValue
		pair, b = vm.fromArray(L, b, 2)
		luaPush(t, pair)
	}
	return t, b
}

func (vm *luaVM) fromArray(L *lua.LState, b []byte, n int) (lua.LValue, []byte) {
	t := vm.newTable(L, n)
	for range n {
		var v lua.LValue
		v, b = vm.fromTape(L, b)
		luaPush(t, v)
	}
	luaTrim(t) // nulls of RESP3 are nil
	return t, b
}

func (vm *luaVM) field(L *lua.LState, name string, v lua.LValue) *lua.LTable {
	vm.meter.alloc(L, luaTableBytes+luaElemBytes)
	t := L.CreateTable(0, 1) // RawSetString alone would make room for 32
	t.RawSetString(name, v)
	return t
}

// luaOneLine is what a status or a big number may be.
var luaOneLine = strings.NewReplacer("\r", " ", "\n", " ")

// maxScriptReplyDepth is how deep a script's reply may nest.
const maxScriptReplyDepth = 1000

// toTape appends the script's result as a reply. It ends early, false, when the
// meter stops the script: a table may contain itself.
func (vm *luaVM) toTape(out *Reply, v lua.LValue, depth int) bool {
	m := &vm.meter
	m.steps++
	m.bytes += 16 + int64(len(luaStringOf(v)))
	if m.bytes > m.maxBytes || m.steps > m.maxSteps {
		m.halt(luaBudget)
	}
	if m.stop != luaGoesOn {
		return false
	}
	switch v := v.(type) {
	case lua.LString:
		out.BulkString(string(v))
	case lua.LNumber:
		out.Int(luaCast(float64(v)))
	case lua.LBool:
		switch {
		case vm.run.resp3:
			out.TrueFalse(bool(v))
		case bool(v):
			out.Int(1)
		default:
			out.Null()
		}
	case *lua.LTable:
		if depth >= maxScriptReplyDepth {
			out.Error("ERR reached lua stack limit")
			return true
		}
		return vm.tableToTape(out, v, depth+1)
	default:
		out.Null()
	}
	return true
}

func (vm *luaVM) tableToTape(out *Reply, t *lua.LTable, depth int) bool {
	if len(luaPartsOf(t).keys) > 0 {
		if done, ok := vm.specialToTape(out, t, depth); done {
			return ok
		}
	}
	a := *luaArray(t)
	n := 0
	for n < len(a) && a[n] != lua.LNil {
		n++
	}
	out.Array(n)
	for _, v := range a[:n] {
		if !vm.toTape(out, v, depth) {
			return false
		}
	}
	return true
}

// specialToTape writes tables that stand for a reply of another type.
func (vm *luaVM) specialToTape(out *Reply, t *lua.LTable, depth int) (done, ok bool) {
	if s, ok := t.RawGetString("err").(lua.LString); ok {
		vm.run.repliesError(t, string(s))
		out.Error(string(s))
		return true, true
	}
	if s, ok := t.RawGetString("ok").(lua.LString); ok {
		out.Status(luaOneLine.Replace(string(s)))
		return true, true
	}
	if f, ok := t.RawGetString("double").(lua.LNumber); ok {
		out.Double(float64(f))
		return true, true
	}
	if m, ok := t.RawGetString("map").(*lua.LTable); ok {
		return true, vm.pairsToTape(out, m, depth, true)
	}
	if s, ok := t.RawGetString("set").(*lua.LTable); ok {
		return true, vm.pairsToTape(out, s, depth, false)
	}
	if s, ok := t.RawGetString("big_number").(lua.LString); ok {
		out.BigNumber(luaOneLine.Replace(string(s)))
		return true, true
	}
	if v, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		text, isText := v.RawGetString("string").(lua.LString)
		format, isFormat := v.RawGetString("format").(lua.LString)
		if isText && isFormat {
			out.Verbatim((string(format) + "txt")[:3], []byte(text))
			return true, true
		}
	}
	return false, true
}

// pairsToTape writes a map, or a set of its keys. The loop is not the
// interpreter's, so it looks at holes for nothing: the meter counts elements.
func (vm *luaVM) pairsToTape(out *Reply, t *lua.LTable, depth int, isMap bool) bool {
	var keys, values []lua.LValue
	for i, v := range *luaArray(t) {
		if v != lua.LNil {
			keys, values = append(keys, lua.LNumber(i+1)), append(values, v)
		}
	}
	for _, k := range luaPartsOf(t).keys {
		if v := t.RawGetH(k); v != lua.LNil {
			keys, values = append(keys, k), append(values, v)
		}
	}
	if isMap {
		out.Map(len(keys))
	} else {
		out.Set(len(keys))
	}
	for i, k := range keys {
		if !vm.toTape(out, k, depth) || isMap && !vm.toTape(out, values[i], depth) {
			return false
		}
	}
	return true
}

// redisLog checks its arguments and does no more: what a script logs on every node,
// once per node and again on each restart, helps nobody.
func (vm *luaVM) redisLog(L *lua.LState) int {
	level, ok := luaToNumber(L.Get(1))
	switch {
	case L.GetTop() < 2:
		vm.raise(L, "ERR redis.log() requires two arguments or more.")
	case !ok:
		vm.raise(L, "ERR First argument must be a number (log level).")
	case level < 0 || level > 3:
		vm.raise(L, "ERR Invalid debug level.")
	}
	return 0
}

func (vm *luaVM) redisSHA1(L *lua.LState) int {
	if L.GetTop() != 1 {
		vm.raise(L, "ERR wrong number of arguments")
	}
	s := vm.str(L, 1)
	vm.meter.work(L, len(s)/8)
	vm.meter.str(L, 40)
	L.Push(lua.LString(scriptSHA(s)))
	return 1
}

func scriptSHA(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (vm *luaVM) redisSetResp(L *lua.LState) int {
	if L.GetTop() != 1 {
		vm.raise(L, "ERR redis.setresp() requires one argument.")
	}
	n := vm.integer(L, 1)
	if n != 2 && n != 3 {
		vm.raise(L, "ERR RESP version must be 2 or 3.")
	}
	if vm.run != nil {
		vm.run.resp3 = n == 3
	}
	return 0
}

func (vm *luaVM) redisErrorReply(L *lua.LState) int {
	s, ok := L.Get(1).(lua.LString)
	if L.GetTop() != 1 || !ok {
		L.Push(vm.errorTable(L, "ERR wrong number or type of arguments"))
		return 1
	}
	code, msg, found := strings.Cut(strings.TrimPrefix(string(s), "-"), " ")
	if !found {
		code, msg = "ERR", code
	}
	vm.meter.str(L, len(s))
	L.Push(vm.field(L, "err", lua.LString(code+" "+strings.Trim(msg, "\r\n"))))
	return 1
}

func (vm *luaVM) redisStatusReply(L *lua.LState) int {
	s, ok := L.Get(1).(lua.LString)
	if L.GetTop() != 1 || !ok {
		L.Push(vm.errorTable(L, "ERR wrong number or type of arguments"))
		return 1
	}
	L.Push(vm.field(L, "ok", s))
	return 1
}

func (vm *luaVM) redisSetRepl(L *lua.LState) int {
	if L.GetTop() != 1 {
		vm.raise(L, "ERR redis.set_repl() requires one argument.")
	}
	if n := vm.integer(L, 1); n&^3 != 0 {
		vm.raise(L, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
	}
	return 0
}

func (vm *luaVM) redisACLCheck(L *lua.LState) int {
	if L.GetTop() == 0 {
		vm.raise(L, "ERR Please specify at least one argument for this redis.acl_check_cmd() call")
	}
	args := make([][]byte, L.GetTop())
	for i := range args {
		args[i] = []byte(vm.str(L, i+1))
	}
	cmd := Lookup(args[0])
	if cmd != nil && cmd.Sub != nil && len(args) > 1 {
		cmd = cmd.Subcommand(args[1])
	}
	if cmd == nil {
		vm.raise(L, "ERR Invalid command passed to redis.acl_check_cmd()")
	}
	allowed := true
	if vm.run != nil && vm.run.c.user != nil {
		d := vm.run.c.user.Check(cmd, args)
		allowed = d.Reason == DeniedNone
	}
	L.Push(lua.LBool(allowed))
	return 1
}
