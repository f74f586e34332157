package sim

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kept are seeds that once found something (docs/testing.md has the list). A change
// of the simulator gives a seed another meaning; each finding therefore has a test of
// its own beside it, or a mutant.
var kept = []uint64{7, 8, 10, 13, 15, 26, 34, 36, 44, 56, 59, 124, 2058, 5112, 5200, 5233, 5280, 5376, 20558, 40297, 41124, 600073, 700464, 701195,
	100416, 100886, 105368, 107987, 108994, 201631, 702719, 803861, 809302, 813186, 817061, 900786, 309}

// TestSeeds is the short form of `make sim`.
func TestSeeds(t *testing.T) {
	seeds := append([]uint64(nil), kept...)
	for seed := uint64(100); len(seeds) < 300; seed++ {
		seeds = append(seeds, seed)
	}
	if testing.Short() {
		seeds = seeds[:16]
	}
	total := NewStats()
	var mu sync.Mutex
	var wg sync.WaitGroup
	todo := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range todo {
				r := Run(seed, nil)
				mu.Lock()
				total.Add(r.Stats)
				if r.Err != nil {
					t.Errorf("seed %d: %v\nreplay: make sim SEED=%d", seed, r.Err, seed)
				}
				mu.Unlock()
			}
		})
	}
	for _, seed := range seeds {
		todo <- seed
	}
	close(todo)
	wg.Wait()
	t.Logf("%d seeds, %v simulated, %d ops, %d faults", total.Seeds, total.Virtual, total.Ops, total.Faults())
	// A run that does nothing proves nothing.
	require.Greater(t, total.Acked, 100*total.Seeds)
	require.Greater(t, total.Faults(), 10*total.Seeds)
}

// One seed is one run: nothing in it may depend on time, goroutines or the order of
// maps.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		require.Equal(t, Run(seed, nil).Trace, Run(seed, nil).Trace, "seed %d", seed)
	}
	require.NotEqual(t, Run(1, nil).Trace, Run(2, nil).Trace)
}

// A calm seed is hours long, and in them snapshots descend from snapshots.
func TestCalmSeedsLastHours(t *testing.T) {
	total := NewStats()
	for seed := uint64(1); seed <= 3; seed++ {
		r := RunScenario(seed, "calm", nil)
		require.NoError(t, r.Err, "seed %d: make sim SEED=%d SIMFLAGS='-scenario calm'", seed, seed)
		total.Add(r.Stats)
	}
	require.Equal(t, 3, total.Shares[calm].Seeds)
	require.Greater(t, total.Virtual, 3*time.Hour)
	require.Greater(t, total.Hits["snapshot taken"], 20)
	require.Positive(t, total.Hits["restarted from a second-generation snapshot"])
	require.Zero(t, Run(1, nil).Stats.Shares[calm].Seeds)
	require.Equal(t, 1, Run(5, nil).Stats.Shares[calm].Seeds, "one seed in %d", calmEvery)
}
