package node

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// blockedCall is a client in a blocking command.
type blockedCall struct {
	chunk   *kv.Chunk
	done    chan *kv.Chunk
	blocked chan struct{}
}

func (b *blockedCall) ChunkDone(c *kv.Chunk)  { b.done <- c }
func (b *blockedCall) ChunkBlocked(*kv.Chunk) { close(b.blocked) }

// begin proposes a command and does not wait for its reply.
func begin(n *Node, line string) *blockedCall {
	b := &blockedCall{chunk: &kv.Chunk{}, done: make(chan *kv.Chunk, 1), blocked: make(chan struct{})}
	b.chunk.Waiter = b
	var args [][]byte
	for _, w := range strings.Fields(line) {
		args = append(args, []byte(w))
	}
	b.chunk.AppendOp(kv.Lookup(args[0]), args)
	n.Propose(b.chunk)
	return b
}

// waits requires the call to be blocked.
func (b *blockedCall) waits(t *testing.T) *blockedCall {
	t.Helper()
	select {
	case <-b.blocked:
	case <-time.After(20 * time.Second):
		t.Fatal("not blocked")
	}
	return b
}

func (b *blockedCall) reply(t *testing.T) string {
	t.Helper()
	select {
	case c := <-b.done:
		if c.Err != nil {
			return c.Err.Error()
		}
		return string(c.Reply.Bytes())
	case <-time.After(20 * time.Second):
		t.Fatal("no reply")
	}
	return ""
}

func popped(elem string) string {
	return fmt.Sprintf("*2\r\n$1\r\nq\r\n$%d\r\n%s\r\n", len(elem), elem)
}

// The order of those who wait is one for the cluster, whatever nodes they are on, and
// is served within the push.
func TestBlockedOnAnyNode(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.leader()
	var calls []*blockedCall
	for i := range 9 {
		calls = append(calls, begin(c.nodes[raftcore.NodeID(1+i%3)], "blpop q 0").waits(t))
	}
	for i := range 9 {
		n := c.nodes[raftcore.NodeID(1+(i+1)%3)]
		_, err := do(t, n, "rpush", "q", fmt.Sprint(i))
		require.NoError(t, err)
		require.Equal(t, popped(fmt.Sprint(i)), calls[i].reply(t))
		r, err := do(t, n, "lpop", "q")
		require.NoError(t, err)
		require.Equal(t, "_\r\n", r)
	}
	began := time.Now()
	late := begin(c.others(c.leader())[0], "bzpopmin z 0.2")
	require.Equal(t, "N\r\n", late.reply(t))
	// Stamps are whole milliseconds.
	require.GreaterOrEqual(t, time.Since(began), 199*time.Millisecond)

	gone := begin(c.nodes[1], "blpop q 0").waits(t)
	c.nodes[1].Leave(gone.chunk)
	require.Eventually(t, func() bool { n, _ := c.nodes[1].store.BlockedKeys(); return n == 0 }, 20*time.Second, time.Millisecond)
	c.sameDigests()
}

// Whoever is blocked on a node that stays is served across changes of leader, in
// order; whoever was blocked on a node that died gets nothing, and nothing is lost.
func TestBlockedAcrossLeaders(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	for round := range 3 {
		old := c.leader()
		home := c.others(old)[0]
		dead := begin(old, "blpop q 0").waits(t) // the first in line
		first, second := begin(home, "blpop q 0").waits(t), begin(home, "blpop q 0").waits(t)
		id := c.kill(old)
		require.Contains(t, dead.reply(t), "TIMEOUT")
		for i, b := range []*blockedCall{first, second} {
			elem := fmt.Sprint(round, ".", i)
			_, err := do(t, home, "rpush", "q", elem)
			require.NoError(t, err)
			require.Equal(t, popped(elem), b.reply(t))
		}
		_, err := do(t, home, "rpush", "q", "left")
		require.NoError(t, err)
		c.restart(id)
		require.Eventually(t, func() bool { return c.nodes[id].Status().Applied >= home.Status().Commit }, 20*time.Second, 5*time.Millisecond)
		r, err := do(t, c.nodes[id], "lpop", "q")
		require.NoError(t, err)
		require.Equal(t, "$4\r\nleft\r\n", r, "no element goes to a client of a dead node")
	}
	require.Eventually(t, func() bool { n, _ := c.leader().store.BlockedKeys(); return n == 0 }, 20*time.Second, 5*time.Millisecond)
}

