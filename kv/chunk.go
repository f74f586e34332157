package kv

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Chunk is one connection's pipeline chunk (or a part of one): the operations that
// go through the log, already encoded as they will be proposed, and the reads that
// run between them on this node only. Its tape collects one value per command, in
// the order of the commands.
//
// The connection fills it, the node proposes Ops (Logged) or calls Store.Read, and
// the applier or the reader fills Reply, Ends and Index. At each moment one of
// them owns it. A node embeds Chunk in a larger struct of its own.
type Chunk struct {
	// Ops holds NumOps encoded operations, exactly the bytes that are proposed.
	Ops    []byte
	NumOps int
	// Reads run between the operations, in this order.
	Reads []LocalRead

	// Reply is the tape, Ends the end offset in it of each top-level value: one per
	// command outside a transaction, one per transaction.
	Reply Reply
	Ends  []uint32
	// Index is the log index at which the chunk was applied; 0 for reads.
	Index uint64
	// Misses are the keys that reads of the chunk did not find, if
	// notify-keyspace-events asks for them, up to maxMisses.
	Misses []Miss
	// TrackReads asks for ReadKeys: the keys that scripts of the chunk read by commands
	// that only read, in their order, up to maxReadKeys. ReadMore tells of more.
	TrackReads bool
	ReadKeys   [][]byte
	ReadMore   bool

	// Seq, Err and Waiter belong to the node that proposes the chunk and to the
	// front end that waits for it; this package never looks at them. Seq is the
	// unit's number in the node's session. Err, if set when the waiter is called,
	// replaces all replies; its text is in Redis's words ("TIMEOUT ...").
	Seq    uint64
	Err    error
	Waiter Waiter

	// User is 1 + the id of the user whose commands these are, who may have lost
	// permissions by the time they run; 0: nothing is checked. Denied are the commands
	// that were refused for that reason.
	User   uint64
	Denied []Denial
	// Called collects the commands that scripts called, if Watching asks for them
	// (MONITOR); Calls counts them in any case.
	Called   [][][]byte
	Watching bool
	Calls    []CommandCalls
	// CallErrors are the errors that scripts met in their calls, by code, but for those
	// that became their replies.
	CallErrors map[string]int

	ctx        Ctx    // for Store.Read
	run        runner // for Store.Read
	db, sentDB int    // selected for what is added next; selected by Ops so far
	writes     int
	// NoTouch: the client's commands do not make keys warm (CLIENT NO-TOUCH).
	NoTouch bool
	// Stale: the client takes answers that may be old, so its reads ask for nothing that
	// needs the leader.
	Stale bool
	// RESP2: the tape is for a client of RESP2, which what does not go through the log
	// makes use of (Reply).
	RESP2    bool
	grows    bool // an operation may need room
	wantsLog bool // a script among the reads wants to write
	tooLong  bool // a read needs more time (ReadBriefly)
	// wantsLate: that is because a large value is to be written; lates are those that are
	// still to be.
	wantsLate bool
	lates     []lateValue
	// mayWait: an XREAD that finds nothing waits; waits: it does; wait: what for.
	mayWait, waits bool
	wait           *readWait
	groups         []execGroup
	inExec         bool
	execCount      int // offset of the open EXEC's count in Ops
	buf            []byte
	args           [][]byte
}

// Waiter is told once when a proposed chunk was answered. It is called on an
// arbitrary goroutine and must only enqueue.
type Waiter interface{ ChunkDone(c *Chunk) }

// BlockWaiter is told, if the Waiter is one, that the chunk's client is blocked now, and
// will be until ChunkDone. Chunk.Seq may be read from then on. It must only enqueue.
type BlockWaiter interface{ ChunkBlocked(c *Chunk) }

// LocalRead is something the origin answers itself, at a position between the
// logged operations. Exactly one of Cmd, Tape and Deferred is used.
type LocalRead struct {
	// Before: it runs before operation number Before of Ops (and after the one
	// before that).
	Before int
	// Group is the number, from 1, of the transaction it belongs to; 0: none.
	Group int
	DB    int
	Cmd   *Command
	// Args are the command's arguments, the name included. The chunk owns them.
	Args [][]byte
	// Tape is a reply that is known already (an error found by the front end, +OK of
	// a SELECT); it is copied.
	Tape []byte
	// tapeComplex and tapeFailed are the tape's marks (Reply).
	tapeComplex, tapeFailed bool
	// deferred is the number of a value that package resp fills in while it
	// renders the tape; -1: none.
	deferred int
	// wantsLog: the script wanted to write when it ran as a read.
	wantsLog bool
}

// execGroup is one transaction.
type execGroup struct {
	op      int // ordinal of its EXEC in Ops
	ops     int // operations in it, control operations included
	values  int // values its array holds
	watches []Watch
	ago     uint32 // ms, see BeginExecAgo
}

// chunkKeep is the size above which an emptied chunk's memory is let go: one large
// command must not be paid for by an idle connection for ever.
const chunkKeep = 256 << 10

// CommandCalls is how often scripts of a chunk called a command, how often it replied
// an error, and how often it was refused.
type CommandCalls struct {
	Cmd                     *Command
	Calls, Failed, Rejected int
}

