package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

func TestWrongSecretIsRefusedBothWays(t *testing.T) {
	a := newNode(t, 1)
	b := newNode(t, 2, func(_ *testNode, o *Options) { o.Secret = []byte("another secret") })
	a.SetPeers([]Peer{b.asPeer()})
	b.SetPeers([]Peer{a.asPeer()})
	for _, n := range []*testNode{a, b} {
		eventually(t, func() bool {
			return n.Stats().Rejected[ReasonSecret] > 0 && len(get(n, func() []Reason { return n.refusals })) > 0
		})
		require.Equal(t, ReasonSecret, get(n, func() Reason { return n.refusals[0] }))
		require.Zero(t, n.Stats().Accepted)
		eventually(t, func() bool { // it is noted behind the rest
			return strings.Contains(n.Stats().Peers[0].LastError, "wrong cluster secret")
		})
	}
}

func TestIdentityRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		dialer func(*testNode)
		peer   func(*Peer)
		want   Reason
	}{
		"another cluster":        {dialer: func(n *testNode) { n.id.ClusterID = [16]byte{2} }, want: ReasonCluster},
		"another node":           {peer: func(p *Peer) { p.ID = 7 }, want: ReasonReceiver},
		"another incarnation":    {peer: func(p *Peer) { p.Incarnation++ }, want: ReasonReceiver},
		"a twin of ours":         {dialer: func(n *testNode) { n.id.Node, n.id.Incarnation = 1, 101 }, peer: func(p *Peer) {}, want: ReasonSecondHolder},
		"a stranger with our id": {dialer: func(n *testNode) { n.id.Node = 1 }, want: ReasonSender},
	} {
		t.Run(name, func(t *testing.T) {
			a := newNode(t, 1)
			b := newNode(t, 2)
			if tc.dialer != nil {
				tc.dialer(b)
			}
			p := a.asPeer()
			if tc.peer != nil {
				tc.peer(&p)
			}
			_, _, err := b.dialPeer(background, laneControl, p)
			requireRefused(t, err, tc.want)
			eventually(t, func() bool { return a.Stats().Rejected[tc.want] == 1 })
		})
	}
}

func TestUnknownClusterIDMatchesAny(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2, func(n *testNode, _ *Options) { n.id.ClusterID = [16]byte{} })
	connect(t, a, b)
}

// A member replaced under its id: neither its old connections nor new ones of
// the old incarnation are served once the membership names another.
func TestSenderMustBeTheMembersIncarnation(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	p := b.asPeer()
	p.Incarnation++
	a.SetPeers([]Peer{p})
	eventually(t, func() bool {
		return a.Stats().Rejected[ReasonSender] > 0 && !get(b, func() bool { return b.ups[1] })
	})
	a.SetPeers([]Peer{b.asPeer()})
	eventually(t, func() bool { return a.isUp(2) && b.isUp(1) })
}

func TestBootsAndHolders(t *testing.T) {
	n := newNode(t, 1)
	id := func(boot uint64) Identity { return Identity{Node: 2, Incarnation: 5, Boot: boot} }
	first, err := impostor(t, n, laneControl, id(3), 'a')
	require.NoError(t, err)
	_, err = impostor(t, n, laneBulk, id(3), 'a')
	require.NoError(t, err)
	_, err = impostor(t, n, laneBulk, id(3), 'b')
	requireRefused(t, err, ReasonSecondHolder)
	_, err = impostor(t, n, laneBulk, id(2), 'a')
	requireRefused(t, err, ReasonOldBoot)

	second, err := impostor(t, n, laneControl, id(4), 'c')
	require.NoError(t, err)
	expectClosed(t, first) // the earlier boot's connections end
	_, err = impostor(t, n, laneControl, id(3), 'a')
	requireRefused(t, err, ReasonOldBoot)

	second.Close()
	eventually(t, func() bool { return len(n.incomingSnapshot()) == 0 })
	_, err = impostor(t, n, laneControl, id(3), 'a')
	requireRefused(t, err, ReasonOldBoot) // remembered without a connection
	other, err := impostor(t, n, laneControl, Identity{Node: 2, Incarnation: 6, Boot: 1}, 'd')
	require.NoError(t, err, "another incarnation counts its own boots")
	other.Close()
}

// The same check on the dialing side: what answers must not be an older boot
// than the one that dialed us.
func TestDialerRefusesAnOlderBoot(t *testing.T) {
	a, old := newNode(t, 1), newNode(t, 2)
	_, err := impostor(t, a, laneControl, Identity{Node: 2, Incarnation: old.id.Incarnation, Boot: 9, ClusterID: a.id.ClusterID}, 'x')
	require.NoError(t, err)
	_, _, err = a.dialPeer(background, laneBulk, old.asPeer())
	requireRefused(t, err, ReasonOldBoot)
}

