package raftcore

import (
	"errors"
	"fmt"
)

// Refusals of a request. None of them has an effect: the caller may safely ask
// again, here or elsewhere.
var (
	// ErrNotLeader: only the leader appends. Core.Leader names it, when known.
	ErrNotLeader = errors.New("raft: not the leader")
	// ErrTransferring: leadership is being handed over; proposals resume within
	// one election timeout, here or at the new leader (thesis 3.10).
	ErrTransferring = errors.New("raft: leadership transfer in progress")
	// ErrBusy: uncommitted entries exceed Config.MaxUncommittedBytes. Retry when
	// some have committed.
	ErrBusy = errors.New("raft: too many uncommitted bytes")
	// ErrNotReady: the leader has not committed an entry of its own term yet, so
	// it may not change the membership (R18) nor hand over.
	ErrNotReady = errors.New("raft: leader has not committed in its term yet")
	// ErrChangeInProgress: one membership change at a time, until its final
	// configuration is committed (thesis 4.3).
	ErrChangeInProgress = errors.New("raft: membership change in progress")
	// ErrInvalidMembership: the wanted membership is malformed (no voter, zero or
	// repeated ID, changed incarnation of a voter, ...). Wrapped with the reason.
	ErrInvalidMembership = errors.New("raft: invalid membership")
	// ErrUnknownMember: no such member, or it has not the wanted role.
	ErrUnknownMember = errors.New("raft: unknown member")
	// ErrNotCaughtUp: the learner to promote, or the member to lead, lags too far.
	ErrNotCaughtUp = errors.New("raft: member is not caught up")
	// ErrEntryType: EntryConfig is appended by ProposeMembership only, and unknown
	// types by nobody.
	ErrEntryType = errors.New("raft: entry type may not be proposed")
)

// ErrCompacted is what a driver's log read returns (wrapped) when the entries
// were already dropped in favour of a snapshot. See Core.Fetched.
var ErrCompacted = errors.New("raft: entries compacted")

// ErrIntegrity wraps every report of bytes that fail their check.
var ErrIntegrity = errors.New("raft: integrity check failed")

// IndexError reports an index outside of what is there. Below First it is
// ErrCompacted to errors.Is: a log reader may return it for both ends.
type IndexError struct {
	Requested   uint64
	First, Last uint64 // what is available; empty if First > Last
}

func (e *IndexError) Error() string {
	return fmt.Sprintf("raft: index %d out of bounds, available [%d, %d]", e.Requested, e.First, e.Last)
}

func (e *IndexError) Is(target error) bool { return target == ErrCompacted && e.Requested < e.First }

// ConfigError reports an unusable Config field. The program should not start.
type ConfigError struct {
	Field, Reason string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("raft: config %s: %s", e.Field, e.Reason)
}
