package kv

import (
	"encoding/binary"

	lua "github.com/yuin/gopher-lua"
)

// functionCommands are FCALL and the commands about libraries.
var functionCommands = []Command{
	{Name: "fcall", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: scriptRowFlags, Script: true,
		Op: 598, Run: cmdFCall, Keys: scriptKeys, Summary: "Calls a function."},
	{Name: "fcall_ro", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: scriptRowFlags | FlagReadonly, Script: true,
		Op: 599, Run: cmdFCall, Keys: scriptKeys, Summary: "Calls a function that changes nothing."},
	{Name: "function", Group: "scripting", Since: "7.0.0", Arity: -2, Sub: []*Command{
		{Name: "function|delete", Group: "scripting", Since: "7.0.0", Arity: 3, Flags: FlagWrite | FlagNoScript, Op: 600, Run: cmdFunctionDelete,
			Summary: "Deletes a library."},
		{Name: "function|dump", Group: "scripting", Since: "7.0.0", Arity: 2, Flags: FlagNoScript, Run: cmdFunctionDump,
			Summary: "Returns all libraries in serialized form."},
		{Name: "function|flush", Group: "scripting", Since: "7.0.0", Arity: -2, Flags: FlagWrite | FlagNoScript, Op: 601, Run: cmdFunctionFlush,
			Summary: "Deletes all libraries."},
		{Name: "function|help", Group: "scripting", Since: "7.0.0", Arity: 2, Flags: FlagLoading | FlagStale, Run: cmdFunctionHelp,
			Summary: "Returns a help text about the subcommands."},
		{Name: "function|kill", Group: "scripting", Since: "7.0.0", Arity: 2, Flags: FlagLocal | FlagNoScript | FlagAllowBusy,
			Summary: "Ends the functions that run on this node as reads."},
		{Name: "function|list", Group: "scripting", Since: "7.0.0", Arity: -2, Flags: FlagNoScript, Run: cmdFunctionList,
			Summary: "Returns facts about the libraries."},
		{Name: "function|load", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagNoScript, Op: 602, Run: cmdFunctionLoad,
			Summary: "Adds a library of functions, or replaces it."},
		{Name: "function|restore", Group: "scripting", Since: "7.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagNoScript, Op: 603, Run: cmdFunctionRestore,
			Summary: "Restores libraries from a dump."},
		{Name: "function|stats", Group: "scripting", Since: "7.0.0", Arity: 2, Flags: FlagNoScript | FlagAllowBusy, Run: cmdFunctionStats,
			Summary: "Returns how many libraries and functions there are."},
	}, Summary: "A container for commands about functions."},
}

// cmdFCall is FCALL function numkeys [key ...] [arg ...]. The library's code runs
// anew for each call: what its functions keep in its variables would otherwise live
// as long as a node, and nodes start at different times.
func cmdFCall(c *Ctx) {
	f := c.store.st.functions.find(c.Args[1])
	if f == nil {
		c.Out.Error("ERR Function not found")
		return
	}
	n, isInt := parseInt(c.Args[2])
	switch {
	case !isInt:
		c.Out.Error("ERR Bad number of keys provided")
		return
	case n > int64(len(c.Args)-3):
		c.Out.Error("ERR Number of keys can't be greater than number of args")
		return
	case n < 0:
		c.Out.Error("ERR Number of keys can't be negative")
		return
	}
	readOnly := c.cmd.Flags&FlagReadonly != 0
	switch {
	case readOnly && f.flags&scriptNoWrites == 0:
		c.Out.Error("ERR Can not execute a script with write flag using *_ro command.")
		return
	case c.oom && f.flags&(scriptAllowOOM|scriptNoWrites) == 0:
		c.Out.Error("OOM allow-oom flag is not set on the function, can not run it when used memory > 'maxmemory'")
		return
	}
	c.callFunction(f, int(n), readOnly || f.flags&scriptNoWrites != 0)
}

func (c *Ctx) callFunction(f *function, numKeys int, readOnly bool) {
	e := &c.store.scripts
	w, kill := e.take(c, f.name)
	vm, run := w.vm, &w.run
	run.begin(c, f.name, readOnly, f.flags|scriptAllowOOM)
	run.kill = kill
	vm.begin(run, c.scriptSteps(), c.settings().ScriptMaxMemory)
	callbacks, failed := vm.register1(f.lib)
	var result lua.LValue = lua.LNil
	if callback := callbacks[f.name]; failed == nil && callback != nil {
		result, failed = vm.execute(f.lib.program, callback,
			vm.stringTable(c.Args[3:3+numKeys]), vm.stringTable(c.Args[3+numKeys:]))
	}
	run.reply(vm, result, failed)
	if c.needLog {
		f.writes.Store(true)
	}
	c.spent(vm.meter.steps)
	e.give(w, kill)
}

