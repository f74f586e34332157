package resp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// fakeNode is a Backend over a lone store: it applies what is proposed on one
// goroutine, in order, as a node does. It can hold proposals back, refuse them and
// pretend to be saturated; it never loses, repeats or reorders anything.
type fakeNode struct {
	store   *kv.Store
	session uint64

	mu      sync.Mutex
	inbox   []*kv.Chunk
	left    []*kv.Chunk // clients that left while something was in flight
	ticks   []fakeTick
	calls   []func()
	subsMu  sync.Mutex
	subs    map[kv.Subscription]int // Count is 0 in the key
	wake    chan struct{}
	done    chan struct{}
	waiting map[uint64]*kv.Chunk

	hold        atomic.Bool   // proposals wait
	refuse      atomic.Value  // error for the next proposals, if not empty
	full        atomic.Bool   // saturated
	lonely      atomic.Bool   // knows no leader
	dead        atomic.Uint64 // a member that answers nobody
	follows     atomic.Uint64 // another member that leads
	lateBy      atomic.Int64  // barriers take so long, ns
	barriers    atomic.Int64
	proposals   atomic.Int64
	releases    atomic.Int64
	ticksAsked  atomic.Int64
	clientCalls func([]string) (int64, error)
	leaves      atomic.Int64 // calls of Leave that took effect
	offset      atomic.Int64 // added to the clock
	failBarrier atomic.Bool  // the next barrier fails
	lease       atomic.Uint64
	leaseOver   atomic.Bool // leases turn out to be over once something was read
	leaseChecks atomic.Int64
	panicNow    atomic.Bool // Subscriptions panics once: a bug in a handler; the loop's tick does not call it

	index, seq, seed uint64
	role             atomic.Value
}

type fakeTick struct {
	now  int64
	done func(error)
}

func newFakeNode() *fakeNode {
	n := &fakeNode{
		store: kv.New(kv.Options{HashSeed: 7}), wake: make(chan struct{}, 1), done: make(chan struct{}),
		waiting: make(map[uint64]*kv.Chunk), subs: make(map[kv.Subscription]int),
	}
	n.role.Store("leader")
	n.refuse.Store("")
	n.store.CountReceivers(n.receivers)
	var c kv.Chunk
	c.AppendOpen(1, 1, 1)
	n.apply(kv.AppendUnit(nil, kv.UnitHeader{Ops: uint64(c.NumOps)}, c.Ops))
	n.session, _ = n.store.SessionOf(1, 1)
	go n.run()
	return n
}

func (n *fakeNode) stop() { close(n.done) }

func (n *fakeNode) run() {
	for {
		select {
		case <-n.done:
			return
		case <-n.wake:
		case <-time.After(5 * time.Millisecond): // held proposals
		}
		n.mu.Lock()
		if n.hold.Load() { // looked at under the lock: what is proposed after hold was set stays
			n.mu.Unlock()
			continue
		}
		chunks, ticks, left, calls := n.inbox, n.ticks, n.left, n.calls
		n.inbox, n.ticks, n.left, n.calls = nil, nil, nil, nil
		n.mu.Unlock()
		n.turn(chunks, ticks)
		for _, f := range calls {
			f()
		}
		for _, c := range left {
			if n.waiting[c.Seq] == c {
				leave := &kv.Chunk{Waiter: unblockWaiter(func(bool, error) {})}
				leave.AppendUnblock(c.Seq, kv.UnblockTimeout)
				n.turn([]*kv.Chunk{leave}, nil)
			}
			n.leaves.Add(1)
		}
		if at, ok := n.store.NextTimeout(); ok && at <= n.Now() {
			n.apply()
		}
	}
}

func (n *fakeNode) turn(chunks []*kv.Chunk, ticks []fakeTick) {
	var units [][]byte
	for _, c := range chunks {
		if msg := n.refuse.Load().(string); msg != "" {
			c.Err = errors.New(msg)
			c.Waiter.ChunkDone(c)
			continue
		}
		n.seq++
		n.waiting[n.seq] = c
		units = append(units, kv.AppendUnit(nil,
			kv.UnitHeader{Session: n.session, Seq: n.seq, Low: n.seq, User: c.User, Ops: uint64(c.NumOps)}, c.Ops))
	}
	if len(units) > 0 || len(ticks) > 0 {
		n.apply(units...)
	}
	for _, t := range ticks {
		t.done(nil)
	}
}

