package node

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// A node may have taken a snapshot of what the others committed while its own log hung:
// of entries, and of a term, that its log never heard of. It starts all the same, without a
// vote in that term, and once more with what it wrote then (simulator, seed 309).
func TestSnapshotOfALaterTermThanTheLog(t *testing.T) {
	fs := vfs.NewMem()
	open := func() (*segmentlog.Log, segmentlog.Recovered) {
		l, rec, err := segmentlog.Open(segmentlog.Options{FS: fs, Dir: "log", SegmentSize: 1 << 20, Inline: true,
			LogID: 1, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		return l, rec
	}
	log, _ := open()
	save := *bigSave(1, 1, 100).save
	save.HardState, save.MustSync = &raftcore.HardState{Term: 1, Vote: 3}, true
	require.NoError(t, log.Save([]raftcore.Save{save}))
	require.NoError(t, log.Close())

	log, rec := open()
	require.EqualValues(t, 1, rec.LastIndex)
	n := &Node{wal: log, log: slog.New(slog.DiscardHandler)}
	joined, err := n.joinLogToSnapshot(rec, raftcore.SnapshotMeta{Index: 5, Term: 2})
	require.NoError(t, err)
	require.Equal(t, raftcore.HardState{Term: 2}, joined.HardState)
	require.Equal(t, [3]uint64{6, 5, 2}, [3]uint64{joined.FirstIndex, joined.LastIndex, joined.BaseTerm})
	require.NoError(t, log.Close())

	log, rec = open()
	require.Equal(t, raftcore.HardState{Term: 2}, rec.HardState)
	require.Equal(t, [3]uint64{6, 5, 2}, [3]uint64{rec.FirstIndex, rec.LastIndex, rec.BaseTerm})
	require.NoError(t, log.Close())
}
