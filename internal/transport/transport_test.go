package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

func TestThreeNodesExchange(t *testing.T) {
	a, b, c := newNode(t, 1), newNode(t, 2), newNode(t, 3)
	connect(t, a, b, c)
	body := bytes.Repeat([]byte("large"), 1000)
	a.Send([]raftcore.Message{
		{Type: raftcore.MsgHeartbeat, To: 2, Term: 5, Matches: []uint64{3, 2}},
		{Type: raftcore.MsgAppend, To: 3, Term: 5, Entries: []raftcore.Entry{entry(5, 1, body), entry(5, 2, []byte("small"))}},
		{Type: raftcore.MsgHeartbeat, To: 9},
	})
	a.Flush()
	eventually(t, func() bool { return len(b.received()) == 1 && len(c.received()) == 1 })
	require.Equal(t, raftcore.Message{Type: raftcore.MsgHeartbeat, From: 1, To: 2, Incarnation: 101, Term: 5, Matches: []uint64{3, 2}, Clock: 1234567}, b.received()[0])
	got := c.received()[0]
	require.Equal(t, body, got.Entries[0].Body)
	require.Equal(t, []byte("small"), got.Entries[1].Body)

	require.True(t, b.SendUnits(1, []Unit{{1, []byte("u1")}, {2, body}}))
	require.True(t, b.SendUnits(1, []Unit{{3, []byte("u3")}}))
	b.Flush()
	eventually(t, func() bool { return get(a, func() int { return len(a.units) }) == 3 })
	require.Equal(t, []Unit{{1, []byte("u1")}, {2, body}, {3, []byte("u3")}}, get(a, func() []Unit { return a.units }))
	a.SendRefused(2, []uint64{2, 3})
	a.Flush()
	eventually(t, func() bool { return get(b, func() int { return len(b.refused) }) == 2 })
	require.False(t, b.SendUnits(9, []Unit{{1, nil}}))

	s := a.Stats()
	require.EqualValues(t, 1, s.DroppedControl, "the message to an unknown peer")
	require.Len(t, s.Peers, 2)
	require.True(t, s.Peers[0].Up && s.Peers[0].ControlUp && s.Peers[0].BulkUp)
	require.NotZero(t, s.BytesOut)
}

func TestOrderWithinALane(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	const rounds, each = 200, 20
	for r := range rounds {
		var ms []raftcore.Message
		for i := range each {
			n := uint64(r*each + i)
			ms = append(ms, raftcore.Message{Type: raftcore.MsgAppend, To: 2, Round: n,
				Entries: []raftcore.Entry{entry(1, n, bytes.Repeat([]byte{byte(n)}, int(n*7)%3000))}})
		}
		a.Send(ms)
		a.Flush()
	}
	eventually(t, func() bool { return len(b.received()) == rounds*each })
	for i, m := range b.received() {
		require.EqualValues(t, i, m.Round)
	}
	require.Less(t, get(b, func() int { return b.calls }), rounds*each, "bursts are handed over together")
	require.LessOrEqual(t, a.Stats().Flushes, uint64(rounds), "one Send is never more than one flush")
}

func TestReconnectAfterPeerRestart(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	addr := b.Addr().String()
	b.Close()
	eventually(t, func() bool { return !get(a, func() bool { return a.ups[2] }) })

	b = newNode(t, 2, func(n *testNode, o *Options) { n.id.Boot, o.Listen = 2, addr })
	b.SetPeers([]Peer{a.asPeer()})
	eventually(t, func() bool { return a.isUp(2) && b.isUp(1) })
	a.Send([]raftcore.Message{{Type: raftcore.MsgHeartbeat, To: 2}})
	a.Flush()
	eventually(t, func() bool { return len(b.received()) == 1 })
	require.Equal(t, []bool{true, false, true}, get(a, func() []bool { return a.upEvents }))
}

func TestRemovedPeerIsDropped(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	a.SetPeers(nil)
	eventually(t, func() bool { return !get(b, func() bool { return b.ups[1] }) })
	a.Send([]raftcore.Message{{Type: raftcore.MsgHeartbeat, To: 2}})
	a.Flush()
	require.EqualValues(t, 1, a.Stats().DroppedControl)
}

