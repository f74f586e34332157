package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

var testMeta = raftcore.SnapshotMeta{Index: 77, Term: 5, Membership: raftcore.Membership{
	Members: []raftcore.Member{{ID: 1, PeerAddr: "a:1"}, {ID: 2, Learner: true}}}}

// snapshotPair is a sender connected to a receiver with small blocks.
func snapshotPair(t *testing.T, adjust ...func(*testNode, *Options)) (from, to *testNode) {
	small := func(_ *testNode, o *Options) { o.SnapshotBlockBytes, o.SnapshotWindow = 1000, 4 }
	adjust = append([]func(*testNode, *Options){small}, adjust...)
	from, to = newNode(t, 1, adjust...), newNode(t, 2, adjust...)
	from.SetPeers([]Peer{to.asPeer()})
	return from, to
}

func offer(size int64) SnapshotOffer {
	return SnapshotOffer{Meta: testMeta, Size: size, Hash: [32]byte{1, 2, 3}}
}

// reading is a source that is read from its beginning.
func reading(r io.Reader) func(int64) io.Reader { return func(int64) io.Reader { return r } }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestSnapshotStream(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 1001, 123456} {
		from, to := snapshotPair(t)
		want := randomBytes(size)
		received := make(chan []byte, 1)
		to.onSnapshot(func(o SnapshotOffer, r SnapshotStream) error {
			want := offer(int64(size))
			if !bytes.Equal(appendOffer(nil, &o), appendOffer(nil, &want)) {
				return errors.New("wrong metadata")
			}
			got, err := io.ReadAll(iotest.HalfReader(r))
			received <- got
			return err
		})
		require.NoError(t, from.SendSnapshot(background, 2, offer(int64(size)), reading(bytes.NewReader(want))))
		require.True(t, bytes.Equal(want, <-received))
		require.EqualValues(t, 1, from.Stats().SnapshotsOut)
		require.EqualValues(t, 1, to.Stats().SnapshotsIn)
	}
}

// A receiver that does not consume holds the sender at the window.
func TestSnapshotCredit(t *testing.T) {
	from, to := snapshotPair(t)
	go1 := make(chan struct{})
	to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
		if err := r.From(0); err != nil {
			return err
		}
		<-go1
		_, err := io.Copy(io.Discard, r)
		return err
	})
	var taken atomic.Int64
	src := countReads{bytes.NewReader(randomBytes(100_000)), &taken}
	result := make(chan error, 1)
	go func() { result <- from.SendSnapshot(background, 2, offer(100_000), reading(src)) }()
	eventually(t, func() bool { return taken.Load() == 4000 })
	require.Never(t, func() bool { return taken.Load() != 4000 }, 50*time.Millisecond, 5*time.Millisecond)
	close(go1)
	require.NoError(t, <-result)
	require.EqualValues(t, 100_000, taken.Load())
}

type countReads struct {
	io.Reader
	n *atomic.Int64
}

