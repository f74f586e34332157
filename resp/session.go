package resp

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// Caps of one chunk. A chunk is applied as a whole and its replies are in memory at
// once, so they bound what one connection may demand before others have their turn.
const (
	maxChunkCommands = 1024
	maxChunkOps      = 256 << 10 // bytes of encoded operations, unless one command is bigger
	// minChunkOps is what is left of maxChunkOps for a connection that shares entries with
	// many others (gather.share).
	minChunkOps = 16 << 10
	// A chunk holds between minChunkReads and maxChunkReads reads. Their replies are in
	// memory together, and nobody knows their size before: as in TCP's slow start the
	// window doubles while replies turn out small and falls back when they do not.
	// A client that means harm can still grow the window first and then ask for 256
	// big values at once; the way out is a bound on the tape in kv.
	minChunkReads = 16
	maxChunkReads = 256
	smallTape     = 64 << 10
	// maxUnit is what fits an entry (64 MiB) with room for its framing.
	maxUnit = 60 << 20
)

// step is what a session wants after feed.
type step uint8

const (
	stepMore     step = iota // more bytes: nothing complete is left
	stepYield                // more commands are complete, but others deserve a turn
	stepOutput               // the client has to read its replies first
	stepRead                 // chunk: run it by Store.Read, after a barrier if needBarrier
	stepBarrier              // run afterBarrier once a read barrier was passed
	stepPropose              // chunk: propose it
	stepAsync                // async was set: run it and call asyncDone
	stepPause                // a failed AUTH: try again at pausedUntil
	stepPostpone             // CLIENT PAUSE holds the next command back
	stepClose                // flush out, then close
)

// session is one client's state and the step function over it: feed takes bytes and
// says what is to be done, finish and its kin take the results. It knows no socket,
// clock or goroutine (docs/adr/0003); its loop owns it.
type session struct {
	srv  *Server
	id   uint64
	addr clientAddr
	// persona is its listener's; capaRedirect: the client follows -REDIRECT.
	persona      persona
	capaRedirect bool
	loop         *loop       // nil without sockets (tests)
	maint        *maintained // what CLIENT MAINT_NOTIFICATIONS asked for; nil: nothing

	// self is the connection as others see it; nil without one (tests).
	self *client

	// Negotiated.
	proto  int
	authed bool
	// The user, as of version acl of the users. limited: some commands are denied.
	// aclFresh: acl is as new as the present command.
	userID   uint64
	user     *kv.User
	acl      *kv.ACL
	limited  bool
	aclFresh bool

	db    int
	stale bool // READONLY: reads need no barrier ...
	// staleness is ... unless this node's state is older than so many ns; 0: no bound.
	staleness int64
	name      string
	lib       struct{ name, version string }

	noEvict, noTouch bool
	rdbOnly          bool // REPLCONF rdb-only: SYNC may send a copy
	reply            replyMode
	auth             authState

	// Transactions.
	multi   *multiState // nil outside MULTI
	watches []kv.Watch

	// lastWrite is the index of the connection's last applied write, for WAIT.
	lastWrite uint64

	// out holds rendered replies that are not sent yet, from sent on. It is the session's
	// alone but for the moment in which it is the chunk's tape, too (outIsTape): then
	// what is appended lies behind the tape's end, which nobody else looks at.
	out       []byte
	sent      int
	outIsTape bool

	guard guard
	args  [][]byte
	line  []byte // an inline request: splitting changes the bytes
	local kv.Reply

	// chunk collects data commands; values is how many replies it owes.
	chunk  *kv.Chunk
	values int
	reads  int
	// readWindow is how many reads the next chunk may hold.
	readWindow int
	// opsRoom is how many bytes of operations the next chunk may hold, unless one command
	// is bigger.
	opsRoom int
	// deferred are the local commands of the chunk's EXECs, by number.
	deferred []deferredCmd
	// mayBlock: the chunk's only command may have to wait (BLPOP).
	mayBlock bool
	// ran are the commands of the chunk, an EXEC's behind the EXEC; chunkStart is when
	// it could first run (Server.nanos).
	ran        []ranCommand
	ranArgs    map[int][][]byte // of some of them; see ranAs
	chunkStart int64
	tally      *tally
	monitoring bool
	// replica: the connection follows as a Redis server does; nil otherwise.
	replica *replica
	// afterChunk runs when the chunk was applied without an error (CONFIG SET).
	afterChunk func()
	// rechecking: the barrier under way is for a newer view of the users.
	rechecking bool
	asyncCmd   *kv.Command // what async belongs to, its arguments and its start
	asyncArgs  [][]byte
	asyncStart int64

	// received is how many bytes of requests have arrived, from the present one on.
	received int
	// endChunk ends the chunk after the present command.
	endChunk bool
	// The chunk is an EXEC; execDB is selected if it is not aborted.
	inExec bool
	execDB int
	// needsNothing: the chunk reads no data, so it needs no barrier.
	needsNothing bool

	// barrier is how many of the bytes not yet consumed a passed read barrier
	// vouches for: they had arrived before it was asked for. beyond is set when
	// feed consumed more than that.
	barrier int
	beyond  bool

	afterBarrier func(out *kv.Reply)
	// beforeBarrier, if set, says whether afterBarrier has to wait for a TICK of now, too.
	beforeBarrier func(now int64) (needTick bool)
	async         asyncFunc
	closing       bool

	// Subscriptions and tracking. subs holds the session's places in listensAt, its
	// loop's hub. pushed tells the connection that out grew; waiter is the connection
	// as effects name their origin.
	subs      [kv.SubscriptionKinds]map[string]int
	joining   *joining
	track     *tracker
	listensAt *hub
	pushed    func()
	waiter    kv.Waiter
	// publishing are the PUBLISH commands since the last answer.
	publishing   []kv.Publication
	publishBytes int

	pausedUntil int64
	postponed   bool // CLIENT PAUSE holds the next command back

	commands uint64 // executed since the last publish
	lastCmd  *kv.Command
	now      int64 // the loop's clock, Unix ms

	vis visible
}

