package raftcore

// NodeID names a member of the cluster. Zero means "nobody".
type NodeID uint64

// MessageType is the kind of a Message.
type MessageType uint8

// The messages of the protocol. Requests carry the sender's term; a reply
// carries the replier's.
const (
	MsgPreVote     MessageType = 1 + iota // Index/LogTerm: the candidate's last entry; Term: the term it would campaign in
	MsgPreVoteResp                        // Term: the one asked about if granted, else the replier's
	MsgVote                               // Index/LogTerm: the candidate's last entry; Transfer: campaign ordered by the old leader
	MsgVoteResp
	MsgAppend        // Index/LogTerm: entry before Entries; Commit; Round
	MsgAppendResp    // Index: match (durable here) or, if Reject, the rejected prev index; Hint/HintTerm: where to try next; Round
	MsgHeartbeat     // Commit already clipped to the receiver's match; Round; Matches
	MsgHeartbeatResp // Round; Index: durable match
	MsgReadIndex     // ReadID: follower asks for a read index
	MsgReadIndexResp // ReadID, Index; Reject: no leader here, ask again
	MsgTimeoutNow    // campaign at once (thesis 3.10)
	MsgSnapshot      // Snapshot: stepped by the receiving driver, in the name and term of the streaming leader, once a snapshot has arrived and been verified in full
	MsgSnapshotResp  // Index: snapshot index now installed (or the real applied index, R30); Reject: failed
)

// Message is what nodes say to each other about the log. Field use per type is
// noted at the constants; unused fields are zero.
type Message struct {
	Type     MessageType
	From, To NodeID
	// Incarnation is the sender's. With From it is the raft identity: votes and
	// acknowledgements of another incarnation than the configured one count for
	// nothing (R26), so the transport has to carry it.
	Incarnation uint64
	Term        uint64
	LogTerm     uint64
	Index       uint64
	Commit      uint64
	// Round is the leader's never-reused broadcast number. A reply repeats the
	// round of the frame it answers, which proves that the follower still
	// followed this leader after every read registered at or below that round
	// (thesis 6.4; DESIGN 8).
	Round    uint64
	ReadID   uint64
	Reject   bool
	Transfer bool
	Hint     uint64
	HintTerm uint64
	Entries  []Entry
	Snapshot *SnapshotMeta
	// Matches are the voters' durable match indexes in descending order, told
	// to followers on heartbeats so that they can answer WAIT and INFO.
	Matches []uint64
	// Suspect: the sender lost the end of its log (Config.Suspect). On a granted
	// vote it means that the vote counts only if every voter gives its own; on
	// MsgHeartbeatResp that the leader must forget what was acknowledged above Index.
	Suspect bool
	// Full: the sender's disk has no room to spare; from a leader: no quorum of
	// voters has. The core never reads it, see Clock.
	Full bool
	// Snapping: the sender writes a snapshot; from a leader: somebody other than the
	// receiver does. The core never reads it, see Clock.
	Snapping bool
	// Clock is the sender's wall clock in Unix milliseconds. The core never
	// reads it; the node fills it in on sending and watches it on receiving.
	Clock int64
}

// HardState is what must survive a restart beside the log (thesis figure 3.1).
type HardState struct {
	Term uint64
	Vote NodeID
	// Commit is a lower bound, persisted lazily.
	Commit uint64
}

// SnapshotMeta identifies a snapshot: the state after applying the entry
// (Index, Term), and the membership in force *at that index*.
type SnapshotMeta struct {
	Index      uint64
	Term       uint64
	Membership Membership
}