func (c countReads) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestSnapshotSenderAborts(t *testing.T) {
	t.Run("source fails", func(t *testing.T) {
		from, to := snapshotPair(t)
		seen := observe(to)
		src := io.MultiReader(bytes.NewReader(randomBytes(5000)), iotest.ErrReader(errors.New("disk gone")))
		err := from.SendSnapshot(background, 2, offer(50_000), reading(src))
		require.ErrorContains(t, err, "disk gone")
		err = <-seen
		require.ErrorIs(t, err, errAborted)
		require.ErrorContains(t, err, "disk gone")
	})
	t.Run("source short", func(t *testing.T) {
		from, to := snapshotPair(t)
		seen := observe(to)
		err := from.SendSnapshot(background, 2, offer(50_000), reading(bytes.NewReader(randomBytes(5000))))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorIs(t, <-seen, errAborted)
	})
	t.Run("context ends", func(t *testing.T) {
		from, to := snapshotPair(t)
		seen := observe(to)
		ctx, cancel := context.WithCancel(background)
		src := io.MultiReader(bytes.NewReader(randomBytes(5000)), readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
		err := from.SendSnapshot(ctx, 2, offer(1<<40), reading(src))
		require.ErrorIs(t, err, context.Canceled)
		require.Error(t, <-seen)
	})
	t.Run("transport closes", func(t *testing.T) {
		from, to := snapshotPair(t)
		seen := observe(to)
		src := io.MultiReader(bytes.NewReader(randomBytes(5000)), readerFunc(func(p []byte) (int, error) { go from.Close(); return len(p), nil }))
		err := from.SendSnapshot(background, 2, offer(1<<40), reading(src))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Error(t, <-seen)
	})
}

// observe makes the receiver's handler report how its reading ended.
func observe(n *testNode) <-chan error {
	seen := make(chan error, 1)
	n.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
		_, err := io.Copy(io.Discard, r)
		seen <- err
		return err
	})
	return seen
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSnapshotReceiverAborts(t *testing.T) {
	for name, read := range map[string]int64{"at once": 0, "midway": 5500} {
		t.Run(name, func(t *testing.T) {
			from, to := snapshotPair(t)
			to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
				io.CopyN(io.Discard, r, read)
				return errors.New("no space left")
			})
			err := from.SendSnapshot(background, 2, offer(1<<40), reading(endless{}))
			var remote *RemoteError
			require.ErrorAs(t, err, &remote)
			require.Equal(t, "no space left", remote.Text)
			require.Zero(t, to.Stats().SnapshotsIn)
		})
	}
	t.Run("early yes", func(t *testing.T) {
		from, to := snapshotPair(t)
		to.onSnapshot(func(SnapshotOffer, SnapshotStream) error { return nil }) // has it already
		require.NoError(t, from.SendSnapshot(background, 2, offer(1<<40), reading(endless{})))
	})
	t.Run("dies", func(t *testing.T) {
		from, to := snapshotPair(t)
		to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
			io.CopyN(io.Discard, r, 5000)
			go to.Close()
			_, err := io.Copy(io.Discard, r)
			return err
		})
		err := from.SendSnapshot(background, 2, offer(1<<40), reading(endless{}))
		require.Error(t, err)
		var remote *RemoteError
		require.False(t, errors.As(err, &remote), "an unknown outcome is not a refusal")
	})
}

// A handler that is slow to finish is alive and waited for; a peer that says
// nothing is not.
func TestSnapshotStall(t *testing.T) {
	quick := func(_ *testNode, o *Options) { o.SnapshotStallTimeout = 1800 * time.Millisecond }
	from, to := snapshotPair(t, quick)
	to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
		_, err := io.Copy(io.Discard, r)
		<-time.After(4 * time.Second) // as if syncing: longer than the stall timeout
		return err
	})
	require.NoError(t, from.SendSnapshot(background, 2, offer(5000), reading(bytes.NewReader(randomBytes(5000)))))

	seen := observe(to)
	err := from.SendSnapshot(background, 2, offer(1<<40), reading(readerFunc(func(p []byte) (int, error) {
		return 0, <-seen // says nothing until the receiver gives up
	})))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestNewSnapshotEndsThePreviousOne(t *testing.T) {
	from, to := snapshotPair(t)
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
		began <- struct{}{}
		_, err := io.Copy(io.Discard, r)
		ended <- err
		return err
	})
	first := make(chan error, 1)
	go func() { first <- from.SendSnapshot(background, 2, offer(1<<40), reading(endless{})) }()
	<-began
	require.NoError(t, from.SendSnapshot(background, 2, offer(5000), reading(bytes.NewReader(randomBytes(5000)))))
	require.Error(t, <-first)
	require.Error(t, <-ended, "the old handler returns before the new one begins")
	require.NoError(t, <-ended)
}

// A receiver that has the beginning says so, and is sent the rest alone.
func TestSnapshotContinues(t *testing.T) {
	want := randomBytes(50_000)
	open := func(at int64) io.Reader { return bytes.NewReader(want[at:]) }
	for _, at := range []int64{0, 1, 999, 1000, 43_210, 50_000} {
		from, to := snapshotPair(t)
		received := make(chan []byte, 1)
		to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
			if err := r.From(at); err != nil {
				return err
			}
			got, err := io.ReadAll(r)
			received <- got
			return errors.Join(err, r.From(0))
		})
		err := from.SendSnapshot(background, 2, offer(int64(len(want))), open)
		require.ErrorContains(t, err, "second", "only once")
		require.True(t, bytes.Equal(want[at:], <-received))
	}
	from, to := snapshotPair(t)
	to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error { return r.From(50_001) })
	require.ErrorContains(t, from.SendSnapshot(background, 2, offer(50_000), open), "start at 50001")
}

