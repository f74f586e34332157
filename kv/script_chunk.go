package kv

import "strconv"

// WantsLog reports that a script among the chunk's reads wanted to write when
// Store.Read ran it, or that a PFCOUNT has a count to keep. The replies are worthless; nothing was changed. The caller
// proposes the chunk after LogScripts.
func (c *Chunk) WantsLog() bool { return c.wantsLog }

// LogScripts turns the scripts among the reads, and what may want the log as they do,
// into logged operations, in their places. A chunk that is proposed must not hold a
// script that might write as a read: only its origin would run it.
func (c *Chunk) LogScripts() {
	c.wantsLog = false
	if !c.mayLogScripts() {
		return
	}
	b := scriptLogger{old: c, reads: c.Reads, next: Chunk{Waiter: c.Waiter}}
	b.all()
	n := &b.next
	c.Ops, c.NumOps, c.Reads, c.groups, c.writes = n.Ops, n.NumOps, n.Reads, n.groups, n.writes
	c.sentDB, c.execCount = n.sentDB, n.execCount
}

func (c *Chunk) mayLogScripts() bool {
	for i := range c.Reads {
		if c.Reads[i].mayLog() {
			return true
		}
	}
	return false
}

func (lr *LocalRead) mayLog() bool {
	return lr.Cmd != nil && (lr.wantsLog || lr.Cmd.ReadFirst || lr.Cmd.Script && lr.Cmd.Flags&FlagReadonly == 0)
}

// scriptLogger builds the chunk anew, in the order in which runner.some would run it.
type scriptLogger struct {
	old   *Chunk
	reads []LocalRead
	next  Chunk
	db    int // of the old chunk's operations
	group int
}

func (b *scriptLogger) all() {
	data := b.old.Ops
	var o op
	for n := 0; n < b.old.NumOps; n++ {
		b.readsBefore(n, 0)
		data = b.one(&o, data)
		if o.code != opExec {
			continue
		}
		inside, _, _ := o.exec()
		b.group++
		b.next.BeginExecAgo(b.old.groups[b.group-1].watches, b.old.groups[b.group-1].ago)
		for range inside {
			n++
			b.readsBefore(n, b.group)
			data = b.one(&o, data)
		}
		b.readsBefore(n+1, b.group)
		g := &b.next.groups[b.group-1]
		b.next.EndExec()
		g.values = b.old.groups[b.group-1].values
	}
	b.readsBefore(b.old.NumOps, 0)
}

// one copies one operation. SELECTs are dropped: the new chunk selects as it needs.
func (b *scriptLogger) one(o *op, data []byte) []byte {
	rest, err := o.parse(data)
	if err != nil {
		panic("kv: a chunk's own operations: " + err.Error())
	}
	switch {
	case o.code == opSelect:
		b.db, _ = o.db()
	case o.code == opExec:
	default:
		b.next.AppendSelect(b.db)
		b.selected()
		b.next.Ops = append(b.next.Ops, data[:len(data)-len(rest)]...)
		b.next.NumOps++
		b.next.writes++
	}
	return rest
}

// selected emits a SELECT if the next operation needs one, as AppendOp does.
func (b *scriptLogger) selected() {
	if n := &b.next; n.db != n.sentDB {
		n.sentDB = n.db
		n.appendControl(opSelect, strconv.AppendInt(nil, int64(n.db), 10))
	}
}

func (b *scriptLogger) readsBefore(n, group int) {
	for len(b.reads) > 0 && b.reads[0].Before <= n && b.reads[0].Group == group {
		lr := b.reads[0]
		b.reads = b.reads[1:]
		if lr.mayLog() {
			b.next.AppendSelect(lr.DB)
			b.next.AppendOp(lr.Cmd, lr.Args)
			continue
		}
		lr.Before = b.next.NumOps
		b.next.Reads = append(b.next.Reads, lr)
	}
}

// maxReadKeys bounds Chunk.ReadKeys.
const maxReadKeys = 10_000

// noteReads notes the keys of a command that a script executes.
func (c *Chunk) noteReads(cmd *Command, args [][]byte) {
	positions, ok := cmd.KeyPositions(args)
	if !ok {
		return
	}
	for _, i := range positions {
		if len(c.ReadKeys) >= maxReadKeys {
			c.ReadMore = true
			return
		}
		c.ReadKeys = append(c.ReadKeys, append([]byte(nil), args[i]...))
	}
}
