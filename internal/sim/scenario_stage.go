package sim

import (
	"fmt"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// stage is what plays share: the seed's clients are silent, the links are sound and
// lose nothing, and the play has hands of its own. What a play breaks is mended when it
// ends.
type stage struct {
	w     *world
	hands []*client
	ops   int
}

// staged makes a scenario's play of one that wants a stage. It begins with a leader
// that everybody follows and nothing under way; if that does not come about, there is
// no play.
func staged(play func(s *stage)) func(w *world) {
	return func(w *world) {
		s := &stage{w: w}
		w.hush = true
		w.net.loss, w.net.dup, w.net.spike = 0, 0, 0
		if s.calm() {
			play(s)
		} else {
			w.say("no calm to begin in")
		}
		s.clear()
	}
}

// early is staged for a play that begins as soon as there is a leader: some founders may
// not belong to the cluster yet.
func early(play func(s *stage)) func(w *world) {
	return func(w *world) {
		s := &stage{w: w}
		w.hush = true
		w.net.loss, w.net.dup, w.net.spike = 0, 0, 0
		w.until(10*time.Second, s.idle)
		if w.leader() != nil {
			play(s)
		}
		s.clear()
	}
}

// quick makes network, disk and state machine fast against the election timeout, so
// that a play's steps happen in the order it thinks of. Plays are for three or more.
func quick(o *options) {
	o.nodes = max(o.nodes, 3)
	o.delay = min(o.delay, time.Millisecond)
	o.disk = min(o.disk, time.Millisecond)
	o.applyMax = min(o.applyMax, time.Millisecond)
	o.perByte = min(o.perByte, 10*time.Nanosecond)
}

// quickThree is quick, of three nodes.
func quickThree(o *options) {
	quick(o)
	o.nodes = 3
}

// quickFive is quick, of five nodes.
func quickFive(o *options) {
	quick(o)
	o.nodes = 5
}

// shortMessages is quickThree with an entry of any size alone in its message, and one
// message on its way.
func shortMessages(o *options) {
	quickThree(o)
	o.message, o.inflightMessages = 200, 1
}

// bySnapshots is quickThree with snapshots taken by the play alone, and logs that keep
// nothing below them.
func bySnapshots(o *options) {
	quickThree(o)
	o.snapshotBytes, o.keepBytes = 8<<20, 1
	o.snapTime = max(o.snapTime, 50*time.Millisecond)
}

// calm waits until all nodes agree and vote, and nobody waits for an answer. A founder
// that was emptied while the cluster formed comes back as a learner at first.
func (s *stage) calm() bool {
	all := map[raftcore.NodeID]bool{}
	for _, m := range s.w.machines {
		all[m.id] = true
	}
	return s.w.until(10*time.Second, func() bool {
		return s.idle() && len(s.w.running()) == len(s.w.machines) && s.w.agree(all) && s.allVote()
	})
}

func (s *stage) allVote() bool {
	l := s.w.leader()
	return l != nil && len(l.s.Core().Membership().Voters()) == len(s.w.machines)
}

func (s *stage) idle() bool {
	for _, c := range s.w.clients {
		if c.cur != nil {
			return false
		}
	}
	return true
}

// clear mends what the play broke and lets the seed's clients and faults begin.
func (s *stage) clear() {
	w := s.w
	for _, m := range w.machines {
		s.mend(m)
		m.stuckUntil = 0
		m.rate(0)
		if m.proc == nil {
			m.start()
		} else if m.proc.pausedUntil > w.now {
			s.wake(m.proc)
		}
	}
	left := w.clients[:0]
	for _, c := range w.clients {
		if c.number < stageHands || c.cur != nil {
			left = append(left, c)
		}
	}
	w.clients = left
	w.net.loss, w.net.dup, w.net.spike = w.opt.loss, w.opt.dup, w.opt.spike
	w.hush = false
}

// stageHands is where the numbers of a stage's own clients begin.
const stageHands = 1000

// cast are the leader and the others, in any order.
func (s *stage) cast() (l *proc, others []*proc) {
	w := s.w
	l = w.leader()
	ps := w.running()
	for _, i := range w.rng.Perm(len(ps)) {
		if ps[i] != l {
			others = append(others, ps[i])
		}
	}
	return l, others
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) { s.w.until(d, func() bool { return false }) }

// must is until for what has to come about: that a cluster is available with this much
// of it alive and connected (I20).
func (s *stage) must(timeouts int, what string, cond func() bool) {
	w := s.w
	w.checked(20)
	bound := time.Duration(timeouts) * w.opt.election
	if !w.until(bound, cond) {
		all := map[raftcore.NodeID]bool{}
		for _, m := range w.machines {
			all[m.id] = true
		}
		w.fail("I20", "%s did not come about within %v:%s", what, bound, w.states(all))
	}
}

// leading reports whether one of ps leads in a term after the given one.
func (s *stage) leading(after uint64, ps ...*machine) *proc {
	for _, m := range ps {
		if p := m.proc; p != nil && p.s.Running() && p.s.Core().Role() == raftcore.Leader && p.s.Core().Term() > after {
			return p
		}
	}
	return nil
}

// Links.

func (s *stage) cut(from, to *machine)  { s.w.net.link(from.id, to.id).cut = true }
func (s *stage) open(from, to *machine) { s.w.net.link(from.id, to.id).cut = false }

// isolate cuts a machine off in both directions, deafen in one.
func (s *stage) isolate(m *machine) {
	s.deafen(m)
	for _, x := range s.w.machines {
		if x != m {
			s.cut(m, x)
		}
	}
}

func (s *stage) deafen(m *machine) {
	for _, x := range s.w.machines {
		if x != m {
			s.cut(x, m)
		}
	}
}

// mend opens all links of a machine.
func (s *stage) mend(m *machine) {
	for _, x := range s.w.machines {
		s.open(m, x)
		s.open(x, m)
	}
}

// Processes, disks and clocks.

// down kills a machine's process, with or without its power.
func (s *stage) down(m *machine) {
	if m.proc == nil {
		return
	}
	if s.w.chance(0.5) {
		s.w.say("node %d: power loss", m.id)
		m.powerOff()
	} else {
		s.w.say("node %d: kill -9", m.id)
		m.proc.kill()
	}
}

// wake ends a pause.
func (s *stage) wake(p *proc) {
	p.pausedUntil = 0
	p.resume()
}

// rate makes a machine's clock fast or slow, in parts per million.
func (m *machine) rate(ppm int64) {
	m.monotonic()
	m.ppm = ppm
}

// hang lets a machine's disk answer nothing for d.
func (s *stage) hang(m *machine, d time.Duration) {
	s.w.say("node %d: disk hangs for %v", m.id, d)
	m.stuckUntil = s.w.now + d
}

// holding is until with disks that answer nothing meanwhile. Soon after it returns they
// do, unless they are held again.
func (s *stage) holding(d time.Duration, cond func() bool, ms ...*machine) bool {
	w := s.w
	return w.until(d, func() bool {
		for _, m := range ms {
			m.stuckUntil = w.now + holdSlice
		}
		return cond()
	})
}

// holdSlice is more than ever passes between two events.
const holdSlice = 30 * time.Millisecond

// nextBatch waits until p's disk has done what it was given and been given more.
func (s *stage) nextBatch(p *proc, held ...*machine) bool {
	before := p.syncSince
	return s.holding(4*holdSlice, func() bool { return p.syncBusy && p.syncSince > before }, held...)
}

// snapshot takes one on p and waits for its end.
func (s *stage) snapshot(p *proc) bool {
	ended, ok := false, false
	p.snapshot(func(err error) { ended, ok = true, err == nil })
	s.w.until(10*time.Second, func() bool { return ended || p.dead })
	return ok
}

// Clients.

// ask sends an operation through p, as a client of its own.
func (s *stage) ask(p *proc, o *op) *op {
	c := &client{w: s.w, number: stageHands + len(s.hands), on: p.m, stop: true}
	s.hands = append(s.hands, c)
	s.w.clients = append(s.w.clients, c)
	c.do(o)
	return o
}

// write adds something that is missed if it is lost.
func (s *stage) write(p *proc) *op {
	s.ops++
	id := fmt.Sprintf("s.%d", s.ops)
	return s.ask(p, &op{push: id, build: func(ch *kv.Chunk) { add(ch, dbBooks, "rpush l "+id) }})
}

// fill writes some bytes.
func (s *stage) fill(p *proc, bytes int) *op {
	s.ops++
	key, value := fmt.Sprintf("fill%d", s.ops%8), make([]byte, bytes)
	for i := range value {
		value[i] = byte('a' + s.w.rng.IntN(26))
	}
	return s.ask(p, &op{build: func(ch *kv.Chunk) { add(ch, dbMess, "set "+key+" ?", value) }})
}

// read asks for the freshest state there is.
func (s *stage) read(p *proc) *op {
	return s.ask(p, &op{read: true, build: func(ch *kv.Chunk) {
		add(ch, dbBooks, "llen l")
		add(ch, dbBooks, "get n")
	}})
}

// done waits for an operation's success.
func (s *stage) done(o *op, d time.Duration) bool {
	s.w.until(d, func() bool { return o.state != opPending || o.p == nil })
	return o.state == opOK
}

// grow commits n entries through p.
func (s *stage) grow(p *proc, n, bytes int) bool {
	for range n {
		if !s.done(s.fill(p, bytes), 2*s.w.opt.election) {
			return false
		}
	}
	return true
}
