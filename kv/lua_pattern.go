package kv

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaMatcher matches one Lua pattern. Each comparison is a step of the meter, so a
// pattern that backtracks for ever ends as any other loop does.
type luaMatcher struct {
	vm       *luaVM
	L        *lua.LState
	src, pat string
	depth    int
	captures []luaCapture
}

type luaCapture struct{ start, len int }

const (
	luaCapOpen     = -1
	luaCapPosition = -2
	luaMaxCaptures = 32
	luaMaxMatch    = 200 // nested calls of match
)

func (m *luaMatcher) step() {
	meter := &m.vm.meter
	if meter.steps++; meter.steps >= meter.poll {
		meter.work(m.L, 0)
	}
}

// match matches pat[p:] at src[s:] and returns the end of the match, or -1.
func (m *luaMatcher) match(s, p int) int {
	if m.depth++; m.depth > luaMaxMatch {
		m.L.RaiseError("pattern too complex")
	}
	defer func() { m.depth-- }()
	for {
		m.step()
		if p == len(m.pat) {
			return s
		}
		switch c := m.pat[p]; {
		case c == '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.capture(s, p+2, luaCapPosition)
			}
			return m.capture(s, p+1, luaCapOpen)
		case c == ')':
			return m.endCapture(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'b':
			if s = m.balance(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'f':
			p += 2
			if p >= len(m.pat) || m.pat[p] != '[' {
				m.L.RaiseError("%s", "missing '[' after '%f' in pattern")
			}
			end := m.classEnd(p)
			before, at := byte(0), byte(0)
			if s > 0 {
				before = m.src[s-1]
			}
			if s < len(m.src) {
				at = m.src[s]
			}
			if m.inSet(before, p, end-1) || !m.inSet(at, p, end-1) {
				return -1
			}
			p = end
			continue
		case c == '%' && p+1 < len(m.pat) && luaIsDigit(m.pat[p+1]):
			if s = m.back(s, m.pat[p+1]); s < 0 {
				return -1
			}
			p += 2
			continue
		}
		end := m.classEnd(p)
		suffix := byte(0)
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '*':
			return m.expandMost(s, p, end)
		case '+':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				return m.expandMost(s+1, p, end)
			}
			return -1
		case '-':
			return m.expandLeast(s, p, end)
		default:
			if s >= len(m.src) || !m.single(m.src[s], p, end) {
				return -1
			}
			s, p = s+1, end
		}
	}
}

