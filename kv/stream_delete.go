package kv

// streamRefs says what deleting an entry has to do with the consumer groups that may
// still need it.
type streamRefs uint8

const (
	refsKept    streamRefs = iota // KEEPREF: groups keep what they hold pending
	refsDropped                   // DELREF: no group holds it any more
	refsAwaited                   // ACKED: it stays until every group is done with it
)

// What XDELEX and XACKDEL answer for each ID.
const (
	streamIDMissing = -1
	streamIDDeleted = 1
	streamIDNeeded  = 2 // another group is not done with it
)

// refsArgs reads [KEEPREF|DELREF|ACKED] IDS numids id [id ...] from argument i on.
func (c *Ctx) refsArgs(i int) (refs streamRefs, ids []streamID, ok bool) {
	chosen := false
	for ; i < len(c.Args); i++ {
		opt, next := c.Args[i], refsKept
		switch {
		case is(opt, "keepref"):
		case is(opt, "delref"):
			next = refsDropped
		case is(opt, "acked"):
			next = refsAwaited
		case is(opt, "ids") && i+1 < len(c.Args):
			return refs, ids, c.numberedIDs(i+1, &ids)
		default:
			c.syntaxError()
			return 0, nil, false
		}
		if chosen {
			c.syntaxError()
			return 0, nil, false
		}
		refs, chosen = next, true
	}
	c.syntaxError()
	return 0, nil, false
}

// numberedIDs reads numids id [id ...], to the end of the arguments.
func (c *Ctx) numberedIDs(i int, ids *[]streamID) (ok bool) {
	switch n, isInt := parseInt(c.Args[i]); {
	case !isInt || n < 1:
		c.Out.Error("ERR Number of IDs must be a positive integer")
		return false
	case n != int64(len(c.Args)-i-1):
		c.Out.Error("ERR The `numids` parameter must match the number of arguments")
		return false
	}
	*ids, ok = c.streamIDArgs(i + 1)
	return ok
}

// cmdXDelEx is XDELEX key [KEEPREF|DELREF|ACKED] IDS numids id [id ...].
func cmdXDelEx(c *Ctx) {
	s, ok := c.openStream(c.Args[1])
	if !ok {
		return
	}
	refs, ids, ok := c.refsArgs(2)
	if !ok {
		return
	}
	c.Out.Array(len(ids))
	d := streamDeletion{c: c, s: &s, refs: refs}
	for _, id := range ids {
		if !s.found || !s.has(id) {
			c.Out.Int(streamIDMissing)
			continue
		}
		c.Out.Int(d.remove(id))
	}
	d.done(len(ids))
}

// cmdXAckDel is XACKDEL key group [KEEPREF|DELREF|ACKED] IDS numids id [id ...]: an
// entry that the group holds pending is acknowledged in any case.
func cmdXAckDel(c *Ctx) {
	s, g, exists, ok := c.groupAt1()
	if !ok {
		return
	}
	refs, ids, ok := c.refsArgs(3)
	if !ok {
		return
	}
	c.Out.Array(len(ids))
	d := streamDeletion{c: c, s: &s, refs: refs}
	for _, id := range ids {
		if !exists {
			c.Out.Int(streamIDMissing)
			continue
		}
		n, pending := s.nack(&g, id)
		if !pending {
			c.Out.Int(streamIDMissing)
			continue
		}
		s.dropNack(&g, &n)
		d.acked = true
		c.Out.Int(d.remove(id))
	}
	d.done(len(ids))
}

// streamDeletion is the work of one command.
type streamDeletion struct {
	c     *Ctx
	s     *streamView
	refs  streamRefs
	acked bool
	gone  int
	// groups of the stream; they do not change meanwhile.
	groups []streamGroup
	listed bool
}

// remove deletes an entry, if the groups let it go.
func (d *streamDeletion) remove(id streamID) (reply int64) {
	switch {
	case d.refs == refsAwaited && d.needed(id):
		return streamIDNeeded
	case d.refs == refsDropped:
		for i := range d.list() {
			g := &d.groups[i]
			if n, pending := d.s.nack(g, id); pending {
				d.s.dropNack(g, &n)
				d.acked = true
			}
		}
	}
	if d.s.remove(id) {
		d.gone++
		if d.s.head.deleted.less(id) {
			d.s.head.deleted = id
		}
	}
	return streamIDDeleted
}

// needed reports whether a group has the entry pending, or has not read it yet.
func (d *streamDeletion) needed(id streamID) bool {
	for i := range d.list() {
		g := &d.groups[i]
		if _, pending := d.s.nack(g, id); pending || g.last.less(id) {
			return true
		}
	}
	return false
}

func (d *streamDeletion) list() []streamGroup {
	if !d.listed {
		d.listed = true
		d.s.eachGroup(func(g *streamGroup) {
			d.groups = append(d.groups, streamGroup{number: g.number, last: g.last})
		})
	}
	d.c.work(5 * len(d.groups))
	return d.groups
}

func (d *streamDeletion) done(ids int) {
	switch {
	case d.gone > 0:
		d.s.saveHead()
		d.c.touched("xdel", d.s.key)
	case d.acked:
		d.c.groupTouched("", d.s.key)
	}
	d.c.work(5 * ids)
}
