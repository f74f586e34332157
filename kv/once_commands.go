package kv

import "bytes"

// onceCommands are rkv's own: retries without duplicates, and numbers for fencing
// (docs/adr/0017).
var onceCommands = []Command{
	{Name: "rkv.once", Group: "rkv", Since: "0.1.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagNoScript | FlagMovableKeys,
		Op: 900, Run: cmdOnce, Keys: func(args [][]byte) ([]int, bool) { return innerKeys(args, 3) },
		Summary: "Executes a command unless this session did so before; replies what it replied first: RKV.ONCE id number command ..."},
	{Name: "rkv.fence", Group: "rkv", Since: "0.1.0", Arity: -2, Flags: FlagWrite | FlagDenyOOM | FlagNoScript | FlagMovableKeys,
		Op: 901, Run: cmdFence, Keys: func(args [][]byte) ([]int, bool) { return innerKeys(args, 1) },
		Summary: "Executes a command; replies a number that grows with each step of the log, and the command's reply."},
}

// outcomeCommand is RAFT OUTCOME.
var outcomeCommand = Command{Name: "raft|outcome", Group: "rkv", Since: "0.1.0", Arity: 4, Flags: FlagWrite | FlagNoScript, Op: 902, Run: cmdOutcome,
	Summary: "Tells whether RKV.ONCE with this session and number was applied, and if not makes sure that it never is."}

// Replies of RKV.ONCE that are no command's. Each says whether something happened.
const (
	errOnceID      = "ERR the session's id must have 1 to 128 bytes"
	errOnceSeq     = "ERR the number must be a positive integer"
	errOnceSettled = "SETTLED the number is below those this session remembers: nothing was done now; it was applied before, or sealed"
	errOnceSealed  = "SEALED this number was given up by RAFT OUTCOME and never takes effect"
	errOnceLost    = "REPLYLOST applied before; its reply was too large to keep, or had to make room"
	errOnceUnknown = "NOSESSION the session is unknown: nothing was done. A session begins with number 1 and is forgotten when it is not used"
	errOnceFull    = "BUSY too many client sessions: nothing was done"
)

// innerKeys finds the keys of the command that begins at args[from].
func innerKeys(args [][]byte, from int) ([]int, bool) {
	cmd, _ := innerCommand(args[from:])
	if cmd == nil {
		return nil, true // refused when it runs
	}
	keys, ok := cmd.KeyPositions(args[from:])
	for i := range keys {
		keys[i] += from
	}
	return keys, ok
}

// innerCommand resolves a command inside another; msg says why it may not be there. Reads
// are not allowed: they need no protection, and some of their replies differ between nodes.
func innerCommand(args [][]byte) (cmd *Command, msg string) {
	if cmd = Lookup(args[0]); cmd == nil {
		return nil, "ERR unknown command inside the command"
	}
	if cmd.Sub != nil && len(args) > 1 {
		if cmd = cmd.Subcommand(args[1]); cmd == nil {
			return nil, "ERR unknown subcommand inside the command"
		}
	}
	switch {
	case !cmd.ArityOK(len(args)):
		return nil, WrongArgs(cmd.Name)
	case cmd.Name == "rkv.once", cmd.Name == "raft|outcome", cmd.Run == nil, cmd.IsLocal(), cmd.categories == 0,
		!cmd.Logged() && !cmd.Script, cmd.Flags&(FlagPubsub|FlagAdmin) != 0, MayBlock(cmd, args):
		return nil, "ERR command '" + cmd.Name + "' is not allowed inside another"
	}
	return cmd, ""
}

// inner executes the command that begins at Args[from]. done is false if it was
// refused before it began, which is a reply that nobody needs to remember.
func (c *Ctx) inner(from int) (done bool) {
	outer, args := c.cmd, c.Args
	defer func() { c.cmd, c.Args = outer, args }()
	c.mayWait = unitID{}
	cmd, msg := innerCommand(args[from:])
	switch {
	case msg != "":
		c.Out.Error(msg)
		return false
	case cmd.Name == "rkv.fence" && outer.Name == "rkv.fence":
		c.Out.Error("ERR command 'rkv.fence' is not allowed inside another")
		return false
	case c.oom && cmd.Flags&FlagDenyOOM != 0:
		c.Out.Error(errOOM)
		return false
	}
	if c.user != nil {
		if d := c.user.Check(cmd, args[from:]); d.Reason != DeniedNone {
			c.noteDenied(d)
			c.Out.Error(d.Error())
			return false
		}
	}
	c.cmd, c.Args = cmd, args[from:]
	copy(c.Args, cmd.argv0) // as in the log, where names are not
	cmd.Run(c)
	return true
}

