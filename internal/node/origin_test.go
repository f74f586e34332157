package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

type lastError struct{ err error }

func (l *lastError) ChunkDone(c *kv.Chunk) { l.err = c.Err }

// A snapshot may arrive before this boot's session is open. Units that wait for it
// were never sent: nothing is known about them, least of all that they were applied.
// (Found by the simulator.)
func TestReconcileLeavesUnitsWithoutSession(t *testing.T) {
	o := newOrigin()
	w := &lastError{}
	o.add(&kv.Chunk{Waiter: w}, time.Time{})
	store := kv.New(kv.Options{})
	o.reconcile(store.SeqState)
	require.EqualValues(t, 1, o.outstanding())
	require.NoError(t, w.err)

	o.open(7) // a session the store does not know: somebody closed it
	o.ring[0].exposed = true
	o.reconcile(store.SeqState)
	require.Equal(t, errUnknownOutcome, w.err)
}
