package sim

import (
	"fmt"
	"time"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
)

func openTwin(cfg node.Config, p *proc) error {
	s, err := node.StepOpen(cfg, p)
	if err == nil {
		s.Kill()
	}
	return err
}

// liveness is the second phase: a random core of the cluster is healed, the rest is
// gone for good.
func (w *world) liveness() {
	w.say("healing")
	w.heal()
	if w.opt.sleep > 0 { // who went to sleep before is woken
		for _, c := range w.clients {
			w.after(w.around(c.think), nil, c.next)
		}
	}
	// Who was damaged gets time to be made whole by the others.
	var core map[raftcore.NodeID]bool
	for i := 0; core == nil && i < 60; i++ {
		w.runUntil(w.now+max(300*time.Millisecond, w.opt.election/4), nil)
		w.healed()
		core = w.chooseCore()
	}
	if core == nil {
		for _, m := range w.machines {
			w.say("machine %d: running %v harmed %v refused %v incarnation %x", m.id, m.proc != nil, m.harmed, m.refused, m.incarnation)
		}
		w.fail("I20", "no quorum of sound disks, though never more than a minority was harmed")
	}
	w.checked(20)
	for _, m := range w.machines {
		if !core[m.id] {
			m.gone = true
			if m.proc != nil {
				m.proc.kill()
			}
		}
	}
	w.say("core: %v", w.describe(core))
	bound := 30*time.Second + 100*w.opt.election
	start, acked := w.now, w.acked()
	w.await(bound, core, "elect and commit", func() bool { return w.leader() != nil && w.acked() >= acked+3*len(w.clients) })
	if d := w.now - start; d < 10*w.opt.election {
		w.hit("healed core at work within ten timeouts")
	}
	for _, c := range w.clients {
		c.stop = true
	}
	w.await(bound, core, "answer everybody", func() bool {
		for _, c := range w.clients {
			if c.cur != nil {
				return false
			}
		}
		return true
	})
	w.await(bound, core, "agree", func() bool { return w.agree(core) })
	w.compare(core)
	w.undisturbed(core)
	w.say("power cycle of the core")
	for _, m := range w.machines {
		if core[m.id] {
			m.powerOff()
			m.start()
		}
	}
	w.await(bound, core, "agree after a power cycle", func() bool { return w.agree(core) })
	w.compare(core)
	w.judge.witness()
}

