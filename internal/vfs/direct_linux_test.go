package vfs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// directFile is an empty file of zeros that takes direct writes, and its path.
func directFile(t *testing.T, size int) (*osFile, string) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := OS{}.Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	require.NoError(t, f.Writev([][]byte{make([]byte, size)}, 0))
	require.NoError(t, f.Datasync())
	o := f.(*osFile)
	wasBrief(o)
	o.Direct()
	if o.direct == nil {
		t.Skip("THIS FILE SYSTEM HAS NO DIRECT WRITES: nothing was checked")
	}
	return o, path
}

// wasBrief makes a file's last sync a brief one, whatever it took, with the writes before
// it, on a machine that is busy.
func wasBrief(o *osFile) {
	o.syncs.took(0) // with those writes
	o.syncs.took(0)
}

// Whatever is written how, everybody reads the same, and behind it there are zeros: small
// batches, large ones, blocks that are full to the byte, the end overwritten with zeros and
// written again, repairs in between through this descriptor and another.
func TestDirectWritesAreWritesInOrder(t *testing.T) {
	const size = 16 << 20
	o, path := directFile(t, size)
	want := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(1 + r.IntN(255))
		}
		return b
	}
	end := 0
	direct, cached := 0, 0
	write := func(bufs ...[]byte) {
		early := o.syncs.early.Load()
		require.NoError(t, o.Writev(bufs, int64(end)))
		if o.syncs.early.Load() == early {
			cached++
		} else {
			direct++
		}
		for _, b := range bufs {
			end += copy(want[end:], b)
		}
	}
	sizes := []int{1, 8, 100, 4095, 4096, 4097, 8192, 30_000, briefSyncBytes - 4096, briefSyncBytes, briefSyncBytes + 1, 300_000}
	for step := range 400 {
		switch n := sizes[r.IntN(len(sizes))]; {
		case end+2*n+8192 > size:
			end = 0
			clear(want)
			require.NoError(t, o.Writev([][]byte{want}, 0))
		case step%11 == 10: // to the end of the block
			write(fill(directBlock - end%directBlock))
		case step%13 == 12: // the last of it is cut off, as a conflicting suffix is
			cut := r.IntN(min(end, 3*directBlock) + 1)
			clear(want[end-cut : end])
			require.NoError(t, o.Writev([][]byte{want[end-cut : end]}, int64(end-cut)))
			end -= cut
		case step%17 == 16 && end > 100: // something is repaired
			at := end - 1 - r.IntN(100)
			copy(want[at:], fill(1))
			_, err := o.WriteAt(want[at:at+1], int64(at))
			require.NoError(t, err)
		case step%19 == 18 && end >= directBlock: // by somebody else, in an earlier block
			at := end/directBlock*directBlock - 1
			copy(want[at:], fill(1))
			other, err := OS{}.Open(path)
			require.NoError(t, err)
			_, err = other.WriteAt(want[at:at+1], int64(at))
			require.NoError(t, err)
			require.NoError(t, other.Datasync())
			require.NoError(t, other.Close())
		default:
			write(fill(n), nil, fill(r.IntN(100)))
		}
		if r.IntN(4) > 0 { // a sync on an idle disk is brief
			require.NoError(t, o.Datasync())
			wasBrief(o)
		}
		from := max(0, end-600_000)
		got := make([]byte, min(size, end+20_000)-from)
		_, err := o.ReadAt(got, int64(from))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[from:from+len(got)], got), "step %d, end %d", step, end)
	}
	require.NoError(t, o.Datasync())
	require.Greater(t, direct, 50)
	require.Greater(t, cached, 50)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// A file that is no number of blocks would grow.
func TestDirectLeavesOddFilesAlone(t *testing.T) {
	f, err := OS{}.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(directBlock+1))
	f.(Direct).Direct()
	require.Nil(t, f.(*osFile).direct)
	require.NoError(t, f.Writev([][]byte{[]byte("x")}, directBlock))
	size, err := f.Size()
	require.NoError(t, err)
	require.EqualValues(t, directBlock+1, size)
}

// A file system may refuse direct writes only when it sees one; every other error is one.
func TestRefusedDirectWritesGoThroughTheCache(t *testing.T) {
	o, path := directFile(t, 2*directBlock)
	kept := o.direct.fd
	var err error
	o.direct.fd, err = unix.Open(path, unix.O_RDONLY, 0)
	require.NoError(t, err)
	require.ErrorIs(t, o.Writev([][]byte{[]byte("ab")}, 10), unix.EBADF)
	require.NoError(t, unix.Close(o.direct.fd))
	o.direct.fd = kept

	odd := make([]byte, 2*directBlock)[1 : 1+100]
	n, err := o.pwriteDirect(odd, 1)
	require.NoError(t, err)
	if n == len(odd) {
		t.Skip("THIS FILE SYSTEM TAKES ANY DIRECT WRITE: the rest was not checked")
	}
	require.Zero(t, n)
	require.Nil(t, o.direct)
	require.NoError(t, o.Writev([][]byte{[]byte("cd")}, 4095))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "cd", string(got[4095:4097]))
	require.NoError(t, o.Close())
}
