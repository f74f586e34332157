package resp

import (
	"strconv"

	"github.com/rkvdb/rkv/kv"
)

// multiState is an open MULTI. Transactions live on the client's node only
// (DESIGN 19): nothing of it is replicated before EXEC.
type multiState struct {
	cmds  []queuedCmd
	size  int  // bytes of all arguments
	dirty bool // a command was refused: EXEC will be, too
}

type queuedCmd struct {
	cmd  *kv.Command
	h    *handler // nil for data commands
	args [][]byte
}

// deferredCmd is a local command inside EXEC: it runs while the replies are
// rendered, after everything before it was applied.
type deferredCmd struct {
	cmd  *kv.Command
	h    *handler
	args [][]byte
}

// enqueue puts a command into the open transaction.
func (s *session) enqueue(cmd *kv.Command, h *handler, args [][]byte) {
	m := s.multi
	size := 0
	for _, a := range args {
		size += len(a) + 32
	}
	switch {
	case h != nil && h.alone, cmd.Flags&kv.FlagNoMulti != 0:
		s.reject(cmd, "ERR Command not allowed inside a transaction")
		return
	case cmd.Flags&kv.FlagDenyOOM != 0 && s.srv.backend.Store().Short():
		s.reject(cmd, kv.ErrOOM)
		return
	case m.size+size > s.srv.opt.MaxMultiBytes:
		s.replyError("ERR the transaction exceeds the limit of " +
			strconv.Itoa(s.srv.opt.MaxMultiBytes) + " queued bytes")
		return
	}
	if h != nil && h.batched {
		h = nil
	}
	m.size += size
	m.cmds = append(m.cmds, queuedCmd{cmd, h, copyArgs(args)})
	s.local.Reset()
	s.local.Status("QUEUED")
	s.emitLocal()
}

// copyArgs copies arguments out of the read buffer, with two allocations.
func copyArgs(args [][]byte) [][]byte {
	size := 0
	for _, a := range args {
		size += len(a)
	}
	buf := make([]byte, 0, size)
	out := make([][]byte, len(args))
	for i, a := range args {
		at := len(buf)
		buf = append(buf, a...)
		out[i] = buf[at:len(buf):len(buf)]
	}
	return out
}

func cmdMulti(s *session, _ [][]byte, out *kv.Reply) {
	if s.multi != nil {
		out.Error("ERR MULTI calls can not be nested")
		return
	}
	s.multi = &multiState{}
	out.OK()
}

func cmdDiscard(s *session, _ [][]byte, out *kv.Reply) {
	if s.multi == nil {
		out.Error("ERR DISCARD without MULTI")
		return
	}
	s.multi, s.watches = nil, nil
	out.OK()
}

// cmdExec turns the queue into one group of the chunk: one unit of the log, applied
// as a whole, or one read under one lock if nothing in it writes.
func cmdExec(s *session, args [][]byte, out *kv.Reply) {
	m, watches := s.multi, s.watches
	if m == nil {
		out.Error("ERR EXEC without MULTI")
		return
	}
	s.multi, s.watches = nil, nil
	switch {
	case m.dirty:
		out.Error("EXECABORT Transaction discarded because of previous errors.")
		return
	case len(m.cmds) == 0 && len(watches) == 0:
		out.Array(0)
		return
	}
	c := s.openChunk()
	s.execDB = s.db
	c.BeginExecAgo(watches, s.sleepTime(m.cmds))
	s.ran = append(s.ran, ran(execRow, args))
	for _, q := range m.cmds {
		s.monitored(q.cmd, q.args)
		s.addQueued(c, q)
	}
	c.EndExec()
	s.values, s.inExec, s.endChunk = 1, true, true
	s.needsNothing = s.reads == 0 && len(watches) == 0
}

// execRow is EXEC's row.
var execRow = findRow("exec")

