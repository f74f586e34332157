package node

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// The node implements effects and gauges for its loop: everything is queued. What is
// queued with add or sent has to be followed by Node.dispatch and peerNet.Flush, as
// takeTurns and pump do.

func (n *Node) save(s *raftcore.Save) { n.syncer.add(syncJob{save: s}) }

func (n *Node) apply(es []raftcore.Entry) { n.applier.add(applyJob{entries: es}) }

func (n *Node) fetch(f raftcore.Fetch) { n.fetcher.put(f) }

func (n *Node) restore(meta raftcore.SnapshotMeta) { n.applier.add(applyJob{restore: &meta}) }

func (n *Node) compact(index uint64) {
	n.syncer.add(syncJob{compact: index, then: func() { n.logBase.Store(n.wal.Bytes()) }})
}

func (n *Node) send(ms []raftcore.Message) { n.peers.Send(ms) }

func (n *Node) sendUnits(to raftcore.NodeID, us []transport.Unit) bool {
	return n.peers.SendUnits(to, us)
}

func (n *Node) sendNote(to raftcore.NodeID, note []byte) bool { return n.peers.SendNote(to, note) }

// deliver implements effects. What the applier cannot keep up with is dropped.
func (n *Node) deliver(ps []kv.Publication) {
	size := int64(publicationBytes(ps))
	if n.applier.mailBytes.Add(size) > maxMailBytes && size < maxMailBytes {
		n.applier.mailBytes.Add(-size)
		return
	}
	n.applier.add(applyJob{deliver: ps})
}

func (n *Node) sendRefused(to raftcore.NodeID, seqs []uint64) { n.peers.SendRefused(to, seqs) }

// setPeers connects to everybody of the configuration, old and new; if anyIncarnation,
// also to those who took their places with emptied directories.
//
// Who leaves the configuration stays connected for a while: a leader that removes
// itself needs the others' acknowledgements of the very entry by which it leaves, or
// it could neither commit it nor hand leadership over (thesis 4.2.2).
func (n *Node) setPeers(m raftcore.Membership, anyIncarnation bool) {
	n.noteDepartures(m)
	seen := make(map[raftcore.NodeID]bool)
	var ps []transport.Peer
	for _, list := range [][]raftcore.Member{m.Members, m.Outgoing} {
		for _, x := range list {
			if x.ID == n.identity.Node || seen[x.ID] {
				continue
			}
			seen[x.ID] = true
			p := transport.Peer{ID: x.ID, Incarnation: x.Incarnation, Addr: x.PeerAddr}
			if anyIncarnation {
				p.Incarnation = 0
			}
			ps = append(ps, p)
		}
	}
	others := append(slices.Clone(n.introduced), n.learnedMembers()...)
	for _, d := range n.departed {
		others = append(others, d.member)
	}
	for _, x := range others {
		if x.ID != n.identity.Node && !seen[x.ID] {
			seen[x.ID] = true
			ps = append(ps, transport.Peer{ID: x.ID, Incarnation: x.Incarnation, Addr: x.PeerAddr})
		}
	}
	n.peers.SetPeers(ps)
}

// learn keeps the addresses of members that another node told of. A configuration
// may be too old to know today's leader, which then cannot be answered.
func (n *Node) learn(r *callReply) {
	if len(r.Members) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.learned = r.Members
}

func (n *Node) learnedMembers() []raftcore.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.learned
}

// departure is a member that was removed a moment ago.
type departure struct {
	member raftcore.Member
	until  time.Time
}

// noteDepartures remembers who is in the configuration before this one and not in m.
func (n *Node) noteDepartures(m raftcore.Membership) {
	until := n.cfg.Now().Add(10 * n.cfg.ElectionTimeout)
	for _, x := range n.lastMembers {
		if !names(m, x.ID) && x.ID != n.identity.Node {
			n.departed = append(n.departed, departure{x, until})
		}
	}
	n.lastMembers = append(append([]raftcore.Member(nil), m.Members...), m.Outgoing...)
	n.departed = slices.DeleteFunc(n.departed, func(d departure) bool { return names(m, d.member.ID) })
}

// dropDeparted disconnects from members that have had their time.
func (n *Node) dropDeparted(l *loop) {
	now := n.cfg.Now()
	before := len(n.departed)
	n.departed = slices.DeleteFunc(n.departed, func(d departure) bool { return now.After(d.until) })
	if len(n.departed) != before {
		n.setPeers(l.core.Membership(), l.anyPeer)
	}
}

// askPeers implements effects: asks the members this node knows for those it does
// not.
func (n *Node) askPeers(addrs []string) {
	n.callEach(&n.asking, addrs, call{Kind: callProbe, From: n.self()}, n.heard)
}

// introduce implements effects.
func (n *Node) introduce(addrs []string) {
	n.callEach(&n.introducing, addrs, n.introductionCall(), func(*callReply) {})
}

// callEach calls one node after the other, unless busy says that the last round of it is
// not over. Whoever cannot be reached is called again in the next.
func (n *Node) callEach(busy *atomic.Bool, addrs []string, c call, answered func(*callReply)) {
	if busy.Swap(true) {
		return
	}
	n.spawn(func() {
		defer busy.Store(false)
		for _, addr := range addrs {
			if r, err := n.askSoon(n.ctx, addr, c); err == nil {
				answered(r)
			}
		}
	})
}

// maxIntroduced bounds who is remembered of those that introduced themselves.
const maxIntroduced = 16

func (n *Node) introductionCall() call {
	return call{Kind: callHere, From: n.self(), Cluster: n.clusterID}
}

// introducedBy takes the introduction of a node that leads or wants to. It only says where to
// answer to: whom to believe is the core's business.
func (n *Node) introducedBy(c call) {
	if !n.running.Load() || c.Cluster != n.clusterID || c.From.ID == n.identity.Node || c.From.PeerAddr == "" {
		return
	}
	n.call(func(l *loop) {
		if names(l.core.Membership(), c.From.ID) {
			return
		}
		n.introduced = slices.DeleteFunc(n.introduced, func(m raftcore.Member) bool { return m.ID == c.From.ID })
		n.introduced = append(n.introduced, c.From)
		n.introduced = n.introduced[max(0, len(n.introduced)-maxIntroduced):]
		l.fx.setPeers(l.core.Membership(), l.anyPeer)
	})
}

// heard takes an answer to askPeers.
func (n *Node) heard(r *callReply) {
	n.learn(r)
	n.call(func(l *loop) { l.fx.setPeers(l.core.Membership(), l.anyPeer) })
}

func (n *Node) syncAge(now time.Time) time.Duration { return n.syncer.age(now) }

func (n *Node) logBytes() int64 { return n.wal.Bytes() - n.logBase.Load() }

func (n *Node) logTotal() int64 { return n.wal.Bytes() }

func (n *Node) applied() uint64 { return n.applier.index.Load() }

func (n *Node) stamp() int64 { return n.applier.stamp.Load() }

func (n *Node) due() (int64, bool) {
	at := n.applier.nextDue.Load()
	return at, at != noDue
}

func (n *Node) timeout() (int64, bool) {
	at := n.applier.timeout.Load()
	return at, at != noDue
}

func (n *Node) level() uint16 { return uint16(n.applier.level.Load()) }

func (n *Node) met(id raftcore.NodeID) (p process) {
	p.incarnation, p.boot = n.known.Newest(id, 0)
	return p
}

func (n *Node) presence(dst []kv.Presence) []kv.Presence {
	return append(dst, *n.applier.presence.Load()...)
}
