package snapshot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func TestWhatIsWrittenIsRestored(t *testing.T) {
	for name, src := range map[string]blocks{
		"one byte":           {{7}},
		"many small pieces":  someBlocks(1, 5000, 700),
		"pieces of a MiB":    someBlocks(2, 6, 1<<20),
		"one piece of 9 MiB": someBlocks(3, 1, 9<<20),
		"empty pieces":       {nil, {1, 2, 3}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openStore(t, fs)
			info := write(t, s, 42, src)
			require.Equal(t, src.bytes(), contents(t, s, 42))
			require.EqualValues(t, len(src.bytes()), info.RawSize)
			require.EqualValues(t, len(src), info.Keys)
			require.EqualValues(t, info.Size, len(rawBytes(t, s, 42)))

			again := openStore(t, fs)
			newest, ok := again.Newest()
			require.True(t, ok)
			require.Equal(t, info, newest)
			require.Equal(t, src.bytes(), contents(t, again, 42))
		})
	}
}

func TestFramesAreBounded(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	src := someBlocks(3, 1, 9<<20)
	info := write(t, s, 1, src)
	require.GreaterOrEqual(t, info.Frames, 5)
	r, err := s.Open(1)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Restore(func(raw []byte) error {
		require.LessOrEqual(t, len(raw), maxFrameRaw)
		return nil
	}))
}

func TestEqualSourcesMakeEqualFiles(t *testing.T) {
	src := someBlocks(5, 9, 600<<10)
	a, b := openStore(t, vfs.NewMem()), openStore(t, vfs.NewMem())
	b.writeWorkers = 4
	require.Equal(t, write(t, a, 5, src), write(t, b, 5, src))
	require.Equal(t, rawBytes(t, a, 5), rawBytes(t, b, 5))
}

func TestZstdReadsTheFile(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd in PATH")
	}
	dir := t.TempDir()
	s, err := Open(vfs.OS{}, dir, Options{})
	require.NoError(t, err)
	src := someBlocks(4, 5, 1<<20)
	info := write(t, s, 7, src)
	out, err := exec.Command(zstd, "-dcq", filepath.Join(dir, info.Name)).Output()
	require.NoError(t, err)
	require.True(t, bytes.Equal(src.bytes(), out))
}

func TestWorksOnTheRealFileSystem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(vfs.OS{}, dir, Options{})
	require.NoError(t, err)
	for i := uint64(1); i <= 4; i++ {
		write(t, s, i*10, someBlocks(i, 3, 100<<10))
	}
	require.NoError(t, s.Retire(2))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 2)
	require.Equal(t, someBlocks(4, 3, 100<<10).bytes(), contents(t, s, 40))
}

func TestTemporaryAndForeignFiles(t *testing.T) {
	fs := vfs.NewMem()
	write(t, openStore(t, fs), 3, blocks{{1}})
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, fileName(9, 9)+".1.tmp"), []byte("half")))
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, "notes.txt"), []byte("hello")))
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, fileName(8, 1)), []byte("too short to be one")))
	s := openStore(t, fs)
	require.Len(t, s.List(), 1)
	names, err := fs.List(testDir)
	require.NoError(t, err)
	require.Equal(t, []string{fileName(3, 1), fileName(8, 1) + damagedSuffix, "notes.txt"}, names)
	require.NoError(t, s.Retire(1)) // nothing to retire: no other is proven
	_, ok := s.Newest()
	require.True(t, ok)
}

func TestSnapshotUnderAnotherName(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	write(t, s, 3, blocks{{1}})
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, fileName(900, 1)), rawBytes(t, s, 3)))
	newest, _ := openStore(t, fs).Newest()
	require.EqualValues(t, 3, newest.Meta.Index)
}

func TestNewestFirstAndRetire(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	for _, i := range []uint64{5, 17, 100} {
		write(t, s, i, blocks{{byte(i)}})
	}
	require.Equal(t, []uint64{100, 17, 5}, indexes(s))
	require.NoError(t, s.Retire(2))
	require.Equal(t, []uint64{100, 17}, indexes(s))
	require.NoError(t, s.Retire(0)) // the newest always stays
	require.Equal(t, []uint64{100}, indexes(s))
	_, err := s.Open(17)
	require.ErrorIs(t, err, ErrNotFound)
}

func indexes(s *Store) []uint64 {
	var out []uint64
	for _, info := range s.List() {
		out = append(out, info.Meta.Index)
	}
	return out
}

