package kv

var serverCommands = []Command{
	{Name: "dbsize", Group: "server", Since: "1.0.0", Arity: 1, Flags: FlagReadonly | FlagFast, Run: cmdDBSize,
		Summary: "Counts the keys of the database."},
	{Name: "flushall", Group: "server", Since: "1.0.0", Arity: -1, Flags: FlagWrite, Op: 144, Run: cmdFlushAll,
		Summary: "Removes all keys of all databases."},
	{Name: "flushdb", Group: "server", Since: "1.0.0", Arity: -1, Flags: FlagWrite, Op: 145, Run: cmdFlushDB,
		Summary: "Removes all keys of the database."},
}

// cmdDBSize is DBSIZE.
func cmdDBSize(c *Ctx) { c.Out.Int(int64(c.ks.len())) }

// cmdFlushAll is FLUSHALL [ASYNC|SYNC].
func cmdFlushAll(c *Ctx) {
	if !c.flushOption() {
		return
	}
	for db := range c.store.dbs {
		c.flush(db)
	}
	c.Out.OK()
}

// cmdFlushDB is FLUSHDB [ASYNC|SYNC].
func cmdFlushDB(c *Ctx) {
	if !c.flushOption() {
		return
	}
	c.flush(c.db)
	c.Out.OK()
}

// flushOption checks the argument. Both ways do the same: the keys are gone at
// once, the memory is freed in slices.
func (c *Ctx) flushOption() bool {
	if len(c.Args) > 2 || len(c.Args) == 2 && !is(c.Args[1], "async") && !is(c.Args[1], "sync") {
		c.syntaxError()
		return false
	}
	return true
}

func (c *Ctx) flush(db int) {
	ks := c.store.dbs[db]
	c.store.dirty += uint64(ks.len())
	if !c.inExec && !c.script { // there Redis frees them before it answers
		c.store.lazyFreed.Add(uint64(ks.len()))
	}
	ks.clear()
	c.store.st.watch.flush[db] = c.store.st.Version
	c.flushed(db)
	c.store.noteDatabase(db)
}
