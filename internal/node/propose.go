package node

import (
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// maxBatchBytes bounds an entry made of several units. Larger entries would make
// every one of their commands wait for the last one's bytes; smaller ones pay the
// fixed cost of an entry more often. One unit may be larger (Config.MaxEntryBytes).
const maxBatchBytes = 1 << 20

// route gives every unit that still needs it to the leader: into entries if that
// is this node, over the wire otherwise.
func (l *loop) route(now time.Time) {
	switch leader := l.core.Leader(); {
	case leader == 0:
		l.refuseForeign()
	case leader == l.id:
		l.lead(now)
	default:
		l.refuseForeign()
		l.forward(leader, now)
	}
}

// lead makes entries of the units of all nodes, those that came first first.
func (l *loop) lead(now time.Time) {
	if term := l.core.Term(); term != l.large.term {
		l.large = largeUnits{term: term, unit: l.cfg.LargeUnit, foreign: l.large.foreign}
	}
	if l.gathering(now) {
		if l.gather.fresh && l.waitingBytes() > 0 {
			l.large.small = now
		}
		return
	}
	l.gather.fresh = false
	l.limitMemory(now)
	l.leadPresence(now)
	l.leadLevel(now)
	l.leadForeign(now)
	l.leadOpen(now)
	if l.leadOwn(now) && l.propose(now) {
		l.leadLarge(now)
	}
	l.gather.fresh = l.large.own+len(l.large.foreign) > 0 // these wait, for a turn, too
	l.origin.unsend(l.notTaken)
	l.notTaken = l.notTaken[:0]
}

// leadOwn makes entries of our units, but for large ones, which it counts.
func (l *loop) leadOwn(now time.Time) (taken bool) {
	taken = true
	l.large.own = 0
	l.origin.due(l.core.Term(), now, l.cfg.ResendTimeout, func(h kv.UnitHeader, c *kv.Chunk) verdict {
		if l.origin.isLarge(c) {
			l.large.own++
			return skipped
		}
		if c.NumOps > 0 {
			l.large.small = now
		}
		l.addOwn(h, c)
		if taken = l.closeUnit(now); !taken {
			return stopped
		}
		return sent
	})
	return taken
}

func (l *loop) addOwn(h kv.UnitHeader, c *kv.Chunk) {
	l.units = kv.AppendUnit(l.units, h, c.Ops)
	l.batchOwn = append(l.batchOwn, h.Seq)
}

// leadForeign makes entries of other nodes' units. When one is not taken those behind it
// are not tried: what a client sent together must not change its order.
func (l *loop) leadForeign(now time.Time) {
	taken := true
	for _, f := range l.foreign {
		for _, u := range f.units {
			if !taken {
				l.fx.sendRefused(f.from, []uint64{u.Seq})
				continue
			}
			if l.addForeign(f.from, u) {
				l.large.small = now
				taken = l.closeUnit(now)
			}
		}
	}
	l.dropForeign()
}

// addForeign adds another node's unit to the entry being built, unless it is malformed.
func (l *loop) addForeign(from raftcore.NodeID, u transport.Unit) bool {
	if _, err := kv.CheckUnit(u.Bytes); err != nil {
		l.log.Warn("dropped a malformed unit", "from", uint64(from), "error", err)
		return false
	}
	l.units = append(l.units, u.Bytes...)
	l.batchPeer = append(l.batchPeer, peerSeq{from, u.Seq})
	return true
}

// closeUnit ends a unit of the entry being built, and the entry when it is full. It
// reports false if that was not taken.
func (l *loop) closeUnit(now time.Time) bool {
	l.unitCount++
	return len(l.units) < maxBatchBytes || l.propose(now)
}

// propose appends the units gathered so far as one entry. If the core cannot take them
// they were not proposed, and it reports false: other nodes are told, ours go to notTaken,
// to be tried again. It may be called while origin calls send, which holds its lock.
func (l *loop) propose(now time.Time) bool {
	if l.unitCount == 0 {
		return true
	}
	err := l.appendEntry(now)
	if err != nil {
		l.notTaken = append(l.notTaken, l.batchOwn...)
		for _, p := range l.batchPeer {
			l.fx.sendRefused(p.from, []uint64{p.seq})
		}
	}
	l.levels.raising = 0
	l.proposals += uint64(l.unitCount)
	l.units, l.unitCount = l.units[:0], 0
	l.batchOwn, l.batchPeer = l.batchOwn[:0], l.batchPeer[:0]
	if cap(l.units) > 4*maxBatchBytes {
		l.units = nil // one huge unit must not keep its memory for ever
	}
	return err == nil
}

// appendEntry proposes l.units as one entry body (none: a TICK).
func (l *loop) appendEntry(now time.Time) error {
	h := kv.EntryHeader{
		Stamp: l.stamp(now), Seed: l.dice.next(), Level: l.levels.of(l.gauges.level()), Units: l.unitCount,
	}
	if l.memory.short {
		h.Flags |= kv.EntryOOM
	}
	body := kv.AppendEntryHeader(l.bodies.Make(64 + len(l.units))[:0], h)
	body = append(body, l.units...)
	index, err := l.core.Propose(raftcore.EntryNormal, body)
	if err == nil {
		l.batches++
		l.gather.proposed = now
		for _, p := range l.batchPeer {
			if p.seq != 0 { // an OPEN: who waits behind it asks for a read index (Node.mayAsk)
				l.core.Awaits(p.from, index)
			}
		}
		for _, id := range l.presence.waiting {
			l.core.Awaits(id, index)
		}
	}
	return err
}

func (l *loop) takeForeign(us []unitsFrom, now time.Time) {
	for _, f := range us {
		small := f.units[:0]
		for _, u := range f.units {
			if len(u.Bytes) >= l.cfg.LargeUnit {
				l.large.take(peerUnit{f.from, u, now})
				continue
			}
			small = append(small, u)
			l.foreignBytes += int64(len(u.Bytes))
		}
		if len(small) > 0 {
			l.foreign = append(l.foreign, unitsFrom{f.from, small})
		}
	}
}

func (l *loop) dropForeign() {
	clear(l.foreign)
	l.foreign, l.foreignBytes = l.foreign[:0], 0
}

// refuseForeign sends units back that need a leader we are not.
func (l *loop) refuseForeign() {
	for _, f := range l.foreign {
		seqs := make([]uint64, len(f.units))
		for i, u := range f.units {
			seqs[i] = u.Seq
		}
		l.fx.sendRefused(f.from, seqs)
	}
	l.dropForeign()
	for _, f := range l.large.foreign {
		l.fx.sendRefused(f.from, []uint64{f.unit.Seq})
	}
	l.large.foreign = nil
}

// forward sends our units to the leader. Each gets bytes of its own: the transport
// keeps them until they are written.
func (l *loop) forward(leader raftcore.NodeID, now time.Time) {
	if l.gatheringAway(now) {
		return
	}
	l.gather.fresh = false
	l.outgoing = l.outgoing[:0]
	if open := l.openUnit(now); open != nil {
		l.outgoing = append(l.outgoing, transport.Unit{Bytes: open})
	}
	l.origin.due(l.core.Term(), now, l.cfg.ResendTimeout, func(h kv.UnitHeader, c *kv.Chunk) verdict {
		l.gather.forwarded, l.gather.sent = now, h.Seq
		b := kv.AppendUnit(make([]byte, 0, len(c.Ops)+64), h, c.Ops)
		l.outgoing = append(l.outgoing, transport.Unit{Seq: h.Seq, Bytes: b})
		return sent
	})
	if len(l.outgoing) == 0 {
		return
	}
	if !l.fx.sendUnits(leader, append([]transport.Unit(nil), l.outgoing...)) {
		seqs := make([]uint64, len(l.outgoing))
		for i, u := range l.outgoing {
			seqs[i] = u.Seq
		}
		l.origin.unsend(seqs)
		l.openSent = time.Time{}
	}
	clear(l.outgoing)
}

// openUnit is the OPEN of this boot, as long as it has not been applied; nil if it
// was, or was sent a moment ago. Sending it twice is harmless.
func (l *loop) openUnit(now time.Time) []byte {
	if l.origin.opened() || now.Sub(l.openSent) < l.cfg.ResendTimeout {
		return nil
	}
	l.openSent = now
	var c kv.Chunk
	c.AppendOpen(l.incarnation, l.boot, l.cfg.Level)
	return kv.AppendUnit(nil, kv.UnitHeader{Ops: uint64(c.NumOps)}, c.Ops)
}

func (l *loop) leadOpen(now time.Time) {
	if open := l.openUnit(now); open != nil {
		l.units = append(l.units, open...)
		l.closeUnit(now)
	}
}

// tickUnit is an empty unit on its way through the log: when it was applied here,
// the stamp has reached the leader's clock and every earlier low is in force.
type tickUnit struct {
	inbox *inbox
	chunk kv.Chunk
	done  []func(error)
}

// ChunkDone implements kv.Waiter.
func (t *tickUnit) ChunkDone(c *kv.Chunk) {
	err := c.Err
	t.inbox.put(func(in *input) {
		in.calls = append(in.calls, func(l *loop) {
			if l.tickUnit == t {
				l.tickUnit = nil
			}
			for _, done := range t.done {
				done(err)
			}
		})
	})
}

func (l *loop) requestTick(done func(error)) { l.tickWait = append(l.tickWait, done) }

// proposeTicks coalesces: one tick in flight, everybody else joins the next.
func (l *loop) proposeTicks(now time.Time) {
	if len(l.tickWait) == 0 || l.tickUnit != nil {
		return
	}
	t := &tickUnit{inbox: l.inbox, done: l.tickWait}
	t.chunk.Waiter = t
	l.tickWait = nil
	l.tickUnit = t
	l.origin.count(&t.chunk, 1)
	l.origin.add(&t.chunk, now)
}

// dueTickInterval is how often a leader stamps due keys when nothing else does.
const dueTickInterval = 100 * time.Millisecond

// proposeDueTick appends a TICK when a key is due and the stamp does not say so yet
// (docs/adr/0004).
func (l *loop) proposeDueTick(now time.Time) {
	if l.core.Role() != raftcore.Leader || l.unitCount > 0 {
		return
	}
	if l.tickTerm == l.core.Term() && l.gauges.applied() < l.tickIndex {
		return // the last one is under way: more of them would only lengthen the queue
	}
	stamp := l.clusterTime(now)
	at, ok := l.gauges.due()
	blocked, waits := l.gauges.timeout()
	switch {
	case waits && blocked <= stamp && (blocked != l.tickedFor || now.Sub(l.lastTick) >= dueTickInterval):
		l.tickedFor = blocked // clients look at the clock: no rest before it
	case !ok || at > stamp:
		return
	case now.Sub(l.lastTick) < dueTickInterval && at > l.gauges.stamp():
		return
	}
	l.lastTick = now
	if err := l.appendEntry(now); err != nil {
		l.log.Debug("tick not proposed", "error", err)
		return
	}
	l.tickTerm, l.tickIndex = l.core.Term(), l.core.LastIndex()
}