// After a restart nothing is proven: the previous snapshot must outlive Retire
// until the newest was read in full.
func TestRetireKeepsThePreviousUntilProven(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	write(t, s, 1, blocks{{1}})
	write(t, s, 2, blocks{{2}})
	s = openStore(t, fs)
	require.NoError(t, s.Retire(1))
	require.Equal(t, []uint64{2, 1}, indexes(s))
	contents(t, s, 1) // proves the older one only
	require.NoError(t, s.Retire(1))
	require.Equal(t, []uint64{2, 1}, indexes(s))
	contents(t, s, 2)
	require.NoError(t, s.Retire(1))
	require.Equal(t, []uint64{2}, indexes(s))
}

// With Beside, Retire returns before files are gone; they go in steps, and what a stopped
// process leaves of one is nothing to the next.
func TestRetireLittleByLittle(t *testing.T) {
	fs := vfs.NewMem()
	steps, stop := 0, errors.New("stopped")
	var work []func()
	open := func() *Store {
		s, err := Open(fs, testDir, Options{
			Beside: func(f func()) { work = append(work, f) },
			Rest: func(d time.Duration) error {
				require.Positive(t, d)
				if steps++; steps == 3 {
					return stop
				}
				return nil
			},
		})
		require.NoError(t, err)
		s.eraseStep = 1000
		return s
	}
	s := open()
	write(t, s, 1, someBlocks(1, 3, 3000))
	write(t, s, 2, blocks{{2}})
	size := s.List()[1].Size
	require.NoError(t, s.Retire(1))
	require.Len(t, work, 1)
	work[0]()
	names, err := fs.List(testDir)
	require.NoError(t, err)
	require.Len(t, names, 2, "the removal was to stop")
	left, err := fs.ReadFile(filepath.Join(testDir, names[0]))
	require.NoError(t, err)
	require.EqualValues(t, size-3000, len(left))

	work = nil
	s = open()
	require.Equal(t, []uint64{2}, indexes(s))
	write(t, s, 3, blocks{{3}}) // its temporary name is another one
	require.Len(t, work, 1)
	work[0]()
	names, err = fs.List(testDir)
	require.NoError(t, err)
	require.Equal(t, []string{fileName(2, 1), fileName(3, 1)}, names)
}

// R32: no snapshot is deleted while it is being sent.
func TestRetireWaitsForReaders(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	src := someBlocks(1, 3, 300<<10)
	write(t, s, 1, src)
	path := filepath.Join(testDir, fileName(1, 1))
	want, err := fs.ReadFile(path)
	require.NoError(t, err)
	raw, err := s.Open(1)
	require.NoError(t, err)
	reader, err := s.Open(1)
	require.NoError(t, err)

	write(t, s, 2, blocks{{2}})
	require.NoError(t, s.Retire(1))
	require.Equal(t, []uint64{2}, indexes(s))
	got := new(bytes.Buffer)
	_, err = got.ReadFrom(raw.StreamFrom(0))
	require.NoError(t, err)
	require.Equal(t, inOrder(want), got.Bytes())

	require.NoError(t, raw.Close())
	require.NoError(t, raw.Close())
	exists, _ := fs.Exists(path)
	require.True(t, exists, "another reader still has it")
	require.NoError(t, reader.Close())
	exists, _ = fs.Exists(path)
	require.False(t, exists)
}

func TestReceive(t *testing.T) {
	leader := openStore(t, vfs.NewMem())
	src := someBlocks(9, 4, 900<<10)
	sent := write(t, leader, 30, src)
	raw := rawBytes(t, leader, 30)
	ctx := context.Background()

	fs := vfs.NewMem()
	s := openStore(t, fs)
	got, err := s.Receive(ctx, offerOf(testMeta(30), raw), &cutStream{stream: inOrder(raw)})
	require.NoError(t, err)
	require.Equal(t, sent, got)
	require.Equal(t, src.bytes(), contents(t, s, 30))
	require.Equal(t, raw, rawBytes(t, s, 30))

	for _, index := range []uint64{29, 30} {
		_, err = s.Receive(ctx, offerOf(testMeta(index), raw), nil)
		require.ErrorIs(t, err, ErrOutdated)
	}
	_, err = receiveFile(s, testMeta(31), raw)
	require.ErrorIs(t, err, ErrMismatch)
	o := offerOf(testMeta(31), raw)
	o.Size = 5
	_, err = s.Receive(ctx, o, nil)
	require.ErrorIs(t, err, ErrMismatch)
	o = offerOf(testMeta(31), raw)
	o.Hash[3]++
	_, err = s.Receive(ctx, o, Whole(inOrder(raw)))
	require.ErrorIs(t, err, ErrMismatch)
	fs.SetCapacity(int64(len(raw)) + 100)
	_, err = s.Receive(ctx, offerOf(testMeta(31), raw), nil)
	require.ErrorIs(t, err, ErrNoSpace)
	names, err := fs.List(testDir)
	require.NoError(t, err)
	require.Equal(t, []string{got.Name}, names, "refused streams leave nothing")
}

