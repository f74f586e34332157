package node

import (
	"slices"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// maxClockSkew is how far a leader's clock may be from the voters' median before it
// stamps with the median and hands leadership over (DESIGN 1).
const maxClockSkew = 10 * time.Second

// clockWatch compares clocks by what rides on peer messages.
type clockWatch struct {
	offsets map[raftcore.NodeID]clockOffset
	window  time.Duration // how long the best of several messages counts, at least
	shift   int64         // added to our clock when stamping
	// unfit: this node handed leadership over because of its clock, and has not seen
	// since that it is right again.
	unfit  bool
	handTo time.Time // not before, once more

	judged                uint64 // term of this leader's last judgement; 0: the clock jumped since
	told                  bool
	lastElapsed, lastWall int64 // ns, ms
}

// tell notes the time of a turn: elapsed on the clock that nobody sets, and the date. A
// step of our date shows as a difference between the two: the others' offsets move by it
// at once, and not when they are heard next, for entries may be stamped in this turn.
func (w *clockWatch) tell(elapsed, wall int64) {
	if w.told {
		jump := wall - w.lastWall - (elapsed-w.lastElapsed)/int64(time.Millisecond)
		if jump > 1000 || jump < -1000 {
			for id, o := range w.offsets {
				o.best -= jump
				o.before -= jump
				w.offsets[id] = o
			}
			w.judged = 0
		}
	}
	w.told, w.lastElapsed, w.lastWall = true, elapsed, wall
}

// clockOffset is another node's clock minus ours, in ms. A message that was long on its
// way shows an offset that is too small by that time, so the largest of a while counts:
// of the window that is open and the one before it.
type clockOffset struct {
	best, before int64
	opened       int64 // on the clock that nobody sets, ns
}

func (o clockOffset) value() int64 { return max(o.best, o.before) }

// observe notes a sender's clock; wall is ours, Unix ms.
func (w *clockWatch) observe(m *raftcore.Message, wall int64) {
	if m.Clock == 0 {
		return
	}
	if w.offsets == nil {
		w.offsets = make(map[raftcore.NodeID]clockOffset)
	}
	seen := m.Clock - wall
	o, known := w.offsets[m.From]
	switch age := w.lastElapsed - o.opened; {
	case !known || age > 2*int64(w.window):
		o = clockOffset{seen, seen, w.lastElapsed}
	case age > int64(w.window):
		o = clockOffset{seen, o.best, w.lastElapsed}
	default:
		o.best = max(o.best, seen)
	}
	w.offsets[m.From] = o
}

// median is the voters' median offset, ours being 0. Between two in the middle ours
// counts: one other clock that disagrees is no reason to distrust this one.
func (w *clockWatch) median(voters []raftcore.Member, self raftcore.NodeID) int64 {
	all := make([]int64, 0, 8) // on the stack, for most clusters
	for _, v := range voters {
		if v.Learner {
			continue
		}
		if v.ID == self {
			all = append(all, 0)
		} else if o, ok := w.offsets[v.ID]; ok {
			all = append(all, o.value())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	return min(max(low, 0), high)
}

func far(offset int64) bool {
	return offset > maxClockSkew.Milliseconds() || offset < -maxClockSkew.Milliseconds()
}

// watchClock keeps a leader with a mad clock from stamping with it, and from leading for
// long.
func (l *loop) watchClock(now time.Time) {
	w := &l.clock
	if l.core.Role() != raftcore.Leader {
		w.shift, w.judged = 0, 0
		if o, known := w.offsets[l.core.Leader()]; known && w.unfit && !far(o.value()) {
			w.unfit = false
			l.core.SetDeclines(false)
		}
		return
	}
	w.judged = l.core.Term()
	off := w.median(l.core.Membership().Members, l.id)
	if !far(off) {
		w.shift = 0
		return
	}
	if w.shift == 0 {
		l.log.Warn("this node's clock is far from the others'; stamping with theirs and handing leadership over",
			"off_by", (time.Duration(-off) * time.Millisecond).String())
	}
	w.shift = off
	if now.Before(w.handTo) {
		return
	}
	w.unfit = true
	l.core.SetDeclines(true)
	if err := l.core.TransferLeadership(0); err == nil {
		w.handTo = now.Add(handOverRest * l.cfg.ElectionTimeout)
	}
}

// handOverRest is how many election timeouts a leader with a mad clock waits before it
// tries to hand over once more: nothing is written while it tries.
const handOverRest = 10

// dice is a splitmix64 generator; its seed is the node's only randomness in entries.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
