package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Entries that nobody has any more, because all have compacted them, are in snapshots.
// A snapshot that reaches the end of the damaged log can take its place: whatever this
// node ever acknowledged is in it, or was replaced by what is (thesis 5.1). A shorter
// one could not: the entries behind it may count on this node.

// replaceLog finds something to take the place of a hole that cannot be filled.
func (n *Node) replaceLog(ctx context.Context, r *segmentlog.Repair, h *segmentlog.Hole, meta raftcore.SnapshotMeta, peers []string) (raftcore.SnapshotMeta, error) {
	if h.Last <= meta.Index {
		done, err := r.Compact(meta.Index)
		if done {
			n.log.Warn("the damaged part of the log is let go of; the snapshot holds what was in it", "snapshot", meta.Index)
		}
		if done || err != nil {
			return meta, err
		}
	}
	if meta.Index < r.LastIndex() {
		got, err := n.fetchSnapshot(ctx, r.LastIndex(), peers)
		if err != nil {
			return meta, fmt.Errorf("%w (entries %d to %d: %w)", h.Err(), h.First, h.Last, err)
		}
		if err := n.load(got.Index, false); err != nil {
			return meta, err
		}
		meta = got
	}
	n.log.Warn("a snapshot takes the place of the damaged log", "snapshot", meta.Index, "last", r.LastIndex())
	return meta, r.Supersede(meta.Index, meta.Term)
}

// fetchSnapshot has a peer send a snapshot that holds entry need. It waits for peers
// that do not answer or are not that far, and gives up when none can help.
func (n *Node) fetchSnapshot(ctx context.Context, need uint64, peers []string) (raftcore.SnapshotMeta, error) {
	n.awaited.Store(need)
	defer n.awaited.Store(0)
	lastWord := time.Time{}
	for {
		gone := 0
		for _, addr := range peers {
			r, err := n.askSoon(ctx, addr, call{Kind: callSnapshot, From: n.self(), Cluster: n.clusterID, ID: raftcore.NodeID(need)})
			if err != nil || r.Entry == nil {
				continue
			}
			if r.Entry.State == entryGone {
				gone++
			}
			if r.Entry.State == entryHere {
				break // it comes: one is enough
			}
		}
		if info, ok := n.snaps.Newest(); ok && info.Meta.Index >= need {
			return info.Meta, nil
		}
		if gone == len(peers) {
			return raftcore.SnapshotMeta{}, errNobodyHas
		}
		if now := n.cfg.Now(); now.Sub(lastWord) > 2*time.Second {
			lastWord = now
			n.log.Warn("nobody has what this log lost; waiting for a snapshot of a member, and taking no part until then",
				"reaching", need, "members", peers, "cannot_help", gone)
		}
		if err := sleep(ctx, repairRetry); err != nil {
			return raftcore.SnapshotMeta{}, err
		}
	}
}

// receiveAwaited takes a snapshot before the node has started.
func (n *Node) receiveAwaited(o transport.SnapshotOffer, r transport.SnapshotStream) error {
	need := n.awaited.Load()
	if need == 0 || o.Meta.Index < need {
		return errors.New("not started")
	}
	_, err := n.snaps.Receive(n.ctx, snapshot.Offer(o), r)
	if errors.Is(err, snapshot.ErrOutdated) {
		err = nil
	}
	return err
}

// answerSnapshot serves a peer that has to replace its log. If this node is not far
// enough yet it sees to it that something is committed.
func (n *Node) answerSnapshot(c call) *entryReply {
	src := n.entries.Load()
	if src == nil || c.Cluster != n.clusterID {
		return &entryReply{State: entryLater}
	}
	if _, damaged := (*src).(repairSource); damaged {
		return &entryReply{State: entryGone}
	}
	if !n.running.Load() {
		return &entryReply{State: entryLater}
	}
	m := findMember(n.Status().Membership, c.From.ID)
	if m == nil || m.Incarnation != c.From.Incarnation {
		return &entryReply{State: entryGone}
	}
	need := uint64(c.ID)
	if info, ok := n.snaps.Newest(); (!ok || info.Meta.Index < need) && n.applied() < need {
		n.call(func(l *loop) { l.requestTick(func(error) {}) })
		return &entryReply{State: entryLater}
	}
	if n.deliveries.begin(c.From.ID) {
		n.spawn(func() {
			defer n.deliveries.sending(c.From.ID, 0)
			if err := n.feed(c.From.ID, need); err != nil {
				n.log.Warn("snapshot not delivered", "to", uint64(c.From.ID), "error", err)
			}
		})
	}
	return &entryReply{State: entryHere}
}

// feed streams a snapshot that holds entry need.
func (n *Node) feed(to raftcore.NodeID, need uint64) error {
	if r := n.deliveries.take(to); r != nil {
		if r.Meta().Index >= need {
			_, err := n.stream(to, r)
			return err
		}
		_ = r.Close()
	}
	if info, ok := n.snaps.Newest(); !ok || info.Meta.Index < need {
		if _, err := n.snapshotOnce(); err != nil {
			return err
		}
	}
	r, err := n.snaps.OpenNewest()
	if err != nil {
		return err
	}
	_, err = n.stream(to, r)
	return err
}

// begin notes that something is about to be sent to a member, unless it is already.
func (d *deliveries) begin(to raftcore.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.going[to] != 0 {
		return false
	}
	if d.going == nil {
		d.going = make(map[raftcore.NodeID]uint64)
	}
	d.going[to] = math.MaxUint64
	return true
}
