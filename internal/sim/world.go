package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// world is one run: everything there is, on one goroutine. Time is virtual and jumps
// from event to event.
type world struct {
	seed uint64
	opt  options
	rng  *rand.Rand
	now  time.Duration // since the start
	q    eventQueue
	seq  uint64

	machines []*machine // index+1 is the node id
	net      network
	clients  []*client
	judge    judge
	stats    *Stats

	healing   bool      // the second phase: no more faults
	operating bool      // the operator is at work
	spoiling  *machine  // whose disk is being damaged
	ghost     *machine  // runs on an older copy of another's directory
	changing  bool      // a change of the membership is under way
	opening   *scenario // nil for most seeds
	hush      bool      // the seed's clients are silent: a play is on
	trace     uint64
	events    uint64
	began     time.Time // by the real clock, for the speed alone
	out       io.Writer // history, nil for none
	logger    *slog.Logger
}

// event is something that happens at a time; p, if not nil, is the process it
// happens to: it is void when that died, and waits for its end while it is paused.
type event struct {
	at  time.Duration
	seq uint64
	p   *proc
	f   func()
}

// eventQueue is a binary heap by time, then by order of being asked for. It is not
// container/heap's, which boxes what it is handed: an allocation for each event.
type eventQueue []event

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (q *eventQueue) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	*q = h
}

// pop takes the first event out of a queue that has one.
func (q *eventQueue) pop() event {
	h := *q
	top, n := h[0], len(h)-1
	last := h[n]
	h[n] = event{}
	h = h[:n]
	i := 0
	for down := 1; down < n; down = 2*i + 1 {
		if right := down + 1; right < n && h[right].before(&h[down]) {
			down = right
		}
		if !h[down].before(&last) {
			break
		}
		h[i] = h[down]
		i = down
	}
	if n > 0 {
		h[i] = last
	}
	*q = h
	return top
}

// after schedules f.
func (w *world) after(d time.Duration, p *proc, f func()) {
	w.seq++
	w.q.push(event{w.now + max(d, 0), w.seq, p, f})
}

// runUntil lets events happen until the given time, or until stop says so (asked
// now and then).
func (w *world) runUntil(end time.Duration, stop func() bool) {
	for n := 0; w.step(end); n++ {
		if stop != nil && n%64 == 0 && stop() {
			return
		}
	}
	w.now = max(w.now, end)
}

// step lets the next event happen unless there is none before end.
func (w *world) step(end time.Duration) bool {
	if len(w.q) == 0 || w.q[0].at > end {
		return false
	}
	e := w.q.pop()
	w.now = e.at
	switch p := e.p; {
	case p == nil:
		w.events++
		e.f()
	case p.dead:
	case p.pausedUntil > w.now:
		p.postponed = append(p.postponed, e.f)
	default:
		w.events++
		e.f()
		if !p.dead {
			p.settle()
		}
	}
	return true
}

// note mixes numbers into the trace.
func (w *world) note(xs ...uint64) {
	for _, x := range xs {
		w.trace = (w.trace ^ x) * 0x9e3779b97f4a7c15
		w.trace ^= w.trace >> 29
	}
}

// say writes a line of history.
func (w *world) say(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, "%10.6f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

// violation ends a run.
type violation struct {
	invariant string
	text      string
}

func (v violation) Error() string { return v.invariant + ": " + v.text }

// fail ends the run: an invariant does not hold.
func (w *world) fail(invariant, format string, args ...any) {
	panic(violation{invariant, fmt.Sprintf(format, args...)})
}

// Draws. A mean of an exponential distribution keeps both the usual and the rare.

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *world) around(mean time.Duration) time.Duration {
	return time.Duration(w.rng.ExpFloat64() * float64(mean))
}

func pick[T any](rng *rand.Rand, xs []T) T { return xs[rng.IntN(len(xs))] }

func (w *world) machine(id raftcore.NodeID) *machine {
	if id == 0 || int(id) > len(w.machines) {
		return nil
	}
	return w.machines[id-1]
}

// running are the processes that take part, in order of id.
func (w *world) running() []*proc {
	var ps []*proc
	for _, m := range w.machines {
		if m.proc != nil && m.proc.s.Running() {
			ps = append(ps, m.proc)
		}
	}
	return ps
}

// leader is the running leader of the highest term, nil if there is none.
func (w *world) leader() *proc {
	var best *proc
	for _, p := range w.running() {
		c := p.s.Core()
		if c.Role() == raftcore.Leader && (best == nil || c.Term() > best.s.Core().Term()) {
			best = p
		}
	}
	return best
}
