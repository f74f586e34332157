package raftcore

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func ms(n int64) int64 { return n * int64(time.Millisecond) }

// leaseCluster is n voters with leases of an election timeout: 100 ms, ten ticks.
func leaseCluster(t testing.TB, n int) *cluster {
	var ids []NodeID
	for id := 1; id <= n; id++ {
		ids = append(ids, NodeID(id))
	}
	return newClusterOf(t, n, Membership{Members: voters(ids...), Lease: LeasePolicy{100, DefaultDriftPPM}}, nil)
}

// TestLeasesUnderHaste: voters whose timers run mad, who restart, who are pushed into
// higher terms, and whose clocks differ in rate by all that is allowed, elect nobody
// while a leader that was cut off has its lease. The harness looks after every step
// (checkLeases).
func TestLeasesUnderHaste(t *testing.T) {
	total := 0
	for seed := int64(1); seed <= 120; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { total += runHaste(t, seed) })
		if !ok {
			return
		}
	}
	require.Greater(t, total, 120, "others took over after the lease")
}

// runHaste counts how often another leader committed in the end.
func runHaste(t *testing.T, seed int64) (taken int) {
	rng := rand.New(rand.NewSource(seed))
	nodes := 3 + 2*rng.Intn(2)
	c := leaseCluster(t, nodes)
	rate := make([]int64, nodes)
	for i, n := range c.nodes {
		n.tick = 0
		rate[i] = []int64{800, 800, 1000, 1200, 1200}[rng.Intn(5)]
		n.time = rng.Int63n(1e12)
	}
	pass := func(d int64) {
		for i, n := range c.nodes {
			n.time += d * rate[i] / 1000
			if n.up {
				n.SetTime(n.time)
			}
		}
		c.checkLeases()
	}
	for range 8 {
		// Health, until a leader has its lease.
		c.heal()
		for i := 0; ; i++ {
			require.Less(t, i, 300, "no lease\n%s", c.describe())
			pass(ms(10))
			for _, n := range c.nodes {
				n.Core.Tick()
			}
			c.settle()
			l := c.leader()
			if l != nil && l.leaseHolds() && i > 5 {
				break
			}
			if l != nil && l.lease.void && i > 50 {
				l.crash(nil) // has ordered somebody to campaign: no lease in this term
				l.start()
			}
		}
		old := c.leader()
		if rng.Intn(4) == 0 {
			require.NoError(t, old.ProposeLease(LeasePolicy{uint64(80 + rng.Intn(100)), DefaultDriftPPM}))
			c.haste(rng, 20, func() {})
		}
		if rng.Intn(4) == 0 {
			_ = old.TransferLeadership(0)
		}
		old.work()
		c.isolate(old.cfg.ID)
		before := len(c.committed)
		c.haste(rng, 300, func() { pass(ms(1) * int64(rng.Intn(3))) })
		if l := c.leader(); l != old && len(c.committed) > before {
			taken++
		}
	}
	return taken
}

// haste lets nodes campaign, restart, meet higher terms and propose, at random.
func (c *cluster) haste(rng *rand.Rand, steps int, pass func()) {
	restarts, pushes := rng.Intn(3) == 0, rng.Intn(3) == 0
	for range steps {
		pass()
		n := c.nodes[rng.Intn(len(c.nodes))]
		switch rng.Intn(12) {
		case 0:
			if n.Role() == Follower {
				n.electionDeadline = n.now + 1
			}
			n.Core.Tick()
		case 1:
			if restarts && rng.Intn(4) == 0 && n.Role() != Leader {
				n.crash(rng)
				n.start()
			}
		case 2:
			// From nowhere, a member that has been in a higher term.
			if pushes && rng.Intn(6) == 0 && n.Role() != Leader {
				from := c.nodes[rng.Intn(len(c.nodes))]
				n.hear(from.cfg.ID, Message{Type: MsgAppendResp, Reject: true, Term: n.Term() + 1})
			}
		case 3:
			if l := c.leader(); l != nil {
				_, _ = c.propose(l)
			}
		case 4, 5, 6:
			n.syncAll()
		default:
			for range min(len(c.wire), 12) {
				c.deliver(rng.Intn(len(c.wire)))
			}
		}
		n.work()
		c.checkLeases()
	}
}

