package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeeds(t *testing.T) {
	total := NewStats()
	for seed := uint64(1); seed <= 40; seed++ {
		r := Run(seed, nil)
		total.Add(r.Stats)
		require.NoError(t, r.Err, "replay: make sim SEED=%d", seed)
	}
	t.Logf("%v simulated, %d ops, %d faults", total.Virtual, total.Ops, total.Faults())
}

// One seed is one run: nothing in it may depend on time, goroutines or the order of
// maps.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		require.Equal(t, Run(seed, nil).Trace, Run(seed, nil).Trace, "seed %d", seed)
	}
	require.NotEqual(t, Run(1, nil).Trace, Run(2, nil).Trace)
}
