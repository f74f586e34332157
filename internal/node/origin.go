package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// origin holds the units of this node's own clients from the moment they arrive
// until they are answered: the client's half of exactly-once (docs/adr/0002, 0007).
//
// The loop adds, sends and times out; the applier takes units out when it meets
// them in the log. Both hold mu, shortly.
type origin struct {
	removed bool // this node left its cluster: what a refusal says; of the loop
	mu      sync.Mutex
	// session is 0 until this boot's OPEN was applied; units wait until then.
	session uint64
	next    uint64 // sequence number of the next unit
	// ring holds units base..next-1, those of answered chunks with chunk == nil.
	// Its first unit is unanswered (or the ring is empty), so base is the "low"
	// that seals everything before it.
	ring []unit
	// room is the memory that ring is in, up to its end: ring moves down there instead of
	// growing out of it.
	room []unit
	base uint64
	// blocked are the chunks whose clients wait in blocking commands, by number; leaving
	// those whose clients have gone.
	blocked map[uint64]blockedUnit
	leaving []leaving
	// bytes is what the waiting chunks hold, for back-pressure; largeBytes is what those of
	// large (Config.LargeUnit) and more do.
	bytes, largeBytes atomic.Int64
	large             int
	led               bool // a leader is known: what a refusal says; of the loop
	// answers counts chunks of clients that were answered after their apply.
	answers atomic.Uint64
}

// unit is a chunk with its history of being sent.
type unit struct {
	chunk   *kv.Chunk
	arrived time.Time
	// sentTerm is the term whose leader it was last given to, 0 if to none. A new
	// term means it must be given again; the state machine drops the copy.
	sentTerm uint64
	sentAt   time.Time
	// exposed is set for ever once the unit left towards a log: its outcome is
	// then unknown until its apply is seen.
	exposed bool
	// gone: its client left.
	gone bool
	// taken: the applier is executing it; it can no longer time out.
	taken bool
}

func newOrigin(large int) *origin { return &origin{next: 1, base: 1, large: large} }

// add gives the chunk its sequence number.
func (o *origin) add(c *kv.Chunk, now time.Time) {
	o.mu.Lock()
	c.Seq = o.next
	o.next++
	o.push(unit{chunk: c, arrived: now})
	o.mu.Unlock()
}

// push appends a unit. The caller holds mu.
func (o *origin) push(u unit) {
	if len(o.ring) == cap(o.ring) && 2*len(o.ring) <= len(o.room) {
		if len(o.room) > manyUnits && 8*len(o.ring) <= len(o.room) {
			o.ring = append(make([]unit, 0, 2*len(o.ring)+1), o.ring...) // a flood is over
			o.room = o.ring[:cap(o.ring)]
		}
		n := copy(o.room, o.ring)
		clear(o.room[n:])
		o.ring = o.room[:n]
	}
	grows := len(o.ring) == cap(o.ring)
	o.ring = append(o.ring, u)
	if grows {
		o.room = o.ring[:cap(o.ring)]
	}
}

// at finds a unit that still waits. The caller holds mu.
func (o *origin) at(seq uint64) *unit {
	if seq < o.base || seq >= o.next {
		return nil
	}
	u := &o.ring[seq-o.base]
	if u.chunk == nil {
		return nil
	}
	return u
}

// Chunk implements kv.Owner: apply met (session, seq). The chunk now belongs to
// the applier.
func (o *origin) Chunk(session, seq uint64) *kv.Chunk {
	o.mu.Lock()
	defer o.mu.Unlock()
	if session != o.session {
		return nil
	}
	u := o.at(seq)
	if u == nil {
		return o.wake(seq)
	}
	if u.taken {
		return nil
	}
	u.taken = true
	return u.chunk
}

// Done implements kv.Owner: the chunk was applied and its replies are on its tape.
func (o *origin) Done(c *kv.Chunk) {
	o.mu.Lock()
	unit := o.at(c.Seq)
	if unit != nil {
		o.forget(c.Seq)
	}
	o.mu.Unlock()
	if unit == nil {
		o.answerBlocked(c, nil)
		return
	}
	if c.NumOps > 0 { // or it is a tick, which no client sent
		o.answers.Add(1)
	}
	o.answer(c, nil)
}

// pending is the number of the oldest unit without an answer.
func (o *origin) pending() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.base
}

// forget drops a unit. The caller holds mu.
func (o *origin) forget(seq uint64) {
	o.ring[seq-o.base].chunk = nil
	n := 0
	for n < len(o.ring) && o.ring[n].chunk == nil {
		n++
	}
	o.base += uint64(n)
	o.ring = o.ring[n:]
	switch {
	case len(o.ring) > 0:
	case len(o.room) > manyUnits:
		o.ring, o.room = nil, nil // a flood's memory
	default:
		o.ring = o.room[:0]
	}
}

// manyUnits are as many as a thousand busy connections have waiting.
const manyUnits = 1 << 14

func (o *origin) answer(c *kv.Chunk, err error) {
	o.count(c, -1)
	c.Err = err
	if c.Waiter != nil {
		c.Waiter.ChunkDone(c)
	}
}

