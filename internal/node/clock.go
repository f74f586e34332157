package node

import (
	"sort"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// maxClockSkew is how far a leader's clock may be from the voters' median before it
// stamps with the median and hands leadership over (DESIGN 1).
const maxClockSkew = 10 * time.Second

// clockWatch compares clocks by what rides on peer messages. Message delay makes
// offsets too small by milliseconds, which is nothing against maxClockSkew.
type clockWatch struct {
	offsets map[raftcore.NodeID]int64 // their clock minus ours, ms
	shift   int64                     // added to our clock when stamping
}

// observe notes a sender's clock; wall is ours, Unix ms.
func (w *clockWatch) observe(m *raftcore.Message, wall int64) {
	if m.Clock == 0 {
		return
	}
	if w.offsets == nil {
		w.offsets = make(map[raftcore.NodeID]int64)
	}
	w.offsets[m.From] = m.Clock - wall
}

// median is the voters' median offset, ours being 0.
func (w *clockWatch) median(voters []raftcore.Member, self raftcore.NodeID) int64 {
	var all []int64
	for _, v := range voters {
		if v.Learner {
			continue
		}
		if v.ID == self {
			all = append(all, 0)
		} else if o, ok := w.offsets[v.ID]; ok {
			all = append(all, o)
		}
	}
	if len(all) < 2 {
		return 0
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all[len(all)/2]
}

// watchClock keeps a leader with a mad clock from stamping with it.
func (l *loop) watchClock(now time.Time) {
	if l.core.Role() != raftcore.Leader {
		l.clock.shift = 0
		return
	}
	off := l.clock.median(l.core.Membership().Members, l.id)
	mad := off > maxClockSkew.Milliseconds() || off < -maxClockSkew.Milliseconds()
	switch {
	case mad && l.clock.shift == 0:
		l.clock.shift = off
		l.log.Warn("this node's clock is far from the others'; stamping with theirs and handing leadership over",
			"off_by", (time.Duration(-off) * time.Millisecond).String())
		if err := l.core.TransferLeadership(0); err != nil {
			l.log.Warn("could not hand leadership over", "error", err)
		}
	case !mad:
		l.clock.shift = 0
	}
}

// stamp is the time an entry carries; it never goes back.
func (l *loop) stamp(now time.Time) int64 {
	l.lastStamp = max(l.lastStamp, l.gauges.stamp(), l.cfg.Wall(now)+l.clock.shift)
	return l.lastStamp
}

// dice is a splitmix64 generator; its seed is the node's only randomness in entries.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
