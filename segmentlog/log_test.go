package segmentlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(t testing.TB) (*Log, *vfs.Mem, Options) {
	t.Helper()
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	t.Cleanup(func() { l.Close() })
	return l, disk, o
}

func TestAnEmptyLog(t *testing.T) {
	l, _, o := newLog(t)
	require.Equal(t, uint64(1), l.FirstIndex())
	require.Zero(t, l.LastIndex())
	_, err := l.Entries(1, 2, 100)
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = l.Entries(0, 1, 100)
	require.ErrorIs(t, err, ErrCompacted)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Save(nil), ErrClosed)
	_, err = l.Entries(1, 2, 100)
	require.ErrorIs(t, err, ErrClosed)
	l, r := mustOpen(t, o)
	defer l.Close()
	require.Equal(t, Recovered{FirstIndex: 1}, r)
}

func TestRoundTripAndReopen(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "os": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			o := Options{FS: fs, Dir: filepath.Join(t.TempDir(), "groups", "0", "log"), SegmentSize: 64 << 10}
			l, _ := mustOpen(t, o)
			es := append(run(1, 40, 1, 100), run(41, 60, 3, 20000)...)
			es[7].Type = raftcore.EntryConfig
			es[7].CRC = raftcore.Checksum(1, 8, raftcore.EntryConfig, es[7].Body)
			es[8] = entry(9, 1, nil)
			hard := raftcore.HardState{Term: 3, Vote: 2, Commit: 50}
			require.NoError(t, l.Save([]raftcore.Save{{HardState: &hard, MustSync: true, Entries: es[:30]}}))
			require.NoError(t, l.Save(save(es[30:])))
			requireLog(t, l, 0, es)
			bytesBefore := l.Bytes()
			require.NoError(t, l.Close())

			l, r := mustOpen(t, o)
			defer l.Close()
			requireLog(t, l, 0, es)
			require.Equal(t, bytesBefore, l.Bytes())
			require.Equal(t, hard, r.HardState)
			require.Equal(t, []raftcore.TermRun{{Index: 1, Term: 1}, {Index: 41, Term: 3}}, r.Terms)
			require.NoError(t, sameEntries(r.Configs, es[7:8]))
			require.Zero(t, r.TornBytes)
		})
	}
}

func TestEntriesHonourTheByteLimit(t *testing.T) {
	l, _, _ := newLog(t)
	es := run(1, 60, 1, 1000)
	require.NoError(t, l.Save(saveTerm(1, es)))
	one := int(recordSize(1000))
	for _, c := range []struct{ max, want int }{{0, 1}, {one - 1, 1}, {one, 1}, {2*one - 1, 1}, {2 * one, 2}, {30 * one, 30}, {1 << 30, 58}} {
		got, err := l.Entries(3, 61, c.max)
		require.NoError(t, err)
		require.NoError(t, sameEntries(got, es[2:2+c.want]), "limit %d", c.max)
	}
	got, err := l.Entries(5, 5, 100)
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = l.Entries(1, 3, 1<<20)
	require.NoError(t, err)
	clear(got[0].Body)
	requireLog(t, l, 0, es) // the bytes were the caller's
}

func TestTruncationAcrossSegments(t *testing.T) {
	for start := uint64(1); start <= 60; start++ {
		l, _, o := newLog(t)
		old := run(1, 60, 1, 1000)
		require.NoError(t, l.Save(saveTerm(1, old)))
		fresh := run(start, start+1, 2, 100)
		require.NoError(t, l.Save(saveTerm(2, fresh)))
		want := append(old[:start-1:start-1], fresh...)
		requireLog(t, l, 0, want)
		require.NoError(t, l.Save(save(run(start+2, start+40, 2, 500))))
		want = append(want, run(start+2, start+40, 2, 500)...)
		require.NoError(t, l.Close())
		l, r := mustOpen(t, o)
		requireLog(t, l, 0, want)
		require.Equal(t, uint64(2), r.Terms[len(r.Terms)-1].Term)
		require.NoError(t, l.Close())
	}
}

