package sim

import (
	"path"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func (w *world) bitFlip() bool {
	return w.damage(func(name string, data []byte) {
		n := used(data)
		for range 1 + w.rng.IntN(3) {
			at := w.rng.IntN(n)
			if w.chance(0.5) {
				at = max(0, n-1-w.rng.IntN(min(n, 600)))
			}
			data[at] ^= 1 << w.rng.IntN(8)
			w.say("bit flipped in %s at %d of %d", name, at, n)
		}
	})
}

// zeroSector spares what the last writes left: a zeroed sector there is what a power
// cut leaves, and nothing can tell the two apart (segmentlog, DESIGN 15).
func (w *world) zeroSector() bool {
	return w.damage(func(name string, data []byte) {
		m := w.spoiling
		end := used(data)
		if path.Ext(name) == ".seg" {
			spare := int(m.batches[0]+m.batches[1]) + 1024
			names, _ := m.disk.List(path.Dir(name))
			for i := len(names) - 1; i >= 0 && path.Join(path.Dir(name), names[i]) > name; i-- {
				if path.Ext(names[i]) != ".seg" {
					continue
				}
				later, _ := m.disk.ReadFile(path.Join(path.Dir(name), names[i]))
				if n := used(later); n > 4096 {
					spare -= n - 4096
				}
			}
			end -= max(spare, 0)
		}
		if end < 1 {
			return
		}
		sector := w.rng.IntN((end-1)/512 + 1)
		if w.chance(0.4) {
			sector = (end - 1) / 512
		}
		clear(data[sector*512 : min(len(data), sector*512+512)])
		w.say("sector %d of %s zeroed", sector, name)
	})
}

func (w *world) wipeOne() bool {
	p := w.victim()
	if p == nil || !w.mayHarm(p.m) {
		return false
	}
	w.say("node %d: disk wiped", p.m.id)
	p.kill()
	p.m.wipe()
	p.m.restartLater()
	return true
}

// damage picks a file of a victim and spoils it while nobody runs.
func (w *world) damage(spoil func(name string, data []byte)) bool {
	p := w.victim()
	if p == nil || !w.mayHarm(p.m) {
		return false
	}
	m := p.m
	dir := pick(w.rng, []string{"/data/groups/0/log", "/data/groups/0/log", "/data/groups/0/snapshot"})
	names, _ := m.disk.List(dir)
	if len(names) == 0 {
		return false
	}
	name := path.Join(dir, pick(w.rng, names))
	data, err := m.disk.ReadFile(name)
	if err != nil || len(data) == 0 {
		return false
	}
	p.kill()
	data, err = m.disk.ReadFile(name) // the kill may have finished a write
	if err != nil || len(data) == 0 {
		m.restartLater()
		return false
	}
	m.harm()
	m.spoilt = true
	switch {
	case path.Dir(name) == "/data/groups/0/snapshot":
		w.hit("snapshot damaged")
	case path.Ext(name) == ".seg":
		w.hit("log segment damaged")
	default:
		w.hit("hard-state slot damaged")
	}
	w.spoiling = m
	spoil(name, data)
	_ = m.disk.WriteFile(name, data)
	m.restartLater()
	return true
}

// used is how far a file has been written: the rest of a segment is zeros.
func used(data []byte) int {
	n := len(data)
	for n > 0 && data[n-1] == 0 {
		n--
	}
	return max(n, 1)
}

func (m *machine) wipe() {
	m.disk = vfs.NewMem()
	m.held, m.ambiguous = durable{}, nil
	m.incarnation, m.join, m.wiped = 0, true, true
	m.harmed, m.spoilt, m.refused, m.full, m.dying, m.second = false, false, nil, false, false, false
	m.rolledBack, m.copy = false, nil
}

func (m *machine) harm() {
	m.harmed, m.harmIndex = true, uint64(len(m.w.judge.ledger))
}

// healed forgets a harm once the disk holds what it may have lost.
func (w *world) healed() {
	for _, m := range w.machines {
		if !m.harmed || m.rolledBack || m.proc == nil || !m.proc.s.Running() || m.proc.s.Core().Status().Suspect != (raftcore.Position{}) {
			continue
		}
		if m.held.last() >= m.harmIndex {
			if t, ok := m.held.term(m.harmIndex); !ok || m.harmIndex == 0 || t == w.judge.ledger[m.harmIndex-1].Term {
				m.harmed = false
				w.hit("damaged disk made whole again")
			}
		}
	}
}

// sound reports whether a voter's disk holds all it ever acknowledged.
func (w *world) sound(v raftcore.Member) bool {
	m := w.machine(v.ID)
	return m != nil && !m.gone && m.refused == nil && !m.harmed && m.incarnation == v.Incarnation
}

// mayHarm reports whether one more disk may be harmed.
func (w *world) mayHarm(m *machine) bool {
	l := w.leader()
	if l == nil || w.changing || w.copies() || l.s.Core().ChangeInProgress() {
		return false
	}
	members := l.s.Core().Membership()
	for _, x := range w.machines {
		// Somebody may still live by an older configuration.
		if p := x.proc; p != nil && p.s.Running() && p != l && p.s.Core().LastIndex() >= l.s.Core().LastIndex() && p.s.Core().Term() > l.s.Core().Term() {
			return false
		}
		// Or have in its log a change that this leader does not know, of fewer voters.
		if _, in := members.Find(x.id); in && x.proc != nil && x.proc.s.Running() && x.proc.s.Core().ChangeInProgress() {
			return false
		}
	}
	// A learner may be a voter before its damage is noticed.
	worst := members.Voters()
	for _, x := range members.Members {
		if x.Learner && (x.ID == m.id || !w.sound(x)) {
			worst = append(worst, x)
		}
	}
	return w.bears(members.Voters(), m) && w.bears(worst, m)
}

// bears reports whether a majority of voters stays sound without m's disk.
func (w *world) bears(voters []raftcore.Member, m *machine) bool {
	bad := 0
	for _, v := range voters {
		if v.ID == m.id || !w.sound(v) {
			bad++
		}
	}
	return 2*bad < len(voters)
}
