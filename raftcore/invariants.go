package raftcore

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rkvdb/rkv/raftcore/progress"
)

// CheckInvariants looks for contradictions within this node (RELIABILITY 7.3, the
// local forms of I3, I5, I7, I8, I16 and I18). It is for tests and simulations: it
// walks the whole window.
func (c *Core) CheckInvariants() error {
	return errors.Join(c.log.check(), c.checkHardState(), c.checkConfigs(), c.checkLeader())
}

func violated(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func (l *raftLog) check() error {
	errs := []error{
		violated(l.applied <= l.applying && l.applying <= l.commit && l.commit <= l.last,
			"applied %d <= applying %d <= commit %d <= last %d", l.applied, l.applying, l.commit, l.last),
		violated(l.durable <= l.handed && l.handed <= l.last,
			"durable %d <= handed %d <= last %d", l.durable, l.handed, l.last),
		violated(l.first <= l.last+1 && l.first-1 <= l.commit, "log [%d, %d], commit %d", l.first, l.last, l.commit),
		violated((len(l.runs) == 0) == (l.first > l.last), "runs %v of log [%d, %d]", l.runs, l.first, l.last),
		violated(len(l.runs) == 0 || l.runs[0].Index == l.first, "runs %v begin at %d", l.runs, l.first),
		violated(len(l.pieces) == 0 && l.unapplied == 0 || len(l.pieces) > 0 && l.pieces[len(l.pieces)-1].last == l.applying,
			"%d bytes in %v wait to be applied, handed out up to %d", l.unapplied, l.pieces, l.applying),
		violated(l.winFirst() <= l.durable+1, "window begins at %d, durable is only %d", l.winFirst(), l.durable),
	}
	for i := 1; i < len(l.runs); i++ {
		errs = append(errs, violated(l.runs[i-1].Index < l.runs[i].Index && l.runs[i-1].Term < l.runs[i].Term &&
			l.runs[i].Index <= l.last, "runs %v of log up to %d", l.runs, l.last))
	}
	bytes := 0
	for i := range l.window {
		e := &l.window[i]
		bytes += e.Size()
		if e.Index != l.winFirst()+uint64(i) || !e.Verify() {
			errs = append(errs, fmt.Errorf("window entry %d damaged", e.Index))
		}
		if e.Index >= l.first && !l.matches(e.Index, e.Term) {
			errs = append(errs, fmt.Errorf("entry %d of term %d is not in runs %v", e.Index, e.Term, l.runs))
		}
	}
	for _, save := range l.saves {
		errs = append(errs, violated(save.last <= l.handed, "save %d promises %d, handed out %d", save.id, save.last, l.handed))
	}
	return errors.Join(append(errs, violated(bytes == l.windowBytes, "window of %d bytes, counted %d", bytes, l.windowBytes))...)
}

func (c *Core) checkHardState() error {
	return errors.Join(
		violated(c.hardDurable.Term <= c.hardHanded.Term && c.hardHanded.Term <= c.term,
			"durable term %d <= handed %d <= %d", c.hardDurable.Term, c.hardHanded.Term, c.term),
		violated(c.hardHanded.Term != c.term || c.hardHanded.Vote == 0 || c.hardHanded.Vote == c.vote,
			"vote changed from %d to %d in term %d", c.hardHanded.Vote, c.vote, c.term),
		violated(c.log.lastTerm() <= c.term, "last entry of term %d in term %d", c.log.lastTerm(), c.term),
	)
}

func (c *Core) checkConfigs() error {
	config := c.configs.newest()
	q := config.quorums()
	return errors.Join(
		violated(len(c.configs.entries) > 0 && c.configs.newestIndex() <= c.log.last,
			"membership of entry %d, log ends at %d", c.configs.newestIndex(), c.log.last),
		violated(slices.Equal(q.Incoming, c.quorums.Incoming) && slices.Equal(q.Outgoing, c.quorums.Outgoing),
			"quorums %v are not those of %v", c.quorums, config),
		c.checkConfigsAgainstLog(),
	)
}

// checkConfigsAgainstLog: the memory of configurations is that of the log, as far as
// the window shows it, entry by entry (I16).
func (c *Core) checkConfigsAgainstLog() error {
	l := &c.log
	base, known := c.configs.entries[0].index, c.configs.entries[1:]
	for len(known) > 0 && known[0].index < l.winFirst() {
		known = known[1:]
	}
	for i := range l.window {
		e := &l.window[i]
		if e.Type != EntryConfig || e.Index <= base {
			continue
		}
		config, err := DecodeMembership(e.Body)
		if err != nil || len(known) == 0 || known[0].index != e.Index ||
			known[0].config.Lease != config.Lease ||
			!slices.Equal(known[0].config.Members, config.Members) || !slices.Equal(known[0].config.Outgoing, config.Outgoing) {
			return fmt.Errorf("configuration of entry %d in the log is %v (%v), remembered are %v", e.Index, config, err, known)
		}
		known = known[1:]
	}
	if len(known) > 0 {
		return fmt.Errorf("remembered configurations %v are not in the log", known)
	}
	return nil
}

func (c *Core) checkLeader() error {
	if c.role != Leader {
		return violated(len(c.peers) == 0 && c.uncommittedBytes == 0 && len(c.reads)+len(c.parkedReads) == 0,
			"a %v keeps a leader's records", c.role)
	}
	errs := []error{
		violated(c.leader == c.id && c.vote == c.id, "leader follows %d, voted %d", c.leader, c.vote),
		violated(c.log.matches(c.termStart, c.term) || c.termStart < c.log.first, "no entry of term %d at %d", c.term, c.termStart),
		violated(c.uncommittedBytes >= 0 && (c.uncommittedBytes == 0) == (c.log.commit == c.log.last),
			"%d uncommitted bytes in (%d, %d]", c.uncommittedBytes, c.log.commit, c.log.last),
	}
	for _, p := range c.peers {
		errs = append(errs,
			violated(p.Match < p.Next && p.Next <= c.log.last+1, "member %d: match %d, next %d, last %d", p.member.ID, p.Match, p.Next, c.log.last),
			violated(p.InflightBytes() == 0 || p.State == progress.Replicate && p.Match+1 < p.Next,
				"member %d: idle with %d bytes in flight", p.member.ID, p.InflightBytes()))
	}
	return errors.Join(errs...)
}
