package raftcore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The claims of Ongaro's thesis that this package relies on, in its order. What it
// says about clients (6.3: sessions, each command applied once) is package kv's:
// TestUnitsTakeEffectOnce and its neighbours there.

// 3.4: "A server remains in follower state as long as it receives valid RPCs from a
// leader or candidate."
func TestThesis34FollowersStayWhileTheyHearALeader(t *testing.T) {
	c := newCluster(t, 5, 1, 2, 3, 4, 5)
	a := c.elect(1)
	term := a.Term()
	c.ticks(200)
	require.Equal(t, Leader, a.Role())
	for _, n := range c.nodes {
		require.Equal(t, term, n.Term())
		require.Equal(t, a.cfg.ID, n.Leader())
	}
}

// 3.4: "it then votes for itself and issues RequestVote RPCs in parallel to each of
// the other servers"; the term is incremented first.
func TestThesis34CandidateVotesForItselfAndAsksAllOthers(t *testing.T) {
	c := newCluster(t, 5, 1, 2, 3, 4, 5)
	n := c.node(1)
	n.campaign(Candidate, false, "test")
	n.work()
	require.EqualValues(t, 1, n.Term())
	require.EqualValues(t, 1, n.vote)
	n.syncAll()
	asked := map[NodeID]bool{}
	for _, m := range c.take(MsgVote) {
		require.EqualValues(t, 1, m.Term)
		asked[m.To] = true
	}
	require.Equal(t, map[NodeID]bool{2: true, 3: true, 4: true, 5: true}, asked)
}

// 3.4: "Each server will vote for at most one candidate in a given term, on a
// first-come-first-served basis"; a repeated request gets the same answer.
func TestThesis34FirstComeFirstServed(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	b := c.node(2)
	refusals := func(from NodeID) []bool {
		b.hear(from, Message{Type: MsgVote, Term: 1})
		b.syncAll()
		var rejects []bool
		for _, m := range c.take(MsgVoteResp) {
			require.Equal(t, from, m.To)
			rejects = append(rejects, m.Reject)
		}
		return rejects
	}
	require.Equal(t, []bool{false}, refusals(3))
	require.Equal(t, []bool{true}, refusals(1))
	require.Equal(t, []bool{false}, refusals(3), "the answer may have been lost")
}

// 3.4: a candidate wins with votes of a majority, and needs it.
func TestThesis34MajorityElects(t *testing.T) {
	for _, tc := range []struct {
		size, granted, refused int
		want                   Role
	}{
		{3, 1, 0, Leader}, {3, 0, 2, Follower}, {3, 0, 1, Candidate}, {3, 1, 1, Leader},
		{5, 2, 0, Leader}, {5, 1, 2, Candidate}, {5, 1, 3, Follower}, {5, 2, 2, Leader},
		{4, 1, 1, Candidate}, {4, 2, 0, Leader}, {4, 1, 2, Follower},
	} {
		t.Run(fmt.Sprintf("%d of %d, %d refuse", tc.granted+1, tc.size, tc.refused), func(t *testing.T) {
			var ids []NodeID
			for id := 1; id <= tc.size; id++ {
				ids = append(ids, NodeID(id))
			}
			n := newCluster(t, tc.size, ids...).node(1)
			n.campaign(Candidate, false, "test")
			n.work()
			n.syncAll()
			for i := range tc.granted + tc.refused {
				n.hear(NodeID(i+2), Message{Type: MsgVoteResp, Term: 1, Reject: i >= tc.granted})
			}
			require.Equal(t, tc.want, n.Role())
		})
	}
}

// 3.4: a candidate that hears a leader of its term or a later one "recognizes the
// leader as legitimate and returns to follower state"; one of an earlier term is
// refused, and the candidate continues.
func TestThesis34CandidateHearsALeader(t *testing.T) {
	for _, tc := range []struct {
		term uint64
		want Role
	}{{4, Candidate}, {5, Follower}, {6, Follower}} {
		c := newCluster(t, 3, 1, 2, 3)
		n := c.node(1).load(HardState{Term: 4})
		n.campaign(Candidate, false, "test")
		n.work()
		n.syncAll()
		n.hear(2, Message{Type: MsgAppend, Term: tc.term})
		require.Equal(t, tc.want, n.Role(), "term %d", tc.term)
		require.Equal(t, max(tc.term, 5), n.Term())
	}
}

