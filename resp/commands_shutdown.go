package resp

import (
	"context"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// errShutdown is Redis's text when a SHUTDOWN that was to save could not.
const errShutdown = "ERR Errors trying to SHUTDOWN. Check logs."

// cmdShutdown is SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]: this node stops as if
// by SIGTERM, the others go on. Every acknowledged write is in the log, so nothing
// has to be saved; SAVE takes a snapshot first, so that the next start has less to
// replay, and FORCE stops even if that fails. There is no reply: the connection ends.
func cmdShutdown(s *session, args [][]byte, out *kv.Reply) {
	how := make(map[string]bool)
	for _, a := range args[1:] {
		word := strings.ToLower(string(cut(a, 16)))
		switch word {
		case "nosave", "save", "now", "force", "abort":
			how[word] = true
		default:
			out.Error(errSyntax)
			return
		}
	}
	srv := s.srv
	switch {
	case how["abort"] && len(how) > 1, how["save"] && how["nosave"]:
		out.Error(errSyntax)
		return
	case how["abort"]:
		out.Error("ERR No shutdown in progress.")
		return
	case srv.opt.Shutdown == nil:
		out.Error("ERR SHUTDOWN is not available here; stop the process with SIGTERM")
		return
	}
	s.async = func(ctx context.Context, done func(func(*kv.Reply))) {
		stop := func() {
			done(func(*kv.Reply) { s.closing = true })
			srv.log.Info("SHUTDOWN by a client", "address", s.addr.remote)
			srv.opt.Shutdown()
		}
		if !how["save"] {
			stop()
			return
		}
		srv.blocking(func(ctx context.Context, out *kv.Reply) {
			if _, err := srv.backend.Snapshot(ctx); err != nil && !how["force"] {
				srv.log.Warn("SHUTDOWN SAVE: no snapshot", "error", err)
				out.Error(errShutdown)
			}
		})(ctx, func(fill func(*kv.Reply)) {
			var refusal kv.Reply
			if fill(&refusal); refusal.Len() > 0 {
				done(fill)
				return
			}
			stop()
		})
	}
}
