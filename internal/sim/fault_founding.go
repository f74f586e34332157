package sim

import "time"

// disturbFounding is for some of the seeds: while the founders look for each other, some
// of them die, lose their disks or do not hear each other. However that ends, they make
// one cluster (docs/adr/0018). Disks of a minority are emptied at most: a founder may
// have settled and voted by the time it is.
func (w *world) disturbFounding() {
	n := w.opt.nodes
	if n == 1 || !w.chance(0.2) {
		return
	}
	may := map[*machine]bool{}
	for _, i := range w.rng.Perm(n)[:(n-1)/2] {
		may[w.machines[i]] = true
	}
	var next func()
	next = func() {
		if w.leader() != nil || w.now > 3*time.Second {
			return
		}
		w.later(60*time.Millisecond, next)
		m := pick(w.rng, w.machines)
		switch w.rng.IntN(4) {
		case 0:
			if x := pick(w.rng, w.machines); x != m {
				w.cut(m, x, w.around(300*time.Millisecond))
			}
		case 1:
			if m.proc != nil {
				w.foundingHit(m, "founder killed while forming")
				m.proc.kill()
				m.restartLater()
			}
		case 2:
			if m.proc != nil {
				w.foundingHit(m, "founder lost power while forming")
				m.powerOff()
				m.restartLater()
			}
		case 3:
			if m.proc != nil && may[m] {
				w.foundingHit(m, "founder emptied while forming")
				m.proc.kill()
				m.wipe()
				m.join = false
				m.restartLater()
			}
		}
	}
	next()
}

// foundingHit counts what happens to a founder that does not belong to the cluster yet.
func (w *world) foundingHit(m *machine, event string) {
	w.say("node %d: %s", m.id, event)
	if !m.proc.s.Running() {
		w.hit(event)
	}
}
