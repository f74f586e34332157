package node

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/raftcore"
)

// peerOrders records what the loop says about peers.
type peerOrders struct {
	effects
	any   []bool
	asked int
	told  [][]string
}

func (o *peerOrders) setPeers(_ raftcore.Membership, anyIncarnation bool) {
	o.any = append(o.any, anyIncarnation)
}

func (o *peerOrders) askPeers([]string) { o.asked++ }

func (o *peerOrders) introduce(addrs []string) { o.told = append(o.told, addrs) }

// lonelyFor is what a node orders that finds no leader for so many election timeouts.
func lonelyFor(timeouts int) *peerOrders {
	l := newWorld(1, 3, io.Discard).node(1).loop
	orders := &peerOrders{}
	l.fx = orders
	now := time.UnixMilli(1e12)
	for range timeouts + 1 {
		l.watchPeers(now)
		l.watchSilent(now)
		now = now.Add(l.cfg.ElectionTimeout)
	}
	return orders
}

// A node that finds no leader for long talks to any incarnation of its peers, and asks
// them who takes part: its configuration may name the predecessor of today's leader
// (found by seed 36 of the simulator).
func TestLonelyNodeTalksToAnyIncarnation(t *testing.T) {
	require.Empty(t, lonelyFor(0).any, "not at once")
	orders := lonelyFor(100)
	require.Equal(t, []bool{true}, orders.any, "once")
	require.Positive(t, orders.asked)
	require.LessOrEqual(t, orders.asked, 50, "every second election timeout at most")
}

// A node that finds no leader tells everybody where it is: a voter whose configuration
// is from before this node joined could not answer it (found by seed 817061).
func TestLonelyNodeTellsEverybodyWhereItIs(t *testing.T) {
	require.Empty(t, lonelyFor(0).told, "not at once")
	orders := lonelyFor(100)
	require.NotEmpty(t, orders.told)
	require.LessOrEqual(t, len(orders.told), 50, "every second election timeout at most")
	for _, addrs := range orders.told {
		require.ElementsMatch(t, []string{"node2:1", "node3:1"}, addrs)
	}
}

// A member led by somebody its configuration does not name has no address to answer
// to: it asks the others at once (found by seeds 5200, 5280 and 5376).
func TestMemberLedByStrangerAsksTheOthers(t *testing.T) {
	for _, c := range []struct {
		leader raftcore.NodeID
		asks   int
	}{{2, 0}, {9, 1}} {
		l := newWorld(1, 3, io.Discard).node(1).loop
		orders := &peerOrders{}
		l.fx = orders
		l.core.Step(raftcore.Message{Type: raftcore.MsgHeartbeat, From: c.leader, To: 1, Term: 1})
		require.Equal(t, c.leader, l.core.Leader())
		now := time.UnixMilli(1e12)
		l.watchPeers(now)
		l.watchPeers(now.Add(l.cfg.ElectionTimeout))
		require.Equal(t, c.asks, orders.asked, "leader %d", c.leader)
		require.Empty(t, orders.any)
	}
}

// A leader tells the members that do not answer, and nobody else, where it is (found
// by seed 702719: a learner whose configuration names nobody of today).
func TestLeaderTellsSilentMembersWhereItIs(t *testing.T) {
	w := newWorld(1, 3, io.Discard)
	leads := func(s *stepNode) bool { return s.loop.core.Role() == raftcore.Leader }
	for !slices.ContainsFunc(w.nodes, leads) {
		w.step()
	}
	l := w.nodes[slices.IndexFunc(w.nodes, leads)].loop
	answers, silent := raftcore.NodeID(1), raftcore.NodeID(2)
	if l.id < 3 {
		answers, silent = 3-l.id, 3
	}
	orders := &peerOrders{}
	l.fx = orders
	now := w.now
	for range 30 * l.cfg.ElectionTimeout / l.cfg.tick() {
		l.core.Step(raftcore.Message{Type: raftcore.MsgHeartbeatResp, From: answers, To: l.id, Term: l.core.Term(), Incarnation: uint64(answers)})
		l.core.Tick()
		now = now.Add(l.cfg.tick())
		l.watchSilent(now)
	}
	require.Equal(t, raftcore.Leader, l.core.Role())
	m, _ := l.core.Membership().Find(silent)
	require.NotEmpty(t, orders.told)
	require.LessOrEqual(t, len(orders.told), 15, "every second election timeout at most")
	for _, addrs := range orders.told {
		require.Equal(t, []string{m.PeerAddr}, addrs)
	}
}

// peerList records whom the node stays connected to.
type peerList struct {
	peerNet
	peers []transport.Peer
}

func (p *peerList) SetPeers(ps []transport.Peer) { p.peers = ps }
func (p *peerList) Flush()                       {}
func (p *peerList) Send([]raftcore.Message)      {}

// Whoever says that it leads gets answers where it says it is, if the configuration
// does not know better and it is of the same cluster.
func TestIntroductionOfAStranger(t *testing.T) {
	for _, c := range []struct {
		name  string
		from  raftcore.Member
		other bool // another cluster
		want  bool
	}{
		{"stranger", raftcore.Member{ID: 9, Incarnation: 4, PeerAddr: "nine:1"}, false, true},
		{"other cluster", raftcore.Member{ID: 9, Incarnation: 4, PeerAddr: "nine:1"}, true, false},
		{"member", raftcore.Member{ID: 2, Incarnation: 4, PeerAddr: "nine:1"}, false, false},
		{"self", raftcore.Member{ID: 1, Incarnation: 4, PeerAddr: "nine:1"}, false, false},
		{"nowhere", raftcore.Member{ID: 9, Incarnation: 4}, false, false},
	} {
		s := newWorld(1, 3, io.Discard).node(1)
		list := &peerList{}
		s.peers, s.loop.fx, s.clusterID = list, s.Node, "ours"
		cluster := "ours"
		if c.other {
			cluster = "theirs"
		}
		s.introducedBy(call{Kind: callHere, From: c.from, Cluster: cluster})
		s.introducedBy(call{Kind: callHere, From: raftcore.Member{ID: 8, PeerAddr: "eight:1"}, Cluster: "ours"})
		s.introducedBy(call{Kind: callHere, From: raftcore.Member{ID: 8, PeerAddr: "eight:2"}, Cluster: "ours"})
		for _, f := range s.inbox.take().calls {
			f(s.loop)
		}
		require.Contains(t, list.peers, transport.Peer{ID: 8, Addr: "eight:2"}, "%s: one does not displace another", c.name)
		want := transport.Peer{ID: c.from.ID, Incarnation: c.from.Incarnation, Addr: c.from.PeerAddr}
		require.Equal(t, c.want, slices.Contains(list.peers, want), c.name)
	}
}