func (n *fakeNode) apply(units ...[]byte) {
	n.index++
	n.seed++
	body := kv.BuildEntry(kv.EntryHeader{Stamp: n.Now(), Seed: n.seed, Level: kv.ApplyLevel}, units...)
	if err := n.store.Apply([]kv.LogEntry{{Index: n.index, Body: body}}, n); err != nil {
		panic(fmt.Sprintf("apply: %v", err))
	}
}

// Chunk and Done implement kv.Owner.
func (n *fakeNode) Chunk(session, seq uint64) *kv.Chunk {
	c := n.waiting[seq]
	delete(n.waiting, seq)
	if c != nil {
		c.Seq = seq
	}
	return c
}

// Blocked implements kv.Owner.
func (n *fakeNode) Blocked(c *kv.Chunk, _ int64) {
	n.waiting[c.Seq] = c
	c.Waiter.(kv.BlockWaiter).ChunkBlocked(c)
}

// ClientCall and ServeClientCalls implement Backend: node 4 is this one over again.
func (n *fakeNode) ClientCall(_ context.Context, node uint64, words []string) (int64, error) {
	if node != 4 {
		return 0, nil
	}
	id, _ := strconv.ParseUint(words[1], 10, 64)
	return n.clientCalls(append([]string{words[0], strconv.FormatUint(id&(1<<40-1)|3<<40, 10)}, words[2:]...))
}

func (n *fakeNode) ServeClientCalls(serve func([]string) (int64, error)) { n.clientCalls = serve }

// Leave implements Backend.
func (n *fakeNode) Leave(c *kv.Chunk) {
	n.mu.Lock()
	n.left = append(n.left, c)
	n.mu.Unlock()
	n.kick()
}

func (n *fakeNode) Done(c *kv.Chunk) { c.Waiter.ChunkDone(c) }

func (n *fakeNode) kick() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *fakeNode) Store() *kv.Store { return n.store }

// Flush implements Backend: a fakeNode takes everything at once.
func (n *fakeNode) Flush() {}

func (n *fakeNode) Release() { n.releases.Add(1) }

// queued is how many proposals are held back.
func (n *fakeNode) queued() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.inbox)
}

func (n *fakeNode) Propose(c *kv.Chunk) {
	n.proposals.Add(1)
	n.mu.Lock()
	n.inbox = append(n.inbox, c)
	n.mu.Unlock()
	n.kick()
}

func (n *fakeNode) ReadBarrier(done func(error)) {
	n.barriers.Add(1)
	if n.failBarrier.Swap(false) {
		done(errors.New("CLUSTERDOWN No leader"))
		return
	}
	if late := n.lateBy.Load(); late > 0 {
		time.AfterFunc(time.Duration(late), func() { done(nil) })
		return
	}
	done(nil)
}

func (n *fakeNode) LeaseRead() (uint64, bool) { l := n.lease.Load(); return l, l != 0 }

func (n *fakeNode) LeaseHolds(lease uint64) bool {
	n.leaseChecks.Add(1)
	return lease == n.lease.Load() && !n.leaseOver.Load()
}

func (n *fakeNode) Tick(now int64, done func(error)) {
	n.ticksAsked.Add(1)
	n.mu.Lock()
	n.ticks = append(n.ticks, fakeTick{now, done})
	n.mu.Unlock()
	n.kick()
}

func (n *fakeNode) Now() int64 { return time.Now().UnixMilli() + n.offset.Load() }

func (n *fakeNode) Saturated() bool { return n.full.Load() }

func (n *fakeNode) WaitReplicas(ctx context.Context, _ uint64, want int, done func(int)) {
	go func() {
		<-ctx.Done()
		done(2)
	}()
}

