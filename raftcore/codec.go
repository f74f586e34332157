package raftcore

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// The body of an EntryConfig, and the membership inside snapshot metadata, is
// msgpack, every struct an array in field order:
//
//	[ [members...], [outgoing...], lease ]
//	member: [ID, Incarnation, PeerAddr, ClientAddr, Learner, Priority]
//	lease:  [TimeoutMillis, DriftPPM], left out if there are none
//
// New fields go to the end: an older reader then refuses the entry instead of
// misreading it.

// maxMembershipBytes bounds what DecodeMembership looks at: hundreds of members,
// while a hostile length cannot cost more than this.
const maxMembershipBytes = 256 * kib

// membershipHandle is shared: it learns each type's layout once, and is safe for concurrent
// use since nobody configures it any more.
var membershipHandle = newMembershipHandle()

func newMembershipHandle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray = true
	h.ErrorIfNoArrayExpand = true
	h.MaxInitLen = 64
	return h
}

// EncodeMembership returns m's canonical bytes: equal memberships, equal bytes.
func EncodeMembership(m Membership) []byte {
	if m.Members == nil {
		m.Members = []Member{}
	}
	if m.Outgoing == nil {
		m.Outgoing = []Member{}
	}
	var value any = &m
	if m.Lease == (LeasePolicy{}) {
		value = &[2][]Member{m.Members, m.Outgoing}
	}
	var b []byte
	// Encoding these types to memory cannot fail.
	if err := codec.NewEncoderBytes(&b, membershipHandle).Encode(value); err != nil {
		panic(fmt.Sprintf("raftcore: encoding a membership: %v", err))
	}
	return b
}

// DecodeMembership is the inverse of EncodeMembership. It accepts canonical bytes
// of a well-formed membership (or of the empty one) and nothing else; the error
// wraps ErrIntegrity.
func DecodeMembership(b []byte) (m Membership, err error) {
	if len(b) > maxMembershipBytes {
		return m, fmt.Errorf("%w: membership of %d bytes", ErrIntegrity, len(b))
	}
	if err := codec.NewDecoderBytes(b, membershipHandle).Decode(&m); err != nil {
		return Membership{}, fmt.Errorf("%w: membership: %v", ErrIntegrity, err)
	}
	if !bytes.Equal(EncodeMembership(m), b) {
		return Membership{}, fmt.Errorf("%w: membership is not canonical", ErrIntegrity)
	}
	if len(m.Members) == 0 && len(m.Outgoing) == 0 && m.Lease == (LeasePolicy{}) {
		return Membership{}, nil
	}
	if len(m.Outgoing) == 0 {
		m.Outgoing = nil // as everywhere: not joint
	}
	if err := m.check(); err != nil {
		return Membership{}, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	return m, nil
}
