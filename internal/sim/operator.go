package sim

import (
	"time"
)

// operate is the operator: replaces nodes that lost their disks.
func (w *world) operate() {
	if w.healing {
		return
	}
	w.healed()
	if l := w.leader(); l != nil && !w.changing {
		for _, m := range w.machines {
			member, ok := l.s.Core().Membership().Find(m.id)
			if m.refused != nil && m.proc == nil {
				w.say("node %d: the operator empties its disk", m.id)
				m.wipe()
				m.restartLater()
			}
			if ok && m.wiped && member.Incarnation != m.incarnation && l.m != m {
				w.say("the operator removes the lost incarnation of node %d", m.id)
				w.change(l, l.s.Remove(m.id), nil)
				break
			}
		}
	}
	w.later(w.pace(500*time.Millisecond), w.operate)
}
