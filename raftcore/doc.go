// Package raftcore is the Raft protocol as a deterministic value: messages, ticks
// and proposals go in, a to-do list (Ready) comes out. There is no goroutine, no
// clock, no disk, no network and no chance in here; the same inputs give the same
// outputs, so a whole cluster can be simulated from a seed.
//
// It follows Ongaro's thesis ("Consensus: Bridging Theory and Practice", 2014) and
// uses its words; section numbers in comments refer to it. Included are pre-vote
// and check-quorum (9.6, 6.2), the leader's disk write in parallel to replication
// (10.2.1), joint-consensus membership changes to any set (4.3), learners,
// read indexes by rounds (6.4), leases for clusters that ask for them (6.4.1),
// hand-over of leadership (3.10), and snapshots.
//
// # The driver
//
// One owner calls the methods of Core; they never block. After every batch of
// inputs it takes Readies until HasReady is false, and performs each:
//
//   - Send leaves at once. Save goes to the disk queue, SendAfterSave leaves when
//     it is durable; the driver then calls Saved. Several Saves may be in flight.
//   - Apply goes to the state machine, which reports Applied.
//   - Reads are served once Index is applied.
//   - Fetch reads the log and answers Fetched; SendSnapshot streams a snapshot and
//     reports SnapshotSent; Restore installs one and reports Restored.
//
// With leases or a Config.SpareDelay it tells the time (SetTime) before each batch of
// inputs, and has one, be it empty, when SpareDue says so.
//
// MsgAppends to one member have to be sent in order on one lane (a reordered one
// costs a round trip, nothing more); all other messages are small and must not wait
// behind them (R36). Any message may be lost.
//
// # Where safety lives
//
//   - Core.send: nothing is said in a term, or after a vote, that is not durable.
//   - Core.nextSave: term, vote and entries travel together, in order.
//   - raftLog.saves: what a durable Save proves, also after a truncation.
//   - Core.handleAppend, Core.merge: what a message proves, and what may go.
//   - Core.advanceCommit: what a leader may call committed.
//   - configStack: the only memory of who votes.
//
// CheckInvariants states the rest. Where this leaves the thesis:
//
//   - A change that leaves the set of voters as it is (learners, addresses,
//     priorities) takes a single entry: there is only one set of quorums.
//   - A new voter must have been a learner that keeps up, so that nobody without
//     a log is ever counted on (R26).
//   - Identities are (ID, Incarnation); votes, acknowledgements and echoes of
//     another incarnation than the configured one count for nothing.
//   - A voter may apply entries that its own disk does not have yet, since a
//     quorum's disks do.
//   - The quickest quorum is sent entries and rounds at once, the others a little
//     later (Config.SpareDelay).
//   - A voter that refuses a pre-vote for its better log, and hears no leader,
//     campaigns at once: of the two only it may lead.
package raftcore
