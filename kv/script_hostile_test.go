package kv

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostileScripts try to take a node down. Each ends with an error, or quickly, with
// bounded memory; the names say what is attacked.
var hostileScripts = map[string]string{
	"concat doubling":           `local s = string.rep("x", 100) for i = 1, 40 do s = s .. s end return #s`,
	"concat doubling in pcall":  `local s = "x" while true do pcall(function() s = s .. s end) end`,
	"string.rep":                `return #string.rep("x", 1e9)`,
	"string.rep overflow":       `return #string.rep("xxxxxxxxxxxxxxxx", 2^60)`,
	"nested rep":                `return #(("x"):rep(1e6)):rep(1e6)`,
	"endless loop":              `while true do end`,
	"endless repeat":            `repeat until false`,
	"endless for":               `for i = 1, math.huge do end`,
	"loop by for of zero":       `for i = 1, 2, 0 do end`,
	"loop that catches":         `while true do pcall(function() while true do end end) end`,
	"loop in error handler":     `xpcall(error, function() while true do end end)`,
	"deep recursion":            `local function f(n) return 1 + f(n + 1) end return f(1)`,
	"endless tail calls":        `local function f() return f() end return f()`,
	"captured variables":        `local function f(n) if n == 0 then while true do local x = function() return n end x() end end local y = n local g = function() return y end f(n - 1) return g end f(900)`,
	"mutual recursion":          `local a, b a = function() return 1 + b() end b = function() return 1 + a() end return a()`,
	"recursion in pcall":        `local function f() pcall(f) end f()`,
	"recursion by __index":      `local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. "x"] end return t.x`,
	"recursion by __index self": `local t = {} setmetatable(t, {__index = t}) return t.x`,
	"recursion by tostring":     `local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) return tostring(t)`,
	"recursion by gsub":         `local function f(s) return (s:gsub(".", f)) end return f("x")`,
	"recursion by sort":         `local function f() table.sort({3, 2, 1}, f) return true end f()`,
	"recursion by coroutine":    `local function f() coroutine.wrap(f)() end f()`,
	"coroutines":                `local t = {} while true do t[#t + 1] = coroutine.create(function() end) end`,
	"loop in coroutine":         `coroutine.wrap(function() while true do end end)()`,
	"endless yields":            `local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end`,
	"sparse array":              `local t = {} t[67108863] = 1 return 1`,
	"sparse array again":        `while true do local t = {} t[4000000] = 1 end`,
	"sparse constructor":        `return #{[67108863] = 1, [4194303] = 2, [4194302] = 3}`,
	"table growth":              `local t = {} while true do t[#t + 1] = 1 end`,
	"table growth by name":      `local t, i = {}, 0 while true do i = i + 1 t["k" .. i] = true end`,
	"table growth by float":     `local t, i = {}, 0.5 while true do i = i + 1 t[i] = true end`,
	"linked list":               `local t while true do t = {t} end`,
	"closures":                  `local f while true do local g = f f = function() return g end end`,
	"tables of tables":          `local t = {} while true do t[#t + 1] = {{}, {}, {a = {}, b = {}}} end`,
	"table.insert":              `local t = {} while true do table.insert(t, "x") end`,
	"table.insert at front":     `local t = {} while true do table.insert(t, 1, "x") end`,
	"table.concat":              `local t = {} for i = 1, 1000 do t[i] = ("x"):rep(100000) end return #table.concat(t)`,
	"table.concat range":        `return table.concat({}, "x", 1, 1e15)`,
	"table.concat separator":    `local t = {} for i = 1, 10000 do t[i] = 1 end return #table.concat(t, ("x"):rep(1e6))`,
	"unpack range":              `return unpack({}, 1, 1e8)`,
	"unpack overflow":           `return unpack({}, -2^63, 2^63)`,
	"varargs grow":              `local function f(...) return f(1, ...) end f()`,
	"varargs grow in pcall":     `local function f(...) return f(1, ...) end while true do pcall(f) end`,
	"wide calls":                `local t = {} for i = 1, 7000 do t[i] = i end while true do select("#", unpack(t)) end`,
	"length of holes":           `local t = {} for i = 1, 1e6 do t[i] = 1 end for i = 1e6, 2, -1 do t[i] = nil end while true do local x = #t end`,
	"next over holes":           `local t = {} t[1000000] = 1 while true do next(t) end`,
	"next over dead keys":       `local t = {} for i = 1, 100000 do t["k" .. i] = 1 end for i = 1, 100000 do t["k" .. i] = nil end while true do next(t) end`,
	"compare long strings":      `local a, b = ("x"):rep(4e7), ("x"):rep(4e7) while true do local x = a == b end`,
	"order long strings":        `local a, b = ("x"):rep(1e6), ("x"):rep(1e6) .. "y" while true do local x = a < b end`,
	"hash long strings":         `local a, t = ("x"):rep(4e7), {} while true do local x = t[a] end`,
	"long string keys":          `local t, s = {}, ("x"):rep(1e5) for i = 1, 1e9 do t[s .. i] = 1 end`,
	"pattern backtracking":      `return ("a"):rep(100):find(("a*"):rep(30) .. "b")`,
	"pattern minimal":           `return ("a"):rep(1000):find((".-"):rep(30) .. "b")`,
	"pattern deep":              `return ("a"):rep(1e5):find(("a?"):rep(1e5))`,
	"pattern captures":          `return ("a"):rep(100):match(("(a)"):rep(40))`,
	"pattern set":               `return ("a"):rep(1e5):find("[" .. ("b"):rep(1e5) .. "]")`,
	"pattern balance":           `return ("("):rep(1e6):find("%b()%b()")`,
	"pattern backreference":     `return ("a"):rep(1e4):find("(a+)%1%1%1%1%1b")`,
	"gsub growth":               `return #(("x"):rep(1e6)):gsub("x", ("y"):rep(1e6))`,
	"gsub capture growth":       `local s = ("x"):rep(1e5) return #s:gsub(".*", ("%0"):rep(1e5))`,
	"gmatch":                    `for w in ("a"):rep(1e6):gmatch("a*a*a*b") do end`,
	"plain find":                `local s = ("a"):rep(1e7) while true do s:find("ab", 1, true) end`,
	"format width":              `return string.format("%99999999d", 1)`,
	"format growth":             `local s = ("x"):rep(1e6) while true do s = string.format("%s%s", s, s) end`,
	"format quoting":            `local s = ("\0"):rep(1e7) while true do s = string.format("%q", s) end`,
	"upper":                     `local s = ("a"):rep(1e7) while true do s:upper() end`,
	"sub keeps":                 `local t, s = {}, ("a"):rep(1e6) while true do t[#t + 1] = s:sub(2) .. "" end`,
	"tostring of many":          `while true do tostring({}) end`,
	"cjson depth":               `local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)`,
	"cjson cycle":               `local t = {} t.t = t cjson.encode_max_depth(10000) return cjson.encode(t)`,
	"cjson wide cycle":          `local t = {} t[1] = t t[2] = t return cjson.encode(t)`,
	"cjson decode depth":        `cjson.decode_max_depth(10000) return cjson.decode(("["):rep(1e6))`,
	"cjson decode objects":      `return cjson.decode(("{\"a\":"):rep(1e6))`,
	"cjson sparse":              `cjson.encode_sparse_array(false, 0, 0) return #cjson.encode({[1e15] = 1})`,
	"cjson sparse array":        `cjson.encode_sparse_array(true, 0, 0) return #cjson.encode({[4194303] = 1, [9e15] = 1})`,
	"cjson loop":                `local s = "[" .. ("1,"):rep(1e5) .. "1]" while true do cjson.decode(s) end`,
	"cjson escapes":             `local s = ("\1"):rep(1e7) return #cjson.encode({s, s, s, s, s, s})`,
	"cmsgpack cycle":            `local t = {} t[1] = t t[2] = t return cmsgpack.pack(t)`,
	"cmsgpack array bomb":       `return cmsgpack.unpack("\221\255\255\255\255")`,
	"cmsgpack map bomb":         `return cmsgpack.unpack("\223\255\255\255\255")`,
	"cmsgpack string bomb":      `return cmsgpack.unpack("\219\255\255\255\255")`,
	"cmsgpack depth":            `return cmsgpack.unpack(("\145"):rep(1e6))`,
	"cmsgpack many":             `return cmsgpack.unpack(("\1"):rep(1e6))`,
	"struct size":               `return struct.pack("c2000000000", "x")`,
	"struct alignment":          `return struct.size("!2147483648d")`,
	"struct many":               `return struct.unpack(("B"):rep(1e5), ("x"):rep(1e5))`,
	"struct position":           `return struct.unpack("B", "x", 2^62)`,
	"struct c0":                 `return struct.unpack("dc0", struct.pack("d", 1e300))`,
	"loadstring":                `while true do loadstring("return 1") end`,
	"loadstring nested":         `return loadstring(("("):rep(1e5) .. "1")`,
	"loadstring unary":          `return loadstring("return " .. ("-"):rep(1):rep(1) .. ("not "):rep(1e5) .. "1")`,
	"loadstring sum":            `return loadstring("return 1" .. ("+1"):rep(1e5))`,
	"loadstring concat":         `return loadstring("return 1" .. (" ..1"):rep(1e5))`,
	"loadstring elseif":         `return loadstring("if a then " .. ("elseif a then "):rep(20000) .. " end")`,
	"loadstring huge":           `return loadstring(("x=1 "):rep(1e6))`,
	"load endless":              `return load(function() return "x " end)`,
	"reply cycle":               `local t = {} t[1] = t return t`,
	"reply wide cycle":          `local t = {} t[1] = t t[2] = t return t`,
	"reply map cycle":           `local t = {map = {}} t.map[1] = t t.map[2] = t return t`,
	"redis.call loop":           `while true do redis.call("PING") end`,
	"redis.pcall loop":          `while true do redis.pcall("NOPE") end`,
	"redis.call many args":      `local t = {} for i = 1, 7000 do t[i] = "x" end while true do redis.pcall("DEL", unpack(t)) end`,
	"error with a long text":    `error(("x"):rep(1e8))`,
	"errors in errors":          `local function f(e) error(f) end xpcall(f, f)`,
	"error table of itself":     `local t = {} t.err = t error(t)`,
	"setmetatable of strings":   `getmetatable("").__index = nil`,
	"math in a loop":            `local x = 0 while true do x = math.sin(x) end`,
	"sort unordered":            `local t = {} for i = 1, 1e5 do t[i] = i end table.sort(t, function() return true end)`,
	"sort endless":              `while true do table.sort({3, 1, 2}) end`,
	"sort changes":              `local t = {5, 4, 3, 2, 1} table.sort(t, function(a, b) t[#t + 1] = 1 return a < b end)`,
	"bit shift":                 `while true do bit.lshift(1, 1e9) end`,
	"sha1hex":                   `local s = ("x"):rep(1e7) while true do redis.sha1hex(s) end`,
	"method on nil":             `return (nil):x()`,
	"select":                    `return select(-1e18, 1)`,
	"tonumber":                  `return tonumber(("1"):rep(1e6), 36)`,
}

