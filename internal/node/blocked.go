package node

import (
	"maps"
	"slices"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// Blocked clients at their origin, and the leader's word on which nodes are there to
// answer theirs (docs/adr/0010).

// blockedUnit is a chunk whose unit was applied by waiting. It is out of the ring: its
// number is settled, and it may wait for hours.
type blockedUnit struct {
	chunk *kv.Chunk
	// deadline is when the wait ends by the stamp, Unix ms; 0: never.
	deadline int64
}

// leaving is a unit whose client no longer waits for it: the state machine has to be
// told, or it would serve nobody.
type leaving struct {
	seq  uint64
	sent time.Time
}

// Blocked implements kv.Owner: the chunk's client waits.
func (o *origin) Blocked(c *kv.Chunk, deadline int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.at(c.Seq)
	gone := u.gone
	o.count(c, -1) // it must not count as work that is due
	o.forget(c.Seq)
	if gone {
		o.leaving = append(o.leaving, leaving{seq: c.Seq})
		return
	}
	o.block(c, deadline)
}

// block keeps a chunk that waits. The caller holds mu: what ends the wait is told to the
// client later than this.
func (o *origin) block(c *kv.Chunk, deadline int64) {
	if o.blocked == nil {
		o.blocked = make(map[uint64]blockedUnit)
	}
	o.blocked[c.Seq] = blockedUnit{c, deadline}
	if w, ok := c.Waiter.(kv.BlockWaiter); ok {
		w.ChunkBlocked(c)
	}
}

// wake takes a blocked chunk: the applier has a reply for it. The caller holds mu.
func (o *origin) wake(seq uint64) *kv.Chunk {
	b, ok := o.blocked[seq]
	if !ok {
		return nil
	}
	delete(o.blocked, seq)
	return b.chunk
}

// leave is called when a chunk's client has gone. It is nobody's from now on. A unit
// that was never sent is dropped.
func (o *origin) leave(c *kv.Chunk) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.blocked[c.Seq]; ok && b.chunk == c {
		delete(o.blocked, c.Seq)
		o.leaving = append(o.leaving, leaving{seq: c.Seq})
		return
	}
	u := o.at(c.Seq)
	switch {
	case u == nil || u.chunk != c:
	case u.exposed || u.taken:
		u.gone = true
	default:
		o.count(c, -1)
		o.forget(c.Seq)
	}
}

// expireBlocked answers blocked clients whose time is over by more than patience though
// the log does not say so: this node is cut off, or there is no leader. Whether an
// element was popped for them nobody knows here.
func (o *origin) expireBlocked(stamp int64, patience time.Duration) {
	o.mu.Lock()
	var late []*kv.Chunk
	for _, seq := range o.blockedInOrder() {
		if b := o.blocked[seq]; b.deadline != 0 && stamp-b.deadline > patience.Milliseconds() {
			late = append(late, b.chunk)
			delete(o.blocked, seq)
			o.leaving = append(o.leaving, leaving{seq: seq})
		}
	}
	o.mu.Unlock()
	for _, c := range late {
		o.answerBlocked(c, errUnknownOutcome)
	}
}

func (o *origin) answerBlocked(c *kv.Chunk, err error) {
	c.Err = err
	if c.Waiter != nil {
		c.Waiter.ChunkDone(c)
	}
}

// reconcileBlocked is reconcile's part for those who wait.
func (o *origin) reconcileBlocked(fate func(session, seq uint64) kv.SeqState) {
	o.mu.Lock()
	var gone []*kv.Chunk
	for _, seq := range o.blockedInOrder() {
		if fate(o.session, seq) != kv.SeqWaiting {
			gone = append(gone, o.blocked[seq].chunk)
			delete(o.blocked, seq)
		}
	}
	o.mu.Unlock()
	for _, c := range gone {
		o.answerBlocked(c, errReplyLost)
	}
}

// abandonBlocked answers everybody who waits: the node stops. The others will pass over
// this node's clients.
func (o *origin) abandonBlocked() {
	o.mu.Lock()
	var chunks []*kv.Chunk
	for _, seq := range o.blockedInOrder() {
		chunks = append(chunks, o.blocked[seq].chunk)
	}
	o.blocked = nil
	o.mu.Unlock()
	for _, c := range chunks {
		o.answerBlocked(c, errUnknownOutcome)
	}
}

// blockedInOrder lists the blocked units by number: what happens to several at once
// must be the same in every run of the simulator.
func (o *origin) blockedInOrder() []uint64 { return slices.Sorted(maps.Keys(o.blocked)) }

// blockedSweep is how often the blocked are looked through for those this node cannot
// answer.
const blockedSweep = time.Second

// leaveChunk is a unit that takes rows of clients who left off the table.
type leaveChunk struct {
	origin *origin
	seqs   []uint64
	chunk  kv.Chunk
}

// ChunkDone implements kv.Waiter.
func (l *leaveChunk) ChunkDone(c *kv.Chunk) {
	o := l.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.leaving[:0]
	for _, x := range o.leaving {
		done := false
		for _, seq := range l.seqs {
			done = done || seq == x.seq
		}
		switch {
		case !done:
			kept = append(kept, x)
		case c.Err != nil:
			kept = append(kept, leaving{seq: x.seq}) // again
		}
	}
	o.leaving = kept
}

// leaveBatch bounds one such unit.
const leaveBatch = 256

