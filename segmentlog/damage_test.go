package segmentlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// noisy makes entries whose bodies contain no zeros.
func noisy(from, to, term uint64, size int) []raftcore.Entry {
	rng := newRng(from)
	es := run(from, to, term, 0)
	for i := range es {
		es[i].Body = make([]byte, size)
		for j := range es[i].Body {
			es[i].Body[j] = byte(1 + rng.IntN(255))
		}
		es[i].CRC = raftcore.Checksum(es[i].Term, es[i].Index, es[i].Type, es[i].Body)
	}
	return es
}

// smallLog is three segments of batches; its last batch is entries [last-2, last].
func smallLog(t *testing.T, closed bool) (*vfs.Mem, Options, []raftcore.Entry) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.SegmentSize = minSegmentSize
	l, _ := mustOpen(t, o)
	es := noisy(1, 24, 1, 300)
	require.NoError(t, l.Save(saveTerm(1, es[:3])))
	for i := 3; i < len(es); i += 3 {
		require.NoError(t, l.Save(save(es[i:i+3])))
	}
	require.Equal(t, 3, l.Stats().Segments)
	if closed {
		require.NoError(t, l.Close())
	} else {
		disk.Crash(newRng(1))
		l.Close()
	}
	return disk, o, es
}

// outcome opens a damaged log and demands that nothing is lost in silence: below
// `promised` everything is there or Open refuses; above, it is there or suspect.
func outcome(disk *vfs.Mem, o Options, es []raftcore.Entry, promised uint64) (string, error) {
	o.FS = disk
	l, r, err := Open(o)
	var corrupt *CorruptionError
	var hard *HardStateError
	switch {
	case errors.As(err, &corrupt):
		if corrupt.File == "" || corrupt.Expected == "" || corrupt.Found == "" {
			return "", fmt.Errorf("no address in %v", err)
		}
		return "refused", nil
	case errors.As(err, &hard):
		return "refused", nil
	case err != nil:
		return "", err
	}
	defer l.Close()
	if r.HardState.Term != 1 || r.HardState.Vote != 1 {
		return "", fmt.Errorf("hard state went back to %+v", r.HardState)
	}
	if r.LastIndex < promised {
		return "", fmt.Errorf("ends at %d below the promise %d", r.LastIndex, promised)
	}
	if err := sameLog(l, 0, es[:r.LastIndex]); err != nil {
		return "", err
	}
	switch {
	case r.LastIndex == uint64(len(es)):
		return "whole", nil
	case r.Suspect == nil:
		return "torn", nil
	case less(r.Suspect.LastTerm, r.Suspect.LastIndex, 1, uint64(len(es))):
		return "", fmt.Errorf("suspect claims only %+v", *r.Suspect)
	}
	return "suspect", nil
}

// copyDisk has the same files, durable.
func copyDisk(t *testing.T, from *vfs.Mem) *vfs.Mem {
	to := vfs.NewMem()
	require.NoError(t, to.MkdirAll(testDir))
	for name, b := range snapshotFiles(t, from) {
		require.NoError(t, to.WriteFile(filepath.Join(testDir, name), []byte(b)))
	}
	return to
}

// TestEveryByteFlipped inverts a bit of every byte of every file, on a log that was
// closed (all promised) and on one whose power was cut (all but the last batch).
func TestEveryByteFlipped(t *testing.T) {
	for _, closed := range []bool{true, false} {
		disk, o, es := smallLog(t, closed)
		promised := uint64(len(es))
		if !closed {
			promised -= 3
		}
		seen := map[string]int{}
		for name, content := range snapshotFiles(t, disk) {
			damaged, used := copyDisk(t, disk), lastNonZero([]byte(content))
			for at := range content {
				if empty := at%blockSize >= metaRecordSize && at < blockSize || at > used; empty && content[at] == 0 && at%64 != 0 {
					continue // the empty space is all alike
				}
				b := []byte(content)
				b[at] ^= 1 << (at % 8)
				require.NoError(t, damaged.WriteFile(filepath.Join(testDir, name), b))
				got, err := outcome(damaged, o, es, promised)
				require.NoError(t, err, "closed %v, %s byte %d", closed, name, at)
				require.NotEqual(t, "torn", got, "closed %v, %s byte %d", closed, name, at)
				seen[got]++
				if got != "refused" { // the successful open changed the files
					damaged = copyDisk(t, disk)
				}
				require.NoError(t, damaged.WriteFile(filepath.Join(testDir, name), []byte(content)))
			}
		}
		t.Logf("closed %v: %v", closed, seen)
		require.Positive(t, seen["refused"])
		require.Positive(t, seen["whole"])
		if closed {
			require.Zero(t, seen["suspect"])
		} else {
			require.Greater(t, seen["suspect"], 500)
		}
	}
}

