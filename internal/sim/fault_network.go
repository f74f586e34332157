package sim

import (
	"time"
)

func (w *world) oneWay() bool {
	a, b := pick(w.rng, w.machines), pick(w.rng, w.machines)
	if a == b {
		return false
	}
	w.say("cut %d -> %d", a.id, b.id)
	w.cut(a, b, w.partitionTime())
	return true
}

// cutOff splits the machines in two.
func (w *world) cutOff() bool {
	d := w.partitionTime()
	side := make([]bool, len(w.machines))
	for i := range side {
		side[i] = w.rng.IntN(2) == 0
	}
	if l := w.leader(); l != nil && w.chance(0.4) { // the leader alone
		for i := range side {
			side[i] = w.machines[i] == l.m
		}
	}
	w.say("partition %v for %v", side, d)
	for i, a := range w.machines {
		for k, b := range w.machines {
			if side[i] != side[k] {
				w.cut(a, b, d)
			}
		}
	}
	return true
}

// ring leaves each machine its two neighbours.
func (w *world) ring() bool {
	n, d := len(w.machines), w.partitionTime()
	if n < 4 {
		// Of three, one pair cannot talk.
		a := w.rng.IntN(n)
		w.cut(w.machines[a], w.machines[(a+1)%n], d)
		w.cut(w.machines[(a+1)%n], w.machines[a], d)
		return true
	}
	w.say("ring for %v", d)
	for i := range n {
		for k := range n {
			if k != i && k != (i+1)%n && i != (k+1)%n {
				w.cut(w.machines[i], w.machines[k], d)
			}
		}
	}
	return true
}

// swizzle stops machines' links one by one and brings them back in another order.
func (w *world) swizzle() bool {
	w.say("swizzle-clog")
	step := w.between(20*time.Millisecond, 300*time.Millisecond)
	back := w.rng.Perm(len(w.machines))
	for i, k := range w.rng.Perm(len(w.machines)) {
		m := w.machines[k]
		from := step * time.Duration(i)
		to := step * time.Duration(len(w.machines)+back[i])
		w.after(from, nil, func() {
			if w.healing {
				return
			}
			for _, x := range w.machines {
				for _, l := range []*link{w.net.link(m.id, x.id), w.net.link(x.id, m.id)} {
					l.clog = max(l.clog, w.now-from+to)
				}
			}
		})
	}
	return true
}

func (w *world) reset() bool {
	a, b := pick(w.rng, w.machines), pick(w.rng, w.machines)
	if a == b {
		return false
	}
	w.net.reset(a, b)
	return true
}

func (w *world) lossBurst() bool {
	old := w.net.loss
	w.net.loss = max(old, w.rng.Float64())
	w.later(300*time.Millisecond, func() { w.net.loss = old })
	return false // counted frame by frame
}

// cut blocks a direction for a while.
func (w *world) cut(a, b *machine, d time.Duration) {
	l := w.net.link(a.id, b.id)
	if l.cut || a == b {
		return
	}
	l.cut = true
	w.after(d, nil, func() { l.cut = false })
}

func (w *world) partitionTime() time.Duration { return w.around(w.opt.cutTime) + 50*time.Millisecond }
