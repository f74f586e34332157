package node

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

func bigSave(id, index uint64, bytes int) syncJob {
	e := raftcore.Entry{Index: index, Term: 1, Type: raftcore.EntryNormal, Body: make([]byte, bytes)}
	e.CRC = raftcore.Checksum(e.Term, e.Index, e.Type, e.Body)
	return syncJob{save: &raftcore.Save{ID: id, Entries: []raftcore.Entry{e}}}
}

// Much that waits is written piece by piece, each reported when it is durable; and the
// time that its bytes may take does not count as a disk that hangs.
func TestLargeWritesAreNoStall(t *testing.T) {
	const entry = 6 << 20
	log, _, err := segmentlog.Open(segmentlog.Options{FS: vfs.NewMem(), Dir: "log", SegmentSize: 8 << 20, Inline: true,
		LogID: 1, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	now := time.UnixMilli(1e12)
	var reported []uint64
	var ages []time.Duration
	require.NoError(t, log.Save([]raftcore.Save{{HardState: &raftcore.HardState{Term: 1, Vote: 1}, MustSync: true}}))
	var s *syncer
	s = newSyncer(log, func() time.Time { return now }, func(saved uint64) {
		reported = append(reported, saved)
		ages = append(ages, s.age(now.Add(500*time.Millisecond)))
	}, func(err error) { require.NoError(t, err) })
	for i := range uint64(4) {
		s.add(bigSave(1+i, 1+i, entry))
	}
	s.add(bigSave(5, 5, 100))
	s.add(bigSave(6, 6, 100))
	require.Equal(t, 100*time.Millisecond, s.age(now.Add(100*time.Millisecond)), "nobody has begun")
	require.True(t, s.help())
	require.Equal(t, []uint64{1, 2, 3, 6}, reported, "small ones go along")
	allowed := time.Duration(entry) * time.Second / slowDisk
	for _, age := range ages {
		require.InDelta(t, 500*time.Millisecond-allowed, age, float64(time.Millisecond))
	}
	require.Zero(t, s.age(now.Add(time.Hour)), "idle")
}
