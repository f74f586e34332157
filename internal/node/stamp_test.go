package node

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

func TestPaceGoesOnWithoutADate(t *testing.T) {
	var p stampPace
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	require.EqualValues(t, 5000, p.at(5000, ms(100)))
	last := int64(5000)
	for now := ms(100); now <= ms(8100); now += ms(1) / 10 {
		got := p.at(last, now) // asked ten times in each millisecond, its answer being what is known
		require.GreaterOrEqual(t, got, last)
		last = got
	}
	require.EqualValues(t, 5000+7000, last)
	require.EqualValues(t, 20000, p.at(20000, ms(8200)), "a newer stamp counts")
	require.EqualValues(t, 20000, p.at(19000, ms(8200)))
}

// The clocks of all nodes are set back by an hour while a client waits for a second: it
// waits for a second.
func TestTimeOutAfterTheClocksWereSetBack(t *testing.T) {
	w := newWorld(5, 3, io.Discard)
	var shift int64
	for _, s := range w.nodes {
		s.loop.cfg.Wall = func(now time.Time) int64 { return now.UnixMilli() + shift }
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 400_000 {
			if ok() {
				return
			}
			w.step()
		}
		t.Fatal(what)
	}
	until("a leader", func() bool {
		for _, s := range w.nodes {
			if s.loop.core.Role() == raftcore.Leader && s.loop.origin.opened() {
				return true
			}
		}
		return false
	})
	for _, s := range w.nodes {
		b := begin(s.Node, "blpop queue 1")
		until("blocked", func() bool {
			select {
			case <-b.blocked:
				return true
			default:
				return false
			}
		})
		shift -= 3_600_000
		began := w.now
		var c *kv.Chunk
		until("answered", func() bool {
			select {
			case c = <-b.done:
				return true
			default:
				return false
			}
		})
		require.NoError(t, c.Err)
		require.Equal(t, "N\r\n", string(c.Reply.Bytes()))
		require.InDelta(t, 1150, w.now.Sub(began).Milliseconds(), 800)
	}
}
