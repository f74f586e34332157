package resp

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"

	"github.com/rkvdb/rkv/kv"
)

// persona is what a listener pretends to be. The three are never mixed on one address:
// clients take a server whose SENTINEL MASTERS answers for a Sentinel, and one whose
// CLUSTER SLOTS answers for a cluster node.
type persona uint8

const (
	plainPersona    persona = iota // one Redis; every node serves everything
	clusterPersona                 // a node of a Redis Cluster with one shard
	sentinelPersona                // a Sentinel that watches over one master
	personas        = iota
)

// mode is HELLO's and INFO's word for it.
func (p persona) mode() string {
	return [personas]string{"standalone", "cluster", "sentinel"}[p]
}

// addr is where clients of this kind reach the member; "" if nowhere.
func (p persona) addr(m *Member) string {
	if p == clusterPersona {
		return m.ClusterAddr
	}
	return m.ClientAddr // also where Sentinels send their clients
}

// status is the node's status with the addresses that clients of this kind use.
func (s *session) status() Status {
	st := s.srv.backend.Status()
	if s.persona == clusterPersona {
		st.LeaderAddr = ""
		for i := range st.Members {
			m := &st.Members[i]
			m.ClientAddr = m.ClusterAddr
			if m.ID == st.LeaderID {
				st.LeaderAddr = m.ClientAddr
			}
		}
	}
	return st
}

// resolve is the function resolve for this listener: some commands mean something else
// or nothing at all here.
func (s *session) resolve(args [][]byte) (cmd *kv.Command, h *handler, msg string) {
	switch {
	case s.persona == plainPersona:
	case s.persona == sentinelPersona:
		return resolveForSentinel(args)
	case equalFold(args[0], "cluster"), equalFold(args[0], "asking"):
		return resolveForCluster(args)
	}
	return resolve(args)
}

// memberID is a member's name among cluster nodes and Sentinels: 40 hex digits, the
// same on all nodes and for ever.
func memberID(st *Status, kind string, member uint64) string {
	sum := sha1.Sum([]byte(st.ClusterID + "/" + kind + "/" + strconv.FormatUint(member, 10)))
	return hex.EncodeToString(sum[:])
}

// down reports whether the member has to be taken for dead: the leader knows by its
// answers, others by their connection to it.
func (st *Status) down(m *Member) bool {
	switch {
	case m.Self:
		return false
	case st.Role == "leader":
		return !m.Active
	}
	return !m.Connected && m.ID != st.LeaderID
}

// leader is the member that leads; nil if none is known.
func (st *Status) leader() *Member {
	for i := range st.Members {
		if m := &st.Members[i]; st.LeaderID != 0 && m.ID == st.LeaderID {
			return m
		}
	}
	return nil
}
