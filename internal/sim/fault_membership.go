package sim

import (
	"errors"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

func (w *world) addMember() bool {
	if len(w.machines) >= w.opt.nodes+w.opt.joiners || w.copies() {
		return false
	}
	m := w.addMachine(true)
	w.say("node %d is added", m.id)
	m.start()
	return true
}

func (w *world) removeMember() bool { return w.remove(false) }

func (w *world) replaceMember() bool { return w.remove(true) }

func (w *world) transfer() bool {
	l := w.leader()
	if l == nil {
		return false
	}
	to := raftcore.NodeID(0)
	if w.chance(0.7) {
		to = pick(w.rng, l.s.Core().Membership().Members).ID
	}
	w.say("transfer to %d", to)
	w.poll(l, l.s.Transfer(to), 5*time.Second, func(err error, _ bool) {
		if err == nil {
			w.hit("transfer completed")
		}
	})
	return true
}

// remove takes a member out. It may stay up for a while and get in the way; then it
// comes back with an empty directory.
func (w *world) remove(atOnce bool) bool {
	l := w.leader()
	if l == nil || w.changing || w.copies() {
		return false
	}
	members := l.s.Core().Membership().Members
	id := pick(w.rng, members).ID
	if w.chance(0.3) {
		id = l.m.id
	}
	if !w.removable(l, id) {
		return false
	}
	w.say("removing node %d", id)
	m := w.machine(id)
	if m.proc == l {
		w.hit("leader removed")
		for _, x := range w.machines {
			if w.net.link(l.m.id, x.id).cut {
				w.hit("leader removed while partitioned")
				break
			}
		}
	}
	w.change(l, l.s.Remove(id), func() {
		after := w.around(3 * time.Second)
		if atOnce {
			after = 0
		}
		w.after(after, nil, func() {
			if w.healing || m.gone {
				return
			}
			if now := w.leader(); now == nil || m.proc == now {
				return
			} else if _, in := now.s.Core().Membership().Find(id); in {
				return
			}
			if m.proc != nil {
				m.proc.kill()
			}
			m.wipe()
			w.say("node %d comes back empty", m.id)
			m.restartLater()
		})
	})
	return true
}

// removable: the cluster without it must still stand on sound disks.
func (w *world) removable(l *proc, id raftcore.NodeID) bool {
	voters, bad := 0, 0
	for _, v := range l.s.Core().Membership().Voters() {
		if v.ID == id {
			continue
		}
		voters++
		if !w.sound(v) {
			bad++
		}
	}
	return voters >= 2 && 2*bad < voters
}

// change drives one change of the membership.
func (w *world) change(p *proc, poll interface{ Step() (bool, error) }, then func()) {
	w.changing = true
	end := w.now + 5*time.Second
	var step func()
	step = func() {
		done, err := false, error(nil)
		if !p.dead && p.s.Running() {
			done, err = poll.Step()
			p.settle()
		} else {
			err = errors.New("node is gone")
		}
		switch {
		case done || err != nil || w.now > end && p.pausedUntil < w.now || w.healing: // one that is paused may still do it
			w.changing = false
			w.say("change through node %d: done %v, error %v", p.m.id, done, err)
			if done && then != nil {
				then()
			}
		default:
			w.after(5*time.Millisecond, nil, step)
		}
	}
	step()
}
