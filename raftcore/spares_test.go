package raftcore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore/progress"
)

const (
	spareDelay = 4000
	patience   = 1000
)

// spareCluster has an elected node 1, with a term that has begun long ago.
func spareCluster(t *testing.T, n int) (c *cluster, a *node, sent *[]Message) {
	var ids []NodeID
	for id := NodeID(1); id <= NodeID(n); id++ {
		ids = append(ids, id)
	}
	c = newClusterOf(t, n, Membership{Members: voters(ids...)}, func(cfg *Config) { cfg.SpareDelay, cfg.QuorumPatience = spareDelay, patience })
	a = c.elect(1)
	c.ticks(1)
	for _, nd := range c.nodes {
		nd.tick = 0 // tests say how late it is
	}
	later(a, 100*spareDelay)
	sent = new([]Message)
	c.sees = func(m Message) {
		if m.From == 1 {
			*sent = append(*sent, m)
		}
	}
	return c, a, sent
}

func later(n *node, by int64) {
	n.time += by
	n.SetTime(n.time)
}

// write proposes n entries, each after the one before is settled and a tenth of the delay
// has passed.
func (c *cluster) write(a *node, n int) (last uint64) {
	for range n {
		var err error
		last, err = c.propose(a)
		require.NoError(c.t, err)
		c.settle()
		later(a, spareDelay/10)
	}
	return last
}

// appends are the messages with entries to each member.
func appends(sent []Message) map[NodeID][]int {
	to := map[NodeID][]int{}
	for _, m := range sent {
		if m.Type == MsgAppend && len(m.Entries) > 0 {
			to[m.To] = append(to[m.To], len(m.Entries))
		}
	}
	return to
}

// spareOf is the only member of three that is spared.
func spareOf(t *testing.T, a *node) (spare, other NodeID) {
	require.NotEqual(t, a.peer(2).spare, a.peer(3).spare, "one of the two is spared")
	if a.peer(2).spare {
		return 2, 3
	}
	return 3, 2
}

func TestASpareGetsSeveralEntriesAtOnce(t *testing.T) {
	c, a, sent := spareCluster(t, 3)
	first := c.write(a, 1)
	require.Equal(t, map[NodeID][]int{2: {1}, 3: {1}}, appends(*sent), "nothing before it: everybody gets it")

	for range 2 {
		*sent = nil
		last := c.write(a, 2*spareEntries)
		spare, other := spareOf(t, a)
		require.Equal(t, last, a.Commit())
		require.Equal(t, []int{spareEntries, spareEntries}, appends(*sent)[spare])
		require.Len(t, appends(*sent)[other], 2*spareEntries)
	}
	require.Greater(t, a.Commit(), first)
}

func TestASpareWaitsForNoLongerThanTheDelay(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 1)
	told := a.time - spareDelay/10
	last := c.write(a, 2)
	spare, other := spareOf(t, a)
	require.Less(t, c.node(spare).LastIndex(), last)
	require.Equal(t, last, c.node(other).LastIndex())
	require.Equal(t, told+spareDelay, a.SpareDue())

	later(a, a.SpareDue()-1-a.time)
	c.settle()
	require.Less(t, c.node(spare).LastIndex(), last)
	later(a, 1)
	c.settle()
	require.Equal(t, last, c.node(spare).LastIndex())
	require.Zero(t, a.SpareDue())
}

// A member of the quorum that hangs costs the patience once; then it is the spare.
func TestASpareTakesThePlaceOfWhoIsLate(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	committed := c.write(a, 2)
	spare, other := spareOf(t, a)
	c.node(other).stalled = true
	_, err := c.propose(a)
	require.NoError(t, err)
	c.settle()
	require.Equal(t, committed, a.Commit())
	require.EqualValues(t, patience, a.SpareDue()-a.time)
	later(a, patience)
	c.settle()
	require.Equal(t, committed+1, a.Commit())
	for range 3 {
		last := c.write(a, 1)
		require.Equal(t, last, a.Commit(), "nobody waits for it again")
	}
	require.True(t, a.peer(other).spare)
	require.False(t, a.peer(spare).spare)
	c.node(other).stalled = false
	c.settle()
	later(a, spareDelay)
	c.settle()
	require.Equal(t, a.LastIndex(), c.node(other).LastIndex())
}

