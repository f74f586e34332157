package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestElectionAppendsANoopAndLoneVoterElectsItself(t *testing.T) {
	c := newCluster(t, 1, 1)
	c.until(25, "elected", func() bool { return c.leader() != nil })
	require.EqualValues(t, 1, c.leader().Commit())
	require.Equal(t, EntryNoop, c.committed[1].Type)
}

func TestStaleMessagesDoNotResetTheElectionTimer(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	b := c.node(2).loadTerms(HardState{Term: 5})
	deadline := b.electionDeadline
	b.Tick()
	b.hear(1, Message{Type: MsgHeartbeat, Term: 4})
	b.hear(1, Message{Type: MsgAppend, Term: 4})
	b.hear(3, Message{Type: MsgPreVote, Term: 6})
	b.hear(3, Message{Type: MsgVoteResp, Term: 5})
	b.hear(3, Message{Type: MsgVote, Term: 5, Index: 0}) // a vote is granted: that does
	require.NotEqual(t, deadline, b.electionDeadline)
	deadline = b.electionDeadline
	b.hear(1, Message{Type: MsgVote, Term: 5}) // refused: has voted
	require.Equal(t, deadline, b.electionDeadline)
}

// Two logs that share a short prefix and then differ over many terms meet in one
// rejection per term, not one per entry (thesis 3.5).
func TestBackOffSkipsWholeTerms(t *testing.T) {
	var mine, theirs []uint64
	for range 10 {
		mine, theirs = append(mine, 1), append(theirs, 1)
	}
	for range 200 {
		mine, theirs = append(mine, 4), append(theirs, 2)
	}
	for range 200 {
		theirs = append(theirs, 3)
	}
	c := newCluster(t, 2, 1, 2)
	c.node(1).loadTerms(HardState{Term: 4}, mine...)
	c.node(2).loadTerms(HardState{Term: 4}, theirs...)
	rejects := 0
	c.sees = func(m Message) {
		if m.Type == MsgAppendResp && m.Reject {
			rejects++
		}
	}
	a := c.elect(1)
	require.Equal(t, a.LastIndex(), c.node(2).LastIndex())
	require.LessOrEqual(t, rejects, 3)
}

func TestAppendsAreCutAndWindowed(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.MaxMessageBytes, cfg.MaxInflightBytes, cfg.MaxInflightMessages = 1000, 3000, 10
	})
	a := c.elect(1)
	for range 20 {
		_, err := a.Propose(EntryNormal, make([]byte, 400))
		require.NoError(t, err)
	}
	a.work()
	size, count := 0, 0
	for _, m := range c.take(MsgAppend) {
		bytes := 0
		for i := range m.Entries {
			bytes += m.Entries[i].Size()
		}
		require.LessOrEqual(t, bytes, 1000)
		if m.To == 2 {
			size, count = size+bytes, count+1
		}
	}
	require.Equal(t, size, a.peer(2).InflightBytes())
	require.Less(t, size, 4000, "the rest waits for acknowledgements")
	require.Greater(t, count, 2)
	_, err := a.Propose(EntryNormal, make([]byte, 5000))
	require.NoError(t, err, "a large entry goes alone")
	c.ticks(4)
	require.Equal(t, a.LastIndex(), c.node(2).LastIndex())
	require.Zero(t, a.peer(2).InflightBytes()) // R35
	require.Zero(t, a.uncommittedBytes)
}

func TestR35UncommittedBytesAreBoundedAndReturn(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) { cfg.MaxUncommittedBytes = 1000 })
	a := c.elect(1)
	c.isolate(1)
	for range 2 {
		_, err := a.Propose(EntryNormal, make([]byte, 400))
		require.NoError(t, err)
	}
	_, err := a.Propose(EntryNormal, make([]byte, 400))
	require.ErrorIs(t, err, ErrBusy)
	c.heal()
	c.ticks(4)
	_, err = a.Propose(EntryNormal, make([]byte, 2000))
	require.NoError(t, err, "one is always taken")
	c.settle()
	require.Zero(t, a.Status().UncommittedBytes)
	_, err = a.Propose(EntryConfig, nil)
	require.ErrorIs(t, err, ErrEntryType)
	_, err = c.node(2).Propose(EntryNormal, nil)
	require.ErrorIs(t, err, ErrNotLeader)
}

