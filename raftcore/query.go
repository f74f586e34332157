package raftcore

// TermAt is the term of entry index; ok is false if the log never had it or has
// forgotten it. For the index of the last compaction the term is still known.
func (c *Core) TermAt(index uint64) (term uint64, ok bool) { return c.log.term(index) }

// ChangeInProgress reports whether a membership change is not committed yet.
func (c *Core) ChangeInProgress() bool { return c.changeInFlight() }
