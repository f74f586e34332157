package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGarbageIsBounded(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 16 << 20: 400, 32 << 20: 200, 64 << 20: 100, 1 << 30: 100} {
		require.Equal(t, want, garbagePercent(live), "%d MiB live", live>>20)
	}
}

func TestCollectorIsTunedAfterACollection(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	tuneCollector()
	live := make([]byte, 100<<20)
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	require.Eventually(t, func() bool { runtime.GC(); return percent() == leastGarbage }, 10*time.Second, 10*time.Millisecond)
	runtime.KeepAlive(live)
	live = nil
	require.Eventually(t, func() bool { runtime.GC(); return percent() == mostGarbage }, 10*time.Second, 10*time.Millisecond)
}