// 3.4: split votes resolve, for timeouts are drawn anew for each election. Here all
// nodes wake up in the same tick.
func TestThesis34SplitVotesResolve(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		c := newClusterOf(t, 5, Membership{Members: voters(1, 2, 3, 4, 5)}, func(cfg *Config) { cfg.Seed = seed*10 + uint64(cfg.ID) })
		for _, n := range c.nodes {
			n.campaign(Candidate, false, "all at once")
		}
		c.until(100, "a leader", func() bool { return c.leader() != nil })
	}
}

// 3.5: an entry is applied once a majority has it, in the order of the log; a crashed
// or slow minority delays nothing.
func TestThesis35CommitNeedsAMajorityAndNoMore(t *testing.T) {
	for down := range 4 {
		c := newCluster(t, 5, 1, 2, 3, 4, 5)
		a := c.elect(1)
		for id := 5; id > 5-down; id-- {
			c.node(NodeID(id)).crash(nil)
		}
		i, err := c.propose(a)
		require.NoError(t, err)
		c.settle()
		require.Equal(t, down <= 2, a.applied >= i, "%d of 5 down", down)
	}
}

// 3.5: "The leader keeps track of the highest index it knows to be committed, and it
// includes that index in future AppendEntries RPCs."
func TestThesis35FollowersLearnTheCommitIndex(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.mustPropose(a)
	for _, n := range c.nodes {
		require.Equal(t, a.Commit(), n.Commit())
		require.Equal(t, a.Commit(), n.applied)
	}
}

// Figure 3.6: whatever a follower holds, the leader of term 8 makes it hold the
// leader's log.
func TestThesis35Figure36LogsAreBroughtIntoAgreement(t *testing.T) {
	leader := []uint64{1, 1, 1, 4, 4, 5, 5, 6, 6, 6}
	for name, log := range map[string][]uint64{
		"a": {1, 1, 1, 4, 4, 5, 5, 6, 6},
		"b": {1, 1, 1, 4},
		"c": {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
		"d": {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
		"e": {1, 1, 1, 4, 4, 4, 4},
		"f": {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, 1, 2, 3)
			a := c.node(1).loadTerms(HardState{Term: 7}, leader...)
			c.node(2).loadTerms(HardState{Term: 7}, leader...)
			n := c.node(3).loadTerms(HardState{Term: 7}, log...)
			c.isolate(3)
			c.elect(1)
			require.EqualValues(t, 8, a.Term())
			c.heal()
			c.until(20, "agreement", func() bool { return n.log.durable == a.LastIndex() && n.applied == a.applied })
			require.Equal(t, a.disk.entries, n.disk.entries)
			require.EqualValues(t, 11, a.LastIndex(), "the leader's own log only grew (leader append-only)")
		})
	}
}

// 3.5, log matching: two logs with an entry of equal index and term are equal up to
// it. A follower takes entries only behind one that it has.
func TestThesis35ConsistencyCheck(t *testing.T) {
	for _, tc := range []struct {
		prev, prevTerm uint64
		ok             bool
	}{{0, 0, true}, {1, 1, true}, {2, 2, true}, {2, 1, false}, {1, 2, false}, {3, 2, false}, {3, 3, false}} {
		c := newCluster(t, 3, 1, 2, 3)
		n := c.node(2).loadTerms(HardState{Term: 3}, 1, 2)
		n.hear(1, Message{Type: MsgAppend, Term: 3, Index: tc.prev, LogTerm: tc.prevTerm, Entries: []Entry{entryOf(tc.prev+1, 3)}})
		n.syncAll()
		acks := c.take(MsgAppendResp)
		require.Len(t, acks, 1)
		require.Equal(t, tc.ok, !acks[0].Reject, "%d/t%d", tc.prev, tc.prevTerm)
		require.Equal(t, tc.ok, n.log.matches(tc.prev+1, 3))
	}
}

