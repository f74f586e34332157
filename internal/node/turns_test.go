package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller that finds news without end goes back to its own work; the news is taken by
// the clock's goroutine.
func TestFlushReturnsWhileNewsKeepsComing(t *testing.T) {
	n := newTestCluster(t, 1, nil).leader()
	var stop atomic.Bool
	var turned atomic.Int64
	var again func(*loop)
	again = func(*loop) {
		turned.Add(1)
		if !stop.Load() {
			n.inbox.add(func(in *input) { in.calls = append(in.calls, again) })
		}
	}
	n.inbox.add(func(in *input) { in.calls = append(in.calls, again) })
	back := make(chan struct{})
	go func() { defer close(back); n.Flush() }()
	select {
	case <-back:
	case <-time.After(10 * time.Second):
		t.Error("Flush was kept busy by the news of others")
	}
	before := turned.Load()
	require.Eventually(t, func() bool { return turned.Load() > before }, 10*time.Second, time.Millisecond, "nobody goes on")
	stop.Store(true)
	<-back
}
