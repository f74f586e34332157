package node

import (
	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/raftcore"
)

// The node implements transport.Handler. Readers run the turns that their frames
// cause; those of the bulk lanes also write and sync what they received.

// HandleMessages implements transport.Handler.
func (n *Node) HandleMessages(from raftcore.NodeID, ms []raftcore.Message) {
	if !n.running.Load() {
		return
	}
	n.inbox.add(func(in *input) { in.messages = append(in.messages, ms...) })
	n.pump(ms[0].Type == raftcore.MsgAppend)
}

// HandleUnits implements transport.Handler.
func (n *Node) HandleUnits(from raftcore.NodeID, units []transport.Unit) {
	if !n.running.Load() {
		return
	}
	n.inbox.add(func(in *input) { in.units = append(in.units, unitsFrom{from, units}) })
	n.pump(true)
}

// HandleRefused implements transport.Handler.
func (n *Node) HandleRefused(_ raftcore.NodeID, seqs []uint64) {
	if !n.running.Load() {
		return
	}
	n.inbox.put(func(in *input) { in.refused = append(in.refused, seqs...) })
}

// PeerChanged implements transport.Handler. What changes while the node starts waits for
// its first turn: a peer that is there by then is not reported again.
func (n *Node) PeerChanged(id raftcore.NodeID, up bool) {
	n.inbox.put(func(in *input) { in.peers = append(in.peers, peerChange{id, up}) })
}

// twinRefusals is how often peers must say that another process holds this node's
// identity before it is believed: once can be a connection that is just dying.
const twinRefusals = 20

// onRefused stops a node that has a twin, or is one: a copy of its directory runs or
// ran elsewhere, and only one of them may speak for it.
func (n *Node) onRefused(peer raftcore.NodeID, reason transport.Reason) {
	switch reason {
	case transport.ReasonOldBoot, transport.ReasonOldCopy:
		n.fail(describeRefusal(peer, reason))
	case transport.ReasonSecondHolder:
		if n.refusals.Add(1) >= twinRefusals {
			n.fail(describeRefusal(peer, reason))
		}
	}
}
