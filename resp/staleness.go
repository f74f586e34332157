package resp

import (
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/kv"
)

// Reads that may be old (docs/adr/0020). READONLY lets a connection read what this node
// has, however old; CLIENT STALENESS bounds that. The bound is judged by this node's own
// clock alone: a read barrier that was asked for at a moment vouches, once it is passed,
// for everything acknowledged anywhere before that moment. So the age of this node's
// state is at most the time since the newest passed barrier was asked for. A read within
// its bound waits for nothing; any other waits for a barrier like every read.

// freshness is what is known of the age of the node's state.
type freshness struct {
	// asOf is a moment of bootTime: everything acknowledged before it is here. Barriers
	// are passed on any goroutine; it only grows.
	asOf atomic.Int64
	// asking: a barrier was asked for ahead of need.
	asking atomic.Bool
	// wanted: somebody has asked how old the state is. Before that nobody looks at the clock,
	// which is a system call for each barrier.
	wanted atomic.Bool
}

// now is the moment of a barrier that is asked for now, 0 if nobody wants to know.
func (f *freshness) now() int64 {
	if !f.wanted.Load() {
		return 0
	}
	return bootTime()
}

// passed notes a barrier that was asked for at that moment.
func (f *freshness) passed(asked int64) {
	for {
		old := f.asOf.Load()
		if asked <= old || f.asOf.CompareAndSwap(old, asked) {
			return
		}
	}
}

// within reports whether the state is no older than the bound. If half of it is used up,
// refresh is called, once at a time: readers with a bound then hardly ever wait.
func (f *freshness) within(bound int64, refresh func(done func())) bool {
	asOf := f.asOf.Load()
	if asOf == 0 { // nothing is known yet
		f.wanted.Store(true)
		return false
	}
	age := bootTime() - asOf
	if age > bound/2 && age <= bound && f.asking.CompareAndSwap(false, true) {
		refresh(func() { f.asking.Store(false) })
	}
	return age <= bound
}

// bootTime counts while the machine sleeps, which the runtime's monotonic clock does not:
// state from before a suspension must not pass for new.
func bootTime() int64 {
	var t unix.Timespec
	// It cannot fail where epoll works, and never blocks.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

// barrierAsked asks the node for a barrier and notes what it vouches for.
func (s *Server) barrierAsked(done func(err error)) {
	asked := s.fresh.now()
	s.backend.ReadBarrier(func(err error) {
		if err == nil {
			s.fresh.passed(asked)
		}
		done(err)
	})
}

// readsOld reports whether the session's reads may run now on what this node has.
func (s *session) readsOld() bool {
	switch {
	case !s.stale:
		return false
	case s.staleness == 0:
		return true
	}
	return s.srv.fresh.within(s.staleness, func(done func()) { s.srv.barrierAsked(func(error) { done() }) })
}

// maxStaleness is a day: more is READONLY.
const maxStaleness = 24 * 60 * 60 * 1000

// clientStaleness is CLIENT STALENESS [milliseconds|ANY]: how old what the connection
// reads may be. 0 is linearizable, as READWRITE; ANY has no bound, as READONLY at first.
// Without an argument it tells what holds, -1 for ANY.
func clientStaleness(s *session, args [][]byte, out *kv.Reply) {
	switch {
	case len(args) == 2 && !s.stale:
		out.Int(0)
	case len(args) == 2 && s.staleness == 0:
		out.Int(-1)
	case len(args) == 2:
		out.Int(s.staleness / 1e6)
	case len(args) > 3:
		out.Error(kv.WrongArgs("client|staleness"))
	case equalFold(args[2], "any"):
		s.stale, s.staleness = true, 0
		out.OK()
	default:
		ms, ok := parseLen(args[2])
		if !ok || ms < 0 || ms > maxStaleness {
			out.Error("ERR staleness is a number of milliseconds, at most " + strconv.Itoa(maxStaleness) + ", or ANY")
			return
		}
		s.stale, s.staleness = ms > 0, ms*1e6
		out.OK()
	}
}
