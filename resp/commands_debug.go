package resp

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// DEBUG is for tests, above all for Redis's own suite. It is refused unless the
// process was started with enable-debug-command. What looks at data is a row of kv
// and runs in the chunk like any read; the rest is below. Much of what Redis offers
// here bends its own machinery; where there is no such machinery the command is
// accepted and does nothing.

const debugRefused = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", " +
	"you can run it from a local connection, otherwise you need to set this option in the configuration file, " +
	"and then restart the server."

func debugHandlers() map[string]handler {
	return map[string]handler{"debug": {run: cmdDebug, inExec: debugInExec}}
}

// debugSubs are the subcommands answered by this node alone, by name in lower case.
// args begin with DEBUG itself.
var debugSubs map[string]func(s *session, args [][]byte, out *kv.Reply)

func init() {
	debugSubs = map[string]func(s *session, args [][]byte, out *kv.Reply){
		"error":           debugError,
		"help":            debugHelp,
		"loadaof":         debugReload,
		"protocol":        debugProtocol,
		"reload":          debugReload,
		"sleep":           debugSleep,
		"stringmatch-len": debugStringMatchLen,
	}
	for _, name := range []string{"change-repl-id", "jmap", "log", "pause-cron", "quicklist-packed-threshold",
		"replybuffer", "delay-rdb-client-free-seconds", "replicate"} {
		debugSubs[name] = replyOK
	}
}

func (s *session) debugAllowed() bool {
	switch s.srv.opt.DebugCommand {
	case "yes":
		return true
	case "local":
		return s.addr.loopback
	}
	return false
}

func cmdDebug(s *session, args [][]byte, out *kv.Reply) {
	cmd, run, msg := s.findDebug(args)
	switch {
	case msg != "":
		out.Error(msg)
	case run != nil:
		run(s, args, out)
	default:
		s.collect(cmd, args)
		s.endChunk = true
	}
}

// debugInExec puts the command into an EXEC's group.
func debugInExec(s *session, c *kv.Chunk, args [][]byte, out *kv.Reply) {
	cmd, run, msg := s.findDebug(args)
	switch {
	case msg != "":
		out.Error(msg)
	case sleeps(args):
		run(s, args, out)
		out.Reset()
		c.AppendOp(kv.DebugCommand(args[1]), args)
	case run != nil:
		run(s, args, out)
		if s.async != nil {
			s.async = nil
			out.Error("ERR Command not allowed inside a transaction")
		}
	case cmd.Logged():
		c.AppendOp(cmd, args)
	default:
		c.AddRead(cmd, args)
		s.reads++
	}
}

func (s *session) findDebug(args [][]byte) (cmd *kv.Command, run func(*session, [][]byte, *kv.Reply), msg string) {
	if !s.debugAllowed() {
		return nil, nil, debugRefused
	}
	if run = debugSubs[strings.ToLower(string(cut(args[1], 64)))]; run != nil {
		return nil, run, ""
	}
	if cmd = kv.DebugCommand(args[1]); cmd != nil && cmd.ArityOK(len(args)) {
		return cmd, nil, ""
	}
	return nil, nil, "ERR unknown subcommand or wrong number of arguments for '" + string(cut(args[1], 128)) + "'. Try DEBUG HELP."
}

// debugSleep is DEBUG SLEEP seconds. It holds up the event loop, that is all clients of
// this node, as in Redis: that is what it is for.
func debugSleep(_ *session, args [][]byte, out *kv.Reply) {
	d, ok := sleepTime(args)
	if !ok {
		out.Error("ERR value is not a valid float")
		return
	}
	time.Sleep(d)
	out.OK()
}

