package kv

import (
	"fmt"
	"math"
)

// Read answers a chunk without logged operations; the whole chunk sees one state.
// now is the node's clock, Unix ms. When it returns needTick, the replies are
// worthless: a key is due by now, but not by the stamp. The caller has a TICK
// applied and calls again with now = 0, which judges by the stamp alone (ADR 4).
//
// Any number of goroutines may read at the same time.
func (s *Store) Read(c *Chunk, now int64) (needTick bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.read(c, now, 0, lateNever)
}

// ReadBriefly is Read for a goroutine that others wait for: scripts get a small
// share of their budget. tooLong says that one of them needs more, that it would
// have to wait for one, or that a large value is to be written (DUMP); nothing was done
// then, and ReadLong on a goroutine of its own does it.
func (s *Store) ReadBriefly(c *Chunk, now int64) (needTick, tooLong bool) {
	if s.scripts.long.Load() == 0 {
		s.mu.RLock()
	} else if !s.mu.TryRLock() { // a writer waits for that script
		return false, true
	}
	defer s.mu.RUnlock()
	needTick = s.read(c, now, briefSteps, lateAsk)
	return needTick, c.tooLong
}

// ReadLong is Read for a chunk that ReadBriefly gave up. A few run at a time, the
// others wait here.
func (s *Store) ReadLong(c *Chunk, now int64) (needTick bool) {
	if c.wantsLate {
		if needTick, done := s.readLate(c, now); done {
			return needTick
		}
	}
	s.scripts.beginLong()
	defer s.scripts.endLong()
	return s.Read(c, now)
}

// briefSteps is what all scripts of a chunk may spend in ReadBriefly, a millisecond
// or two.
const briefSteps = 50_000

func (s *Store) read(c *Chunk, now, brief int64, late lateMode) (needTick bool) {
	r := &c.run
	r.begin(s, &c.ctx, c)
	c.Reply.resp2 = c.RESP2
	c.ctx.now = max(now, s.st.Stamp)
	r.entry.Seed = s.readSeed.Add(1)
	r.readOnly, c.ctx.mayLog, c.ctx.brief, c.ctx.lateMode = true, true, brief, late
	if err := r.all(c.Ops, uint64(c.NumOps)); err != nil {
		panic("kv: Read of a chunk that has to be logged: " + err.Error()) // the caller's bug
	}
	needTick, c.tooLong = c.ctx.needTick, c.ctx.tooLong
	c.wantsLate, c.lates = c.ctx.wantsLate, c.ctx.lates
	if c.waits && !needTick {
		s.readers.add(c)
	}
	r.end()
	return needTick
}

// runner executes one unit: its operations and, on the origin, the reads between
// them.
type runner struct {
	s     *Store
	c     *Ctx
	chunk *Chunk // nil on other nodes than the origin
	out   *Reply
	reads []LocalRead // those not yet run
	warm  int         // of them, those whose memory was fetched ahead

	entry    EntryHeader
	index    uint64
	unit     int
	id       unitID
	ops      uint64 // operations of the unit
	open     bool   // a unit of session 0: only OPEN and PRESENCE are allowed
	readOnly bool
	groups   int   // transactions met so far
	user     *User // whose permissions are to be checked; nil: nobody's
	o        op
	// following iterates over the entry's later units; nil outside the log.
	following *UnitIter
}

// argsKeep is the number of arguments whose memory is kept for the next unit:
// clearing it after each is part of a unit's price.
const argsKeep = 256

func (r *runner) begin(s *Store, c *Ctx, chunk *Chunk) {
	args := r.o.args[:0]
	*r = runner{}
	r.s, r.c, r.chunk, r.o.args = s, c, chunk, args
	*c = Ctx{}
	c.store = s
	c.selectDB(0)
	if chunk != nil {
		chunk.restart()
		r.out, r.reads = &chunk.Reply, chunk.Reads
		r.actAs(chunk.User)
		if f := s.st.Settings.notify(); f&NotifyKeyMiss != 0 && f.enabled() {
			c.missesTo = chunk
		}
		c.noTouch = chunk.NoTouch
		if chunk.TrackReads {
			c.readsTo = chunk
		}
	}
}

// actAs makes the permissions of a user count; user is 1 + the id (Chunk.User).
func (r *runner) actAs(user uint64) {
	if user == 0 || user == DefaultUser+1 && r.s.st.acl.openDefault {
		return
	}
	if r.user = r.s.st.acl.UserByID(user - 1); r.user == nil {
		r.user = noUser
	} else if r.user.Unlimited() {
		r.user = nil
	}
}

// end lets go of what belongs to the entry and the chunk.
func (r *runner) end() {
	r.s.reads.add(r.c)
	if cap(r.o.args) > argsKeep {
		r.o.args = nil
	}
	clear(r.o.args[:cap(r.o.args)])
	args := r.o.args[:0]
	*r.c = Ctx{}
	*r = runner{}
	r.o.args = args
}