// 3.6.1: "If the logs have last entries with different terms, then the log with the
// later term is more up-to-date. If the logs end with the same term, then whichever
// log is longer is more up-to-date."
func TestThesis361ElectionRestriction(t *testing.T) {
	for _, tc := range []struct {
		index, term uint64
		granted     bool
	}{{3, 2, true}, {4, 2, true}, {1, 3, true}, {2, 2, false}, {9, 1, false}, {0, 0, false}} {
		for _, typ := range []MessageType{MsgVote, MsgPreVote} {
			c := newCluster(t, 3, 1, 2, 3)
			n := c.node(2).loadTerms(HardState{Term: 3}, 1, 2, 2)
			n.hear(1, Message{Type: typ, Term: 4, Index: tc.index, LogTerm: tc.term})
			n.syncAll()
			answers := append([]Message(nil), c.wire...)
			require.Len(t, answers, 1)
			require.Equal(t, tc.granted, !answers[0].Reject, "%d/t%d", tc.index, tc.term)
		}
	}
}

// 3.6.2: once an entry of the leader's own term is committed, "all prior entries are
// committed indirectly because of the Log Matching Property". (That they are not
// before is R01_old_term_entry.txt.)
func TestThesis362OlderEntriesCommitIndirectly(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.node(1).loadTerms(HardState{Term: 2}, 1, 2, 2)
	c.node(2).loadTerms(HardState{Term: 2}, 1, 2, 2)
	c.node(3).loadTerms(HardState{Term: 2}, 1)
	require.Zero(t, a.Commit())
	c.elect(1)
	require.Equal(t, a.termStart, a.Commit())
	require.Equal(t, a.LastIndex(), a.applied)
}

// 3.6.3, leader completeness: whichever majority holds a committed entry, nobody who
// lacks it can win, and somebody who has it can.
func TestThesis363NobodyWinsWithoutACommittedEntry(t *testing.T) {
	for holders := range 32 {
		has := func(id NodeID) bool { return holders>>(id-1)&1 == 1 }
		count := 0
		for id := NodeID(1); id <= 5; id++ {
			if has(id) {
				count++
			}
		}
		if count < 3 {
			continue
		}
		for candidate := NodeID(1); candidate <= 5; candidate++ {
			c := newCluster(t, 5, 1, 2, 3, 4, 5)
			for _, n := range c.nodes {
				log := []uint64{1}
				if has(n.cfg.ID) {
					log = append(log, 2)
				}
				n.loadTerms(HardState{Term: 2}, log...)
			}
			c.node(candidate).campaign(Candidate, false, "test")
			c.settle()
			require.Equal(t, has(candidate), c.node(candidate).Role() == Leader, "holders %05b, candidate %d", holders, candidate)
		}
	}
}

// 3.7: RPCs are idempotent: "if a follower receives an AppendEntries request that
// includes log entries already present in its log, it ignores those entries".
func TestThesis37RepeatedMessagesChangeNothing(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	var seen []Message
	c.sees = func(m Message) { seen = append(seen, m) }
	a := c.elect(1)
	for range 5 {
		c.mustPropose(a)
	}
	c.ticks(3)
	c.sees = nil
	before := make([]Status, 0, 3)
	for _, n := range c.nodes {
		before = append(before, n.Status())
	}
	for _, m := range slices.Backward(seen) {
		c.give(m)
		c.give(m)
	}
	c.settle()
	for i, n := range c.nodes {
		after := n.Status()
		require.Equal(t, before[i].Role, after.Role)
		require.Equal(t, before[i].Term, after.Term)
		require.Equal(t, before[i].LastIndex, after.LastIndex)
		require.Equal(t, before[i].Commit, after.Commit)
		require.Empty(t, n.inflight, "nothing had to be written")
	}
}

// 3.8: term, vote and log persist; "the commit index can safely be reinitialized to
// zero on a restart".
func TestThesis38CommitIndexMayBeLost(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	i := c.mustPropose(c.elect(1))
	for _, n := range c.nodes {
		n.crash(nil)
		n.disk.hard.Commit = 0
		n.start()
		require.Zero(t, n.Commit())
		require.EqualValues(t, 1, n.Term())
		require.EqualValues(t, 1, n.vote)
		require.Equal(t, i, n.LastIndex())
	}
	c.until(100, "everything is applied again", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *node) bool { return n.applied < i })
	})
}

