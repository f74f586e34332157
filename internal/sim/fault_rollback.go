package sim

import (
	"errors"
	"fmt"

	"github.com/rkvdb/rkv/internal/node"
)

// A data directory that is replaced by an older copy of itself, and one whose copy is
// started beside it, have forgotten what the directory promised since: votes and
// acknowledgements. Peers that met a later life of it refuse it (docs/adr/0015). With
// nobody about who knows there is no telling, so these faults strike only if every
// other machine knows, and nobody who does not joins before the copy is gone.

// keepCopy takes a copy of the disk now and then while nobody runs on it.
func (m *machine) keepCopy() {
	o := &m.w.opt
	if o.nodes == 1 {
		return // the copy of a lone voter elects itself, and nobody is there to know better
	}
	if (o.faults[faultRollback] || o.faults[faultClone]) && m.incarnation != 0 && !m.harmed && (m.copy == nil || m.w.chance(0.3)) {
		m.copy, m.copyIncarnation = m.disk.Clone(), m.incarnation
	}
}

// copied is a running process of whose directory there is a copy from before it
// started, and that everybody would still know after a power cut; nil if the victim is
// no such process.
func (w *world) copied() *proc {
	p, l := w.victim(), w.leader()
	if p == nil || l == nil || p.m.copy == nil || p.m.copyIncarnation != p.id.Incarnation || w.copies() {
		return nil
	}
	if len(l.s.Core().Membership().Voters()) < 2 || len(p.s.Core().Membership().Voters()) < 2 {
		return nil // nobody is asked
	}
	for _, x := range w.machines {
		if x == p.m || x.gone {
			continue
		}
		if x.proc == nil || !x.proc.s.Running() || !x.proc.s.Met(p.s) {
			return nil
		}
	}
	return p
}

// copies reports whether an older copy is about.
func (w *world) copies() bool {
	for _, m := range w.machines {
		if m.rolledBack {
			return true
		}
	}
	return w.ghost != nil
}

// rollBack puts an older copy in place of a directory.
func (w *world) rollBack() bool {
	p := w.copied()
	if p == nil || !w.mayHarm(p.m) {
		return false
	}
	m := p.m
	w.say("node %d: its directory is replaced by an older copy", m.id)
	p.kill()
	m.disk, m.copy = m.copy, nil
	m.harm()
	m.rolledBack, m.full, m.dying = true, false, false
	m.held, m.ambiguous = durable{}, nil
	m.restartLater()
	return true
}

// clone starts an older copy of a directory on another machine while the directory
// is in use.
func (w *world) clone() bool {
	p := w.copied()
	if p == nil {
		return false
	}
	g := &machine{
		w: w, id: p.m.id, addr: fmt.Sprintf("10.0.1.%d:1", p.m.id), disk: p.m.copy, diskMean: p.m.diskMean,
		join: p.m.join, mono: p.m.mono, monoAt: p.m.monoAt, ppm: p.m.ppm, wall: p.m.wall, rolledBack: true, harmed: true,
		level: p.m.level,
	}
	p.m.copy = nil
	w.ghost = g
	w.say("node %d: a copy of its directory is started elsewhere", g.id)
	g.start()
	return true
}

// superseded is what becomes of a process that its peers refuse, if err says so. It is
// started again some times, as a service manager would, before its operator takes note.
func (m *machine) superseded(err error) bool {
	if !errors.Is(err, node.ErrSuperseded) {
		return false
	}
	w := m.w
	if !m.rolledBack {
		w.fail("identity", "node %d is told that it is a copy, which it is not: %v", m.id, err)
	}
	w.hit("older copy noticed")
	switch {
	case w.chance(0.7):
	case w.ghost == m:
		w.ghost, m.gone = nil, true
	default:
		m.refused = err
	}
	return true
}