func (c *Ctx) selectDB(db int) { c.db, c.ks = db, c.store.dbs[db] }

// all runs the unit's operations.
func (r *runner) all(data []byte, ops uint64) error {
	rest, err := r.some(data, 0, ops, 0, false)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the last operation", ErrMalformed, len(rest))
	}
	return nil
}

// some runs count operations from ordinal first on, which belong to the
// transaction group (0: none). In a transaction that was refused (skip) only
// SELECT acts, because the encoder counts on it for what follows.
func (r *runner) some(data []byte, first, count uint64, group int, skip bool) ([]byte, error) {
	var err error
	for n := first; n < first+count; n++ {
		r.readsBefore(n, group, skip)
		if r.following != nil {
			r.s.ahead.next(r.s, r.c.db, data, first+count-n, r.following)
		}
		if data, err = r.o.parse(data); err != nil {
			return nil, err
		}
		if err = r.o.check(first + count - n - 1); err != nil && r.o.code < firstOpcode {
			return nil, err
		}
		switch {
		case r.o.code == opSelect:
			db, _ := r.o.db()
			if db >= len(r.s.dbs) {
				return nil, fmt.Errorf("%w: database %d", ErrUnknown, db)
			}
			r.c.selectDB(db)
			continue
		case r.o.code == opExec:
			if group != 0 {
				return nil, fmt.Errorf("%w: EXEC inside EXEC", ErrMalformed)
			}
			inside, _, _ := r.o.exec()
			if data, err = r.exec(data, n+1, uint64(inside)); err != nil {
				return nil, err
			}
			n += uint64(inside)
		case r.readOnly || r.open != (r.o.code == opOpen || r.o.code == opPresence || r.o.code == opEvict || r.o.code == opLevel):
			return nil, fmt.Errorf("%w: opcode %d in this place", ErrMalformed, r.o.code)
		case skip:
			continue
		default:
			// Only the last operation may wait: what followed would have to be answered
			// before it.
			if group == 0 && n+1 == r.ops {
				r.c.mayWait = r.id
			}
			r.operation(n)
		}
		if group == 0 {
			r.mark()
			if !r.readOnly {
				r.s.fx.endBlock(true)
				r.s.serveReady(r.index)
			}
		}
	}
	end := first + count
	if group == 0 {
		end = math.MaxInt64
	}
	r.readsBefore(end, group, skip)
	return data, nil
}

// exec runs one transaction: its count operations from ordinal first on.
func (r *runner) exec(data []byte, first, count uint64) ([]byte, error) {
	r.groups++
	hold, ago := true, r.o.execAgo()
	for _, enc := range r.o.args[1:] {
		w, _ := parseWatch(enc)
		hold = hold && r.s.watchHolds(&w, r.c)
	}
	if !r.readOnly && r.entry.Flags&EntryOOM != 0 && needsRoom(data, count) {
		hold = false
		r.out.Error("EXECABORT Transaction discarded because of: " + errOOM)
	} else if !hold {
		r.out.NullArray()
	} else if r.chunk != nil && r.groups <= len(r.chunk.groups) {
		r.out.Array(r.chunk.groups[r.groups-1].values)
	}
	r.c.inExec = true
	defer func(now int64) { r.c.inExec, r.c.now = false, now }(r.c.now)
	r.c.now -= ago
	return r.some(data, first, count, r.groups, !hold)
}

// needsRoom reports whether one of the next count operations is refused while memory
// is short: then the whole transaction is.
func needsRoom(data []byte, count uint64) bool {
	var o op
	for ; count > 0; count-- {
		var err error
		if data, err = o.parse(data); err != nil {
			return false // some finds it again
		}
		if o.cmd != nil && o.cmd.Flags&FlagDenyOOM != 0 {
			return true
		}
	}
	return false
}

// readsBefore runs the reads that stand before operation n.
func (r *runner) readsBefore(n uint64, group int, skip bool) {
	for len(r.reads) > 0 && uint64(r.reads[0].Before) <= n && r.reads[0].Group == group {
		r.lookAhead()
		lr := &r.reads[0]
		r.reads = r.reads[1:]
		if skip {
			continue
		}
		r.read(lr)
		if r.c.needLog && r.chunk != nil {
			lr.wantsLog, r.chunk.wantsLog = true, true
			r.c.needLog = false
		}
		if group == 0 {
			r.mark()
		}
	}
}

// lookAhead fetches the memory that the next reads will need, several at a time. In the log
// it is the operations that are looked ahead at.
func (r *runner) lookAhead() {
	if r.warm > 0 {
		r.warm--
		return
	}
	if !r.readOnly || len(r.reads) < 2 {
		return
	}
	w, _ := r.s.warmers.Get().(*warmer)
	if w == nil {
		w = new(warmer)
	}
	r.warm = w.reads(r.s, r.reads) - 1
	r.s.warmers.Put(w)
}

func (r *runner) mark() {
	if r.chunk != nil && r.c.waits == nil {
		r.chunk.mark()
	}
}