func (n *fakeNode) Status() Status {
	leader, role := uint64(3), n.role.Load().(string)
	if other := n.follows.Load(); other != 0 {
		leader, role = other, "follower"
	}
	if n.lonely.Load() {
		leader, role = 0, "follower"
	}
	st := Status{
		ID: 3, Role: role, Term: 7, LeaderID: leader, LeaderAddr: "127.0.0.1:6379", FirstIndex: 1,
		LastIndex: 9, DurableIndex: 9, CommitIndex: 9, AppliedIndex: 9, QuorumOK: true,
		ClusterID: "c1", RunID: "0123456789012345678901234567890123456789",
		Members: []Member{
			{ID: 3, PeerAddr: "127.0.0.1:16379", ClientAddr: "127.0.0.1:6379", Voter: true, Self: true,
				ClusterAddr: "127.0.0.1:7379", SentinelAddr: "127.0.0.1:26379"},
			{ID: 4, PeerAddr: "127.0.0.1:16380", ClientAddr: "127.0.0.1:6380", Voter: true, Connected: true,
				ClusterAddr: "127.0.0.1:7380", SentinelAddr: "127.0.0.1:26380", Match: 8, Active: true, State: "replicate"},
			{ID: 5, PeerAddr: "127.0.0.1:16381", ClientAddr: "127.0.0.1:6381", Connected: true,
				ClusterAddr: "h.example:7381", SentinelAddr: "h.example:26381", Match: 7, Active: true, State: "replicate"},
		},
		Matches: []uint64{1 << 40, 1 << 40, 1},
	}
	for i := range st.Members {
		if m := &st.Members[i]; m.ID == n.dead.Load() {
			m.Connected, m.Active = false, false
		}
	}
	return st
}

func (n *fakeNode) AddLearner(_ context.Context, id uint64, _ string) error {
	if id == 13 {
		panic("a bug in an admin command")
	}
	return nil
}
func (n *fakeNode) Remove(context.Context, uint64) error {
	return errors.New("ERR would lose the quorum")
}
func (n *fakeNode) Promote(context.Context, uint64) error            { return nil }
func (n *fakeNode) Transfer(context.Context, uint64) error           { return nil }
func (n *fakeNode) SetPriority(context.Context, uint64, int32) error { return nil }
func (n *fakeNode) SetReadMode(context.Context, string) error        { return nil }
func (n *fakeNode) Snapshot(context.Context) (uint64, error)         { return 9, nil }
func (n *fakeNode) Digest(context.Context) (uint64, string, error)   { return 9, "abcd", nil }

// Publish delivers to this node's listeners, on the goroutine that applies.
func (n *fakeNode) Publish(ps []kv.Publication, done func([]int, error)) {
	n.mu.Lock()
	n.calls = append(n.calls, func() {
		var counts []int
		for _, p := range ps {
			counts = append(counts, n.receivers(p.Shard, p.Channel))
		}
		n.store.Deliver(ps)
		done(counts, nil)
	})
	n.mu.Unlock()
	n.kick()
}

func (n *fakeNode) receivers(shard bool, channel []byte) (count int) {
	n.subsMu.Lock()
	defer n.subsMu.Unlock()
	for x, c := range n.subs {
		switch {
		case x.Kind == kv.SubscribeChannel && !shard, x.Kind == kv.SubscribeShard && shard:
			if x.Name == string(channel) {
				count += c
			}
		case x.Kind == kv.SubscribePattern && !shard && kv.MatchGlob([]byte(x.Name), channel, false):
			count += c
		}
	}
	return count
}

func (n *fakeNode) Announce(list []kv.Subscription, done func()) {
	n.subsMu.Lock()
	for _, x := range list {
		key := kv.Subscription{Kind: x.Kind, Name: x.Name}
		if n.subs[key] = x.Count; x.Count == 0 {
			delete(n.subs, key)
		}
	}
	n.subsMu.Unlock()
	if done != nil {
		go done()
	}
}

func (n *fakeNode) Subscribers(kind kv.SubscriptionKind, name string) int {
	n.subsMu.Lock()
	defer n.subsMu.Unlock()
	return n.subs[kv.Subscription{Kind: kind, Name: name}]
}

func (n *fakeNode) Subscriptions(kind kv.SubscriptionKind) (names []string) {
	if n.panicNow.Swap(false) {
		panic("a bug in a handler")
	}
	n.subsMu.Lock()
	defer n.subsMu.Unlock()
	for x := range n.subs {
		if x.Kind == kind {
			names = append(names, x.Name)
		}
	}
	return names
}

func (n *fakeNode) SubscriptionCount(kind kv.SubscriptionKind) int { return len(n.Subscriptions(kind)) }