// A leader whose disk is the slowest is none of the quickest: the others commit without it
// (thesis 10.2.1), as soon as both have been asked.
func TestALeaderWithASlowDiskSparesNobody(t *testing.T) {
	c, a, sent := spareCluster(t, 3)
	c.write(a, 2)
	a.stalled = true
	_, err := c.propose(a)
	require.NoError(t, err)
	c.settle()
	later(a, patience)
	c.settle()
	require.Equal(t, a.LastIndex(), a.Commit())
	for range 3 {
		*sent = nil
		require.Equal(t, c.write(a, 1), a.Commit(), "nobody waits for its disk again")
		require.Equal(t, map[NodeID][]int{2: {1}, 3: {1}}, appends(*sent))
	}
	a.stalled = false
	c.settle()
	c.write(a, 2)
	spareOf(t, a)
}

// Who cannot take entries now is not counted on: its window is full, its log is being looked
// for, or nothing was heard of it.
func TestWhoTakesNoEntriesIsASpare(t *testing.T) {
	for name, hinder := range map[string]func(a *node, p *peer){
		"full":   func(_ *node, p *peer) { p.Sent(p.Next, 1) },
		"probe":  func(_ *node, p *peer) { p.Probe(p.Match + 1) },
		"silent": func(a *node, p *peer) { p.lastContact = a.now - uint64(a.cfg.ElectionTicks) },
	} {
		t.Run(name, func(t *testing.T) {
			c, a, _ := spareCluster(t, 3)
			c.write(a, 2)
			spare, other := spareOf(t, a)
			later(a, spareDelay)
			c.settle()
			p := a.peer(other)
			p.Progress = progress.New(p.Next, 1, 1)
			p.Accepted(p.Next - 1) // streams again
			require.Equal(t, progress.Replicate, p.State)
			hinder(a, p)
			a.chooseSpares()
			require.True(t, p.spare)
			require.False(t, a.peer(spare).spare)
			require.Zero(t, a.nextSpare(), "there is nothing to be sent to it")
		})
	}
}

// Learners are in no quorum.
func TestALearnerIsASpare(t *testing.T) {
	members := voters(1, 2, 3, 4)
	members[1].Learner = true
	c := newClusterOf(t, 4, Membership{Members: members}, func(cfg *Config) { cfg.SpareDelay, cfg.QuorumPatience = spareDelay, patience })
	a := c.elect(1)
	c.ticks(1)
	a.tick = 0
	later(a, 100*spareDelay)
	last := c.write(a, 2)
	require.Equal(t, last, a.Commit())
	require.True(t, a.peer(2).spare)
	require.NotEqual(t, a.peer(3).spare, a.peer(4).spare)
}

// A message full of entries does not wait for more.
func TestMuchIsNotHeldBack(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.SpareDelay, cfg.QuorumPatience, cfg.MaxMessageBytes = spareDelay, patience, 1000
	})
	a := c.elect(1)
	c.ticks(1)
	a.tick = 0
	later(a, 100*spareDelay)
	c.write(a, 2)
	spare, _ := spareOf(t, a)
	require.Less(t, c.node(spare).LastIndex(), a.LastIndex())
	_, err := a.Propose(EntryNormal, make([]byte, 1000))
	require.NoError(t, err)
	c.settle()
	require.Equal(t, a.LastIndex(), c.node(spare).LastIndex())
}

// What a spare has already is told to be committed as soon as to anybody else.
func TestASpareHearsOfCommits(t *testing.T) {
	c := newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.SpareDelay, cfg.QuorumPatience, cfg.NoticeInterval = spareDelay, patience, patience
	})
	a := c.elect(1)
	c.ticks(1)
	for _, n := range c.nodes {
		n.tick = 0
	}
	later(a, 100*spareDelay)
	last := c.write(a, 1)
	spare, _ := spareOf(t, a)
	require.Equal(t, last, c.node(spare).LastIndex())
	require.Less(t, c.node(spare).Commit(), last)
	later(a, patience)
	a.heartbeatDue = a.now + 10 // it would tell, too
	c.ticks(1)
	require.Equal(t, last, c.node(spare).Commit())
}