// asyncFunc starts something that takes its time and calls done once, on any
// goroutine, with a function that writes the reply on the session's loop. ctx ends
// when the client leaves.
type asyncFunc func(ctx context.Context, done func(fill func(out *kv.Reply)))

// visible is what other sessions may see of this one (CLIENT LIST), copied once per
// step so that commands need no lock.
type visible struct {
	mu      sync.Mutex
	created int64
	active  int64
	db      int
	name    string
	libName string
	libVer  string
	cmd     string
	proto   int
	multi   int // -1 outside MULTI
	watch   int
	qbuf    int
	omem    int
	noEvict bool
	noTouch bool
	stale   bool
	subs    [kv.SubscriptionKinds]int
	redir   int64
	// tracking are the letters of CLIENT LIST.
	tracking string
	user     string
	monitor  bool
	replica  bool
	blocked  bool
}

func newSession(srv *Server, id uint64, addr clientAddr, now int64) *session {
	s := &session{srv: srv, id: id, addr: addr, proto: resp2, now: now, readWindow: minChunkReads, opsRoom: maxChunkOps}
	s.tally = srv.tallies[0]
	s.refreshUser(srv.backend.Store().ACL())
	s.vis.created, s.vis.active, s.vis.proto, s.vis.multi = now, now, resp2, -1
	s.vis.cmd = "NULL"
	return s
}

// limits are the guard's for the present phase.
func (s *session) limits() limits {
	if !s.authed {
		return limits{maxArgs: unauthMaxArgs, maxBulk: unauthMaxBulk, authless: true}
	}
	return limits{maxArgs: s.srv.opt.MaxArgs, maxBulk: s.srv.maxBulk.Load()}
}

// unsent is how many bytes of replies wait for the client.
func (s *session) unsent() int { return len(s.out) - s.sent }

