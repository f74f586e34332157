package main

import (
	"context"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/resp"
)

// backend is the node as package resp wants to see it. The hot methods are the
// node's own; only status is translated.
type backend struct{ *node.Node }

var _ resp.Backend = backend{}

// Status implements resp.Backend.
func (b backend) Status() resp.Status {
	s := b.Node.Status()
	out := resp.Status{
		ID: uint64(s.ID), Role: s.Role.String(), Term: s.Term, LeaderID: uint64(s.Leader),
		FirstIndex: s.FirstIndex, LastIndex: s.LastIndex, DurableIndex: s.DurableIndex,
		CommitIndex: s.Commit, AppliedIndex: s.Applied, SnapshotIndex: s.SnapshotIndex,
		QuorumOK: s.QuorumOK, ReadMode: s.ReadMode, ClusterID: s.ClusterID, RunID: s.RunID, Matches: s.Matches,
		Fsyncs: s.Log.Syncs, Batches: s.Batches, Proposals: s.Proposals, Snapshots: s.Snapshots,
		LogBytes: s.LogBytes, Stamp: s.Stamp, SavedAt: s.SavedAt, Saving: s.Saving, SaveFailed: s.SaveFailed,
	}
	for _, m := range s.Membership.Members {
		x := resp.Member{
			ID: uint64(m.ID), PeerAddr: m.PeerAddr, ClientAddr: m.ClientAddr, Voter: !m.Learner, Self: m.ID == s.ID, Priority: m.Priority,
		}
		if m.ID == s.Leader {
			out.LeaderAddr = m.ClientAddr
		}
		if x.Self {
			x.Match, x.Active = s.DurableIndex, true
			if m.Learner && s.Role == raftcore.Follower {
				out.Role = "learner"
			}
		}
		for _, p := range s.Peers {
			if p.ID == m.ID && !x.Self {
				x.Match, x.Active, x.State = p.Match, p.Active, p.State
			}
		}
		out.Members = append(out.Members, x)
	}
	return out
}

// Digest implements resp.Backend.
func (b backend) Digest(ctx context.Context) (uint64, string, error) { return b.Node.Digest(ctx) }
