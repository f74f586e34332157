package node

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// world runs whole nodes on one goroutine: the production loop, syncer, applier and
// log, with a virtual clock, a network that reorders, and memory disks. What runs
// next is drawn from a seed (docs/adr/0003).
type world struct {
	rng   *rand.Rand
	now   time.Time
	nodes []*stepNode
	net   []func() // frames under way
	trace io.Writer
}

// stepNode is a Node without goroutines: effects queue, the world performs.
type stepNode struct {
	*Node
	w    *world
	loop *loop
	jobs []func()
}

func (s *stepNode) later(f func()) { s.jobs = append(s.jobs, f) }

func (s *stepNode) save(x *raftcore.Save) {
	s.later(func() { must(s.syncer.do([]syncJob{{save: x}})) })
}

func (s *stepNode) apply(es []raftcore.Entry) {
	s.later(func() { must(s.applier.do([]applyJob{{entries: es}})); s.applier.publish(); s.applier.applied() })
}

func (s *stepNode) fetch(f raftcore.Fetch) {
	s.later(func() { e, err := s.wal.Entries(f.Lo, f.Hi, f.MaxBytes); s.fetcher.done(fetched{f, e, err}) })
}

func (s *stepNode) send(ms []raftcore.Message) {
	for _, m := range ms {
		m.Incarnation = uint64(s.loop.id)
		s.w.net = append(s.w.net, func() { s.w.node(m.To).HandleMessages(m.From, []raftcore.Message{m}) })
	}
}

func (s *stepNode) sendUnits(to raftcore.NodeID, us []transport.Unit) bool {
	s.w.net = append(s.w.net, func() { s.w.node(to).HandleUnits(s.loop.id, us) })
	return true
}

func (s *stepNode) sendRefused(to raftcore.NodeID, seqs []uint64) {
	s.w.net = append(s.w.net, func() { s.w.node(to).HandleRefused(s.loop.id, seqs) })
}
func (s *stepNode) sendNote(to raftcore.NodeID, note []byte) bool {
	s.w.net = append(s.w.net, func() { s.w.node(to).HandleNotes(s.loop.id, [][]byte{note}) })
	return true
}

func (s *stepNode) deliver(ps []kv.Publication) {
	s.later(func() { must(s.applier.do([]applyJob{{deliver: ps}})) })
}

func (s *stepNode) restore(raftcore.SnapshotMeta)      {}
func (s *stepNode) compact(uint64)                     {}
func (s *stepNode) sendSnapshot(raftcore.NodeID)       {}
func (s *stepNode) setPeers(raftcore.Membership, bool) {}
func (s *stepNode) askPeers([]string)                  {}
func (s *stepNode) introduce([]string)                 {}
func (s *stepNode) takeSnapshot()                      {}
func (s *stepNode) wakeIn(time.Duration)               {}
func (s *stepNode) met(raftcore.NodeID) process        { return process{} }
func (s *stepNode) syncAge(time.Time) time.Duration    { return 0 }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) node(id raftcore.NodeID) *stepNode { return w.nodes[id-1] }

func newWorld(seed uint64, n int, trace io.Writer) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1e12), trace: trace}
	g := &Genesis{}
	for i := 1; i <= n; i++ {
		g.Members = append(g.Members, raftcore.Member{ID: raftcore.NodeID(i), Incarnation: uint64(i), PeerAddr: fmt.Sprintf("node%d:1", i)})
	}
	for i := 1; i <= n; i++ {
		cfg := Config{FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return w.now }}
		must(cfg.fill())
		node := &Node{cfg: cfg, log: cfg.Logger, origin: newOrigin(maxBatchBytes), inbox: newInbox(),
			identity: &Identity{Node: raftcore.NodeID(i), Incarnation: uint64(i), Boot: 1, Genesis: g}}
		node.store = kv.New(kv.Options{HashSeed: 1})
		wal, rec, err := segmentlog.Open(segmentlog.Options{FS: cfg.FS, Dir: "log", SegmentSize: 1 << 20, Inline: true, LogID: 1, Logger: cfg.Logger})
		must(err)
		node.wal = wal
		meta := raftcore.SnapshotMeta{Membership: g.Membership()}
		core, err := node.newCore(rec, meta)
		must(err)
		node.wire(core, meta)
		node.running.Store(true)
		s := &stepNode{Node: node, w: w, loop: node.first}
		s.loop.fx, s.loop.gauges, s.loop.dice = s, s, dice(i)
		w.nodes = append(w.nodes, s)
	}
	return w
}

// step lets one thing happen: a node's turn, a finished job, an arriving frame.
func (w *world) step() {
	s := w.nodes[w.rng.IntN(len(w.nodes))]
	switch k := w.rng.IntN(10); {
	case k < 4 && len(w.net) > 0:
		i := w.rng.IntN(len(w.net))
		f := w.net[i]
		w.net = append(w.net[:i], w.net[i+1:]...)
		f()
	case k < 7 && len(s.jobs) > 0:
		f := s.jobs[0]
		s.jobs = s.jobs[1:]
		f()
	default:
		w.now = w.now.Add(time.Millisecond)
		in := s.inbox.take()
		in.elapsed = w.rng.IntN(2)
		s.loop.turn(in, w.now)
	}
	c := s.loop.core
	fmt.Fprintln(w.trace, s.loop.id, c.Role(), c.Term(), c.Commit(), s.applied(), len(w.net))
}

// runSeed increments one counter through every node and returns the trace's hash.
func runSeed(t *testing.T, seed uint64, perNode int) [32]byte {
	trace := sha256.New()
	w := newWorld(seed, 3, trace)
	answered := 0
	for _, n := range w.nodes {
		for range perNode {
			c := &kv.Chunk{Waiter: countWaiter{&answered, t}}
			c.AppendOp(kv.Lookup([]byte("incr")), [][]byte{[]byte("incr"), []byte("n")})
			n.Propose(c)
		}
	}
	for steps := 0; answered < 3*perNode; steps++ {
		require.Less(t, steps, 200_000, "seed %d: no progress", seed)
		w.step()
		for _, n := range w.nodes {
			require.NoError(t, n.loop.core.CheckInvariants(), "seed %d", seed)
		}
	}
	for steps := 0; w.nodes[0].applied() != w.nodes[1].applied() || w.nodes[1].applied() != w.nodes[2].applied(); steps++ {
		require.Less(t, steps, 200_000, "seed %d: no convergence", seed)
		w.step()
	}
	_, want := w.nodes[0].store.Digest()
	for _, n := range w.nodes {
		_, d := n.store.Digest()
		require.Equal(t, want, d, "seed %d", seed)
		c := &kv.Chunk{}
		c.AddRead(kv.Lookup([]byte("get")), [][]byte{[]byte("get"), []byte("n")})
		n.store.Read(c, 0)
		text := fmt.Sprint(3 * perNode)
		require.Equal(t, fmt.Sprintf("$%d\r\n%s\r\n", len(text), text), string(c.Reply.Bytes()), "seed %d: lost or repeated", seed)
	}
	return [32]byte(trace.Sum(nil))
}

type countWaiter struct {
	n *int
	t *testing.T
}

func (w countWaiter) ChunkDone(c *kv.Chunk) {
	require.NoError(w.t, c.Err)
	*w.n++
}

func TestSchedulerRunsWholeNodes(t *testing.T) {
	for seed := range uint64(30) {
		runSeed(t, seed, 20)
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	require.Equal(t, runSeed(t, 7, 20), runSeed(t, 7, 20))
	require.NotEqual(t, runSeed(t, 7, 20), runSeed(t, 8, 20))
}
