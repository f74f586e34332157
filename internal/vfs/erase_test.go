package vfs

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEraseGoesInSteps(t *testing.T) {
	m := NewMem()
	require.NoError(t, m.MkdirAll("/d"))
	require.NoError(t, m.WriteFile("/d/old", make([]byte, 10_000)))
	var sizes []int
	require.NoError(t, Erase(m, "/d/old", 4096, func(time.Duration) error {
		b, _ := m.ReadFile("/d/old")
		sizes = append(sizes, len(b))
		return nil
	}))
	require.Equal(t, []int{5904, 1808, 0}, sizes)
	require.Equal(t, 2, m.Count(OpSync), "each step told to the disk before the next")
	ok, err := m.Exists("/d/old")
	require.NoError(t, err)
	require.False(t, ok)

	require.NoError(t, m.WriteFile("/d/empty", nil))
	require.NoError(t, Erase(m, "/d/empty", 4096, nil))
	require.Error(t, Erase(m, "/d/empty", 4096, nil), "there is none")
}

func TestEraseStopsWhereRestFails(t *testing.T) {
	m := NewMem()
	require.NoError(t, m.MkdirAll("/d"))
	require.NoError(t, m.WriteFile("/d/old", make([]byte, 10_000)))
	stop := errors.New("stop")
	require.ErrorIs(t, Erase(m, "/d/old", 4096, func(time.Duration) error { return stop }), stop)
	b, err := m.ReadFile("/d/old")
	require.NoError(t, err)
	require.Len(t, b, 5904)
}

// A file that cannot be cut is removed all the same: nobody tries again before the next
// start.
func TestEraseRemovesWhatItCannotCut(t *testing.T) {
	broken := errors.New("broken")
	for _, kind := range []OpKind{OpTruncate, OpSync} {
		m := NewMem()
		require.NoError(t, m.MkdirAll("/d"))
		require.NoError(t, m.WriteFile("/d/old", make([]byte, 10_000)))
		m.FailNth(kind, 0, broken)
		require.NoError(t, Erase(m, "/d/old", 4096, nil))
		ok, err := m.Exists("/d/old")
		require.NoError(t, err)
		require.False(t, ok, kind)
	}
	m := NewMem()
	require.NoError(t, m.MkdirAll("/d"))
	require.NoError(t, m.WriteFile("/d/old", make([]byte, 10_000)))
	m.SetFault(func(Op) error { return broken })
	require.ErrorIs(t, Erase(m, "/d/old", 4096, nil), broken)
}

// An operator's copy by a hard link stays whole.
func TestEraseLeavesOtherNamesTheirBytes(t *testing.T) {
	dir := t.TempDir()
	old, kept := dir+"/old", dir+"/kept"
	require.NoError(t, os.WriteFile(old, make([]byte, 10_000), 0o600))
	require.NoError(t, os.Link(old, kept))
	require.NoError(t, Erase(OS{}, old, 4096, nil))
	require.NoFileExists(t, old)
	b, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.Len(t, b, 10_000)

	steps := 0
	require.NoError(t, Erase(OS{}, kept, 4096, func(time.Duration) error { steps++; return nil }))
	require.NoFileExists(t, kept)
	require.Equal(t, 3, steps, "its last name: in steps again")
}
