package segmentlog

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
)

// A directory sync fails while the next segment is prepared, and the process ends. The
// next one sees the prepared file and uses it: its name must be durable by then.
// (Found by the simulator, seed 20558.)
func TestNamesOfTheProcessBeforeAreMadeDurable(t *testing.T) {
	for seed := range uint64(20) {
		disk := vfs.NewMem()
		l, _ := mustOpen(t, testOptions(disk))
		first := run(1, 3, 1, 1000)
		require.NoError(t, l.Save(saveTerm(1, first)))
		disk.FailNth(vfs.OpSyncDir, 0, errors.New("injected"))
		more := run(4, 40, 1, 1000)
		for i := range more { // until a segment is needed
			if err := l.Save(save(more[i : i+1])); err != nil {
				break
			}
			first = append(first, more[i])
		}
		require.Error(t, l.Err())
		_ = l.Close()
		disk.SetFault(nil)

		l, rec := mustOpen(t, testOptions(disk))
		require.EqualValues(t, len(first), rec.LastIndex)
		rest := run(rec.LastIndex+1, rec.LastIndex+1, 1, 1000) // goes to the prepared segment
		require.NoError(t, l.Save(save(rest)))
		disk.Crash(newRng(seed))
		l, _ = mustOpen(t, testOptions(disk))
		requireLog(t, l, 0, append(first, rest...))
		require.NoError(t, l.Close())
	}
}
