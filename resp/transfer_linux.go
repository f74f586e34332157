package resp

// transfer is how bytes move for several connections at once.
type transfer struct {
	bytes func(*conn) []byte // what may move, at most and not yet; none: nothing, or not so
	add   func(*uring, int, []byte)
	done  func(*conn, int, error)
	alone func(*conn) // the same for one connection, by a system call of its own
	most  int         // bytes of a call
}

var (
	receiving = transfer{(*conn).readRoom, (*uring).receive, (*conn).received, (*conn).read, ringReadMax}
	sending   = transfer{(*conn).writeShare, (*uring).send, (*conn).flushed, (*conn).flush, ringBytes}
)

// receive reads what has arrived on the sockets that epoll named.
func (l *loop) receive() {
	for rest := l.heard; len(rest) > 0; {
		rest = rest[l.together(rest, &receiving):]
	}
	clear(l.heard)
	l.heard = l.heard[:0]
}

// flush writes the replies of this turn.
func (l *loop) flush() {
	for i := 0; i < len(l.dirty); { // it may grow
		i += l.together(l.dirty[i:], &sending)
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
}

// together moves bytes of the first of conns, by one system call if that spares any, and
// reports how many it saw to.
func (l *loop) together(conns []*conn, t *transfer) (n int) {
	if l.ring == nil || len(conns) == 1 {
		conns[0].guarded(func() { t.alone(conns[0]) })
		return 1
	}
	n, company := l.ask(conns[:min(len(conns), ringSize)], t)
	var results []int32
	if l.ring.requests > 1 {
		results = l.ring.perform()
		l.checkRing()
	} else {
		l.ring.forget()
	}
	for i, c := range conns[:n] {
		res := int32(notDone)
		if company[i] && len(results) > 0 {
			res, results = results[0], results[1:]
		}
		c.guarded(func() {
			if res == notDone {
				t.alone(c)
				return
			}
			moved, err := outcome(res)
			t.done(c, moved, err)
		})
	}
	return n
}

// ask adds to the ring what it takes of conns, and reports how many it looked at and which
// of them are in it.
func (l *loop) ask(conns []*conn, t *transfer) (n int, company [ringSize]bool) {
	for _, c := range conns {
		full := false
		c.guarded(func() {
			p := t.bytes(c)
			switch {
			case len(p) == 0 || len(p) > ringRequestBytes:
			case !l.ring.takes(len(p), t.most):
				full = true
			default:
				t.add(l.ring, c.fd, p)
				company[n] = true
			}
		})
		if full {
			break
		}
		n++
	}
	return n, company
}

// checkRing does without a ring that fails.
func (l *loop) checkRing() {
	if err := l.ring.broken; err != nil {
		l.srv.log.Warn("io_uring failed; from here on a system call for each socket", "error", err)
		l.ring.close()
		l.ring = nil
	}
}
