package kv

import (
	"fmt"
	"strconv"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"
)

// scriptRun is one execution of a script or function for a command.
type scriptRun struct {
	c        *Ctx // the command's
	sub      Ctx  // of the commands that the script calls
	dice     rng  // math.random
	chance   rng  // random choices of commands
	name     string
	readOnly bool
	allowOOM bool
	resp3    bool
	kill     *atomic.Bool
	tape     Reply
	args     [][]byte
	buf      []byte
}

func (s *scriptRun) begin(c *Ctx, name string, readOnly bool, flags scriptFlags) {
	args, buf, tape := s.args[:0], s.buf[:0], s.tape
	*s = scriptRun{c: c, name: name, readOnly: readOnly, allowOOM: flags&scriptAllowOOM != 0, args: args, buf: buf, tape: tape}
	s.sub = Ctx{store: c.store, now: c.now, logged: c.logged, oom: c.oom, script: true, missesTo: c.missesTo, readsTo: c.readsTo}
	s.sub.selectDB(c.db)
	s.chance = rng{c.rng.next()}
	s.dice = rng{c.rng.next()}
}

// end lets go of what belongs to the command; large scratch goes with it.
func (s *scriptRun) end() {
	const keep = 64 << 10
	if cap(s.buf) > keep || cap(s.args) > 1024 || cap(s.tape.b) > keep {
		*s = scriptRun{}
		return
	}
	clear(s.args[:cap(s.args)])
	s.tape.Reset()
	*s = scriptRun{args: s.args[:0], buf: s.buf[:0], tape: s.tape}
}

// call executes the command on L's stack; its reply is on s.tape unless msg, an
// error reply, says why it was not executed.
func (s *scriptRun) call(vm *luaVM, L *lua.LState) (msg string) {
	cmd, msg := s.prepare(vm, L)
	if msg != "" {
		if chunk := s.c.caller; chunk != nil {
			chunk.refused(cmd)
			chunk.callFailed(msg)
		}
		return msg
	}
	s.watched()
	s.execute(vm, cmd)
	if vm.panic != nil {
		vm.meter.halt(luaBudget) // nothing more runs; the panic is raised outside
		L.RaiseError("internal error")
	}
	if s.sub.needTick {
		s.c.needTick = true
		vm.meter.halt(luaNeedTick)
		L.RaiseError("%s", luaStopTexts[luaNeedTick])
	}
	s.count(cmd)
	s.c.cost += s.sub.cost + opCost
	vm.meter.work(L, 4*s.sub.cost+s.tape.Len()/luaStepBytes+8)
	s.sub.cost = 0
	return ""
}

// count counts the executed command for the client's node.
func (s *scriptRun) count(cmd *Command) {
	chunk := s.c.caller
	if chunk == nil {
		return
	}
	tape := s.tape.Bytes()
	failed := tape[0] == '-'
	chunk.called(cmd, failed)
	if failed {
		chunk.callFailed(string(tape[1 : len(tape)-2]))
	}
}

// prepare finds the command on L's stack; msg says why it must not be executed.
func (s *scriptRun) prepare(vm *luaVM, L *lua.LState) (cmd *Command, msg string) {
	if L.GetTop() == 0 {
		return nil, "ERR Please specify at least one argument for this redis lib call"
	}
	if !s.takeArgs(vm, L) {
		return nil, "ERR Lua redis lib command arguments must be strings or integers"
	}
	if cmd, msg = s.resolve(); msg == "" {
		msg = s.allowed(vm, L, cmd)
	}
	return cmd, msg
}

// takeArgs copies the arguments: the strings are the script's, commands get bytes.
func (s *scriptRun) takeArgs(vm *luaVM, L *lua.LState) bool {
	n := L.GetTop()
	size := 0
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			size += len(v)
		case lua.LNumber:
			size += 32
		default:
			return false
		}
	}
	vm.meter.work(L, size/luaStepBytes+n)
	if cap(s.buf) < size {
		vm.meter.alloc(L, size)
		s.buf = make([]byte, 0, size+size/4)
	}
	s.args, s.buf = s.args[:0], s.buf[:0]
	for i := 1; i <= n; i++ {
		at := len(s.buf)
		switch v := L.Get(i).(type) {
		case lua.LString:
			s.buf = append(s.buf, v...)
		case lua.LNumber:
			if v == lua.LNumber(int64(luaInt64(float64(v)))) && v > -1e17 && v < 1e17 {
				s.buf = strconv.AppendInt(s.buf, int64(v), 10)
			} else {
				s.buf = luaAppendNumber(s.buf, float64(v), 17)
			}
		}
		s.args = append(s.args, s.buf[at:len(s.buf):len(s.buf)])
	}
	return true
}

