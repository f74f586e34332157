package raftcore

import "fmt"

// Config is what a Core starts from: who it is, its limits, and what the disk
// remembered.
type Config struct {
	// ID and Incarnation are this node's raft identity (R26). An emptied data
	// directory must come back with a new incarnation; it is then a stranger
	// until a leader adds it.
	ID          NodeID
	Incarnation uint64
	// Seed feeds the election timeouts and nothing else. Nodes must differ in it.
	Seed uint64

	// ElectionTicks is the minimum election timeout T in calls of Tick; timeouts
	// are drawn from (T, 2T]. Too low: needless elections under load; too high:
	// slow failover. Default 10.
	ElectionTicks int
	// HeartbeatTicks is the leader's heartbeat interval, at most ElectionTicks/2.
	// Default 1.
	HeartbeatTicks int

	// MaxMessageBytes bounds the entries of one MsgAppend (one entry always fits).
	// Large values delay control messages behind bulk (R36). Default 256 KiB.
	MaxMessageBytes int
	// MaxInflightBytes and MaxInflightMessages bound what is sent to one member
	// and not yet acknowledged. Too low starves a long link; too high buffers a
	// dead member's share in memory. Defaults 8 MiB and 64.
	MaxInflightBytes    int
	MaxInflightMessages int
	// MaxUncommittedBytes bounds a leader's uncommitted tail: beyond it Propose
	// answers ErrBusy. Default 256 MiB.
	MaxUncommittedBytes int
	// WindowBytes is how much of the log's tail is kept in memory beyond what is
	// not yet durable or not yet handed out for Apply. Default 64 MiB.
	WindowBytes int
	// MaxUnappliedBytes bounds what is handed out for Apply and not yet reported by
	// Applied (one entry always fits, and a Fetch's answer). Beyond it committed entries
	// wait in the window, and what that has no room for on disk: a state machine that is
	// slow for minutes costs no memory. Too low: a fast one waits for reports. Default
	// 64 MiB.
	MaxUnappliedBytes int
	// AutoPromote makes a leader turn learners into voters once they have kept up
	// for an election timeout. A node offers it as on by default; the zero value is
	// off so that a test says what it wants.
	AutoPromote bool

	// Time is what SetTime would say now. A voter of a cluster with leases is quiet for
	// so long after a start.
	Time int64

	// Recovered state. All zero for an empty node that waits to be added.

	HardState HardState
	// Snapshot is the newest durable snapshot. Genesis is a snapshot with index
	// 0, term 0 and the first membership.
	Snapshot SnapshotMeta
	// FirstIndex and LastIndex delimit the log on disk; an empty log has
	// LastIndex = Snapshot.Index and FirstIndex = LastIndex+1 (or both zero).
	FirstIndex, LastIndex uint64
	// Terms of the entries [FirstIndex, LastIndex], ascending.
	Terms []TermRun
	// Configs are the EntryConfig entries above Snapshot.Index, ascending.
	Configs []Entry
	// NoticeInterval is the least time, on the clock of SetTime, between two messages to
	// a member that bring nothing but a new commit index; 0: each goes at once.
	NoticeInterval int64
	// SpareDelay is for how long at most, on the clock of SetTime, members that a quorum
	// can do without get new entries later than the others, so that several go together
	// (spares.go); 0: everybody gets them at once.
	SpareDelay int64
	// CatchUpRate is what SetCatchUpRate would say at first.
	CatchUpRate int64
	// QuorumPatience is for how long, on the same clock, nothing may be committed, or no
	// read be confirmed, while some wait, before those members are asked as well.
	QuorumPatience int64
	// Suspect is the identity that the damaged end of the log claims for its last
	// entry, zero if the log's end is certain. See suspect.go.
	Suspect Position
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// withDefaults fills unset limits and checks the whole.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.ElectionTicks, 10)
	setDefault(&c.HeartbeatTicks, 1)
	setDefault(&c.MaxMessageBytes, 256*kib)
	setDefault(&c.MaxInflightBytes, 8*mib)
	setDefault(&c.MaxInflightMessages, 64)
	setDefault(&c.MaxUncommittedBytes, 256*mib)
	setDefault(&c.WindowBytes, 64*mib)
	setDefault(&c.MaxUnappliedBytes, 64*mib)
	if c.FirstIndex == 0 {
		c.FirstIndex = c.Snapshot.Index + 1
	}
	if c.LastIndex == 0 {
		c.LastIndex = c.Snapshot.Index
	}
	return c, c.validate()
}