func TestCompactionRecyclesAndKeepsTheBaseTerm(t *testing.T) {
	l, disk, o := newLog(t)
	es := append(run(1, 40, 1, 1000), run(41, 80, 2, 1000)...)
	require.NoError(t, l.Save(saveTerm(2, es)))
	require.NoError(t, l.Compact(50))
	base := l.FirstIndex() - 1
	require.Greater(t, base, uint64(30))
	require.LessOrEqual(t, base, uint64(50))
	requireLog(t, l, base, es[base:])
	_, err := l.Entries(base, base+1, 100)
	require.ErrorIs(t, err, ErrCompacted)
	require.Equal(t, 2, l.Stats().Free)
	require.NoError(t, l.Compact(10), "what is gone already is no error")

	require.NoError(t, l.Close())
	l, r := mustOpen(t, o)
	require.Equal(t, base+1, r.FirstIndex)
	require.Equal(t, es[base-1].Term, r.BaseTerm)
	requireLog(t, l, base, es[base:])
	// A recycled file starts a new lap, and holds nothing of the old one.
	require.NoError(t, l.Save(save(run(81, 140, 2, 1000))))
	laps := 0
	for _, p := range segFiles(t, disk) {
		b, _ := disk.ReadFile(p)
		h, err := parseSegmentHeader(b)
		require.NoError(t, err)
		if h.lap == 2 {
			laps++
		}
	}
	require.Equal(t, 2, laps)
	require.NoError(t, l.Compact(1000), "the last segment stays")
	require.Equal(t, uint64(140), l.LastIndex())
	require.Equal(t, 1, l.Stats().Segments)
	require.NoError(t, l.Close())
}

func TestResetAfterASnapshot(t *testing.T) {
	l, _, o := newLog(t)
	require.NoError(t, l.Save(saveTerm(5, run(1, 50, 3, 1000))))
	require.NoError(t, l.Reset(1000, 5))
	requireEmpty := func(l *Log) {
		require.Equal(t, uint64(1001), l.FirstIndex())
		require.Equal(t, uint64(1000), l.LastIndex())
		require.Zero(t, l.Bytes())
	}
	requireEmpty(l)
	require.NoError(t, l.Close())
	l, r := mustOpen(t, o)
	requireEmpty(l)
	require.Equal(t, uint64(5), r.BaseTerm)
	require.NoError(t, l.Save(save(run(1001, 1010, 5, 100))))
	requireLog(t, l, 1000, run(1001, 1010, 5, 100))
	require.NoError(t, l.Reset(1005, 5), "back is allowed too: the caller knows")
	require.NoError(t, l.Close())
	l, r = mustOpen(t, o)
	require.Equal(t, uint64(1005), r.LastIndex)
	require.NoError(t, l.Close())
}

func TestHugeEntriesAndBatches(t *testing.T) {
	l, _, o := newLog(t)
	es := append(run(1, 3, 1, 100), run(4, 4, 1, 100_000)...) // six segments in one entry
	es = append(es, run(5, 100, 1, 2000)...)
	require.NoError(t, l.Save(saveTerm(1, es)))
	requireLog(t, l, 0, es)
	require.NoError(t, l.Compact(50))
	require.NoError(t, l.Close())
	l, r := mustOpen(t, o)
	requireLog(t, l, r.FirstIndex-1, es[r.FirstIndex-1:])
	require.NoError(t, l.Close())
}

// TestOneSaveIsOneWriteAndOneSync counts what reaches the file system.
func TestOneSaveIsOneWriteAndOneSync(t *testing.T) {
	l, disk, _ := newLog(t)
	require.NoError(t, l.Save(saveTerm(1, run(1, 1, 1, 100))))
	type counts [9]int
	count := func() (c counts) {
		for k := vfs.OpWrite; k <= vfs.OpSyncDir; k++ {
			c[k] = disk.Count(k)
		}
		return c
	}
	for i, c := range []struct {
		saves         []raftcore.Save
		writes, syncs int
	}{
		{save(run(2, 2, 1, 100)), 1, 1},
		{append(save(run(3, 5, 1, 100)), raftcore.Save{Entries: run(6, 8, 1, 100)}), 1, 1},
		{[]raftcore.Save{{HardState: &raftcore.HardState{Term: 1, Vote: 1, Commit: 8}, Entries: run(9, 9, 1, 0)}}, 1, 1},
		{[]raftcore.Save{{HardState: &raftcore.HardState{Term: 1, Vote: 1, Commit: 9}}}, 0, 0},
		{saveTerm(2, nil), 1, 1},
		{append(saveTerm(3, run(10, 11, 2, 40)), saveTerm(4, run(12, 12, 4, 40))...), 2, 2},
		{nil, 0, 0},
	} {
		before := count()
		require.NoError(t, l.Save(c.saves))
		after := count()
		want := before
		want[vfs.OpWrite] += c.writes
		want[vfs.OpDatasync] += c.syncs
		require.Equal(t, want, after, "case %d", i)
	}
}

