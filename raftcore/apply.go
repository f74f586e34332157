package raftcore

// Committed entries go to the driver in order, each once. What is in memory goes
// at once, as long as no more than MaxUnappliedBytes wait for the state machine. What
// left memory, after a restart or because the state machine is behind by more than that
// and the window, has to be read from the log, a bounded piece at a time: the next Fetch
// goes out when the piece before the last has been applied.

// applyPiece is what one Ready handed out for Apply.
type applyPiece struct {
	last  uint64
	bytes int
}

// handOutApply moves committed entries into the next Ready.
func (c *Core) handOutApply() {
	if c.restore != nil {
		return
	}
	l := &c.log
	if len(c.fetched) > 0 {
		bytes := 0
		for i := range c.fetched {
			bytes += c.fetched[i].Size()
		}
		c.handOut(c.fetched, bytes)
		c.fetched = nil
	}
	if c.mayHandOutWindow() {
		c.handOut(l.slice(l.applying+1, l.commit+1, l.maxUnapplied-l.unapplied))
	}
	c.fetchApply()
}

func (c *Core) handOut(entries []Entry, bytes int) {
	if c.out.Apply == nil {
		c.out.Apply = entries
	} else {
		c.out.Apply = append(c.out.Apply, entries...)
	}
	c.log.handedOut(entries[len(entries)-1].Index, bytes)
}

// mayHandOutWindow reports whether the window has what comes next, and the state machine
// is not too far behind to be given it.
func (c *Core) mayHandOutWindow() bool {
	l := &c.log
	return l.applying < l.commit && l.applying+1 >= l.winFirst() && !l.behind()
}

// applyNeeded reports whether handOutApply has something to do.
func (c *Core) applyNeeded() bool {
	l := &c.log
	if c.restore != nil || l.applying >= l.commit {
		return false
	}
	return len(c.fetched) > 0 || c.mayHandOutWindow() || c.mayFetchApply()
}

func (c *Core) mayFetchApply() bool {
	l := &c.log
	return c.fetchingApply == 0 && len(c.fetched) == 0 && c.restore == nil &&
		l.applying < l.commit && l.applying+1 < l.winFirst() && !l.behind() &&
		c.now >= c.applyFetchDue && l.applied >= c.applyFetchAfter
}

func (c *Core) fetchApply() {
	if !c.mayFetchApply() {
		return
	}
	l := &c.log
	c.fetchingApply = l.applying + 1
	c.out.Fetch = append(c.out.Fetch, Fetch{
		To: c.id, Lo: l.applying + 1, Hi: min(l.commit+1, l.winFirst()), MaxBytes: c.cfg.MaxInflightBytes,
	})
}

func (c *Core) fetchedForApply(f Fetch, entries []Entry, err error) {
	if c.fetchingApply != f.Lo {
		return
	}
	c.fetchingApply = 0
	if c.restore != nil || f.Lo != c.log.applying+1 {
		return
	}
	if err != nil {
		c.applyFetchDue = c.now + 1 // not again within this tick
		return
	}
	for len(entries) > 0 && entries[len(entries)-1].Index > c.log.commit {
		entries = entries[:len(entries)-1]
	}
	c.applyFetchAfter = f.Lo - 1
	c.fetched = entries
}
