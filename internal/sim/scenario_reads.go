package sim

import (
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
)

// deposed: a leader that has not heard that another one leads is asked for reads
// (R13-R17). What deposes it is a hand-over that it does not hear the end of, a clock
// that is slow against the others', or a pause.
func (s *stage) deposed() {
	w := s.w
	l, others := s.cast()
	term, rest := l.s.Core().Term(), machinesOf(others)
	if w.chance(0.6) && !s.readByLease(l) {
		return
	}
	switch w.rng.IntN(4) {
	case 0, 3: // the only way for others to lead before the next heartbeat (R14)
		s.pass(w.between(2*w.opt.heartbeat, 4*w.opt.heartbeat)) // there are echoes to mistake
		w.say("leader %d hands over and does not hear that it happened", l.m.id)
		s.deafen(l.m)
		w.poll(l, l.s.Transfer(others[0].m.id), 2*w.opt.election, func(error, bool) {})
		if !w.until(w.opt.election, func() bool { return others[0].s.Core().Term() > term }) {
			return
		}
	case 1:
		w.say("leader %d has a slow clock", l.m.id)
		l.m.rate(-slowest)
		for _, m := range rest {
			m.rate(slowest)
		}
		s.pass(w.between(0, 3*w.opt.heartbeat))
	case 2:
		w.say("leader %d pauses", l.m.id)
		s.pass(w.between(0, 3*w.opt.heartbeat))
		l.pauseFor(time.Minute)
	}
	s.deafen(l.m)
	if !w.until(10*w.opt.election, func() bool { return s.leading(term, rest...) != nil }) {
		return
	}
	next := s.leading(term, rest...)
	if !s.done(s.write(next), 2*w.opt.election) || l.dead {
		return
	}
	if l.s.Core().Role() == raftcore.Leader && l.s.Core().Term() == term {
		w.hit("read asked of a leader that was deposed without its knowledge")
	}
	s.read(l)
	if l.pausedUntil > w.now {
		s.wake(l)
	}
	for range w.rng.IntN(10) {
		s.pass(w.between(0, w.opt.heartbeat/4))
		s.read(l)
	}
	s.pass(w.opt.election)
}

// readByLease switches the cluster to leases.
func (s *stage) readByLease(l *proc) bool {
	w, on := s.w, false
	w.poll(l, l.s.SetReadMode(node.ReadLease), 2*time.Second, func(err error, late bool) { on = err == nil && !late })
	if !w.until(2*time.Second, func() bool { return on }) {
		return false
	}
	s.pass(2 * w.opt.heartbeat) // a round has to be echoed
	return s.calm() && w.leader() == l
}

// slowest is how far clocks may be from true time, in parts per million.
const slowest = 200_000

func machinesOf(ps []*proc) []*machine {
	var ms []*machine
	for _, p := range ps {
		ms = append(ms, p.m)
	}
	return ms
}

// answerToThePast: a follower asks its leader for a read index and dies; the answer
// comes to its next process, which has asked by then as well (R14). In between
// something was written, which that process hears of and has not applied. Of three the
// leader would answer at once: the question is an echo (ADR 25).
func (s *stage) answerToThePast() {
	w := s.w
	l, others := s.cast()
	f, rest := others[0].m, machinesOf(others[1:])
	f.proc.kill()
	f.start()
	// A process that starts from a snapshot knows the state so far without being told what
	// is committed, and so without hearing of the write.
	if !s.calm() || w.leader() != l || !s.snapshot(f.proc) || !s.calm() || w.leader() != l {
		return
	}
	w.say("the leader's word does not reach node %d, the others' disks are slow", f.id)
	s.cut(l.m, f)
	for _, g := range rest {
		s.hang(g, w.opt.election/4)
	}
	last := l.s.Core().LastIndex()
	write := s.write(l)
	arrived := func() bool {
		return !slices.ContainsFunc(rest, func(g *machine) bool { return g.proc.s.Core().LastIndex() <= last })
	}
	if !w.until(w.opt.election/8, arrived) {
		return
	}
	for _, g := range rest {
		s.cut(l.m, g) // and so nobody confirms what is asked from here on
	}
	s.read(f.proc)
	s.pass(w.opt.heartbeat / 5)
	f.proc.kill()
	f.start()
	if !s.done(write, w.opt.election/2) || f.proc == nil {
		return
	}
	w.hit("read asked by a process whose predecessor waits for an answer")
	s.hang(f, w.opt.election)
	s.pass(time.Microsecond) // the write has returned before the read begins
	s.open(l.m, f)
	s.open(l.m, rest[0]) // whose echo confirms either question
	s.read(f.proc)
	w.until(w.opt.election/2, func() bool { return w.clients[len(w.clients)-1].cur == nil })
	for _, g := range rest {
		s.open(l.m, g)
	}
	s.pass(w.opt.election)
}
