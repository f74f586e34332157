package resp

import "github.com/rkvdb/rkv/kv"

// Scripts run in package kv. Here is what decides where one runs, and the commands
// that are about the scripts of this node.

func scriptHandlers() map[string]handler {
	return map[string]handler{
		"script|kill":   {run: killScripts(false), anywhere: true},
		"function|kill": {run: killScripts(true), anywhere: true},
	}
}

// killScripts ends the scripts, or the functions, that run on this node as reads.
// Those that take long run beside the event loop (conn.runLong), so this gets through
// to them.
func killScripts(functions bool) func(s *session, _ [][]byte, out *kv.Reply) {
	return func(s *session, _ [][]byte, out *kv.Reply) {
		if msg := s.srv.backend.Store().KillScripts(functions); msg != "" {
			out.Error(msg)
			return
		}
		out.OK()
	}
}

// logs reports whether the command goes through the log. Of a script that is not
// known, the chunk decides later: it becomes an operation if the chunk is proposed
// for another command's sake, or if it tries to write when it runs as a read.
func (s *session) logs(cmd *kv.Command, args [][]byte) bool {
	return s.srv.backend.Store().Logs(cmd, args)
}
