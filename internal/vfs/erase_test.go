package vfs

import (
	"errors"
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
