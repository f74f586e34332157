package raftcore

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// damage takes the entries above keep from a stopped node's disk, and leaves their
// claim behind, as package segmentlog does with an ambiguous tail.
func (n *node) damage(keep uint64) {
	last := n.disk.last()
	e, ok := n.disk.entry(last)
	if !ok || keep >= last {
		return
	}
	if claim := (Position{e.Term, e.Index}); n.cfg.Suspect.less(claim) {
		n.cfg.Suspect = claim
	}
	n.disk.entries = n.disk.entries[:keep+1-n.disk.first]
	n.disk.hard.Commit = min(n.disk.hard.Commit, keep)
}

// x is on A and B and acknowledged. B's copy is damaged and A is away: B and C are
// a quorum, but they must not go on without x (RELIABILITY 3.2).
func TestSuspectVoterDoesNotElectWhoLacksItsClaim(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	c.isolate(3)
	x := c.mustPropose(a)
	c.ticks(5)
	require.GreaterOrEqual(t, a.Commit(), x)
	a.crash(nil)
	c.node(2).crash(nil)
	c.node(2).damage(x - 1)
	c.node(2).start()
	c.heal()
	c.ticks(300)
	require.Nil(t, c.leader(), "a leader without an acknowledged entry\n%s", c.describe())

	a.start()
	c.until(300, "A has x and leads again", func() bool { return c.leader() == a })
	c.until(50, "B has x again", func() bool { return c.node(2).log.durable >= x && c.node(2).Status().Suspect == Position{} })
	require.True(t, c.node(2).log.matches(x, c.committed[x].Term))
}

// The leader keeps leading while a follower comes back without what it
// acknowledged: the leader must forget the old match, or it would never send it.
func TestLeaderForgetsWhatASuspectLost(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a, b := c.elect(1), c.node(2)
	for range 5 {
		c.mustPropose(a)
	}
	c.ticks(5)
	last := b.disk.last()
	term := a.Term()
	b.crash(nil)
	b.damage(last - 3)
	b.start()
	require.Equal(t, Position{term, last}, b.Status().Suspect)
	c.until(20, "refetched without traffic", func() bool { return b.log.durable == last })
	require.Equal(t, Position{}, b.Status().Suspect)
	require.Equal(t, term, a.Term(), "nobody was disturbed")
	require.Equal(t, last, a.peer(2).Match)
}

// A node whose claim stands is not made leader by a hand-over.
func TestSuspectDoesNotTakeAHandOver(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a, b := c.elect(1), c.node(2)
	x := c.mustPropose(a)
	b.crash(nil)
	b.damage(x - 1)
	b.start()
	b.hear(1, Message{Type: MsgHeartbeat, Term: a.Term()})
	b.hear(1, Message{Type: MsgTimeoutNow, Term: a.Term()})
	require.Equal(t, Follower, b.Role())
	require.Equal(t, a.Term(), b.Term())
}

// Power fails everywhere in mid-write and no node can read its last write: with all
// voters there, the longest intact log wins; with one away, nobody does.
func TestEveryVoterIsSuspect(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	a := c.elect(1)
	for range 6 {
		c.mustPropose(a)
	}
	c.ticks(5)
	last := a.disk.last()
	intact := map[NodeID]uint64{1: last - 3, 2: last - 1, 3: last - 2}
	for _, n := range c.nodes {
		n.crash(nil)
		n.damage(intact[n.cfg.ID])
	}
	// The rest is gone everywhere; the model must not ask for it.
	c.committed = c.committed[:last]
	for _, n := range c.nodes[1:] {
		n.start()
	}
	c.ticks(300)
	require.Nil(t, c.leader(), "node 1 may hold more")
	c.node(1).start()
	c.until(500, "all are there", func() bool { return c.leader() != nil })
	require.Equal(t, NodeID(2), c.leader().cfg.ID, "the longest intact log")
	index := c.mustPropose(c.leader())
	c.ticks(20)
	for _, n := range c.nodes {
		require.Equal(t, Position{}, n.Status().Suspect)
		require.GreaterOrEqual(t, n.Commit(), index)
	}
}

// Conditional votes of both configurations are needed while joint.
func TestUnanimityCoversOutgoingVoters(t *testing.T) {
	joint := Membership{Members: voters(1, 2), Outgoing: voters(1, 2, 3)}
	c := newClusterOf(t, 3, joint, nil)
	for _, n := range c.nodes {
		n.cfg.Suspect = Position{4, 9}
		n.loadTerms(HardState{Term: 4}, 1)
	}
	c.node(3).crash(nil)
	c.ticks(300)
	require.Nil(t, c.leader(), "voter 3 is part of the outgoing configuration")
	c.node(3).start()
	c.until(500, "everybody is there", func() bool { return c.leader() != nil })
}

// Random damage: as long as one node has all of the committed log, no schedule may
// lose any of it. The harness checks every elected leader against it.
func TestSuspectsNeverLoseWhatOneNodeHas(t *testing.T) {
	seeds := int64(150)
	if testing.Short() {
		seeds = 30
	}
	elections := 0
	for seed := range seeds {
		rng := rand.New(rand.NewSource(seed))
		size := 3 + 2*rng.Intn(2)
		var ids []NodeID
		for i := 1; i <= size; i++ {
			ids = append(ids, NodeID(i))
		}
		c := newCluster(t, size, ids...)
		for range 4 {
			c.until(2000, "a leader", func() bool { return c.leader() != nil })
			away := c.node(ids[rng.Intn(size)])
			c.isolate(away.cfg.ID)
			c.ticks(rng.Intn(40))
			for range rng.Intn(8) {
				if lead := c.leader(); lead != nil {
					_, _ = c.propose(lead)
					c.ticks(rng.Intn(3))
				}
			}
			c.heal()
			// The last to be spared is one with everything that was committed.
			whole := -1
			for i, n := range c.nodes {
				if n.disk.last()+1 >= uint64(len(c.committed)) && (len(c.committed) == 1 || n.log.matches(uint64(len(c.committed)-1), c.committed[len(c.committed)-1].Term)) {
					whole = i
				}
			}
			require.GreaterOrEqual(t, whole, 0)
			for i, n := range c.nodes {
				n.crash(rng)
				n.cfg.Suspect = n.Status().Suspect
				if i != whole && rng.Intn(2) == 0 && n.disk.last() > 0 {
					n.damage(n.disk.last() - uint64(rng.Intn(int(min(n.disk.last(), 6)))))
				}
			}
			for _, i := range rng.Perm(size) {
				c.nodes[i].start()
				c.ticks(rng.Intn(60))
			}
		}
		c.until(2000, "a leader at the end", func() bool { return c.leader() != nil })
		elections += len(c.leaders)
	}
	require.Greater(t, elections, int(seeds)*4)
}
