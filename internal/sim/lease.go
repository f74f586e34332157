package sim

import (
	"time"

	"github.com/rkvdb/rkv/internal/node"
)

// Reads by lease. In a third of the seeds the cluster is switched to leases and back
// while everything else goes on: pauses, hand-overs, restarts, and clocks that run 20 %
// fast or slow, which is just what leases have to bear. Clients of these seeds read as
// the front end does: at once where they find a lease, which is validated a moment
// later. The witness judges them like any other read.

// leases reports whether this is such a seed. It is not drawn: that would change what
// the other seeds do.
func (w *world) leases() bool { return w.seed%3 == 1 }

// switchReadMode changes the mode from time to time, mostly to leases.
func (w *world) switchReadMode() {
	if w.healing {
		return
	}
	w.after(w.pace(w.between(300*time.Millisecond, 6*time.Second)), nil, w.switchReadMode)
	l := w.leader()
	if l == nil {
		return
	}
	mode := node.ReadLease
	if w.chance(0.2) {
		mode = node.ReadQuorum
	}
	w.say("read mode %s", mode)
	w.poll(l, l.s.SetReadMode(mode), 2*time.Second, func(err error, late bool) {
		if err == nil && !late {
			w.hit("read mode switched to " + mode)
		}
	})
}

// readByLease reads at once, if the node has a lease, and reports whether it did.
func (c *client) readByLease(o *op) bool {
	lease, ok := o.p.s.LeaseRead()
	if !ok {
		return false
	}
	w, store, now := c.w, o.p.s.Store(), o.p.s.Now()
	if store.Read(o.chunk, now) || o.chunk.Waits() {
		store.EndWait(o.chunk)
		return false // waits for a tick, or for data: not worth a lease here
	}
	o.index, o.now = store.Applied(), now
	rest := w.between(time.Microsecond, 200*time.Microsecond)
	if w.chance(0.03) {
		rest = w.around(w.opt.election) // the process is stopped just here (R17)
	}
	w.after(rest, o.p, func() {
		if !o.p.s.LeaseHolds(lease) {
			w.hit("lease over before the reply")
			c.barrier(o)
			o.p.settle()
			return
		}
		w.hit("read by lease")
		c.answered(o, nil)
	})
	return true
}