func TestReceiveWithAnotherMembership(t *testing.T) {
	meta := testMeta(3)
	meta.Membership.Members = []raftcore.Member{{ID: 1, Incarnation: 5, PeerAddr: "a:1"}}
	leader := openStore(t, vfs.NewMem())
	info, err := leader.Write(context.Background(), meta, blocks{{1}})
	require.NoError(t, err)
	require.Equal(t, meta.Membership.Members, info.Meta.Membership.Members)
	raw := rawBytes(t, leader, 3)
	s := openStore(t, vfs.NewMem())
	_, err = receiveFile(s, testMeta(3), raw)
	require.ErrorIs(t, err, ErrMismatch)
	info, err = receiveFile(s, meta, raw)
	require.NoError(t, err)
	require.Equal(t, meta.Membership.Members, info.Meta.Membership.Members)
}

// R32: take@50 runs, install@60 comes in between, take finishes: the newest must
// not go back.
func TestInstallOvertakesTake(t *testing.T) {
	leader := openStore(t, vfs.NewMem())
	write(t, leader, 60, blocks{{60}})
	raw := rawBytes(t, leader, 60)
	ctx := context.Background()

	fs := vfs.NewMem()
	s := openStore(t, fs)
	_, err := s.Write(ctx, testMeta(50), sourceFunc(func(emit func([]byte, int) error) error {
		_, err := receiveFile(s, testMeta(60), raw)
		require.NoError(t, err)
		return emit([]byte{50}, 1)
	}))
	require.ErrorIs(t, err, ErrOutdated)
	require.Equal(t, []uint64{60}, indexes(s))
	names, _ := fs.List(testDir)
	require.Len(t, names, 1)
}

func TestWriteIsAbortSafe(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	broken := errors.New("source broke")
	_, err := s.Write(context.Background(), testMeta(1), sourceFunc(func(emit func([]byte, int) error) error {
		for range 5 {
			if err := emit(make([]byte, 1<<20), 1); err != nil {
				return err
			}
		}
		return broken
	}))
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancel(context.Background())
	_, err = s.Write(ctx, testMeta(1), sourceFunc(func(emit func([]byte, int) error) error {
		cancel()
		return emit([]byte("x"), 1)
	}))
	require.ErrorIs(t, err, context.Canceled)

	_, err = s.Write(context.Background(), testMeta(1), blocks{})
	require.ErrorContains(t, err, "empty")
	names, _ := fs.List(testDir)
	require.Empty(t, names)
}

// A rate of one byte per second would take weeks: the wait is real, and ends with
// the context.
func TestThrottleIsInterruptible(t *testing.T) {
	s, err := Open(vfs.NewMem(), testDir, Options{BytesPerSecond: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer time.AfterFunc(20*time.Millisecond, cancel).Stop()
	began := time.Now()
	_, err = s.Write(ctx, testMeta(1), sourceFunc(func(emit func([]byte, int) error) error {
		return emit(bytes.Repeat([]byte("x"), 2<<20), 1)
	}))
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(began), time.Minute, "at that rate the file takes minutes")
}

// A quarter of the time means three quarters of rest; no single rest is long.
func TestShareOfTheTime(t *testing.T) {
	require.Equal(t, 30*time.Millisecond, restAfter(10*time.Millisecond, 0.25))
	require.Zero(t, restAfter(time.Second, 1))
	require.Less(t, restAfter(time.Millisecond, 0), time.Second, "a share of nothing does not stop it for good")
	asked := 0
	s, err := Open(vfs.NewMem(), testDir, Options{Share: func() float64 { asked++; return 0.5 }})
	require.NoError(t, err)
	info := write(t, s, 1, someBlocks(1, 8, 1<<20))
	require.Greater(t, asked, info.Frames, "after every piece written and every frame read back")
	r, err := s.OpenNewest()
	require.NoError(t, err)
	defer r.Close()
	asked = 0
	bytes := 0
	require.NoError(t, r.RestoreBeside(context.Background(), func(raw []byte) error {
		require.LessOrEqual(t, len(raw), restorePiece)
		bytes += len(raw)
		return nil
	}))
	require.Greater(t, asked, info.Frames+bytes/restorePiece, "after every frame read and every piece delivered")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.RestoreBeside(ctx, func([]byte) error { return nil }), context.Canceled)
}