func TestIdleFollowersLearnTheCommitIndexAtOnce(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	messages := 0
	c.sees = func(Message) { messages++ }
	i := c.mustPropose(a) // and no tick
	require.Equal(t, i, c.node(2).applied)
	require.Equal(t, i, c.node(3).applied)
	require.LessOrEqual(t, messages, 6, "append, ack, commit notice per follower; the notice is not answered")
}

func TestQuietClusterOnlyHeartbeats(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	c.elect(1)
	c.ticks(3)
	kinds := map[MessageType]int{}
	c.sees = func(m Message) { kinds[m.Type]++ }
	c.ticks(20)
	require.Equal(t, map[MessageType]int{MsgHeartbeat: 20, MsgHeartbeatResp: 20}, kinds)
}

func TestRestartedFollowerLearnsTheCommitIndexInAQuietCluster(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	i := c.mustPropose(c.elect(1))
	c.ticks(2)
	n := c.node(3)
	n.crash(nil)
	require.Less(t, n.disk.hard.Commit, i)
	n.start()
	c.ticks(3) // the leader has nothing to send
	require.Equal(t, i, n.applied)
	sent := 0
	c.sees = func(m Message) {
		if m.Type == MsgAppend {
			sent++
		}
	}
	c.ticks(10)
	require.Zero(t, sent, "and is quiet again")
}

func TestLostAppendIsFoundByTheHeartbeat(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	_, _ = c.propose(a)
	a.work()
	c.wire = nil
	c.ticks(4)
	require.Equal(t, a.LastIndex(), c.node(2).LastIndex())
	require.Equal(t, a.LastIndex(), a.Commit())
}

func TestR36HeartbeatsDoNotWaitForTheDisk(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.node(2).stalled, c.node(3).stalled = true, true
	term := a.Term()
	for range 100 {
		_, _ = c.propose(a)
		c.ticks(1)
	}
	require.Equal(t, Leader, a.Role())
	require.Equal(t, term, a.Term())
	id := c.read(a)
	c.settle()
	require.NotNil(t, c.reads[id].answer, "nor do reads")
}

func TestMemberBehindTheWindowIsFedFromTheLog(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.WindowBytes, cfg.MaxMessageBytes = 500, 300
	})
	a := c.elect(1)
	c.isolate(3)
	for range 100 {
		c.mustPropose(a)
	}
	require.Greater(t, a.log.winFirst(), uint64(80))
	require.LessOrEqual(t, a.log.windowBytes, 500)
	fetches := 0
	a.holdWork = true
	c.heal()
	for range 60 {
		c.ticks(1)
		require.LessOrEqual(t, len(a.pending), 1, "one read at a time")
		fetches += len(a.pending)
		a.runPending()
	}
	require.Equal(t, a.LastIndex(), c.node(3).applied)
	require.Greater(t, fetches, 3)
	require.Zero(t, c.node(3).restores)
}

func TestRestartAppliesFromTheLogInPieces(t *testing.T) {
	c := newClusterOf(t, 1, Membership{Members: voters(1)}, func(cfg *Config) { cfg.MaxInflightBytes = 300 })
	n := c.elect(1)
	for range 50 {
		c.mustPropose(n)
	}
	n.crash(nil)
	n.start()
	c.elect(1)
	require.Equal(t, n.LastIndex(), n.applied)
}

func TestRejectedConfigOfGarbageIsNoMessage(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	n := c.node(3)
	n.hear(1, Message{Type: MsgAppend, Term: 1, Entries: []Entry{{Term: 1, Index: 1, Type: EntryConfig, Body: []byte("junk")}}})
	n.hear(1, Message{Type: MsgAppend, Term: 1, Entries: []Entry{{Term: 2, Index: 1}}})
	n.hear(1, Message{Type: MsgAppend, Term: 1, Entries: []Entry{{Term: 1, Index: 2}}})
	require.Zero(t, n.Term())
	require.Zero(t, n.LastIndex())
}