// TestEverySectorZeroed does the same with whole sectors, and with all that follows
// a sector in its file (a record cut at every sector).
func TestEverySectorZeroed(t *testing.T) {
	for _, toEnd := range []bool{false, true} {
		for _, closed := range []bool{true, false} {
			disk, o, es := smallLog(t, closed)
			promised := uint64(len(es))
			if !closed {
				promised -= 3
			}
			seen := map[string]int{}
			for name, content := range snapshotFiles(t, disk) {
				for at := 0; at < len(content); at += sectorSize {
					damaged := copyDisk(t, disk)
					b := []byte(content)
					end := at + sectorSize
					if toEnd {
						end = len(b)
					}
					clear(b[at:end])
					require.NoError(t, damaged.WriteFile(filepath.Join(testDir, name), b))
					got, err := outcome(damaged, o, es, promised)
					require.NoError(t, err, "closed %v, %s sector at %d", closed, name, at)
					seen[got]++
				}
			}
			t.Logf("closed %v: %v", closed, seen)
			require.Positive(t, seen["refused"])
			if closed {
				require.Zero(t, seen["torn"]+seen["suspect"])
			} else {
				require.Positive(t, seen["torn"])
			}
		}
	}
}

// TestMisplacedBytes: records and segments that are intact but elsewhere.
func TestMisplacedBytes(t *testing.T) {
	disk, o, es := smallLog(t, true)
	paths := segFiles(t, disk)
	read := func(i int) []byte {
		b, err := disk.ReadFile(paths[i])
		require.NoError(t, err)
		return b
	}
	rec := int64(recordSize(300))
	for name, plant := range map[string]func(d *vfs.Mem) error{
		"record copied over another": func(d *vfs.Mem) error {
			b := read(0)
			copy(b[firstRecord+rec:firstRecord+2*rec], b[firstRecord:])
			return d.WriteFile(paths[0], b)
		},
		"record of another segment": func(d *vfs.Mem) error {
			b := read(1)
			copy(b[firstRecord:firstRecord+rec], read(0)[firstRecord:])
			return d.WriteFile(paths[1], b)
		},
		"segments swapped": func(d *vfs.Mem) error {
			return errors.Join(d.WriteFile(paths[0], read(1)), d.WriteFile(paths[1], read(0)))
		},
		"first segment missing":  func(d *vfs.Mem) error { return d.Remove(paths[0]) },
		"middle segment missing": func(d *vfs.Mem) error { return d.Remove(paths[1]) },
		"last segment missing":   func(d *vfs.Mem) error { return d.Remove(paths[2]) },
		"hard state missing":     func(d *vfs.Mem) error { return d.Remove(filepath.Join(testDir, metaName)) },
		"short segment":          func(d *vfs.Mem) error { return d.WriteFile(paths[1], read(1)[:blockSize+100]) },
		"short hard state":       func(d *vfs.Mem) error { return d.WriteFile(filepath.Join(testDir, metaName), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := copyDisk(t, disk)
			require.NoError(t, plant(d))
			before := snapshotFiles(t, d)
			got, err := outcome(d, o, es, uint64(len(es)))
			require.NoError(t, err)
			require.Equal(t, "refused", got)
			require.Equal(t, before, snapshotFiles(t, d), "a refusal changes nothing")
		})
	}
}

