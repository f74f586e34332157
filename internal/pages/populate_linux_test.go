package pages_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/pages"
)

// Each page that is touched first costs a trap, unless it was asked for.
func TestPopulatedMemoryDoesNotTrap(t *testing.T) {
	const size, page = 64 << 20, 4 << 10
	faults := func(populate bool) int64 {
		mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		require.NoError(t, err)
		defer func() { require.NoError(t, unix.Munmap(mem)) }()
		require.NoError(t, unix.Madvise(mem, unix.MADV_NOHUGEPAGE))
		if populate {
			pages.Populate(mem)
		}
		before := minorFaults(t)
		for i := 0; i < size; i += page {
			mem[i] = 1
		}
		return minorFaults(t) - before
	}
	require.GreaterOrEqual(t, faults(false), int64(size/page))
	if err := unix.Madvise(make([]byte, 3*page)[:0], unix.MADV_POPULATE_WRITE); err == unix.EINVAL {
		t.Skip("this kernel does not give pages ahead")
	}
	require.Less(t, faults(true), int64(size/page/8))
}

func minorFaults(t *testing.T) int64 {
	var use unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return use.Minflt
}
