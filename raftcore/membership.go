package raftcore

// Member is one node of the cluster. The raft identity is (ID, Incarnation): an
// emptied data directory gets a new incarnation and is a stranger (R26).
type Member struct {
	ID          NodeID
	Incarnation uint64
	PeerAddr    string // host:port other nodes dial
	ClientAddr  string // host:port announced to Redis clients
	Learner     bool   // receives the log, neither votes nor counts
	Priority    int32  // leader preference; higher is preferred, 0 is normal
}

// Membership is the configuration of the cluster (thesis 4.3). While Outgoing
// is non-empty the configuration is joint: agreement needs a majority of the
// voters *and* of Outgoing.
type Membership struct {
	Members  []Member // sorted by ID; the new configuration, learners included
	Outgoing []Member // sorted by ID; the voters of the old configuration while joint
}
