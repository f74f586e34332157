package kv

import (
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

const scriptRowFlags = FlagNoScript | FlagStale | FlagSkipMonitor | FlagNoMandatoryKeys | FlagMovableKeys

// scriptCommands are EVAL and its kin. What a script does to the keys is known only
// when it ran: Command.Script says so, and Store.Logs decides where it runs.
var scriptCommands = []Command{
	{Name: "eval", Group: "scripting", Since: "2.6.0", Arity: -3, Flags: scriptRowFlags, Script: true,
		Op: 592, Run: cmdEval, Keys: scriptKeys, Summary: "Runs a Lua script."},
	{Name: "eval_ro", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: scriptRowFlags | FlagReadonly, Script: true,
		Op: 593, Run: cmdEval, Keys: scriptKeys, Summary: "Runs a Lua script that changes nothing."},
	{Name: "evalsha", Group: "scripting", Since: "2.6.0", Arity: -3, Flags: scriptRowFlags, Script: true,
		Op: 594, Run: cmdEvalSHA, Keys: scriptKeys, Summary: "Runs a cached Lua script by its SHA-1."},
	{Name: "evalsha_ro", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: scriptRowFlags | FlagReadonly, Script: true,
		Op: 595, Run: cmdEvalSHA, Keys: scriptKeys, Summary: "Runs a cached Lua script that changes nothing."},
	{Name: "script", Group: "scripting", Since: "2.6.0", Arity: -2, Sub: []*Command{
		{Name: "script|debug", Group: "scripting", Since: "3.2.0", Arity: 3, Flags: FlagNoScript, Run: cmdScriptDebug,
			Summary: "Refused: there is no script debugger."},
		{Name: "script|exists", Group: "scripting", Since: "2.6.0", Arity: -3, Flags: FlagNoScript, Run: cmdScriptExists,
			Summary: "Tells which scripts are cached."},
		{Name: "script|flush", Group: "scripting", Since: "2.6.0", Arity: -2, Flags: FlagNoScript, Op: 597, Run: cmdScriptFlush,
			Summary: "Empties the script cache."},
		{Name: "script|help", Group: "scripting", Since: "5.0.0", Arity: 2, Flags: FlagLoading | FlagStale, Run: cmdScriptHelp,
			Summary: "Returns a help text about the subcommands."},
		{Name: "script|kill", Group: "scripting", Since: "2.6.0", Arity: 2, Flags: FlagLocal | FlagNoScript | FlagAllowBusy,
			Summary: "Ends the scripts that run on this node as reads."},
		{Name: "script|load", Group: "scripting", Since: "2.6.0", Arity: 3, Flags: FlagNoScript | FlagStale, Op: 596, Run: cmdScriptLoad,
			Summary: "Puts a script into the cache."},
	}, Summary: "A container for commands about scripts."},
}

// scriptKeys finds the keys of EVAL and FCALL.
func scriptKeys(args [][]byte) (keys []int, ok bool) {
	n, isInt := parseInt(args[2])
	if !isInt || n < 0 || n > int64(len(args)-3) {
		return nil, false
	}
	for i := range int(n) {
		keys = append(keys, 3+i)
	}
	return keys, true
}

// numKeys checks the second argument.
func (c *Ctx) numKeys() (int, bool) {
	n, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		c.Out.Error(errNotInt)
	case n > int64(len(c.Args)-3):
		c.Out.Error("ERR Number of keys can't be greater than number of args")
	case n < 0:
		c.Out.Error("ERR Number of keys can't be negative")
	default:
		return int(n), true
	}
	return 0, false
}

const errNoScript = "NOSCRIPT No matching script. Please use EVAL."

