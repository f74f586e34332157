package kv

import (
	"reflect"
	"sort"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// luaMaxArray is the first integer key that a table keeps by hash. Below it
// gopher-lua pads: t[k] costs 16*k bytes, which the meter charges first.
const luaMaxArray = 1 << 22

func init() { lua.MaxArrayIndex = luaMaxArray }

// luaParts are a table's parts. gopher-lua keeps the keys of the hash part in the
// order of their first assignment, so a traversal is a function of the program
// alone; but its own next and # walk over holes that nobody pays for, hence ours.
type luaParts struct {
	array   *[]lua.LValue
	dict    map[lua.LValue]lua.LValue
	strdict map[string]lua.LValue
	keys    []lua.LValue
	index   map[lua.LValue]int
}

var luaTableAt = struct{ array, dict, strdict, keys, index uintptr }{
	array: luaField(reflect.TypeFor[lua.LTable](), "array"), dict: luaField(reflect.TypeFor[lua.LTable](), "dict"),
	strdict: luaField(reflect.TypeFor[lua.LTable](), "strdict"),
	keys:    luaField(reflect.TypeFor[lua.LTable](), "keys"), index: luaField(reflect.TypeFor[lua.LTable](), "k2i"),
}

func luaArray(t *lua.LTable) *[]lua.LValue {
	return (*[]lua.LValue)(unsafe.Add(unsafe.Pointer(t), luaTableAt.array))
}

func luaPartsOf(t *lua.LTable) luaParts {
	p := unsafe.Pointer(t)
	return luaParts{
		array: luaArray(t), dict: *(*map[lua.LValue]lua.LValue)(unsafe.Add(p, luaTableAt.dict)),
		strdict: *(*map[string]lua.LValue)(unsafe.Add(p, luaTableAt.strdict)),
		keys:    *(*[]lua.LValue)(unsafe.Add(p, luaTableAt.keys)),
		index:   *(*map[lua.LValue]int)(unsafe.Add(p, luaTableAt.index)),
	}
}

// luaLen is the border that # yields: the array part never ends in nil.
func luaLen(t *lua.LTable) int {
	luaTrim(t)
	return len(*luaArray(t))
}

// luaTrim cuts nils off the end of the array part.
func luaTrim(t *lua.LTable) {
	a := luaArray(t)
	n := len(*a)
	for n > 0 && ((*a)[n-1] == lua.LNil || (*a)[n-1] == nil) {
		n--
		(*a)[n] = nil
	}
	*a = (*a)[:n]
}

// luaArrayKey reports whether k is kept in the array part.
func luaArrayKey(k lua.LValue) (int, bool) {
	n, ok := k.(lua.LNumber)
	if !ok || !(n >= 1 && n < luaMaxArray) || n != lua.LNumber(int(n)) {
		return 0, false
	}
	return int(n), true
}

// next continues a traversal behind key, nil to begin; it yields a nil key at the end.
func (vm *luaVM) next(L *lua.LState, t *lua.LTable, key lua.LValue) (k, v lua.LValue) {
	p := luaPartsOf(t)
	i, j := 0, 0
	if key != lua.LNil {
		if n, ok := luaArrayKey(key); ok {
			i = min(n, len(*p.array)) // it may have been cut off by an assignment of nil
		} else if at, ok := p.index[key]; ok {
			i, j = len(*p.array), at+1
		} else {
			L.RaiseError("invalid key to 'next'")
		}
	}
	start := i + j
	for ; i < len(*p.array); i++ {
		if v := (*p.array)[i]; v != lua.LNil && v != nil {
			vm.meter.work(L, (i-start)/16)
			return lua.LNumber(i + 1), v
		}
	}
	for ; j < len(p.keys); j++ {
		if v := t.RawGetH(p.keys[j]); v != lua.LNil {
			vm.meter.work(L, (i+j-start)/4)
			return p.keys[j], v
		}
	}
	vm.meter.work(L, (i+j-start)/4)
	return lua.LNil, lua.LNil
}

const luaReadonly = "Attempt to modify a readonly table"

// guard refuses to change what outlives the script.
func (vm *luaVM) guard(L *lua.LState, t *lua.LTable, level int) {
	if _, fixed := vm.fixed[t]; fixed {
		L.Error(lua.LString(luaReadonly), level)
	}
}

// rawSet assigns without metamethods and charges growth. level is where an error
// is reported (0: nowhere).
func (vm *luaVM) rawSet(L *lua.LState, t *lua.LTable, key, v lua.LValue, level int) {
	vm.guard(L, t, level)
	if n, ok := luaArrayKey(key); ok {
		vm.setInt(L, t, n, v)
		return
	}
	switch k := key.(type) {
	case *lua.LNilType:
		L.Error(lua.LString("table index is nil"), level)
	case lua.LNumber:
		if k != k {
			L.Error(lua.LString("table index is NaN"), level)
		}
		if v != lua.LNil && t.RawGetH(k) == lua.LNil {
			vm.meter.alloc(L, luaKeyBytes)
		}
		t.RawSetH(k, v)
	case lua.LString:
		if len(k) >= luaLongString {
			vm.meter.work(L, len(k)/luaStepBytes)
		}
		if v == lua.LNil {
			if t.RawGetString(string(k)) != lua.LNil {
				t.RawSetString(string(k), v)
			}
			return
		}
		if t.RawGetString(string(k)) == lua.LNil {
			vm.meter.alloc(L, luaKeyBytes)
		}
		t.RawSetString(string(k), v)
	default:
		if v != lua.LNil && t.RawGetH(k) == lua.LNil {
			vm.meter.alloc(L, luaKeyBytes)
		}
		t.RawSetH(k, v)
	}
}

// setInt assigns t[n] in the array part.
func (vm *luaVM) setInt(L *lua.LState, t *lua.LTable, n int, v lua.LValue) {
	a := luaArray(t)
	switch have := len(*a); {
	case n <= have:
		(*a)[n-1] = v
		if n == have && v == lua.LNil {
			luaTrim(t)
		}
	case v == lua.LNil:
	default:
		if *a == nil {
			*a = make([]lua.LValue, 0, 4)
		}
		vm.meter.alloc(L, luaElemBytes*(n-have))
		for ; have < n-1; have++ {
			*a = append(*a, lua.LNil)
		}
		*a = append(*a, v)
	}
}

// assign is t[key] = v with metamethods: what assignments are compiled to.
func (vm *luaVM) assign(L *lua.LState, obj, key, v lua.LValue) {
	for range lua.MaxTableGetLoop {
		t, isTable := obj.(*lua.LTable)
		if isTable && (t.Metatable == lua.LNil || t.RawGet(key) != lua.LNil) {
			vm.rawSet(L, t, key, v, 1)
			return
		}
		h := L.GetMetaField(obj, "__newindex")
		switch {
		case h == lua.LNil && isTable:
			vm.rawSet(L, t, key, v, 1)
			return
		case h == lua.LNil:
			L.RaiseError("attempt to index a %s value", luaTypeName(obj))
		case h.Type() == lua.LTFunction:
			L.Push(h)
			L.Push(obj)
			L.Push(key)
			L.Push(v)
			L.Call(3, 0)
			return
		}
		obj = h
	}
	L.RaiseError("loop in settable")
}

func (vm *luaVM) newTable(L *lua.LState, elems int) *lua.LTable {
	vm.meter.alloc(L, luaTableBytes+luaElemBytes*elems)
	t := &lua.LTable{Metatable: lua.LNil}
	if elems > 0 {
		*luaArray(t) = make([]lua.LValue, 0, elems)
	}
	return t
}

// push appends to a table whose elements were charged when it was made.
func luaPush(t *lua.LTable, v lua.LValue) {
	a := luaArray(t)
	*a = append(*a, v)
}

// The table library.

func (vm *luaVM) tableLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"concat": vm.tableConcat, "insert": vm.tableInsert, "remove": vm.tableRemove, "sort": vm.tableSort,
		"getn": vm.tableGetn, "maxn": vm.tableMaxn, "setn": vm.tableSetn,
		"foreach": vm.tableForeach, "foreachi": vm.tableForeachi,
	}
}

