package node

import (
	"math/rand/v2"
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
	o := newOrigin(maxBatchBytes)
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

// Units come and go in a window that moves: it must neither lose one nor take new memory
// for ever.
func TestUnitsMoveInTheirRoom(t *testing.T) {
	o := newOrigin(maxBatchBytes)
	dice := rand.New(rand.NewPCG(1, 2))
	waiting := map[uint64]*kv.Chunk{}
	for range 5000 {
		if dice.IntN(2) == 0 || len(waiting) == 0 {
			for range dice.IntN(60) {
				c := new(kv.Chunk)
				o.add(c, time.Time{})
				waiting[c.Seq] = c
			}
		} else {
			for seq := range waiting { // in any order
				o.forget(seq)
				delete(waiting, seq)
				if dice.IntN(70) == 0 {
					break
				}
			}
		}
		for seq, c := range waiting {
			require.Same(t, c, o.at(seq).chunk)
		}
		require.EqualValues(t, len(o.ring), o.next-o.base)
		if len(o.ring) > 0 {
			require.NotNil(t, o.ring[0].chunk)
		}
	}

	chunks := make([]kv.Chunk, 50)
	turn := func() {
		for i := range chunks {
			o.add(&chunks[i], time.Time{})
		}
	}
	for o = newOrigin(maxBatchBytes); o.next < 1000; { // two turns wait
		turn()
		if o.next > 100 {
			for range chunks {
				o.forget(o.base)
			}
		}
	}
	require.Zero(t, testing.AllocsPerRun(1, func() {
		for range 100 {
			turn()
			for range chunks {
				o.forget(o.base)
			}
		}
	}))
}

func TestAFloodsUnitsDoNotKeepTheirMemory(t *testing.T) {
	o := newOrigin(maxBatchBytes)
	for range 4 * manyUnits {
		o.add(new(kv.Chunk), time.Time{})
	}
	for o.base < o.next {
		o.forget(o.base)
	}
	require.Zero(t, cap(o.ring))
	o.add(new(kv.Chunk), time.Time{})
	require.NotNil(t, o.at(o.base))

	for range 4 * manyUnits {
		o.add(new(kv.Chunk), time.Time{})
	}
	for o.next < 20*manyUnits { // one always waits
		o.add(new(kv.Chunk), time.Time{})
		for o.base+1 < o.next {
			o.forget(o.base)
		}
	}
	require.Less(t, len(o.room), manyUnits)
}
