package node

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// ear keeps the messages that reach a node.
type ear struct {
	mu   sync.Mutex
	node *Node
	got  []string
	// early are messages that came before the write they tell of could be read.
	early []string
}

func listenOn(n *Node) *ear {
	e := &ear{node: n}
	n.Store().Listen(e).Want(kv.EffectPublish)
	return e
}

func (e *ear) Effects(f *kv.Effects) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range f.List {
		if x.Kind != kv.EffectPublish {
			continue
		}
		text := string(x.Value)
		e.got = append(e.got, text)
		if key, ok := cutPrefix(text, "wrote "); ok && !e.holds(key) {
			e.early = append(e.early, text)
		}
	}
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return "", false
}

func (e *ear) holds(key string) bool {
	c := &kv.Chunk{}
	c.AddRead(kv.Lookup([]byte("get")), [][]byte{[]byte("get"), []byte(key)})
	e.node.Store().Read(c, 0)
	return string(c.Reply.Bytes()) != "_\r\n"
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

// publish publishes one message and returns how many clients listen.
func publish(n *Node, channel, message string) (int, error) {
	type answer struct {
		n   []int
		err error
	}
	ch := make(chan answer, 1)
	n.Publish([]kv.Publication{{Channel: []byte(channel), Message: []byte(message)}}, func(r []int, err error) { ch <- answer{r, err} })
	a := <-ch
	if a.err != nil {
		return 0, a.err
	}
	return a.n[0], nil
}

func announce(n *Node, list ...kv.Subscription) {
	done := make(chan struct{})
	n.Announce(list, func() { close(done) })
	<-done
}

// Publishers on all nodes, plain and in transactions of the log; every node hears the
// same in the same order, and never of a write that it cannot read.
func TestPublicationsHaveOneOrder(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.leader()
	ears := map[raftcore.NodeID]*ear{}
	for id, n := range c.nodes {
		ears[id] = listenOn(n)
	}
	const each = 60
	var wg sync.WaitGroup
	for id, n := range c.nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				key := fmt.Sprintf("k-%d-%d", id, i)
				_, err := do(t, n, "set", key, "1")
				require.NoError(t, err)
				_, err = publish(n, "ch", "wrote "+key)
				require.NoError(t, err)
			}
		}()
	}
	wg.Wait()
	for id, e := range ears {
		eventually(t, func() bool { return len(e.heard()) == 3*each }, "node %d has heard everything", id)
	}
	for id, e := range ears {
		require.Equal(t, ears[1].heard(), e.heard(), "node %d", id)
		require.Empty(t, e.early)
	}
}

func eventually(t *testing.T, ok func() bool, msg string, args ...any) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, 5*time.Millisecond, append([]any{msg}, args...)...)
}

// What a client was told it listens to is counted, whichever node it is on.
func TestSubscribersAreCountedClusterWide(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	for _, n := range c.nodes { // who knows no leader, or is not connected with it, waits for nobody
		_, err := do(t, n, "set", "k", "v")
		require.NoError(t, err)
	}
	// told announces and, if nobody had the patience to wait for the leader's word, waits for
	// the nodes to have so many listeners.
	told := func(n *Node, listeners int, list ...kv.Subscription) {
		began := time.Now()
		announce(n, list...)
		if time.Since(began) < announcePatience {
			return
		}
		for _, other := range c.nodes {
			eventually(t, func() bool { return other.Subscribers(kv.SubscribeChannel, "news") == listeners }, "all nodes know")
		}
	}
	listeners := 0
	for id, n := range c.nodes {
		listeners += int(id)
		told(n, listeners, kv.Subscription{Kind: kv.SubscribeChannel, Name: "news", Count: int(id)},
			kv.Subscription{Kind: kv.SubscribePattern, Name: "n*", Count: 1})
	}
	for _, n := range c.nodes {
		got, err := publish(n, "news", "x")
		require.NoError(t, err)
		require.Equal(t, 1+2+3+3, got)
	}
	for _, n := range c.nodes {
		eventually(t, func() bool { return n.Subscribers(kv.SubscribeChannel, "news") == 6 }, "all nodes know")
		require.Equal(t, []string{"n*"}, n.Subscriptions(kv.SubscribePattern))
	}
	told(c.nodes[2], 1+3, kv.Subscription{Kind: kv.SubscribeChannel, Name: "news"})
	got, err := publish(c.nodes[3], "news", "x")
	require.NoError(t, err)
	require.Equal(t, 1+3+3, got)

	// A node that is gone listens to nothing.
	require.NoError(t, c.nodes[3].abort())
	delete(c.nodes, 3)
	eventually(t, func() bool { return c.nodes[1].Subscribers(kv.SubscribeChannel, "news") == 1 }, "node 3 is forgotten")
}