func TestNewConnectionReplacesTheOld(t *testing.T) {
	n := newNode(t, 1)
	id := Identity{Node: 2, Incarnation: 5, Boot: 3}
	first, err := impostor(t, n, laneControl, id, 'a')
	require.NoError(t, err)
	second, err := impostor(t, n, laneControl, id, 'a')
	require.NoError(t, err)
	expectClosed(t, first)
	_, err = second.Write(encode(raftcore.Message{Type: raftcore.MsgHeartbeat, From: 2, To: 1}))
	require.NoError(t, err)
	eventually(t, func() bool { return len(n.received()) == 1 })
}

// A proof is worth nothing in another conversation, or turned around.
func TestProofsCannotBeReplayedOrReflected(t *testing.T) {
	n := newNode(t, 1)
	h := hello{lane: laneControl, from: party{Identity: Identity{Node: 2, Boot: 1}}, expect: raftID{1, 0}}
	var tape recorder
	tape.ReadWriter = dialRaw(t, n)
	_, _, err := dialHandshake(&tape, testPast, &h)
	require.NoError(t, err)

	replay := dialRaw(t, n)
	_, err = replay.Write(tape.said.Bytes())
	require.NoError(t, err)
	answer, err := io.ReadAll(replay)
	require.NoError(t, err)
	require.Len(t, answer, challengeSize+verdictSize)
	require.Equal(t, ReasonSecret, Reason(answer[challengeSize]))

	// An acceptor without the secret that sends the dialer's own proof back.
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		b := make([]byte, helloSize)
		io.ReadFull(far, b)
		far.Write(appendChallenge(nil, ReasonNone, newNonce(), 0))
		io.ReadFull(far, b[:proofSize])
		verdict := make([]byte, verdictSize)
		copy(verdict[verdictSigned:], b[lifeSize:proofSize])
		far.Write(verdict)
	}()
	_, _, err = dialHandshake(near, testPast, &h)
	requireRefused(t, err, ReasonSecret)
}

// recorder keeps what was written through it.
type recorder struct {
	io.ReadWriter
	said bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.said.Write(p)
	return r.ReadWriter.Write(p)
}

// Every bit of the conversation is covered: a man in the middle who flips one
// makes the handshake fail on at least one side.
func TestEveryHandshakeBitCounts(t *testing.T) {
	me := party{Identity: Identity{Node: 1, Incarnation: 1, Boot: 1}}
	h := hello{lane: laneControl, from: party{Identity: Identity{Node: 2, Boot: 1}}, expect: raftID{1, 1}}
	for at := 0; at < helloSize+proofSize; at++ {
		near, far := net.Pipe()
		accepted := make(chan error, 1)
		go func() {
			_, err := acceptHandshake(far, testPast, &me, func(*hello) Reason { return ReasonNone })
			far.Close()
			accepted <- err
		}()
		_, _, err := dialHandshake(&flipper{near, at}, testPast, &h)
		near.Close()
		require.Error(t, err, "byte %d to the acceptor", at)
		require.Error(t, <-accepted, "byte %d to the acceptor", at)
	}
}

// flipper changes one bit of the byte at offset at of what is written.
type flipper struct {
	net.Conn
	at int
}

func (f *flipper) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	if f.at >= 0 && f.at < len(q) {
		q[f.at] ^= 1
	}
	f.at -= len(q)
	return f.Conn.Write(q)
}

func FuzzHandshake(f *testing.F) {
	h := hello{lane: laneBulk, from: party{Identity: Identity{Node: 2, Boot: 1}}, expect: raftID{1, 1}}
	f.Add(append(appendHello(nil, &h, make([]byte, nonceSize)), make([]byte, proofSize)...))
	f.Add(append(appendChallenge(nil, ReasonNone, make([]byte, nonceSize), 0), make([]byte, verdictSize)...))
	f.Add(append(appendChallenge(nil, ReasonBusy, make([]byte, nonceSize), 0), 1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		me := party{Identity: Identity{Node: 1, Incarnation: 1, Boot: 1}}
		admit := func(*hello) Reason { t.Fatal("admitted without the secret"); return 0 }
		if _, err := acceptHandshake(&script{Reader: bytes.NewReader(data)}, testPast, &me, admit); err == nil {
			t.Fatal("accepted without the secret")
		}
		_, _, err := dialHandshake(&script{Reader: bytes.NewReader(data)}, testPast, &h)
		if err == nil {
			t.Fatal("believed an acceptor without the secret")
		}
		var refused *RefusedError
		if errors.As(err, &refused) {
			_ = refused.Error()
		}
	})
}

// script reads prepared bytes and ignores what it is told.
type script struct{ io.Reader }

func (*script) Write(p []byte) (int, error) { return len(p), nil }