func (s *scriptRun) resolve() (cmd *Command, msg string) {
	if cmd = Lookup(s.args[0]); cmd == nil {
		return nil, "ERR Unknown Redis command called from script"
	}
	if cmd.Sub != nil {
		if len(s.args) < 2 {
			return nil, "ERR Wrong number of args calling Redis command from script"
		}
		if cmd = cmd.Subcommand(s.args[1]); cmd == nil {
			return nil, "ERR Unknown Redis command called from script"
		}
	}
	if !cmd.ArityOK(len(s.args)) {
		return cmd, "ERR Wrong number of args calling Redis command from script"
	}
	return cmd, ""
}

// allowed says why the script may not execute the command; "" if it may.
func (s *scriptRun) allowed(vm *luaVM, L *lua.LState, cmd *Command) string {
	if s.c.user != nil {
		if d := s.c.user.Check(cmd, s.args); d.Reason != DeniedNone {
			d.InScript = true
			s.c.noteDenied(d)
			return d.scriptError()
		}
	}
	old := s.c.settings().RedisVersion < redis72
	switch {
	case cmd.Name == "debug" && s.c.settings().DebugInScripts != 0:
		return ""
	case old && (cmd.Name == "wait" || cmd.Name == "waitaof"):
		return "ERR This Redis command is not allowed from script"
	case cmd.Flags&FlagNoScript != 0, cmd.Script:
		return "ERR This Redis command is not allowed from script"
	case old && cmd.Flags&FlagBlocking != 0 && !cmd.waitsIfAsked():
		return "ERR This Redis command is not allowed from script"
	case old && cmd.waitsIfAsked() && hasBlockOption(s.args):
		return "ERR " + cmd.Name + " command is not allowed with BLOCK option from scripts"
	case cmd.IsLocal() && scriptLocals[cmd.Name] == nil:
		// What a node answers by itself differs between nodes; a script that all of
		// them run must not see it.
		return "ERR This Redis command is not allowed from script"
	case cmd.Run == nil && !cmd.IsLocal():
		return "ERR This Redis command is not allowed from script"
	case !cmd.Logged() && cmd.Flags&FlagMayReplicate == 0:
		return ""
	case s.readOnly:
		return "ERR Write commands are not allowed from read-only scripts."
	case !s.c.logged: // a read of a chunk that is logged was made an operation before
		vm.meter.halt(luaNeedsLog)
		L.RaiseError("%s", luaStopTexts[luaNeedsLog])
	case s.c.oom && cmd.Flags&FlagDenyOOM != 0 && !s.allowOOM:
		return errOOM
	case tooLong(s.args, s.c.settings().ProtoMaxBulkLen):
		return errTooLong
	}
	return ""
}

// waitsIfAsked reports whether the command waits only with the option BLOCK.
func (c *Command) waitsIfAsked() bool { return c.Name == "xread" || c.Name == "xreadgroup" }

// hasBlockOption looks for BLOCK in front of the streams of XREAD and XREADGROUP.
func hasBlockOption(args [][]byte) bool {
	for _, a := range args[1:] {
		if is(a, "streams") {
			return false
		}
		if is(a, "block") {
			return true
		}
	}
	return false
}

// watched notes the call for MONITOR.
func (s *scriptRun) watched() {
	w := s.c.caller
	if w == nil || !w.Watching || len(w.Called) >= maxWatchedCalls {
		return
	}
	args := make([][]byte, len(s.args))
	for i, a := range s.args {
		args[i] = append([]byte(nil), a[:min(len(a), 1<<10)]...)
	}
	w.Called = append(w.Called, args)
}

// maxWatchedCalls bounds what one chunk's scripts show to MONITOR.
const maxWatchedCalls = 1000