// cmdFunctionLoad is FUNCTION LOAD [REPLACE] code.
func cmdFunctionLoad(c *Ctx) {
	replace := false
	for _, a := range c.Args[2 : len(c.Args)-1] {
		if !is(a, "replace") {
			c.Out.Error("ERR Unknown option given: " + clip(a, 128))
			return
		}
		replace = true
	}
	code := string(c.Args[len(c.Args)-1])
	name, _, msg := parseLibrary(code)
	if msg == "" && !replace && c.store.st.functions.library(name) != nil {
		msg = "ERR Library '" + name + "' already exists"
	}
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	libs, msg := c.loadLibraries([]string{code})
	if msg == "" {
		msg = c.store.st.functions.add(libs, replace)
	}
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	c.Out.BulkString(name)
}

func (c *Ctx) loadLibraries(codes []string) (libs []*functionLibrary, msg string) {
	for _, code := range codes {
		e := &c.store.scripts
		w, kill := e.take(c, "FUNCTION LOAD")
		lib, msg := w.vm.loadLibrary(code)
		c.work(int(w.vm.meter.steps / 8))
		e.give(w, kill)
		if msg != "" {
			return nil, msg
		}
		libs = append(libs, lib)
	}
	return libs, ""
}

// cmdFunctionDelete is FUNCTION DELETE library.
func cmdFunctionDelete(c *Ctx) {
	if !c.store.st.functions.remove(string(c.Args[2])) {
		c.Out.Error("ERR Library not found")
		return
	}
	c.Out.OK()
}

// cmdFunctionFlush is FUNCTION FLUSH [ASYNC|SYNC].
func cmdFunctionFlush(c *Ctx) {
	if len(c.Args) > 3 {
		c.Out.Error("ERR unknown subcommand or wrong number of arguments for 'flush'. Try FUNCTION HELP.")
		return
	}
	if len(c.Args) == 3 && !is(c.Args[2], "sync") && !is(c.Args[2], "async") {
		c.Out.Error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
		return
	}
	if len(c.Args) == 3 && is(c.Args[2], "async") { // Redis frees them and their engine later
		c.store.lazyFreed.Add(uint64(len(c.store.st.functions.byName)) + 1)
	}
	c.store.st.functions = functionTable{}
	c.Out.OK()
}

// cmdFunctionList is FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE].
func cmdFunctionList(c *Ctx) {
	var pattern []byte
	withCode := false
	for i := 2; i < len(c.Args); i++ {
		switch {
		case is(c.Args[i], "withcode") && !withCode:
			withCode = true
		case is(c.Args[i], "libraryname") && pattern == nil:
			if i++; i == len(c.Args) {
				c.Out.Error("ERR library name argument was not given")
				return
			}
			pattern = c.Args[i]
		default:
			c.Out.Error("ERR Unknown argument " + clip(c.Args[i], 128))
			return
		}
	}
	var libs []*functionLibrary
	for _, lib := range c.store.st.functions.libs {
		if pattern == nil || matchGlob(pattern, []byte(lib.name)) {
			libs = append(libs, lib)
		}
	}
	c.Out.Array(len(libs))
	for _, lib := range libs {
		lib.describe(c.Out, withCode)
	}
}

func (lib *functionLibrary) describe(out *Reply, withCode bool) {
	fields := 3
	if withCode {
		fields++
	}
	out.Map(fields)
	out.BulkString("library_name")
	out.BulkString(lib.name)
	out.BulkString("engine")
	out.BulkString("LUA")
	out.BulkString("functions")
	out.Array(len(lib.functions))
	for _, f := range lib.functions {
		out.Map(3)
		out.BulkString("name")
		out.BulkString(f.name)
		out.BulkString("description")
		if f.described {
			out.BulkString(f.description)
		} else {
			out.Null()
		}
		out.BulkString("flags")
		var names []string
		for _, n := range scriptFlagNames {
			if f.flags&n.flag != 0 {
				names = append(names, n.name)
			}
		}
		out.Set(len(names))
		for _, n := range names {
			out.Status(n)
		}
	}
	if withCode {
		out.BulkString("library_code")
		out.BulkString(lib.code)
	}
}

// cmdFunctionStats is FUNCTION STATS. What is shown to run is what this node runs as a
// read: a function of the log ends before anybody can ask.
func cmdFunctionStats(c *Ctx) {
	t := &c.store.st.functions
	c.Out.Map(2)
	c.Out.BulkString("running_script")
	if r, args, ok := c.store.scripts.runningFunction(); ok && !c.logged {
		c.Out.Map(3)
		c.Out.BulkString("name")
		c.Out.BulkString(r.function)
		c.Out.BulkString("command")
		c.Out.Array(len(args))
		for _, a := range args {
			c.Out.Bulk(a)
		}
		c.Out.BulkString("duration_ms")
		c.Out.Int(max(0, c.now-r.since))
	} else {
		c.Out.Null()
	}
	c.Out.BulkString("engines")
	c.Out.Map(1)
	c.Out.BulkString("LUA")
	c.Out.Map(2)
	c.Out.BulkString("libraries_count")
	c.Out.Int(int64(len(t.libs)))
	c.Out.BulkString("functions_count")
	c.Out.Int(int64(len(t.byName)))
}

