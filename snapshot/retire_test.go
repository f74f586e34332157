package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
)

// warnings opens a store and returns what it complains of.
func warnings(t *testing.T, fs vfs.FS, o Options) (*Store, *bytes.Buffer) {
	b := new(bytes.Buffer)
	o.Logger = slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(fs, testDir, o)
	require.NoError(t, err)
	return s, b
}

// One file that cannot be removed does not keep the others.
func TestRetireGoesOnAfterAnError(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	for index := range uint64(3) {
		write(t, s, index+1, blocks{{1}})
	}
	broken := errors.New("broken")
	fs.FailNth(vfs.OpRemove, 0, broken)
	require.ErrorIs(t, s.Retire(1), broken)
	names, err := fs.List(testDir)
	require.NoError(t, err)
	require.Len(t, names, 2, "the newest and the one that was not removed")
	require.Equal(t, fileName(3, 1), names[1])
}

// A damaged snapshot stays as long as another reader has it.
func TestRetireWaitsForReadersOfDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	s.eraseStep = 1000
	write(t, s, 1, blocks{{1}})
	info := write(t, s, 2, someBlocks(1, 2, 1<<20))
	path := filepath.Join(testDir, info.Name)
	require.NoError(t, fs.FlipBit(path, 8000))
	finder, err := s.Open(2)
	require.NoError(t, err)
	other, err := s.Open(2)
	require.NoError(t, err)
	require.ErrorAs(t, finder.Verify(), new(*CorruptionError))
	require.NoError(t, finder.Close())

	require.NoError(t, s.Retire(1))
	got, err := io.ReadAll(other.StreamFrom(0))
	require.NoError(t, err)
	require.EqualValues(t, info.Size, len(got), "it was cut under its reader")
	require.NoError(t, other.Close())
	require.NoError(t, s.Retire(1))
	exists, _ := fs.Exists(path + damagedSuffix)
	require.False(t, exists)
}

// pausedStream calls a function when so many bytes of it were read.
type pausedStream struct {
	Stream
	left int
	then func()
}

func (p *pausedStream) Read(b []byte) (int, error) {
	n, err := p.Stream.Read(b[:min(len(b), 4096)])
	if p.left -= n; p.left <= 0 && p.then != nil {
		p.then()
		p.then = nil
	}
	return n, err
}

// What a running Receive fills is not Retire's.
func TestRetireLeavesWhatIsComingIn(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	fs := vfs.NewMem()
	s := openStore(t, fs)
	s.eraseStep = 1000
	_, err := s.Receive(context.Background(), o, &pausedStream{Whole(stream), len(stream) / 2, func() {
		write(t, s, 80, blocks{{1}})
		require.NoError(t, s.Retire(1))
	}})
	require.ErrorIs(t, err, ErrOutdated)
	require.Empty(t, partials(t, fs))
}

// Files that are being removed little by little are no reason to refuse an offer.
func TestOfferGetsTheRoomOfWhatGoes(t *testing.T) {
	file := manyFrames(t)
	other := openStore(t, vfs.NewMem())
	write(t, other, 50, someBlocks(2, 6, targetFrameRaw))
	newer := rawBytes(t, other, 50)
	fs := vfs.NewMem()
	var work []func()
	s, warned := warnings(t, fs, Options{
		Beside: func(f func()) { work = append(work, f) },
		Rest:   func(time.Duration) error { return nil },
	})
	stream := inOrder(file)
	_, err := s.Receive(context.Background(), offerOf(testMeta(30), file), &cutStream{stream: stream, end: len(stream) / 2, err: errLine})
	require.ErrorIs(t, err, errLine)
	warned.Reset()
	fs.SetCapacity(int64(len(newer)) + 1000)
	_, err = receiveFile(s, testMeta(50), newer)
	require.NoError(t, err)

	fs.SetCapacity(int64(len(newer)) + 2000)
	_, err = receiveFile(s, testMeta(60), file)
	require.ErrorIs(t, err, ErrNoSpace)
	require.Empty(t, warned.String(), "there was nothing to remove")
	for _, f := range work {
		f()
	}
	require.Equal(t, newer, rawBytes(t, s, 50))
}

// Whoever waits for room cuts the rests of a removal short.
func TestOfferHurriesARemoval(t *testing.T) {
	fs := vfs.NewMem()
	rested, resting, rests := make(chan struct{}), make(chan struct{}), 0
	s, _ := warnings(t, fs, Options{
		Beside: func(f func()) { go f() },
		Rest: func(time.Duration) error {
			if rests++; rests == 1 {
				close(rested)
				<-resting
			}
			return nil
		},
	})
	s.eraseStep = 1000
	write(t, s, 1, someBlocks(1, 3, 30_000))
	write(t, s, 2, blocks{{2}})
	require.NoError(t, s.Retire(1))
	<-rested // or whoever waits for room removes it all, and there is no rest to be cut short
	file := manyFrames(t)
	fs.SetCapacity(int64(len(file)) + 10_000)
	done := make(chan error)
	go func() {
		_, err := receiveFile(s, testMeta(30), file)
		done <- err
	}()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.hurried > 0
	}, 10*time.Second, time.Millisecond)
	close(resting)
	require.NoError(t, <-done)
	require.Equal(t, 1, rests)
}

// A Write that fails when its file has its name already has nothing to remove.
func TestWriteWhoseNameIsNotDurable(t *testing.T) {
	fs := vfs.NewMem()
	s, warned := warnings(t, fs, Options{})
	fs.FailNth(vfs.OpSyncDir, 0, errors.New("broken"))
	_, err := s.Write(context.Background(), testMeta(1), blocks{{1}})
	require.ErrorContains(t, err, "broken")
	require.Empty(t, warned.String())
}