// No script takes a node down, whoever sends it (DESIGN 4.5).
func TestHostileScripts(t *testing.T) {
	for name, body := range hostileScripts {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			var c Chunk
			c.AppendConfigSet(bytesOf("script-max-instructions", "2000000", "script-max-memory", "32mb"))
			n.run(&c)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			reply := n.do("EVAL", body, "0")
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			require.Less(t, took, time.Minute, "%s", reply[:min(len(reply), 200)])
			require.Less(t, after.Sys-min(before.Sys, after.Sys), uint64(600<<20))
			require.Less(t, len(reply), 40<<20)
			if took > time.Second {
				t.Logf("%s: %v", name, took)
			}
			require.Equal(t, "PONG", n.do("EVAL", "return redis.call('PING')", "0"), "the next script runs as ever")
		})
	}
}

func bytesOf(words ...string) (list [][]byte) {
	for _, w := range words {
		list = append(list, []byte(w))
	}
	return list
}

// Programs that are hostile to the parser and the compiler.
func TestHostilePrograms(t *testing.T) {
	for name, source := range map[string]string{
		"parentheses":  strings.Repeat("(", 1<<19),
		"braces":       "return " + strings.Repeat("{", 1<<19),
		"unary":        "return " + strings.Repeat("- ", 1<<19) + "1",
		"not":          "return " + strings.Repeat("not ", 1<<17) + "1",
		"length":       "return " + strings.Repeat("#", 1<<19) + "'x'",
		"sum":          "return 1" + strings.Repeat("+1", 1<<18),
		"power":        "return 1" + strings.Repeat("^1", 1<<18),
		"concat":       "return 1" + strings.Repeat(" ..1", 1<<17),
		"and":          "return 1" + strings.Repeat(" and 1", 1<<17),
		"index":        "return a" + strings.Repeat(".a", 1<<18),
		"calls":        "return f" + strings.Repeat("()", 1<<18),
		"functions":    strings.Repeat("function f() ", 1<<15),
		"blocks":       strings.Repeat("do ", 1<<17),
		"elseif":       "if a then " + strings.Repeat("elseif a then ", 1<<16) + "end",
		"locals":       strings.Repeat("local a ", 1<<16),
		"upvalues":     strings.Repeat("local a = 1 ", 190) + strings.Repeat("f(function() return a end) ", 1000),
		"constants":    "return {" + strings.Repeat("1.5,", 1<<17) + "}",
		"names":        "return {" + strings.Repeat("a=1,", 1<<17) + "}",
		"arguments":    "f(" + strings.Repeat("1,", 1<<17) + "1)",
		"comment":      "--[[" + strings.Repeat("x", 1<<19),
		"long string":  "return [==[" + strings.Repeat("]", 1<<19),
		"long name":    "return " + strings.Repeat("x", 1<<19),
		"too long":     strings.Repeat(" ", luaMaxSource+1),
		"zero bytes":   strings.Repeat("\x00", 1<<16),
		"bytecode":     "\x1bLua" + strings.Repeat("x", 100),
		"not UTF-8":    strings.Repeat("\xff\xfe", 1<<16),
		"quotes":       strings.Repeat("\"", 1<<19),
		"shebang":      "#!lua" + strings.Repeat(" ", 1<<19),
		"flags":        "#!lua flags=" + strings.Repeat(",", 1<<19) + "\n",
		"empty":        "",
		"long lines":   strings.Repeat("\n", 1<<19) + "error('x')",
		"many returns": strings.Repeat("do return end ", 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			start := time.Now()
			n.do("EVAL", source, "0")
			n.do("SCRIPT", "LOAD", source)
			n.do("FUNCTION", "LOAD", "#!lua name=x\n"+source)
			require.Less(t, time.Since(start), time.Minute)
		})
	}
}