// cmdEval is EVAL script numkeys [key ...] [arg ...].
func cmdEval(c *Ctx) {
	n, ok := c.numKeys()
	if !ok {
		return
	}
	s := c.store.scripts.script(c.Args[1])
	if s.msg != "" {
		c.Out.Error(s.msg)
		return
	}
	if c.logged {
		c.store.st.scripts.add(s.sha, string(c.Args[1]), false)
	} else if _, known := c.store.st.scripts.bySHA[s.sha]; !known && c.mayLog {
		// The first EVAL puts the script into everybody's cache: the command goes through
		// the log, but not before the script has shown here that it comes to an end.
		if stop := c.runScript(s, n); stop != luaBudget && stop != luaKilled && stop != luaNeedTick {
			c.needLog = true
		}
		return
	}
	c.runScript(s, n)
}

// cmdEvalSHA is EVALSHA sha1 numkeys [key ...] [arg ...].
func cmdEvalSHA(c *Ctx) {
	if len(c.Args[1]) != 40 {
		c.Out.Error(errNoScript)
		return
	}
	n, ok := c.numKeys()
	if !ok {
		return
	}
	body, ok := c.store.st.scripts.get(c.Args[1])
	if !ok {
		c.Out.Error(errNoScript)
		return
	}
	s := c.store.scripts.script([]byte(body))
	if s.msg != "" {
		c.Out.Error(s.msg)
		return
	}
	c.runScript(s, n)
}

// runScript reports how the run was stopped, if it was.
func (c *Ctx) runScript(s *script, numKeys int) luaStop {
	readOnly := c.cmd.Flags&FlagReadonly != 0
	switch {
	case readOnly && s.shebang && s.flags&scriptNoWrites == 0:
		c.Out.Error("ERR Can not execute a script with write flag using *_ro command.")
		return luaGoesOn
	case c.oom && s.shebang && s.flags&(scriptAllowOOM|scriptNoWrites) == 0:
		c.Out.Error("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'")
		return luaGoesOn
	}
	e := &c.store.scripts
	w, kill := e.take(c, "")
	vm, run := w.vm, &w.run
	flags := s.flags
	if s.shebang {
		flags |= scriptAllowOOM // asked above, for the script as a whole
	}
	run.begin(c, s.sha, readOnly || s.flags&scriptNoWrites != 0, flags)
	run.kill = kill
	vm.begin(run, c.scriptSteps(), c.settings().ScriptMaxMemory)
	vm.globals.RawSetString("KEYS", vm.stringTable(c.Args[3:3+numKeys]))
	vm.globals.RawSetString("ARGV", vm.stringTable(c.Args[3+numKeys:]))
	result, failed := vm.execute(s.program, vm.load(s.program))
	run.reply(vm, result, failed)
	if c.needLog {
		s.writes.Store(true)
	}
	stop := vm.meter.stop
	c.spent(vm.meter.steps)
	e.give(w, kill)
	return stop
}

// scriptSteps is the present script's budget. Outside the log only this node spends
// it, and SCRIPT KILL ends the script.
func (c *Ctx) scriptSteps() int64 {
	steps := c.settings().ScriptMaxSteps
	switch {
	case c.logged:
		return steps
	case c.brief > 0:
		return min(c.brief, steps)
	}
	return min(steps, math.MaxInt64/readSteps) * readSteps
}

// readSteps is how many times the budget of a script of the log one outside may spend.
const readSteps = 10

// spent notes what the script took: eight steps are about a unit of cost.
func (c *Ctx) spent(steps int64) {
	if c.brief > 0 {
		c.brief = max(1, c.brief-steps)
	}
	c.work(int(steps / 8))
}

// stringTable is KEYS or ARGV.
func (vm *luaVM) stringTable(args [][]byte) *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	a := make([]lua.LValue, len(args))
	for i, arg := range args {
		a[i] = lua.LString(arg)
		if len(arg) >= luaLongString {
			vm.meter.long = true
		}
		vm.meter.bytes += int64(len(arg)) + luaElemBytes
	}
	*luaArray(t) = a
	return t
}

