package node

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// A rest of a removal that has begun ends when room is short, or the node.
func TestRestFromRemovalIsCutShort(t *testing.T) {
	n := &Node{}
	n.ctx, n.cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { n.short.Store(true) })
	began := time.Now()
	require.NoError(t, n.restFromRemoval(time.Minute))
	require.Less(t, time.Since(began), 30*time.Second)
	n.short.Store(false)
	time.AfterFunc(20*time.Millisecond, n.cancelWork)
	require.ErrorIs(t, n.restFromRemoval(time.Minute), context.Canceled)
}

// Nothing begins any more when Close has waited for what did.
func TestNothingIsSpawnedBehindClose(t *testing.T) {
	for range 200 {
		n := &Node{}
		n.ctx, n.cancel = context.WithCancel(t.Context())
		var closed, late atomic.Bool
		spawned := make(chan struct{})
		go func() {
			defer close(spawned)
			for range 20 {
				n.spawnUnlessStopped(func() {
					if closed.Load() {
						late.Store(true)
					}
				})
			}
		}()
		n.cancelWork()
		n.workers.Wait()
		closed.Store(true)
		<-spawned
		require.False(t, late.Load())
	}
}

// oneBlock is the source of a tiny snapshot.
type oneBlock struct{}

func (oneBlock) Blocks(emit func([]byte, int) error) error { return emit([]byte{1}, 1) }

// The loop asks what is kept (delivering): it must not wait for the disk.
func TestDeliveriesAreDroppedWithoutTheLock(t *testing.T) {
	fs := vfs.NewMem()
	s, err := snapshot.Open(fs, "/snapshots", snapshot.Options{})
	require.NoError(t, err)
	take := func(index uint64) {
		_, err := s.Write(t.Context(), raftcore.SnapshotMeta{Index: index, Term: 1}, oneBlock{})
		require.NoError(t, err)
	}
	var d deliveries
	start := time.Unix(0, 0)
	renames, locked := 0, false
	fs.SetFault(func(op vfs.Op) error {
		if op.Kind == vfs.OpRename {
			if renames++; d.mu.TryLock() {
				d.mu.Unlock()
			} else {
				locked = true
			}
		}
		return nil
	})
	for index, letGo := range []func(){
		func() { d.drop(start.Add(time.Second)) },
		func() { // what is kept instead
			r, err := s.OpenNewest()
			require.NoError(t, err)
			d.keep(2, r, start)
		},
	} {
		take(uint64(2*index + 1))
		r, err := s.OpenNewest()
		require.NoError(t, err)
		d.keep(2, r, start)
		take(uint64(2*index + 2))
		require.NoError(t, s.Retire(1))
		before := renames
		letGo()
		require.Greater(t, renames, before, "the file went with its last reader")
	}
	require.False(t, locked)
	require.NotNil(t, d.kept[2].r)
	d.drop(start.Add(time.Second))
	require.Empty(t, d.kept)
}