// feed executes complete requests at the start of buf and returns how many bytes it
// consumed and what has to happen next. It must not be called while the session is
// busy with an earlier step. It keeps no reference to buf.
func (s *session) feed(buf []byte) (consumed int, next step) {
	n := 0
	for count := 0; ; count++ {
		if st, stop := s.mustStop(count); stop {
			return s.consume(n), st
		}
		size, kind, err := s.nextRequest(buf[n:])
		switch {
		case err != nil:
			return s.consume(n), s.refuse(err)
		case kind == frameNone:
			return s.consume(n), s.flushOr(stepMore)
		case kind == frameEmpty:
			n += size
			continue
		}
		s.received = len(buf) - n
		v, err := s.request(buf[n:n+size], kind)
		switch {
		case err != nil:
			return s.consume(n), s.refuse(err)
		case v == verdictBoundary:
			return s.consume(n), s.flushChunk()
		case v == verdictPaused:
			return s.consume(n), s.flushOr(stepPostpone)
		case v == verdictRecheck:
			n = s.consume(n)
			s.beyond = true
			return n, stepBarrier
		}
		n += size
		if st, ok := s.waiting(); ok {
			return s.consume(n), st
		}
	}
}

// mustStop reports whether no further request may be looked at now.
func (s *session) mustStop(count int) (step, bool) {
	switch {
	case s.closing:
		return stepClose, true
	case s.chunkFull(), s.publishFull():
		return s.flushChunk(), true
	case count >= maxChunkCommands:
		return s.flushOr(stepYield), true
	case s.unsent() > s.srv.opt.OutputSoftLimit:
		return s.flushOr(stepOutput), true
	case s.pausedUntil > s.now:
		return s.flushOr(stepPause), true
	}
	return 0, false
}

// nextRequest asks the guard for one request. After an error the guard is where it
// was: the chunk before may have to be answered first, then the error is found again.
func (s *session) nextRequest(buf []byte) (size int, kind frameKind, err error) {
	lim, before := s.limits(), s.guard
	if size, kind, err = s.guard.next(buf, &lim); err != nil {
		s.guard = before
	}
	return size, kind, err
}

// request executes one request that passed the guard.
func (s *session) request(req []byte, kind frameKind) (verdict, error) {
	args, err := s.parse(req, kind)
	if err != nil || len(args) == 0 {
		return verdictDone, err
	}
	return s.command(args), nil
}

// refuse answers a protocol error, after the chunk's replies if there are any.
func (s *session) refuse(err error) step {
	if s.workPending() {
		return s.flushChunk()
	}
	s.protocolError(err)
	return stepClose
}

// parse splits one request that passed the guard.
func (s *session) parse(req []byte, kind frameKind) ([][]byte, error) {
	if kind == frameInline {
		s.line = append(s.line[:0], trimEOL(req)...)
		args, ok := splitInline(s.line, s.args)
		if !ok {
			return nil, protocolError("unbalanced quotes in request")
		}
		s.args = args
		return args, nil
	}
	complete, args, _, _, err := redcon.ReadNextCommand(req, s.args)
	if err != nil {
		return nil, protocolError(err.Error())
	}
	if !complete {
		return nil, protocolError("incomplete request")
	}
	s.args = args
	return args, nil
}

// waiting reports what a command that cannot be answered at once asked for.
func (s *session) waiting() (step, bool) {
	switch {
	case s.async != nil:
		return stepAsync, true
	case s.afterBarrier != nil:
		return stepBarrier, true
	}
	return 0, false
}

// consume notes that n bytes are done with.
func (s *session) consume(n int) int {
	if cap(s.args) > keepArgs {
		s.args = nil
	}
	clear(s.args[:cap(s.args)]) // they point into the read buffer
	s.beyond = n > s.barrier
	s.barrier = max(0, s.barrier-n)
	return n
}

// keepArgs bounds the argument slice an idle connection keeps.
const keepArgs = 1024

func (s *session) chunkPending() bool { return s.values > 0 }

// workPending: there is something to answer, a chunk or a batch of publications.
func (s *session) workPending() bool { return s.chunkPending() || len(s.publishing) > 0 }

func (s *session) chunkFull() bool {
	if s.values == 0 {
		return false
	}
	return s.endChunk || s.values >= maxChunkCommands || s.reads >= s.readWindow ||
		s.chunk.Size() >= s.opsRoom
}

// flushOr hands over the chunk if there is one; otherwise the caller's step stands.
func (s *session) flushOr(st step) step {
	if s.workPending() {
		return s.flushChunk()
	}
	return st
}

