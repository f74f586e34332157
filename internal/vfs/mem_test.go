package vfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func put(t *testing.T, m *Mem, name string, size int, b byte) File {
	t.Helper()
	f, err := m.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{b}, size), 0)
	require.NoError(t, err)
	return f
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(20) {
		m := NewMem()
		f := put(t, m, "/a", 5000, 'x')
		require.NoError(t, f.Datasync())
		require.NoError(t, m.SyncDir("/"))
		m.Crash(rng(seed))
		got, err := m.ReadFile("/a")
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{'x'}, 5000), got)
		_, err = f.WriteAt([]byte("y"), 0)
		require.ErrorIs(t, err, ErrCrashed)
	}
}

func TestCrashTearsUnsyncedWritesAtSectors(t *testing.T) {
	torn := 0
	for seed := range uint64(50) {
		m := NewMem()
		f := put(t, m, "/a", 8*sectorSize, 'x')
		require.NoError(t, f.Datasync())
		require.NoError(t, m.SyncDir("/"))
		require.NoError(t, f.Writev([][]byte{bytes.Repeat([]byte{'y'}, 700), bytes.Repeat([]byte{'y'}, 900)}, 100))
		same := m.CrashClone(rng(seed))
		m.Crash(rng(seed))
		got, err := m.ReadFile("/a")
		require.NoError(t, err)
		again, err := same.ReadFile("/a")
		require.NoError(t, err)
		require.Equal(t, got, again, "one seed, one result")
		kept := 0
		for s := range 4 {
			lo, hi := max(100, s*sectorSize), min(1700, (s+1)*sectorSize)
			part := got[lo:hi]
			require.True(t, bytes.Count(part, []byte{'y'}) == len(part) || bytes.Count(part, []byte{'x'}) == len(part), "a sector is never mixed")
			kept += int(part[0]-'x') & 1
		}
		if kept != 0 && kept != 4 {
			torn++
		}
	}
	require.Greater(t, torn, 20)
}

func TestCrashMayLoseUnsyncedNames(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(60) {
		m := NewMem()
		require.NoError(t, put(t, m, "/a", 10, 'x').Sync())
		require.NoError(t, m.SyncDir("/"))
		require.NoError(t, m.Rename("/a", "/b"))
		m.Crash(rng(seed))
		names, err := m.List("/")
		require.NoError(t, err)
		require.Len(t, names, 1, "a rename happens or not; the file is never gone")
		seen[names[0]]++
	}
	require.Positive(t, seen["a"])
	require.Positive(t, seen["b"])
}

func TestFailedSyncIsNeverMadeGoodByALaterOne(t *testing.T) {
	lost := 0
	for seed := range uint64(40) {
		m := NewMem()
		f := put(t, m, "/a", sectorSize, 'x')
		require.NoError(t, f.Datasync())
		require.NoError(t, m.SyncDir("/"))
		_, err := f.WriteAt([]byte("y"), 0)
		require.NoError(t, err)
		m.FailNth(OpDatasync, 0, unix.EIO)
		require.ErrorIs(t, f.Datasync(), unix.EIO)
		require.NoError(t, f.Datasync(), "the kernel marked the page clean")
		m.Crash(rng(seed))
		got, _ := m.ReadFile("/a")
		if got[0] == 'x' {
			lost++
		}
	}
	require.Positive(t, lost)
}

func TestPowerOffBeginsTheOperationAndStopsAll(t *testing.T) {
	m := NewMem()
	f := put(t, m, "/a", 10, 'x')
	m.PowerOffAfter(1)
	require.NoError(t, f.Datasync())
	_, err := f.WriteAt([]byte("y"), 0)
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorIs(t, f.Datasync(), ErrCrashed)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, ErrCrashed)
	m.Crash(rng(1))
	_, err = m.Create("/b")
	require.NoError(t, err)
}

func TestCapacityAndBitFlips(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1000)
	f := put(t, m, "/a", 900, 0)
	_, err := f.WriteAt(make([]byte, 200), 900)
	require.ErrorIs(t, err, unix.ENOSPC)
	free, _ := m.Free("/")
	require.Equal(t, uint64(100), free)
	require.NoError(t, m.FlipBit("/a", 9))
	got, _ := m.ReadFile("/a")
	require.Equal(t, byte(2), got[1])
}

