package sim

import (
	"github.com/rkvdb/rkv/raftcore"
)

// overwrittenUnsaved: a leader's last entry is on its way to the disk, and the next term
// with it, when the leader of that term replaces the entry. What is reported then proves
// nothing of the entry that has its place: if it did, the new leader would commit it with
// a quorum of which one has not got it (R11).
//
// The disk must have the term, or the false word would wait for it, and the new entry
// behind it; and so must not have begun with the old entry before it had the term to
// save as well. Hence the batch in front of both.
func (s *stage) overwrittenUnsaved() {
	w := s.w
	l, others := s.cast()
	if !s.unsavedTail(l, others) {
		return
	}
	next, voter := s.heldBallot(l, others)
	if next == nil || !s.nextBatch(l, voter.m) {
		return
	}
	// The new leader's entry shall be with it and the old leader alone.
	term, at := next.s.Core().Term(), next.s.Core().LastIndex()+1
	leads := func() bool { return next.s.Core().Role() == raftcore.Leader }
	if !s.holding(w.opt.election/2, leads, l.m) || next.s.Core().Term() != term {
		return
	}
	s.cut(next.m, voter.m)
	replaced := func() bool {
		have, ok := l.s.Core().TermAt(at)
		return ok && have == term && l.seen.handed >= at
	}
	if l.seen.handed < at || !s.holding(w.opt.election/4, replaced, l.m) {
		return
	}
	s.open(l.m, next.m)
	if !s.nextBatch(l) {
		return
	}
	w.hit("save of an overwritten entry reported before its successor's")
	s.holding(w.opt.election/4, func() bool { return next.s.Core().Commit() >= at }, l.m)
	s.mend(l.m)
	s.mend(voter.m)
	s.must(20, "the commitment of what replaced it", func() bool {
		lead := w.leader()
		return lead != nil && lead.s.Core().Commit() >= at && l.s.Core().Commit() >= at
	})
}

// unsavedTail gives the leader an entry that nobody else has, and that waits for its disk
// behind what the disk does.
func (s *stage) unsavedTail(l *proc, others []*proc) bool {
	w := s.w
	first := s.write(l)
	everywhere := func() bool {
		for _, p := range others {
			if p.s.Core().LastIndex() < first.index {
				return false
			}
		}
		return first.state == opOK && l.syncBusy
	}
	if !s.holding(w.opt.election/2, everywhere, l.m) {
		return false
	}
	for _, p := range others {
		s.cut(l.m, p.m)
	}
	s.write(l)
	return s.holding(w.opt.election/4, func() bool { return l.seen.handed > first.index }, l.m)
}

// heldBallot waits for a candidate of whose term the old leader hears, and keeps the
// other's vote on its way to the disk.
func (s *stage) heldBallot(old *proc, others []*proc) (candidate, voter *proc) {
	w := s.w
	term := old.s.Core().Term()
	stands := func() bool {
		for i, p := range others {
			if c := p.s.Core(); c.Role() == raftcore.Candidate && c.Term() > term {
				candidate, voter = p, others[1-i]
			}
		}
		return candidate != nil
	}
	if !s.holding(10*w.opt.election, stands, old.m) {
		return nil, nil
	}
	heard := func() bool { return old.s.Core().Term() == candidate.s.Core().Term() }
	if !s.holding(w.opt.election/2, heard, old.m, voter.m) {
		return nil, nil
	}
	s.holding(holdSlice/10, func() bool { return false }, old.m, voter.m) // it goes to the disk
	return candidate, voter
}
