package main

import (
	"context"
	"net"
	"strconv"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/resp"
)

// backend is the node as package resp wants to see it. The hot methods are the
// node's own; only status is translated.
type backend struct {
	*node.Node
	own    node.Addresses
	client string // this node's address for plain clients
}

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
		x.ClusterAddr, x.SentinelAddr = b.personas(m, m.ID == s.ID, s.Acquaintances[m.ID])
		x.Connected = x.Self || s.Acquaintances[m.ID].Connected
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

// personas are a member's addresses for cluster and Sentinel clients: what it said, or,
// as long as it has not been heard since this node started, the ports as far from its
// client port as this node's are from its own.
func (b backend) personas(m raftcore.Member, self bool, a node.Acquaintance) (cluster, sentinel string) {
	switch {
	case self:
		return b.own.Cluster, b.own.Sentinel
	case a.Told:
		return a.Cluster, a.Sentinel
	}
	return shifted(m.ClientAddr, b.client, b.own.Cluster), shifted(m.ClientAddr, b.client, b.own.Sentinel)
}

// shifted is addr with the port as much higher as to's is than from's; "" if there is
// no such port.
func shifted(addr, from, to string) string {
	host, p, err := net.SplitHostPort(addr)
	if err != nil || to == "" {
		return ""
	}
	port := portOf(to) - portOf(from) + portOf(":"+p)
	if port < 1 || port > 65535 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func portOf(addr string) int {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(p)
	return n
}