// loyalVoter returns follower 2 of a cluster with leases that has just heard leader 1, in
// term 3.
func loyalVoter(t *testing.T) *node {
	c := leaseCluster(t, 3)
	n := c.node(2)
	n.time = ms(1000)
	n.loadTerms(HardState{Term: 3, Commit: 1}, 1)
	n.time += ms(100) // the quiet after the start is over
	n.SetTime(n.time)
	n.hear(1, Message{Type: MsgHeartbeat, Term: 3, Commit: 1, Round: 1})
	n.syncAll()
	c.wire = nil
	return n
}

// asks steps a vote request of 3 and reports whether it was granted.
func (n *node) asks(typ MessageType, term uint64, transfer bool) bool {
	n.SetTime(n.time)
	n.hear(3, Message{Type: typ, Term: term, Index: 9, LogTerm: 3, Transfer: transfer})
	n.syncAll()
	for _, m := range n.c.take(typ + 1) {
		if !m.Reject {
			return true
		}
	}
	return false
}

// Thesis 6.4.1: followers keep their votes back while a lease may last. The timers of
// the core have nothing to do with it: it is the clock that counts.
func TestLoyaltyIsAboutTheClock(t *testing.T) {
	for _, typ := range []MessageType{MsgPreVote, MsgVote} {
		n := loyalVoter(t)
		for range 50 {
			n.electionDeadline = n.now + 2
			n.Core.Tick() // a timer that runs mad
			n.work()
		}
		n.time += ms(99)
		require.False(t, n.asks(typ, 4, false))
		n.time += ms(1)
		require.True(t, n.asks(typ, 5, false))
	}
}

func TestLoyaltyOutlivesTheTerm(t *testing.T) {
	n := loyalVoter(t)
	n.hear(3, Message{Type: MsgAppendResp, Reject: true, Term: 7})
	require.EqualValues(t, 7, n.Term())
	n.syncAll()
	require.False(t, n.asks(MsgVote, 7, false), "of the same term")
	require.False(t, n.asks(MsgPreVote, 8, false))
	require.False(t, n.asks(MsgVote, 8, false), "of a higher one")
	require.EqualValues(t, 7, n.Term(), "nor is the term raised")
	n.time += ms(100)
	require.True(t, n.asks(MsgVote, 8, false))
}

func TestLoyaltyOutlivesARestart(t *testing.T) {
	n := loyalVoter(t)
	n.time += ms(20)
	n.crash(nil)
	n.start()
	n.time += ms(99)
	require.False(t, n.asks(MsgPreVote, 4, false))
	require.False(t, n.asks(MsgVote, 4, false))
	n.time += ms(1)
	require.True(t, n.asks(MsgVote, 4, false))
}

func TestLoyaltyBindsTheVoterItself(t *testing.T) {
	n := loyalVoter(t)
	for range 50 {
		n.electionDeadline = n.now + 1
		n.Core.Tick()
		n.work()
	}
	require.Equal(t, Follower, n.Role())
	n.time += ms(100)
	n.SetTime(n.time)
	n.electionDeadline = n.now + 1
	n.Core.Tick()
	require.Equal(t, PreCandidate, n.Role())
}

func TestLoyaltyEndsByOrderOfTheLeader(t *testing.T) {
	require.True(t, loyalVoter(t).asks(MsgVote, 4, true))
	n := loyalVoter(t)
	n.hear(1, Message{Type: MsgTimeoutNow, Term: 3})
	require.Equal(t, Candidate, n.Role())
}

func TestLoyaltyIsNotOwedWithoutLeases(t *testing.T) {
	n := loyalVoter(t)
	n.hear(1, Message{Type: MsgAppend, Term: 3, Index: 1, LogTerm: 1, Entries: []Entry{
		configEntry(2, 3, Membership{Members: voters(1, 2, 3)}),
	}})
	n.syncAll()
	n.now += 20 // ticks: the rule of 4.2.3 is another one
	require.True(t, n.asks(MsgVote, 4, false))
}

