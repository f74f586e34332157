package resp

import (
	"context"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// cmdWaitAOF is WAITAOF numlocal numreplicas timeout: whether this node, and how many
// others, have the connection's last write on stable storage. A majority has, for the
// write was acknowledged; this node may be outside of it.
func cmdWaitAOF(s *session, args [][]byte, out *kv.Reply) {
	local, ok1 := parseLen(args[1])
	replicas, ok2 := parseLen(args[2])
	ms, ok3 := parseLen(args[3])
	switch {
	case !ok1 || local < 0 || local > 1:
		out.Error("ERR value is out of range, value must between 0 and 1")
		return
	case !ok2 || replicas < 0 || replicas > 1<<20:
		out.Error("ERR value is out of range, must be positive")
		return
	case !ok3 || ms > 1<<40:
		out.Error("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		out.Error("ERR timeout is negative")
		return
	}
	w := durableWait{srv: s.srv, index: s.lastWrite, local: int(local), replicas: int(replicas)}
	have := s.srv.replicasAt(w.index)
	if w.here() >= w.local && have >= w.replicas || s.inExec {
		w.reply(have, out) // inside EXEC nothing blocks
		return
	}
	s.async = func(ctx context.Context, done func(func(*kv.Reply))) {
		cancel := context.CancelFunc(func() {})
		if ms > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		w.start(ctx, func(count int) {
			cancel()
			done(func(out *kv.Reply) { w.reply(count, out) })
		})
	}
}

// durableWait is one WAITAOF.
type durableWait struct {
	srv             *Server
	index           uint64
	local, replicas int
}

// here is 1 if this node's log holds the write durably.
func (w *durableWait) here() int {
	if w.srv.backend.Status().DurableIndex >= w.index {
		return 1
	}
	return 0
}

func (w *durableWait) reply(replicas int, out *kv.Reply) {
	out.Array(2)
	out.Int(int64(w.here()))
	out.Int(int64(replicas))
}

// localRetry is how often a node looks whether its own disk has caught up.
const localRetry = 5 * time.Millisecond

// start calls done with the number of other nodes once all that was asked for is
// there, or ctx ends.
func (w *durableWait) start(ctx context.Context, done func(replicas int)) {
	w.srv.backend.WaitReplicas(ctx, w.index, w.replicas, func(count int) {
		if w.here() >= w.local || ctx.Err() != nil {
			done(count)
			return
		}
		time.AfterFunc(localRetry, func() { w.start(ctx, done) })
	})
}
