package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// paced is a pace whose surroundings the test sets.
type paced struct {
	pace
	requested   uint64
	held, live  int64
	bytes, room int64
	idled       time.Duration
}

func newPaced() *paced {
	p := &paced{live: 1 << 30, room: 1 << 28}
	p.requests = func() uint64 { return p.requested }
	p.memory = func() (int64, int64, bool) { return p.held, p.live, true }
	p.log = func() (int64, int64) { return p.bytes, p.room }
	return p
}

// next is the answer after clients have asked for something.
func (p *paced) next(requests uint64) float64 {
	p.requested += requests
	p.looked = p.looked.Add(-paceInterval)
	return p.Share()
}

// A snapshot rests most of the time while clients ask for anything.
func TestPaceOfASnapshot(t *testing.T) {
	p := newPaced()
	require.Equal(t, idleShare, p.Share())
	p.requested = 100
	p.looked = p.looked.Add(time.Hour) // a moment ago, however long this test was held up
	require.Equal(t, idleShare, p.Share(), "looked at a moment ago")
	p.looked = p.looked.Add(-time.Hour)
	require.Equal(t, busyShare, p.next(0))
	require.Equal(t, idleShare, p.next(1), "a heartbeat's worth")
	end := p.load()
	require.Equal(t, loadShare, p.next(0))
	end()
	require.Equal(t, idleShare, p.next(0))
}

// It hurries as what it keeps grows, of the old state and of the log.
func TestPaceOfASnapshotThatKeepsTooMuch(t *testing.T) {
	p := newPaced()
	p.held = p.live * 3 / 20
	require.InDelta(t, busyShare, p.next(100), 0.01)
	p.held = p.live / 4
	require.InDelta(t, 0.55, p.next(100), 0.01)
	p.held = p.live * 2 / 5
	require.Equal(t, 1.0, p.next(100))
	p.held, p.live = 1<<20, 1<<10
	require.InDelta(t, busyShare, p.next(100), 0.01, "a small store need not hurry")

	p = newPaced()
	p.bytes = 2 * p.room
	require.InDelta(t, busyShare, p.next(100), 0.01)
	p.bytes = 3 * p.room
	require.InDelta(t, 0.55, p.next(100), 0.01)
	p.bytes = 4 * p.room
	require.Equal(t, 1.0, p.next(100))
}

// What the machine has to spare is taken, in part.
func TestPaceOnAMachineThatIsFree(t *testing.T) {
	p := newPaced()
	// Reckoned when it is asked for, and over most of what counts as one stretch: a test that
	// is held up for a moment finds the same figure.
	processors := 0.0
	p.idle = func() time.Duration {
		p.idled += time.Duration(processors * float64(time.Since(p.free.at)))
		return p.idled
	}
	require.Equal(t, idleShare, p.next(0), "the first look")
	free := func(n float64) {
		processors = n
		p.free.at = p.free.at.Add(-5 * freeInterval)
	}
	free(0.4)
	require.Equal(t, busyShare, p.next(100), "two processors with three nodes on them")
	free(2)
	require.InDelta(t, 0.25, p.next(100), 0.01)
	free(30)
	require.Equal(t, mostBusyShare, p.next(100), "the hot path has few")
	defer p.load()()
	require.Equal(t, mostLoadShare, p.next(100))
	free(1.5)
	require.InDelta(t, 0.42, p.next(100), 0.01, "a machine of its own")
	free(0.4)
	require.InDelta(t, loadShare, p.next(100), 0.01)
	p.free.at = p.free.at.Add(-time.Hour)
	p.idled += 10 * time.Hour
	require.InDelta(t, loadShare, p.next(100), 0.01, "what was idle since the last snapshot says nothing")
}

// Who lags is fed at once when nobody minds.
func TestPaceOfWhoLags(t *testing.T) {
	p := newPaced()
	rate := func(requests uint64, free float64) int64 {
		p.requested += requests
		p.looked = p.looked.Add(-paceInterval)
		p.free.free = free
		return p.catchUpRate()
	}
	require.Zero(t, rate(0, 0.1), "nobody asks for anything")
	require.InDelta(t, loadShare*catchUpBytes, rate(100, 0.1), 1)
	require.InDelta(t, 0.15*catchUpBytes, rate(100, 0.7), 1)
	require.InDelta(t, 0.15*catchUpBytes, rate(0, 0.7), 1, "clients take breath")
	p.asked = p.asked.Add(-2 * freeInterval)
	require.Zero(t, rate(0, 0.7), "they are gone")
	require.Zero(t, rate(100, 1), "a processor is free")
}

// A node that applies what it missed is done within a minute or so, wherever it is.
func TestPaceOfAReplay(t *testing.T) {
	p := newPaced()
	p.looked = time.Now().Add(time.Hour) // this test says what is free
	now := time.Unix(1000, 0)
	share := func(free float64, lag uint64) float64 {
		p.free.free, p.free.at = free, p.free.at.Add(freeInterval)
		return p.replayShare(now, lag)
	}
	require.Equal(t, leastReplayShare, share(0.1, 1000))
	require.InDelta(t, 0.25, share(0.8, 1000), 0.01)
	require.Equal(t, leastReplayShare, share(0, 1000))
	require.Equal(t, 1.0, share(1.2, 1000), "a machine of its own")
	require.Equal(t, 1.0, share(0.4, 1000), "it is this work that takes the rest")
	require.Equal(t, 1.0, p.replayShare(now, 1000), "until what is free is measured again")
	require.InDelta(t, 0.28, share(0.1, 1000), 0.01, "it is not any more")
	require.Equal(t, leastReplayShare, share(0.1, 1000))

	now = now.Add(time.Second)
	require.Equal(t, leastReplayShare, share(0, 980), "fast enough")
	now = now.Add(time.Second)
	require.Equal(t, 2*leastReplayShare, share(0, 970), "too slow")
	now = now.Add(time.Second)
	require.Equal(t, 4*leastReplayShare, share(0, 975))
	now = now.Add(time.Second)
	require.Equal(t, 1.0, share(0, 975))
}

func TestRestsAreBounded(t *testing.T) {
	require.Zero(t, restAfter(time.Second, 1))
	require.InDelta(t, 8*time.Millisecond, restAfter(2*time.Millisecond, 0.2), float64(time.Microsecond))
	require.Equal(t, longestRest, restAfter(time.Hour, 0.2), "one command that took long")
}
