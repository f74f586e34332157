package sim

import (
	"errors"
	"path"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// unleash lets faults happen, one after another and over one another.
func (w *world) unleash() {
	w.after(w.around(w.opt.every), nil, func() {
		if w.healing {
			return
		}
		var able []fault
		for f := range faults {
			if w.opt.faults[f] && blows[f] != nil {
				able = append(able, f)
			}
		}
		if len(able) > 0 {
			f := pick(w.rng, able)
			if blows[f](w) {
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

// blows are the faults that happen at a moment; the others are the seed's settings.
// Each reports whether it could strike.
var blows [faults]func(w *world) bool

func init() {
	blows = [faults]func(w *world) bool{
		faultOneWay: (*world).oneWay, faultCut: (*world).cutOff, faultRing: (*world).ring, faultSwizzle: (*world).swizzle,
		faultReset: (*world).reset, faultPause: (*world).pause, faultKill: (*world).killOne, faultPower: (*world).powerOne,
		faultPowerAll: (*world).powerAll, faultStop: (*world).stopOne, faultStall: (*world).stall, faultSyncError: (*world).syncError,
		faultTorn: (*world).torn, faultBitFlip: (*world).bitFlip, faultZeroSector: (*world).zeroSector,
		faultNoSpace: (*world).noSpace, faultWipe: (*world).wipeOne, faultClockStep: (*world).clockStep,
		faultDrift: (*world).drift, faultMadClock: (*world).madClock, faultAdd: (*world).addMember,
		faultRemove: (*world).removeMember, faultReplace: (*world).replaceMember, faultTransfer: (*world).transfer,
		faultTwin: (*world).twin, faultLoss: (*world).lossBurst,
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

// Network.

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

// Processes.

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
	p.pausedUntil = max(p.pausedUntil, w.now+d)
	p.frozenUntil = p.pausedUntil
	return true
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

func (p *proc) stopWhenIdle() {
	if p.syncBusy || p.applyBusy {
		p.w.after(time.Millisecond, p, p.stopWhenIdle)
		return
	}
	p.stop()
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

// Disks.

func (w *world) stall() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	d := w.around(w.opt.cutTime) + 20*time.Millisecond
	w.say("node %d: disk hangs for %v", p.m.id, d)
	if p.s.Core().Role() == raftcore.Leader {
		w.hit("stall at leader")
	}
	p.m.stuckUntil = max(p.m.stuckUntil, w.now+d)
	return true
}

func (w *world) syncError() bool {
	p := w.victim()
	if p == nil {
		return false
	}
	kind := pick(w.rng, []vfs.OpKind{vfs.OpDatasync, vfs.OpDatasync, vfs.OpSync, vfs.OpWrite, vfs.OpRename, vfs.OpSyncDir, vfs.OpCreate, vfs.OpRead})
	w.say("node %d: a %v will fail", p.m.id, kind)
	if p.s.Core().Role() == raftcore.Leader && kind == vfs.OpDatasync {
		w.hit("fsync failed at leader")
	}
	p.fallible = true
	p.m.disk.FailNth(kind, w.rng.IntN(6), errDisk)
	return true
}

// torn cuts the power in the middle of a write.
func (w *world) torn() bool {
	p := w.victim()
	if p == nil || p.m.dying {
		return false
	}
	m := p.m
	w.say("node %d: power fails within a write", m.id)
	p.fallible, m.dying = true, true
	m.disk.PowerOffAfter(w.rng.IntN(8))
	w.later(500*time.Millisecond, func() {
		if m.dying {
			m.powerOff()
			m.restartLater()
		}
	})
	return true
}

// noSpace fills the disk for a while.
func (w *world) noSpace() bool {
	p := w.victim()
	if p == nil || p.m.full {
		return false
	}
	m := p.m
	const huge = int64(1) << 40
	m.disk.SetCapacity(huge)
	free, _ := m.disk.Free("/")
	m.disk.SetCapacity(huge - int64(free) + int64(w.rng.IntN(16<<10)) + 1)
	m.full, p.fallible = true, true
	w.say("node %d: disk full", m.id)
	w.later(2*time.Second, func() {
		m.disk.SetCapacity(0)
		m.full = false
	})
	return true
}

// Damage. There must always be enough sound copies left: what is promised is that a
// minority may lose its disks (the "fault atlas").

// sound reports whether a voter's disk holds all it ever acknowledged.
func (w *world) sound(v raftcore.Member) bool {
	m := w.machine(v.ID)
	return m != nil && !m.gone && m.refused == nil && !m.harmed && m.incarnation == v.Incarnation
}

// mayHarm reports whether one more disk may be harmed.
func (w *world) mayHarm(m *machine) bool {
	l := w.leader()
	if l == nil || l.s.Core().ChangeInProgress() {
		return false
	}
	for _, x := range w.machines {
		// Somebody may still live by an older configuration.
		if p := x.proc; p != nil && p.s.Running() && p != l && p.s.Core().LastIndex() >= l.s.Core().LastIndex() && p.s.Core().Term() > l.s.Core().Term() {
			return false
		}
	}
	// A learner may be a voter before its damage is noticed.
	members := l.s.Core().Membership()
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

func (m *machine) harm() {
	m.harmed, m.harmIndex = true, uint64(len(m.w.judge.ledger))
}

// healed forgets a harm once the disk holds what it may have lost.
func (w *world) healed() {
	for _, m := range w.machines {
		if !m.harmed || m.proc == nil || !m.proc.s.Running() || m.proc.s.Core().Status().Suspect != (raftcore.Position{}) {
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

func (m *machine) wipe() {
	m.disk = vfs.NewMem()
	m.held, m.ambiguous = durable{}, nil
	m.incarnation, m.join, m.wiped = 0, true, true
	m.harmed, m.spoilt, m.refused, m.full, m.dying, m.second = false, false, nil, false, false, false
}

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
	w.later(500*time.Millisecond, w.operate)
}

// Clocks.

func (w *world) clockStep() bool {
	m := pick(w.rng, w.machines)
	step := w.rng.Int64N(7_200_000) - 3_600_000
	if w.chance(0.5) {
		step /= 1000
	}
	m.wall += step
	w.say("node %d: clock steps by %d ms", m.id, step)
	return true
}

func (w *world) drift() bool {
	m := pick(w.rng, w.machines)
	m.monotonic()
	m.ppm = w.rng.Int64N(400_000) - 200_000
	return true
}

func (w *world) madClock() bool {
	l := w.leader()
	if l == nil {
		return false
	}
	l.m.wall += pick(w.rng, []int64{-3_600_000, 3_600_000, 30_000, -30_000})
	w.say("leader %d: its clock went mad", l.m.id)
	return true
}

// Membership.

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
		case done || err != nil || w.now > end || w.healing:
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

func (w *world) addMember() bool {
	if len(w.machines) >= w.opt.nodes+w.opt.joiners {
		return false
	}
	m := w.addMachine(true)
	w.say("node %d is added", m.id)
	m.start()
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

func (w *world) removeMember() bool { return w.remove(false) }

func (w *world) replaceMember() bool { return w.remove(true) }

// remove takes a member out. It may stay up for a while and get in the way; then it
// comes back with an empty directory.
func (w *world) remove(atOnce bool) bool {
	l := w.leader()
	if l == nil || w.changing {
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

func noSpaceError(err error) bool { return errors.Is(err, syscall.ENOSPC) }