// The leader dies amid publications: none fails, none is heard twice, and each node's
// publications keep their order.
func TestPublishingThroughALeadersDeath(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	leader := c.leader()
	ears := map[raftcore.NodeID]*ear{}
	for id, n := range c.nodes {
		ears[id] = listenOn(n)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sent := make(map[raftcore.NodeID]int)
	var mu sync.Mutex
	for id, n := range c.nodes {
		if n == leader {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := publish(n, "ch", fmt.Sprintf("%d %06d", id, i))
				if !assertNoError(t, err) {
					return
				}
				mu.Lock()
				sent[id] = i + 1
				mu.Unlock()
			}
		}()
	}
	reached := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for id, node := range c.nodes {
				if node != leader && sent[id] < n {
					return false
				}
			}
			return true
		}
	}
	eventually(t, reached(50), "before")
	dead := leader.identity.Node
	require.NoError(t, leader.abort())
	mu.Lock()
	before := max(sent[1], sent[2], sent[3])
	delete(c.nodes, dead)
	mu.Unlock()
	eventually(t, reached(before+50), "after")
	close(stop)
	wg.Wait()
	for id := range c.nodes {
		for origin := range c.nodes { // an answer does not wait for the delivery
			last := fmt.Sprintf("%d %06d", origin, sent[origin]-1)
			eventually(t, func() bool { return slices.Contains(ears[id].heard(), last) }, "node %d hears %s", id, last)
		}
		heard := ears[id].heard()
		for origin := range c.nodes {
			var mine []string
			for _, m := range heard {
				if m[0] == byte('0'+origin) {
					mine = append(mine, m)
				}
			}
			require.True(t, slices.IsSorted(mine), "node %d hears node %d in order", id, origin)
			require.Len(t, mine, len(slices.Compact(slices.Clone(mine))), "once")
		}
	}
}

func assertNoError(t *testing.T, err error) bool {
	if err != nil {
		t.Errorf("publish: %v", err)
	}
	return err == nil
}

func TestPublishWithoutALeader(t *testing.T) {
	c := newTestCluster(t, 3, func(cfg *Config) { cfg.ParkTimeout = 300 * time.Millisecond })
	leader := c.leader()
	for id, n := range c.nodes {
		if n != leader {
			require.NoError(t, n.abort())
			delete(c.nodes, id)
		}
	}
	eventually(t, func() bool { return leader.Status().Leader == 0 }, "it steps down")
	_, err := publish(leader, "ch", "m")
	require.ErrorIs(t, err, errNoLeader)
	require.NoError(t, leader.Close(context.Background()))
	_, err = publish(leader, "ch", "m")
	require.ErrorIs(t, err, errStopped)
	announce(leader, kv.Subscription{Name: "x", Count: 1}) // returns
}

// noteSink takes notes and peers, and does nothing else.
type noteSink struct{ effects }

func (noteSink) sendNote(raftcore.NodeID, []byte) bool { return true }

// A client that subscribes before the connection to the leader is up waits for the leader
// to know it, too, or a PUBLISH behind it in its pipeline would not count it.
func TestSubscriberWaitsForALeaderThatIsNotConnectedYet(t *testing.T) {
	w := newWorld(1, 3, io.Discard)
	l := w.node(1).loop
	l.fx = noteSink{}
	l.core.Step(raftcore.Message{Type: raftcore.MsgHeartbeat, From: 2, To: 1, Term: 1, Incarnation: 2})
	require.EqualValues(t, 2, l.core.Leader())
	known := 0
	l.announceListening([]kv.Subscription{{Name: "x", Count: 1}}, func() { known++ })
	require.Zero(t, known)
	l.peerOfListeners(2, true)
	require.Zero(t, known)
	l.heard(2, l.pubsub.version)
	require.Equal(t, 1, known)

	l.announceListening([]kv.Subscription{{Name: "y", Count: 1}}, func() { known++ })
	l.pubsub.expire(w.now.Add(2 * announcePatience))
	require.Equal(t, 2, known, "and not for long")
}

// settle lets everything arrive that the nodes have to say, in order.
func (w *world) settle(t *testing.T) {
	for range 1000 {
		for _, s := range w.nodes {
			s.loop.turn(s.inbox.take(), w.now)
		}
		if len(w.net) == 0 {
			return
		}
		f := w.net[0]
		w.net = w.net[1:]
		f()
	}
	t.Fatal("they never stop talking")
}

// The ends of a connection learn that it is up at different times, one of them maybe
// before it runs, and drop what comes before. Both must know everything in the end.
func TestConnectionsThatComeUpAtDifferentTimes(t *testing.T) {
	for _, first := range []raftcore.NodeID{1, 2} {
		w := newWorld(1, 2, io.Discard)
		early, late := w.node(first), w.node(3-first)
		for _, s := range w.nodes {
			s.loop.pubsub.subs = newSubscriptions()
			s.loop.neighbours.own = Addresses{Cluster: fmt.Sprint("cluster of ", s.loop.id)}
			s.loop.announceListening([]kv.Subscription{{Kind: kv.SubscribeChannel, Name: "news", Count: int(s.loop.id)}}, nil)
		}
		late.running.Store(false)
		early.PeerChanged(late.loop.id, true)
		w.settle(t)
		late.PeerChanged(early.loop.id, true)
		late.running.Store(true)
		w.settle(t)
		for _, s := range w.nodes {
			other := 3 - s.loop.id
			require.Equal(t, 3, s.loop.pubsub.subs.receivers(false, []byte("news")), "node %d counts both", s.loop.id)
			require.Equal(t, fmt.Sprint("cluster of ", other), s.loop.neighbours.known[other].Cluster)
			require.True(t, s.loop.neighbours.known[other].Connected)
			require.Contains(t, s.loop.pubsub.peers, other, "publications go there")
		}
	}
}

func TestNotesAreNotTrusted(t *testing.T) {
	l := &loop{pubsub: pubsub{subs: newSubscriptions()}}
	good := (&delivery{term: 1, from: publicationID{origin: 2}, ps: []kv.Publication{{Channel: []byte("c"), Message: []byte("m")}}}).append(nil)
	for n := range good {
		require.Error(t, l.note(2, good[:n]), "%d bytes", n)
	}
	require.Error(t, l.note(2, append(slices.Clone(good), 0)))
	require.Error(t, l.note(2, []byte{99}))
	require.Error(t, l.note(2, []byte{byte(noteListening), 1, 1, 0xff, 0xff, 0xff, 0x7f}))
}