// Many poppers on a node that stays, pushers on it, too, leaders killed meanwhile: each
// element is popped once.
func TestQueueAcrossLeaders(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	home := c.others(c.leader())[0]
	const poppers = 8
	var mu sync.Mutex
	count := map[string]int{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range poppers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				b := begin(home, "blpop q 1")
				r := b.reply(t)
				mu.Lock()
				if strings.HasPrefix(r, "*2") {
					count[r]++
				}
				mu.Unlock()
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	pushed := 0
	push := func(n int) {
		for range n {
			if _, err := do(t, home, "rpush", "q", fmt.Sprint(pushed)); err == nil {
				pushed++
				continue
			}
			t.Error("a push through a node that stays failed")
			return
		}
	}
	for range 2 {
		push(40)
		leader := c.leader()
		if leader == home {
			// It is tried again if it took too long; and the old leader's status may be a turn old.
			require.Eventually(t, func() bool {
				if home.Transfer(t.Context(), 0) != nil {
					return false
				}
				leader = c.leader()
				return leader != home
			}, 20*time.Second, 5*time.Millisecond)
		}
		id := c.kill(leader)
		push(40)
		c.restart(id)
		push(40)
	}
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(count) == pushed }, 20*time.Second, 5*time.Millisecond)
	close(stop)
	wg.Wait()
	for r, n := range count {
		require.Equal(t, 1, n, r)
	}
	require.Equal(t, pushed, len(count))
}

// A node that cannot hear from the others tells its clients, late, that it does not know.
func TestBlockedOnANodeThatIsCutOff(t *testing.T) {
	o := newOrigin(maxBatchBytes)
	w := &lastError{}
	c := &kv.Chunk{Waiter: w}
	o.add(c, time.Time{})
	o.open(5)
	o.bytes.Add(int64(chunkBytes(c)))
	o.ring[0].exposed = true
	require.Same(t, c, o.Chunk(5, 1))
	o.Blocked(c, 1000)
	require.Zero(t, o.bytes.Load())
	require.EqualValues(t, 2, o.base, "a client that waits does not hold low back")
	o.expireBlocked(1000+4999, 5*time.Second)
	require.NoError(t, w.err)
	o.expireBlocked(1000+5001, 5*time.Second)
	require.Equal(t, errUnknownOutcome, w.err)
	require.Nil(t, o.Chunk(5, 1))
	require.Len(t, o.leaving, 1)
}

// After a snapshot the table of waiters tells who still waits.
func TestReconcileBlocked(t *testing.T) {
	o := newOrigin(maxBatchBytes)
	still, over := &lastError{}, &lastError{}
	for _, w := range []*lastError{still, over} {
		c := &kv.Chunk{Waiter: w}
		o.add(c, time.Time{})
		o.open(5)
		o.Blocked(o.Chunk(5, c.Seq), 0)
	}
	fresh := &lastError{}
	c := &kv.Chunk{Waiter: fresh}
	o.add(c, time.Time{})
	o.reconcile(func(_, seq uint64) kv.SeqState {
		return map[uint64]kv.SeqState{1: kv.SeqWaiting, 2: kv.SeqApplied, 3: kv.SeqWaiting}[seq]
	})
	require.NoError(t, still.err)
	require.Equal(t, errReplyLost, over.err)
	require.NoError(t, fresh.err)
	require.Same(t, c, o.Chunk(5, 3))
	require.Zero(t, o.outstanding())
}

// What a dead process sent before may be read after its connection broke; elements must
// not be popped for its clients because of that.
func TestBufferedMessagesAreNoPresence(t *testing.T) {
	var p presence
	now, second := time.Unix(1, 0), process{20, 2}
	p.saw(2, now)
	require.True(t, p.here(2, second, now, time.Second))
	p.connection(2, false, second)
	p.saw(2, now)
	require.False(t, p.here(2, second, now, time.Second), "the connection is broken")
	p.connection(2, true, second)
	require.True(t, p.here(2, second, now, time.Second))
	require.False(t, p.here(2, second, now.Add(time.Second), time.Second), "nothing was heard for so long")
}

// A process that came back does not speak for the one before: what is pushed before it
// opened its own session must not be popped for clients of the old one.
func TestANewProcessIsNotThePresenceOfTheOldOne(t *testing.T) {
	var p presence
	now, first, second := time.Unix(1, 0), process{20, 1}, process{20, 2}
	p.connection(2, true, first)
	p.saw(2, now)
	require.True(t, p.here(2, first, now, time.Second))
	p.connection(2, false, first)
	p.connection(2, true, second)
	p.saw(2, now)
	require.False(t, p.here(2, first, now, time.Second))
	require.True(t, p.here(2, second, now, time.Second))
	require.True(t, p.here(2, process{30, 1}, now, time.Second), "boots of two directories are not compared")
}
