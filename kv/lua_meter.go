package kv

import (
	"errors"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// luaMeter bounds one run of a script, by what the program does and never by a
// clock: each instruction of the interpreter is a step, our own functions add steps
// for the work they do, and everything a script builds is charged in bytes before
// it is built. The same program in the same state is charged the same on every node.
//
// It is the interpreter's context: gopher-lua asks Done once before each
// instruction, also in coroutines and after a pcall, so a script cannot outrun it
// or catch its verdict.
type luaMeter struct {
	steps, maxSteps int64
	bytes, maxBytes int64
	// poll is the step at which Done looks closer: the limit, the next look at
	// kill, or 0 once the script was stopped.
	poll int64
	kill *atomic.Bool // SCRIPT KILL; only for scripts outside the log
	stop luaStop
	// long is set once a string, a name or an argument list is so long that an
	// instruction over it costs more than a step; then operands are looked at.
	long bool
	vm   *luaVM
}

// luaStop says why a script has to end. A stopped script cannot go on: whatever
// catches the error, the next instruction raises it again.
type luaStop uint8

const (
	luaGoesOn   luaStop = iota
	luaBudget           // it spent its steps or its bytes
	luaKilled           // SCRIPT KILL
	luaNeedsLog         // a script that runs as a read wants to write
	luaNeedTick         // it met a key that is due but not stamped
)

var luaStopTexts = [...]string{
	luaBudget:   "script exceeded its budget of instructions or memory",
	luaKilled:   "Script killed by user with SCRIPT KILL...",
	luaNeedsLog: "script has to go through the log",
	luaNeedTick: "script has to wait for the stamp",
}

// The prices. A value in a table is charged well above its 16 bytes: tables grow by
// doubling, and what they were copied from is garbage for a while.
const (
	luaPollSteps  = 1 << 12
	luaTableBytes = 256
	luaElemBytes  = 64
	luaKeyBytes   = 160
	luaFuncBytes  = 256
	luaCoroBytes  = 64 << 10
	luaLongString = 256 // from here on instructions over strings are charged by length
	luaStepBytes  = 32  // a step is about the time in which so many bytes are moved
)

var luaStopped = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (m *luaMeter) begin(steps, bytes int64, kill *atomic.Bool) {
	*m = luaMeter{maxSteps: steps, maxBytes: bytes, kill: kill, vm: m.vm}
	m.poll = min(luaPollSteps, steps)
}

// Done implements context.Context: one step.
func (m *luaMeter) Done() <-chan struct{} {
	m.steps++
	if m.long {
		m.steps += m.operands()
	}
	if m.steps >= m.poll && m.exhausted() {
		return luaStopped
	}
	return nil
}

func (m *luaMeter) exhausted() bool {
	switch {
	case m.stop != luaGoesOn:
		return true
	case m.steps >= m.maxSteps:
		m.halt(luaBudget)
		return true
	case m.kill != nil && m.kill.Load():
		m.halt(luaKilled)
		return true
	}
	m.poll = min(m.steps+luaPollSteps, m.maxSteps)
	return false
}

func (m *luaMeter) halt(why luaStop) {
	if m.stop == luaGoesOn {
		m.stop = why
	}
	m.poll = 0
}

// Err, Deadline and Value implement context.Context.
func (m *luaMeter) Err() error {
	if m.stop == luaGoesOn {
		return nil
	}
	return errors.New(luaStopTexts[m.stop])
}
func (m *luaMeter) Deadline() (t time.Time, ok bool) { return t, false }
func (m *luaMeter) Value(any) any                    { return nil }

// work charges n steps, before or while they are done.
func (m *luaMeter) work(L *lua.LState, n int) {
	m.steps += int64(n)
	if m.steps >= m.poll && m.exhausted() {
		L.RaiseError("%s", luaStopTexts[m.stop])
	}
}

// alloc charges n bytes before they are made, and the time to fill them.
func (m *luaMeter) alloc(L *lua.LState, n int) {
	m.bytes += int64(n)
	if n < 0 || m.bytes > m.maxBytes {
		m.bytes = m.maxBytes + 1
		m.halt(luaBudget)
	}
	m.work(L, n/luaStepBytes)
}

// str charges a new string of n bytes.
func (m *luaMeter) str(L *lua.LState, n int) {
	m.alloc(L, n+32)
	if n >= luaLongString {
		m.long = true
	}
}

// wide notes an argument list of n values.
func (m *luaMeter) wide(L *lua.LState, n int) {
	if n > 64 {
		m.long = true
	}
	m.work(L, n)
}

// The instruction at hand is found through fields that gopher-lua does not export.
// Their places are looked up by name when the program starts, so another version of
// the library fails there and not in a script.
var luaAt = struct{ frame, reg, fn, pc, base, nargs, idx, regArray, regTop uintptr }{
	frame: luaField(reflect.TypeFor[lua.LState](), "currentFrame"),
	reg:   luaField(reflect.TypeFor[lua.LState](), "reg"),
	fn:    luaField(luaFrameType, "Fn"), pc: luaField(luaFrameType, "Pc"),
	base: luaField(luaFrameType, "LocalBase"), nargs: luaField(luaFrameType, "NArgs"), idx: luaField(luaFrameType, "Idx"),
	regArray: luaField(luaRegistryType, "array"), regTop: luaField(luaRegistryType, "top"),
}

var (
	luaFrameType    = luaFieldType(reflect.TypeFor[lua.LState](), "currentFrame").Elem()
	luaRegistryType = luaFieldType(reflect.TypeFor[lua.LState](), "reg").Elem()
)

func luaFieldType(t reflect.Type, name string) reflect.Type {
	f, ok := t.FieldByName(name)
	if !ok {
		panic("kv: gopher-lua has no field " + t.Name() + "." + name)
	}
	return f.Type
}

func luaField(t reflect.Type, name string) uintptr {
	luaFieldType(t, name)
	f, _ := t.FieldByName(name)
	return f.Offset
}

// operands is what the instruction at hand costs beyond a step.
func (m *luaMeter) operands() int64 {
	L := m.vm.L.G.CurrentThread
	if L == nil {
		return 0
	}
	frame := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(L), luaAt.frame))
	reg := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(L), luaAt.reg))
	if frame == nil || reg == nil {
		return 0
	}
	fn := *(**lua.LFunction)(unsafe.Add(frame, luaAt.fn))
	pc := *(*int)(unsafe.Add(frame, luaAt.pc))
	if fn == nil || fn.Proto == nil || pc < 1 || pc > len(fn.Proto.Code) {
		return 0
	}
	base := *(*int)(unsafe.Add(frame, luaAt.base))
	array := *(*[]lua.LValue)(unsafe.Add(reg, luaAt.regArray))
	value := func(i int) lua.LValue {
		if i&256 != 0 {
			if i &= 255; i < len(fn.Proto.Constants) {
				return fn.Proto.Constants[i]
			}
		} else if base+i < len(array) {
			return array[base+i]
		}
		return nil
	}
	length := func(i int) int64 {
		s, _ := value(i).(lua.LString)
		return int64(len(s))
	}
	inst := fn.Proto.Code[pc-1]
	a, b, c := int(inst>>18)&0xff, int(inst&0x1ff), int(inst>>9)&0x1ff
	switch int(inst >> 26) {
	case lua.OP_EQ, lua.OP_LT, lua.OP_LE:
		return min(length(b), length(c)) / luaStepBytes
	case lua.OP_GETTABLE, lua.OP_GETTABLEKS, lua.OP_SELF:
		return length(c) / luaStepBytes
	case lua.OP_SETTABLE, lua.OP_SETTABLEKS:
		return length(b) / luaStepBytes
	case lua.OP_GETGLOBAL, lua.OP_SETGLOBAL:
		if i := int(inst & 0x3ffff); i < len(fn.Proto.Constants) {
			s, _ := fn.Proto.Constants[i].(lua.LString)
			return int64(len(s)) / luaStepBytes
		}
	case lua.OP_VARARG:
		return int64(*(*int)(unsafe.Add(frame, luaAt.nargs))) / 4
	case lua.OP_CLOSURE:
		return luaDepthSteps(frame)
	case lua.OP_CALL, lua.OP_TAILCALL, lua.OP_RETURN, lua.OP_SETLIST:
		n := int64(0)
		if b == 0 {
			n = int64(max(0, *(*int)(unsafe.Add(reg, luaAt.regTop))-base-a)) / 4
		}
		if op := int(inst >> 26); op == lua.OP_RETURN || op == lua.OP_TAILCALL {
			n += luaDepthSteps(frame)
		}
		return n
	}
	return 0
}

// luaDepthSteps is what the list of captured variables costs, which gopher-lua walks
// with each closure and each return: at most one of each frame is charged for.
func luaDepthSteps(frame unsafe.Pointer) int64 {
	return int64(*(*int)(unsafe.Add(frame, luaAt.idx))) / 16
}

// deep turns on the charge by depth, in a program that captures variables.
func (m *luaMeter) deep(L *lua.LState) {
	frame := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(L), luaAt.frame))
	if frame != nil && *(*int)(unsafe.Add(frame, luaAt.idx)) > 32 {
		m.long = true
	}
}
