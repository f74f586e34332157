package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawMembership(t *rapid.T) Membership {
	member := rapid.Custom(func(t *rapid.T) Member {
		return Member{
			ID: NodeID(rapid.Uint64Min(1).Draw(t, "id")), Incarnation: rapid.Uint64().Draw(t, "incarnation"),
			PeerAddr: rapid.String().Draw(t, "peer"), ClientAddr: rapid.String().Draw(t, "client"),
			Priority: rapid.Int32().Draw(t, "priority"),
		}
	})
	id := func(m Member) NodeID { return m.ID }
	m := Membership{
		Members:  sortMembers(rapid.SliceOfNDistinct(member, 1, 5, id).Draw(t, "members")),
		Outgoing: sortMembers(rapid.SliceOfNDistinct(member, 0, 5, id).Draw(t, "outgoing")),
	}
	for i := range m.Members[1:] {
		m.Members[i+1].Learner = rapid.Bool().Draw(t, "learner")
	}
	return m
}

func TestMembershipCodecIsCanonicalAndTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMembership(t)
		b := EncodeMembership(m)
		back, err := DecodeMembership(b)
		require.NoError(t, err)
		require.Equal(t, b, EncodeMembership(back))
		require.Equal(t, m.Members, back.Members)

		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		_, err = DecodeMembership(b[:cut])
		require.ErrorIs(t, err, ErrIntegrity)
		_, err = DecodeMembership(append(b, 0))
		require.ErrorIs(t, err, ErrIntegrity)
	})
}

func TestDecodeMembershipRefusesHostileBytes(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":          {},
		"nil":            {0xc0},
		"huge array":     {0x92, 0xdd, 0xff, 0xff, 0xff, 0xff},
		"deep nesting":   {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91},
		"no voter":       EncodeMembership(Membership{Members: []Member{{ID: 1, Learner: true}}}),
		"zero id":        EncodeMembership(Membership{Members: []Member{{ID: 0}}}),
		"descending ids": EncodeMembership(Membership{Members: []Member{{ID: 2}, {ID: 1}}}),
		"only outgoing":  EncodeMembership(Membership{Outgoing: []Member{{ID: 2}}}),
	} {
		_, err := DecodeMembership(b)
		require.ErrorIs(t, err, ErrIntegrity, name)
	}
	m, err := DecodeMembership(EncodeMembership(Membership{}))
	require.NoError(t, err)
	require.Empty(t, m.Members)
}

func FuzzDecodeMembership(f *testing.F) {
	f.Add(EncodeMembership(Membership{Members: []Member{{ID: 1, PeerAddr: "a:1"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMembership(b); err == nil {
			require.Equal(t, b, EncodeMembership(m))
		}
	})
}
