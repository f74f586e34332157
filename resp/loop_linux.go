package resp

import (
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/kv"
)

// loop is one event loop: one goroutine that owns sockets and sessions. Everything
// but the queue belongs to that goroutine.
//
// A turn: take what is ready, take what the node answered, execute what that makes
// possible, ask for one read barrier for all reads of the turn, write once per
// connection.
type loop struct {
	srv  *Server
	poll *poller
	ring *uring // nil: a system call for each socket

	// The queue is how others reach the loop. parked is set before the loop waits
	// with an empty queue; whoever finds it set clears it and wakes the loop, so
	// there is at most one wake per wait.
	mu     sync.Mutex
	queue  []event
	parked bool
	closed bool

	taken []event // the queue's other buffer
	// listeners are the listening descriptors; none if another loop listens.
	listeners map[int]persona
	muted     bool // the listener is off: out of descriptors
	next      int  // which loop gets the next connection

	conns map[int32]*conn
	ready []*conn // can go on without an event
	heard []*conn // have something to read
	spare []*conn
	retry []*conn // go on at the next tick
	dirty []*conn // have replies to write
	dead  []*conn // closed; descriptors are released at the end of the turn

	tally *tally
	// clientBytes is what its connections held at the last tick, if that is bounded.
	clientBytes atomic.Int64
	acl         *kv.ACL       // as of the last tick
	barrier     *barrierBatch // reads of this turn
	gather      gather
	draining    bool
	// saturated: the node holds too many proposed bytes; connections that found it
	// so are in retry.
	saturated bool
	now       int64 // Unix ms, the node's clock
	mono      int64 // ms since the server began: timeouts must not follow clock steps

	hub *hub // what its clients listen to
	// sentinels is that of the Sentinel listener's clients; nil if there is none.
	sentinels  *hub
	topology   topology
	maintained map[*session]struct{} // who wants maintenance notices
	maintSeq   int64                 // of the last one
	movingTo   *leaving              // set once clients are asked to go
	newcomers  []*session            // who began to listen since, in this turn
	sentAway   int64                 // when a client was last told to go to the leader, in ms

	// late are the bytes of effects on their way to it; lost: some were dropped.
	late atomic.Int64
	lost atomic.Bool

	bufs     [][]byte // idle read buffers
	bufBytes int
}

// event is what another goroutine has to tell the loop; the kinds that come with
// every chunk need no closure.
type event struct {
	conn  *conn
	chunk *kv.Chunk     // of conn: answered
	batch *barrierBatch // its barrier was passed, or err
	err   error
	fx    *kv.Effects
	fn    func()
}

// barrierBatch is the connections that wait for one read barrier.
type barrierBatch struct{ conns []*conn }

func newLoop(s *Server, n int) (*loop, error) {
	p, err := newPoller(s.opt.tick)
	if err != nil {
		return nil, err
	}
	l := &loop{srv: s, poll: p, tally: s.tallies[n], conns: make(map[int32]*conn), gather: gather{round: 1}, hub: newHub(s), maintained: make(map[*session]struct{})}
	if s.opt.SentinelAddr != "" {
		l.sentinels = newHub(s)
	}
	if s.opt.NoIOUring {
		return l, nil
	}
	if l.ring, err = newURing(); err != nil {
		s.log.Debug("no io_uring; a system call for each socket", "error", err)
	}
	return l, nil
}

// push hands an event to the loop. Any goroutine may call it; after the loop ended
// events are dropped, and it says so.
func (l *loop) push(e event) (taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, e)
	if l.parked {
		// Under the lock: the loop closes the eventfd only after it took the lock.
		l.parked = false
		l.poll.wake()
	}
	return true
}

func (l *loop) post(fn func()) (taken bool) { return l.push(event{fn: fn}) }

func (l *loop) run() {
	defer l.shutdown()
	for !l.ended() {
		park := len(l.ready) == 0 && l.tryPark()
		events := l.poll.wait(park)
		l.turn(events)
	}
}

// tryPark reports whether the loop may wait: nothing is queued.
func (l *loop) tryPark() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked = len(l.queue) == 0
	return l.parked
}

func (l *loop) ended() bool { return l.draining && len(l.conns) == 0 }