func TestARotationToAReadySegmentCostsOneSlot(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.Inline = false
	l, _ := mustOpen(t, o)
	defer l.Close()
	require.NoError(t, l.Save(saveTerm(1, run(1, 3, 1, 4000))))
	ready := func() bool { return l.Stats().Prepared == 1 }
	require.Eventually(t, ready, 5*time.Second, time.Millisecond)
	st := l.Stats()
	require.NoError(t, l.Save(save(run(4, 4, 1, 2000))))
	after := l.Stats()
	require.Equal(t, st.Rotations+1, after.Rotations)
	require.Equal(t, []uint64{st.Writes + 1, st.Syncs + 1, st.StateSyncs + 1, st.SegmentWaits},
		[]uint64{after.Writes, after.Syncs, after.StateSyncs, after.SegmentWaits})
}

func TestRefusals(t *testing.T) {
	bad := entry(3, 1, []byte("x"))
	bad.CRC++
	hole := []raftcore.Entry{entry(3, 1, nil), entry(5, 1, nil)}
	for name, saves := range map[string][]raftcore.Save{
		"gap":               save(run(9, 9, 1, 10)),
		"gap in the batch":  save(hole),
		"gap between saves": append(save(run(3, 3, 1, 10)), save(run(5, 5, 1, 10))...),
		"checksum":          save([]raftcore.Entry{bad}),
		"term not in force": save(run(3, 3, 2, 10)),
		"term goes back":    save([]raftcore.Entry{entry(3, 1, nil), entry(4, 0, nil)}),
		"hard state back":   saveTerm(0, nil),
		"index zero":        save(run(0, 0, 1, 10)),
	} {
		t.Run(name, func(t *testing.T) {
			l, _, o := newLog(t)
			require.NoError(t, l.Save(saveTerm(1, run(1, 2, 1, 10))))
			err := l.Save(saves)
			require.Error(t, err)
			require.Equal(t, err, l.Save(nil), "latched")
			require.Equal(t, err, l.Err())
			l.Close()
			l, _ = mustOpen(t, o)
			requireLog(t, l, 0, run(1, 2, 1, 10))
			l.Close()
		})
	}
}

// TestTheFirstFailureIsLatched fails each write and sync of a Save in turn, with
// and without a crash after it.
func TestTheFirstFailureIsLatched(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpDatasync} {
		for n := range 2 { // the slot, the entries
			for fate := range uint64(8) {
				l, disk, o := newLog(t)
				old := run(1, 5, 1, 300)
				require.NoError(t, l.Save(saveTerm(1, old)))
				disk.FailNth(kind, n, unix.EIO)
				err := l.Save(saveTerm(2, run(6, 8, 2, 700)))
				require.ErrorIs(t, err, unix.EIO)
				disk.SetFault(nil)
				require.ErrorIs(t, l.Save(save(run(6, 6, 1, 10))), unix.EIO)
				require.ErrorIs(t, l.Compact(3), unix.EIO)
				require.ErrorIs(t, l.Reset(9, 1), unix.EIO)
				require.Equal(t, uint64(5), l.LastIndex(), "nothing of it is shown")
				l.Close()
				if fate%2 == 1 {
					disk.Crash(newRng(fate))
				}
				l, r := mustOpen(t, o)
				all := append(old[:5:5], run(6, 8, 2, 700)...)
				requireLog(t, l, 0, all[:r.LastIndex])
				require.GreaterOrEqual(t, r.LastIndex, uint64(5))
				// What the new start reports is on the disk now, not in a page cache.
				disk.Crash(newRng(fate + 100))
				l.Close()
				l, again := mustOpen(t, o)
				require.Equal(t, r.LastIndex, again.LastIndex)
				require.Equal(t, r.HardState, again.HardState)
				l.Close()
			}
		}
	}
}

func TestNoSpaceForASegment(t *testing.T) {
	l, disk, o := newLog(t)
	require.NoError(t, l.Save(saveTerm(1, run(1, 5, 1, 1000))))
	disk.SetCapacity(30 << 10)
	err := l.Save(save(run(6, 12, 1, 2000)))
	require.ErrorIs(t, err, unix.ENOSPC)
	l.Close()
	disk.SetCapacity(0)
	l, r := mustOpen(t, o)
	defer l.Close()
	requireLog(t, l, 0, run(1, 5, 1, 1000)[:r.LastIndex])
	require.Equal(t, uint64(5), r.LastIndex)
	require.NoError(t, l.Save(save(run(6, 12, 1, 2000))))
}

