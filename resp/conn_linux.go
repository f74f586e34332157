package resp

import (
	"context"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/kv"
)

// conn is a socket around a session. It moves bytes, runs the session's steps and
// enforces limits in bytes and time; it understands no command.
type conn struct {
	loop *loop
	fd   int
	s    *session
	client

	// buf[start:] was received and is not consumed. Nobody else refers to it: a
	// chunk copies what it needs.
	buf   []byte
	start int

	interest uint32 // what epoll was asked for
	inFlight bool   // a chunk, a barrier, a tick or an async command is under way
	proposed bool   // ... and it is a chunk that the node has
	blocked  *blockedIn
	cancel   context.CancelFunc
	lease    uint64 // what the reads under way rely on; 0: a barrier, or nothing

	eof    bool // the client will send no more
	ending bool // close once replies are flushed
	closed bool
	// answeredIn is the gather.round in which it was answered and not heard since, or 0.
	answeredIn uint64
	scheduled  bool // is in loop.ready
	waiting    bool // is in loop.retry
	// outputFull: commands wait until the client has read replies.
	outputFull bool
	isDirty    bool // is in loop.dirty

	opened     int64 // these on the loop's monotonic clock, ms
	lastActive int64
	stalled    int64 // since when the client takes no bytes; 0: it does
	softSince  int64 // since when more waits than its class's soft limit; 0: it does not
}

func newConn(l *loop, fd int, s *session) *conn {
	c := &conn{loop: l, fd: fd, s: s, interest: wantRead, opened: l.mono, lastActive: l.mono}
	c.client = client{
		s: s, kill: c.kill, push: c.push, onLoop: func(fn func()) { l.post(func() { c.guarded(fn) }) },
		endWaitSoon: func(how string, done func(bool, error)) bool {
			return l.post(func() { c.endWait(how, done) })
		},
	}
	s.listensAt, s.pushed, s.waiter, s.loop = l.hub, c.markDirty, c, l
	if s.persona == sentinelPersona {
		s.listensAt = l.sentinels
	}
	s.self = &c.client
	return c
}

func (c *conn) buffered() int { return len(c.buf) - c.start }

// ready handles what epoll reported.
func (c *conn) ready(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		c.close() // reset, or closed in both directions: nobody reads replies
		return
	}
	if events&unix.EPOLLOUT != 0 {
		c.write()
		if c.closed {
			return
		}
		c.loop.schedule(c)
	}
	if events&wantRead != 0 && c.interest&unix.EPOLLIN != 0 {
		c.loop.heard = append(c.loop.heard, c)
	}
}

// maxTurnChunks bounds the chunks of reads one connection runs in a turn.
const maxTurnChunks = 64

// advance executes what is complete, until the session has to wait for something or
// had its share of the turn.
func (c *conn) advance() {
	for range maxTurnChunks {
		if c.closed || c.inFlight {
			break
		}
		if c.loop.srv.backend.Saturated() {
			c.loop.saturated = true
			c.loop.retryLater(c)
			break
		}
		c.s.now, c.s.opsRoom = c.loop.now, c.loop.gather.share()
		n, step := c.s.feed(c.buf[c.start:])
		c.start += n
		c.perform(step)
		if step != stepRead && step != stepBarrier || c.buffered() == 0 {
			break // or it ran at once, and more is waiting
		}
	}
	if c.closed {
		return
	}
	c.s.publish(c.buffered())
	c.markDirty()
	c.trim()
	c.updateInterest()
}

// perform does what the session asked for.
func (c *conn) perform(next step) {
	c.postpone(next == stepPostpone)
	switch next {
	case stepMore:
		c.outOfCommands()
	case stepYield:
		c.loop.schedule(c)
	case stepOutput:
		c.outputFull = true // write goes on when the client has read
	case stepRead, stepBarrier:
		c.inFlight = true
		if c.s.mayBlock {
			c.s.chunk.Waiter = c
		}
		switch {
		case !c.s.needBarrier():
			c.barrierPassed(nil)
		case next == stepRead && c.readByLease():
		default:
			c.loop.waitBarrier(c)
		}
	case stepPropose:
		c.inFlight, c.proposed = true, true
		c.loop.gather.hear(c)
		c.s.chunk.Waiter = c
		c.loop.srv.backend.Propose(c.s.chunk)
	case stepAsync:
		c.startAsync()
	case stepPause, stepPostpone:
		c.loop.retryLater(c)
	case stepClose:
		c.ending = true
	}
}

