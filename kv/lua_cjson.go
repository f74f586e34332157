package kv

import (
	"math"
	"strconv"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// luaJSONConfig is lua-cjson's configuration. In Redis a script changes it for all
// that come after; here each run begins with the defaults, for it is not replicated.
type luaJSONConfig struct {
	sparseConvert bool
	sparseRatio   int
	sparseSafe    int
	encodeDepth   int
	decodeDepth   int
	precision     int
	encodeInvalid int // 0: error, 1: as it is, 2: null
	decodeInvalid bool
	keepBuffer    bool
}

var defaultJSONConfig = luaJSONConfig{
	sparseRatio: 2, sparseSafe: 10, encodeDepth: 1000, decodeDepth: 1000, precision: 14,
	decodeInvalid: true, keepBuffer: true,
}

// luaNull is cjson.null: a light userdata of no address.
var luaNull = &lua.LUserData{Metatable: lua.LNil}

func (vm *luaVM) jsonLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"encode": vm.jsonEncode, "decode": vm.jsonDecode, "new": vm.jsonNew,
		"encode_sparse_array": vm.jsonSparse, "encode_max_depth": vm.jsonEncodeDepth, "decode_max_depth": vm.jsonDecodeDepth,
		"encode_number_precision": vm.jsonPrecision, "encode_keep_buffer": vm.jsonKeepBuffer,
		"encode_invalid_numbers": vm.jsonEncodeInvalid, "decode_invalid_numbers": vm.jsonDecodeInvalid,
	}
}

// jsonNew returns the module: its configuration is the run's.
func (vm *luaVM) jsonNew(L *lua.LState) int {
	L.Push(vm.globals.RawGetString("cjson"))
	return 1
}

func (vm *luaVM) jsonInt(L *lua.LState, field *int, low, high int) int {
	if L.Get(1) != lua.LNil {
		n := vm.integer(L, 1)
		if n < low || n > high {
			vm.argError(L, 1, "expected integer between "+strconv.Itoa(low)+" and "+strconv.Itoa(high))
		}
		*field = n
	}
	L.Push(lua.LNumber(*field))
	return 1
}

// luaMaxJSONDepth bounds what a script may set: each level is a Go stack frame.
const luaMaxJSONDepth = 10_000

func (vm *luaVM) jsonEncodeDepth(L *lua.LState) int {
	return vm.jsonInt(L, &vm.json.encodeDepth, 1, luaMaxJSONDepth)
}

func (vm *luaVM) jsonDecodeDepth(L *lua.LState) int {
	return vm.jsonInt(L, &vm.json.decodeDepth, 1, luaMaxJSONDepth)
}

func (vm *luaVM) jsonPrecision(L *lua.LState) int { return vm.jsonInt(L, &vm.json.precision, 1, 16) }

func (vm *luaVM) jsonSparse(L *lua.LState) int {
	if L.Get(1) != lua.LNil {
		vm.json.sparseConvert = lua.LVAsBool(L.Get(1))
	}
	for i, field := range []*int{&vm.json.sparseRatio, &vm.json.sparseSafe} {
		if L.Get(i+2) != lua.LNil {
			n := vm.integer(L, i+2)
			if n < 0 {
				vm.argError(L, i+2, "expected integer between 0 and 2147483647")
			}
			*field = min(n, math.MaxInt32)
		}
	}
	L.Push(lua.LBool(vm.json.sparseConvert))
	L.Push(lua.LNumber(vm.json.sparseRatio))
	L.Push(lua.LNumber(vm.json.sparseSafe))
	return 3
}

func (vm *luaVM) jsonKeepBuffer(L *lua.LState) int {
	if L.Get(1) != lua.LNil {
		vm.json.keepBuffer = lua.LVAsBool(L.Get(1))
	}
	L.Push(lua.LBool(vm.json.keepBuffer))
	return 1
}

