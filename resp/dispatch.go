package resp

import (
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// verdict is what became of one command.
type verdict uint8

const (
	verdictDone     verdict = iota
	verdictBoundary         // the chunk before it has to be answered first; come again
	verdictPaused           // CLIENT PAUSE; come again
	verdictRecheck          // denied by users that may be old; come again after a barrier
)

// replyMode is CLIENT REPLY's state.
type replyMode uint8

const (
	replyOn replyMode = iota
	replyOff
	replySkipNext // CLIENT REPLY SKIP was just executed
	replySkip     // this command's reply is dropped
)

func (s *session) muted() bool { return s.reply != replyOn }

// command executes, queues or collects one request. A command comes to the chunk's
// end and is presented again if it needs what came before to be answered.
func (s *session) command(args [][]byte) verdict {
	cmd, h, msg := s.resolve(args)
	if len(s.publishing) > 0 && (h == nil || !h.batched) {
		return verdictBoundary
	}
	if msg != "" {
		if isHTTP(args[0]) {
			return s.refuseHTTP()
		}
		s.commands++
		s.nextReplyMode()
		s.reject(cmd, msg)
		return verdictDone
	}
	if s.chunkPending() && (h != nil && !h.anywhere || h == nil && s.multi == nil && kv.MayBlock(cmd, args)) {
		return verdictBoundary
	}
	if s.paused(cmd, args) {
		return verdictPaused
	}
	if a := s.srv.backend.Store().ACL(); a != s.acl {
		if s.refreshUser(a); s.closing {
			return verdictDone
		}
	}
	if v, denied := s.permitted(cmd, args); denied {
		return v
	}
	if msg := s.srv.busy(cmd); msg != "" {
		s.commands++
		s.nextReplyMode()
		s.reject(cmd, msg)
		return verdictDone
	}
	if s.redirects() && s.authed {
		if msg := s.redirect(cmd, h, args); msg != "" {
			s.commands++
			s.nextReplyMode()
			s.replyError(msg)
			if s.loop != nil {
				s.loop.sentAway = s.now
			}
			return verdictDone
		}
	}
	s.commands++
	s.noteCommand(cmd)
	s.nextReplyMode()
	switch {
	case !s.mayWhileSubscribed(h):
		s.refuseWhileSubscribed(cmd)
	case s.multi != nil && (h == nil || !h.transaction):
		s.enqueue(cmd, h, args)
	case h != nil:
		s.runLocal(cmd, h, args)
	default:
		s.monitored(cmd, args)
		s.collect(cmd, args)
	}
	if s.track != nil && s.track.caching {
		s.cachingUsed(cmd)
	}
	return verdictDone
}

// nextReplyMode moves CLIENT REPLY SKIP on by one command.
func (s *session) nextReplyMode() {
	switch s.reply {
	case replySkipNext:
		s.reply = replySkip
	case replySkip:
		s.reply = replyOn
	}
}

// permitted refuses what the connection's user may not do.
func (s *session) permitted(cmd *kv.Command, args [][]byte) (v verdict, denied bool) {
	switch {
	case !s.authed:
		if cmd.Flags&kv.FlagNoAuth == 0 {
			s.reject(cmd, "NOAUTH Authentication required.")
			return verdictDone, true
		}
	case s.limited:
		if s.chunkPending() && !s.aclFresh && s.user.Check(cmd, args).Reason != kv.DeniedNone {
			return verdictBoundary, true
		}
		refused, recheck := s.denied(cmd, args)
		if recheck {
			s.rechecking, s.afterBarrier = true, func(*kv.Reply) {}
			return verdictRecheck, true
		}
		s.aclFresh = false
		return verdictDone, refused
	}
	return verdictDone, false
}

// runLocal executes a command this node answers by itself.
func (s *session) runLocal(cmd *kv.Command, h *handler, args [][]byte) {
	start := s.srv.nanos()
	if cmd != execRow {
		s.monitored(cmd, args)
	}
	s.local.Reset()
	h.run(s, args, &s.local)
	if cmd == execRow { // behind what it executes
		s.monitored(cmd, args)
	}
	switch {
	case s.async != nil, s.afterBarrier != nil:
		s.asyncCmd, s.asyncArgs, s.asyncStart = cmd, copyArgs(args), start
	case h.batched:
		s.row(cmd).add(0)
	case s.chunkOpened(h):
	default:
		failed := s.local.Failed()
		s.emitLocal()
		s.accountLocal(cmd, args, start, failed)
	}
}

// reject answers a command that is not executed.
func (s *session) reject(cmd *kv.Command, msg string) {
	if cmd != nil {
		s.row(cmd).rejected++
	}
	if cmd != nil && cmd.Name == "exec" && s.multi != nil {
		s.multi, s.watches = nil, nil
		msg = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(msg, "ERR ")
	}
	s.replyError(msg)
}

// chunkOpened reports whether a local command turned into an entry of the chunk,
// which then brings the reply (EXEC, CONFIG SET).
func (s *session) chunkOpened(h *handler) bool { return !h.anywhere && s.chunkPending() }

// collect adds a data command to the chunk.
func (s *session) collect(cmd *kv.Command, args [][]byte) {
	msg := ""
	switch {
	case cmd == aclSetUser:
		msg = s.acl.ValidateUser(args[2], args[3:])
	case cmd.Logged() || cmd.Script:
		msg = tooBig(args)
	}
	if msg != "" {
		s.replyError(msg)
		s.accountLocal(cmd, args, s.srv.nanos(), true)
		return
	}
	if s.track != nil {
		s.trackRead(cmd, args)
	}
	if s.logs(cmd, args) {
		s.openChunk().AppendOp(cmd, s.forLog(cmd, args))
	} else {
		s.openChunk().AddRead(cmd, args)
		s.reads++
	}
	s.values++
	if kv.MayBlock(cmd, args) {
		s.mayBlock, s.endChunk = true, true
		s.chunk.AllowWait()
	}
	s.ran = append(s.ran, ran(cmd, args))
	// With replies off or skipped the chunk is this command alone. A library ends it, so
	// that a function called right behind it is known, and may run as a read.
	s.endChunk = s.endChunk || s.reply == replySkip || cmd == functionLoad
}

var functionLoad = findRow("function|load")

func tooBig(args [][]byte) string {
	size := 0
	for _, a := range args {
		size += len(a) + 10
	}
	if size > maxUnit {
		return "ERR command exceeds the maximum size of a log entry"
	}
	return ""
}

// resolve finds the command's row and, for a node-local one, its handler. msg is the
// error reply if there is none or the number of arguments is wrong.
func resolve(args [][]byte) (cmd *kv.Command, h *handler, msg string) {
	cmd = lookup(args[0])
	if cmd == nil {
		return nil, nil, unknownCommand(args)
	}
	if len(cmd.Sub) > 0 && len(args) > 1 {
		sub := cmd.Subcommand(args[1])
		if sub == nil {
			return nil, nil, unknownSubcommand(cmd.Name, args[1])
		}
		cmd = sub
	}
	if !cmd.ArityOK(len(args)) {
		return cmd, nil, kv.WrongArgs(cmd.Name)
	}
	if cmd.IsLocal() || cmd.Run == nil || cmd.Flags&kv.FlagPubsub != 0 {
		h = handlers[cmd]
		if h == nil {
			return cmd, nil, "ERR command '" + cmd.Name + "' is not supported"
		}
	}
	return cmd, h, ""
}

// unknownCommand is Redis 7's text: the name and the arguments, cut to 128 bytes.
func unknownCommand(args [][]byte) string {
	var b strings.Builder
	b.WriteString("ERR unknown command '")
	b.Write(cut(args[0], 128))
	b.WriteString("', with args beginning with: ")
	room := 128
	for _, a := range args[1:] {
		if room <= 0 {
			break
		}
		part := cut(a, room)
		b.WriteByte('\'')
		b.Write(part)
		b.WriteString("' ")
		room -= len(part) + 3
	}
	return b.String()
}

func unknownSubcommand(container string, name []byte) string {
	return "ERR unknown subcommand '" + string(cut(name, 128)) + "'. Try " + strings.ToUpper(container) + " HELP."
}

func cut(b []byte, n int) []byte {
	if len(b) > n {
		return b[:n]
	}
	return b
}

// refuseHTTP closes: see crossProtocolError.
func (s *session) refuseHTTP() verdict {
	if s.chunkPending() {
		return verdictBoundary
	}
	s.protocolError(crossProtocolError{})
	return verdictDone
}

// noteCommand remembers the last command for CLIENT LIST.
func (s *session) noteCommand(cmd *kv.Command) { s.lastCmd = cmd }