// outOfCommands: what is left, if anything, is an incomplete request.
func (c *conn) outOfCommands() {
	switch {
	case c.eof, c.loop.draining:
		c.ending = true
	case c.overfull():
		c.s.srv.stats.queryLimit.Add(1)
		c.loop.srv.log.Warn("closing a client that exceeded the query buffer limit", "client", c.s.addr.remote)
		if !c.s.authed {
			c.s.protocolError(protocolError("unauthenticated query buffer limit exceeded"))
		}
		c.ending = true
	}
}

// ChunkDone implements kv.Waiter. It runs on a goroutine of the node.
func (c *conn) ChunkDone(chunk *kv.Chunk) { c.loop.push(event{conn: c, chunk: chunk}) }

func (c *conn) chunkDone() {
	c.loop.gather.expect(c)
	c.proposed = false
	c.unblocked()
	c.s.now = c.loop.now
	c.s.finish()
	c.answered()
}

// answered goes on after something in flight came back.
func (c *conn) answered() {
	c.inFlight = false
	switch {
	case c.s.closing:
		c.ending = true
	case c.buffered() > 0 || c.eof || c.loop.draining:
		c.loop.schedule(c)
	}
	c.markDirty()
}

// barrierPassed runs the reads, or the WATCH, that waited for a read barrier.
func (c *conn) barrierPassed(err error) {
	c.s.now = c.loop.now
	if err != nil {
		c.s.barrier = 0 // it vouches for nothing
	}
	switch {
	case c.s.beforeBarrier != nil && err == nil && c.s.beforeBarrier(c.s.now):
		c.tick(c.s.now, func(err error) {
			c.s.passBarrier(err)
			c.answered()
		})
	case c.s.afterBarrier != nil:
		c.s.passBarrier(err)
		c.answered()
	case err != nil:
		c.s.chunk.Err = err
		c.s.finish()
		c.answered()
	default:
		c.runReads(c.loop.now)
	}
}

// readByLease runs the chunk's reads at once if this node leads by a lease; whether it
// did so all along is looked at afterwards.
func (c *conn) readByLease() bool {
	lease, ok := c.loop.srv.backend.LeaseRead()
	if !ok {
		return false
	}
	c.lease = lease
	c.runReads(c.loop.now)
	return true
}

// leaseLost reports whether the reads that just ran relied on a lease that is over. The
// values in the chunk may be old then; it waits for a barrier and runs again.
func (c *conn) leaseLost() bool {
	lease := c.lease
	c.lease = 0
	if lease == 0 || c.loop.srv.backend.LeaseHolds(lease) {
		return false
	}
	c.loop.srv.backend.Store().EndWait(c.s.chunk) // its $ may be old, too
	c.loop.waitBarrier(c)
	return true
}

// runReads executes the chunk's reads. A key that is due but not yet expired for
// everybody is expired first (docs/adr/0004).
func (c *conn) runReads(now int64) {
	c.s.begun()
	needTick, tooLong := c.loop.srv.backend.Store().ReadBriefly(c.s.chunk, now)
	if tooLong {
		c.runLong(now)
		return
	}
	c.readsDone(needTick, now)
}

// runLong runs reads beside the loop: a script among them takes its time, and
// SCRIPT KILL has to get through, or a large value is written. The chunk is the
// goroutine's until it posts back.
func (c *conn) runLong(now int64) {
	srv, chunk := c.loop.srv, c.s.chunk
	srv.adminWG.Add(1)
	srv.longReads.begin(chunk, srv.nanos())
	go func() {
		defer srv.adminWG.Done()
		defer srv.longReads.end(chunk)
		if srv.opt.LongWork != nil {
			defer srv.opt.LongWork()()
		}
		defer func() { // as in guarded: a bug costs the connection
			if r := recover(); r != nil {
				srv.log.Error("connection closed after a panic", "panic", r, "stack", string(debug.Stack()))
				c.loop.post(c.close)
			}
		}()
		needTick := srv.backend.Store().ReadLong(chunk, now)
		c.loop.post(func() {
			if c.closed {
				srv.backend.Store().EndWait(chunk)
			}
			c.guarded(func() { c.readsDone(needTick, now) })
		})
	}()
}

func (c *conn) readsDone(needTick bool, now int64) {
	switch {
	case needTick && c.s.stale && c.s.staleness == 0:
		c.runReads(0) // what is due is as this node has it: nobody is asked
		return
	case needTick:
	case c.leaseLost():
		return
	case c.s.chunk.WantsLog():
		c.s.chunk.LogScripts()
		c.perform(stepPropose)
		return
	case c.s.chunk.Waits():
		c.blockRead()
		return
	default:
		c.unblocked()
		c.s.finish()
		c.answered()
		return
	}
	c.tick(now, func(err error) {
		if err != nil {
			c.lease = 0
			c.unblocked()
			c.s.chunk.Err = err
			c.s.finish()
			c.answered()
			return
		}
		c.runReads(0)
	})
}

