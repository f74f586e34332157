package sim

import (
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// longestLogLags: of those who are left, the one with everything committed lives in
// an older term than the other, which cannot win (R27).
func (s *stage) longestLogLags() {
	w := s.w
	l, others := s.cast()
	a, b, c := l.m, others[0].m, others[1].m
	s.isolate(c)
	if !s.grow(l, 1+w.rng.IntN(3), 10) {
		return
	}
	s.isolate(a)
	s.open(b, c)
	s.open(c, b)
	// Node c promises b its vote, and b does not get it, term after term.
	term := l.s.Core().Term()
	for range 2 + w.rng.IntN(2) {
		before := b.proc.s.Core().Term()
		candidate := func() bool { return b.proc.s.Core().Role() == raftcore.Candidate && b.proc.s.Core().Term() > before }
		s.open(c, b)
		if !w.until(6*w.opt.election, candidate) {
			return
		}
		s.cut(c, b)
		if !w.until(4*w.opt.election, func() bool { return b.proc.s.Core().Role() == raftcore.PreCandidate }) {
			return
		}
	}
	if c.proc.s.Core().Term() < term+2 || b.proc.s.Core().Role() == raftcore.Leader {
		return
	}
	s.down(b)
	w.hit("longest log left in an older term")
	s.mend(a)
	s.mend(c)
	s.must(20, "an election by the two who are left", func() bool { return s.leading(term, a, c) != nil })
}

// figureEight: a leader brings an entry of its first term to a majority in a later one,
// and nothing of that later one; a leader of the term between overwrites it (thesis
// figure 3.7, R1).
func (s *stage) figureEight() {
	w := s.w
	first, others := s.cast()
	a, term := first.m, first.s.Core().Term()
	s.isolate(a)
	index := first.s.Core().LastIndex() + 1
	s.fill(first, 300)
	rest := machinesOf(others)
	if !w.until(10*w.opt.election, func() bool { return s.leading(term, rest...) != nil }) {
		return
	}
	between := s.leading(term, rest...)
	b, c := between.m, rest[0]
	if b == c {
		c = rest[1]
	}
	s.isolate(b) // its first entry stays with it
	s.open(a, c)
	s.open(c, a)
	if !w.until(20*w.opt.election, func() bool { return s.leading(between.s.Core().Term(), a) != nil }) {
		return
	}
	term = a.proc.s.Core().Term()
	if !w.until(w.opt.election, func() bool { return c.held.last() >= index }) {
		return
	}
	s.isolate(a)
	if at, _ := a.held.term(index); c.held.last() != index || at >= term {
		return
	}
	w.hit("old entry on a majority, and nothing of its leader's term")
	s.open(b, c)
	s.open(c, b)
	s.must(20, "an election by the two who are left", func() bool { return s.leading(term, b, c) != nil })
}

// unevenClocks: the leader dies, and the clocks of those who are left run apart as far
// as they may (R27).
func (s *stage) unevenClocks() {
	w := s.w
	for range 2 {
		l, others := s.cast()
		if l == nil || len(others) < 2 {
			return
		}
		term, rest := l.s.Core().Term(), machinesOf(others)
		for i, m := range rest {
			m.rate(slowest * int64(1-2*(i%2)))
		}
		s.pass(w.between(0, 2*w.opt.heartbeat))
		w.say("leader %d is gone, clocks run apart", l.m.id)
		s.down(l.m)
		s.must(10, "an election by those who are left", func() bool { return s.leading(term, rest...) != nil })
		for _, m := range rest {
			m.rate(0)
		}
		l.m.start()
		if !s.calm() {
			return
		}
	}
	w.hit("election among clocks that run apart")
}

// unheardCampaign: leadership is handed over, but nobody hears the one who shall
// have it. When it comes back, in a higher term than everybody's, it is let in (R28).
func (s *stage) unheardCampaign() {
	w := s.w
	l, others := s.cast()
	term, to := l.s.Core().Term(), others[0]
	w.poll(l, l.s.Transfer(to.m.id), 2*w.opt.election, func(error, bool) {})
	if !w.until(w.opt.election, func() bool { return to.s.Core().Term() > term }) {
		return
	}
	s.isolate(to.m)
	w.say("node %d campaigns unheard", to.m.id)
	s.pass(w.between(w.opt.election, 4*w.opt.election))
	if p := w.leader(); p != l || l.s.Core().Term() != term || to.dead {
		return
	}
	w.hit("member comes back in a higher term than its leader's")
	write := s.write(l)
	s.mend(to.m)
	s.must(20, "the return of a member in a higher term", func() bool {
		lead := w.leader()
		return write.state != opPending && to.s.Core().Leader() != 0 && lead != nil && to.s.Core().Commit() >= max(write.index, l.s.Core().Commit())
	})
}

// deafCampaigner: everybody starts anew, and one of them hears nothing and has a clock
// that runs far too fast. It asks for pre-votes more often than the others' timeouts
// end, and they may promise them: it has all there is. It never learns of that, and what
// was promised must not keep those who hear each other from electing (R27).
func (s *stage) deafCampaigner() {
	w := s.w
	l, others := s.cast()
	term, deaf := l.s.Core().Term(), others[0].m
	rest := []*machine{l.m, others[1].m}
	s.pass(w.opt.heartbeat) // everybody's disk has everything
	for _, m := range w.machines {
		s.down(m)
	}
	for _, m := range append(rest, deaf) {
		m.start()
	}
	// They have met, which takes both directions.
	s.deafen(deaf)
	deaf.rate(farTooFast)
	asks := func() bool { return deaf.proc != nil && deaf.proc.s.Core().Role() == raftcore.PreCandidate }
	if !w.until(w.opt.election, asks) {
		return
	}
	w.hit("pre-votes asked for, again and again, by one who hears nothing")
	s.must(20, "an election among those who hear each other", func() bool { return s.leading(term, rest...) != nil })
}

// farTooFast is a clock, in parts per million, that ticks four times as often.
const farTooFast = 750_000

// bulkUnderWay: so much is written at once that the lines need several election
// timeouts to carry it. What keeps a leader in its place does not wait behind it (R36).
func (s *stage) bulkUnderWay() {
	w := s.w
	l, _ := s.cast()
	term := l.s.Core().Term()
	if !s.grow(l, 1, 100) {
		return
	}
	usual := w.opt.perByte
	w.opt.perByte = w.between(time.Microsecond, 2*time.Microsecond)
	defer func() { w.opt.perByte = usual }()
	// What the lines carry in three election timeouts.
	total := int(3 * w.opt.election / w.opt.perByte)
	last := &op{}
	for sent := 0; sent < total; sent += narrowValue {
		last = s.fill(l, narrowValue)
	}
	w.until(20*w.opt.election, func() bool { return last.state != opPending || last.p == nil })
	w.checked(20)
	if c := l.s.Core(); l.dead || c.Role() != raftcore.Leader || c.Term() != term {
		w.fail("I20", "leader %d of term %d was deposed by bulk data on its way:%s", l.m.id, term, w.states(nil))
	}
}

const narrowValue = 24 << 10

// narrowLine is quick with a leader that may have as much as it likes under way. The play
// makes the lines narrow: half a megabyte to a megabyte a second.
func narrowLine(o *options) {
	quick(o)
	o.window, o.message, o.inflight, o.inflightMessages = 1<<20, 32<<10, 8<<20, 64
	o.uncommitted, o.maxEntry = 256<<20, 128<<10
}
