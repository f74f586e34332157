package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Zeros are where they belong and nowhere else, be it whole blocks, less or more than are
// written at a time, or behind the end, and whoever wrote or read there before.
func TestZero(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := OS{}.Create(path)
	require.NoError(t, err)
	defer f.Close()
	z := f.(Zeros)
	want := make([]byte, 4<<20)
	require.NoError(t, z.Zero(0, int64(len(want))))
	const block = directBlock
	for _, r := range [][2]int64{
		{0, block}, {3 * block, 10 * block}, {5, 100}, {block - 1, 2*block + 1}, {block, 2*block + 1},
		{block, block + int64(len(zeroBlocks())) + block}, {block + 7, 7 + 2*int64(len(zeroBlocks()))}, {8, 8},
	} {
		for i := range want {
			want[i] = byte(1 + i%255)
		}
		require.NoError(t, f.Writev([][]byte{want}, 0))
		require.NoError(t, z.Zero(r[0], r[1]))
		clear(want[r[0]:r[1]])
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%v", r)
	}
	require.NoError(t, f.Datasync())
}

// What a direct write knows of the last block's bytes is void once they are zeros.
func TestZeroUnderDirectWrites(t *testing.T) {
	o, path := directFile(t, 4*directBlock)
	require.NoError(t, o.Writev([][]byte{[]byte("abcd")}, 0))
	require.NoError(t, o.Zero(0, directBlock))
	require.NoError(t, o.Writev([][]byte{[]byte("ef")}, 4))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00ef\x00", string(got[:7]))
}

// A write that fails is an error of its own kind; one that the file system refuses to do
// directly reports that nothing was written.
func TestZeroDirectFails(t *testing.T) {
	_, err := zeroDirect(-1, 0, directBlock)
	require.ErrorIs(t, err, unix.EBADF)
	o, _ := directFile(t, 2*directBlock)
	done, err := zeroDirect(o.direct.fd, 1, 1+directBlock)
	require.NoError(t, err)
	if done != 1 {
		t.Skip("THIS FILE SYSTEM TAKES ANY DIRECT WRITE: the rest was not checked")
	}
	f, err := OS{}.OpenRead(o.Name())
	require.NoError(t, err)
	defer f.Close()
	require.ErrorIs(t, f.(Zeros).Zero(1, 2), unix.EBADF)
}
