package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
)

// bareWorld is a world of machines on which nothing runs.
func bareWorld(machines int) *world {
	w := &world{rng: rand.New(rand.NewPCG(1, 2)), stats: newStats()}
	w.net = network{w: w, links: map[linkID]*link{}}
	w.judge = newJudge(w)
	w.opt.election, w.opt.disk = 300*time.Millisecond, 60*time.Millisecond
	for range machines {
		w.addMachine(false).gone = true
	}
	return w
}

// Seed 105368: a frame of heartbeats that was to come seconds later held up all the
// heartbeats after the heal, and a leader lost its quorum although nothing was wrong.
func TestHealLeavesNoQueueBehindDelayedFrames(t *testing.T) {
	w := bareWorld(2)
	l := w.net.link(1, 2)
	l.clog = w.now + 4*time.Second
	l.last[laneControl] = w.now + 3*time.Second
	w.heal()
	require.Zero(t, l.clog)
	require.Equal(t, [lanes]time.Duration{}, l.last)
}

// Seeds 108994 and 201631: a slow disk took longer than an election timeout after the
// heal. The leader handed over, as it should, and was said to have been deposed.
func TestHealedDisksDoNotHang(t *testing.T) {
	w := bareWorld(1)
	m, longest := w.machines[0], time.Duration(0)
	for range 5000 {
		longest = max(longest, m.diskTime())
	}
	require.Greater(t, longest, w.opt.election, "a slow disk may hang while there are faults")
	w.heal()
	for range 5000 {
		require.LessOrEqual(t, m.diskTime(), w.opt.election/2)
	}
}

// Seed 107987: several saves go to the disk with one write and one sync, and each was
// taken for a write. So a zeroed sector hit the middle of the last write, which is
// what a power cut leaves.
func TestSavesSyncedAtOnceAreOneWrite(t *testing.T) {
	w := bareWorld(1)
	p := &proc{w: w, m: w.machines[0]}
	save := func(index uint64) node.SyncItem {
		return node.SyncItem{Save: &raftcore.Save{Entries: []raftcore.Entry{{Index: index, Term: 1, Body: make([]byte, 100)}}}}
	}
	w.judge.saved(p, []node.SyncItem{save(1)})
	first := p.m.batches[0]
	require.Greater(t, first, int64(100))
	w.judge.saved(p, []node.SyncItem{save(2), save(3), save(4)})
	require.Equal(t, [2]int64{3 * first, first}, p.m.batches)
	vote := node.SyncItem{Save: &raftcore.Save{HardState: &raftcore.HardState{Term: 2}}}
	w.judge.saved(p, []node.SyncItem{vote})
	require.Equal(t, [2]int64{3 * first, first}, p.m.batches, "no entries, no write to the segment")
	require.EqualValues(t, 4, p.m.held.last())
}
