package raftcore

import "math/bits"

// Feeding a member that was away as fast as it takes it is felt by everybody's clients where
// members share processors or a disk, or a link is narrow. A quorum can do without it (it is
// a spare, spares.go), so there is no hurry: while it lacks more than a little it gets what
// SetCatchUpRate allows, and two bytes for each that the log grows by, so that it comes
// nearer at any rate (docs/adr/0040).
//
// Who is needed for a quorum, or waits for an entry itself, gets it at once, and so does
// everybody while members change or leadership is handed over.

const (
	// catchUpGrowth is how many bytes a member may be sent for each that the log grows by.
	catchUpGrowth = 2
	// catchUpPatience is how many times Config.QuorumPatience nothing may be committed,
	// while something waits, before who lags is hurried: it may soon be needed. Disks
	// hesitate for a few of these every now and then.
	catchUpPatience = 32
)

// catchUp is what members that lag may be sent.
type catchUp struct {
	rate   int64 // bytes per second; 0: no bound
	budget int64 // bytes that one could have been sent since this began
	rest   int64 // billionths of a byte
}

// pass adds what the rate allows in so many nanoseconds.
func (u *catchUp) pass(elapsed int64) {
	hi, lo := bits.Mul64(uint64(u.rate), uint64(elapsed))
	lo, carry := bits.Add64(lo, uint64(u.rest), 0)
	hi += carry
	if hi >= 1e9 { // a clock that jumped
		return
	}
	bytes, rest := bits.Div64(hi, lo, 1e9)
	u.budget, u.rest = u.budget+int64(min(bytes, 1<<40)), int64(rest)
}

// SetCatchUpRate says how many bytes of entries per second a member that lags, and that
// a quorum can do without, is sent from here on, beside twice what the log grows by; 0:
// there is no bound. Without a Config.SpareDelay there is none either.
func (c *Core) SetCatchUpRate(bytesPerSecond int64) {
	c.catchUp.rate = max(bytesPerSecond, 0)
	c.dirty = true
}

// feeds notes that p was sent so many bytes of entries. Beyond a little these are not made
// up for: what had to be sent at once, be it a large entry or all that was missing, holds
// nothing up later.
func (c *Core) feeds(p *peer, bytes int) {
	p.lags = p.Next < c.log.winFirst() || c.log.holdsMore(p.Next, c.little())
	p.fed = min(max(p.fed, c.catchUp.budget)+int64(bytes), c.catchUp.budget+int64(c.little()))
}

// little is what a member may lack and be sent at once.
func (c *Core) little() int { return fetchFactor * c.cfg.MaxMessageBytes }

// paced reports whether p has to wait for what it lacks until the budget has grown.
func (c *Core) paced(p *peer) bool {
	return p.lags && p.spare && p.Next <= c.log.last && p.awaits <= p.commitSent && !c.quorumHangs() &&
		c.catchUp.rate > 0 && p.fed > c.catchUp.budget
}

// quorumHangs reports whether those who were asked have been silent for long.
func (c *Core) quorumHangs() bool {
	return c.log.commit < c.log.last && c.clock >= c.hangsAt()
}

func (c *Core) hangsAt() int64 { return c.commitAt + catchUpPatience*c.cfg.QuorumPatience }

// fedAt is when p, which is paced, gets more.
func (c *Core) fedAt(p *peer) int64 {
	at := c.clock + 1 + int64(float64(p.fed-c.catchUp.budget)*1e9/float64(c.catchUp.rate))
	if c.log.commit < c.log.last {
		at = min(at, c.hangsAt())
	}
	return at
}