// R36: a peer that does not take bulk must not delay votes and heartbeats. The
// bulk lane's sockets and queue are filled to the brim, both ways at once.
func TestControlFlowsWhileBulkIsStuffed(t *testing.T) {
	small := func(n *testNode, o *Options) { o.BulkQueueBytes = 4 << 20; n.block = make(chan struct{}) }
	a, b := newNode(t, 1, small), newNode(t, 2, small)
	connect(t, a, b)
	full := func(from *testNode, to raftcore.NodeID) {
		body := make([]byte, 256<<10)
		eventually(t, func() bool {
			from.Send([]raftcore.Message{{Type: raftcore.MsgAppend, To: to, Entries: []raftcore.Entry{entry(1, 1, body)}}})
			from.Flush()
			refused := !from.SendUnits(to, []Unit{{1, body}})
			from.Flush()
			return from.Stats().DroppedBulk > 0 && refused
		})
	}
	full(a, 2)
	full(b, 1)
	for i := range 100 {
		a.Send([]raftcore.Message{{Type: raftcore.MsgHeartbeat, To: 2, Round: uint64(i)}})
		a.Flush()
		b.Send([]raftcore.Message{{Type: raftcore.MsgAppendResp, To: 1, Round: uint64(i)}})
		b.Flush()
	}
	eventually(t, func() bool { return len(a.received()) == 100 && len(b.received()) == 100 })
	require.Zero(t, a.Stats().DroppedControl)
	for _, n := range []*testNode{a, b} {
		q := n.Stats().Peers[0].BulkQueue
		require.LessOrEqual(t, q, 5<<20)
		n.unblock()
	}
	// Once the readers move again everything that was queued arrives.
	eventually(t, func() bool { return a.Stats().Peers[0].BulkQueue == 0 && b.Stats().Peers[0].BulkQueue == 0 })
}