// What is promised with Direct is checked: only zeros behind a write in its block.
func TestDirectFailsBeforeOtherBytes(t *testing.T) {
	f, err := NewMem().Create("/f")
	require.NoError(t, err)
	require.NoError(t, f.Writev([][]byte{make([]byte, 8192)}, 0))
	require.NoError(t, f.Writev([][]byte{[]byte("x")}, 4095))
	require.NoError(t, f.Writev([][]byte{[]byte("old")}, 100), "nothing was promised yet")
	f.(Direct).Direct()
	require.Error(t, f.Writev([][]byte{[]byte("new")}, 200), "there is an x")
	require.NoError(t, f.Writev([][]byte{[]byte("new")}, 4096), "a block of its own")
	require.NoError(t, f.Writev([][]byte{[]byte("new"), make([]byte, 3893)}, 200), "up to the end, over the x")
	require.NoError(t, f.Writev([][]byte{[]byte("new")}, 300))
}

func TestLocks(t *testing.T) {
	for name, disk := range map[string]FS{"mem": NewMem(), "os": OS{}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, disk.MkdirAll(dir))
			l, err := disk.Lock(dir + "/LOCK")
			require.NoError(t, err)
			_, err = disk.Lock(dir + "/LOCK")
			require.True(t, errors.Is(err, ErrLocked))
			require.NoError(t, l.Close())
			l, err = disk.Lock(dir + "/LOCK")
			require.NoError(t, err)
			require.NoError(t, l.Close())
		})
	}
}

// TestSameBehaviour runs one sequence on both file systems.
func TestSameBehaviour(t *testing.T) {
	for name, disk := range map[string]FS{"mem": NewMem(), "os": OS{}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/d/e"
			require.NoError(t, disk.MkdirAll(dir))
			_, err := disk.Open(dir + "/none")
			require.Error(t, err)
			f, err := disk.Create(dir + "/f")
			require.NoError(t, err)
			bufs := [][]byte{[]byte("ab"), nil, []byte("cde")}
			for range 700 {
				bufs = append(bufs, []byte("x"), []byte("y"))
			}
			require.NoError(t, f.Writev(bufs, 3))
			require.NoError(t, f.Datasync())
			size, err := f.Size()
			require.NoError(t, err)
			require.Equal(t, int64(3+5+1400), size)
			got := make([]byte, 10)
			n, err := f.ReadAt(got, 0)
			require.NoError(t, err)
			require.Equal(t, "\x00\x00\x00abcdexy", string(got[:n]))
			require.NoError(t, f.Truncate(4))
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			require.Error(t, f.Close())
			require.NoError(t, disk.Rename(dir+"/f", dir+"/g"))
			require.NoError(t, disk.SyncDir(dir))
			names, err := disk.List(dir)
			require.NoError(t, err)
			require.Equal(t, []string{"g"}, names)
			ro, err := disk.OpenRead(dir + "/g")
			require.NoError(t, err)
			_, err = ro.WriteAt([]byte("z"), 0)
			require.Error(t, err)
			require.NoError(t, ro.Close())
			free, err := disk.Free(dir)
			require.NoError(t, err)
			require.Positive(t, free)
			require.NoError(t, disk.Remove(dir+"/g"))
			ok, err := disk.Exists(dir + "/g")
			require.NoError(t, err)
			require.False(t, ok)
			require.NoError(t, disk.RemoveAll(dir))
			ok, _ = disk.Exists(dir)
			require.False(t, ok)
		})
	}
}

func TestDropBytesLeavesTheCallersSlicesAlone(t *testing.T) {
	in := [][]byte{[]byte("ab"), []byte("cd"), []byte("e")}
	require.Equal(t, [][]byte{[]byte("d"), []byte("e")}, dropBytes(in, 3))
	require.Equal(t, [][]byte{[]byte("ab"), []byte("cd"), []byte("e")}, in)
	require.Empty(t, dropBytes(in, 5))
}