// A driver is not woken for a spare that cannot be sent anything.
func TestNothingIsDueForASpareThatTakesNothing(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 2)
	spare, _ := spareOf(t, a)
	p := a.peer(spare)
	require.NotZero(t, a.nextSpare())
	p.fetching = p.Next
	require.Zero(t, a.nextSpare(), "its entries are read from the log")
	p.fetching = 0
	for p.Ready() {
		p.Sent(p.Next, 1)
	}
	_, err := c.propose(a)
	require.NoError(t, err)
	for p.Next > a.LastIndex() {
		_, err := c.propose(a)
		require.NoError(t, err)
	}
	require.Zero(t, a.nextSpare(), "its window is full")
}

func TestNothingIsDueForWhoNoLongerLeads(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 2)
	require.NotZero(t, a.SpareDue())
	a.becomeFollower(a.Term(), 0, "a test")
	a.dirty = true
	a.Ready()
	require.Zero(t, a.SpareDue())
}

// Whoever of those that were asked for the same entry has it first is asked for the next.
func TestTheQuickestIsAsked(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 2)
	spare, other := spareOf(t, a)
	later(a, spareDelay)
	c.settle()
	c.node(other).stalled = true
	later(a, spareDelay)
	last := c.write(a, 1) // everybody gets it
	require.Equal(t, last, a.Commit())
	require.False(t, a.peer(spare).spare)
	c.node(other).stalled = false
	c.settle()
	c.write(a, 1)
	require.True(t, a.peer(other).spare)
}

func TestWhoWaitsForAnEntryIsNotSpared(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 2)
	spare, _ := spareOf(t, a)
	index, err := c.propose(a)
	require.NoError(t, err)
	a.Awaits(spare, index)
	c.settle()
	require.Equal(t, index, c.node(spare).Commit(), "it has the entry, and knows")
	index = c.write(a, 1)
	require.Less(t, c.node(spare).LastIndex(), index, "it waits for nothing any more")
}

// Reads ask a quorum; the rest is asked when it is late, and by the clock's heartbeats.
func TestReadsAskNoSpare(t *testing.T) {
	c, a, sent := spareCluster(t, 3)
	c.write(a, 2)
	later(a, spareDelay)
	c.settle()
	ask := func() (id uint64, beats map[NodeID]int) {
		*sent = nil
		id = c.read(a)
		c.settle()
		beats = map[NodeID]int{}
		for _, m := range *sent {
			if m.Type == MsgHeartbeat {
				beats[m.To]++
			}
		}
		return id, beats
	}
	_, beats := ask()
	require.Equal(t, map[NodeID]int{2: 1, 3: 1}, beats, "for the first time in long")
	spare, other := spareOf(t, a)
	later(a, 2*patience)
	id, beats := ask()
	require.Equal(t, map[NodeID]int{other: 1}, beats, "it has only just been asked")
	require.False(t, c.reads[id].answer.Failed)

	c.cut = func(from, to NodeID) bool { return from == other || to == other }
	id, beats = ask()
	require.Equal(t, map[NodeID]int{other: 1}, beats)
	require.Nil(t, c.reads[id].answer)
	require.EqualValues(t, patience, a.SpareDue()-a.time)
	later(a, patience)
	c.settle()
	require.False(t, c.reads[id].answer.Failed)
	ask() // the other one's turn to be late
	id, beats = ask()
	require.Equal(t, map[NodeID]int{spare: 1}, beats, "it is the quicker one now")
	require.NotNil(t, c.reads[id].answer)

	*sent = nil
	c.ticks(a.cfg.HeartbeatTicks)
	beats = map[NodeID]int{}
	for _, m := range *sent {
		if m.Type == MsgHeartbeat {
			beats[m.To]++
		}
	}
	require.Equal(t, map[NodeID]int{2: 1, 3: 1}, beats, "a clock's heartbeat goes to everybody")
}