func sleepTime(args [][]byte) (d time.Duration, ok bool) {
	seconds, err := strconv.ParseFloat(string(args[len(args)-1]), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 60 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// sleeps reports whether the command is a DEBUG SLEEP that is to be obeyed.
func sleeps(args [][]byte) bool {
	_, ok := sleepTime(args)
	return ok && len(args) == 3 && equalFold(args[1], "sleep")
}

// sleepTime is how long the DEBUG SLEEPs of a transaction take in all. They sleep before it
// is proposed; its commands see the time at which Redis would have executed them
// (kv.Chunk.BeginExecAgo).
func (s *session) sleepTime(cmds []queuedCmd) (ms uint32) {
	if !s.debugAllowed() {
		return 0
	}
	var all time.Duration
	for _, q := range cmds {
		if q.cmd == debugRow && sleeps(q.args) {
			d, _ := sleepTime(q.args)
			all += d
		}
	}
	return uint32(min(all, time.Hour).Milliseconds())
}

var debugRow = findRow("debug")

// debugReload is DEBUG RELOAD and LOADAOF: the data is written as a snapshot, which is
// read back and checked. It stays in memory, for the other nodes' would have to be
// replaced at the same time.
//
// NOFLUSH without MERGE fails in Redis if anything is there already.
func debugReload(s *session, args [][]byte, out *kv.Reply) {
	noFlush, merge := false, false
	for _, a := range args[2:] {
		noFlush = noFlush || strings.EqualFold(string(a), "noflush")
		merge = merge || strings.EqualFold(string(a), "merge")
	}
	if st := s.srv.backend.Store().Stats(); noFlush && !merge && (st.Functions > 0 || slices.Max(st.Keys) > 0) {
		out.Error("ERR Error trying to load the RDB dump, check server logs.")
		return
	}
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		if _, err := s.srv.backend.Snapshot(ctx); err != nil {
			out.Error(err.Error())
			return
		}
		out.OK()
	})
}

// debugError is DEBUG ERROR text.
func debugError(_ *session, args [][]byte, out *kv.Reply) {
	out.Error(string(cut(args[len(args)-1], 1<<10)))
}

// debugStringMatchLen is DEBUG STRINGMATCH-LEN length pattern: how long a glob takes.
func debugStringMatchLen(_ *session, args [][]byte, out *kv.Reply) {
	if len(args) != 4 {
		out.Error(kv.WrongArgs("debug"))
		return
	}
	n, ok := parseLen(args[2])
	if !ok || n < 0 || n > 1<<20 {
		out.Error(errNotInt)
		return
	}
	out.Bool(kv.MatchGlob(args[3], []byte(strings.Repeat("a", int(n))), false))
}

// debugProtocol is DEBUG PROTOCOL type: one value of each type, for client libraries.
func debugProtocol(s *session, args [][]byte, out *kv.Reply) {
	switch kind := args[len(args)-1]; strings.ToLower(string(cut(kind, 32))) {
	case "attrib":
		if s.proto == resp3 && !s.muted() {
			s.out = append(s.out, "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"...)
		}
		out.BulkString(kv.DebugAttribReply)
	case "push":
		if s.proto != resp3 {
			out.Error("ERR RESP2 is not supported by this command")
			return
		}
		s.out = append(s.out, ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n"...)
		out.BulkString("Some real reply following the push reply")
	default:
		kv.DebugProtocol(kind, out)
	}
}

func debugHelp(_ *session, _ [][]byte, out *kv.Reply) {
	lines := []string{
		"DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"DIGEST", "    Digest of all data, as Redis computes it.",
		"DIGEST-VALUE <key> [<key> ...]", "    Digests of the values of keys.",
		"ERROR <string>", "    Replies an error.",
		"HTSTATS <dbid>", "    Size of a database's table.",
		"HTSTATS-KEY <key>", "    Size of a value's table.",
		"LISTPACK <key>", "    Says whether the value is packed.",
		"OBJECT <key>", "    Low-level facts about a value.",
		"POPULATE <count> [<prefix>] [<size>]", "    Makes string keys.",
		"PROTOCOL <type>", "    Replies a value of a type of the protocol.",
		"RELOAD", "    Takes a snapshot and reads it back.",
		"SDSLEN <key>", "    Lengths of a key and its string.",
		"SLEEP <seconds>", "    Stops this node's front end for a time.",
		"STRINGMATCH-LEN <len> <pattern>", "    Matches a string of len letters.",
	}
	out.Array(len(lines))
	for _, l := range lines {
		out.Status(l)
	}
}
