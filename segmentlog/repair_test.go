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

// mend repairs a damaged log from a healthy one, as a node does from its peers.
func mend(disk *vfs.Mem, peer []raftcore.Entry) (holes int, err error) {
	r, err := Survey(disk, testDir, false)
	if err != nil {
		return 0, err
	}
	all := r.Holes()
	for _, h := range all {
		if h.Anchor > uint64(len(peer)) || peer[h.Anchor-1].Term != h.AnchorTerm {
			return 0, errors.New("the peer has another log")
		}
		if err := r.Fill(h, peer[h.First-1:h.Last]); err != nil {
			return 0, err
		}
	}
	if left := r.Holes(); len(left) > 0 {
		return 0, fmt.Errorf("%v are left", left)
	}
	return len(all), nil
}

// termsLog is a closed log of several segments and terms, batches of three.
func termsLog(t *testing.T) (*vfs.Mem, Options, []raftcore.Entry) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	o.SegmentSize = minSegmentSize
	l, _ := mustOpen(t, o)
	var es []raftcore.Entry
	for i := uint64(1); i <= 24; i += 3 {
		batch := noisy(i, i+2, 1+i/7, 120+int(i*31)%300)
		es = append(es, batch...)
		require.NoError(t, l.Save(saveTerm(1+i/7, batch)))
	}
	require.Greater(t, l.Stats().Segments, 2)
	require.NoError(t, l.Close())
	return disk, o, es
}

// reopened is the log of a repaired directory: whole, or an error.
func reopened(o Options, disk *vfs.Mem, es []raftcore.Entry) error {
	o.FS = disk
	l, r, err := Open(o)
	if err != nil {
		return err
	}
	defer l.Close()
	if r.Suspect != nil || r.TornBytes != 0 {
		return errors.New("not sure of its end")
	}
	return sameLog(l, 0, es)
}

// Every byte of every record, flipped: the log refuses, is repaired from a peer,
// and is byte for byte what it was. Only what holds no entries (segment headers) is
// beyond repair.
func TestEveryFlippedByteIsRepaired(t *testing.T) {
	disk, o, es := termsLog(t)
	for name, content := range snapshotFiles(t, disk) {
		path := filepath.Join(testDir, name)
		used := lastNonZero([]byte(content))
		if id, free, ok := parseName(name); !ok || free || used <= int(firstRecord) || id == 0 {
			continue
		}
		for at := int(firstRecord); at < used; at++ {
			damaged := copyDisk(t, disk)
			require.NoError(t, damaged.FlipBit(path, int64(at*8+at%8)))
			o.FS = damaged
			_, _, err := Open(o)
			var corrupt *CorruptionError
			if !errors.As(err, &corrupt) {
				// Padding that must be zero is the one thing that is not covered by a
				// promise of its own; it is part of the record all the same.
				require.NoError(t, err, "%s byte %d", name, at)
				continue
			}
			holes, err := mend(damaged, es)
			require.NoError(t, err, "%s byte %d", name, at)
			require.Equal(t, 1, holes)
			mended, err := damaged.ReadFile(path)
			require.NoError(t, err)
			if h := corrupt; h.Term != 0 { // its header was intact: exactly the same bytes
				require.Equal(t, content, string(mended), "%s byte %d", name, at)
			}
			require.NoError(t, reopened(o, damaged, es), "%s byte %d", name, at)
		}
	}
}

// Whole sectors zeroed, with several records in them: repaired, or refused when the
// end of the log itself has no identity left; never anything else.
func TestZeroedSectorsAreRepairedOrRefused(t *testing.T) {
	disk, o, es := termsLog(t)
	repaired, refused := 0, 0
	for name, content := range snapshotFiles(t, disk) {
		used := lastNonZero([]byte(content))
		for at := int(firstRecord); at < used; at += sectorSize {
			for _, n := range []int{1, 2, 3} {
				damaged := copyDisk(t, disk)
				b := []byte(content)
				clear(b[at:min(at+n*sectorSize, len(b))])
				require.NoError(t, damaged.WriteFile(filepath.Join(testDir, name), b))
				if _, err := mend(damaged, es); err != nil {
					var corrupt *CorruptionError
					require.ErrorAs(t, err, &corrupt)
					refused++
					continue
				}
				require.NoError(t, reopened(o, damaged, es), "%s byte %d", name, at)
				repaired++
			}
		}
	}
	t.Logf("repaired %d, refused %d", repaired, refused)
	require.Greater(t, repaired, 10*refused)
}

// Entries of another history are not taken for ours.
func TestFillRefusesOtherEntries(t *testing.T) {
	disk, _, es := termsLog(t)
	path := segPath(testDir, 1)
	require.NoError(t, disk.FlipBit(path, (firstRecord+recordHeaderSize+5)*8)) // a body
	r, err := Survey(disk, testDir, false)
	require.NoError(t, err)
	require.Len(t, r.Holes(), 1)
	h := r.Holes()[0]
	require.Equal(t, []uint64{1, 1, 1}, []uint64{h.First, h.Last, h.Anchor})
	other := es[0]
	other.Body = append([]byte(nil), es[0].Body...)
	other.Body[0] ^= 1
	require.ErrorIs(t, r.Fill(h, []raftcore.Entry{other}), ErrMismatch, "its checksum is wrong")
	other.CRC = raftcore.Checksum(other.Term, other.Index, other.Type, other.Body)
	require.ErrorIs(t, r.Fill(h, []raftcore.Entry{other}), ErrMismatch, "it is another entry")
	require.ErrorIs(t, r.Fill(h, nil), ErrMismatch)
	e, term, ok := r.Entry(2, 24)
	require.True(t, ok)
	require.True(t, sameEntry(es[1], e))
	require.Equal(t, es[23].Term, term)
	_, _, ok = r.Entry(1, 1)
	require.False(t, ok, "damaged here")
	require.NoError(t, r.Fill(h, es[:1]))
}

