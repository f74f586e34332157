package segmentlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

const testDir = "/data/log"

func newRng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 99)) }

// testOptions is a log small enough that every test crosses segments.
func testOptions(fs vfs.FS) Options {
	return Options{FS: fs, Dir: testDir, SegmentSize: 16 << 10, Inline: true, LogID: 42}
}

func mustOpen(t testing.TB, o Options) (*Log, Recovered) {
	t.Helper()
	l, r, err := Open(o)
	require.NoError(t, err)
	return l, r
}

func entry(index, term uint64, body []byte) raftcore.Entry {
	e := raftcore.Entry{Index: index, Term: term, Type: raftcore.EntryNormal, Body: body}
	e.CRC = raftcore.Checksum(e.Term, e.Index, e.Type, e.Body)
	return e
}

// run makes entries [from, to] of one term with bodies of size bytes.
func run(from, to, term uint64, size int) []raftcore.Entry {
	var es []raftcore.Entry
	for i := from; i <= to; i++ {
		es = append(es, entry(i, term, bytes.Repeat([]byte{byte(i*7 + term), 0xa5}, size/2)))
	}
	return es
}

func save(es []raftcore.Entry) []raftcore.Save { return []raftcore.Save{{Entries: es}} }

func saveTerm(term uint64, es []raftcore.Entry) []raftcore.Save {
	return []raftcore.Save{{HardState: &raftcore.HardState{Term: term, Vote: 1}, MustSync: true, Entries: es}}
}

// requireLog reads the whole log and compares.
func requireLog(t testing.TB, l *Log, base uint64, want []raftcore.Entry) {
	t.Helper()
	require.NoError(t, sameLog(l, base, want))
}

func sameLog(l *Log, base uint64, want []raftcore.Entry) error {
	if l.FirstIndex() != base+1 || l.LastIndex() != base+uint64(len(want)) {
		return fmt.Errorf("log is [%d, %d], want [%d, %d]", l.FirstIndex(), l.LastIndex(), base+1, base+uint64(len(want)))
	}
	got, err := l.Entries(base+1, l.LastIndex()+1, 1<<40)
	if err != nil {
		return err
	}
	return sameEntries(got, want)
}

func sameEntries(got, want []raftcore.Entry) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if !sameEntry(got[i], want[i]) {
			return fmt.Errorf("entry %d term %d, want %d term %d (or bodies differ)", got[i].Index, got[i].Term, want[i].Index, want[i].Term)
		}
	}
	return nil
}

func sameEntry(a, b raftcore.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.CRC == b.CRC && bytes.Equal(a.Body, b.Body)
}

func segFiles(t testing.TB, fs vfs.FS) (paths []string) {
	names, err := fs.List(testDir)
	require.NoError(t, err)
	for _, n := range names {
		if id, free, ok := parseName(n); ok && !free {
			paths = append(paths, segPath(testDir, id))
		}
	}
	slices.Sort(paths)
	return paths
}