func (l *loop) shutdown() {
	l.draining = true
	l.mu.Lock()
	rest := l.queue
	l.closed, l.queue = true, nil
	l.mu.Unlock()
	for _, e := range rest {
		if e.fn != nil {
			e.fn() // a connection that was dealt to us: it is refused
		}
	}
	l.closeListeners(func(int) {})
	l.release()
}

// release gives back what the kernel keeps for the loop, but for its sockets.
func (l *loop) release() {
	l.poll.close()
	if l.ring != nil {
		l.ring.close()
	}
}

func (l *loop) turn(events []unix.EpollEvent) {
	l.now = l.srv.backend.Now()
	l.mono = time.Since(l.srv.started).Milliseconds()
	l.events(events)
	if l.drainQueue() {
		l.beginGather()
	}
	l.runReady()
	l.askBarrier()
	l.endGather()
	l.srv.backend.Flush() // before the replies: replication is the longer way
	l.moveNew()
	l.flush()
	l.bury()
}

func (l *loop) events(events []unix.EpollEvent) {
	for i := range events {
		l.event(&events[i])
	}
	l.receive()
}

func (l *loop) event(e *unix.EpollEvent) {
	switch int(e.Fd) {
	case l.poll.wakefd: // for the queue
	case l.poll.timer:
		drainFD(l.poll.timer)
		l.tick()
	case l.poll.alarm:
		l.gather.overdue = true
	default:
		if p, ok := l.listeners[int(e.Fd)]; ok {
			l.accept(int(e.Fd), p)
			return
		}
		if c := l.conns[e.Fd]; c != nil {
			c.guarded(func() { c.ready(e.Events) })
		}
	}
}

// drainQueue handles what was queued up to now; what that brings about waits for
// the next turn, so that a turn ends. It reports whether writes were answered.
func (l *loop) drainQueue() (answered bool) {
	l.mu.Lock()
	l.parked = false
	l.queue, l.taken = l.taken[:0], l.queue
	l.mu.Unlock()
	for i := range l.taken {
		e := &l.taken[i]
		switch {
		case e.chunk != nil:
			answered = true
			e.conn.guarded(e.conn.chunkDone)
		case e.batch != nil:
			l.barrierDone(e.batch, e.err)
		case e.fx != nil:
			l.effects(e.fx)
		default:
			e.fn()
		}
	}
	if len(l.taken) > 0 && l.saturated && !l.srv.backend.Saturated() {
		l.resumeAll()
	}
	clear(l.taken)
	return answered
}

// schedule makes the connection go on in this turn, or the next one.
func (l *loop) schedule(c *conn) {
	if !c.scheduled {
		c.scheduled = true
		l.ready = append(l.ready, c)
	}
}

func (l *loop) runReady() {
	l.ready, l.spare = l.spare[:0], l.ready
	for _, c := range l.spare {
		c.scheduled = false
		c.guarded(c.advance)
	}
	clear(l.spare)
}

func (l *loop) waitBarrier(c *conn) {
	if l.barrier == nil {
		l.barrier = &barrierBatch{}
	}
	l.barrier.conns = append(l.barrier.conns, c)
}

// askBarrier asks once for all reads of the turn.
func (l *loop) askBarrier() {
	batch := l.barrier
	if batch == nil {
		return
	}
	l.barrier = nil
	for _, c := range batch.conns {
		c.s.barrier = c.buffered()
	}
	l.srv.barrierAsked(func(err error) { l.push(event{batch: batch, err: err}) })
}

func (l *loop) barrierDone(batch *barrierBatch, err error) {
	for _, c := range batch.conns {
		c.guarded(func() { c.barrierPassed(err) })
	}
}

// bury releases the descriptors of connections closed in this turn. Earlier, accept
// could get the same number again and be taken for the old one.
func (l *loop) bury() {
	for _, c := range l.dead {
		delete(l.conns, int32(c.fd))
		_ = unix.Close(c.fd)
	}
	clear(l.dead)
	l.dead = l.dead[:0]
}