func (s *session) addQueued(c *kv.Chunk, q queuedCmd) {
	if s.track != nil && q.h == nil {
		s.trackRead(q.cmd, q.args)
	}
	switch {
	case q.h != nil && q.h.inExec != nil:
		start := s.srv.nanos()
		s.local.Reset()
		q.h.inExec(s, c, q.args, &s.local)
		switch {
		case s.local.Len() > 0:
		case q.cmd == configSetRow:
			s.ranAs(q.cmd, q.args)
			return
		case q.cmd == debugRow && sleeps(q.args): // the time is its own, not the log's
			s.ran = append(s.ran, ranCommand{})
			s.accountLocal(q.cmd, q.args, start, false)
			return
		default: // it became an operation or a read
			s.ran = append(s.ran, ran(q.cmd, q.args))
			return
		}
		c.AddTape(&s.local)
		s.ran = append(s.ran, ranCommand{})
		s.accountLocal(q.cmd, q.args, start, s.local.Failed())
		return
	case q.h != nil:
		s.ran = append(s.ran, ranCommand{})
		c.AddDeferred(len(s.deferred))
		s.deferred = append(s.deferred, deferredCmd(q))
		return
	case s.logs(q.cmd, q.args):
		c.AppendOp(q.cmd, s.forLog(q.cmd, q.args))
	default:
		c.AddRead(q.cmd, q.args)
		s.reads++
	}
	s.ran = append(s.ran, ran(q.cmd, q.args))
}

// runDeferred renders the reply of a local command inside EXEC.
func (s *session) runDeferred(dst []byte, n int) []byte {
	if n < 0 || n >= len(s.deferred) {
		return append(dst, "-ERR internal error\r\n"...)
	}
	d := s.deferred[n]
	var out kv.Reply
	start := s.srv.nanos()
	d.h.run(s, d.args, &out)
	if s.async != nil || s.afterBarrier != nil {
		// Nothing may wait here. Handlers that could are marked alone; this keeps
		// the reply in step should one be forgotten.
		s.async, s.afterBarrier, s.beforeBarrier = nil, nil, nil
		out.Reset()
		out.Error("ERR Command not allowed inside a transaction")
	}
	if out.Failed() {
		s.srv.stats.countError(out.Bytes())
	}
	s.accountLocal(d.cmd, d.args, start, out.Failed())
	return renderer{proto: s.proto}.appendTape(dst, &out)
}

// leaveExec takes over what an EXEC that was not aborted changed in the session.
func (s *session) leaveExec(c *kv.Chunk) {
	if tape := c.Reply.Bytes(); s.inExec && len(tape) > 0 && tape[0] == '*' {
		s.db = s.execDB
	}
	s.inExec = false
}

// cmdWatch notes what the keys' last modifications are measured against. It waits
// for a read barrier: measured on a stale state, EXEC would abort for a change the
// client had seen acknowledged before.
func cmdWatch(s *session, args [][]byte, out *kv.Reply) {
	if s.multi != nil {
		out.Error("ERR WATCH inside MULTI is not allowed")
		return
	}
	if len(s.watches)+len(args) > maxWatches {
		out.Error("ERR too many watched keys")
		return
	}
	keys, db, store := copyArgs(args[1:]), s.db, s.srv.backend.Store()
	// A key that is due but not expired for everybody would count as modified once it is.
	s.beforeBarrier = func(now int64) (needTick bool) { return store.AnyDue(db, keys, now) }
	s.afterBarrier = func(out *kv.Reply) {
		for _, key := range keys {
			if !s.watched(db, key) {
				s.watches = append(s.watches, store.Watch(db, key))
			}
		}
		out.OK()
	}
}

// maxWatches bounds what EXEC carries and what WATCH compares (each new key with all
// old ones, so this also bounds time).
const maxWatches = 4096

// watched reports whether the key is watched already: the older watch counts.
func (s *session) watched(db int, key []byte) bool {
	for i := range s.watches {
		if s.watches[i].DB == db && string(s.watches[i].Key) == string(key) {
			return true
		}
	}
	return false
}

func cmdUnwatch(s *session, _ [][]byte, out *kv.Reply) {
	s.watches = nil
	out.OK()
}