func TestSyncNeverSyncsFullSegmentsAndOnClose(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.Sync = SyncNever
	l, _ := mustOpen(t, o)
	es := run(1, 40, 1, 1000)
	require.NoError(t, l.Save(saveTerm(1, es[:1])))
	before := disk.Count(vfs.OpDatasync)
	require.NoError(t, l.Save(save(es[1:5])))
	require.Equal(t, before, disk.Count(vfs.OpDatasync))
	for i := 5; i < 40; i++ {
		require.NoError(t, l.Save(save(es[i:i+1])))
	}
	crashed := disk.CrashClone(newRng(3))
	require.NoError(t, l.Close())
	disk.Crash(newRng(4))
	l, _ = mustOpen(t, o)
	requireLog(t, l, 0, es)
	require.NoError(t, l.Close())

	o.FS = crashed
	l, r := mustOpen(t, o)
	defer l.Close()
	require.Nil(t, r.Suspect)
	require.Greater(t, r.LastIndex, uint64(20), "full segments were synced")
	requireLog(t, l, 0, es[:r.LastIndex])
}

// TestReadersBesideTheWriter reads while the log is appended to, cut and compacted:
// no read may fail for another reason than a moved range, nor return a wrong entry.
func TestReadersBesideTheWriter(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.Inline = false
	l, _ := mustOpen(t, o)
	require.NoError(t, l.Save(saveTerm(1, run(1, 50, 1, 500))))
	stop := make(chan struct{})
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	for id := range uint64(2) {
		wg.Go(func() {
			rng := newRng(id)
			for {
				select {
				case <-stop:
					return
				default:
				}
				first, last := l.FirstIndex(), l.LastIndex()
				lo := first + rng.Uint64N(max(1, last-min(last, first)+1))
				es, err := l.Entries(lo, min(lo+20, last+1), 5000)
				if err != nil && !errors.Is(err, ErrCompacted) && !errors.Is(err, ErrUnavailable) {
					failed <- err
					return
				}
				for i, e := range es {
					if e.Index != lo+uint64(i) || !e.Verify() {
						failed <- fmt.Errorf("entry %d at %d", e.Index, lo+uint64(i))
						return
					}
				}
			}
		})
	}
	rng, term := rand.New(rand.NewPCG(1, 1)), uint64(1)
	for range 300 {
		start := l.LastIndex() + 1
		if rng.IntN(4) == 0 {
			start = max(l.FirstIndex(), start-min(start-1, rng.Uint64N(20)))
			term++
		}
		require.NoError(t, l.Save(saveTerm(term, run(start, start+rng.Uint64N(8), term, 500))))
		if rng.IntN(8) == 0 {
			require.NoError(t, l.Compact(l.LastIndex()-min(10, l.LastIndex())))
		}
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	require.NoError(t, l.Close())
}

func TestDumpAndVerify(t *testing.T) {
	l, disk, _ := newLog(t)
	require.NoError(t, l.Save(saveTerm(1, run(1, 30, 1, 1000))))
	require.NoError(t, l.Close())
	before := snapshotFiles(t, disk)
	r, err := Verify(disk, testDir)
	require.NoError(t, err)
	require.Nil(t, r.Damage)
	require.Equal(t, 30, r.Records)
	require.Equal(t, uint64(30), r.LastIndex)
	var out strings.Builder
	require.NoError(t, Dump(disk, testDir, &out))
	require.Equal(t, 30, strings.Count(out.String(), " index "))

	path := segFiles(t, disk)[0]
	require.NoError(t, disk.FlipBit(path, 8*(firstRecord+200)))
	r, err = Verify(disk, testDir)
	require.NoError(t, err)
	require.Equal(t, path, r.Damage.File)
	require.Equal(t, uint64(1), r.Damage.Index)
	out.Reset()
	require.NoError(t, Dump(disk, testDir, &out))
	require.Equal(t, 1, strings.Count(out.String(), "BAD BODY"))
	require.Equal(t, 30, strings.Count(out.String(), " index "), "what lies behind the damage is listed")
	require.NoError(t, disk.FlipBit(path, 8*(firstRecord+200)))
	require.Equal(t, before, snapshotFiles(t, disk), "looking changes nothing")
}

func snapshotFiles(t testing.TB, disk *vfs.Mem) map[string]string {
	names, err := disk.List(testDir)
	require.NoError(t, err)
	files := map[string]string{}
	for _, n := range names {
		b, err := disk.ReadFile(filepath.Join(testDir, n))
		require.NoError(t, err)
		files[n] = string(bytes.Clone(b))
	}
	return files
}

// Preparing the next segment yields to commits unless they would soon wait for it.
func TestPreparationYields(t *testing.T) {
	took := 10 * time.Millisecond
	require.Equal(t, zeroLeisure, rest(500, 100, took), "every member does it at once")
	require.Equal(t, 3*zeroLeisure, rest(500, 100, zeroLeisure))
	require.Equal(t, 3*took, rest(300, 100, took))
	require.Equal(t, zeroPause, rest(300, 100, 0))
	require.Equal(t, took, rest(150, 100, took))
	require.Zero(t, rest(90, 100, took))
}
