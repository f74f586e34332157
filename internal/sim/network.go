package sim

import (
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// network carries what processes say to each other. It keeps the transport's rules
// about who may speak for whom (internal/transport/handshake.go, holders.go), and
// may lose, repeat, delay and reorder frames.
type network struct {
	w     *world
	links map[linkID]*link // looked up only; never ranged over
	loss  float64          // of this moment, for every link
	dup   float64
	spike float64 // chance of a long delay
}

type linkID struct{ from, to raftcore.NodeID }

// link is one direction between two machines.
type link struct {
	cut   bool
	clog  time.Duration        // frames wait until then
	epoch int                  // of the connection: frames of an older one are lost
	last  [lanes]time.Duration // arrival of the newest frame, by lane
	// free is when everything that was put on a lane has left: frames of a lane leave
	// one after another, each as fast as the line is, and lanes do not wait for each
	// other.
	free [lanes]time.Duration
}

// queueBytes is what waits for a lane at most; a frame more is dropped (Options of
// internal/transport).
const queueBytes = 64 << 20

const (
	laneControl = iota
	laneBulk
	lanes
)

func (n *network) link(from, to raftcore.NodeID) *link {
	id := linkID{from, to}
	l := n.links[id]
	if l == nil {
		l = &link{}
		n.links[id] = l
	}
	return l
}

// tenantID is a raft identity.
type tenantID struct {
	id          raftcore.NodeID
	incarnation uint64
}

// reach finds the process a peer's address leads to, if both sides agree to talk.
func (p *proc) reach(to raftcore.NodeID) *proc {
	peer, ok := p.peers[to]
	if !ok {
		return nil
	}
	m := p.w.byAddr(peer.Addr)
	if m == nil || m.proc == nil {
		return nil
	}
	q := m.proc
	switch {
	case q.id.Node != to || peer.Incarnation != 0 && peer.Incarnation != q.id.Incarnation:
		return nil
	case p.cluster == [16]byte{} || p.cluster != q.cluster:
		return nil
	}
	if back, ok := q.peers[p.id.Node]; ok && back.Incarnation != 0 && back.Incarnation != p.id.Incarnation {
		return nil
	}
	met := q.s.NewestBoot(p.id) == p.id.Boot && p.s.NewestBoot(q.id) == q.id.Boot
	if !met && (p.w.net.link(p.m.id, m.id).cut || p.w.net.link(m.id, p.m.id).cut) {
		return nil // a handshake needs both directions
	}
	if r := q.s.Meet(p.s); r != transport.ReasonNone {
		p.w.hit("peer refused by its boot")
		p.s.Refused(to, r)
		return nil
	}
	if p.s.Meet(q.s) != transport.ReasonNone {
		return nil
	}
	return q
}

// dial is the transport keeping connections to all peers, whether or not there is
// anything to say: so a node hears that it is refused.
func (p *proc) dial() {
	for _, m := range p.w.machines {
		if _, ok := p.peers[m.id]; ok {
			p.reach(m.id)
		}
	}
	p.w.after(max(dialEvery, p.w.opt.heartbeat), p, p.dial)
}

// dialEvery is how often at most.
const dialEvery = 200 * time.Millisecond

func (w *world) byAddr(addr string) *machine {
	for _, m := range w.machines {
		if m.addr == addr {
			return m
		}
	}
	return nil
}

// frame sends something to a process, maybe never, maybe twice.
func (n *network) frame(p, q *proc, lane int, size int, deliver func()) {
	w, l := n.w, n.link(p.m.id, q.m.id)
	copies := 1
	if !w.healing {
		if w.chance(n.loss) {
			w.fired(faultLoss)
			return
		}
		if w.chance(n.dup) {
			w.fired(faultDup)
			copies = 2
		}
	}
	epoch := l.epoch
	leaves := max(l.free[lane], w.now) + time.Duration(size)*w.opt.perByte
	if leaves-w.now > queueBytes*w.opt.perByte+time.Second {
		return
	}
	l.free[lane] = leaves
	if lane == laneBulk && leaves-w.now > w.opt.election {
		w.hit("bulk data queued for an election timeout")
	}
	for range copies {
		d := leaves - w.now + w.opt.delay/2 + w.around(w.opt.delay)
		spiked := false
		if !w.healing && w.chance(n.spike) {
			d += w.around(w.opt.election * 3)
			d = min(d, 10*w.opt.election)
			spiked = true
			w.fired(faultDelay)
		}
		at := max(w.now+d, l.clog)
		if !w.opt.faults[faultReorder] || w.healing {
			if !spiked {
				at = max(at, l.last[lane]+1)
				l.last[lane] = at
			}
		} else if at < l.last[lane] {
			w.fired(faultReorder)
		} else {
			l.last[lane] = at
		}
		w.after(at-w.now, q, func() {
			if l.cut || l.epoch != epoch || p.id.Boot < q.s.NewestBoot(p.id) {
				return
			}
			deliver()
		})
	}
}

// Send implements node.Host.
func (p *proc) Send(ms []raftcore.Message) {
	for i := range ms {
		m := ms[i]
		p.w.judge.sending(p, &m)
		q := p.reach(m.To)
		if q == nil || p.w.net.link(p.m.id, q.m.id).cut {
			continue
		}
		m.From, m.Clock = p.id.Node, p.s.Now()
		lane, size := laneControl, 64
		if transport.Bulk(m.Type) {
			lane = laneBulk
		}
		for j := range m.Entries {
			size += m.Entries[j].Size()
		}
		p.w.net.frame(p, q, lane, size, func() {
			c := m
			c.Entries = slices.Clone(m.Entries)
			if c.Type == raftcore.MsgReadIndex && q.s.Running() && q.s.Core().Term() > c.Term {
				p.w.hit("ReadIndex of an older term")
			}
			p.w.note(3, uint64(c.Type), uint64(c.From), uint64(c.To), c.Term, c.Index)
			q.s.HandleMessages(c.From, []raftcore.Message{c})
		})
	}
}

// SendUnits implements node.Host.
func (p *proc) SendUnits(to raftcore.NodeID, us []transport.Unit) bool {
	q := p.reach(to)
	if q == nil {
		return false
	}
	if p.w.net.link(p.m.id, q.m.id).cut {
		return true
	}
	size := 0
	for _, u := range us {
		size += len(u.Bytes)
	}
	p.w.net.frame(p, q, laneBulk, size, func() {
		if q.s.Running() {
			p.w.countRetries(q, us)
		}
		q.s.HandleUnits(p.id.Node, slices.Clone(us))
	})
	return true
}

// countRetries counts units that come again after they were applied.
func (w *world) countRetries(q *proc, us []transport.Unit) {
	for _, u := range us {
		if x, _, err := kv.ParseUnit(u.Bytes); err == nil && x.Session != 0 && q.s.Store().SeqState(x.Session, x.Seq) != kv.SeqOpen {
			w.hit("retry of an applied unit")
		}
	}
}

// SendRefused implements node.Host.
func (p *proc) SendRefused(to raftcore.NodeID, seqs []uint64) {
	if q := p.reach(to); q != nil && !p.w.net.link(p.m.id, q.m.id).cut {
		p.w.net.frame(p, q, laneBulk, 64, func() { q.s.HandleRefused(p.id.Node, slices.Clone(seqs)) })
	}
}

// SetPeers implements node.Host.
func (p *proc) SetPeers(ps []transport.Peer) {
	clear(p.peers)
	p.seen.stale = true
	for _, x := range ps {
		p.peers[x.ID] = x
	}
}

// AskPeers implements node.Host.
func (p *proc) AskPeers(addrs []string) {
	p.w.hit("a member asks who leads")
	for _, addr := range addrs {
		p.w.call(p, p.s.Probe(addr), func(r *node.Reply) {
			if r != nil {
				p.s.Heard(r)
			}
		})
	}
}

// Introduce implements node.Host.
func (p *proc) Introduce(addrs []string) {
	p.w.hit("a node tells silent members where it is")
	for _, addr := range addrs {
		p.w.call(p, p.s.Introduction(addr), func(*node.Reply) {})
	}
}

// appeared and vanished tell the others that connections to p came up or broke.
func (n *network) appeared(p *proc) { n.changed(p, true) }
func (n *network) vanished(p *proc) { n.changed(p, false) }

func (n *network) changed(p *proc, up bool) {
	for _, q := range n.w.running() {
		if q != p {
			n.w.after(n.w.around(n.w.opt.delay), q, func() { q.s.PeerChanged(p.m.id, up) })
		}
	}
}

// reset breaks the connections between two machines: what is under way is lost.
func (n *network) reset(a, b *machine) {
	for _, l := range []*link{n.link(a.id, b.id), n.link(b.id, a.id)} {
		l.epoch++
		l.free = [lanes]time.Duration{}
	}
	for _, pair := range [2][2]*machine{{a, b}, {b, a}} {
		if p := pair[0].proc; p != nil && p.s.Running() {
			other := pair[1].id
			n.w.after(n.w.around(n.w.opt.delay), p, func() {
				p.s.PeerChanged(other, false)
				n.w.after(n.w.around(20*time.Millisecond), p, func() { p.s.PeerChanged(other, true) })
			})
		}
	}
}

// call carries a question to the node at an address and its reply back; nil if there
// is none in time.
func (w *world) call(p *proc, q node.Question, answer func(*node.Reply)) {
	answered := false
	once := func(r *node.Reply) {
		if !answered {
			answered = true
			answer(r)
		}
	}
	w.after(2*node.JoinPatience, p, func() { once(nil) })
	m := w.byAddr(q.Addr)
	if m == nil || m.proc == nil || w.net.link(p.m.id, m.id).cut {
		return
	}
	callee := m.proc
	w.net.frame(p, callee, laneControl, 100, func() {
		r, poll := callee.s.Answer(q)
		back := func() {
			if !w.net.link(m.id, p.m.id).cut {
				w.net.frame(callee, p, laneControl, 100, func() { once(r) })
			}
		}
		if poll == nil {
			back()
			return
		}
		w.poll(callee, poll, node.JoinPatience, func(err error, late bool) {
			callee.s.Joined(r, err, late)
			back()
		})
	})
}

// poll drives a change until it is done, failed or late.
func (w *world) poll(p *proc, poll *node.Poll, patience time.Duration, then func(err error, late bool)) {
	end := w.now + patience
	var step func()
	step = func() {
		if !p.s.Running() {
			return
		}
		switch done, err := poll.Step(); {
		case done || err != nil:
			then(err, false)
		case w.now > end:
			then(nil, true)
		default:
			w.after(5*time.Millisecond, p, step)
		}
	}
	step()
}

// TakeSnapshot implements node.Host.
func (p *proc) TakeSnapshot() {
	if p.snap != nil {
		return // a stream's: it will do
	}
	p.w.after(p.w.around(p.w.opt.snapTime), p, func() {
		p.snapshot(func(err error) {
			if err != nil {
				p.w.after(node.SnapshotRetry, p, p.s.SnapshotEnded)
				return
			}
			p.s.SnapshotEnded()
		})
	})
}

// snapshot runs one to its end, after any that is running.
func (p *proc) snapshot(then func(error)) {
	if p.snap != nil {
		p.w.after(time.Millisecond, p, func() { p.snapshot(then) })
		return
	}
	p.snap = p.s.NewSnapshot()
	if p.s.Core().Membership().Joint() {
		p.w.hit("snapshot taken during joint")
	}
	var step func()
	step = func() {
		done, err := p.snap.Step()
		if !done {
			p.w.after(p.w.around(p.w.opt.snapTime/2)+time.Microsecond, p, step)
			return
		}
		p.snap = nil
		if err == nil {
			p.w.hit("snapshot taken")
			if o, _, err := p.s.NewestSnapshot(); err == nil {
				p.w.judge.snapshot(p, o.Meta)
			}
			p.m.second = p.m.second || p.fromSnapshot
		} else {
			p.w.say("node %d: snapshot failed: %v", p.m.id, err)
		}
		then(err)
	}
	p.w.after(time.Microsecond, p, step)
}

// SendSnapshot implements node.Host.
func (p *proc) SendSnapshot(to raftcore.NodeID) {
	p.w.after(time.Microsecond, p, func() { p.stream(to) })
}

func (p *proc) stream(to raftcore.NodeID) {
	w := p.w
	offer, raw, err := p.s.NewestSnapshot()
	meta := offer.Meta
	if err == node.ErrNoSnapshot {
		p.snapshot(func(err error) {
			if err != nil || p.s.SnapshotIndex() == 0 {
				p.streamEnded(to, 0, false)
				return
			}
			p.stream(to)
		})
		return
	}
	q := p.reach(to)
	if err != nil || q == nil || w.net.link(p.m.id, q.m.id).cut {
		p.streamEnded(to, meta.Index, false)
		return
	}
	w.hit("snapshot streamed")
	w.judge.snapshot(p, meta)
	if meta.Membership.Joint() {
		w.hit("joint snapshot streamed")
	}
	answered := false
	end := func(ok bool) {
		if !answered {
			answered = true
			p.streamEnded(to, meta.Index, ok)
		}
	}
	// A stream that breaks is noticed at last by its silence.
	w.after(w.opt.streamTimeout, p, func() { end(false) })
	w.after(w.opt.delay+time.Duration(len(raw))*w.opt.perByte*4, q, func() {
		q.receive(p, offer, raw, func(err error) {
			if !w.net.link(q.m.id, p.m.id).cut {
				w.net.frame(q, p, laneControl, 64, func() { end(err == nil) })
			}
		})
	})
}

func (p *proc) streamEnded(to raftcore.NodeID, index uint64, ok bool) {
	if ok {
		p.s.SnapshotSent(to, index, true)
		return
	}
	p.w.after(p.w.opt.election, p, func() { p.s.SnapshotSent(to, index, false) })
}

// receive is HandleSnapshot: asks whether it is wanted, keeps the file.
func (p *proc) receive(from *proc, offer snapshot.Offer, raw []byte, done func(error)) {
	w, meta := p.w, offer.Meta
	if !p.s.Running() || w.net.link(from.m.id, p.m.id).cut {
		return
	}
	p.s.AskWanted(meta, func(err error) {
		if err != nil {
			w.hit("snapshot superseded on its way")
			done(err)
			return
		}
		var keep func()
		keep = func() {
			if p.receiving {
				w.hit("two snapshots at once")
				w.after(time.Millisecond, p, keep)
				return
			}
			p.receiving = true
			w.after(w.around(w.opt.snapTime), p, func() {
				p.receiving = false
				if w.chance(0.2) { // the stream breaks; the next one continues
					raw = raw[:w.rng.IntN(len(raw))]
				}
				in := &simStream{Stream: snapshot.Whole(raw)}
				err := p.s.Receive(from.id.Node, offer, in)
				if in.from > 0 && err == nil {
					w.hit("snapshot continued")
				}
				if err != nil {
					w.say("node %d: snapshot %d not received: %v", p.m.id, meta.Index, err)
				}
				done(err)
			})
		}
		w.after(0, p, keep)
	})
}

// simStream notes where a stream began.
type simStream struct {
	snapshot.Stream
	from int64
}

func (s *simStream) From(offset int64) error {
	s.from = offset
	return s.Stream.From(offset)
}
