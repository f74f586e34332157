package sim

import (
	"github.com/rkvdb/rkv/raftcore"
)

// unawareVoter: a learner is promoted and does not hear of it; then so many die that
// its vote is needed (R24).
func (s *stage) unawareVoter() {
	w := s.w
	l, others := s.cast()
	d := w.addMachine(true)
	w.say("node %d joins", d.id)
	d.start()
	voter := func() bool {
		m, ok := l.s.Core().Membership().Find(d.id)
		return ok && !m.Learner
	}
	if !w.until(20*w.opt.election, voter) {
		return
	}
	s.isolate(d)
	term := l.s.Core().Term()
	known := func() bool {
		for _, p := range others {
			if p.s.Core().LastIndex() != l.s.Core().LastIndex() {
				return false
			}
		}
		return !l.s.Core().ChangeInProgress()
	}
	if !w.until(2*w.opt.election, known) || l.s.Core().Role() != raftcore.Leader || !voter() {
		return
	}
	if m, ok := d.proc.s.Core().Membership().Find(d.id); !ok || !m.Learner {
		return
	}
	// As many die as may.
	voters := len(l.s.Core().Membership().Voters())
	left := []*machine{d}
	s.down(l.m)
	for i, p := range others {
		if i < (voters-1)/2-1 {
			s.down(p.m)
		} else {
			left = append(left, p.m)
		}
	}
	w.hit("vote needed of one who does not know that it has one")
	s.mend(d)
	s.must(20, "an election with the vote of a voter who does not know that it is one", func() bool { return s.leading(term, left...) != nil })
}

// leaderLeaves: the leader is told to remove itself (R25). It leads until that is
// committed, and no longer.
func (s *stage) leaderLeaves() {
	w := s.w
	l, others := s.cast()
	if !w.removable(l, l.m.id) {
		return
	}
	removed := false
	w.say("leader %d removes itself", l.m.id)
	w.change(l, l.s.Remove(l.m.id), func() { removed = true })
	if !w.until(5*w.opt.election, func() bool { return removed || !w.changing }) || !removed {
		return
	}
	w.hit("leader removed")
	s.must(10, "a leader after the leader left", func() bool { return s.leading(0, machinesOf(others)...) != nil })
	s.pass(w.around(2 * w.opt.election))
	if l.m.proc != nil {
		l.m.proc.kill()
	}
	l.m.wipe()
	w.say("node %d comes back empty", l.m.id)
	l.m.restartLater()
}

// emptiedVoter: a voter that acknowledged something loses its disk and is started
// again by the same command, while another one that has it is down (R26). Who is left
// must not elect.
func (s *stage) emptiedVoter() {
	w := s.w
	l, others := s.cast()
	a, b, c := l.m, others[0].m, others[1].m
	if !w.mayHarm(b) {
		return
	}
	s.isolate(c)
	if !s.grow(l, 1+w.rng.IntN(3), 10) {
		return
	}
	write := s.write(l)
	if !s.done(write, w.opt.election) {
		return
	}
	w.say("node %d loses its disk", b.id)
	b.proc.kill()
	s.down(a)
	b.wipe()
	b.join = w.chance(0.2)
	s.mend(c)
	b.start()
	w.hit("emptied voter beside one who lags")
	s.pass(w.between(4*w.opt.election, 12*w.opt.election))
	a.start()
	s.must(20, "an election by the two whose disks are sound", func() bool { return s.leading(0, a, c) != nil })
}
