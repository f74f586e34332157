package quorum

import (
	"math"
	"slices"
)

// Joint is a configuration under which a decision needs a majority of Incoming
// and, while Outgoing is non-empty, a majority of Outgoing too.
type Joint[ID comparable] struct {
	Incoming, Outgoing []ID
}

// Committed returns the highest value v such that a quorum has value(id) >= v.
// Raft asks it for match indexes (thesis 3.5), for rounds of a read (6.4) and for
// the last contact of a quorum (6.2): each is "the best that a quorum reached".
// Without any voter nothing is ever agreed: the result is zero.
func (j Joint[ID]) Committed(value func(ID) uint64) uint64 {
	if len(j.Incoming) == 0 {
		return 0
	}
	return min(majority(j.Incoming, value), majority(j.Outgoing, value))
}

// majority is the value reached by more than half of voters: sorted ascending,
// the one with a majority at or above it. No voter means no objection.
func majority[ID comparable](voters []ID, value func(ID) uint64) uint64 {
	if len(voters) == 0 {
		return math.MaxUint64
	}
	var room [16]uint64 // keeps the usual cluster sizes off the heap
	values := room[:0]
	for _, id := range voters {
		values = append(values, value(id))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// Contains reports whether id votes in either half.
func (j Joint[ID]) Contains(id ID) bool {
	return slices.Contains(j.Incoming, id) || slices.Contains(j.Outgoing, id)
}
