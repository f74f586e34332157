package resp

import "time"

// gather is about clients whose writes were just answered. Each of them is likely to
// send its next command at once, and commands that reach the node together share one log
// entry, one sync of each node and one round of messages. So the loop writes the replies
// first and waits for the commands they bring, as long as they keep coming; the node
// waits for the loop (Backend.Release).
type gather struct {
	round    uint64 // of answers; a connection remembers the one it was answered in
	expected int    // clients answered in this round that have not been heard since
	// company is how many clients were answered in this round, and in the one before.
	company [2]int
	began   time.Time
	heard   int  // connections heard since the alarm was set
	overdue bool // the alarm went off
}

const (
	// gatherPause is how long nobody must have come before the rest is no longer waited
	// for. A client on this machine needs some 10 us for a reply and its next command,
	// but may have to wait for a processor.
	gatherPause = 150 * time.Microsecond
	// gatherLimit bounds the whole wait; a commit takes about as long.
	gatherLimit = time.Millisecond
)

// beginGather writes the replies of a round and looks at the sockets again.
func (l *loop) beginGather() {
	g := &l.gather
	g.noteCompany()
	g.began, g.heard, g.overdue = time.Now(), 0, false
	l.runReady()
	l.flush()
	if g.expected > 1 || len(l.srv.loops) > 1 { // a lone client keeps nobody waiting
		l.poll.setAlarm(gatherPause)
	}
	l.events(l.poll.wait(false))
}

// noteCompany looks at who was answered so far, before the round counts as begun.
func (g *gather) noteCompany() {
	if g.began.IsZero() {
		g.company = [2]int{0, g.company[0]}
	}
	g.company[0] = max(g.company[0], g.expected)
}

// endGather lets the node have what was gathered, once nothing more is to come.
func (l *loop) endGather() {
	g := &l.gather
	switch {
	case g.began.IsZero():
		return
	case g.expected == 0:
	case g.overdue && g.heard > 0 && time.Since(g.began) < gatherLimit:
		g.heard, g.overdue = 0, false
		l.poll.setAlarm(gatherPause)
		return
	case g.overdue:
	default:
		return
	}
	g.expected, g.began = 0, time.Time{}
	g.round++
	l.srv.backend.Release()
}

// share is how many bytes of operations one connection may put into an entry. Clients who
// are answered together wait for the same entries: one with a deep pipeline must not make
// all of them large, and everybody wait.
func (g *gather) share() int {
	return max(minChunkOps, maxChunkOps/max(1, g.company[0], g.company[1]))
}

// expect notes that the connection was answered.
func (g *gather) expect(c *conn) {
	if c.answeredIn != g.round {
		c.answeredIn = g.round
		g.expected++
	}
}

// hear notes that the connection sent something, or never will.
func (g *gather) hear(c *conn) {
	if c.answeredIn == g.round {
		c.answeredIn = 0
		g.expected--
		g.heard++
	}
}
