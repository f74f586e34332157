package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
)

// story is what a node does between two snapshots. It reports whether the new one
// was acknowledged.
type story func(s *Store) (done bool)

func stories(t *testing.T) map[string]story {
	raw := newFile(t)
	return map[string]story{
		"write": func(s *Store) bool {
			_, err := s.Write(context.Background(), testMeta(20), newSnapshot)
			return err == nil
		},
		"receive": func(s *Store) bool {
			_, err := receiveFile(s, testMeta(20), raw)
			return err == nil
		},
		"write and retire": func(s *Store) bool {
			if _, err := s.Write(context.Background(), testMeta(20), newSnapshot); err != nil {
				return false
			}
			s.eraseStep = 512
			s.Retire(1)
			return true
		},
	}
}

var (
	oldSnapshot = someBlocks(1, 3, 3<<10)
	newSnapshot = someBlocks(2, 3, 3<<10)
)

// The power is cut at every operation that changes the disk, with several fates of
// what was not synced. There must always be a sound snapshot: the new one if it was
// acknowledged, else the new or the old one.
func TestPowerCutAtEveryOperation(t *testing.T) {
	for name, run := range stories(t) {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				acked := false
				for seed := range uint64(8) {
					fs := diskWithOld(t)
					s := openStore(t, fs)
					fs.PowerOffAfter(n)
					acked = run(s)
					fs.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
					requireSound(t, fs, acked, fmt.Sprintf("operation %d, seed %d", n, seed))
				}
				if acked && n > 50 {
					return
				}
				require.Less(t, n, 1000, "the story never ends")
			}
		})
	}
}

// Every operation fails once; the process lives on, and is crashed at the end.
func TestErrorAtEveryOperation(t *testing.T) {
	for name, run := range stories(t) {
		t.Run(name, func(t *testing.T) {
			for n := range 60 {
				fs := diskWithOld(t)
				s := openStore(t, fs)
				left := n
				fs.SetFault(func(vfs.Op) error {
					left--
					if left == -1 {
						return errors.New("input/output error")
					}
					return nil
				})
				acked := run(s)
				fs.SetFault(nil)
				newest, ok := s.Newest()
				require.True(t, ok, "operation %d", n)
				require.Equal(t, acked, newest.Meta.Index == 20, "operation %d", n)
				require.Equal(t, wantOf(newest.Meta.Index), contents(t, s, newest.Meta.Index))
				for seed := range uint64(4) {
					requireSound(t, fs.CrashClone(rand.New(rand.NewPCG(seed, uint64(n)))), acked, fmt.Sprintf("operation %d", n))
				}
			}
		})
	}
}

func diskWithOld(t *testing.T) *vfs.Mem {
	fs := vfs.NewMem()
	write(t, openStore(t, fs), 10, oldSnapshot)
	return fs
}

func wantOf(index uint64) []byte {
	if index == 20 {
		return newSnapshot.bytes()
	}
	return oldSnapshot.bytes()
}

func requireSound(t *testing.T, fs *vfs.Mem, acked bool, when string) {
	t.Helper()
	s := openStore(t, fs)
	newest, ok := s.Newest()
	require.True(t, ok, "%s: no snapshot left", when)
	if acked {
		require.EqualValues(t, 20, newest.Meta.Index, "%s: acknowledged snapshot lost", when)
	}
	require.Equal(t, wantOf(newest.Meta.Index), contents(t, s, newest.Meta.Index), when)
	if len(partials(t, fs)) > 0 { // whatever the crash made of it
		require.EqualValues(t, 10, newest.Meta.Index, when)
		_, err := receiveFile(s, testMeta(20), newFile(t))
		require.NoError(t, err, when)
		require.Equal(t, newSnapshot.bytes(), contents(t, s, 20), when)
	}
	names, err := fs.List(testDir)
	require.NoError(t, err)
	require.Len(t, names, len(s.List()), "%s: leftovers %v", when, names)
}

// newFile is newSnapshot as a file.
func newFile(t *testing.T) []byte {
	leader := openStore(t, vfs.NewMem())
	write(t, leader, 20, newSnapshot)
	return rawBytes(t, leader, 20)
}
