package sim

import (
	"errors"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// Versions. In some seeds the machines run two versions of rkv, of which one knows an
// apply level more; they are upgraded and downgraded while everything else goes on
// (docs/adr/0021). The levels mean the same, so the replay knows what to expect.

const newLevel = kv.ApplyLevel + 1

// versions reports whether this is such a seed.
func (w *world) versions() bool { return w.opt.faults[faultVersion] }

// install gives a machine its version.
func (w *world) install(m *machine) {
	m.level = kv.ApplyLevel
	if w.versions() && w.chance(0.5) {
		m.level = newLevel
	}
}

// changeVersion upgrades a node, or downgrades it.
func (w *world) changeVersion() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	m := p.m
	if m.level == newLevel && w.chance(0.7) {
		return false
	}
	p.kill()
	if m.level == newLevel {
		m.level = kv.ApplyLevel
		w.hit("node downgraded")
	} else {
		m.level = newLevel
		w.hit("node upgraded")
	}
	w.say("node %d: now of level %d", m.id, m.level)
	m.restartLater()
	return true
}

// outdated reports whether a node stops because it does not know the cluster's level, as
// it should. Its operator installs the newer version.
func (m *machine) outdated(err error) bool {
	w := m.w
	if !errors.Is(err, kv.ErrUnknown) {
		return false
	}
	if m.level >= w.judge.level {
		w.fail("level", "node %d of level %d stops: %v", m.id, m.level, err)
	}
	w.hit("node stopped at an unknown level")
	m.level = newLevel
	return true
}

// upgradeAll is the end of two versions.
func (w *world) upgradeAll() {
	for _, m := range w.machines {
		if w.versions() && m.level != newLevel && !m.gone {
			if m.proc != nil {
				m.proc.kill()
			}
			m.level = newLevel
		}
	}
}

// raised: the level rises when every member has said that it knows the new one.
func (j *judge) raised(p *proc, e *raftcore.Entry) {
	h, err := kv.ParseEntryHeader(e.Body)
	if err != nil || h.Level <= j.level {
		return
	}
	w := j.w
	members := p.id.Genesis.Membership()
	for i := range j.configs {
		if j.configs[i].index < e.Index {
			members = j.configs[i].Membership
		}
	}
	for _, list := range [][]raftcore.Member{members.Members, members.Outgoing} {
		for _, x := range list {
			if known := j.known[tenantID{x.ID, x.Incarnation}]; known < h.Level {
				w.fail("level", "entry %d raises the level to %d, node %d never knew more than %d", e.Index, h.Level, x.ID, known)
			}
		}
	}
	j.level = h.Level
	w.hit("apply level raised")
	w.say("entry %d raises the apply level to %d", e.Index, h.Level)
}

// knows: nobody goes on behind what it does not understand.
func (j *judge) knows(p *proc) {
	if have := p.s.Store().Level(); have > p.m.level {
		j.w.fail("level", "node %d knows level %d and applied level %d", p.m.id, p.m.level, have)
	}
}
