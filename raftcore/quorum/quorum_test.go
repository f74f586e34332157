package quorum

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawJoint draws voters from a small pool, so that the halves overlap.
func drawJoint(t *rapid.T) Joint[int] {
	voters := func(label string, least int) []int {
		return rapid.SliceOfNDistinct(rapid.IntRange(0, 8), least, 7, rapid.ID[int]).Draw(t, label)
	}
	return Joint[int]{Incoming: voters("incoming", 1), Outgoing: voters("outgoing", 0)}
}

// agree counts by the definition: more than half of each half.
func agree(j Joint[int], yes func(int) bool) bool {
	for _, voters := range [][]int{j.Incoming, j.Outgoing} {
		count := 0
		for _, id := range voters {
			if yes(id) {
				count++
			}
		}
		if len(voters) > 0 && 2*count <= len(voters) {
			return false
		}
	}
	return true
}

func TestCommittedIsTheHighestAgreedValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJoint(t)
		values := rapid.SliceOfN(rapid.Uint64Range(0, 12), 9, 9).Draw(t, "values")
		want := uint64(0)
		for v := uint64(0); v <= 12; v++ {
			if agree(j, func(id int) bool { return values[id] >= v }) {
				want = v
			}
		}
		require.Equal(t, want, j.Committed(func(id int) uint64 { return values[id] }))
	})
}

func TestVotesMatchExhaustiveSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJoint(t)
		ballots := rapid.SliceOfN(rapid.SampledFrom([]Ballot{Missing, Granted, Refused}), 9, 9).Draw(t, "ballots")
		want := Pending
		switch {
		case agree(j, func(id int) bool { return ballots[id] == Granted }):
			want = Won
		case !agree(j, func(id int) bool { return ballots[id] != Refused }):
			want = Lost // not even if everybody who is missing granted
		}
		require.Equal(t, want, j.Votes(func(id int) Ballot { return ballots[id] }))
	})
}

// A quorum of the joint configuration shares a voter with every quorum of either
// half alone: the reason joint consensus is safe (thesis 4.3).
func TestJointQuorumsIntersectBothHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJoint(t)
		quorumOf := func(label string, voters []int) []int {
			return rapid.Permutation(voters).Draw(t, label)[:len(voters)/2+1]
		}
		joint := quorumOf("joint, incoming", j.Incoming)
		if len(j.Outgoing) > 0 {
			joint = append(joint, quorumOf("joint, outgoing", j.Outgoing)...)
		}
		require.True(t, agree(j, func(id int) bool { return slices.Contains(joint, id) }))
		for _, half := range [][]int{j.Incoming, j.Outgoing} {
			if len(half) > 0 {
				alone := quorumOf("alone", half)
				require.True(t, slices.ContainsFunc(alone, func(id int) bool { return slices.Contains(joint, id) }))
			}
		}
	})
}

func TestNoVotersNeverAgree(t *testing.T) {
	var j Joint[int]
	require.Zero(t, j.Committed(func(int) uint64 { return 7 }))
	require.Equal(t, Lost, j.Votes(func(int) Ballot { return Granted }))
	require.False(t, j.Contains(1))
}

func TestCommittedDoesNotAllocate(t *testing.T) {
	j := Joint[int]{Incoming: []int{1, 2, 3, 4, 5}, Outgoing: []int{1, 2, 3}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		j.Committed(func(id int) uint64 { return uint64(id) })
	}))
}
