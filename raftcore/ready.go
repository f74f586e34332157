package raftcore

// Role is what a node currently is in the protocol.
type Role uint8

// Roles. A learner is a follower that never campaigns.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String is the role's name as shown in INFO raft.
func (r Role) String() string {
	switch r {
	case PreCandidate:
		return "pre-candidate"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	}
	return "follower"
}

// Ready is the to-do list the core leaves after inputs were stepped. The driver
// takes it, performs it, and reports back (Saved, Applied, Fetched, Restored).
// The order of effects is in the field names: Send may leave at once;
// SendAfterSave only when Save is durable (R4).
type Ready struct {
	// Save must be made durable in full, in the order Saves are handed out.
	// Several may be in flight. Nil if nothing has to be saved.
	Save *Save
	// Send may leave immediately.
	Send []Message
	// SendAfterSave may leave only once Save, and every Save before it, is
	// durable. If Save is nil they wait for the newest Save still in flight.
	SendAfterSave []Message
	// Apply holds committed entries, contiguous, in order, each handed out
	// exactly once per process lifetime (after a Restore: from its index on).
	// They are durable on a quorum, which need not include this node yet. More come
	// when these are reported by Applied, see Config.MaxUnappliedBytes.
	Apply []Entry
	// Reads are confirmed read indexes: the driver serves each once its
	// state machine has applied Index.
	Reads []ReadState
	// Fetch asks the driver to read entries that left the core's memory window
	// from the log, and to answer with Fetched.
	Fetch []Fetch
	// Restore asks the driver to replace its state machine and log by a snapshot
	// that has been received and verified, and to report Restored. The log is
	// dropped whole and goes on at Index+1 (a log that contains the snapshot's
	// entry is never replaced, R31). Saves handed out earlier, or with this
	// Ready, come first; apply work still queued is void. Until Restored the core
	// neither appends, applies nor campaigns.
	Restore *SnapshotMeta
	// SendSnapshot names members that need a snapshot instead of log entries;
	// the driver streams one and reports SnapshotSent.
	SendSnapshot []NodeID
	// Change is non-nil when role, term or leader changed: log it.
	Change *Change
	// MembershipChanged is non-nil when the membership in force changed
	// (append, truncation, snapshot): the transport re-reads its peers.
	MembershipChanged *Membership
}

// Save is one durable step: hard state first, then truncation, then entries.
type Save struct {
	// ID increases by one for each Save; Saved(ID) acknowledges it and all
	// before it.
	ID uint64
	// HardState is nil when unchanged. MustSync says whether Term or Vote
	// changed; a change of Commit alone may be written lazily.
	HardState *HardState
	MustSync  bool
	// Entries replace everything in the log from Entries[0].Index on. If
	// Entries[0].Index <= last, the suffix is truncated first.
	Entries []Entry
}

// ReadState answers one ReadIndex request.
type ReadState struct {
	ID    uint64 // as given to Core.ReadIndex
	Index uint64
	// Failed means no leader could confirm it; the driver asks again under a
	// new ID or gives up. IDs are never reused (R14).
	Failed bool
}

// Fetch asks for the entries [Lo, Hi) from the log, at most MaxBytes but at
// least one entry. To is the member they are for, or the node itself for Apply.
type Fetch struct {
	To       NodeID
	Lo, Hi   uint64
	MaxBytes int
}

// Change reports a transition for the log line and for INFO.
type Change struct {
	Role   Role
	Term   uint64
	Leader NodeID
	Cause  string // one short human phrase: "election timeout", "higher term from 3", ...
}

// Status is a snapshot of the core for INFO, RAFT STATUS and tests.
type Status struct {
	ID                                          NodeID
	Role                                        Role
	Term                                        uint64
	Vote                                        NodeID // in Term; 0: for nobody
	Leader                                      NodeID
	FirstIndex, LastIndex, DurableIndex, Commit uint64
	Applied                                     uint64
	SnapshotIndex                               uint64
	Membership                                  Membership
	QuorumOK                                    bool
	TransferTarget                              NodeID
	Peers                                       []PeerStatus // leader: from progress; else empty
	Matches                                     []uint64     // voters' durable indexes, descending; a follower's copy may be a heartbeat old
	UncommittedBytes                            int          // leader: what Config.MaxUncommittedBytes bounds
	// Suspect is Config.Suspect while it stands.
	Suspect Position
	// Fault is the first message that contradicted what this node knows to be
	// committed (nil: none). Either this node or the sender is damaged: the
	// message was ignored; the driver should stop the node and say so.
	Fault error
}

// PeerStatus is the leader's view of one member.
type PeerStatus struct {
	ID            NodeID
	Match, Next   uint64
	State         string // probe, replicate, snapshot
	InflightBytes int
	Active        bool
}