// read runs one local read.
func (r *runner) read(lr *LocalRead) {
	switch {
	case lr.deferred >= 0:
		r.out.Deferred(lr.deferred)
		return
	case lr.Cmd == nil:
		r.out.b = append(r.out.b, lr.Tape...)
		r.out.complex = r.out.complex || lr.tapeComplex
		r.out.failed = r.out.failed || lr.tapeFailed
		return
	}
	c, db, logged := r.c, r.c.db, r.c.logged
	c.logged = false
	c.selectDB(lr.DB)
	c.reader = nil
	if r.readOnly && r.chunk.mayWait {
		c.reader = r.chunk
	}
	r.command(lr.Cmd, lr.Args, uint64(lr.Before))
	c.selectDB(db)
	c.logged = logged
}

// operation runs one logged operation.
func (r *runner) operation(n uint64) {
	if r.chunk == nil {
		r.out.Reset()
	}
	switch r.o.code {
	case opOpen:
		node, boot, level, _ := r.o.open()
		if id, ok := r.s.st.sessions.open(node, boot, level, r.index); ok {
			r.out.Int(int64(id))
			r.s.waitVersion++
			r.s.dropOrphans(r.index)
		} else {
			r.out.Error("ERR a later boot of the node has a session")
		}
	case opUnblock:
		seq, how, _ := r.o.unblock()
		r.out.Bool(r.s.unblock(unitID{r.id.session, seq}, how, r.index))
	case opPresence:
		session, presence, _ := r.o.presence()
		r.s.setPresence(session, presence, r.index)
		r.out.OK()
	case opLevel:
		level, _ := r.o.level()
		r.s.st.Level = max(r.s.st.Level, level)
		r.s.waitVersion++
		r.out.OK()
	case opEvict:
		r.out.Int(int64(r.s.evict(r.c, r.o.args)))
	case opConfigSet:
		if msg := r.s.configSet(r.o.args); msg != "" {
			r.out.Error(msg)
		} else {
			r.out.OK()
		}
	case opACLLoad:
		if next, msg := r.s.st.acl.load(r.o.args, r.s.st.Settings.newChannels()); msg != "" {
			r.out.Error(msg)
		} else {
			r.s.setACL(next)
			r.out.OK()
		}
	default:
		r.command(r.o.cmd, r.o.args, n)
	}
}

// command executes one command with all that guards it.
func (r *runner) command(cmd *Command, args [][]byte, n uint64) {
	c, out := r.c, r.out
	out.digits17 = c.settings().RedisVersion < redis72
	c.Args, c.Out, c.cmd, c.marked = args, out, cmd, nil
	c.rng = newRNG(r.entry.Seed, r.unit, int(n))
	c.user, c.denied, c.caller = r.user, nil, r.chunk
	if r.chunk != nil {
		c.denied = &r.chunk.Denied
	}
	c.oom = c.logged && r.entry.Flags&EntryOOM != 0 || !c.logged && cmd.Script && c.store.Short()
	if c.logged {
		r.s.fx.index, r.s.fx.op = r.index, int(n)
	}
	before := out.Len()
	switch {
	case !cmd.ArityOK(len(args)):
		c.wrongArgs()
	case r.user != nil && r.denies(cmd, args):
	case c.logged && r.entry.Flags&EntryOOM != 0 && cmd.Flags&FlagDenyOOM != 0:
		out.Error(errOOM)
	case c.logged && tooLong(args, c.settings().ProtoMaxBulkLen):
		out.Error(errTooLong)
	default:
		c.notes(cmd)
		if c.wantsMisses() {
			c.noteMisses(cmd, args)
		}
		c.run(cmd)
	}
	size := out.Len() - before
	for _, a := range args {
		size += len(a)
	}
	c.cost += opCost + size/bytesPerCost
}

// denies checks the user's permissions as they are now. The session checked them as
// its node knew them; here they are in the log's order.
func (r *runner) denies(cmd *Command, args [][]byte) bool {
	if cmd.categories == 0 {
		return false // listed nowhere: the session checked the command that stands for it
	}
	d := r.user.Check(cmd, args)
	if d.Reason == DeniedNone {
		return false
	}
	if d.InExec = r.c.inExec; d.InExec {
		r.out.Error(d.execError())
	} else {
		r.out.Error(d.Error())
	}
	r.c.noteDenied(d)
	return true
}

// noteDenied tells the client's node, for ACL LOG.
func (c *Ctx) noteDenied(d Denial) {
	if c.denied != nil && len(*c.denied) < maxDenials {
		*c.denied = append(*c.denied, d)
	}
}

// maxDenials bounds what one chunk reports: a script may try a million times.
const maxDenials = 16

// tooLong reports whether an argument is beyond the limit. The front end refuses
// it before; here it counts again because the limit may have been lowered since.
func tooLong(args [][]byte, limit int64) bool {
	for _, a := range args {
		if int64(len(a)) > limit {
			return true
		}
	}
	return false
}