func TestHeartbeatsTellTheMatches(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	i := c.mustPropose(a)
	c.ticks(2)
	require.Equal(t, []uint64{i, i, i}, a.Status().Matches)
	require.Equal(t, []uint64{i, i, i}, c.node(2).Status().Matches)
}

func TestConfigValidation(t *testing.T) {
	good := Config{ID: 1, ElectionTicks: 10, HeartbeatTicks: 5}
	_, err := New(good)
	require.NoError(t, err)
	for field, spoil := range map[string]func(*Config){
		"ID":                func(c *Config) { c.ID = 0 },
		"HeartbeatTicks":    func(c *Config) { c.HeartbeatTicks = 6 },
		"ElectionTicks":     func(c *Config) { c.ElectionTicks = -1 },
		"WindowBytes":       func(c *Config) { c.WindowBytes = -1 },
		"MaxUnappliedBytes": func(c *Config) { c.MaxUnappliedBytes = -1 },
		"HardState.Commit":  func(c *Config) { c.HardState.Commit = 1 },
		"HardState.Term":    func(c *Config) { c.Snapshot.Term = 1 },
		"FirstIndex":        func(c *Config) { c.FirstIndex, c.LastIndex = 2, 3 },
		"Snapshot":          func(c *Config) { c.Snapshot.Index, c.LastIndex, c.FirstIndex = 5, 4, 1 },
		"Terms":             func(c *Config) { c.LastIndex = 3 },
		"Configs":           func(c *Config) { c.Configs = []Entry{{Index: 1, Type: EntryConfig}} },
	} {
		bad := good
		spoil(&bad)
		_, err := New(bad)
		var config *ConfigError
		require.ErrorAs(t, err, &config, field)
		require.Equal(t, field, config.Field)
	}
}

func TestIndexErrorIsCompactionBelowTheFirstOnly(t *testing.T) {
	require.ErrorIs(t, &IndexError{Requested: 4, First: 5, Last: 9}, ErrCompacted)
	require.NotErrorIs(t, &IndexError{Requested: 10, First: 5, Last: 9}, ErrCompacted)
	require.EqualError(t, &IndexError{Requested: 10, First: 5, Last: 9}, "raft: index 10 out of bounds, available [5, 9]")
}

func TestFetchedEntriesOfAnotherTermAreNotOurs(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) { cfg.WindowBytes = 200 })
	a := c.elect(1)
	c.isolate(3)
	for range 30 {
		c.mustPropose(a)
	}
	a.holdWork = true
	c.heal()
	c.until(10, "a read for 3", func() bool { return len(a.pending) > 0 })
	p := a.peer(3)
	lo := p.fetching
	require.NotZero(t, lo)
	c.wire = nil
	// An answer that a truncation and a new term overtook.
	a.Fetched(Fetch{To: 3, Lo: lo}, []Entry{entryOf(lo, a.Term()+1)}, nil)
	require.Zero(t, p.fetching)
	a.work()
	for _, m := range c.take(MsgAppend) {
		require.Empty(t, m.Entries)
	}
	a.Fetched(Fetch{To: 3, Lo: lo}, nil, nil) // and one that nobody waits for
	a.holdWork = false
	c.ticks(6)
	require.Equal(t, a.LastIndex(), c.node(3).applied)
}