func (m *luaMatcher) expandMost(s, p, end int) int {
	n := 0
	for s+n < len(m.src) && m.single(m.src[s+n], p, end) {
		m.step()
		n++
	}
	for ; n >= 0; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

func (m *luaMatcher) expandLeast(s, p, end int) int {
	for {
		m.step()
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if s >= len(m.src) || !m.single(m.src[s], p, end) {
			return -1
		}
		s++
	}
}

func (m *luaMatcher) capture(s, p, what int) int {
	if len(m.captures) >= luaMaxCaptures {
		m.L.RaiseError("too many captures")
	}
	m.captures = append(m.captures, luaCapture{s, what})
	n := len(m.captures)
	r := m.match(s, p)
	if r < 0 {
		m.captures = m.captures[:n-1]
	}
	return r
}

func (m *luaMatcher) endCapture(s, p int) int {
	at := -1
	for i := len(m.captures) - 1; i >= 0; i-- {
		if m.captures[i].len == luaCapOpen {
			at = i
			break
		}
	}
	if at < 0 {
		m.L.RaiseError("invalid pattern capture")
	}
	m.captures[at].len = s - m.captures[at].start
	r := m.match(s, p)
	if r < 0 {
		m.captures[at].len = luaCapOpen
	}
	return r
}

func (m *luaMatcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.L.RaiseError("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, closing, depth := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		m.step()
		switch m.src[i] {
		case closing:
			if depth--; depth == 0 {
				return i + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

func (m *luaMatcher) back(s int, digit byte) int {
	n := int(digit - '1')
	if n < 0 || n >= len(m.captures) || m.captures[n].len == luaCapOpen {
		m.L.RaiseError("invalid capture index")
	}
	c := m.captures[n]
	text := ""
	if c.len >= 0 {
		text = m.src[c.start : c.start+c.len]
	}
	m.vm.meter.work(m.L, len(text)/8)
	if strings.HasPrefix(m.src[s:], text) {
		return s + len(text)
	}
	return -1
}

// classEnd is where the class at p ends.
func (m *luaMatcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.L.RaiseError("%s", "malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			if p >= len(m.pat) {
				m.L.RaiseError("malformed pattern (missing ']')")
			}
			m.step()
			c := m.pat[p]
			p++
			if c == '%' && p < len(m.pat) {
				p++
			} else if c == ']' && !first {
				return p
			}
		}
	}
	return p
}

func (m *luaMatcher) single(c byte, p, end int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return luaClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.pat[p] == c
}

// inSet matches the set pat[p..last], last being its closing bracket.
func (m *luaMatcher) inSet(c byte, p, last int) bool {
	m.vm.meter.steps += int64(last-p) / 8
	found := true
	p++
	if m.pat[p] == '^' {
		found = false
		p++
	}
	for ; p < last; p++ {
		switch {
		case m.pat[p] == '%':
			p++
			if luaClass(c, m.pat[p]) {
				return found
			}
		case p+2 < last && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return found
			}
			p += 2
		case m.pat[p] == c:
			return found
		}
	}
	return !found
}

func luaClass(c, class byte) bool {
	lower := 'a' <= c && c <= 'z'
	upper := 'A' <= c && c <= 'Z'
	digit := luaIsDigit(c)
	var in bool
	switch class | 0x20 {
	case 'a':
		in = lower || upper
	case 'c':
		in = c < 32 || c == 127
	case 'd':
		in = digit
	case 'l':
		in = lower
	case 'p':
		in = c > 32 && c < 127 && !lower && !upper && !digit
	case 's':
		in = c == ' ' || 9 <= c && c <= 13
	case 'u':
		in = upper
	case 'w':
		in = lower || upper || digit
	case 'x':
		in = digit || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if class&0x20 == 0 { // upper case: the complement
		return !in && class >= 'A' && class <= 'Z' || class < 'A' && class == c
	}
	return in
}

// value is capture i of a match src[s:e]; the whole match if there are no captures.
func (m *luaMatcher) value(i, s, e int) lua.LValue {
	if i >= len(m.captures) {
		if i != 0 {
			m.L.RaiseError("invalid capture index")
		}
		m.vm.meter.alloc(m.L, 32)
		return lua.LString(m.src[s:e])
	}
	c := m.captures[i]
	switch c.len {
	case luaCapPosition:
		return lua.LNumber(c.start + 1)
	case luaCapOpen:
		m.L.RaiseError("unfinished capture")
	}
	m.vm.meter.alloc(m.L, 32)
	return lua.LString(m.src[c.start : c.start+c.len])
}

// push pushes all captures, or the whole match if whole is set and there are none.
func (m *luaMatcher) push(s, e int, whole bool) int {
	n := len(m.captures)
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.L.Push(m.value(i, s, e))
	}
	return n
}

func (vm *luaVM) strFind(L *lua.LState) int  { return vm.search(L, true) }
func (vm *luaVM) strMatch(L *lua.LState) int { return vm.search(L, false) }

func (vm *luaVM) search(L *lua.LState, find bool) int {
	s, pat := vm.str(L, 1), vm.str(L, 2)
	init := vm.optInteger(L, 3, 1)
	if init < 0 {
		init = max(len(s)+init+1, 1)
	} else if init == 0 {
		init = 1
	}
	if init > len(s)+1 {
		if find {
			init = len(s) + 1
		} else {
			init = len(s) + 1
		}
	}
	init--
	if find && (lua.LVAsBool(L.Get(4)) || !strings.ContainsAny(pat, "^$*+?.([%-")) {
		vm.meter.work(L, (len(s)-init)/16+len(pat)/16)
		if at := strings.Index(s[init:], pat); at >= 0 {
			L.Push(lua.LNumber(init + at + 1))
			L.Push(lua.LNumber(init + at + len(pat)))
			return 2
		}
		L.Push(lua.LNil)
		return 1
	}
	m := luaMatcher{vm: vm, L: L, src: s, pat: pat}
	p := 0
	anchor := pat != "" && pat[0] == '^'
	if anchor {
		p = 1
	}
	for at := init; ; at++ {
		m.captures = m.captures[:0]
		if e := m.match(at, p); e >= 0 {
			if find {
				L.Push(lua.LNumber(at + 1))
				L.Push(lua.LNumber(e))
				return m.push(at, e, false) + 2
			}
			return m.push(at, e, true)
		}
		if anchor || at >= len(s) {
			break
		}
	}
	L.Push(lua.LNil)
	return 1
}

func (vm *luaVM) strGmatch(L *lua.LState) int {
	s, pat := vm.str(L, 1), vm.str(L, 2)
	vm.meter.alloc(L, luaFuncBytes)
	at := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		m := luaMatcher{vm: vm, L: L, src: s, pat: pat}
		for ; at <= len(s); at++ {
			m.captures = m.captures[:0]
			if e := m.match(at, 0); e >= 0 {
				from := at
				at = e
				if e == from {
					at++
				}
				return m.push(from, e, true)
			}
		}
		return 0
	}))
	return 1
}

