package node

import (
	"time"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// Disk space is watched so that a full disk is foreseen and never met: a failed
// write would stop the node (DESIGN 15). Each node tells on its answers to the leader
// that it is full; a leader without a quorum of voters that have room tells everybody
// on its heartbeats; and every node then refuses its own clients' commands that need
// room, before anything is proposed. Commands that need none (DEL, EXPIRE), reads,
// elections and snapshots go on, in what was kept back, and with the space the
// refusal ends. A full leader hands over to a voter that has room.
//
// What others write to the same disk cannot be foreseen. When there is no room for
// the log's next segment, the log waits for it: the node then acknowledges nothing,
// neither votes nor leads, and goes on by itself when there is room.

// spaceInterval is how often the free space is looked at. At the fastest disk's
// rate the reserve lasts for longer. fullInterval is the same while the disk is full:
// somebody may be waiting for the end of it.
const (
	spaceInterval = time.Second
	fullInterval  = 100 * time.Millisecond
)

// spaceNeeded is below which a node is full: one more snapshot, a fifth larger than
// the last one, and two log segments.
func (n *Node) spaceNeeded() uint64 {
	need := uint64(2 * n.segmentSize())
	if info, ok := n.snaps.Newest(); ok {
		need += uint64(info.Size) + uint64(info.Size)/5
	}
	return need
}

func (n *Node) segmentSize() int64 {
	if n.cfg.SegmentSize > 0 {
		return n.cfg.SegmentSize
	}
	return segmentlog.DefaultSegmentSize
}

// watchSpace runs until the node stops. It has a goroutine of its own because a disk
// that hangs must not hang anything else.
func (n *Node) watchSpace() {
	for {
		n.lookAtSpace()
		interval, patience := spaceInterval, deliveryPatience
		if n.full.Load() {
			interval, patience = fullInterval, 0 // their files hold space
		}
		n.deliveries.drop(n.cfg.Now().Add(-patience))
		if sleep(n.ctx, interval) != nil {
			return
		}
	}
}

func (n *Node) lookAtSpace() {
	free, err := n.cfg.FS.Free(n.cfg.DataDir)
	if err != nil {
		n.log.Warn("free disk space is unknown", "error", err)
		return
	}
	need, was := n.spaceNeeded(), n.full.Load()
	if was {
		need += uint64(n.segmentSize()) // so that it does not flap
	}
	starved, _ := n.wal.OutOfSpace() // by a quota, perhaps, that free says nothing of
	full := free < need || starved
	n.short.Store(was || full || free < 2*need)
	if full == was {
		return
	}
	n.full.Store(full)
	if full {
		n.log.Error("the disk is nearly full; free some space, nothing has to be restarted", "free", free, "needed", need)
	} else {
		n.log.Info("there is room on the disk again", "free", free)
	}
}

// spawnUnlessStopped implements snapshot.Options.Beside. The last reader of a retired
// snapshot may close it when nobody waits for goroutines any more: then the next start
// removes it.
func (n *Node) spawnUnlessStopped(work func()) {
	n.stopping.Lock()
	defer n.stopping.Unlock()
	if n.ctx.Err() == nil {
		n.spawn(work)
	}
}

// cancelWork ends n.ctx. From then on spawnUnlessStopped adds nothing to what is waited
// for.
func (n *Node) cancelWork() {
	n.stopping.Lock()
	defer n.stopping.Unlock()
	n.cancel()
}

// restSlice is how often a rest looks whether room is short now: after a slow step it
// would last for seconds.
const restSlice = 100 * time.Millisecond

// restFromRemoval implements snapshot.Options.Rest.
func (n *Node) restFromRemoval(d time.Duration) error {
	for ; d > 0 && !n.short.Load(); d -= restSlice {
		if err := sleep(n.ctx, min(d, restSlice)); err != nil {
			return err
		}
	}
	return n.ctx.Err()
}

// diskFull implements gauges.
func (n *Node) diskFull() bool { return n.full.Load() }

// waitsForSpace implements gauges.
func (n *Node) waitsForSpace() bool {
	_, waiting := n.wal.OutOfSpace()
	return waiting
}

// snapshotting implements gauges.
func (n *Node) snapshotting() bool { return n.writing.Load() || n.cfg.Inline && n.snapping.Load() }

// space is what the loop knows about everybody's disks.
type space struct {
	full   map[raftcore.NodeID]bool // leader: voters that said so
	refuse bool                     // no quorum can write: the leader's own or its word
	asked  time.Time                // when a full leader last tried to hand over
	since  time.Time                // leader: when it looked at the disks first
}

// observe notes what a message says about its sender's disk.
func (l *loop) observeSpace(m *raftcore.Message) {
	switch m.Type {
	case raftcore.MsgAppendResp, raftcore.MsgHeartbeatResp:
		if l.space.full == nil {
			l.space.full = make(map[raftcore.NodeID]bool)
		}
		l.space.full[m.From] = m.Full
	case raftcore.MsgHeartbeat:
		if m.From == l.core.Leader() {
			l.space.refuse = m.Full
		}
	}
}

// tellSpace marks messages on their way out.
func (l *loop) tellSpace(ms []raftcore.Message) {
	own := l.gauges.diskFull()
	if !own && !l.space.refuse {
		return
	}
	for i := range ms {
		switch ms[i].Type {
		case raftcore.MsgAppendResp, raftcore.MsgHeartbeatResp:
			ms[i].Full = own
		case raftcore.MsgHeartbeat:
			ms[i].Full = l.space.refuse
		}
	}
}

// watchSpace decides, on a leader, whether writes can go on.
func (l *loop) watchSpace(now time.Time) {
	if l.core.Role() != raftcore.Leader {
		if l.core.Leader() == 0 {
			l.space.refuse = false // who leads next will say
		}
		l.space.since = time.Time{}
		return
	}
	if l.space.since.IsZero() {
		l.space.since = now
		clear(l.space.full) // what was heard in an earlier term may be long over
	}
	was := l.space.refuse
	l.space.refuse = l.anybodyFull() && !l.writableQuorum(now.Sub(l.space.since) < l.cfg.ElectionTimeout)
	if l.space.refuse != was {
		l.log.Warn("writes that need disk space", "refused", l.space.refuse)
	}
	l.leaveToOthers(now)
	if l.gauges.diskFull() && l.gauges.logBytes() >= l.cfg.SegmentSize && l.cfg.SegmentSize > 0 {
		l.fx.takeSnapshot() // gives log segments back
	}
}

// leaveToOthers hands a full leader's office to a voter that has room, so that what
// the cluster writes does not depend on this disk. Not against anybody's priority: the
// core would hand it back.
func (l *loop) leaveToOthers(now time.Time) {
	if !l.gauges.diskFull() || l.space.refuse || now.Sub(l.space.asked) < 10*l.cfg.ElectionTimeout {
		return
	}
	own := findMember(l.core.Membership(), l.id)
	for _, p := range l.core.Status().Peers {
		m := findMember(l.core.Membership(), p.ID)
		if own == nil || m == nil || m.Learner || !p.Active || l.space.full[p.ID] || m.Priority < own.Priority {
			continue
		}
		l.space.asked = now
		if err := l.core.TransferLeadership(p.ID); err == nil {
			l.log.Warn("this disk is nearly full; handing leadership over", "to", uint64(p.ID))
			return
		}
	}
}

func (l *loop) anybodyFull() bool {
	if l.gauges.diskFull() {
		return true
	}
	for _, full := range l.space.full {
		if full {
			return true
		}
	}
	return false
}

// writableQuorum reports whether a majority of each set of voters answers and has
// room. new: this leader has hardly been heard yet, so silence means nothing.
func (l *loop) writableQuorum(new bool) bool {
	active := map[raftcore.NodeID]bool{l.id: true}
	for _, p := range l.core.Status().Peers {
		active[p.ID] = p.Active
	}
	enough := func(list []raftcore.Member) bool {
		voters, good := 0, 0
		for _, m := range list {
			if m.Learner {
				continue
			}
			voters++
			full := l.space.full[m.ID]
			if m.ID == l.id {
				full = l.gauges.diskFull()
			}
			if (new || active[m.ID]) && !full {
				good++
			}
		}
		return 2*good > voters
	}
	m := l.core.Membership()
	return enough(m.Members) && (len(m.Outgoing) == 0 || enough(m.Outgoing))
}