// proposeLeaves tells the state machine about clients who left.
func (l *loop) proposeLeaves(now time.Time) {
	o := l.origin
	o.mu.Lock()
	if len(o.leaving) == 0 {
		o.mu.Unlock()
		return
	}
	unit := &leaveChunk{origin: o}
	for i := range o.leaving {
		if x := &o.leaving[i]; x.sent.IsZero() && len(unit.seqs) < leaveBatch {
			x.sent = now
			unit.seqs = append(unit.seqs, x.seq)
			unit.chunk.AppendUnblock(x.seq, kv.UnblockTimeout)
		}
	}
	o.mu.Unlock()
	if len(unit.seqs) > 0 {
		unit.chunk.Waiter = unit
		o.count(&unit.chunk, 1)
		o.add(&unit.chunk, now)
	}
}

// Leave tells the node that the client of a proposed chunk has gone: if it waits in a
// blocking command it must not be served. ChunkDone may still be called.
func (n *Node) Leave(c *kv.Chunk) { n.inbox.put(func(in *input) { in.left = append(in.left, c) }) }

// presence is what a node knows about which others are there. It is kept always and
// used by the leader.
type presence struct {
	heard []sighting
	// asked is what was proposed last, per session, until the state machine shows it.
	asked []presenceAsk
	// waiting are the members with clients in blocking commands, which any entry may serve.
	waiting []raftcore.NodeID
	rows    []kv.Presence
	ops     kv.Chunk
	led     uint64 // the term this node was last seen leading in
	// before is who led before this node.
	before raftcore.NodeID
}

type sighting struct {
	id   raftcore.NodeID
	at   time.Time
	down bool
	// process is the newest one met under this id.
	process process
}

// process is one start of a data directory.
type process struct{ incarnation, boot uint64 }

// successor reports whether q took the place of p, which is then gone for good.
func (p process) successor(q process) bool { return p.incarnation == q.incarnation && p.boot < q.boot }

type presenceAsk struct {
	session uint64
	away    bool
	at      time.Time
}

func (p *presence) of(id raftcore.NodeID) *sighting {
	for i := range p.heard {
		if p.heard[i].id == id {
			return &p.heard[i]
		}
	}
	p.heard = append(p.heard, sighting{id: id})
	return &p.heard[len(p.heard)-1]
}

// saw notes a message of a node. It does not make up for a broken connection: the frames
// of a process that died may still lie in a buffer when its connection is known to be
// gone.
func (p *presence) saw(id raftcore.NodeID, now time.Time) { p.of(id).at = now }

// connection notes that the way to a node broke or opened, and to which of its processes.
func (p *presence) connection(id raftcore.NodeID, up bool, to process) {
	s := p.of(id)
	s.down, s.process = !up, to
}

// here reports whether a node's process is there to answer its clients. The one before,
// whose session stands until the next one opens its own, is not.
func (p *presence) here(id raftcore.NodeID, of process, now time.Time, patience time.Duration) bool {
	s := p.of(id)
	return !s.down && now.Sub(s.at) < patience && !of.successor(s.process)
}

// leads notes that this node began to lead. Followers do not hear each other: those
// whose connection stands get the benefit of the doubt, but not the leader before,
// whose silence is known.
func (p *presence) leads(term uint64, m raftcore.Membership, now time.Time) {
	if p.led == term {
		return
	}
	p.led = term
	for _, x := range m.Members {
		if s := p.of(x.ID); x.ID != p.before && !s.down {
			s.at = now
		}
	}
}

// leadPresence puts in front of the next units what changed about the nodes whose
// clients may be blocked: an element must not be popped for a client of a node that is
// gone. It concerns all sessions, not only those seen waiting: the state machine may be
// behind the log.
func (l *loop) leadPresence(now time.Time) {
	p, m := &l.presence, l.core.Membership()
	p.leads(l.core.Term(), m, now)
	p.rows, p.waiting = l.gauges.presence(p.rows[:0]), p.waiting[:0]
	for i := range p.rows {
		row := &p.rows[i]
		id, member := memberOf(m, row.Node)
		if member && row.Waiting > 0 {
			p.waiting = append(p.waiting, id)
		}
		here := row.Node == l.incarnation || member && p.here(id, process{row.Node, row.Boot}, now, l.cfg.ElectionTimeout)
		gone := !member && row.Node != l.incarnation && len(m.Outgoing) == 0
		if row.Away != here && !(gone && row.Waiting > 0) || p.askedAlready(row.Session, !here, now, l.cfg.ResendTimeout) {
			continue
		}
		p.ops.Reset()
		p.ops.AppendPresence(row.Session, here, gone)
		l.units = kv.AppendUnit(l.units, kv.UnitHeader{Ops: uint64(p.ops.NumOps)}, p.ops.Ops)
		l.closeUnit(now)
	}
}

// askedAlready reports whether the same was proposed a moment ago, and notes that it is
// now.
func (p *presence) askedAlready(session uint64, away bool, now time.Time, patience time.Duration) bool {
	for i := range p.asked {
		a := &p.asked[i]
		if a.session == session {
			if a.away == away && now.Sub(a.at) < patience {
				return true
			}
			a.away, a.at = away, now
			return false
		}
	}
	p.asked = append(p.asked, presenceAsk{session, away, now})
	return false
}

// memberOf finds the member with an incarnation.
func memberOf(m raftcore.Membership, incarnation uint64) (raftcore.NodeID, bool) {
	for _, list := range [][]raftcore.Member{m.Members, m.Outgoing} {
		for _, x := range list {
			if x.Incarnation == incarnation {
				return x.ID, true
			}
		}
	}
	return 0, false
}