// A quorum that goes on answering is not late, though something always waits for it.
func TestAQuorumThatAnswersIsNotLate(t *testing.T) {
	c, a, sent := spareCluster(t, 3)
	c.write(a, 2)
	spare, other := spareOf(t, a)
	o := c.node(other)
	// take has the other member take what was sent to it, and returns its answers.
	take := func() (answers []Message) {
		for _, m := range c.wire {
			require.Equal(t, other, m.To)
			c.give(m)
		}
		c.wire = nil
		o.work()
		for len(o.inflight) > 0 {
			o.sync()
		}
		o.work()
		answers, c.wire = c.wire, nil
		return answers
	}
	first, _ := c.propose(a)
	a.work()
	a.sync()
	answers := take()
	later(a, patience*6/10)
	_, _ = c.propose(a)
	a.work()
	require.Less(t, a.Commit(), first)
	for _, m := range answers {
		c.give(m)
	}
	require.Equal(t, first, a.Commit())
	a.work()
	later(a, patience*6/10)
	a.work()
	require.NotContains(t, appends(*sent)[spare], 3, "it was sent what waits")
	require.Less(t, c.node(spare).LastIndex(), first)

	c.read(a) // the first in long: everybody is asked
	c.settle()
	_, other = spareOf(t, a)
	o = c.node(other)
	c.read(a)
	a.work()
	answers = take()
	later(a, patience*6/10)
	second := c.read(a)
	a.work()
	for _, m := range answers {
		c.give(m)
	}
	a.work()
	*sent = nil
	later(a, patience*6/10)
	a.work()
	require.Nil(t, c.reads[second].answer)
	require.Empty(t, *sent)
}

func TestFiveMembersSpareTwo(t *testing.T) {
	c, a, _ := spareCluster(t, 5)
	last := c.write(a, 3)
	require.Equal(t, last, a.Commit())
	spares := 0
	for id := NodeID(2); id <= 5; id++ {
		if a.peer(id).spare {
			spares++
			require.Less(t, c.node(id).LastIndex(), last)
		} else {
			require.Equal(t, last, c.node(id).LastIndex())
		}
	}
	require.Equal(t, 2, spares)
}

// A hand-over and a change of members are about everybody.
func TestNobodyIsSparedInAHandOver(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	last := c.write(a, 2)
	spare, _ := spareOf(t, a)
	require.Less(t, c.node(spare).LastIndex(), last)
	require.NoError(t, a.TransferLeadership(spare))
	c.settle()
	require.Equal(t, Leader, c.node(spare).Role())

	c, a, _ = spareCluster(t, 3)
	c.write(a, 2)
	spare, _ = spareOf(t, a)
	require.NoError(t, a.SetPriority(2, 1))
	a.work()
	require.False(t, a.peer(spare).spare)
	require.Equal(t, a.LastIndex()+1, a.peer(spare).Next, "the change is on its way to everybody")
}

// The only one that may lead after its leader died need not wait for its own timer when
// it learns that somebody else's is over.
func TestABetterLogHastensItsElection(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	last := c.write(a, 2)
	spare, other := spareOf(t, a)
	require.Less(t, c.node(spare).LastIndex(), last)
	a.crash(nil)
	s, o := c.node(spare), c.node(other)
	ticks := uint64(s.cfg.ElectionTicks)
	s.electionDeadline, o.electionDeadline = s.now+ticks+1, o.now+2*ticks
	for range ticks + 3 {
		for _, n := range []*node{o, s} {
			n.Tick()
		}
		c.settle()
	}
	require.Equal(t, Leader, o.Role())
	require.Equal(t, last, s.Commit()-1, "and the no-op of its term")
}

// Who still hears a leader, or has the shorter log, is in no hurry.
func TestNobodyElseHastens(t *testing.T) {
	c, a, _ := spareCluster(t, 3)
	c.write(a, 2)
	spare, other := spareOf(t, a)
	o, s := c.node(other), c.node(spare)
	deadline := o.electionDeadline
	ask := Message{Type: MsgPreVote, From: spare, To: other, Term: o.Term() + 1, Index: s.LastIndex(), LogTerm: s.Term(), Incarnation: 1}
	o.Step(ask)
	require.Equal(t, deadline, o.electionDeadline, "it hears its leader")
	for range o.cfg.ElectionTicks {
		o.now++
	}
	ask.Index = o.LastIndex()
	o.Step(ask)
	require.Equal(t, deadline, o.electionDeadline, "it grants")
	ask.Index--
	stranger := ask
	stranger.Incarnation++
	o.Step(stranger)
	require.Equal(t, deadline, o.electionDeadline, "it is no member")
	o.role = Candidate
	o.Step(ask)
	require.Equal(t, deadline, o.electionDeadline, "it campaigns already")
	for _, role := range []Role{Follower, PreCandidate} {
		o.role, o.electionDeadline = role, deadline
		o.Step(ask)
		require.Equal(t, min(deadline, o.now+1), o.electionDeadline)
	}
}
