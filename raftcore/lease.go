package raftcore

import (
	"fmt"
	"slices"
	"time"
)

// Leases (thesis 6.4.1) let a leader answer reads without a round: a quorum of voters
// promised not to elect anybody else for a while. They are off by default, for they
// trust clocks, in one respect: that no two voters' clocks run at rates that differ by
// more than a stated bound. What the clocks show is of no matter.
//
// The promise. Whoever hears a leader grants no vote within LeasePolicy.Timeout of
// that, on its own clock, to anybody but that leader; itself included. It outlives a
// change of the term. Who restarts does not remember whom it heard, and promises the
// same to everybody. The one exception are votes by order of the leader (MsgTimeoutNow).
//
// The lease. A quorum echoed a round: each of these voters heard from the leader after
// that round began. None of them votes before Timeout is over on its clock, so the
// leader is safe, counted from the beginning of the round, for the part of Timeout that
// its own clock shows at most by then, whichever of the two is the faster (length).
//
// Why that suffices. Another leader needs the vote of one of these voters. And:
//
//  1. The policy is part of the configuration. A leader relies on it once that entry is
//     committed, and only on echoes of voters that are known to have it on disk: a voter
//     that forgets what it heard in a restart still knows that it has to be quiet. Who
//     has not got the entry cannot be elected, for it is committed (thesis 3.6.3).
//  2. Turning leases off, or shortening them, takes effect at the leader when it appends
//     that entry, thus before anybody else can hear of it.
//  3. A hand-over breaks promises. Before the order to campaign leaves, the lease is
//     given up for the rest of the term: the order may arrive late (R16).
//  4. Time is told to the core in each turn, taken after the turn's messages had
//     arrived: a promise can be noted too late, which makes it longer, and a round too
//     early, which makes the lease shorter.
//
// A read by lease is linearizable if the lease held, by the clock, at some moment
// between its arrival and its reply, and what was read contained everything committed
// here at that moment. So it does not matter how long a process was stopped after the
// look at the clock; it matters that the look came after the read (R17).

// LeasePolicy is the part of the configuration that all voters and leaders must agree
// on for leases to be safe. The zero policy is: no leases.
type LeasePolicy struct {
	// TimeoutMillis is how long a voter is loyal to a leader it heard. It is the minimum
	// election timeout of the node that turned leases on. Too long, and it takes a new
	// leader so much longer; too short, and the lease ends between two heartbeats.
	TimeoutMillis uint64
	// DriftPPM bounds how much slower one voter's clock may run than another's, in parts
	// per million. Real clocks stay below a thousand; a clock beyond the bound makes
	// stale reads possible.
	DriftPPM uint64
}

// DefaultDriftPPM is one third: clocks may run fast or slow by 20 % each. That is
// hundreds of times what hardware does, and costs little: the lease still spans
// several heartbeats.
const DefaultDriftPPM = 333_334

const maxLeaseTimeout = time.Hour

// On reports whether the cluster reads by lease.
func (p LeasePolicy) On() bool { return p.TimeoutMillis > 0 }

func (p LeasePolicy) check() error {
	if p.TimeoutMillis > uint64(maxLeaseTimeout.Milliseconds()) || p.DriftPPM >= 1_000_000 || !p.On() && p != (LeasePolicy{}) {
		return fmt.Errorf("%w: lease of %d ms with a drift of %d ppm", ErrInvalidMembership, p.TimeoutMillis, p.DriftPPM)
	}
	return nil
}

// promise is how long a voter is loyal, in nanoseconds of its clock.
func (p LeasePolicy) promise() int64 { return int64(p.TimeoutMillis) * int64(time.Millisecond) }

// length is how long a leader may count on that, in nanoseconds of its own.
func (p LeasePolicy) length() int64 {
	return int64(p.TimeoutMillis) * int64(1_000_000-p.DriftPPM) // ms * ppm = ns
}