// undisturbed: a leader that works goes on, in its configuration, whoever else is up:
// nodes that were removed, or that lag, depose nobody (R25). One whose clock is off
// may hand over.
func (w *world) undisturbed(core map[raftcore.NodeID]bool) {
	l := w.leader()
	if m, ok := l.s.Core().Membership().Find(l.m.id); !ok || m.Learner {
		w.fail("I20", "leader %d is no voter of its configuration%s", l.m.id, names(l.s.Core().Membership()))
	}
	if w.opt.faults[faultClockStep] || w.opt.faults[faultMadClock] || w.opt.faults[faultDrift] {
		return
	}
	term := l.s.Core().Term()
	w.runUntil(w.now+10*w.opt.election, nil)
	if l.dead || l.s.Core().Role() != raftcore.Leader || l.s.Core().Term() != term {
		w.fail("I20", "leader %d of term %d was deposed although all was well:%s", l.m.id, term, w.states(core))
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.healing = true
	w.net.loss, w.net.dup, w.net.spike = 0, 0, 0
	w.upgradeAll()
	for _, a := range w.machines {
		for _, b := range w.machines {
			l := w.net.link(a.id, b.id)
			l.cut, l.clog = false, 0
			l.free = [lanes]time.Duration{}
			l.last = [lanes]time.Duration{} // what a fault delayed holds up nothing that is sent from now on
		}
	}
	if g := w.ghost; g != nil {
		g.gone = true
		if g.proc != nil {
			g.proc.kill()
		}
	}
	for _, m := range w.machines {
		if m.dying {
			m.powerOff()
		}
		m.stuckUntil, m.full = 0, false
		m.disk.SetCapacity(0)
		m.disk.SetFault(nil)
		if p := m.proc; p != nil {
			p.pausedUntil = 0
			p.resume()
		} else {
			m.start()
		}
	}
}

// chooseCore drops machines at random as long as every configuration that anybody
// holds keeps its quorums.
func (w *world) chooseCore() map[raftcore.NodeID]bool {
	core := map[raftcore.NodeID]bool{}
	var configs []raftcore.Membership
	for _, p := range w.running() {
		if p.m.rolledBack {
			continue // its peers will see to it
		}
		core[p.m.id] = true
		configs = append(configs, p.s.Core().Membership())
	}
	stands := func() bool {
		for _, m := range configs {
			// Learners may have been promoted a moment before they go.
			if !w.quorate(m.Voters(), core) || !w.quorate(w.soon(m, core), core) || m.Joint() && !w.quorate(m.Outgoing, core) {
				return false
			}
		}
		return len(configs) > 0
	}
	if !stands() {
		// Old configurations of nodes that were removed do not count.
		if configs = configs[:0]; w.leader() != nil {
			configs = append(configs, w.leader().s.Core().Membership())
		}
		if !stands() {
			return nil
		}
	}
	for _, i := range w.rng.Perm(len(w.machines)) {
		id := w.machines[i].id
		if !core[id] || w.chance(0.3) {
			continue
		}
		core[id] = false
		core[id] = !stands()
	}
	return core
}

// soon is the worst that promotions under way can make of the voters: those learners
// more that are not in the core.
func (w *world) soon(m raftcore.Membership, core map[raftcore.NodeID]bool) []raftcore.Member {
	voters := m.Voters()
	for _, x := range m.Members {
		if x.Learner && !core[x.ID] {
			voters = append(voters, x)
		}
	}
	return voters
}

func (w *world) quorate(voters []raftcore.Member, core map[raftcore.NodeID]bool) bool {
	n := 0
	for _, v := range voters {
		if m := w.machine(v.ID); core[v.ID] && m.incarnation == v.Incarnation && !m.harmed {
			n++
		}
	}
	return 2*n > len(voters)
}

func (w *world) describe(core map[raftcore.NodeID]bool) string {
	s := ""
	for _, m := range w.machines {
		if core[m.id] {
			s += fmt.Sprintf(" %d", m.id)
		}
	}
	return s
}

func (w *world) acked() int {
	n := 0
	for _, o := range w.judge.ops {
		if o.state == opOK && !o.read {
			n++
		}
	}
	return n
}

// await lets the core get somewhere within a bound (I20).
func (w *world) await(bound time.Duration, core map[raftcore.NodeID]bool, what string, cond func() bool) {
	if end := w.now + bound; !cond() {
		reached := false
		w.runUntil(end, func() bool { reached = cond(); return reached })
		if !reached && !cond() {
			w.fail("I20", "the healed core did not %s within %v:%s", what, bound, w.states(core))
		}
	}
}

func (w *world) states(core map[raftcore.NodeID]bool) string {
	s := ""
	for _, m := range w.machines {
		switch {
		case !core[m.id]:
			continue
		case m.proc == nil:
			s += fmt.Sprintf("\n  node %d is down (refused: %v)", m.id, m.refused)
		case !m.proc.s.Running():
			s += fmt.Sprintf("\n  node %d is forming", m.id)
		default:
			st := m.proc.s.Core().Status()
			s += fmt.Sprintf("\n  node %d: %v of term %d, leader %d, log [%d, %d], commit %d, applied %d, snapshot %d, suspect %v, members%s, peers %+v",
				m.id, st.Role, st.Term, st.Leader, st.FirstIndex, st.LastIndex, st.Commit, m.proc.s.Store().Applied(), st.SnapshotIndex, st.Suspect, names(st.Membership), st.Peers)
		}
	}
	for _, c := range w.clients {
		switch o := c.cur; {
		case o == nil:
			s += fmt.Sprintf("\n  client %d says nothing", c.number)
		default:
			s += fmt.Sprintf("\n  client %d waits for node %d since %v (read %v, blocked %v, seq %d)", c.number, o.p.m.id, o.start, o.read, o.blocked, o.chunk.Seq)
		}
	}
	return s
}

// agree: a leader, and every member in the core has applied all there is.
func (w *world) agree(core map[raftcore.NodeID]bool) bool {
	l := w.leader()
	if l == nil {
		return false
	}
	c := l.s.Core()
	if c.Commit() != c.LastIndex() || !l.s.SessionOpen() || c.ChangeInProgress() {
		return false
	}
	for _, m := range w.members(l, core) {
		p := m.proc
		if p == nil || !p.s.Running() || !p.s.SessionOpen() || p.s.Store().Applied() != c.LastIndex() || p.s.Core().LastIndex() != c.LastIndex() {
			return false
		}
	}
	return true
}

// members are the core's machines that the leader's configuration names.
func (w *world) members(l *proc, core map[raftcore.NodeID]bool) []*machine {
	var ms []*machine
	for _, x := range l.s.Core().Membership().Members {
		if m := w.machine(x.ID); core[x.ID] && m.incarnation == x.Incarnation {
			ms = append(ms, m)
		}
	}
	return ms
}

// compare: what every node of the core holds is the same (I10 on every node).
func (w *world) compare(core map[raftcore.NodeID]bool) {
	w.checked(10, 17)
	for _, m := range w.members(w.leader(), core) {
		at, got := m.proc.s.Store().DigestNow()
		if want, ok := w.judge.digests[at]; ok && want != got {
			w.fail("I17", "node %d: another state at index %d", m.id, at)
		}
		w.judge.digests[at] = got
	}
}