func (vm *luaVM) jsonEncodeInvalid(L *lua.LState) int {
	switch v := L.Get(1).(type) {
	case lua.LBool:
		vm.json.encodeInvalid = 0
		if v {
			vm.json.encodeInvalid = 1
		}
	case lua.LString:
		if v != "null" {
			vm.argError(L, 1, "invalid option '"+clip([]byte(v), 40)+"'")
		}
		vm.json.encodeInvalid = 2
	}
	if vm.json.encodeInvalid == 2 {
		L.Push(lua.LString("null"))
	} else {
		L.Push(lua.LBool(vm.json.encodeInvalid == 1))
	}
	return 1
}

func (vm *luaVM) jsonDecodeInvalid(L *lua.LState) int {
	if L.Get(1) != lua.LNil {
		vm.json.decodeInvalid = lua.LVAsBool(L.Get(1))
	}
	L.Push(lua.LBool(vm.json.decodeInvalid))
	return 1
}

func (vm *luaVM) jsonEncode(L *lua.LState) int {
	if L.GetTop() != 1 {
		vm.argError(L, 1, "expected 1 argument")
	}
	e := luaJSONEncoder{vm: vm, L: L}
	e.value(L.Get(1), 0)
	vm.meter.str(L, len(e.out))
	return vm.result(L, e.out)
}

type luaJSONEncoder struct {
	vm      *luaVM
	L       *lua.LState
	out     []byte
	charged int
}

// grown charges what was written since the last call.
func (e *luaJSONEncoder) grown() {
	e.vm.meter.alloc(e.L, len(e.out)-e.charged+32)
	e.charged = len(e.out)
}

func (e *luaJSONEncoder) value(v lua.LValue, depth int) {
	switch v := v.(type) {
	case lua.LString:
		e.string(string(v))
	case lua.LNumber:
		e.number(float64(v))
	case lua.LBool:
		e.out = strconv.AppendBool(e.out, bool(v))
	case *lua.LTable:
		e.table(v, depth+1)
	case *lua.LNilType:
		e.out = append(e.out, "null"...)
	case *lua.LUserData:
		if v != luaNull {
			e.fail("userdata", "type not supported")
		}
		e.out = append(e.out, "null"...)
	default:
		e.fail(luaTypeName(v), "type not supported")
	}
	e.grown()
}

func (e *luaJSONEncoder) fail(what, why string) {
	e.L.RaiseError("Cannot serialise %s: %s", what, why)
}

func (e *luaJSONEncoder) number(f float64) {
	if f != f || math.IsInf(f, 0) {
		switch e.vm.json.encodeInvalid {
		case 0:
			e.fail("number", "must not be NaN or Inf")
		case 2:
			e.out = append(e.out, "null"...)
			return
		}
		if f != f {
			e.out = append(e.out, "nan"...)
			return
		}
	}
	if p := e.vm.json.precision; p != 14 {
		if f == math.Trunc(f) && math.Abs(f) < math.Pow10(min(p, 15)) && (f != 0 || !math.Signbit(f)) {
			e.out = strconv.AppendInt(e.out, int64(f), 10)
		} else {
			e.out = strconv.AppendFloat(e.out, f, 'g', p, 64)
		}
		return
	}
	e.out = luaAppendNumber(e.out, f, 14)
}

const hexDigits = "0123456789abcdef"

func (e *luaJSONEncoder) string(s string) {
	e.vm.meter.alloc(e.L, len(s))
	e.out = append(e.out, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\', '/':
			e.out = append(e.out, '\\', c)
		case '\b':
			e.out = append(e.out, `\b`...)
		case '\t':
			e.out = append(e.out, `\t`...)
		case '\n':
			e.out = append(e.out, `\n`...)
		case '\f':
			e.out = append(e.out, `\f`...)
		case '\r':
			e.out = append(e.out, `\r`...)
		default:
			if c < 32 || c == 127 {
				e.out = append(e.out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				e.out = append(e.out, c)
			}
		}
	}
	e.out = append(e.out, '"')
}

