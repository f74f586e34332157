package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdleTimeOfTheMachine(t *testing.T) {
	require.Equal(t, 1234560*time.Millisecond, idleIn([]byte("cpu  10 2 30 123456 78 0 1 0 0 0\ncpu0 1 2 3 4 5 6\n")))
	require.Zero(t, idleIn([]byte("cpu 1 2 3\n")))
	require.Zero(t, idleIn([]byte("intr 1 2 3 4 5\n")))
	require.Zero(t, idleIn(nil))
	require.Positive(t, machineIdle(), "this machine was idle once")
}
