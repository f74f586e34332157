package resp

import (
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// pauseState is CLIENT PAUSE: commands of this node's clients wait.
type pauseState struct {
	until  atomic.Int64 // Unix ms
	writes atomic.Bool  // only commands that may change something wait
}

// paused reports whether CLIENT PAUSE holds the command back.
func (s *session) paused(cmd *kv.Command, args [][]byte) bool {
	p := &s.srv.pause
	switch {
	case p.until.Load() <= s.now:
		return false
	case cmd.Name == "client|unpause":
		return false // or nobody could end it before its time
	case !p.writes.Load():
		return true
	case cmd.Name == "exec":
		return s.multi != nil && !s.multi.dirty && s.queuedMayWrite()
	}
	return s.mayWrite(cmd, args)
}

// mayWrite reports whether the command may change something or be heard elsewhere.
func (s *session) mayWrite(cmd *kv.Command, args [][]byte) bool {
	if cmd.Script {
		return s.srv.backend.Store().MayWrite(cmd, args)
	}
	return cmd.IsWrite() || cmd.Flags&kv.FlagMayReplicate != 0
}

func (s *session) queuedMayWrite() bool {
	for _, q := range s.multi.cmds {
		if s.mayWrite(q.cmd, q.args) {
			return true
		}
	}
	return false
}

// clientPause is CLIENT PAUSE ms [WRITE|ALL]. As in Redis a pause under way is never
// shortened, nor narrowed to writes.
func clientPause(s *session, args [][]byte, out *kv.Reply) {
	ms, ok := parseLen(args[2])
	switch {
	case !ok || ms > 1<<40:
		out.Error("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		out.Error("ERR timeout is negative")
		return
	}
	writes := false
	switch {
	case len(args) == 3, len(args) == 4 && equalFold(args[3], "all"):
	case len(args) == 4 && equalFold(args[3], "write"):
		writes = true
	case len(args) == 4:
		out.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
		return
	default:
		out.Error(unknownOrWrong("client", args[1]))
		return
	}
	p := &s.srv.pause
	until := s.now + ms
	if before := p.until.Load(); before > s.now {
		until, writes = max(until, before), writes && p.writes.Load()
	}
	p.writes.Store(writes)
	p.until.Store(until)
	out.OK()
}

// clientUnpause ends the pause; who waits goes on at once.
func clientUnpause(s *session, _ [][]byte, out *kv.Reply) {
	s.srv.pause.until.Store(0)
	for _, l := range s.srv.loops {
		l.post(l.resumeAll)
	}
	out.OK()
}

// postpone notes that the connection waits for the end of a pause, or no more.
func (c *conn) postpone(waits bool) {
	if c.s.postponed == waits {
		return
	}
	c.s.postponed = waits
	delta := int64(1)
	if !waits {
		delta = -1
	}
	c.s.srv.stats.blocked.Add(delta)
	c.s.showBlocked(waits)
}