// 3.10: "1. The prior leader stops accepting new client requests. 2. The prior leader
// fully updates the target server's log. 3. The prior leader sends a TimeoutNow
// request", and the target campaigns though everybody hears a leader (4.2.3).
func TestThesis310LeadershipTransfer(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.cut = func(_, to NodeID) bool { return to == 3 }
	i := c.mustPropose(a)
	require.NoError(t, a.TransferLeadership(3))
	_, err := c.propose(a)
	require.ErrorIs(t, err, ErrTransferring) // 1
	ordered := false
	c.sees = func(m Message) {
		if m.Type == MsgTimeoutNow {
			ordered = true
			require.Equal(t, i, a.peer(3).Match) // 2
		}
	}
	c.settle()
	require.False(t, ordered)
	c.heal()
	c.until(9, "the target leads", func() bool { return c.node(3).Role() == Leader })
	require.True(t, ordered) // 3
	require.EqualValues(t, 2, c.node(3).Term())
	require.GreaterOrEqual(t, c.node(3).Commit(), i)
}

// 4.1: "a server accepts AppendEntries requests from a leader that is not part of the
// server's latest configuration", and "grants its vote to a candidate that is not
// part of the server's latest configuration".
func TestThesis41StrangersMayLead(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	n := c.node(2)
	n.hear(4, Message{Type: MsgVote, Term: 1})
	n.syncAll()
	require.False(t, c.take(MsgVoteResp)[0].Reject)
	n.hear(4, Message{Type: MsgAppend, Term: 1, Entries: []Entry{entryOf(1, 1)}, Commit: 1})
	n.syncAll()
	require.EqualValues(t, 1, c.take(MsgAppendResp)[0].Index)
	require.EqualValues(t, 1, n.applied)
}

// 4.2.1: new servers catch up "as non-voting members": they get the log and count in
// no majority.
func TestThesis421LearnersCatchUpWithoutCounting(t *testing.T) {
	c := newCluster(t, 4, 1, 2, 3)
	a := c.elect(1)
	require.NoError(t, a.AddLearner(Member{ID: 4, Incarnation: 1}))
	c.ticks(3)
	require.Equal(t, a.LastIndex(), c.node(4).applied)
	c.isolate(2, 3)
	i := c.mustPropose(a)
	require.EqualValues(t, i, a.peer(4).Match, "the learner has it")
	require.Less(t, a.Commit(), i, "one voter and a learner are no majority")
}

// 4.2.2: a leader that is being removed "replicates log entries but does not count
// itself in majorities", and steps down when the change is committed.
func TestThesis422RemovedLeaderDoesNotCountItself(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	require.NoError(t, a.Remove(1))
	c.settle()
	require.Equal(t, Leader, a.Role())
	require.True(t, a.Membership().Joint(), "1 and 2 are a majority of {1 2 3}, but 2 alone is none of {2 3}")
	c.heal()
	c.until(20, "another leader", func() bool {
		l := c.leader()
		return l != nil && l != a && a.Role() == Follower && !l.Membership().Joint()
	})
}

// 4.2.3: servers that are removed and do not know it cannot disrupt the cluster, by
// votes as by pre-votes; TimeoutNow is the exception.
func TestThesis423NoVotesWhileALeaderIsHeard(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.ticks(2)
	b := c.node(2)
	last := Message{Type: MsgVote, Term: 9, Index: 100, LogTerm: 8}
	b.hear(3, last)
	require.Equal(t, a.Term(), b.Term(), "the term is not even taken note of")
	require.Empty(t, c.wire)
	last.Transfer = true
	b.hear(3, last)
	b.syncAll()
	require.False(t, c.take(MsgVoteResp)[0].Reject)
}

// 4.3: "Agreement (for elections and entry commitment) requires majorities from both
// the old and new configurations": every set of voters, against counting.
func TestThesis43JointConsensusNeedsBothMajorities(t *testing.T) {
	oldVoters, newVoters := []NodeID{1, 2, 3}, []NodeID{3, 4, 5}
	majority := func(half []NodeID, up func(NodeID) bool) bool {
		n := 0
		for _, id := range half {
			if up(id) {
				n++
			}
		}
		return n >= 2
	}
	joint := Membership{Members: voters(newVoters...), Outgoing: voters(oldVoters...)}
	for set := range 32 {
		up := func(id NodeID) bool { return set>>(id-1)&1 == 1 }
		if !up(3) {
			continue // the candidate
		}
		c := newClusterOf(t, 5, joint, nil)
		for _, n := range c.nodes {
			if !up(n.cfg.ID) {
				n.crash(nil)
			}
		}
		c.node(3).campaign(Candidate, false, "test")
		c.settle()
		want := majority(oldVoters, up) && majority(newVoters, up)
		require.Equal(t, want, c.node(3).Role() == Leader, "%05b are up", set)
		require.Equal(t, want, c.node(3).Commit() > 0, "%05b are up", set)
	}
}