func (e *luaJSONEncoder) table(t *lua.LTable, depth int) {
	if depth > e.vm.json.encodeDepth {
		e.L.RaiseError("Cannot serialise, excessive depth (%d)", depth)
	}
	n, isArray := e.arrayLen(t)
	if isArray {
		e.out = append(e.out, '[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				e.out = append(e.out, ',')
			}
			e.value(t.RawGet(lua.LNumber(i)), depth)
		}
		e.out = append(e.out, ']')
		return
	}
	e.out = append(e.out, '{')
	first := true
	for k, v := e.vm.next(e.L, t, lua.LNil); k != lua.LNil; k, v = e.vm.next(e.L, t, k) {
		if !first {
			e.out = append(e.out, ',')
		}
		first = false
		switch k := k.(type) {
		case lua.LNumber:
			e.out = append(e.out, '"')
			e.number(float64(k))
			e.out = append(e.out, '"', ':')
		case lua.LString:
			e.string(string(k))
			e.out = append(e.out, ':')
		default:
			e.fail(luaTypeName(k), "table key must be a number or string")
		}
		e.value(v, depth)
	}
	e.out = append(e.out, '}')
}

// arrayLen reports whether t is an array: all keys are positive integers, and not
// too few of them for the highest.
func (e *luaJSONEncoder) arrayLen(t *lua.LTable) (n int, ok bool) {
	highest, items := 0.0, 0
	for k, _ := e.vm.next(e.L, t, lua.LNil); k != lua.LNil; k, _ = e.vm.next(e.L, t, k) {
		e.vm.meter.work(e.L, 1)
		f, isNumber := k.(lua.LNumber)
		if !isNumber || f < 1 || float64(f) != math.Floor(float64(f)) {
			return 0, false
		}
		highest = max(highest, float64(f))
		items++
	}
	if items == 0 {
		return 0, false
	}
	c := &e.vm.json
	if c.sparseRatio > 0 && highest > float64(items)*float64(c.sparseRatio) && highest > float64(c.sparseSafe) {
		if !c.sparseConvert {
			e.fail("table", "excessively sparse array")
		}
		return 0, false
	}
	return int(min(highest, 1<<53)), true
}

func (vm *luaVM) jsonDecode(L *lua.LState) int {
	if L.GetTop() != 1 {
		vm.argError(L, 1, "expected 1 argument")
	}
	d := luaJSONDecoder{vm: vm, L: L, s: vm.str(L, 1)}
	if len(d.s) >= 2 && (d.s[0] == 0 || d.s[1] == 0) {
		L.RaiseError("JSON parser does not support UTF-16 or UTF-32")
	}
	vm.meter.work(L, len(d.s)/8)
	v := d.value(d.next(), 0)
	if t := d.next(); t.kind != 0 {
		d.fail("the end", t)
	}
	L.Push(v)
	return 1
}

type luaJSONDecoder struct {
	vm *luaVM
	L  *lua.LState
	s  string
	at int
}

// luaJSONToken: kind is '{', '}', '[', ']', ',', ':', 's', 'n', 't', 'f', 'z' (null),
// 'e' (invalid) and 0 (the end).
type luaJSONToken struct {
	kind byte
	pos  int
	str  string
	num  float64
	bad  string // what is wrong with an invalid one
}

var luaJSONNames = map[byte]string{
	'{': "T_OBJ_BEGIN", '}': "T_OBJ_END", '[': "T_ARR_BEGIN", ']': "T_ARR_END", ',': "T_COMMA", ':': "T_COLON",
	's': "T_STRING", 'n': "T_NUMBER", 't': "T_BOOLEAN", 'f': "T_BOOLEAN", 'z': "T_NULL", 0: "T_END",
}