// A state machine that is behind costs no memory: what it has not been given leaves the
// window when it is durable, and is read from the log when its turn comes.
func TestCommittedEntriesWaitOnDiskForASlowStateMachine(t *testing.T) {
	const limit, entries = 1000, 400
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.WindowBytes, cfg.MaxUnappliedBytes, cfg.MaxInflightBytes = limit, limit, limit/4
	})
	a, b := c.elect(1), c.node(2)
	b.slow, b.holdWork = true, true
	for range entries {
		c.mustPropose(a)
	}
	require.Equal(t, a.Commit(), a.applied, "the others go on without it")
	require.Equal(t, a.Commit(), b.Commit())
	most := limit + a.log.window[0].Size()
	read := 0 // pieces
	for round := 0; b.applied < a.Commit(); round++ {
		if round < 50 { // it does not keep up: what comes meanwhile has to wait on disk, too
			for range 10 {
				c.mustPropose(a)
			}
		}
		require.LessOrEqual(t, b.log.windowBytes, most)
		require.Less(t, b.log.unapplied, limit+most)
		before := b.applied
		for range 2 { // a piece is read, and applied
			read += min(int(b.fetchingApply), 1)
			b.runPending()
			b.work()
		}
		require.Greater(t, b.applied, before, "waits for nothing")
	}
	require.Greater(t, read, 10)
	require.Zero(t, b.log.unapplied)
}

// A log to replay after a restart is read at the state machine's pace: one piece
// being applied, one at hand.
func TestReplayWaitsForTheStateMachine(t *testing.T) {
	var entries []Entry
	for i := range uint64(50) {
		entries = append(entries, entryOf(i+1, 1))
	}
	core, err := New(Config{
		ID: 1, Incarnation: 1, MaxInflightBytes: 300, LastIndex: 50, Terms: []TermRun{{1, 1}},
		HardState: HardState{Term: 1, Commit: 50}, Snapshot: SnapshotMeta{Membership: Membership{Members: voters(1)}},
	})
	require.NoError(t, err)
	applied, fetches := uint64(0), 0
	run := func() {
		for core.HasReady() {
			ready := core.Ready()
			for _, f := range ready.Fetch {
				fetches++
				core.Fetched(f, entries[f.Lo-1:f.Lo+4], nil)
			}
			if n := len(ready.Apply); n > 0 {
				applied = ready.Apply[n-1].Index
			}
		}
	}
	run()
	require.LessOrEqual(t, fetches, 2)
	for last := uint64(0); applied < 50; last = applied {
		core.Applied(applied)
		run()
		require.Greater(t, applied, last)
	}
	require.Equal(t, 10, fetches)
}

// A busy leader lets the next entries bring the commit index, but whoever waits for it
// is told at once, and nobody is left behind when the load ends.
func TestCommitNoticesAreSpacedUnderLoad(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) { cfg.NoticeInterval = 1000 })
	a := c.elect(1)
	clock := int64(1_000_000)
	propose := func(awaiting ...NodeID) uint64 {
		a.SetTime(clock)
		index, err := a.Propose(EntryNormal, []byte("x"))
		require.NoError(t, err)
		for _, id := range awaiting {
			a.Awaits(id, index)
		}
		c.settle()
		return index
	}
	first := propose(2)
	require.Equal(t, first, a.Commit())
	require.Equal(t, first, c.node(2).Commit(), "it waits for the entry")
	require.Less(t, c.node(3).Commit(), first, "it can wait")
	clock += 10
	second := propose()
	require.Equal(t, first, c.node(3).Commit(), "the next entry brings it")
	clock += 5000
	a.SetTime(clock)
	c.ticks(1)
	require.Equal(t, second, c.node(2).Commit(), "a tick brings the last")
	require.Equal(t, second, c.node(3).Commit())
}

// A member that loads a snapshot answers heartbeats and no appends: it was sent what rode
// along with the first probe a hundred times a second.
func TestAnUnansweredProbeIsNotRepeatedInFull(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a, b := c.elect(1), c.node(3)
	c.isolate(3)
	c.mustPropose(a)
	c.mustPropose(a)
	a.peer(3).Probe(a.LastIndex())
	b.restore = &restoring{}
	full, bare := 0, 0
	c.sees = func(m Message) {
		switch {
		case m.To != 3 || m.Type != MsgAppend:
		case len(m.Entries) > 0:
			full++
		default:
			bare++
		}
	}
	c.heal()
	c.ticks(50)
	require.Equal(t, 1, full)
	require.Greater(t, bare, 10, "but it is asked")
	b.restore = nil
	c.ticks(3)
	require.Equal(t, a.LastIndex(), b.LastIndex())
}
