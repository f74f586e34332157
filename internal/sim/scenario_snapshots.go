package sim

import (
	"time"
)

// behind lets a follower fall so far behind that it needs a snapshot: the leader takes
// one and keeps no entry below it, as it does not for members it hears of.
func (s *stage) behind(l *proc, f *machine, entries int) bool {
	s.isolate(f)
	s.pass(2 * s.w.opt.election)
	if !s.grow(l, entries, 30) || !s.snapshot(l) {
		return false
	}
	return s.w.leader() == l && l.s.Core().Status().FirstIndex > f.proc.s.Core().LastIndex()+1
}

// overtakenStream: while a snapshot is on its way, leadership goes to a node that
// still has the entries, and they arrive first (R30), or while it is being installed
// (R33).
func (s *stage) overtakenStream() {
	w := s.w
	l, others := s.cast()
	f, g := others[0].m, others[1].m
	if !s.behind(l, f, 5+w.rng.IntN(30)) {
		return
	}
	w.say("node %d needs a snapshot", f.id)
	s.mend(f)
	if !w.until(10*w.opt.election, func() bool { return f.proc.receiving }) {
		return
	}
	if w.chance(0.6) { // all of it is there, but loading takes its time
		usual := w.opt.applyMax
		w.opt.applyMax = w.opt.election
		defer func() { w.opt.applyMax = usual }()
		w.until(5*time.Second, func() bool { return !f.proc.receiving })
	}
	if w.chance(0.2) && !s.grow(l, 1+w.rng.IntN(5), 30) {
		return
	}
	if w.chance(0.2) && !s.snapshot(l) {
		return
	}
	w.say("leadership goes to node %d, which has the entries", g.id)
	w.poll(l, l.s.Transfer(g.id), 2*w.opt.election, func(error, bool) {})
	if !w.until(w.opt.election, func() bool { return s.leading(0, g) != nil && w.leader() == g.proc }) {
		return
	}
	if f.proc.receiving {
		w.hit("snapshot on its way while another leader sends entries")
	}
	for range w.rng.IntN(4) {
		s.write(g.proc)
		s.pass(w.between(0, w.opt.heartbeat))
	}
	s.must(40, "the follower's catching up", func() bool {
		return f.proc != nil && w.leader() != nil && f.proc.s.Store().Applied() == w.leader().s.Core().LastIndex()
	})
	w.until(5*time.Second, func() bool { return f.proc == nil || !f.proc.receiving })
	s.pass(w.opt.election)
}

// divergentTail: a leader that was cut off has a long tail of its own. The snapshot it
// needs later ends within that tail (R31).
func (s *stage) divergentTail() {
	w := s.w
	old, others := s.cast()
	term, rest := old.s.Core().Term(), machinesOf(others)
	s.isolate(old.m)
	for range 30 + w.rng.IntN(30) {
		s.write(old)
		s.pass(w.between(200*time.Microsecond, time.Millisecond))
	}
	if !w.until(10*w.opt.election, func() bool { return s.leading(term, rest...) != nil }) {
		return
	}
	l := s.leading(term, rest...)
	diverged := old.s.Core().Commit() + 1
	if !w.until(2*w.opt.election, func() bool { return l.s.Store().Applied() >= diverged }) || !s.snapshot(l) || old.dead {
		return
	}
	st := l.s.Core().Status()
	if st.FirstIndex <= diverged || st.SnapshotIndex > old.s.Core().LastIndex() || !s.grow(l, 2+w.rng.IntN(20), 30) {
		return
	}
	w.hit("snapshot ends within a divergent tail")
	s.mend(old.m)
	s.must(40, "the return of a leader with a tail of its own", func() bool {
		return !old.dead && w.leader() != nil && old.s.Store().Applied() == w.leader().s.Core().LastIndex()
	})
}

// lateLocalSnapshot: a follower takes a snapshot of its own; before that ends it gets
// a newer one and installs it (R32).
func (s *stage) lateLocalSnapshot() {
	w := s.w
	l, others := s.cast()
	f := others[0].m
	if !s.grow(l, 2+w.rng.IntN(5), 30) || !s.calm() || !s.behind(l, f, 5+w.rng.IntN(20)) {
		return
	}
	s.mend(f)
	if !w.until(10*w.opt.election, func() bool { return f.proc.receiving }) {
		return
	}
	w.say("node %d takes a snapshot of its own", f.id)
	ended := false
	f.proc.snapshot(func(error) { ended = true })
	w.until(10*time.Second, func() bool { return ended && !f.proc.receiving })
	s.must(40, "the follower's catching up", func() bool {
		return f.proc != nil && w.leader() != nil && f.proc.s.Store().Applied() == w.leader().s.Core().LastIndex()
	})
	if w.chance(0.5) {
		s.down(f)
	}
}

// crashAfterCompaction: what a log keeps beside its entries outlives the entries (R6,
// R34): a node compacts its log, or is about to, and dies.
func (s *stage) crashAfterCompaction() {
	w := s.w
	l, others := s.cast()
	v := pick(w.rng, append(machinesOf(others), l.m))
	segments := func() int { return v.proc.s.Log().Stats().Segments }
	for range 60 {
		if segments() >= 3 {
			break
		}
		if !s.grow(l, 2, 700) {
			return
		}
	}
	before := segments()
	if before < 3 || !s.calm() {
		return
	}
	p := v.proc
	if !s.snapshot(p) || p.dead {
		return
	}
	if w.chance(0.8) && !w.until(w.opt.election/2, func() bool { return segments() < before && !p.syncBusy }) {
		return
	}
	w.hit("node killed right after a compaction")
	s.down(v)
	v.start()
	s.calm()
}

// tinySegments is bySnapshots with small log segments.
func tinySegments(o *options) {
	bySnapshots(o)
	o.segment = 8 << 10
}
