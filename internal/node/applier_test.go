package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// What was missed is applied a piece at a time, until the node serves.
func TestAReplayRestsBetweenPieces(t *testing.T) {
	store := kv.New(kv.Options{})
	a := newApplier(store, newOrigin(maxBatchBytes))
	var at []uint64
	a.applied = func() {}
	serves := uint64(1 << 60)
	a.rest = func(worked time.Duration) bool {
		require.GreaterOrEqual(t, worked, time.Duration(0))
		at = append(at, a.index.Load())
		return store.Applied() < serves
	}
	next := uint64(1)
	entries := func(n int) (es []raftcore.Entry) {
		for range n {
			es = append(es, raftcore.Entry{Index: next, Term: 1, Type: raftcore.EntryConfig, Body: make([]byte, restPiece/8)})
			next++
		}
		return es
	}
	require.NoError(t, a.do([]applyJob{{entries: entries(20)}}))
	require.Equal(t, []uint64{8, 16, 20}, at)
	at = nil
	require.NoError(t, a.do([]applyJob{{entries: entries(2)}}))
	require.Empty(t, at, "so little is applied by whoever has nothing better to do")
	require.EqualValues(t, 22, store.Applied())

	serves = 30
	require.NoError(t, a.do([]applyJob{{entries: entries(40)}}))
	require.Equal(t, []uint64{30}, at, "clients wait")
	require.EqualValues(t, 62, store.Applied())
	require.Nil(t, a.rest)
}

// A helper may be a client's event loop or the loop that tells the time: what it may apply is
// followed by no rest, however many entries that are.
func TestAHelperNeverRests(t *testing.T) {
	a := newApplier(kv.New(kv.Options{}), newOrigin(maxBatchBytes))
	a.applied = func() {}
	a.rest = func(time.Duration) bool {
		t.Error("it rests")
		return true
	}
	const body = 70
	var es []raftcore.Entry
	for i := range uint64(briefBytes / body) {
		es = append(es, raftcore.Entry{Index: i + 1, Term: 1, Type: raftcore.EntryConfig, Body: make([]byte, body)})
	}
	a.add(applyJob{entries: es})
	require.True(t, a.help(), "little, but many")
	require.EqualValues(t, len(es), a.index.Load())
}