func (vm *luaVM) tableGetn(L *lua.LState) int {
	L.Push(lua.LNumber(luaLen(vm.table(L, 1))))
	return 1
}

func (vm *luaVM) tableSetn(L *lua.LState) int {
	L.RaiseError("'setn' is obsolete")
	return 0
}

func (vm *luaVM) tableMaxn(L *lua.LState) int {
	t := vm.table(L, 1)
	most := lua.LNumber(luaLen(t))
	p := luaPartsOf(t)
	vm.meter.work(L, len(p.keys))
	for _, k := range p.keys {
		if n, ok := k.(lua.LNumber); ok && n > most && t.RawGetH(k) != lua.LNil {
			most = n
		}
	}
	L.Push(most)
	return 1
}

func (vm *luaVM) tableForeach(L *lua.LState) int {
	t, fn := vm.table(L, 1), vm.function(L, 2)
	for k, v := vm.next(L, t, lua.LNil); k != lua.LNil; k, v = vm.next(L, t, k) {
		vm.meter.work(L, 1)
		if r := vm.call(L, fn, k, v); r != lua.LNil {
			L.Push(r)
			return 1
		}
	}
	return 0
}

func (vm *luaVM) tableForeachi(L *lua.LState) int {
	t, fn := vm.table(L, 1), vm.function(L, 2)
	for i, n := 1, luaLen(t); i <= n; i++ {
		vm.meter.work(L, 1)
		if r := vm.call(L, fn, lua.LNumber(i), t.RawGetInt(i)); r != lua.LNil {
			L.Push(r)
			return 1
		}
	}
	return 0
}

// call calls fn and returns its first result.
func (vm *luaVM) call(L *lua.LState, fn lua.LValue, args ...lua.LValue) lua.LValue {
	L.Push(fn)
	for _, a := range args {
		L.Push(a)
	}
	L.Call(len(args), 1)
	r := L.Get(-1)
	L.Pop(1)
	return r
}