// cmdFence is RKV.FENCE command ...: the reply is an array of a number and the
// command's reply. Of two commands of different clients the later one's number is
// greater, which the log index would not be: many clients share an entry.
func cmdFence(c *Ctx) {
	before := c.Out.Len()
	c.Out.Array(2)
	c.Out.Int(int64(c.store.st.Version))
	value := c.Out.Len()
	if !c.inner(1) { // an error alone, not in an array
		refusal := append([]byte(nil), c.Out.b[value:]...)
		c.Out.Truncate(before)
		c.Out.b = append(c.Out.b, refusal...)
	}
}

// onceArgs checks the session's id and the number.
func (c *Ctx) onceArgs(at int) (id []byte, seq uint64, ok bool) {
	id = c.Args[at]
	if len(id) == 0 || len(id) > maxOnceID {
		c.Out.Error(errOnceID)
		return nil, 0, false
	}
	n, ok := parseInt(c.Args[at+1])
	if !ok || n <= 0 {
		c.Out.Error(errOnceSeq)
		return nil, 0, false
	}
	return id, uint64(n), true
}

// cmdOnce is RKV.ONCE id number command ...
func cmdOnce(c *Ctx) {
	id, seq, ok := c.onceArgs(1)
	if !ok {
		return
	}
	t := &c.store.st.once
	row := t.find(id)
	switch {
	case row == nil && seq != 1:
		c.Out.Error(errOnceUnknown)
		return
	case row == nil:
		if !t.makeRoom(c.store.st.Stamp) {
			c.Out.Error(errOnceFull)
			return
		}
		row = &onceRow{ID: string(id), Low: 1}
	case seq < row.Low:
		c.Out.Error(errOnceSettled)
		return
	default:
		if at, found := row.place(seq); found {
			c.replayOnce(&row.Results[at])
			return
		}
	}
	before, complex, failed := c.Out.Len(), c.Out.complex, c.Out.failed
	c.Out.complex, c.Out.failed = false, false
	if c.inner(3) {
		x := onceResult{Seq: seq, Index: c.store.run.index, Complex: c.Out.complex, Failed: c.Out.failed}
		tape := c.Out.b[before:]
		if len(tape) <= maxOnceReply {
			x.Reply = append([]byte(nil), tape...)
		}
		// Nothing happened if the script is not there; EVAL may follow with this number.
		if !bytes.HasPrefix(tape, []byte("-NOSCRIPT ")) {
			t.put(row.with(x, c.store.st.Stamp))
		}
		c.work(len(row.Results))
	}
	c.Out.complex, c.Out.failed = c.Out.complex || complex, c.Out.failed || failed
}

// replayOnce replies what is known of a number.
func (c *Ctx) replayOnce(x *onceResult) {
	switch {
	case x.Index == 0:
		c.Out.Error(errOnceSealed)
	case len(x.Reply) == 0:
		c.Out.Error(errOnceLost)
	default:
		c.Out.b = append(c.Out.b, x.Reply...)
		c.Out.complex, c.Out.failed = c.Out.complex || x.Complex, c.Out.failed || x.Failed
	}
}

// cmdOutcome is RAFT OUTCOME id number: [applied, index], [never, 0] or [unknown, 0].
// After never the command does not take effect, whoever still has a copy of it. Unknown
// says that the table has forgotten; nothing takes effect from now on either.
func cmdOutcome(c *Ctx) {
	id, seq, ok := c.onceArgs(2)
	if !ok {
		return
	}
	t := &c.store.st.once
	row := t.find(id)
	fate, index := "never", uint64(0)
	switch {
	case row == nil:
		if t.forgotten > 0 {
			fate = "unknown"
		}
		if !t.makeRoom(c.store.st.Stamp) {
			c.Out.Error(errOnceFull)
			return
		}
		row = &onceRow{ID: string(id), Low: 1}
		t.put(row.with(onceResult{Seq: seq}, c.store.st.Stamp))
	case seq < row.Low:
		fate = "unknown"
	default:
		at, found := row.place(seq)
		switch {
		case !found:
			t.put(row.with(onceResult{Seq: seq}, c.store.st.Stamp))
		case row.Results[at].Index > 0:
			fate, index = "applied", row.Results[at].Index
		}
	}
	c.Out.Array(2)
	c.Out.BulkString(fate)
	c.Out.Int(int64(index))
}
