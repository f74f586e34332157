package node

import (
	"time"
)

// reads turns barriers (a client's linearizable read wants to know when this node
// is fresh enough) into batched ReadIndex rounds. It belongs to the loop.
type reads struct {
	removed bool // this node left its cluster: what a refusal says
	boot    uint64
	counter uint64
	waiting []barrier // not asked yet
	asked   []round   // asked, in order of id
	ready   []confirmed
}

type barrier struct {
	done    func(error)
	arrived time.Time
}

type round struct {
	id   uint64
	sent time.Time
	bs   []barrier
}

// maxRounds bounds the read rounds under way.
const maxRounds = 1

type confirmed struct {
	index uint64
	bs    []barrier
}

// nextID never repeats, also across restarts: the boot count is in it (R14).
func (r *reads) nextID() uint64 {
	r.counter++
	return r.boot<<40 | r.counter
}

func (r *reads) add(done func(error), now time.Time) {
	r.waiting = append(r.waiting, barrier{done, now})
}

// ask starts one round for everything that waits. While one is under way the others
// wait for the next: a round costs messages, whatever it serves.
func (r *reads) ask(now time.Time, readIndex func(id uint64)) {
	if !r.mayAsk() {
		return
	}
	id := r.nextID()
	r.asked = append(r.asked, round{id: id, sent: now, bs: r.waiting})
	r.waiting = nil
	readIndex(id)
}

func (r *reads) mayAsk() bool { return len(r.waiting) > 0 && len(r.asked) < maxRounds }

// answer files a round under its read index. A failed round waits again, under a
// new id; the caller decides when to ask.
func (r *reads) answer(id, index uint64, failed bool) {
	for i := range r.asked {
		if r.asked[i].id != id {
			continue
		}
		bs := r.asked[i].bs
		r.asked = append(r.asked[:i], r.asked[i+1:]...)
		if failed {
			r.waiting = append(bs, r.waiting...)
		} else {
			r.ready = append(r.ready, confirmed{index, bs})
		}
		return
	}
}

// release answers the rounds whose index the state machine has reached.
func (r *reads) release(applied uint64) {
	kept := r.ready[:0]
	for _, c := range r.ready {
		if c.index > applied {
			kept = append(kept, c)
			continue
		}
		for _, b := range c.bs {
			b.done(nil)
		}
	}
	clear(r.ready[len(kept):])
	r.ready = kept
}

// renew makes rounds that got no answer for too long wait again (a frame was lost),
// and refuses barriers that ran out of patience.
func (r *reads) renew(now time.Time, resend, patience time.Duration) {
	kept := r.asked[:0]
	for _, g := range r.asked {
		if now.Sub(g.sent) < resend {
			kept = append(kept, g)
			continue
		}
		r.waiting = append(r.waiting, g.bs...)
	}
	clear(r.asked[len(kept):])
	r.asked = kept
	left := r.waiting[:0]
	for _, b := range r.waiting {
		if now.Sub(b.arrived) >= patience {
			b.done(noLeader(r.removed))
			continue
		}
		left = append(left, b)
	}
	r.waiting = left
}

// expire refuses barriers whose index is known but out of reach: the node was cut off,
// or taken out, before it could apply so far.
func (r *reads) expire(now time.Time, patience time.Duration) {
	kept := r.ready[:0]
	for _, c := range r.ready {
		left := c.bs[:0]
		for _, b := range c.bs {
			if now.Sub(b.arrived) >= patience {
				b.done(noLeader(r.removed))
				continue
			}
			left = append(left, b)
		}
		if c.bs = left; len(left) > 0 {
			kept = append(kept, c)
		}
	}
	clear(r.ready[len(kept):])
	r.ready = kept
}

func (r *reads) abandon() {
	for _, g := range r.asked {
		r.waiting = append(r.waiting, g.bs...)
	}
	for _, c := range r.ready {
		r.waiting = append(r.waiting, c.bs...)
	}
	for _, b := range r.waiting {
		b.done(errStopped)
	}
	*r = reads{removed: r.removed, boot: r.boot, counter: r.counter}
}