// A lease begins with its round, not with the echo, and is shorter than the promise by
// what clocks may differ.
func TestLeaseBeginsWithItsRound(t *testing.T) {
	c := leaseCluster(t, 3)
	l := c.elect(1)
	c.ticks(3)
	for c.wire = nil; len(c.wire) == 0; {
		l.Tick()
		l.work()
	}
	begun := l.time
	beats := c.take(MsgHeartbeat)
	require.NotEmpty(t, beats)
	l.time += ms(40)
	for _, m := range beats {
		c.give(m)
	}
	c.settle()
	require.Equal(t, begun+ms(100)*(1_000_000-DefaultDriftPPM)/1_000_000, l.LeaseUntil())
	require.True(t, l.leaseHolds())
	l.time += ms(27)
	require.False(t, l.leaseHolds())
}

// Echoes of voters that are not known to have the policy on disk are worth nothing: who
// restarts without it would vote at once.
func TestLeaseCountsOnWhoKnowsOfIt(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	l := c.elect(1)
	c.ticks(5)
	require.NoError(t, l.ProposeLease(LeasePolicy{100, DefaultDriftPPM}))
	require.Zero(t, l.LeaseUntil())
	c.node(3).stalled = true // echoes, and has nothing on disk
	c.settle()
	c.ticks(3)
	require.True(t, l.leaseHolds(), "2 knows")
	c.node(2).crash(nil)
	before := l.LeaseUntil()
	for range 8 {
		c.ticks(1)
	}
	require.Equal(t, Leader, l.Role(), "3 answers")
	require.LessOrEqual(t, l.LeaseUntil(), before+ms(20), "but its word is not enough")
	require.False(t, l.leaseHolds())
	c.node(3).stalled = false
	c.ticks(3)
	require.True(t, l.leaseHolds())
}

func TestLeaseIsRefused(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3)
	require.ErrorIs(t, c.node(1).ProposeLease(LeasePolicy{100, 0}), ErrNotLeader)
	l := c.elect(1)
	for _, bad := range []LeasePolicy{{0, 1}, {100, 1_000_000}, {3_600_001, 0}, {1 << 63, 0}} {
		require.ErrorIs(t, l.ProposeLease(bad), ErrInvalidMembership)
	}
	require.NoError(t, l.ProposeLease(LeasePolicy{100, 0}))
	require.ErrorIs(t, l.ProposeLease(LeasePolicy{}), ErrChangeInProgress)
}

// A change of members keeps the policy, and there is no lease while it is under way.
func TestLeaseAndAChangeOfMembers(t *testing.T) {
	c := newClusterOf(t, 4, Membership{Members: voters(1, 2, 3), Lease: LeasePolicy{100, DefaultDriftPPM}}, nil)
	l := c.elect(1)
	c.ticks(4)
	require.True(t, l.leaseHolds())
	require.NoError(t, l.Remove(3))
	require.Zero(t, l.LeaseUntil())
	c.settle()
	c.ticks(3)
	require.False(t, l.Membership().Joint())
	require.True(t, l.LeasePolicy().On())
	require.True(t, l.leaseHolds())
	require.NoError(t, l.ProposeLease(LeasePolicy{}))
	require.Zero(t, l.LeaseUntil())
}

func TestMembershipWithAndWithoutLeaseIsCanonical(t *testing.T) {
	plain := Membership{Members: voters(1, 2)}
	leased := Membership{Members: voters(1, 2), Lease: LeasePolicy{500, 7}}
	require.NotEqual(t, EncodeMembership(plain), EncodeMembership(leased))
	require.EqualValues(t, 0x92, EncodeMembership(plain)[0], "as ever: two fields")
	for _, m := range []Membership{plain, leased} {
		got, err := DecodeMembership(EncodeMembership(m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
}