func (vm *luaVM) tableInsert(L *lua.LState) int {
	t := vm.table(L, 1)
	vm.guard(L, t, 0)
	n := luaLen(t)
	switch L.GetTop() {
	case 2:
		vm.rawSet(L, t, lua.LNumber(n+1), L.Get(2), 0)
	case 3:
		pos := vm.integer(L, 2)
		if pos > n || pos < 1 {
			vm.rawSet(L, t, lua.LNumber(pos), L.Get(3), 0)
			return 0
		}
		vm.meter.work(L, (n-pos)/8)
		vm.meter.alloc(L, luaElemBytes)
		a := luaArray(t)
		*a = append(*a, lua.LNil)
		copy((*a)[pos:], (*a)[pos-1:])
		(*a)[pos-1] = L.Get(3)
		luaTrim(t)
	default:
		L.RaiseError("wrong number of arguments to 'insert'")
	}
	return 0
}

func (vm *luaVM) tableRemove(L *lua.LState) int {
	t := vm.table(L, 1)
	vm.guard(L, t, 0)
	n := luaLen(t)
	pos := vm.optInteger(L, 2, n)
	if pos < 1 || pos > n {
		return 0
	}
	vm.meter.work(L, (n-pos)/8)
	a := luaArray(t)
	L.Push((*a)[pos-1])
	copy((*a)[pos-1:], (*a)[pos:])
	(*a)[n-1] = nil
	*a = (*a)[:n-1]
	luaTrim(t)
	return 1
}

func (vm *luaVM) tableConcat(L *lua.LState) int {
	t := vm.table(L, 1)
	sep := vm.optStr(L, 2, "")
	i := vm.optInteger(L, 3, 1)
	j := vm.optInteger(L, 4, luaLen(t))
	if i > j {
		L.Push(lua.LString(""))
		return 1
	}
	size := 0
	for k := i; k <= j; k++ {
		v := t.RawGet(lua.LNumber(k))
		switch v := v.(type) {
		case lua.LString:
			size += len(v)
		case lua.LNumber:
			size += 24
		default:
			L.RaiseError("invalid value (%s) at index %d in table for 'concat'", luaTypeName(v), k)
		}
		if k < j {
			size += len(sep)
		}
		vm.meter.work(L, 1)
		if k == 1<<62 {
			break
		}
	}
	vm.meter.str(L, size)
	out := make([]byte, 0, size)
	for k := i; k <= j; k++ {
		out = luaAppendString(out, t.RawGet(lua.LNumber(k)))
		if k < j {
			out = append(out, sep...)
		}
	}
	L.Push(lua.LString(out))
	return 1
}

// luaSorter sorts with pdqsort as sort.Sort does: how an inconsistent order comes
// out depends on the list and the order alone.
type luaSorter struct {
	vm *luaVM
	L  *lua.LState
	a  []lua.LValue
	fn *lua.LFunction
}

func (s *luaSorter) Len() int      { return len(s.a) }
func (s *luaSorter) Swap(i, j int) { s.a[i], s.a[j] = s.a[j], s.a[i] }
func (s *luaSorter) Less(i, j int) bool {
	s.vm.meter.work(s.L, 1)
	if s.fn != nil {
		return lua.LVAsBool(s.vm.call(s.L, s.fn, s.a[i], s.a[j]))
	}
	return s.vm.less(s.L, s.a[i], s.a[j])
}

func (vm *luaVM) tableSort(L *lua.LState) int {
	t := vm.table(L, 1)
	vm.guard(L, t, 0)
	luaTrim(t)
	s := &luaSorter{vm: vm, L: L}
	if L.Get(2) != lua.LNil {
		s.fn = vm.function(L, 2)
	}
	// Sorted aside: the order function may change the table.
	vm.meter.alloc(L, 16*len(*luaArray(t)))
	s.a = append(s.a, *luaArray(t)...)
	sort.Sort(s)
	for i, v := range s.a {
		vm.setInt(L, t, i+1, v)
	}
	return 0
}

// less is a < b.
func (vm *luaVM) less(L *lua.LState, a, b lua.LValue) bool {
	switch x := a.(type) {
	case lua.LNumber:
		if y, ok := b.(lua.LNumber); ok {
			return x < y
		}
	case lua.LString:
		if y, ok := b.(lua.LString); ok {
			vm.meter.work(L, min(len(x), len(y))/luaStepBytes)
			return x < y
		}
	default:
		if h := L.GetMetaField(a, "__lt"); h.Type() == lua.LTFunction && h == L.GetMetaField(b, "__lt") {
			return lua.LVAsBool(vm.call(L, h, a, b))
		}
	}
	L.Error(lua.LString(luaCompareError(luaTypeName(a), luaTypeName(b))), 0)
	return false
}

func luaCompareError(a, b string) string {
	if a == b {
		return "attempt to compare two " + a + " values"
	}
	return "attempt to compare " + a + " with " + b
}
