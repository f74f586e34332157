package sim

import (
	"errors"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func (w *world) pause() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	d := w.around(w.opt.cutTime/2) + 50*time.Millisecond
	if w.chance(0.1) {
		d = w.between(5*time.Second, 15*time.Second)
	}
	w.say("node %d pauses for %v", p.m.id, d)
	p.pauseFor(d)
	return true
}

// pauseFor stops the process for d: what happens to it meanwhile waits, in order.
func (p *proc) pauseFor(d time.Duration) {
	p.pausedUntil = max(p.pausedUntil, p.w.now+d)
	p.w.after(p.pausedUntil-p.w.now, nil, p.resume)
}

// resume lets everything that waited happen, unless the pause was extended.
func (p *proc) resume() {
	if p.dead || p.pausedUntil > p.w.now {
		return
	}
	p.frozenUntil = p.w.now
	for _, f := range p.postponed {
		p.w.after(0, p, f)
	}
	p.postponed = nil
}

func (w *world) killOne() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	w.say("node %d: kill -9", p.m.id)
	if p.syncBusy {
		w.hit("killed with a write under way")
	}
	if p.s.Core().Role() == raftcore.Leader {
		w.hit("leader killed")
	}
	p.kill()
	p.m.restartLater()
	return true
}

func (w *world) powerOne() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	w.say("node %d: power loss", p.m.id)
	p.m.powerOff()
	p.m.restartLater()
	return true
}

func (w *world) powerAll() bool {
	w.say("power loss of all")
	for _, m := range w.machines {
		m.powerOff()
		m.restartLater()
	}
	w.hit("all nodes power-cycled")
	return true
}

func (w *world) stopOne() bool {
	p := w.victim()
	if p == nil || p.pausedUntil > w.now {
		return false
	}
	w.say("node %d: orderly stop", p.m.id)
	w.poll(p, p.s.Transfer(0), 2*w.opt.election, func(error, bool) {
		// Outside of the node's own turn.
		w.after(0, p, func() {
			if p.syncBusy || p.applyBusy {
				p.stopWhenIdle()
				return
			}
			p.stop()
		})
	})
	return true
}

// twin starts a second process on a directory in use: it must not come up.
func (w *world) twin() bool {
	p := w.victim()
	if p == nil || p.m.dying || p.m.full || p.fallible {
		return false
	}
	q := &proc{w: w, m: p.m}
	if err := openTwin(p.m.config(), q); !errors.Is(err, vfs.ErrLocked) {
		w.fail("identity", "a second process on node %d's directory: %v", p.m.id, err)
	}
	return true
}

// powerOff cuts the machine's power: what was not synced goes, in part.
func (m *machine) powerOff() {
	if p := m.proc; p != nil {
		m.stuckUntil = m.w.now + 1 // nothing finishes a write any more
		p.kill()
	}
	m.stuckUntil = 0
	m.disk.Crash(m.w.rng)
	m.dying = false
}

func (p *proc) stop() {
	err := p.s.Stop()
	if err != nil && !isInjected(err) {
		p.w.fail("stop", "node %d: %v", p.m.id, err)
	}
	p.m.held.unknown = true
	p.kill()
	p.m.restartLater()
}

func (p *proc) stopWhenIdle() {
	if p.syncBusy || p.applyBusy {
		p.w.after(time.Millisecond, p, p.stopWhenIdle)
		return
	}
	p.stop()
}