// 4.3: "any server from either configuration may serve as leader" while joint, and
// either may lead to the end of the change.
func TestThesis43EitherHalfMayLead(t *testing.T) {
	joint := Membership{Members: voters(3, 4, 5), Outgoing: voters(1, 2, 3)}
	for _, id := range []NodeID{1, 3, 5} {
		c := newClusterOf(t, 5, joint, nil)
		// The joint configuration has to be of this log, or nobody would finish it.
		for _, n := range c.nodes {
			n.load(HardState{Term: 1}, configEntry(1, 1, joint))
		}
		c.node(id).campaign(Candidate, false, "test")
		c.until(60, "the change is done", func() bool {
			l := c.leader()
			return l != nil && !l.Membership().Joint() && l.Commit() == l.LastIndex() && l.cfg.ID >= 3
		})
		require.Equal(t, id, c.leaders[2], "the first to lead")
	}
}

// 5.1 and figure 5.3: a follower that gets a snapshot of more than it has drops its
// log; of a prefix of its log, "entries following the snapshot must still be
// retained".
func TestThesis51SnapshotAndTheRestOfTheLog(t *testing.T) {
	for _, tc := range []struct {
		index, term uint64
		last        uint64
		installed   bool
	}{{4, 2, 5, false}, {5, 2, 5, false}, {6, 2, 6, true}, {9, 3, 9, true}, {4, 3, 4, true}} {
		c := newCluster(t, 3, 1, 2, 3)
		n := c.node(3).loadTerms(HardState{Term: 3}, 1, 1, 2, 2, 2)
		meta := SnapshotMeta{tc.index, tc.term, n.Membership()}
		n.hear(1, Message{Type: MsgSnapshot, Term: 3, Snapshot: &meta})
		require.Equal(t, tc.installed, n.restores == 1, "%d/t%d", tc.index, tc.term)
		require.Equal(t, tc.last, n.LastIndex())
		require.Equal(t, tc.index, n.Commit())
		require.Equal(t, tc.index, n.applied)
	}
}

// 5: "the leader must occasionally send snapshots to followers that lag behind. This
// happens when the leader has already discarded the next log entry that it needs to
// send to a follower", and not before.
func TestThesis5SnapshotOnlyWhenTheEntryIsGone(t *testing.T) {
	for _, keep := range []uint64{0, 100} {
		c := newCluster(t, 3, 1, 2, 3)
		a := c.elect(1)
		c.isolate(3)
		for range 20 {
			c.mustPropose(a)
		}
		a.takeSnapshot(keep)
		c.heal()
		c.until(20, "node 3 has it all", func() bool { return c.node(3).applied == a.applied })
		require.Equal(t, keep == 0, c.node(3).restores == 1)
	}
}

// 6.4: the read index is the commit index at the time the read came; it is served
// when a round of heartbeats after that was answered by a majority; "this read index
// works for any number of read-only queries".
func TestThesis64ReadIndex(t *testing.T) {
	c := newCluster(t, 5, 1, 2, 3, 4, 5)
	a := c.elect(1)
	c.ticks(2)
	ids := []uint64{c.read(a), c.read(a), c.read(a)}
	floor := a.Commit()
	beats := 0
	c.sees = func(m Message) {
		if m.Type == MsgHeartbeat {
			beats++
		}
	}
	a.work()
	require.Equal(t, 4, beats, "one round for all of them")
	later, err := c.propose(a)
	require.NoError(t, err)
	for i, m := range c.take(MsgHeartbeat) {
		for _, id := range ids {
			require.Equal(t, i >= 2, c.reads[id].answer != nil, "after %d echoes", i)
		}
		c.give(m)
		c.node(m.To).work()
		for _, echo := range c.take(MsgHeartbeatResp) {
			c.give(echo)
		}
		a.work()
	}
	for _, id := range ids {
		require.Equal(t, floor, c.reads[id].answer.Index, "entry %d came later", later)
	}
}

// 6.4: followers "would ask the leader for the current readIndex" and answer from
// their own state machine.
func TestThesis64FollowerReads(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	i := c.mustPropose(a)
	id := c.read(c.node(2))
	c.settle()
	require.NotNil(t, c.reads[id].answer)
	require.GreaterOrEqual(t, c.reads[id].answer.Index, i)
}