// called counts a command that a script called.
func (c *Chunk) called(cmd *Command, failed bool) {
	n := c.callsOf(cmd)
	n.Calls++
	if failed {
		n.Failed++
	}
}

// refused counts a command that a script was not allowed to call; cmd is nil if there
// is no such command.
func (c *Chunk) refused(cmd *Command) {
	if cmd != nil {
		c.callsOf(cmd).Rejected++
	}
}

func (c *Chunk) callsOf(cmd *Command) *CommandCalls {
	i := len(c.Calls) - 1
	for i >= 0 && c.Calls[i].Cmd != cmd {
		i--
	}
	if i < 0 {
		i = len(c.Calls)
		c.Calls = append(c.Calls, CommandCalls{Cmd: cmd})
	}
	return &c.Calls[i]
}

// maxCallErrors bounds CallErrors: a script can invent no error codes for commands.
const maxCallErrors = 64

// callFailed counts an error that a script met, by its code.
func (c *Chunk) callFailed(msg string) {
	code, _, _ := strings.Cut(msg, " ")
	if c.CallErrors == nil {
		c.CallErrors = map[string]int{}
	}
	if _, ok := c.CallErrors[code]; ok || len(c.CallErrors) < maxCallErrors {
		c.CallErrors[code]++
	}
}

// callErrorReplied takes back an error that became the script's reply: it is counted
// as a reply.
func (c *Chunk) callErrorReplied(msg string) {
	code, _, _ := strings.Cut(msg, " ")
	if c.CallErrors[code] > 0 {
		c.CallErrors[code]--
	}
}

// Reset empties the chunk and keeps its memory and its Waiter.
func (c *Chunk) Reset() {
	if c.Size() > chunkKeep || cap(c.Reply.b) > chunkKeep {
		SpareTape(c.Reply.Take())
		*c = Chunk{Waiter: c.Waiter}
		return
	}
	clear(c.Reads)
	clear(c.args)
	clear(c.groups)
	c.Ops, c.Reads, c.Ends = c.Ops[:0], c.Reads[:0], c.Ends[:0]
	c.groups, c.buf, c.args = c.groups[:0], c.buf[:0], c.args[:0]
	c.NumOps, c.Index, c.Seq, c.Err = 0, 0, 0, nil
	c.User, c.Denied, c.Called, c.Watching, c.Calls = 0, nil, nil, false, c.Calls[:0]
	c.CallErrors = nil
	c.db, c.sentDB, c.writes, c.inExec, c.execCount = 0, 0, 0, false, 0
	c.grows, c.mayWait, c.waits, c.wait, c.Misses = false, false, false, nil, nil
	c.RESP2 = false
	c.TrackReads, c.NoTouch, c.Stale, c.ReadKeys, c.ReadMore = false, false, false, nil, false
	c.Reply.Reset()
}

// Logged reports whether the chunk has to be proposed; otherwise Store.Read
// answers it.
func (c *Chunk) Logged() bool { return c.writes > 0 }

// Grows reports whether an operation of it may make the data larger: what a node
// without room refuses.
func (c *Chunk) Grows() bool { return c.grows }

// Empty reports whether nothing was added.
func (c *Chunk) Empty() bool { return c.NumOps == 0 && len(c.Reads) == 0 }

// Size is the number of bytes the chunk holds for its commands.
func (c *Chunk) Size() int { return len(c.Ops) + len(c.buf) }

// AppendSelect sets the database of what is added next; a chunk begins in 0. The
// reply to SELECT is the front end's (AddTape).
func (c *Chunk) AppendSelect(db int) { c.db = db }

// AppendOp adds a logged command. args includes the name (and the subcommand's);
// it is copied.
func (c *Chunk) AppendOp(cmd *Command, args [][]byte) {
	if c.db != c.sentDB {
		c.sentDB = c.db
		var tmp [8]byte
		c.appendControl(opSelect, strconv.AppendInt(tmp[:0], int64(c.db), 10))
	}
	c.Ops = appendOp(c.Ops, cmd.Op, args[len(cmd.argv0):]...)
	c.NumOps++
	c.writes++
	c.grows = c.grows || cmd.Flags&FlagDenyOOM != 0
	c.countValue()
}

func (c *Chunk) appendControl(code Opcode, args ...[]byte) {
	c.Ops = appendOp(c.Ops, code, args...)
	c.NumOps++
}

// AppendConfigSet adds CONFIG SET of replicated settings: name, value, ... It
// replies OK, or an error if a value is refused (ValidateSettings tells before).
func (c *Chunk) AppendConfigSet(pairs [][]byte) {
	c.appendControl(opConfigSet, pairs...)
	c.writes++
	c.countValue()
}

// AppendACLLoad adds ACL LOAD: a line per user (ACL.ValidateACL tells before).
func (c *Chunk) AppendACLLoad(lines [][]byte) {
	c.appendControl(opACLLoad, lines...)
	c.writes++
	c.countValue()
}