// A receiver's nonsense does not make a sender read beyond its file.
func TestSnapshotStartBeyondTheEnd(t *testing.T) {
	from, to := snapshotPair(t)
	to.onSnapshot(func(_ SnapshotOffer, r SnapshotStream) error {
		s := r.(*snapshotReader)
		s.begun = true
		if err := s.send(kindSnapStart, func(b []byte) []byte { return appendNumber(b, 1<<60) }); err != nil {
			return err
		}
		_, err := r.Read(make([]byte, 1))
		return err
	})
	err := from.SendSnapshot(background, 2, offer(50_000), func(int64) io.Reader { panic("it reads") })
	require.ErrorIs(t, err, errFrame)
}

// All streams together keep to the rate.
func TestSnapshotPaceIsShared(t *testing.T) {
	var p snapshotPace
	now := time.Now()
	require.Equal(t, 100*time.Millisecond, p.after(100, 1000, now))
	require.Equal(t, 300*time.Millisecond, p.after(200, 1000, now), "another stream waits behind the first one's block")
	now = now.Add(time.Hour)
	require.Equal(t, 100*time.Millisecond, p.after(100, 1000, now), "what was not used is not saved up")
	require.Zero(t, p.after(100, 0, now))
}

func TestSnapshotRateLimit(t *testing.T) {
	from, _ := snapshotPair(t, func(_ *testNode, o *Options) { o.SnapshotBytesPerSecond = 100_000 })
	start := time.Now()
	require.NoError(t, from.SendSnapshot(background, 2, offer(20_000), reading(bytes.NewReader(randomBytes(20_000)))))
	require.GreaterOrEqual(t, time.Since(start), 200*time.Millisecond)
}

func TestSnapshotToNobody(t *testing.T) {
	from, _ := snapshotPair(t)
	require.ErrorIs(t, from.SendSnapshot(background, 9, offer(0), nil), ErrUnknownPeer)
}

// Frames that make no sense where they stand end the stream on either side.
func TestSnapshotNonsense(t *testing.T) {
	number := func(n uint64) func([]byte) []byte { return func(b []byte) []byte { return appendNumber(b, n) } }
	for name, say := range map[string]func(s *stream){
		"too many bytes": func(s *stream) { s.write(time.Second, kindSnapBlock, nil, make([]byte, 11)) },
		"empty block":    func(s *stream) { s.write(time.Second, kindSnapBlock, nil, nil) },
		"early end":      func(s *stream) { s.write(time.Second, kindSnapEnd, number(10), nil) },
		"a message":      func(s *stream) { s.conn.Write(encode(sampleMessages()[0])) },
		"garbage":        func(s *stream) { s.conn.Write(randomBytes(100)) },
		"hanging up":     func(s *stream) { s.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 1)
			seen := observe(n)
			conn, err := impostor(t, n, laneSnapshot, Identity{Node: 2, Incarnation: 1, Boot: 1}, 1)
			require.NoError(t, err)
			s := newStream(n.Transport, conn, 0)
			require.NoError(t, s.write(time.Second, kindSnapBegin, func(b []byte) []byte {
				o := offer(10)
				return appendOffer(b, &o)
			}, nil))
			say(s)
			err = <-seen
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
			require.Zero(t, n.Stats().SnapshotsIn)
		})
	}
	n := newNode(t, 1)
	conn, err := impostor(t, n, laneSnapshot, Identity{Node: 2, Incarnation: 1, Boot: 1}, 1)
	require.NoError(t, err)
	_, err = conn.Write(encode(sampleMessages()[0]))
	require.NoError(t, err)
	expectClosed(t, conn)
	require.EqualValues(t, 1, n.Stats().BadFrames)
}