// TestASuspectTailIsRememberedUntilItIsRefetched follows the ambiguous tail of
// RELIABILITY 3.2 from its discovery over restarts to the end.
func TestASuspectTailIsRememberedUntilItIsRefetched(t *testing.T) {
	disk, o, es := smallLog(t, false)
	last := segFiles(t, disk)[2]
	require.NoError(t, disk.FlipBit(last, 8*(firstRecord+int64(recordSize(300))*3+recordHeaderSize+30)))
	n := uint64(len(es))

	for range 2 { // an operator's restarts change nothing
		l, r := mustOpen(t, o)
		require.Equal(t, n-3, r.LastIndex)
		require.Equal(t, n-2, r.Suspect.FirstIndex)
		require.Equal(t, []uint64{1, n}, []uint64{r.Suspect.LastTerm, r.Suspect.LastIndex})
		require.NoError(t, l.Close())
	}
	l, _ := mustOpen(t, o)
	require.NoError(t, l.Save(save(es[n-3:n-2])))
	require.NotNil(t, l.Suspect(), "one of three entries is back")
	disk.Crash(newRng(5))
	l.Close()
	l, r := mustOpen(t, o)
	require.Equal(t, n-2, r.LastIndex)
	require.NotNil(t, r.Suspect)
	require.NoError(t, l.Save(save(es[n-2:])))
	require.Nil(t, l.Suspect())
	disk.Crash(newRng(6))
	l.Close()
	l, r = mustOpen(t, o)
	require.Nil(t, r.Suspect)
	requireLog(t, l, 0, es)
	require.NoError(t, l.Close())
}

func TestASnapshotLiftsTheSuspicion(t *testing.T) {
	disk, o, es := smallLog(t, false)
	last := segFiles(t, disk)[2]
	require.NoError(t, disk.FlipBit(last, 8*(firstRecord+int64(recordSize(300))*3+1)))
	l, r := mustOpen(t, o)
	require.NotNil(t, r.Suspect)
	require.NoError(t, l.Reset(uint64(len(es))-1, 1))
	require.NotNil(t, l.Suspect(), "the snapshot does not reach it")
	require.NoError(t, l.Reset(uint64(len(es)), 1))
	require.Nil(t, l.Suspect())
	require.NoError(t, l.Close())
	l, r = mustOpen(t, o)
	require.Nil(t, r.Suspect)
	require.NoError(t, l.Close())
}

// TestDamageMetByAReader: bytes that rot under an open log.
func TestDamageMetByAReader(t *testing.T) {
	l, disk, _ := newLog(t)
	require.NoError(t, l.Save(saveTerm(1, noisy(1, 10, 1, 300))))
	path := segFiles(t, disk)[0]
	require.NoError(t, disk.FlipBit(path, 8*(firstRecord+100)))
	_, err := l.Entries(1, 5, 1<<20)
	var damage *CorruptionError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, uint64(1), damage.Index)
	require.Equal(t, uint64(1), damage.Term)
	require.Equal(t, path, damage.File)
	require.Equal(t, firstRecord, damage.Offset)
	got, err := l.Entries(2, 5, 1<<20)
	require.NoError(t, err)
	require.Len(t, got, 3)
}

// TestHardStateSlots damages every combination of the four copies.
func TestHardStateSlots(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	for term := uint64(1); term <= 5; term++ {
		require.NoError(t, l.Save(saveTerm(term, nil)))
	}
	require.NoError(t, l.Close())
	path := filepath.Join(testDir, metaName)
	copies := []int{0, metaMirror, blockSize, blockSize + metaMirror}
	for mask := range 16 {
		d := copyDisk(t, disk)
		b, _ := d.ReadFile(path)
		for i, at := range copies {
			if mask&(1<<i) != 0 {
				clear(b[at : at+sectorSize])
			}
		}
		require.NoError(t, d.WriteFile(path, b))
		o.FS = d
		l, r, err := Open(o)
		if mask&3 == 3 || mask&12 == 12 {
			var hard *HardStateError
			require.ErrorAs(t, err, &hard, "copies %04b", mask)
			require.Equal(t, path, hard.File)
			continue
		}
		require.NoError(t, err, "copies %04b", mask)
		require.Equal(t, uint64(5), r.HardState.Term)
		require.NoError(t, l.Close())
	}
}

func TestATermBehindTheLogIsRefused(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	old, _ := disk.ReadFile(filepath.Join(testDir, metaName))
	require.NoError(t, l.Save(saveTerm(3, run(1, 2, 3, 100))))
	require.NoError(t, l.Close())
	require.NoError(t, disk.WriteFile(filepath.Join(testDir, metaName), old))
	_, _, err := Open(o)
	var hard *HardStateError
	require.ErrorAs(t, err, &hard)
}