func (s *session) flushChunk() step {
	if len(s.publishing) > 0 {
		return s.flushPublishing()
	}
	s.begun()
	s.chunk.RESP2 = s.proto == resp2
	if s.chunk.Logged() {
		s.chunk.LogScripts() // as reads they would run on this node only
		return stepPropose
	}
	return stepRead
}

// needBarrier reports whether the chunk of reads, or the pending WATCH, must wait
// for a read barrier. It need not when the client asked for stale reads or the
// commands had arrived before the last barrier was asked for.
func (s *session) needBarrier() bool { return s.beyond && !s.needsNothing && !s.readsOld() }

// protocolError answers and closes: whatever follows cannot be understood.
func (s *session) protocolError(err error) {
	s.closing = true
	var cross crossProtocolError
	if errors.As(err, &cross) {
		s.srv.logCrossProtocol(s.addr)
		return
	}
	s.local.Reset()
	s.local.Error(err.Error())
	s.emitLocal()
}

// emitLocal sends the scratch reply, behind the chunk's replies if there are any.
func (s *session) emitLocal() {
	defer s.trimLocal()
	if s.local.Failed() {
		s.srv.stats.countError(s.local.Bytes())
	}
	if s.chunkPending() {
		s.chunk.AddTape(&s.local)
		s.values++
		s.ran = append(s.ran, ranCommand{}) // counted by itself
		return
	}
	if s.muted() {
		return
	}
	s.out = renderer{proto: s.proto}.appendTape(s.out, &s.local)
}

// trimLocal drops the scratch reply's memory after a big one (ECHO of 32 MiB).
func (s *session) trimLocal() {
	if s.local.Len() > smallTape {
		s.local = kv.Reply{}
	}
}

// replyError emits an error for the present command. Inside MULTI it spoils the
// transaction, as in Redis.
func (s *session) replyError(msg string) {
	if s.multi != nil {
		s.multi.dirty = true
	}
	s.local.Reset()
	s.local.Error(msg)
	s.emitLocal()
}

// openChunk makes the chunk ready to take a command in the session's database.
func (s *session) openChunk() *kv.Chunk {
	if s.chunk == nil {
		s.chunk = s.srv.getChunk()
	}
	if s.values == 0 {
		s.chunk.AppendSelect(s.db)
		s.chunk.User = s.userID + 1
		s.chunk.NoTouch, s.chunk.Stale = s.noTouch, s.stale
		s.chunk.Watching = s.srv.monitors.n.Load() > 0
	}
	return s.chunk
}

// finish takes the chunk back, answered or failed, and renders its replies.
func (s *session) finish() {
	c := s.chunk
	drop := s.muted()
	switch {
	case c.Err != nil:
		s.failChunk(c.Err, drop)
	default:
		s.adaptWindow(c.Reply.Len())
		if c.Reply.Failed() {
			s.countErrors(c)
		}
		if c.Index > 0 {
			s.lastWrite = c.Index
		}
		s.render(&c.Reply, drop)
		s.account()
		s.leaveExec(c)
		if len(c.Misses) > 0 {
			s.srv.publishMisses(c.Misses)
		}
		if s.afterChunk != nil && !c.Reply.Failed() {
			s.afterChunk()
		}
	}
	if s.track != nil {
		s.track.lastOwn, s.track.own, s.track.lastIndex = s.track.own, nil, c.Index
		if c.TrackReads {
			s.hub().tracking.readByScript(s, c)
		}
	}
	s.releaseChunk()
	if s.track != nil {
		s.hub().tracking.tellHeld(s)
	}
}

// render appends the chunk's replies to out; with drop only what renders itself runs.
func (s *session) render(tape *kv.Reply, drop bool) {
	if drop && len(s.deferred) == 0 {
		return
	}
	if !drop && s.unsent() == 0 && tape.Len() >= kv.LargeTape && tape.Plain() && tape.Tight() {
		s.out, s.sent, s.outIsTape = tape.Bytes(), 0, true
		return
	}
	mark := len(s.out)
	r := renderer{proto: s.proto, deferred: s.runDeferred}
	s.out = r.appendTape(s.out, tape)
	if drop {
		s.out = s.out[:mark]
	}
}

