package raftcore

// A node that lost the end of its log to damage may have acknowledged what is gone
// (CTRL, FAST'18; RELIABILITY 3.2 "ambiguous"). The damaged bytes claim an identity
// for their last entry, an upper bound of what was acknowledged. Until the log
// reaches that identity again:
//
//   - The node is a follower like any other. It acknowledges what it really has, and
//     tells the leader to forget what it acknowledged before (Progress.Forget).
//   - Its votes for logs shorter than the claim, its own vote for itself among them,
//     are conditional: they count only if every voter of the configuration, and of
//     the outgoing one while joint, gives its vote.
//
// Why no acknowledged entry is lost while one copy is readable. Let entry x be
// committed. Every node that acknowledged x either has it, or claims at least it.
//
//  1. The candidate won a quorum of unconditional votes. The quorum meets the one
//     that committed x in a voter that has x, or claims it: in the first case by the
//     rule of thesis 3.6.1, in the second by the claim, the candidate's log is at
//     least as long as x demands, and so contains x (thesis 3.6.3; for claims the
//     argument is the same, for the claim is the last entry of a log that had x).
//  2. Otherwise every voter gave its vote, each for a log at least as long as what it
//     can read itself. Then the candidate has the longest log that anybody can read,
//     and whoever could have known of x has been asked: if x is missing, no voter
//     can read it.
//
// Case 2 is what brings back a cluster whose nodes all found their last write
// garbled by one power cut, without an operator. It needs all voters, not a quorum:
// with one of them away, the entry may be there. That a suspect node asks for
// pre-votes disturbs nobody: it gets no quorum of unconditional ones unless its log
// is long enough for them.
//
// The claim is lifted when the log's last entry is at or past it, in the order of
// elections. A leader of a later term has everything committed, so an entry of such
// a term proves the claim void; within the term the log has grown back.

// Position is the identity of a log's last entry, ordered as elections do.
type Position struct {
	Term, Index uint64
}

// less orders by thesis 3.6.1.
func (p Position) less(q Position) bool {
	return p.Term < q.Term || p.Term == q.Term && p.Index < q.Index
}

// suspected reports whether the log may be shorter than what was acknowledged.
func (c *Core) suspected() bool { return c.suspect != Position{} }

// liftSuspicion forgets the claim once the log reaches it. That the entries may not
// be durable yet is no matter: votes compare with the log in memory, and the disk's
// own note of the claim goes only when they are.
func (c *Core) liftSuspicion() {
	if c.suspected() && !(Position{c.log.lastTerm(), c.log.last}).less(c.suspect) {
		c.suspect = Position{}
	}
}