// An ambiguous tail whose record still has its header can be fetched, too.
func TestTailIsRepaired(t *testing.T) {
	disk, o, es := smallLog(t, false)
	segs := segFiles(t, disk)
	path := ""
	for _, p := range segs {
		if b, err := disk.ReadFile(p); err == nil && lastNonZero(b) > int(firstRecord) {
			path = p
		}
	}
	b, err := disk.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, disk.FlipBit(path, int64(lastNonZero(b)-9)*8))
	r, err := Survey(disk, testDir, false)
	require.NoError(t, err)
	require.Empty(t, r.Holes())
	r, err = Survey(disk, testDir, true)
	require.NoError(t, err)
	require.Len(t, r.Holes(), 1)
	require.NoError(t, r.Fill(r.Holes()[0], es[23:]))
	require.NoError(t, reopened(o, disk, es))
}

// damagedAt flips a byte in the body of the record of an entry.
func damagedAt(t *testing.T, disk *vfs.Mem, index uint64) *vfs.Mem {
	r, err := Survey(disk, testDir, false)
	require.NoError(t, err)
	for _, s := range r.spans {
		if s.header.index == index {
			damaged := copyDisk(t, disk)
			require.NoError(t, damaged.FlipBit(s.path, (s.off+recordHeaderSize+3)*8))
			return damaged
		}
	}
	t.Fatalf("no record of entry %d", index)
	return nil
}

// A snapshot that reaches the end of a damaged log takes its place, wherever the
// damage is and wherever the power fails.
func TestSupersede(t *testing.T) {
	disk, o, es := termsLog(t)
	last := es[len(es)-1]
	for index := uint64(1); index <= last.Index; index++ {
		for _, to := range []struct{ index, term uint64 }{{last.Index, last.Term}, {last.Index + 10, last.Term + 5}} {
			damaged := damagedAt(t, disk, index)
			r, err := Survey(damaged, testDir, false)
			require.NoError(t, err)
			require.Len(t, r.Holes(), 1)
			require.Error(t, r.Supersede(last.Index-1, last.Term), "entries behind the snapshot would be lost")
			require.NoError(t, r.Supersede(to.index, to.term))
			o.FS = damaged
			l, rec, err := Open(o)
			require.NoError(t, err)
			require.Nil(t, rec.Suspect)
			require.Equal(t, to.index+1, rec.FirstIndex)
			require.Equal(t, to.index, rec.LastIndex)
			require.Equal(t, to.term, rec.BaseTerm)
			require.Equal(t, max(to.term, last.Term), rec.HardState.Term)
			require.NoError(t, l.Save(saveTerm(to.term+1, run(to.index+1, to.index+3, to.term+1, 100))))
			require.NoError(t, l.Close())
			l, _, err = Open(o)
			require.NoError(t, err)
			requireLog(t, l, to.index, run(to.index+1, to.index+3, to.term+1, 100))
			require.NoError(t, l.Close())
		}
	}
}

// What an end without identity may have held is not forgotten with the rest.
func TestSupersedeKeepsTheSuspicion(t *testing.T) {
	disk := vfs.NewMem()
	o := testOptions(disk)
	l, _ := mustOpen(t, o)
	es := noisy(1, 6, 1, 300)
	for i := range es {
		require.NoError(t, l.Save(saveTerm(1, es[i:i+1])))
	}
	damaged := damagedAt(t, damagedAt(t, disk, 6), 2) // 6 was never promised
	o.FS = damaged
	r, err := Survey(damaged, testDir, false)
	require.NoError(t, err)
	require.EqualValues(t, 5, r.LastIndex())
	require.NoError(t, r.Supersede(5, 1))
	again, rec, err := Open(o)
	require.NoError(t, err)
	require.NotNil(t, rec.Suspect, "entry 6 may have been acknowledged")
	require.EqualValues(t, 6, rec.Suspect.LastIndex)
	require.NoError(t, again.Close())
	require.NoError(t, l.Close())
}

// Damage in segments that a snapshot makes superfluous goes with them.
func TestRepairCompacts(t *testing.T) {
	disk, o, es := termsLog(t)
	r, err := Survey(disk, testDir, false)
	require.NoError(t, err)
	tail := r.headers[len(r.headers)-1]
	for index := uint64(1); index <= es[len(es)-1].Index; index++ {
		damaged := damagedAt(t, disk, index)
		r, err := Survey(damaged, testDir, false)
		require.NoError(t, err)
		done, err := r.Compact(tail.baseIndex)
		require.NoError(t, err)
		require.Equal(t, index <= tail.baseIndex, done)
		o.FS = damaged
		l, rec, err := Open(o)
		if !done {
			require.Error(t, err, "the damage is behind the snapshot")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tail.baseIndex+1, rec.FirstIndex)
		requireLog(t, l, tail.baseIndex, es[tail.baseIndex:])
		require.NoError(t, l.Close())
	}
}