// AppendOpen adds OPEN(node, boot, the apply level that the node knows); it must be alone
// in a unit of session 0.
func (c *Chunk) AppendOpen(node, boot uint64, level uint16) {
	c.appendControl(opOpen, strconv.AppendUint(nil, node, 10), strconv.AppendUint(nil, boot, 10), strconv.AppendUint(nil, uint64(level), 10))
	c.writes++
	c.countValue()
}

// AppendLevel raises the cluster's apply level. It belongs in a unit of session 0, in an
// entry of that level: who does not know it stops there.
func (c *Chunk) AppendLevel(level uint16) {
	c.appendControl(opLevel, strconv.AppendUint(nil, uint64(level), 10))
	c.writes++
	c.countValue()
}

// AppendUnblock adds the end of a wait: that of the unit seq of the same session. How
// is UnblockTimeout or one of its kin. It replies 1, or 0 if that unit does not wait.
func (c *Chunk) AppendUnblock(seq uint64, how string) {
	c.appendControl(opUnblock, strconv.AppendUint(nil, seq, 10), []byte(how))
	c.writes++
	c.countValue()
}

// AppendPresence adds what the leader found out about the node of a session: it is
// here, away (it may come back, and its clients are passed over meanwhile), or gone
// for good. It belongs in a unit of session 0.
func (c *Chunk) AppendPresence(session uint64, here, gone bool) {
	presence := presenceAway
	switch {
	case here:
		presence = presenceHere
	case gone:
		presence = presenceGone
	}
	c.appendControl(opPresence, strconv.AppendUint(nil, session, 10), strconv.AppendInt(nil, int64(presence), 10))
	c.writes++
	c.countValue()
}

// BeginExec opens a transaction: what is added until EndExec yields one value, an
// array, or the null array if one of the watched keys was modified.
func (c *Chunk) BeginExec(watches []Watch) { c.BeginExecAgo(watches, 0) }

// BeginExecAgo is BeginExec of a transaction in which DEBUG SLEEP waits for ms in all: its
// first command's time is so much before the entry's stamp.
func (c *Chunk) BeginExecAgo(watches []Watch, ms uint32) {
	args := make([][]byte, 1, 1+len(watches))
	args[0] = make([]byte, 4, 8)
	if ms > 0 {
		args[0] = binary.LittleEndian.AppendUint32(args[0], ms)
	}
	for _, w := range watches {
		args = append(args, w.append(nil))
	}
	c.groups = append(c.groups, execGroup{op: c.NumOps, watches: watches, ago: ms})
	c.inExec = true
	// The count is patched at EndExec: it stands behind opcode, argc and its length.
	c.execCount = len(c.Ops) + 1 + uvarintLen(uint64(len(args))) + 1
	c.appendControl(opExec, args...)
}

// EndExec closes the transaction.
func (c *Chunk) EndExec() {
	g := &c.groups[len(c.groups)-1]
	g.ops = c.NumOps - g.op - 1
	binary.LittleEndian.PutUint32(c.Ops[c.execCount:], uint32(g.ops))
	c.inExec = false
}

// AddRead adds a command that changes nothing, run on this node only. args is
// copied.
func (c *Chunk) AddRead(cmd *Command, args [][]byte) {
	first := len(c.args)
	for _, a := range args {
		at := len(c.buf)
		c.buf = append(c.buf, a...)
		c.args = append(c.args, c.buf[at:len(c.buf):len(c.buf)])
	}
	c.addRead(LocalRead{Cmd: cmd, Args: c.args[first:len(c.args):len(c.args)], deferred: -1})
}

// AddTape adds a reply that is known already; the tape must hold one value. It is
// copied.
func (c *Chunk) AddTape(tape *Reply) {
	at := len(c.buf)
	c.buf = append(c.buf, tape.b...)
	c.addRead(LocalRead{
		Tape: c.buf[at:len(c.buf):len(c.buf)], tapeComplex: tape.complex, tapeFailed: tape.failed, deferred: -1,
	})
}

// AddDeferred adds a value that package resp produces while it renders the tape,
// after everything before it was applied: a node-local command inside EXEC. The
// tape holds Reply.Deferred(n) in its place.
func (c *Chunk) AddDeferred(n int) { c.addRead(LocalRead{deferred: n}) }

func (c *Chunk) addRead(r LocalRead) {
	r.Before, r.DB = c.NumOps, c.db
	if c.inExec {
		r.Group = len(c.groups)
	}
	c.Reads = append(c.Reads, r)
	c.countValue()
}

func (c *Chunk) countValue() {
	if c.inExec {
		c.groups[len(c.groups)-1].values++
	}
}

// mark ends a top-level value.
func (c *Chunk) mark() { c.Ends = append(c.Ends, uint32(c.Reply.Len())) }

// restart empties the reply so that the chunk can be run (again).
func (c *Chunk) restart() {
	c.Reply.Reset()
	c.Ends = c.Ends[:0]
	c.wantsLog, c.tooLong, c.wantsLate, c.waits, c.Misses, c.lates = false, false, false, false, nil, nil
	c.ReadKeys, c.ReadMore = nil, false
	c.Denied, c.Called, c.Calls, c.CallErrors = nil, nil, c.Calls[:0], nil
}