// lease is the leader's side.
type lease struct {
	until  int64 // on the core's clock; 0: none
	void   bool  // an order to campaign may be under way, for the rest of the term
	rounds []roundBegin
}

// roundBegin is a round that no quorum has echoed yet and when it began.
type roundBegin struct {
	round uint64
	at    int64
}

// maxLeaseRounds bounds the memory of rounds without an echo: heartbeats of an election
// timeout, and a good deal more. What does not fit extends no lease.
const maxLeaseRounds = 64

// SetTime tells the core the time: nanoseconds of a clock that never goes back and that
// counts while the machine is suspended. Leases need it, and Config.SpareDelay. It has to be read after
// whatever is stepped next had arrived. A core that is never told the time holds no
// lease, and must have no Config.SpareDelay.
func (c *Core) SetTime(now int64) {
	c.catchUp.pass(max(c.clock, now) - c.clock)
	c.clock = max(c.clock, now)
	c.dirty = c.dirty || c.spareAt > 0 && c.clock >= c.spareAt
}

// LeaseUntil is when this leader's lease ends, on the clock of SetTime; 0: it has none.
// Until then whatever is committed anywhere is committed here. A lease that is given up
// is given up because of what the next Ready says to others: a driver that shows the
// lease to other goroutines shows the new value before it sends, and before it applies.
func (c *Core) LeaseUntil() int64 { return c.lease.until }

// LeasePolicy is that of the configuration in force.
func (c *Core) LeasePolicy() LeasePolicy { return c.configs.newest().Lease }

// ProposeLease changes the policy; the zero policy turns leases off. Like a change of
// members it takes an entry, and its time: leases are used when it is committed, and no
// longer when it is appended. Timeout should be the minimum election timeout.
func (c *Core) ProposeLease(policy LeasePolicy) error {
	if err := policy.check(); err != nil {
		return err
	}
	if err := c.mayChange(); err != nil {
		return err
	}
	now := c.configs.newest()
	if now.Lease == policy {
		return nil
	}
	c.appendConfig(Membership{Members: now.Members, Lease: policy})
	return nil
}

// nextRound begins a new round.
func (c *Core) nextRound() {
	c.round++
	if c.LeasePolicy().On() && !c.lease.void && len(c.lease.rounds) < maxLeaseRounds {
		c.lease.rounds = append(c.lease.rounds, roundBegin{c.round, c.clock})
	}
}

// renewLease counts the echoes. It is called whenever one came, or what they are worth
// changed.
func (c *Core) renewLease() {
	policy := c.LeasePolicy()
	if !policy.On() || c.lease.void || c.role != Leader || !c.ownTermCommitted() || c.changeInFlight() {
		c.lease.until = 0
		return
	}
	aware := c.configs.newestIndex()
	echoed := c.quorums.Committed(func(voter identity) uint64 {
		if voter == c.self() {
			return c.round
		}
		if p := c.peer(voter.id); p != nil && p.member.Incarnation == voter.incarnation && p.Match >= aware {
			return p.round
		}
		return 0
	})
	l := &c.lease
	n := 0
	for n < len(l.rounds) && l.rounds[n].round <= echoed {
		l.until = max(l.until, l.rounds[n].at+policy.length())
		n++
	}
	l.rounds = slices.Delete(l.rounds, 0, n)
}

// dropLease gives the lease up for the rest of the term.
func (c *Core) dropLease() { c.lease.until, c.lease.void = 0, true }

// leaseHolds reports whether what arrived before the present turn may be read as of now.
func (c *Core) leaseHolds() bool { return c.clock < c.lease.until }

// notePromise begins the loyalty to a leader that was just heard.
func (c *Core) notePromise(leader NodeID) { c.loyalTo, c.loyalSince = leader, c.clock }

// promised reports whether this node owes it to somebody else not to vote for from.
func (c *Core) promised(from NodeID) bool {
	policy := c.LeasePolicy()
	return policy.On() && c.loyalTo != from && c.clock < c.loyalSince+policy.promise()
}