// adaptWindow learns from the size of a chunk's replies.
func (s *session) adaptWindow(tape int) {
	switch {
	case tape > smallTape:
		s.readWindow = minChunkReads
	case s.reads >= s.readWindow:
		s.readWindow = min(2*s.readWindow, maxChunkReads)
	}
}

// failChunk answers every command of the chunk with the error that replaced its
// replies.
func (s *session) failChunk(err error, drop bool) {
	s.local.Reset()
	s.local.Error(err.Error())
	for range s.values {
		s.srv.stats.countError(s.local.Bytes())
		if !drop {
			s.out = append(s.out, s.local.Bytes()...)
		}
	}
}

// releaseChunk gives the chunk back: an idle connection holds none.
func (s *session) releaseChunk() {
	if s.outIsTape {
		s.chunk.Reply.Take() // it is ours
		s.outIsTape = false
	}
	if s.chunk != nil {
		s.srv.putChunk(s.chunk)
	}
	s.chunk = nil
	s.values, s.reads = 0, 0
	s.endChunk, s.inExec, s.needsNothing, s.mayBlock = false, false, false, false
	clear(s.deferred)
	s.deferred = s.deferred[:0]
	s.afterChunk = nil
	if cap(s.ran) > maxChunkCommands {
		s.ran = nil
	}
	s.ran, s.ranArgs = s.ran[:0], nil
}

// passBarrier continues a command that waited for a read barrier.
func (s *session) passBarrier(err error) {
	run := s.afterBarrier
	s.afterBarrier, s.beforeBarrier = nil, nil
	if s.rechecking {
		s.rechecking, s.aclFresh = false, true
		return
	}
	s.local.Reset()
	if err != nil {
		s.local.Error(err.Error())
	} else {
		run(&s.local)
	}
	s.emitLocal()
	s.accountAsync()
}

// accountAsync notes a command that waited for something.
func (s *session) accountAsync() {
	if s.asyncCmd != nil {
		s.accountLocal(s.asyncCmd, s.asyncArgs, s.asyncStart, s.local.Failed())
		s.asyncCmd, s.asyncArgs = nil, nil
	}
}

// asyncDone takes the reply of an async command.
func (s *session) asyncDone(fill func(out *kv.Reply)) {
	s.async = nil
	s.local.Reset()
	fill(&s.local)
	s.emitLocal()
	s.accountAsync()
}

// resetOutput is called when everything was sent.
func (s *session) resetOutput() {
	const keep = 256 << 10
	s.out, s.sent = s.out[:0], 0
	if cap(s.out) > keep {
		kv.SpareTape(s.out)
		s.out = nil
	}
}

// trimOutput gives an idle connection's memory back.
func (s *session) trimOutput() {
	if s.unsent() == 0 && cap(s.out) > 0 {
		s.out, s.sent = nil, 0
	}
}

// publish copies what others may see.
func (s *session) publish(qbuf int) {
	v := &s.vis
	v.mu.Lock()
	v.active, v.db, v.proto, v.multi, v.watch = s.now, s.db, s.proto, -1, len(s.watches)
	v.name, v.libName, v.libVer = s.name, s.lib.name, s.lib.version
	if s.multi != nil {
		v.multi = len(s.multi.cmds)
	}
	if s.lastCmd != nil {
		v.cmd = s.lastCmd.Name
	}
	v.qbuf, v.omem = qbuf, s.unsent()
	v.noEvict, v.noTouch, v.stale = s.noEvict, s.noTouch, s.stale
	s.publishListening(v)
	v.user, v.monitor = s.user.Name, s.monitoring
	v.blocked = s.postponed || s.async != nil && s.asyncCmd != nil && s.asyncCmd.Flags&kv.FlagBlocking != 0
	v.replica = s.replica != nil
	v.mu.Unlock()
	s.srv.stats.commands.Add(s.commands)
	s.commands = 0
}

// clientAddr is a client's two ends as CLIENT LIST shows them.
type clientAddr struct {
	remote, local string
	fd            int
	loopback      bool
}

func formatAddr(ip string, port int) string {
	for i := 0; i < len(ip); i++ {
		if ip[i] == ':' {
			return "[" + ip + "]:" + strconv.Itoa(port)
		}
	}
	return ip + ":" + strconv.Itoa(port)
}