func setDefault(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

func (c *Config) validate() error {
	for _, limit := range []struct {
		field string
		value int
	}{
		{"ElectionTicks", c.ElectionTicks},
		{"HeartbeatTicks", c.HeartbeatTicks},
		{"MaxMessageBytes", c.MaxMessageBytes},
		{"MaxInflightBytes", c.MaxInflightBytes},
		{"MaxInflightMessages", c.MaxInflightMessages},
		{"MaxUncommittedBytes", c.MaxUncommittedBytes},
		{"WindowBytes", c.WindowBytes},
		{"MaxUnappliedBytes", c.MaxUnappliedBytes},
	} {
		if limit.value < 0 {
			return &ConfigError{limit.field, fmt.Sprintf("is %d, must be positive", limit.value)}
		}
	}
	if c.ID == 0 {
		return &ConfigError{"ID", "is 0, which means nobody"}
	}
	if 2*c.HeartbeatTicks > c.ElectionTicks {
		return &ConfigError{"HeartbeatTicks", fmt.Sprintf(
			"is %d, must be at most half of ElectionTicks (%d)", c.HeartbeatTicks, c.ElectionTicks)}
	}
	return c.validateLog()
}

// validateLog checks that what the disk remembered fits together.
func (c *Config) validateLog() error {
	snap := c.Snapshot
	switch {
	case c.FirstIndex == 0 || c.FirstIndex > snap.Index+1:
		return &ConfigError{"FirstIndex", fmt.Sprintf("is %d, leaving a gap after the snapshot at %d", c.FirstIndex, snap.Index)}
	case c.HardState.Commit > c.LastIndex:
		return &ConfigError{"HardState.Commit", fmt.Sprintf("is %d, above the last index %d", c.HardState.Commit, c.LastIndex)}
	case snap.Term > c.HardState.Term:
		return &ConfigError{"HardState.Term", fmt.Sprintf("is %d, below the snapshot's term %d", c.HardState.Term, snap.Term)}
	}
	if !LogContinues(snap, c.FirstIndex, c.LastIndex, c.Terms) {
		return &ConfigError{"Snapshot", fmt.Sprintf("at index %d, term %d is not part of the log; the log has to be dropped", snap.Index, snap.Term)}
	}
	if c.FirstIndex <= c.LastIndex && (len(c.Terms) == 0 || c.Terms[0].Index > c.FirstIndex) {
		return &ConfigError{"Terms", fmt.Sprintf("do not cover the log from %d", c.FirstIndex)}
	}
	for i, run := range c.Terms {
		if i > 0 && (run.Index <= c.Terms[i-1].Index || run.Term < c.Terms[i-1].Term) {
			return &ConfigError{"Terms", fmt.Sprintf("not ascending at index %d", run.Index)}
		}
		if run.Term > c.HardState.Term {
			return &ConfigError{"Terms", fmt.Sprintf("term %d at index %d above the hard state's %d", run.Term, run.Index, c.HardState.Term)}
		}
	}
	previous := snap.Index
	for i := range c.Configs {
		e := &c.Configs[i]
		if e.Type != EntryConfig || e.Index <= previous || e.Index > c.LastIndex {
			return &ConfigError{"Configs", fmt.Sprintf("unexpected entry of type %d at index %d", e.Type, e.Index)}
		}
		previous = e.Index
	}
	return nil
}

// LogContinues reports whether the log [first, last] found on disk goes with the
// newest snapshot. If not, a crash came between installing that snapshot and
// dropping the log it replaces (R31, R34), or before the log caught up with a
// snapshot of what was already committed elsewhere: the driver drops the log whole
// and starts with FirstIndex = snapshot.Index+1, LastIndex = snapshot.Index.
// Nothing is lost: what this node vouched for is in the snapshot.
func LogContinues(snapshot SnapshotMeta, first, last uint64, terms []TermRun) bool {
	if last < snapshot.Index || first > snapshot.Index+1 {
		return false
	}
	if snapshot.Index < first || last < first {
		return true
	}
	term := uint64(0)
	for _, run := range terms {
		if run.Index > snapshot.Index {
			break
		}
		term = run.Term
	}
	return term == snapshot.Term
}