func TestUnsentUnitsAreRefusedWhenTheLaneBreaks(t *testing.T) {
	a := newNode(t, 1, func(_ *testNode, o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	b := newNode(t, 2, func(n *testNode, _ *Options) { n.block = make(chan struct{}) })
	connect(t, a, b)
	body := make([]byte, 64<<10)
	sent := map[uint64]bool{}
	var seq uint64
	// The write deadline ends the connection; what the writer had not taken comes
	// back, exactly what was sent last on it.
	eventually(t, func() bool {
		if seq++; a.SendUnits(2, []Unit{{seq, body}}) {
			sent[seq] = true
		}
		a.Flush()
		return get(a, func() int { return len(a.refused) }) > 0
	})
	refused := get(a, func() []uint64 { return a.refused })
	for i, seq := range refused {
		require.True(t, sent[seq])
		require.Equal(t, refused[0]+uint64(i), seq)
	}
}

func TestLargestEntryPasses(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	body := make([]byte, 64<<20)
	a.Send([]raftcore.Message{{Type: raftcore.MsgAppend, To: 2, Entries: []raftcore.Entry{entry(1, 1, body)}}})
	a.Flush()
	eventually(t, func() bool { return len(b.received()) == 1 })
	require.Len(t, b.received()[0].Entries[0].Body, len(body))
}

func TestDamagedEntryClosesTheConnection(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	bad := entry(1, 2, []byte("body"))
	bad.CRC++
	a.Send([]raftcore.Message{
		{Type: raftcore.MsgAppend, To: 2, Round: 1, Entries: []raftcore.Entry{entry(1, 1, []byte("good"))}},
		{Type: raftcore.MsgAppend, To: 2, Round: 2, Entries: []raftcore.Entry{bad}},
	})
	a.Flush()
	eventually(t, func() bool { return b.Stats().BadFrames == 1 && len(b.received()) == 1 })
	require.EqualValues(t, 1, b.received()[0].Round)
	eventually(t, func() bool { return a.isUp(2) })
}

func TestForgedSenderClosesTheConnection(t *testing.T) {
	n := newNode(t, 1)
	for name, frame := range map[string][]byte{
		"from":    encode(raftcore.Message{Type: raftcore.MsgVote, From: 3, To: 1}),
		"to":      encode(raftcore.Message{Type: raftcore.MsgVote, From: 2, To: 3}),
		"type 0":  encode(raftcore.Message{From: 2, To: 1}),
		"type 99": encode(raftcore.Message{Type: 99, From: 2, To: 1}),
		"units":   func() []byte { var b batch; b.addUnits([]Unit{{1, nil}}); return wire(&b) }(),
	} {
		t.Run(name, func(t *testing.T) {
			before := n.Stats().BadFrames
			conn, err := impostor(t, n, laneControl, Identity{Node: 2, Incarnation: 1, Boot: 1}, 1)
			require.NoError(t, err)
			_, err = conn.Write(frame)
			require.NoError(t, err)
			expectClosed(t, conn)
			require.Equal(t, before+1, n.Stats().BadFrames)
			eventually(t, func() bool { // one holder at a time
				n.mu.Lock()
				defer n.mu.Unlock()
				return len(n.Transport.incomingSnapshot()) == 0
			})
		})
	}
	require.Empty(t, n.received())
}

func (t *Transport) incomingSnapshot() map[incomingKey]*incoming {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[incomingKey]*incoming)
	for k, v := range t.incoming {
		out[k] = v
	}
	return out
}

func TestStrangersAreClosedBeforeAllocation(t *testing.T) {
	n := newNode(t, 1, func(_ *testNode, o *Options) { o.HandshakeTimeout = 300 * time.Millisecond })
	patient := newNode(t, 2) // reads the hello, however late it comes
	fourGiB := append([]byte(magic), 0xff, 0xff, 0xff, 0xff)
	for name, data := range map[string][]byte{
		"nothing":       nil,
		"HTTP":          []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"RESP":          []byte("*1\r\n$4\r\nPING\r\n"),
		"zeros":         make([]byte, 4096),
		"half a hello":  []byte(magic),
		"4 GiB length":  binary.LittleEndian.AppendUint32(nil, 0xffffffff),
		"other version": append(fourGiB, make([]byte, helloSize)...),
	} {
		t.Run(name, func(t *testing.T) {
			to := n
			if name == "other version" {
				to = patient
			}
			conn := dialRaw(t, to)
			_, err := conn.Write(data)
			require.NoError(t, err)
			expectClosed(t, conn)
		})
	}
	require.EqualValues(t, 6, n.Stats().Garbage)
	require.EqualValues(t, 1, patient.Stats().Rejected[ReasonVersion])
	require.Zero(t, n.Stats().Accepted+patient.Stats().Accepted)
}

func TestFourGiBFrameAfterHandshake(t *testing.T) {
	n := newNode(t, 1)
	conn, err := impostor(t, n, laneBulk, Identity{Node: 2, Incarnation: 1, Boot: 1}, 1)
	require.NoError(t, err)
	h := beginFrame(nil)
	binary.LittleEndian.PutUint32(h, 0xffffffff)
	h[12] = byte(kindMessage)
	_, err = conn.Write(h)
	require.NoError(t, err)
	expectClosed(t, conn)
	require.EqualValues(t, 1, n.Stats().BadFrames)
}

func TestSecretRequiredBeyondLoopback(t *testing.T) {
	noSecret := Options{Listen: "0.0.0.0:0", Identity: func() Identity { return Identity{Node: 1} }, Handler: discard{}}
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		noSecret.Listen = listen
		_, err := New(noSecret)
		require.ErrorContains(t, err, "cluster secret")
	}
	a := newNode(t, 1, func(_ *testNode, o *Options) { o.Secret = nil })
	b := newNode(t, 2, func(_ *testNode, o *Options) { o.Secret = nil })
	connect(t, a, b)
	_, err := a.Call(background, "192.0.2.1:7000", nil)
	require.ErrorIs(t, err, errNoSecret)

	// A name, or a dialer of one's own, may end up elsewhere: judged by where.
	c := newNode(t, 3, func(_ *testNode, o *Options) {
		o.Secret = nil
		o.Dial = func(context.Context, string) (net.Conn, error) { return farConn{}, nil }
	})
	_, err = c.Call(background, "elsewhere.example:7000", nil)
	require.ErrorIs(t, err, errNoSecret)
}

// farConn is a connection to another machine on which nothing may be said.
type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7000} }
func (farConn) Close() error         { return nil }