// The payload of FUNCTION DUMP is Redis's: per library the opcode and the code as an
// RDB string, then the RDB version and a CRC.
const (
	rdbFunction2       = 0xf5
	functionRDBVersion = 10
)

func cmdFunctionDump(c *Ctx) {
	var out []byte
	for _, row := range c.store.st.functions.rows() {
		out = append(out, rdbFunction2)
		out = appendRDBString(out, []byte(row.Code))
	}
	out = binary.LittleEndian.AppendUint16(out, functionRDBVersion)
	out = binary.LittleEndian.AppendUint64(out, crc64Update(0, out))
	c.Out.Bulk(out)
}

const errDumpPayload = "ERR DUMP payload version or checksum are wrong"

// parseFunctionDump returns the libraries' codes.
func parseFunctionDump(b []byte) (codes []string, msg string) {
	if len(b) < 10 {
		return nil, errDumpPayload
	}
	body, version := b[:len(b)-10], binary.LittleEndian.Uint16(b[len(b)-10:])
	sum := binary.LittleEndian.Uint64(b[len(b)-8:])
	if version > rdbVersion || sum != 0 && sum != crc64Update(0, b[:len(b)-8]) {
		return nil, errDumpPayload
	}
	in := rdbInput{buf: body, more: func() bool { return false }, bounded: true, inflate: maxFunctionBytes}
	for in.pos < len(in.buf) {
		tag, err := in.byte()
		if err != nil {
			break
		}
		if tag != rdbFunction2 {
			return nil, "ERR given type is not a function"
		}
		var scratch []byte
		code, err := in.string(&scratch)
		if err != nil {
			return nil, "ERR failed loading functions"
		}
		codes = append(codes, string(code))
	}
	return codes, ""
}

// cmdFunctionRestore is FUNCTION RESTORE payload [FLUSH|APPEND|REPLACE].
func cmdFunctionRestore(c *Ctx) {
	if len(c.Args) > 4 {
		c.Out.Error("ERR unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.")
		return
	}
	flush, replace := false, false
	if len(c.Args) == 4 {
		switch flush, replace = is(c.Args[3], "flush"), is(c.Args[3], "replace"); {
		case flush, replace, is(c.Args[3], "append"):
		default:
			c.Out.Error("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
			return
		}
	}
	codes, msg := parseFunctionDump(c.Args[2])
	var libs []*functionLibrary
	if msg == "" {
		libs, msg = c.loadLibraries(codes)
	}
	if msg == "" {
		msg = c.restoreLibraries(libs, flush, replace)
	}
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	c.Out.OK()
}

// restoreLibraries adds libraries, or puts them in the place of all there are.
func (c *Ctx) restoreLibraries(libs []*functionLibrary, flush, replace bool) (msg string) {
	if !flush {
		return c.store.st.functions.add(libs, replace)
	}
	var next functionTable
	if msg = next.add(libs, replace); msg == "" {
		c.store.st.functions = next
	}
	return msg
}

func cmdFunctionHelp(c *Ctx) {
	c.help(
		"FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"LOAD [REPLACE] <FUNCTION CODE>",
		"    Create a new library with the given library name and code.",
		"DELETE <LIBRARY NAME>",
		"    Delete the given library.",
		"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
		"    Return general information on all the libraries:",
		"    * Library name",
		"    * The engine used to run the Library",
		"    * Library description",
		"    * Functions list",
		"    * Library code (if WITHCODE is given)",
		"    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
		"STATS",
		"    Return information about the current function running:",
		"    * Function name",
		"    * Command used to run the function",
		"    * Duration in MS that the function is running",
		"    If no function is running, return nil",
		"    In addition, returns a list of available engines.",
		"KILL",
		"    Kill the current running function.",
		"FLUSH [ASYNC|SYNC]",
		"    Delete all the libraries.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the libraries.",
		"    * SYNC: Synchronously flush the libraries.",
		"DUMP",
		"    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
		"RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
		"    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
		"    control how to handle existing libraries (default APPEND):",
		"    * FLUSH: delete all existing libraries.",
		"    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
		"    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
		"      libraries with the new libraries (notice that even on this option there is a chance of failure",
		"      in case of functions name collision with another library).",
		"HELP",
		"    Prints this help.",
	)
}
