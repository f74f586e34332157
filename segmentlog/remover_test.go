package segmentlog

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
)

// longLog has ten and more segments, and removes beside its Saves.
func longLog(t *testing.T, o Options) *Log {
	o.Inline = false
	l, _ := mustOpen(t, o)
	require.NoError(t, l.Save(saveTerm(1, run(1, 200, 1, 1000))))
	require.Greater(t, l.Stats().Segments, 10)
	return l
}

func freeFiles(t *testing.T, disk *vfs.Mem) (sizes []int) {
	names, err := disk.List(testDir)
	require.NoError(t, err)
	for _, n := range names {
		if strings.HasPrefix(n, freePrefix) {
			b, err := disk.ReadFile(testDir + "/" + n)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since it was listed
			}
			require.NoError(t, err)
			sizes = append(sizes, len(b))
		}
	}
	return sizes
}

// What compaction releases goes little by little, is nothing to a start that finds it
// half gone, and does not hold up a Save.
func TestReleasedSegmentsGoLittleByLittle(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l := longLog(t, o)
	require.NoError(t, l.Compact(190))
	eventually(t, func() bool { return disk.Count(vfs.OpTruncate) >= 2 })
	require.NotEmpty(t, freeFiles(t, disk), "removed all at once")
	require.NoError(t, l.Save(save(run(201, 202, 1, 100))))
	require.NoError(t, l.Close())

	short := 0
	for _, size := range freeFiles(t, disk) {
		if int64(size) < o.SegmentSize {
			short++
		}
	}
	require.NotZero(t, short, "nothing was left half removed")
	for seed := range uint64(20) { // and the power fails
		crashed := disk.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		o := testOptions(crashed)
		l, r := mustOpen(t, o)
		require.EqualValues(t, 202, r.LastIndex)
		require.Nil(t, r.Suspect)
		for _, size := range freeFiles(t, crashed) {
			require.EqualValues(t, o.SegmentSize, size, "kept though too short")
		}
		require.LessOrEqual(t, l.Stats().Free, defaultRecycleLimit)
		require.NoError(t, l.Save(save(run(203, 260, 1, 1000)))) // over recycled files
		require.NoError(t, l.Close())
	}
}

// A start removes beside what it is there for, too.
func TestStartRemovesLittleByLittle(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l := longLog(t, o)
	require.NoError(t, l.Compact(190))
	require.NoError(t, l.Close())
	o.Inline, o.RoomShort = false, func() bool { return true }
	l, _ = mustOpen(t, o)
	eventually(t, func() bool { return len(freeFiles(t, disk)) <= defaultRecycleLimit })
	require.NoError(t, l.Close())
}

// When room is short nothing rests.
func TestRemovalMakesHasteWhenRoomIsShort(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	var short atomic.Bool
	o.RoomShort = short.Load
	l := longLog(t, o)
	require.NoError(t, l.Compact(190))
	short.Store(true)
	eventually(t, func() bool { return len(freeFiles(t, disk)) <= defaultRecycleLimit })
	require.NoError(t, l.Close())
}

// A rest that has begun ends when room is short.
func TestRestIsCutShort(t *testing.T) {
	var short atomic.Bool
	r := newRemover(testOptions(vfs.NewMem()), short.Load, func() {})
	time.AfterFunc(20*time.Millisecond, func() { short.Store(true) })
	began := time.Now()
	require.NoError(t, r.rest(time.Minute))
	require.Less(t, time.Since(began), 30*time.Second)
	r.stop()
	require.ErrorIs(t, r.rest(time.Minute), ErrClosed)
}

// After a start the preparation knows how soon the next segment will be needed.
func TestPreparerKnowsTheTailItFinds(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	require.NoError(t, l.Save(saveTerm(1, run(1, 10, 1, 1000))))
	used := l.prep.used.Load()
	require.NotZero(t, used)
	require.NoError(t, l.Close())
	l, _ = mustOpen(t, o)
	require.Equal(t, used, l.prep.used.Load())
	require.NoError(t, l.Close())
}