// cmdScriptLoad is SCRIPT LOAD script.
func cmdScriptLoad(c *Ctx) {
	s := c.store.scripts.script(c.Args[2])
	switch {
	case s.msg != "":
		c.Out.Error(s.msg)
	case !c.store.st.scripts.add(s.sha, string(c.Args[2]), true):
		c.Out.Error("OOM the script cache is full (" + strconv.Itoa(maxScriptBytes) + " bytes): use SCRIPT FLUSH")
	default:
		c.Out.BulkString(s.sha)
	}
}

// cmdScriptExists is SCRIPT EXISTS sha1 [sha1 ...].
func cmdScriptExists(c *Ctx) {
	c.Out.Array(len(c.Args) - 2)
	for _, sha := range c.Args[2:] {
		_, ok := c.store.st.scripts.get(sha)
		c.Out.Bool(ok)
	}
}

// cmdScriptFlush is SCRIPT FLUSH [ASYNC|SYNC].
func cmdScriptFlush(c *Ctx) {
	if len(c.Args) > 3 || len(c.Args) == 3 && !is(c.Args[2], "sync") && !is(c.Args[2], "async") {
		c.Out.Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
		return
	}
	c.store.st.scripts = newScriptTable(nil)
	c.store.scripts.flush()
	c.Out.OK()
}

// cmdScriptDebug is SCRIPT DEBUG YES|SYNC|NO.
func cmdScriptDebug(c *Ctx) {
	switch {
	case is(c.Args[2], "no"):
		c.Out.OK()
	case is(c.Args[2], "yes"), is(c.Args[2], "sync"):
		c.Out.Error("ERR the script debugger is not supported: a script of the log cannot wait for a person")
	default:
		c.Out.Error("ERR Use SCRIPT DEBUG YES/SYNC/NO")
	}
}

func cmdScriptHelp(c *Ctx) {
	c.help(
		"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"DEBUG (YES|SYNC|NO)",
		"    Set the debug mode for subsequent scripts executed.",
		"EXISTS <sha1> [<sha1> ...]",
		"    Return information about the existence of the scripts in the script cache.",
		"FLUSH [ASYNC|SYNC]",
		"    Flush the Lua scripts cache. Very dangerous on replicas.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the scripts cache.",
		"    * SYNC: Synchronously flush the scripts cache.",
		"KILL",
		"    Kill the currently executing Lua script.",
		"LOAD <script>",
		"    Load a script into the scripts cache without executing it.",
		"HELP",
		"    Prints this help.",
	)
}

// Logs reports whether the command has to go through the log. A script does so at once
// when it was seen to write. All others run as reads, and come back if they want to
// write, or if their body is not in the replicated cache yet (Chunk.WantsLog).
func (s *Store) Logs(cmd *Command, args [][]byte) bool {
	if !cmd.Script {
		return cmd.Logged()
	}
	if !cmd.ArityOK(len(args)) {
		return false
	}
	if s.scripts.long.Load() == 0 {
		s.mu.RLock()
	} else if !s.mu.TryRLock() {
		return false // the read finds out
	}
	defer s.mu.RUnlock()
	switch cmd.Op {
	case 592, 593:
		sc := s.scripts.script(args[1])
		if sc.msg != "" {
			return false
		}
		return sc.writes.Load()
	case 594, 595:
		body, ok := s.st.scripts.get(args[1])
		return ok && s.scripts.script([]byte(body)).writes.Load()
	}
	f := s.st.functions.find(args[1])
	return f != nil && f.writes.Load()
}

// MayWrite reports whether a script or function may write, as far as it declares: one
// with no-writes does not, nor one that is called by a read-only command. A script that
// is not known may do anything.
func (s *Store) MayWrite(cmd *Command, args [][]byte) bool {
	if cmd.Flags&FlagReadonly != 0 || !cmd.ArityOK(len(args)) {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch cmd.Op {
	case 592, 593:
		return s.scripts.script(args[1]).flags&scriptNoWrites == 0
	case 594, 595:
		body, ok := s.st.scripts.get(args[1])
		return !ok || s.scripts.script([]byte(body)).flags&scriptNoWrites == 0
	}
	f := s.st.functions.find(args[1])
	return f == nil || f.flags&scriptNoWrites == 0
}