// execute runs the command. A panic in it is a bug of ours: it must reach the
// applier and not end as an error that the script catches.
func (s *scriptRun) execute(vm *luaVM, cmd *Command) {
	defer func() {
		if p := recover(); p != nil {
			vm.panic = fmt.Sprintf("%s in a script: %v", cmd.Name, p)
		}
	}()
	s.tape.Reset()
	c := &s.sub
	s.tape.digits17 = c.settings().RedisVersion < redis72
	c.Args, c.Out, c.cmd, c.marked, c.rng = s.args, &s.tape, cmd, nil, s.chance
	if cmd.IsLocal() {
		scriptLocals[cmd.Name](c)
	} else {
		if c.logged { // as in the log, where names are not
			copy(c.Args, cmd.argv0)
		}
		if c.wantsMisses() {
			c.noteMisses(cmd, c.Args)
		}
		if c.readsTo != nil && cmd.Flags&FlagReadonly != 0 {
			c.readsTo.noteReads(cmd, c.Args)
		}
		c.run(cmd)
	}
	s.chance = c.rng
}

// scriptLocals are the node-local commands that scripts may call: their answers
// follow from the entry and the script alone.
var scriptLocals map[string]func(c *Ctx)

func init() {
	scriptLocals = map[string]func(c *Ctx){
		"select": scriptSelect, "ping": scriptPing, "echo": func(c *Ctx) { c.Out.Bulk(c.Args[1]) }, "time": scriptTime,
		"debug": scriptDebug, "wait": scriptWait, "waitaof": scriptWaitAOF,
	}
}

// scriptSelect changes the database for the rest of the script only.
func scriptSelect(c *Ctx) {
	db, ok := c.intArg(1)
	if !ok {
		return
	}
	if db < 0 || db >= int64(len(c.store.dbs)) {
		c.Out.Error("ERR DB index is out of range")
		return
	}
	c.selectDB(int(db))
	c.Out.OK()
}

func scriptPing(c *Ctx) {
	switch len(c.Args) {
	case 1:
		c.Out.Status("PONG")
	case 2:
		c.Out.Bulk(c.Args[1])
	default:
		c.wrongArgs()
	}
}

// scriptWait is WAIT, which does not wait in a script and counts nobody: who has the
// entry already is not the same on every node.
func scriptWait(c *Ctx) {
	for i := 1; i <= 2; i++ {
		if _, ok := c.intArg(i); !ok {
			return
		}
	}
	c.Out.Int(0)
}

// scriptWaitAOF is WAITAOF, likewise.
func scriptWaitAOF(c *Ctx) {
	for i := 1; i <= 3; i++ {
		if _, ok := c.intArg(i); !ok {
			return
		}
	}
	c.Out.Array(2)
	c.Out.Int(0)
	c.Out.Int(0)
}

// scriptTime is TIME: the stamp, the same on every node and throughout the script.
func scriptTime(c *Ctx) {
	c.Out.Array(2)
	c.Out.BulkInt(c.now / 1000)
	c.Out.BulkInt(c.now % 1000 * 1000)
}

// reply writes the outcome of a run.
func (s *scriptRun) reply(vm *luaVM, result lua.LValue, failed *luaError) {
	out, before := s.c.Out, s.c.Out.Len()
	if vm.meter.stop == luaGoesOn && failed == nil {
		if vm.toTape(out, result, 0) {
			return
		}
		out.Truncate(before)
	}
	switch vm.meter.stop {
	case luaNeedsLog:
		s.c.needLog = true
		out.Error("ERR " + luaStopTexts[luaNeedsLog])
		return
	case luaNeedTick:
		out.Error("ERR " + luaStopTexts[luaNeedTick])
		return
	case luaBudget, luaKilled:
		if m := &vm.meter; s.c.brief > 0 && m.stop == luaBudget && m.bytes <= m.maxBytes && m.maxSteps < s.c.settings().ScriptMaxSteps {
			s.c.tooLong = true
		}
		// Its effects stay, as those of any script that fails half way do.
		out.Error("ERR " + luaStopTexts[vm.meter.stop] + " script: " + s.name)
		return
	}
	out.Error(s.errorText(vm, failed))
}

// errorText is Redis's: the message, the script and the line.
func (s *scriptRun) errorText(vm *luaVM, e *luaError) string {
	msg := ""
	switch v := e.value.(type) {
	case *lua.LTable:
		switch m := v.RawGetString("err").(type) {
		case lua.LString:
			msg = string(m)
			s.repliesError(v, msg)
		default:
			msg = "ERR unknown error"
		}
	case lua.LString, lua.LNumber:
		msg = "ERR " + string(luaAppendString(nil, v))
	default:
		msg = "ERR " + luaTypeName(v)
	}
	if e.line > 0 {
		msg += " script: " + s.name + ", on @" + e.where + ":" + strconv.Itoa(e.line) + "."
	}
	return msg
}
