package node

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

func TestMedianOfClocks(t *testing.T) {
	for _, c := range []struct {
		name string
		them map[raftcore.NodeID]int64
		want int64
	}{
		{"nobody else is known", nil, 0},
		{"one of two disagrees", map[raftcore.NodeID]int64{2: 3_600_000}, 0},
		{"of three, one other is mad", map[raftcore.NodeID]int64{2: 3_600_000, 3: 12}, 12},
		{"of three, this one is mad", map[raftcore.NodeID]int64{2: 3_600_000, 3: 3_600_040}, 3_600_000},
		{"of three, this one is mad the other way", map[raftcore.NodeID]int64{2: -60_000, 3: -60_040}, -60_000},
		{"of four, half are mad", map[raftcore.NodeID]int64{2: 5, 3: 60_000, 4: 60_000}, 5},
		{"of four, only this one is right", map[raftcore.NodeID]int64{2: 60_000, 3: 60_001, 4: 60_002}, 60_000},
		{"a learner does not count", map[raftcore.NodeID]int64{9: 60_000, 2: 0}, 0},
	} {
		var w clockWatch
		for id, o := range c.them {
			w.observe(&raftcore.Message{From: id, Clock: 1e12 + o}, 1e12)
		}
		members := []raftcore.Member{{ID: 1}, {ID: 9, Learner: true}}
		for id := range c.them {
			if id != 9 {
				members = append(members, raftcore.Member{ID: id})
			}
		}
		require.Equal(t, c.want, w.median(members, 1), c.name)
	}
}

// A message that was long on its way says little about its sender's clock (found by seed
// 803861: messages of a minute ago made a leader hand over).
func TestDelayedMessagesDoNotMoveClocks(t *testing.T) {
	const window = 10 * time.Second
	w := clockWatch{window: window}
	elapsed := time.Duration(0)
	hear := func(late time.Duration, off int64) int64 {
		wall := 1e12 + elapsed.Milliseconds()
		w.tell(int64(elapsed), wall)
		w.observe(&raftcore.Message{From: 2, Clock: wall + off - late.Milliseconds()}, wall)
		return w.offsets[2].value()
	}
	require.EqualValues(t, 5, hear(0, 5))
	for range 100 {
		elapsed += window / 10
		require.EqualValues(t, 5, hear(0, 5))
		require.EqualValues(t, 5, hear(time.Minute, 5), "after %v", elapsed)
	}
	require.EqualValues(t, 3_600_000, hear(0, 3_600_000), "a clock that was set ahead shows at once")
	for range 30 {
		elapsed += window / 10
		hear(0, -3_600_000)
	}
	require.EqualValues(t, -3_600_000, hear(0, -3_600_000), "one that was set back after two windows")
}

// wallClock lets a test move the date of each node.
type wallClock struct{ shift [4]int64 }

// A leader whose clock steps by an hour stamps with the others' clock from the first
// entry on, hands over, and takes no order to lead again before its clock is right.
func TestLeaderWithAMadClock(t *testing.T) {
	w := newWorld(3, 3, io.Discard)
	var wall wallClock
	for _, s := range w.nodes {
		id := s.loop.id
		s.loop.cfg.Wall = func(now time.Time) int64 { return now.UnixMilli() + wall.shift[id] }
		s.loop.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	lead := func() *stepNode {
		for _, s := range w.nodes {
			if s.loop.core.Role() == raftcore.Leader && s.loop.core.Commit() > 0 {
				return s
			}
		}
		return nil
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 200_000 {
			if ok() {
				return
			}
			w.step()
		}
		t.Fatal(what)
	}
	until("a leader", func() bool { return lead() != nil })
	old := lead()
	// Clocks ride on messages; the transport is not here.
	for _, s := range w.nodes {
		for _, other := range w.nodes {
			m := raftcore.Message{From: other.loop.id, Clock: w.now.UnixMilli()}
			s.loop.clock.observe(&m, w.now.UnixMilli())
		}
		s.loop.clock.tell(w.now.UnixNano(), w.now.UnixMilli())
	}
	before := old.loop.stamp(w.now)
	require.InDelta(t, w.now.UnixMilli(), before, 100)

	wall.shift[old.loop.id] = 3_600_000
	old.loop.clock.tell(w.now.UnixNano(), old.loop.cfg.Wall(w.now)) // the next turn begins
	require.InDelta(t, w.now.UnixMilli(), old.loop.stamp(w.now), 100, "not even the first stamp is wrong")
	until("another leader", func() bool { return lead() != nil && lead() != old })
	require.True(t, old.loop.clock.unfit)

	wall.shift[old.loop.id] = 0
	old.loop.clock.tell(w.now.UnixNano(), old.loop.cfg.Wall(w.now))
	until("the clock is noticed to be right", func() bool { return !old.loop.clock.unfit })
}
