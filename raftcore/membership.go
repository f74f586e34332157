package raftcore

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rkvdb/rkv/raftcore/quorum"
)

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
	// Lease is what voters promise to a leader; the zero policy: nothing.
	Lease LeasePolicy
}

// identity is who votes: a number alone does not tell a wiped node from the one
// that made promises under it (R26).
type identity struct {
	id          NodeID
	incarnation uint64
}

func (m *Member) identity() identity { return identity{m.ID, m.Incarnation} }

// Joint reports whether a change is half done.
func (m Membership) Joint() bool { return len(m.Outgoing) > 0 }

// Find returns the member with the given ID, of Members before Outgoing.
func (m Membership) Find(id NodeID) (Member, bool) {
	for _, half := range [][]Member{m.Members, m.Outgoing} {
		for i := range half {
			if half[i].ID == id {
				return half[i], true
			}
		}
	}
	return Member{}, false
}

// Voters returns the voters of the new configuration, sorted by ID.
func (m Membership) Voters() []Member {
	var voters []Member
	for _, member := range m.Members {
		if !member.Learner {
			voters = append(voters, member)
		}
	}
	return voters
}

// clone copies m deeply, so that what leaves the core cannot change under it.
func (m Membership) clone() Membership {
	return Membership{Members: slices.Clone(m.Members), Outgoing: slices.Clone(m.Outgoing), Lease: m.Lease}
}

// quorums lists who has to agree.
func (m Membership) quorums() quorum.Joint[identity] {
	var q quorum.Joint[identity]
	for i := range m.Members {
		if !m.Members[i].Learner {
			q.Incoming = append(q.Incoming, m.Members[i].identity())
		}
	}
	for i := range m.Outgoing {
		q.Outgoing = append(q.Outgoing, m.Outgoing[i].identity())
	}
	return q
}

// check reports why m cannot be a configuration.
func (m Membership) check() error {
	voters := 0
	for _, half := range [][]Member{m.Members, m.Outgoing} {
		for i := range half {
			switch {
			case half[i].ID == 0:
				return fmt.Errorf("%w: member without an ID", ErrInvalidMembership)
			case i > 0 && half[i].ID <= half[i-1].ID:
				return fmt.Errorf("%w: members not in ascending order at %d", ErrInvalidMembership, half[i].ID)
			}
		}
	}
	for i := range m.Outgoing {
		if m.Outgoing[i].Learner {
			return fmt.Errorf("%w: outgoing learner %d", ErrInvalidMembership, m.Outgoing[i].ID)
		}
	}
	for i := range m.Members {
		if !m.Members[i].Learner {
			voters++
		}
	}
	if voters == 0 {
		return fmt.Errorf("%w: no voter", ErrInvalidMembership)
	}
	return m.Lease.check()
}

func sortMembers(members []Member) []Member {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return sorted
}
