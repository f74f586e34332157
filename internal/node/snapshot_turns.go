package node

import "github.com/rkvdb/rkv/raftcore"

// All members have the same log, so all would take their snapshots at the same
// moment and the whole cluster would be slow at once. They take turns instead: a
// node says on its answers to the leader that it is writing one, the leader says on
// its heartbeats that somebody else is, and who hears that waits, up to twice the
// usual size of the log. Who would begin at the same moment begin in the order of
// their ids, the leader last, a sixteenth of that size apart: in that time the word
// gets round.

// snapTurns is what the loop knows of the others' snapshots.
type snapTurns struct {
	busy  map[raftcore.NodeID]bool // leader: members that said so
	other bool                     // follower: the leader's word
}

// observeSnapshots notes what a message says about snapshots.
func (l *loop) observeSnapshots(m *raftcore.Message) {
	switch m.Type {
	case raftcore.MsgAppendResp, raftcore.MsgHeartbeatResp:
		if l.snapTurns.busy == nil {
			l.snapTurns.busy = make(map[raftcore.NodeID]bool)
		}
		l.snapTurns.busy[m.From] = m.Snapping
	case raftcore.MsgHeartbeat:
		if m.From == l.core.Leader() {
			l.snapTurns.other = m.Snapping
		}
	}
}

// tellSnapshots marks messages on their way out.
func (l *loop) tellSnapshots(ms []raftcore.Message) {
	for i := range ms {
		switch ms[i].Type {
		case raftcore.MsgAppendResp, raftcore.MsgHeartbeatResp:
			ms[i].Snapping = l.gauges.snapshotting()
		case raftcore.MsgHeartbeat:
			ms[i].Snapping = l.gauges.snapshotting() || l.othersSnap(ms[i].To)
		}
	}
}

// othersSnap reports whether a member other than id and this node writes a snapshot:
// what a leader knows.
func (l *loop) othersSnap(id raftcore.NodeID) bool {
	for other, busy := range l.snapTurns.busy {
		if busy && other != id {
			return true
		}
	}
	return false
}

// watchSnapshots takes a snapshot when the log is long and it is this node's turn.
func (l *loop) watchSnapshots() {
	bytes, limit := l.gauges.logBytes(), l.cfg.SnapshotLogBytes
	if bytes < limit {
		return
	}
	if l.core.Leader() == 0 { // what was heard is old
		l.snapTurns = snapTurns{}
	}
	busy := l.snapTurns.other
	if l.core.Leader() == l.id {
		l.snapTurns.forgetSilent(l.core.Status().Peers)
		busy = l.othersSnap(l.id)
	}
	if bytes >= 2*limit || !busy && bytes >= limit+limit/16*int64(l.rank()) {
		l.fx.takeSnapshot()
	}
}

// forgetSilent drops the word of members that do not answer any more.
func (t *snapTurns) forgetSilent(peers []raftcore.PeerStatus) {
	for _, p := range peers {
		if !p.Active {
			delete(t.busy, p.ID)
		}
	}
}

// rank is this node's place among the members: by id, the leader last.
func (l *loop) rank() int {
	m := l.core.Membership()
	if l.core.Leader() == l.id {
		return max(len(m.Members)-1, 0)
	}
	rank := 0
	for _, x := range m.Members {
		if x.ID < l.id && x.ID != l.core.Leader() {
			rank++
		}
	}
	return rank
}
