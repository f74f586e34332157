package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rkvdb/rkv/raftcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPast is that of somebody who was never met.
var testPast = &past{testSecret, noAcquaintances{}, func(uint64) uint64 { return 0 }}

var testSecret = []byte("a long and random cluster secret")

// testNode is a transport with a handler that writes down what it is told.
type testNode struct {
	*Transport
	id Identity

	mu       sync.Mutex
	ms       []raftcore.Message
	calls    int // of HandleMessages
	units    []Unit
	refused  []uint64
	notes    [][]byte
	ups      map[raftcore.NodeID]bool
	upEvents []bool
	refusals []Reason
	snapshot snapshotFunc
	call     callFunc
	block    chan struct{} // non-nil: HandleMessages and HandleUnits wait for it
}

func (n *testNode) wait() {
	n.mu.Lock()
	ch := n.block
	n.mu.Unlock()
	if ch != nil {
		<-ch
	}
}

type (
	snapshotFunc = func(SnapshotOffer, SnapshotStream) error
	callFunc     = func(req []byte) ([]byte, error)
)

func (n *testNode) onSnapshot(f snapshotFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.snapshot = f
}

func (n *testNode) onCall(f callFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.call = f
}

// unblock lets the handler run from now on.
func (n *testNode) unblock() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.block != nil {
		close(n.block)
		n.block = nil
	}
}

func (n *testNode) HandleMessages(from raftcore.NodeID, ms []raftcore.Message) {
	if ms[0].Type == raftcore.MsgAppend {
		n.wait()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	n.ms = append(n.ms, ms...)
}

func (n *testNode) HandleUnits(from raftcore.NodeID, us []Unit) {
	n.wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.units = append(n.units, us...)
}

func (n *testNode) HandleRefused(from raftcore.NodeID, seqs []uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = append(n.refused, seqs...)
}

func (n *testNode) HandleNotes(from raftcore.NodeID, notes [][]byte) {
	n.wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, notes...)
}

func (n *testNode) HandleSnapshot(from raftcore.NodeID, o SnapshotOffer, r SnapshotStream) error {
	f := get(n, func() snapshotFunc { return n.snapshot })
	return f(o, r)
}

func (n *testNode) HandleCall(req []byte) ([]byte, error) {
	return get(n, func() callFunc { return n.call })(req)
}

func (n *testNode) PeerChanged(id raftcore.NodeID, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ups[id] = up
	n.upEvents = append(n.upEvents, up)
}

// get reads a field under the lock.
func get[T any](n *testNode, f func() T) T {
	n.mu.Lock()
	defer n.mu.Unlock()
	return f()
}

func (n *testNode) isUp(id raftcore.NodeID) bool {
	up := get(n, func() bool { return n.ups[id] })
	if !up {
		return false
	}
	for _, p := range n.Stats().Peers {
		if p.ID == id {
			return p.BulkUp
		}
	}
	return false
}

func (n *testNode) received() []raftcore.Message {
	return get(n, func() []raftcore.Message { return append([]raftcore.Message(nil), n.ms...) })
}

func (n *testNode) asPeer() Peer {
	return Peer{n.id.Node, n.id.Incarnation, n.Addr().String()}
}

// newNode starts node id; adjust may change its options or identity first.
func newNode(t testing.TB, id raftcore.NodeID, adjust ...func(*testNode, *Options)) *testNode {
	t.Helper()
	n := &testNode{
		id:  Identity{Node: id, Incarnation: 100 + uint64(id), Boot: 1, ClusterID: [16]byte{1}},
		ups: map[raftcore.NodeID]bool{},
	}
	n.snapshot = func(_ SnapshotOffer, r SnapshotStream) error {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	n.call = func(req []byte) ([]byte, error) { return append([]byte("re: "), req...), nil }
	opts := Options{
		Listen: "127.0.0.1:0", Secret: testSecret, Handler: n,
		Identity: func() Identity { return n.id },
		Clock:    func() int64 { return 1234567 },
		Logger:   slog.New(slog.DiscardHandler),
		OnRefused: func(_ raftcore.NodeID, r Reason) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.refusals = append(n.refusals, r)
		},
		MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	}
	for _, f := range adjust {
		f(n, &opts)
	}
	tr, err := New(opts)
	require.NoError(t, err)
	n.Transport = tr
	tr.Start()
	t.Cleanup(func() { n.unblock(); tr.Close() })
	return n
}

// connect makes all nodes peers of each other and waits until they are up.
func connect(t testing.TB, nodes ...*testNode) {
	t.Helper()
	var ps []Peer
	for _, n := range nodes {
		ps = append(ps, n.asPeer())
	}
	for _, n := range nodes {
		n.SetPeers(ps)
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				eventually(t, func() bool { return n.isUp(other.id.Node) })
			}
		}
	}
}

func eventually(t testing.TB, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 10*time.Second, time.Millisecond)
}

func entry(term, index uint64, body []byte) raftcore.Entry {
	return raftcore.Entry{
		Term: term, Index: index, Type: raftcore.EntryNormal, Body: body,
		CRC: raftcore.Checksum(term, index, raftcore.EntryNormal, body),
	}
}

// dialRaw opens a bare connection to a node's peer port.
func dialRaw(t testing.TB, n *testNode) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", n.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

// expectClosed waits until the other side hangs up.
func expectClosed(t testing.TB, conn net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) {
		require.False(t, timeout.Timeout(), "connection still open")
	}
}

// impostor shakes hands with n by hand, as who it likes.
func impostor(t testing.TB, n *testNode, lane laneKind, id Identity, holder byte) (net.Conn, error) {
	t.Helper()
	conn := dialRaw(t, n)
	_, _, err := dialHandshake(conn, testPast, &hello{
		lane: lane, from: party{id, [16]byte{holder}},
		expect: raftID{n.id.Node, n.id.Incarnation},
	})
	return conn, err
}

func requireRefused(t testing.TB, err error, want Reason) {
	t.Helper()
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, want, refused.Reason)
}

var background = context.Background()