// tick has everything that is due by now expired for everybody, then calls done on
// the loop.
func (c *conn) tick(now int64, done func(err error)) {
	c.loop.srv.backend.Tick(now, func(err error) {
		c.loop.post(func() { c.guarded(func() { done(err) }) })
	})
}

func (c *conn) startAsync() {
	ctx, cancel := context.WithCancel(c.loop.srv.ctx)
	c.inFlight, c.cancel = true, cancel
	c.s.async(ctx, func(fill func(*kv.Reply)) {
		c.loop.post(func() {
			cancel()
			c.guarded(func() {
				c.cancel = nil
				c.s.now = c.loop.now
				c.s.asyncDone(fill)
				c.answered()
				c.s.publish(c.buffered()) // it may listen now
			})
		})
	})
	if c.eof {
		c.close()
	}
}

func (c *conn) markDirty() {
	if !c.isDirty && (c.s.unsent() > 0 || c.ending) && !c.closed {
		c.isDirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// updateInterest asks epoll for what the connection can use.
func (c *conn) updateInterest() {
	if c.closed {
		return
	}
	var want uint32
	saturated := c.waiting && c.loop.saturated
	if !c.eof && !c.ending && !c.loop.draining && !c.overfull() && !saturated {
		want = wantRead
	}
	if c.s.unsent() > 0 && c.stalled != 0 {
		want |= wantWrite
	}
	if want == c.interest {
		return
	}
	if err := c.loop.poll.modify(c.fd, want); err != nil {
		c.close()
		return
	}
	c.interest = want
}

// resume lets the connection go on after a pause.
func (c *conn) resume() {
	if !c.closed {
		c.updateInterest()
		c.loop.schedule(c)
	}
}

func (c *conn) checkTimeouts() {
	if c.closed {
		return
	}
	opt, idle := &c.s.srv.opt, c.loop.mono-c.lastActive
	switch timeout := c.s.srv.live.idleMillis(); {
	case !c.s.authed && c.loop.mono-c.opened > millis(opt.AuthTimeout):
		c.close()
	case c.stalled != 0 && c.loop.mono-c.stalled > millis(opt.WriteTimeout):
		c.s.srv.stats.slow.Add(1)
		c.close()
	case c.overSoftLimit():
		c.overLimit()
	case timeout > 0 && idle > timeout && !c.inFlight && !c.s.subscribed():
		c.s.srv.stats.idleClosed.Add(1)
		c.close()
	case idle > idleTrimMillis:
		c.s.trimOutput()
	}
}

// idleTrimMillis: a connection without traffic for so long keeps no output buffer.
const idleTrimMillis = 10_000

// finishUp ends the connection as soon as nothing is in flight.
func (c *conn) finishUp() {
	if c.cancel != nil {
		c.cancel() // WAIT answers what it has
	}
	if c.blocked != nil {
		c.endWait(kv.UnblockStop, func(bool, error) {})
	}
	if c.s.postponed { // nothing was done for it
		c.close()
		return
	}
	c.updateInterest()
	c.loop.schedule(c)
}

// kill ends the connection from another goroutine; with after, once its replies are
// flushed (a client that kills itself still gets its OK).
func (c *conn) kill(after bool) {
	c.loop.post(func() {
		if after {
			c.ending = true
			c.markDirty()
			return
		}
		c.close()
	})
}

// push sends bytes between replies, from any goroutine.
func (c *conn) push(b []byte) {
	c.loop.post(func() {
		if !c.closed {
			c.s.out = append(c.s.out, b...)
			c.markDirty()
		}
	})
}

// close ends the connection now. What is in flight comes back to a closed
// connection and is dropped.
func (c *conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	c.postpone(false)
	c.loop.gather.hear(c)
	c.abandonChunk()
	if c.ending && !c.eof {
		c.discardInput()
	}
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
	c.loop.poll.remove(c.fd)
	c.loop.dead = append(c.loop.dead, c)
	c.s.leaveAll()
	c.s.srv.clients.remove(c.s.id)
	c.s.leaveMonitor()
	c.s.leaveReplica()
	c.loop.putBuf(c.buf)
	c.buf, c.start = nil, 0
}