func (d *luaJSONDecoder) fail(want string, got luaJSONToken) {
	found := luaJSONNames[got.kind]
	if got.kind == 'e' {
		found = got.bad
	}
	d.L.RaiseError("Expected %s but found %s at character %d", want, found, got.pos+1)
}

func (d *luaJSONDecoder) next() luaJSONToken {
	for d.at < len(d.s) && (d.s[d.at] == ' ' || d.s[d.at] == '\t' || d.s[d.at] == '\n' || d.s[d.at] == '\r') {
		d.at++
	}
	t := luaJSONToken{pos: d.at}
	if d.at >= len(d.s) {
		return t
	}
	switch c := d.s[d.at]; {
	case c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':':
		t.kind = c
		d.at++
	case c == '"':
		d.string(&t)
	case c == '-' || luaIsDigit(c):
		d.number(&t)
	case d.word("true"):
		t.kind = 't'
	case d.word("false"):
		t.kind = 'f'
	case d.word("null"):
		t.kind = 'z'
	case d.vm.json.decodeInvalid && d.special(&t):
	default:
		t.kind, t.bad = 'e', "invalid token"
	}
	return t
}

func (d *luaJSONDecoder) word(w string) bool {
	if len(d.s)-d.at < len(w) || d.s[d.at:d.at+len(w)] != w {
		return false
	}
	d.at += len(w)
	return true
}

// special reads inf, nan and their kin, in any case.
func (d *luaJSONDecoder) special(t *luaJSONToken) bool {
	rest := d.s[d.at:min(len(d.s), d.at+9)]
	for _, w := range []string{"infinity", "inf", "nan"} {
		if len(rest) >= len(w) && equalFold([]byte(w), []byte(rest[:len(w)])) {
			t.kind, t.num = 'n', math.Inf(1)
			if w == "nan" {
				t.num = math.NaN()
			}
			d.at += len(w)
			return true
		}
	}
	return false
}

func (d *luaJSONDecoder) number(t *luaJSONToken) {
	end := d.at
	if d.s[end] == '-' {
		end++
	}
	if end < len(d.s) && !luaIsDigit(d.s[end]) && d.vm.json.decodeInvalid {
		d.at = end
		if d.special(t) {
			t.num = -t.num
			return
		}
		d.at = t.pos
	}
	hex := false
	for from := end; end < len(d.s); end++ {
		c := d.s[end]
		switch {
		case luaIsDigit(c) || c == '.':
		case !hex && (c == 'e' || c == 'E'):
			if end+1 < len(d.s) && (d.s[end+1] == '-' || d.s[end+1] == '+') {
				end++
			}
		case end == from+1 && (c == 'x' || c == 'X') && d.vm.json.decodeInvalid:
			hex = true
		case hex && luaDigit(c) < 16:
		default:
			goto done
		}
	}
done:
	f, ok := luaParseNumber(d.s[d.at:end])
	if !ok || !d.vm.json.decodeInvalid && end-d.at > 1 && d.s[d.at] == '0' && luaIsDigit(d.s[d.at+1]) {
		t.kind, t.bad = 'e', "invalid number"
		return
	}
	t.kind, t.num, d.at = 'n', f, end
}

func (d *luaJSONDecoder) string(t *luaJSONToken) {
	d.at++
	start := d.at
	for d.at < len(d.s) && d.s[d.at] != '"' && d.s[d.at] != '\\' && d.s[d.at] >= 32 {
		d.at++
	}
	if d.at < len(d.s) && d.s[d.at] == '"' {
		t.kind, t.str = 's', d.s[start:d.at]
		d.at++
		return
	}
	out := []byte(d.s[start:d.at])
	for d.at < len(d.s) {
		c := d.s[d.at]
		switch {
		case c == '"':
			d.at++
			t.kind, t.str = 's', string(out)
			return
		case c == '\\':
			var ok bool
			if out, ok = d.escape(out); !ok {
				t.kind, t.bad, t.pos = 'e', "invalid escape code", d.at
				return
			}
		case c < 32:
			t.kind, t.bad, t.pos = 'e', "invalid token", d.at
			return
		default:
			out = append(out, c)
			d.at++
		}
	}
	t.kind, t.bad, t.pos = 'e', "unexpected end of string", d.at
}

var luaJSONEscapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func (d *luaJSONDecoder) escape(out []byte) ([]byte, bool) {
	if d.at+1 >= len(d.s) {
		return out, false
	}
	c := d.s[d.at+1]
	if r, ok := luaJSONEscapes[c]; ok {
		d.at += 2
		return append(out, r), true
	}
	r, ok := d.unicode(d.at)
	if !ok {
		return out, false
	}
	d.at += 6
	if 0xdc00 <= r && r < 0xe000 {
		return out, false
	}
	if 0xd800 <= r && r < 0xdc00 {
		low, ok := d.unicode(d.at)
		if !ok || low < 0xdc00 || low >= 0xe000 {
			return out, false
		}
		d.at += 6
		r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
	}
	return utf8.AppendRune(out, r), true
}

func (d *luaJSONDecoder) unicode(at int) (r rune, ok bool) {
	if at+6 > len(d.s) || d.s[at] != '\\' || d.s[at+1] != 'u' {
		return 0, false
	}
	for _, c := range []byte(d.s[at+2 : at+6]) {
		n := luaDigit(c)
		if n >= 16 {
			return 0, false
		}
		r = r<<4 + rune(n)
	}
	return r, true
}

func (d *luaJSONDecoder) value(t luaJSONToken, depth int) lua.LValue {
	switch t.kind {
	case 's':
		d.vm.meter.str(d.L, len(t.str))
		return lua.LString(t.str)
	case 'n':
		return lua.LNumber(t.num)
	case 't', 'f':
		return lua.LBool(t.kind == 't')
	case 'z':
		return luaNull
	case '{':
		return d.object(depth + 1)
	case '[':
		return d.array(depth + 1)
	}
	d.fail("value", t)
	return lua.LNil
}

func (d *luaJSONDecoder) descend(depth int) {
	if depth > d.vm.json.decodeDepth {
		d.L.RaiseError("Found too many nested data structures (%d)", depth)
	}
}

func (d *luaJSONDecoder) object(depth int) lua.LValue {
	d.descend(depth)
	o := d.vm.newTable(d.L, 0)
	t := d.next()
	if t.kind == '}' {
		return o
	}
	for {
		if t.kind != 's' {
			d.fail("object key string", t)
		}
		key := t.str
		if t = d.next(); t.kind != ':' {
			d.fail("colon", t)
		}
		d.vm.meter.alloc(d.L, len(key))
		v := d.value(d.next(), depth)
		d.vm.rawSet(d.L, o, lua.LString(key), v, 1)
		switch t = d.next(); t.kind {
		case '}':
			return o
		case ',':
			t = d.next()
		default:
			d.fail("comma or object end", t)
		}
	}
}

func (d *luaJSONDecoder) array(depth int) lua.LValue {
	d.descend(depth)
	a := d.vm.newTable(d.L, 0)
	t := d.next()
	if t.kind == ']' {
		return a
	}
	for i := 1; ; i++ {
		d.vm.setIntAny(d.L, a, i, d.value(t, depth))
		switch t = d.next(); t.kind {
		case ']':
			return a
		case ',':
			t = d.next()
		default:
			d.fail("comma or array end", t)
		}
	}
}

// setIntAny assigns t[n], also beyond the array part.
func (vm *luaVM) setIntAny(L *lua.LState, t *lua.LTable, n int, v lua.LValue) {
	if n < luaMaxArray {
		vm.setInt(L, t, n, v)
		return
	}
	vm.rawSet(L, t, lua.LNumber(n), v, 1)
}
