package node

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

// peerOrders records what the loop says about peers.
type peerOrders struct {
	effects
	any   []bool
	asked int
}

func (o *peerOrders) setPeers(_ raftcore.Membership, anyIncarnation bool) {
	o.any = append(o.any, anyIncarnation)
}

func (o *peerOrders) askPeers([]string) { o.asked++ }

// A node that finds no leader for long talks to any incarnation of its peers, and asks
// them who takes part: its configuration may name the predecessor of today's leader
// (found by seed 36 of the simulator).
func TestLonelyNodeTalksToAnyIncarnation(t *testing.T) {
	l := newWorld(1, 3, io.Discard).node(1).loop
	orders := &peerOrders{}
	l.fx = orders
	now := time.UnixMilli(1e12)
	l.watchPeers(now)
	require.Empty(t, orders.any, "not at once")
	for range 100 {
		now = now.Add(l.cfg.ElectionTimeout)
		l.watchPeers(now)
	}
	require.Equal(t, []bool{true}, orders.any, "once")
	require.Positive(t, orders.asked)
	require.LessOrEqual(t, orders.asked, 50, "every second election timeout at most")
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
