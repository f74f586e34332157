package node

import (
	"context"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// Status is what a node knows of itself and its cluster. Role, leader and membership
// are those of the loop's last turn, indexes at most one clock tick old.
type Status struct {
	raftcore.Status
	ClusterID string
	RunID     string
	Log       segmentlog.Stats
	LogBytes  int64
	Proposals uint64 // units appended here as leader
	Batches   uint64 // entries they made
	Snapshots uint64 // taken here since the start
	Stamp     int64
	// Ready: a linearizable read succeeded since the start.
	Ready bool
	// SavedAt is when the newest snapshot held everything, Unix ms by this node's clock
	// (by the log's stamp if an earlier process took it); 0: there is none. Saving: one
	// is being written. SaveFailed: the last attempt failed.
	SavedAt            int64
	Saving, SaveFailed bool
	// ReadMode is what the cluster reads by: ReadQuorum or ReadLease.
	ReadMode string
	// Acquaintances are the other nodes as heard of; not to be changed.
	Acquaintances map[raftcore.NodeID]Acquaintance
}

// Status is cheap and never blocks.
func (n *Node) Status() Status {
	s := n.status.Load()
	if s == nil {
		return Status{}
	}
	now := *s
	now.SavedAt, now.SaveFailed, now.Saving = n.savedAt.Load(), n.saveFailed.Load(), n.writing.Load()
	return now
}

// publish refreshes what Status answers. It runs on the loop.
func (n *Node) publish(l *loop) {
	n.dropDeparted(l)
	l.news = false
	s := &Status{
		Status: l.core.Status(), ClusterID: n.clusterID, RunID: n.runID,
		Log: n.wal.Stats(), LogBytes: n.wal.Bytes(),
		Proposals: l.proposals, Batches: l.batches, Snapshots: n.snapshots.Load(),
		Stamp: n.applier.stamp.Load(), Ready: n.ready.Load(), ReadMode: readMode(l.core.LeasePolicy()),
		Acquaintances: l.neighbours.known,
	}
	s.Applied = n.applier.index.Load()
	n.status.Store(s)
}

// Digest is the applied index and the digest of all replicated data at it.
func (n *Node) Digest(ctx context.Context) (uint64, string, error) {
	cut := n.store.OpenCut()
	defer n.applier.tidy() // after the cut is closed
	defer cut.Close()
	return cut.Index, cut.Digest(), nil
}