// count adds what a chunk counts for, or takes it away.
func (o *origin) count(c *kv.Chunk, sign int64) {
	n := sign * int64(chunkBytes(c))
	o.bytes.Add(n)
	if o.isLarge(c) {
		o.largeBytes.Add(n)
	}
}

func (o *origin) isLarge(c *kv.Chunk) bool { return len(c.Ops) >= o.large }

// chunkBytes is what a waiting chunk counts for; the constant stands for the chunk
// and its connection.
func chunkBytes(c *kv.Chunk) int { return c.Size() + 512 }

// verdict is what became of a unit that was due.
type verdict int

const (
	sent    verdict = iota
	skipped         // it waits; those behind it may go
	stopped         // it waits, and those behind it do
)

// due calls send for every waiting unit that term's leader was not given yet, in
// order of sequence, and marks those that were sent, until one is stopped. A unit older
// than resend is given again to the same leader: its frame may be lost. A large one may have
// to wait for its turn there, and costs much: it is given again later. send is called under
// the lock.
func (o *origin) due(term uint64, now time.Time, resend time.Duration, send func(h kv.UnitHeader, c *kv.Chunk) verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session == 0 {
		return
	}
	for i := range o.ring {
		u := &o.ring[i]
		if u.chunk == nil || u.taken {
			continue
		}
		patience := resend
		if o.isLarge(u.chunk) {
			patience *= largeResend
		}
		if u.sentTerm == term && now.Sub(u.sentAt) < patience {
			continue
		}
		h := kv.UnitHeader{Session: o.session, Seq: o.base + uint64(i), Low: o.base, User: u.chunk.User, Ops: uint64(u.chunk.NumOps)}
		switch send(h, u.chunk) {
		case skipped:
			continue
		case stopped:
			return
		}
		u.sentTerm, u.sentAt, u.exposed = term, now, true
	}
}

// unsend marks units as not given to the current leader: it refused them. Being
// refused is definite for that copy only, so exposed stays.
func (o *origin) unsend(seqs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range seqs {
		if u := o.at(s); u != nil {
			u.sentTerm = 0
		}
	}
}

// unsendAll does so for all units: the way to the leader was lost.
func (o *origin) unsendAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.ring {
		o.ring[i].sentTerm = 0
	}
}

// expire answers units that waited longer than patience allows and reports whether
// any of them may still apply, so that the caller seals them by raising low.
func (o *origin) expire(now time.Time, patience time.Duration) (sealNeeded bool) {
	o.mu.Lock()
	var gone []unit
	for i := range o.ring {
		u := &o.ring[i]
		if u.chunk == nil || u.taken || now.Sub(u.arrived) < patience {
			continue
		}
		gone = append(gone, *u)
	}
	for _, u := range gone {
		o.forget(u.chunk.Seq)
	}
	o.mu.Unlock()
	for _, u := range gone {
		err := noLeader(o.removed)
		if o.led {
			err = errBusy
		}
		if u.exposed {
			err, sealNeeded = errUnknownOutcome, true
		}
		o.answer(u.chunk, err)
	}
	return sealNeeded
}

// reconcile runs after a snapshot replaced the state machine: units it contains
// were applied where this node could not see their replies. Before the session is
// open nothing was sent, whatever the snapshot says. A session that was closed
// meanwhile (by a twin of this node) will not apply its units any more, but may have.
func (o *origin) reconcile(fate func(session, seq uint64) kv.SeqState) {
	type end struct {
		chunk *kv.Chunk
		err   error
	}
	var gone []end
	var waits []*kv.Chunk
	o.mu.Lock()
	for i := range o.ring {
		u := &o.ring[i]
		if u.chunk == nil || u.taken || o.session == 0 {
			continue
		}
		switch fate(o.session, o.base+uint64(i)) {
		case kv.SeqOpen:
		case kv.SeqWaiting:
			waits = append(waits, u.chunk)
		case kv.SeqApplied:
			gone = append(gone, end{u.chunk, errReplyLost})
		default:
			err := errStopped
			if u.exposed {
				err = errUnknownOutcome
			}
			gone = append(gone, end{u.chunk, err})
		}
	}
	for _, e := range gone {
		o.forget(e.chunk.Seq)
	}
	o.mu.Unlock()
	for _, e := range gone {
		o.answer(e.chunk, e.err)
	}
	for _, c := range waits {
		o.Blocked(c, 0) // the row has the deadline
	}
	o.reconcileBlocked(fate)
}

// abandon answers everything: the node stops.
func (o *origin) abandon() {
	o.mu.Lock()
	var gone []unit
	for i := range o.ring {
		if u := &o.ring[i]; u.chunk != nil && !u.taken {
			gone = append(gone, *u)
		}
	}
	for _, u := range gone {
		o.forget(u.chunk.Seq)
	}
	o.mu.Unlock()
	for _, u := range gone {
		err := errStopped
		if u.exposed {
			err = errUnknownOutcome
		}
		o.answer(u.chunk, err)
	}
	o.abandonBlocked()
}

// open starts the session; units may be sent from now on.
func (o *origin) open(session uint64) {
	o.mu.Lock()
	o.session = session
	o.mu.Unlock()
}

func (o *origin) opened() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.session != 0
}