// tick retries what waits for time to pass and enforces the timeouts.
func (l *loop) tick() {
	if l.srv.loops[0] == l {
		l.srv.stats.sampleRates(l.now)
		l.srv.refresh()
	}
	if l.muted {
		l.muted = false
		for fd := range l.listeners {
			l.muted = l.poll.modify(fd, unix.EPOLLIN) != nil || l.muted
		}
	}
	l.watchTopology()
	if len(l.hub.tracking.trackers) > 0 {
		l.hub.tracking.watchLeader(l.srv.backend.Status().LeaderID, l.mono)
		l.hub.tracking.limit("") // it may have been lowered
	}
	l.resumeAll()
	l.checkUsers()
	if len(l.srv.tallies) > 1 {
		l.tally.publish(l.srv.statsEpoch.Load())
	}
	for _, c := range l.conns {
		c.checkTimeouts()
	}
	l.evictClients()
}

// checkUsers ends the connections of users that were removed.
func (l *loop) checkUsers() {
	a := l.srv.backend.Store().ACL()
	if a == l.acl {
		return
	}
	l.acl = a
	for _, c := range l.conns {
		if a.UserByID(c.s.userID) == nil {
			c.guarded(c.close)
		}
	}
}

func (l *loop) resumeAll() {
	l.saturated = false
	retry := l.retry
	l.retry = nil
	for _, c := range retry {
		c.waiting = false
		c.resume()
	}
}

// retryLater makes the connection go on at the next tick.
func (l *loop) retryLater(c *conn) {
	if !c.waiting {
		c.waiting = true
		l.retry = append(l.retry, c)
	}
}

// maxAccepts bounds one turn's accepts: a flood of connections must not starve
// those that are there.
const maxAccepts = 128

func (l *loop) accept(listener int, p persona) {
	for range maxAccepts {
		fd, peer, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			l.deal(fd, peer, p)
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			// Out of descriptors or memory. Level-triggered, the listener would
			// keep the loop spinning: it is off until the next tick.
			l.srv.log.Warn("accept failed; pausing", "error", err)
			if l.poll.modify(listener, 0) == nil {
				l.muted = true
			}
			return
		}
	}
}

// deal gives the connection to the next loop in turn.
func (l *loop) deal(fd int, peer unix.Sockaddr, p persona) {
	target := l.srv.loops[l.next%len(l.srv.loops)]
	l.next++
	if target == l {
		l.open(fd, peer, p)
		return
	}
	if !target.post(func() { target.open(fd, peer, p) }) {
		_ = unix.Close(fd)
	}
}

// open starts a connection, or refuses it in Redis's words.
func (l *loop) open(fd int, peer unix.Sockaddr, p persona) {
	srv := l.srv
	srv.stats.connections.Add(1)
	addr := clientAddrOf(fd, peer)
	refusal := ""
	switch {
	case l.draining:
		_ = unix.Close(fd)
		return
	case srv.clients.count() >= srv.live.maxClients():
		refusal = "-ERR max number of clients reached\r\n"
	case srv.denied(addr):
		refusal = errDenied
	}
	if refusal != "" {
		srv.stats.rejected.Add(1)
		_, _ = rawWrite(fd, []byte(refusal))
		_ = unix.Close(fd)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	setKeepAlive(fd)
	if err := l.poll.add(fd, wantRead); err != nil {
		srv.log.Warn("connection refused", "client", addr.remote, "error", err)
		_ = unix.Close(fd)
		return
	}
	s := newSession(srv, srv.clients.nextID(), addr, l.now)
	s.tally, s.persona = l.tally, p
	c := newConn(l, fd, s)
	l.conns[int32(fd)] = c
	srv.clients.add(&c.client)
}

func setKeepAlive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveSeconds/3)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3)
}

// drain begins the graceful end: no new connections; each one ends as soon as what
// it has in flight is answered.
func (l *loop) drain() {
	l.draining = true
	l.closeListeners(l.poll.remove)
	for _, c := range l.conns {
		c.guarded(c.finishUp)
	}
}

func (l *loop) closeListeners(remove func(fd int)) {
	for fd := range l.listeners {
		remove(fd)
		_ = unix.Close(fd)
	}
	l.listeners = nil
}

// abort ends all connections at once.
func (l *loop) abort() {
	for _, c := range l.conns {
		c.close()
	}
}

// guarded runs a handler of one connection. A bug in it costs that connection, not
// the process and every other client.
func (c *conn) guarded(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			c.loop.srv.log.Error("connection closed after a panic", "client", c.s.addr.remote,
				"panic", r, "stack", string(debug.Stack()))
			c.close()
		}
	}()
	if !c.closed {
		fn()
	}
}

func millis(d time.Duration) int64 { return d.Milliseconds() }
