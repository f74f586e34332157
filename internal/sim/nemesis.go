package sim

import (
	"time"
)

// unleash lets faults happen, one after another and over one another.
func (w *world) unleash() {
	w.after(w.around(w.opt.every), nil, func() {
		if w.healing {
			return
		}
		var able []fault
		for f := range faults {
			if w.opt.faults[f] && catalogue[f].blow != nil {
				able = append(able, f)
			}
		}
		if len(able) > 0 {
			f := pick(w.rng, able)
			if catalogue[f].blow(w) {
				w.fired(f)
				w.note(7, uint64(f))
			}
		}
		w.unleash()
	})
	if !w.operating {
		w.operating = true
		w.operate()
	}
}

// victim is a running process: the leader more often than others.
func (w *world) victim() *proc {
	if l := w.leader(); l != nil && w.chance(0.4) {
		return l
	}
	ps := w.running()
	if len(ps) == 0 {
		return nil
	}
	return pick(w.rng, ps)
}

func (w *world) later(mean time.Duration, f func()) {
	w.after(w.around(mean)+time.Millisecond, nil, f)
}
