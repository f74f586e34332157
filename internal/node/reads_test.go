package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A read index was confirmed, then the node was taken out of the cluster and never
// applied so far: its clients must hear of it. (Found by the simulator, seed 40297.)
func TestReadsOutOfReachAreRefused(t *testing.T) {
	var r reads
	start := time.Unix(0, 0)
	var got []error
	r.add(func(err error) { got = append(got, err) }, start)
	var id uint64
	r.ask(start, func(n uint64) { id = n })
	r.answer(id, 100, false)
	r.release(99)
	r.expire(start.Add(time.Second), 2*time.Second)
	require.Empty(t, got)
	r.expire(start.Add(2*time.Second), 2*time.Second)
	require.Equal(t, []error{errNoLeader}, got)
	r.release(100)
	require.Len(t, got, 1)
}
