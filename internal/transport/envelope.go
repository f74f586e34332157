package transport

import (
	"errors"
	"math"

	"github.com/rkvdb/rkv/raftcore"
)

// Envelopes are msgpack arrays; a change to one is a new protocol version.
//
//	message  [type, from, to, term, logTerm, index, commit, round, readID,
//	          flags (1 reject, 2 transfer, 4 suspect, 8 full, 16 snapping), hint, hintTerm, clock,
//	          [match...], snapshot or nil, [[term, index, type, crc, length]...]]
//	snapshot [index, term, [member...], [outgoing member...]]
//	member   [id, incarnation, peerAddr, clientAddr, learner, priority]
//	units    [[seq, length]...]
//	refused  [seq...]
//
// The bodies of entries and units follow the envelope raw, in its order, so that
// they are never copied on the way out.

// errEnvelope is all a decoder says: bytes that passed the checksum and are no
// envelope come from a peer we do not understand.
var errEnvelope = errors.New("malformed envelope")

const (
	messageFields  = 16
	entryFields    = 5
	snapshotFields = 4
	memberFields   = 6

	flagReject   = 1
	flagTransfer = 2
	flagSuspect  = 4
	flagFull     = 8
	flagSnapping = 16
)

// appendMessage appends the envelope of m.
func appendMessage(b []byte, m *raftcore.Message) []byte {
	b = appendArray(b, messageFields)
	b = appendUint(b, uint64(m.Type))
	b = appendUint(b, uint64(m.From))
	b = appendUint(b, uint64(m.To))
	b = appendUint(b, m.Term)
	b = appendUint(b, m.LogTerm)
	b = appendUint(b, m.Index)
	b = appendUint(b, m.Commit)
	b = appendUint(b, m.Round)
	b = appendUint(b, m.ReadID)
	b = append(b, messageFlags(m))
	b = appendUint(b, m.Hint)
	b = appendUint(b, m.HintTerm)
	b = appendInt(b, m.Clock)
	b = appendUints(b, m.Matches)
	if m.Snapshot == nil {
		b = appendNil(b)
	} else {
		b = appendSnapshotMeta(b, m.Snapshot)
	}
	b = appendArray(b, len(m.Entries))
	for i := range m.Entries {
		e := &m.Entries[i]
		b = appendArray(b, entryFields)
		b = appendUint(b, e.Term)
		b = appendUint(b, e.Index)
		b = appendUint(b, uint64(e.Type))
		b = appendUint(b, uint64(e.CRC))
		b = appendUint(b, uint64(len(e.Body)))
	}
	return b
}

func messageFlags(m *raftcore.Message) (f byte) {
	if m.Reject {
		f |= flagReject
	}
	if m.Transfer {
		f |= flagTransfer
	}
	if m.Suspect {
		f |= flagSuspect
	}
	if m.Full {
		f |= flagFull
	}
	if m.Snapping {
		f |= flagSnapping
	}
	return f
}

// decodeMessage reads an envelope and gives its entries their bodies, which are
// sub-slices of bodies. It does not verify the entries' checksums.
func decodeMessage(envelope, bodies []byte) (m raftcore.Message, err error) {
	c := cursor{b: envelope}
	c.arrayOf(messageFields)
	m.Type = raftcore.MessageType(c.uintMax(math.MaxUint8))
	m.From = raftcore.NodeID(c.uint())
	m.To = raftcore.NodeID(c.uint())
	m.Term = c.uint()
	m.LogTerm = c.uint()
	m.Index = c.uint()
	m.Commit = c.uint()
	m.Round = c.uint()
	m.ReadID = c.uint()
	flags := c.uintMax(flagReject | flagTransfer | flagSuspect | flagFull | flagSnapping)
	m.Reject, m.Transfer = flags&flagReject != 0, flags&flagTransfer != 0
	m.Suspect, m.Full = flags&flagSuspect != 0, flags&flagFull != 0
	m.Snapping = flags&flagSnapping != 0
	m.Hint = c.uint()
	m.HintTerm = c.uint()
	m.Clock = c.int()
	m.Matches = c.uints()
	if !c.isNil() {
		meta := c.snapshotMeta()
		m.Snapshot = &meta
	}
	m.Entries, bodies = c.entries(bodies)
	if !c.done() || len(bodies) != 0 {
		return raftcore.Message{}, errEnvelope
	}
	return m, nil
}