func TestTakenPort(t *testing.T) {
	a := newNode(t, 1)
	_, err := New(Options{Listen: a.Addr().String(), Identity: func() Identity { return a.id }, Handler: a})
	require.ErrorContains(t, err, "address already in use")
}

func TestCall(t *testing.T) {
	a := newNode(t, 1)
	b := newNode(t, 0, func(n *testNode, _ *Options) { n.id = Identity{} }) // not yet anybody
	answer, err := b.Call(background, a.Addr().String(), []byte("who are you"))
	require.NoError(t, err)
	require.Equal(t, "re: who are you", string(answer))

	a.onCall(func([]byte) ([]byte, error) { return nil, fmt.Errorf("not today") })
	_, err = b.Call(background, a.Addr().String(), nil)
	var remote *RemoteError
	require.ErrorAs(t, err, &remote)
	require.Equal(t, "not today", remote.Text)

	a.onCall(func([]byte) ([]byte, error) { return make([]byte, 5<<20), nil })
	_, err = b.Call(background, a.Addr().String(), nil)
	require.ErrorAs(t, err, &remote)
	_, err = b.Call(background, a.Addr().String(), make([]byte, 5<<20))
	require.ErrorContains(t, err, "at most")

	stranger := newNode(t, 0, func(_ *testNode, o *Options) { o.Secret = []byte("guess") })
	_, err = stranger.Call(background, a.Addr().String(), nil)
	requireRefused(t, err, ReasonSecret)
	require.ErrorContains(t, err, "wrong cluster secret")
	_, err = b.Call(background, "127.0.0.1:1", nil)
	require.Error(t, err)
}

func TestCallEndsWithItsContextAndWithClose(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	a.onCall(func([]byte) ([]byte, error) { entered <- struct{}{}; <-release; return nil, nil })
	defer close(release)
	ctx, cancel := context.WithCancel(background)
	failed := make(chan error, 2)
	go func() { _, err := b.Call(ctx, a.Addr().String(), nil); failed <- err }()
	<-entered
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	go func() { _, err := b.Call(background, a.Addr().String(), nil); failed <- err }()
	<-entered
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-failed, net.ErrClosed)
	_, err := b.Call(background, a.Addr().String(), nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

// Everything at once, then Close in the middle; goleak (TestMain) finds what
// stays, the race detector what is shared.
func TestCloseUnderLoad(t *testing.T) {
	nodes := []*testNode{newNode(t, 1), newNode(t, 2), newNode(t, 3)}
	connect(t, nodes...)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			body := make([]byte, 5000)
			for !stop.Load() {
				for _, other := range nodes {
					n.Send([]raftcore.Message{
						{Type: raftcore.MsgHeartbeat, To: other.id.Node},
						{Type: raftcore.MsgAppend, To: other.id.Node, Entries: []raftcore.Entry{entry(1, 1, body)}}})
					n.SendUnits(other.id.Node, []Unit{{1, body}})
					n.Flush()
				}
				n.Stats()
			}
		})
	}
	wg.Go(func() {
		_ = nodes[0].SendSnapshot(background, 2, SnapshotOffer{Size: 1 << 40}, reading(endless{}))
	})
	eventually(t, func() bool { return nodes[1].Stats().FramesIn > 200 && nodes[2].Stats().FramesIn > 200 })
	for _, n := range nodes {
		require.NoError(t, n.Close())
		require.NoError(t, n.Close())
	}
	before := nodes[0].received()
	stop.Store(true)
	wg.Wait()
	require.Len(t, nodes[0].received(), len(before), "no delivery after Close")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

var _ io.Reader = endless{}

func BenchmarkLoopbackAppend(b *testing.B) {
	sender, receiver := newNode(b, 1), newNode(b, 2)
	connect(b, sender, receiver)
	m := benchmarkMessage()
	m.From, m.To = 1, 2
	b.SetBytes(16 * 2048)
	b.ReportAllocs()
	for b.Loop() {
		before := get(receiver, func() int { return len(receiver.ms) })
		sender.Send([]raftcore.Message{m})
		sender.Flush()
		for get(receiver, func() int { return len(receiver.ms) }) == before {
		}
		receiver.mu.Lock()
		receiver.ms = nil
		receiver.mu.Unlock()
	}
}
