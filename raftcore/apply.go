package raftcore

// Committed entries go to the driver in order, each once. What is in memory goes
// at once; after a restart the log has to be read, a bounded piece at a time: the
// next Fetch goes out when the piece before the last has been applied.

// handOutApply moves committed entries into the next Ready.
func (c *Core) handOutApply() {
	if c.restore != nil {
		return
	}
	l := &c.log
	if len(c.fetched) > 0 {
		c.out.Apply = append(c.out.Apply, c.fetched...)
		l.applying = c.fetched[len(c.fetched)-1].Index
		c.fetched = nil
	}
	if l.applying < l.commit && l.applying+1 >= l.winFirst() {
		entries, _ := l.slice(l.applying+1, l.commit+1, int(^uint(0)>>1))
		c.out.Apply = append(c.out.Apply, entries...)
		l.applying = l.commit
	}
	c.fetchApply()
}

// applyNeeded reports whether handOutApply has something to do.
func (c *Core) applyNeeded() bool {
	l := &c.log
	if c.restore != nil || l.applying >= l.commit {
		return false
	}
	return len(c.fetched) > 0 || l.applying+1 >= l.winFirst() || c.mayFetchApply()
}

func (c *Core) mayFetchApply() bool {
	l := &c.log
	return c.fetchingApply == 0 && len(c.fetched) == 0 && c.restore == nil &&
		l.applying < l.commit && l.applying+1 < l.winFirst() &&
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
