package snapshot

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
)

// A snapshot whose publication failed at the directory sync is seen by the next
// process, which may drop its log on its account: the name must be durable then.
func TestAdoptedNamesAreMadeDurable(t *testing.T) {
	for seed := range uint64(20) {
		disk := vfs.NewMem()
		s, err := Open(disk, testDir, Options{})
		require.NoError(t, err)
		disk.FailNth(vfs.OpSyncDir, 0, errors.New("injected"))
		_, err = s.Write(context.Background(), testMeta(10), someBlocks(seed, 2, 1000))
		require.Error(t, err)
		disk.SetFault(nil)

		s, err = Open(disk, testDir, Options{})
		require.NoError(t, err)
		_, adopted := s.Newest()
		disk.Crash(rand.New(rand.NewPCG(seed, 7)))
		s, err = Open(disk, testDir, Options{})
		require.NoError(t, err)
		_, still := s.Newest()
		require.Equal(t, adopted, still, "seed %d", seed)
	}
}
