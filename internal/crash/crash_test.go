package crash

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The short form; `make crash` is the long one.
func TestNothingIsLostNothingIsSilent(t *testing.T) {
	states := 20_000 // at least these before every merge
	if testing.Short() {
		states = 500
	}
	r := Run(7, states)
	t.Log(r)
	require.Empty(t, r.Failures)
	require.Zero(t, r.Lost)
	require.Zero(t, r.Silent)
	require.Greater(t, r.Refused, 100)
	require.GreaterOrEqual(t, r.States, states)
}