func (vm *luaVM) strGsub(L *lua.LState) int {
	s, pat := vm.str(L, 1), vm.str(L, 2)
	repl := L.Get(3)
	switch repl.Type() {
	case lua.LTNumber, lua.LTString, lua.LTTable, lua.LTFunction:
	default:
		vm.argError(L, 3, "string/function/table expected")
	}
	limit := vm.optInteger(L, 4, len(s)+1)
	p := 0
	anchor := pat != "" && pat[0] == '^'
	if anchor {
		p = 1
	}
	m := luaMatcher{vm: vm, L: L, src: s, pat: pat}
	var out []byte
	charged := 0
	at, n := 0, 0
	for n < limit {
		m.captures = m.captures[:0]
		e := m.match(at, p)
		if e >= 0 {
			n++
			out = m.replace(out, repl, at, e)
		}
		switch {
		case e > at:
			at = e
		case at < len(s):
			out = append(out, s[at])
			at++
		default:
			at++
		}
		vm.meter.alloc(L, len(out)-charged)
		charged = len(out)
		if at > len(s) || anchor {
			break
		}
	}
	if at < len(s) {
		vm.meter.alloc(L, len(s)-at)
		out = append(out, s[at:]...)
	}
	vm.meter.str(L, len(out))
	L.Push(lua.LString(out))
	L.Push(lua.LNumber(n))
	return 2
}

// replace appends what takes the place of the match src[s:e].
func (m *luaMatcher) replace(out []byte, repl lua.LValue, s, e int) []byte {
	var v lua.LValue
	switch repl := repl.(type) {
	case *lua.LTable:
		v = m.L.GetTable(repl, m.value(0, s, e))
	case *lua.LFunction:
		m.L.Push(repl)
		n := m.push(s, e, true)
		m.L.Call(n, 1)
		v = m.L.Get(-1)
		m.L.Pop(1)
	default:
		return m.expand(out, string(luaAppendString(nil, repl)), s, e)
	}
	switch v := v.(type) {
	case lua.LString, lua.LNumber:
		m.vm.meter.alloc(m.L, len(luaStringOf(v)))
		return luaAppendString(out, v)
	case lua.LBool:
		if !v {
			return append(out, m.src[s:e]...)
		}
	case *lua.LNilType:
		return append(out, m.src[s:e]...)
	}
	m.L.RaiseError("invalid replacement value (a %s)", luaTypeName(v))
	return out
}

func (m *luaMatcher) expand(out []byte, repl string, s, e int) []byte {
	m.vm.meter.work(m.L, len(repl)/8)
	for i := 0; i < len(repl); i++ {
		if repl[i] != '%' {
			out = append(out, repl[i])
			continue
		}
		i++
		switch {
		case i >= len(repl):
			return append(out, 0) // PUC Lua copies the string's terminator here
		case repl[i] == '0':
			m.vm.meter.alloc(m.L, e-s)
			out = append(out, m.src[s:e]...)
		case luaIsDigit(repl[i]):
			v := m.value(int(repl[i]-'1'), s, e)
			m.vm.meter.alloc(m.L, len(luaStringOf(v)))
			out = luaAppendString(out, v)
		default:
			out = append(out, repl[i])
		}
	}
	return out
}