// entries reads the entry headers and cuts their bodies from the front of bodies.
func (c *cursor) entries(bodies []byte) ([]raftcore.Entry, []byte) {
	n := c.array(1 + entryFields)
	if n == 0 {
		return nil, bodies
	}
	es := make([]raftcore.Entry, n)
	for i := range es {
		e := &es[i]
		c.arrayOf(entryFields)
		e.Term = c.uint()
		e.Index = c.uint()
		e.Type = raftcore.EntryType(c.uintMax(math.MaxUint8))
		e.CRC = uint32(c.uintMax(math.MaxUint32))
		e.Body, bodies = c.cut(bodies)
		if c.bad {
			return nil, bodies
		}
	}
	return es, bodies
}

// cut reads a length and takes as many bytes from the front of bodies. The
// capacity is cut, too: appending to a body cannot reach its neighbour.
func (c *cursor) cut(bodies []byte) (body, rest []byte) {
	n := c.uintMax(uint64(len(bodies)))
	if n == 0 {
		return nil, bodies
	}
	return bodies[:n:n], bodies[n:]
}

func appendUints(b []byte, vs []uint64) []byte {
	b = appendArray(b, len(vs))
	for _, v := range vs {
		b = appendUint(b, v)
	}
	return b
}

func (c *cursor) uints() []uint64 {
	n := c.array(1)
	if n == 0 {
		return nil
	}
	vs := make([]uint64, n)
	for i := range vs {
		vs[i] = c.uint()
	}
	return vs
}

func appendSnapshotMeta(b []byte, meta *raftcore.SnapshotMeta) []byte {
	b = appendArray(b, snapshotFields)
	b = appendUint(b, meta.Index)
	b = appendUint(b, meta.Term)
	b = appendMembers(b, meta.Membership.Members)
	return appendMembers(b, meta.Membership.Outgoing)
}

func (c *cursor) snapshotMeta() (meta raftcore.SnapshotMeta) {
	c.arrayOf(snapshotFields)
	meta.Index = c.uint()
	meta.Term = c.uint()
	meta.Membership.Members = c.members()
	meta.Membership.Outgoing = c.members()
	return meta
}

func appendMembers(b []byte, ms []raftcore.Member) []byte {
	b = appendArray(b, len(ms))
	for i := range ms {
		m := &ms[i]
		b = appendArray(b, memberFields)
		b = appendUint(b, uint64(m.ID))
		b = appendUint(b, m.Incarnation)
		b = appendString(b, m.PeerAddr)
		b = appendString(b, m.ClientAddr)
		b = appendBool(b, m.Learner)
		b = appendInt(b, int64(m.Priority))
	}
	return b
}

func (c *cursor) members() []raftcore.Member {
	n := c.array(1 + memberFields)
	if n == 0 {
		return nil
	}
	ms := make([]raftcore.Member, n)
	for i := range ms {
		m := &ms[i]
		c.arrayOf(memberFields)
		m.ID = raftcore.NodeID(c.uint())
		m.Incarnation = c.uint()
		m.PeerAddr = c.string()
		m.ClientAddr = c.string()
		m.Learner = c.bool()
		priority := c.int()
		if priority != int64(int32(priority)) {
			c.fail()
		}
		m.Priority = int32(priority)
		if c.bad {
			return nil
		}
	}
	return ms
}

// appendUnits appends the envelope of us, without their bytes.
func appendUnits(b []byte, us []Unit) []byte {
	b = appendArray(b, len(us))
	for i := range us {
		b = appendArray(b, 2)
		b = appendUint(b, us[i].Seq)
		b = appendUint(b, uint64(len(us[i].Bytes)))
	}
	return b
}

// decodeUnits reads an envelope of units; their bytes are sub-slices of bodies.
func decodeUnits(envelope, bodies []byte) ([]Unit, error) {
	c := cursor{b: envelope}
	us := make([]Unit, c.array(3))
	for i := range us {
		c.arrayOf(2)
		us[i].Seq = c.uint()
		us[i].Bytes, bodies = c.cut(bodies)
		if c.bad {
			break
		}
	}
	if !c.done() || len(bodies) != 0 {
		return nil, errEnvelope
	}
	return us, nil
}

func decodeRefused(envelope []byte) ([]uint64, error) {
	c := cursor{b: envelope}
	seqs := c.uints()
	if !c.done() {
		return nil, errEnvelope
	}
	return seqs, nil
}