// FuzzRecord feeds a segment's bytes to the walk: no input may panic it, and what
// it accepts is intact and in order.
func FuzzRecord(f *testing.F) {
	h := segmentHeader{state: stateActive, logID: 42, id: 1, lap: 1, size: 4 * blockSize}
	l := &Log{}
	seg := &segment{header: h, end: firstRecord, synced: firstRecord}
	bufs, _, _ := l.encode([][]byte{h.block()}, seg, append(noisy(1, 3, 1, 50), noisy(4, 4, 2, 700)...))
	var good []byte
	for _, b := range bufs {
		good = append(good, b...)
	}
	f.Add(good[blockSize:], int64(0))
	f.Add(good[blockSize:len(good)-300], int64(blockSize+200))
	f.Add([]byte{}, int64(1<<40))
	f.Add([]byte("000000000"), int64(0)) // a file that is no multiple of the alignment
	f.Fuzz(func(t *testing.T, records []byte, promise int64) {
		b := append(h.block(), records...)
		if len(b) > int(h.size) {
			return
		}
		w := recordWalk{b: b, header: &h, path: "fuzz", next: 1, promise: max(promise, firstRecord)}
		last := uint64(0)
		err := w.run(func(off int64, e raftcore.Entry) {
			if !e.Verify() || e.Index != last+1 || off%recordAlign != 0 {
				t.Fatalf("accepted index %d after %d at %d", e.Index, last, off)
			}
			last = e.Index
		})
		if err == nil && w.off < w.promise {
			t.Fatal("a broken promise was accepted")
		}
		if err == nil && lastNonZero(b) > int(w.off) {
			if index, _, torn := w.examine(9); !torn && index <= last {
				t.Fatalf("a suspect tail after %d claims to end at %d", last, index)
			}
		}
		if h, ok := parseRecordHeader(records); ok {
			var again [recordHeaderSize]byte
			h.put(again[:])
			if g, ok := parseRecordHeader(again[:]); !ok || g != h {
				t.Fatal("a header does not survive a round trip")
			}
		}
		parseSlot(append(records, make([]byte, blockSize)...))
		parseSegmentHeader(records)
	})
}

// TestACutBatchDoesNotExcuseTheNextOne: a batch was torn and its intact start was
// kept; what that batch had claimed must not make damage to the acknowledged batch
// behind it look torn.
func TestACutBatchDoesNotExcuseTheNextOne(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	es := noisy(1, 10, 1, 1000)
	require.NoError(t, l.Save(saveTerm(1, es[:1])))
	require.NoError(t, l.Save(save(es[1:])))
	disk.Crash(newRng(1))
	l.Close()
	path := segFiles(t, disk)[0]
	b, err := disk.ReadFile(path)
	require.NoError(t, err)
	clear(b[8*sectorSize+5000 : 8*sectorSize+9000]) // within the batch, no multiple of a sector at its start
	require.NoError(t, disk.WriteFile(path, b))

	l, r := mustOpen(t, o)
	require.Nil(t, r.Suspect)
	require.Positive(t, r.TornBytes)
	n := r.LastIndex
	require.Equal(t, uint64(4), n)
	end := l.tail().end
	require.NoError(t, l.Save(save(noisy(n+1, n+1, 1, 100))))
	disk.Crash(newRng(2))
	l.Close()
	require.NoError(t, disk.FlipBit(path, 8*(end+recordHeaderSize+5)))
	l, r = mustOpen(t, o)
	defer l.Close()
	require.Equal(t, n, r.LastIndex)
	require.NotNil(t, r.Suspect)
	require.Equal(t, n+1, r.Suspect.LastIndex)
}

func TestSlotsAlternate(t *testing.T) {
	l, disk, _ := newLog(t)
	path := filepath.Join(testDir, metaName)
	before, _ := disk.ReadFile(path)
	for term := uint64(1); term < 9; term++ {
		require.NoError(t, l.Save(saveTerm(term, nil)))
		after, _ := disk.ReadFile(path)
		even := string(before[:blockSize]) == string(after[:blockSize])
		odd := string(before[blockSize:]) == string(after[blockSize:])
		require.NotEqual(t, even, odd, "exactly one slot is written")
		require.Equal(t, l.meta.sequence%2 == 1, even)
		before = after
	}
}