// 6.4 asks for "a majority of the cluster" that still followed the leader after the read
// came. Whoever asks in the leader's term is one of them (docs/adr/0025): of three voters
// it and the leader are a majority, and nobody else is disturbed.
func TestThesis64TheQuestionIsAnEcho(t *testing.T) {
	for _, tc := range []struct {
		name           string
		voters         []NodeID
		asker          NodeID
		olderTerm      bool
		beats, answers int // before anybody echoes
	}{
		{"two of three voters", []NodeID{1, 2, 3}, 2, false, 0, 1},
		{"two of two", []NodeID{1, 2}, 2, false, 0, 1},
		{"two of four", []NodeID{1, 2, 3, 4}, 2, false, 3, 0},
		{"two of five", []NodeID{1, 2, 3, 4, 5}, 2, false, 4, 0},
		{"a learner has no vote", []NodeID{1, 2, 3}, 4, false, 3, 0},
		{"an older term proves nothing", []NodeID{1, 2, 3}, 2, true, 2, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, max(3, len(tc.voters), int(tc.asker)), tc.voters...)
			a := c.elect(1)
			c.mustPropose(a)
			if tc.asker > NodeID(len(tc.voters)) {
				require.NoError(t, a.AddLearner(Member{ID: tc.asker, Incarnation: 1}))
			}
			c.ticks(2)
			c.settle()
			question := Message{Type: MsgReadIndex, Term: a.Term(), ReadID: 7}
			if tc.olderTerm {
				question.Term--
			}
			a.hear(tc.asker, question)
			a.syncAll()
			wire := slices.Clone(c.wire)
			require.Len(t, c.take(MsgHeartbeat), tc.beats)
			c.wire = wire
			answers := c.take(MsgReadIndexResp)
			require.Len(t, answers, tc.answers)
			for _, m := range answers {
				require.Equal(t, Message{Type: MsgReadIndexResp, From: 1, To: tc.asker, Term: a.Term(), Incarnation: 1, ReadID: 7, Index: a.Commit()}, m)
			}
		})
	}
}

// Its word is for its own read alone: others came later than it was given.
func TestThesis64TheQuestionProvesNothingForOthers(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.read(c.node(2))
	c.node(2).work()
	question := c.take(MsgReadIndex)[0]
	// Node 2 then elects 3, which commits; the old leader does not hear of it.
	c.isolate(1)
	c.node(3).campaign(Candidate, true, "test")
	c.settle()
	require.Equal(t, Leader, c.node(3).Role())
	c.mustPropose(c.node(3))
	require.Equal(t, Leader, a.Role())
	own := c.read(a)
	c.heal()
	a.Step(question)
	a.work()
	require.Nil(t, c.reads[own].answer)
	require.Len(t, c.take(MsgReadIndexResp), 1, "the read it came with was asked before that commit")
}

// 9.6: "a candidate only increments its term if it first learns from a majority of
// the cluster that they would be willing to grant the candidate their votes".
func TestThesis96PreVote(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	c.ticks(300)
	require.Equal(t, a.Term(), c.node(3).Term(), "cut off, it asks in vain and raises nothing")
	c.heal()
	c.ticks(30)
	require.Equal(t, Leader, a.Role())
	require.EqualValues(t, 1, a.Term())

	// Without a leader, a majority's word raises it.
	a.crash(nil)
	c.until(60, "a new leader", func() bool { return c.leader() != nil })
	require.Greater(t, c.leader().Term(), a.Term())
}

// 10.2.1: "the leader can write to its disk in parallel with replicating to the
// followers"; it may commit "before the entry has been written to the leader's own
// disk, if a majority of followers have written it to their disks".
func TestThesis1021TheLeadersDiskInParallel(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	a.stalled = true
	i, err := c.propose(a)
	require.NoError(t, err)
	a.work()
	require.Len(t, a.inflight, 1)
	sent := 0
	for _, m := range c.wire {
		if m.Type == MsgAppend && len(m.Entries) == 1 {
			sent++
		}
	}
	require.Equal(t, 2, sent, "before its own disk has answered")
	c.node(3).stalled = true
	c.settle()
	require.Less(t, a.Commit(), i, "one follower's disk is no majority")
	c.node(3).stalled = false
	c.settle()
	require.Equal(t, i, a.Commit())
	require.Less(t, a.disk.last(), i)
}
