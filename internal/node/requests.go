package node

import (
	"github.com/rkvdb/rkv/kv"
)

// maxOutstanding bounds the units of a node without an answer, well below what a
// session's window can hold.
const maxOutstanding = 1 << 18

// Store is the state machine.
func (n *Node) Store() *kv.Store { return n.store }

// Now is the wall clock in Unix ms.
func (n *Node) Now() int64 { return n.cfg.Wall(n.cfg.Now()) }

// Propose submits a chunk; see resp.Backend. It never blocks. Flush makes it leave.
func (n *Node) Propose(c *kv.Chunk) {
	if c.Size() > n.cfg.MaxEntryBytes-(1<<10) {
		c.Err = errTooBig
		c.Waiter.ChunkDone(c)
		return
	}
	n.origin.count(c, 1)
	if !n.inbox.add(func(in *input) { in.chunks = append(in.chunks, c) }) {
		n.origin.answer(c, errStopped)
	}
}

// Saturated reports that no more chunks should be proposed for now.
func (n *Node) Saturated() bool {
	return n.origin.bytes.Load() > n.cfg.MaxQueuedBytes || n.origin.outstanding() > maxOutstanding
}

// outstanding is the width of the window of unanswered units.
func (o *origin) outstanding() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next - o.base
}

// ReadBarrier calls done once this node is fresh enough for a linearizable read. Flush
// makes the question leave.
func (n *Node) ReadBarrier(done func(err error)) {
	n.asked.Add(1)
	n.barrier(done)
}

func (n *Node) barrier(done func(err error)) {
	if !n.inbox.add(func(in *input) { in.barriers = append(in.barriers, done) }) {
		done(errStopped)
	}
}

// Tick makes the stamp reach the leader's clock; done is called when this node has
// applied that. now is the caller's clock, which decides nothing: a caller that is
// ahead of the leader must not wait for the difference. Flush makes it leave.
func (n *Node) Tick(now int64, done func(err error)) {
	if !n.inbox.add(func(in *input) { in.ticks = append(in.ticks, done) }) {
		done(errStopped)
	}
}
