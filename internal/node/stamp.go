package node

import (
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// stampPace is the cluster's time as this node can tell without a date: the newest stamp it
// knows, and what has passed since on the clock that nobody sets. A stamp may be ahead of
// every clock, because the clock it came from was set back, or was another leader's; time
// must go on nevertheless, or clients that wait for a second would wait for an hour.
//
// It goes on a little slower than it does in truth, so that the clocks catch up: 10 s of
// difference are gone after 80 s.
type stampPace struct {
	stamp, since int64 // Unix ms; ns of Config.Elapsed
}

// The share of true time that a stamp ahead of the clock keeps up with.
const paceNumerator, paceDenominator = 7, 8

// at is the time at elapsed; seen is the newest stamp known then. It never goes back.
func (p *stampPace) at(seen, elapsed int64) int64 {
	passed := (elapsed - p.since) / int64(time.Millisecond) * paceNumerator / paceDenominator
	grown := p.stamp + max(passed, 0)
	if seen > grown { // not if equal: the fraction of a millisecond counts, too
		p.stamp, p.since = seen, elapsed
		return seen
	}
	return grown
}

// clusterTime is the time an entry made now would carry.
func (l *loop) clusterTime(now time.Time) int64 {
	paced := l.stampPace.at(max(l.lastStamp, l.gauges.stamp()), l.clock.lastElapsed)
	if l.core.Role() != raftcore.Leader {
		return paced
	}
	return max(paced, l.cfg.Wall(now)+l.clock.shift)
}

// stamp is the time an entry carries; it never goes back, nor does it stand still. A
// leader that has not compared its clock in this term, or since it stepped, does so first:
// one wrong stamp expires keys for ever.
func (l *loop) stamp(now time.Time) int64 {
	if l.clock.judged != l.core.Term() {
		l.watchClock(now)
	}
	l.lastStamp = l.clusterTime(now)
	return l.lastStamp
}
