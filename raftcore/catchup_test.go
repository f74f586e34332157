package raftcore

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	catchUpRate = 1_000_000 // a byte per microsecond
	catchUpMsg  = 1000
	body        = 450
)

// laggard has a leader, node 1, that sends node 3 what it missed: some 100 messages.
func laggard(t *testing.T) (c *cluster, a, b *node, sent func() int) {
	c = newClusterOf(t, 3, Membership{Members: voters(1, 2, 3)}, func(cfg *Config) {
		cfg.SpareDelay, cfg.QuorumPatience, cfg.MaxMessageBytes, cfg.CatchUpRate = spareDelay, patience, catchUpMsg, catchUpRate
	})
	a, b = c.elect(1), c.node(3)
	c.ticks(1)
	for _, nd := range c.nodes {
		nd.tick = 0
	}
	later(a, 100*spareDelay)
	c.write(a, 1)
	c.isolate(3)
	for range 200 {
		c.append(a)
	}
	require.Equal(t, a.LastIndex(), a.Commit())
	bytes := 0
	c.sees = func(m Message) {
		if m.Type == MsgAppend && m.To == 3 {
			for i := range m.Entries {
				bytes += m.Entries[i].Size()
			}
		}
	}
	sent = func() (since int) {
		since, bytes = bytes, 0
		return since
	}
	return c, a, b, sent
}

// append proposes an entry and has it replicated to whoever is not cut off.
func (c *cluster) append(a *node) {
	_, err := a.Propose(EntryNormal, make([]byte, body))
	require.NoError(c.t, err)
	c.settle()
	later(a, 2*spareDelay)
	c.settle()
}

// reunite lets node 3 hear again, up to the moment at which a knows where its log ends.
func (c *cluster) reunite(a *node) {
	c.heal()
	c.ticks(2)
	require.Less(c.t, c.node(3).LastIndex()+50, a.LastIndex(), "it lags")
}

func TestWhoLagsCatchesUpAtTheRate(t *testing.T) {
	c, a, b, sent := laggard(t)
	c.reunite(a)
	sent()
	begun, total := a.time, 0
	for a.time < begun+(20*time.Millisecond).Nanoseconds() {
		require.Greater(t, a.SpareDue(), a.time, "the driver knows when to come back")
		later(a, a.SpareDue()-a.time)
		c.settle()
		total += sent()
	}
	require.InDelta(t, (a.time-begun)*catchUpRate/1e9, total, 2*catchUpMsg)

	for range 1000 { // whatever the driver does, only when it is due
		if b.LastIndex() == a.LastIndex() {
			break
		}
		require.Positive(t, a.SpareDue())
		later(a, max(a.SpareDue()-a.time, 0))
		c.settle()
	}
	require.Equal(t, a.LastIndex(), b.LastIndex())
}

// Were it slower than the log grows it would never arrive.
func TestWhoLagsGetsTwiceWhatTheLogGrowsBy(t *testing.T) {
	c, a, b, sent := laggard(t)
	c.reunite(a)
	a.SetCatchUpRate(1)
	sent()
	lag := a.LastIndex() - b.LastIndex()
	for range 30 {
		_, err := a.Propose(EntryNormal, make([]byte, body))
		require.NoError(t, err)
		c.settle()
	}
	require.InDelta(t, 2*30*(body+entryOverhead), sent(), 3*catchUpMsg)
	require.InDelta(t, lag-30, a.LastIndex()-b.LastIndex(), 6)
	for range 300 {
		_, err := a.Propose(EntryNormal, make([]byte, body))
		require.NoError(t, err)
		c.settle()
	}
	require.Less(t, a.LastIndex()-b.LastIndex(), uint64(c.littleEntries(a)+3), "it goes with the others now")
}

// littleEntries is how many of append's entries a member may lack and be sent at once.
func (c *cluster) littleEntries(a *node) int { return a.little() / (body + entryOverhead) }

// A write waits for whoever a quorum needs, a client for the member that it is connected to,
// and a hand-over for the new leader.
func TestWhoIsNeededCatchesUpAtOnce(t *testing.T) {
	for name, need := range map[string]func(c *cluster, a *node){
		"the other one is dead": func(c *cluster, a *node) {
			c.isolate(2)
			c.ticks(2 * a.cfg.ElectionTicks)
		},
		"the other one hangs": func(c *cluster, a *node) {
			c.node(2).stalled = true
			_, err := c.propose(a)
			require.NoError(c.t, err)
			c.settle()
			require.Less(c.t, c.node(3).LastIndex()+50, a.LastIndex())
			a.SetCatchUpRate(1)
			for range catchUpPatience {
				require.LessOrEqual(c.t, a.SpareDue(), a.commitAt+catchUpPatience*patience)
				later(a, patience)
				c.settle()
			}
		},
		"its client waits":  func(_ *cluster, a *node) { a.Awaits(3, a.LastIndex()) },
		"it is to lead":     func(_ *cluster, a *node) { _ = a.TransferLeadership(3) },
		"there is no bound": func(_ *cluster, a *node) { a.SetCatchUpRate(0) },
	} {
		t.Run(name, func(t *testing.T) {
			c, a, b, _ := laggard(t)
			c.reunite(a)
			before := a.LastIndex()
			need(c, a)
			c.settle()
			require.GreaterOrEqual(t, b.LastIndex(), before)
		})
	}
}

func TestCatchUpAcrossClocksThatJump(t *testing.T) {
	u := catchUp{rate: math.MaxInt64}
	u.pass(math.MaxInt64)
	require.Less(t, u.budget, int64(1)<<41, "bounded")
	u = catchUp{rate: 3}
	for range 3000 {
		u.pass(333_333)
	}
	require.EqualValues(t, 2, u.budget, "parts of bytes add up, to a little less than 3")
}

// What was sent at once is no debt.
func TestWhatWasSentAtOnceHoldsNothingUp(t *testing.T) {
	c, a, b, sent := laggard(t)
	c.reunite(a)
	a.Awaits(3, a.LastIndex()-100)
	c.settle()
	require.Greater(t, sent(), 50*body)
	require.Less(t, b.LastIndex()+50, a.LastIndex(), "the rest can wait")
	later(a, int64(a.little())*1e9/catchUpRate+1)
	c.settle()
	require.Positive(t, sent())
}
