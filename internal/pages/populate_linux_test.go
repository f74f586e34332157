package pages

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Each page that is touched first costs a trap, unless it was asked for.
func TestPopulatedMemoryDoesNotTrap(t *testing.T) {
	const size = 16 << 20
	faults := func(populated bool) int64 {
		mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		require.NoError(t, err)
		defer func() { require.NoError(t, unix.Munmap(mem)) }()
		require.NoError(t, unix.Madvise(mem, unix.MADV_NOHUGEPAGE))
		if unix.Madvise(mem[:pageSize], unix.MADV_POPULATE_WRITE) == unix.EINVAL {
			t.Skip("this kernel does not give pages ahead")
		}
		if populated {
			Populate(mem)
		}
		before := minorFaults(t)
		for i := 0; i < size; i += pageSize {
			mem[i] = 1
		}
		return minorFaults(t) - before
	}
	pages := int64(size / pageSize)
	require.GreaterOrEqual(t, faults(false), pages-1)
	require.Less(t, faults(true), pages/8)
}

func minorFaults(t *testing.T) int64 {
	var use unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return int64(use.Minflt)
}

// Whatever the size of pages and wherever memory begins, only whole pages of it are asked
// for, and none is fine.
func TestWholePages(t *testing.T) {
	mem := make([]byte, 300<<10)
	for _, size := range []int{4 << 10, 16 << 10, 64 << 10} {
		for skip := 0; skip < 70<<10; skip += 1013 {
			for _, n := range []int{0, 1, few, 20_000, 64 << 10, 200 << 10} {
				all := mem[skip:][:n]
				whole := wholePages(all, size)
				require.Zero(t, len(whole)%size)
				if len(whole) == 0 {
					require.Less(t, n, 2*size)
					continue
				}
				begin := uintptr(unsafe.Pointer(&whole[0]))
				first := uintptr(unsafe.Pointer(&all[0]))
				require.Zero(t, begin%uintptr(size))
				require.Less(t, begin-first, uintptr(size))
				left := int(first) + n - int(begin) - len(whole)
				require.True(t, left >= 0 && left < size, "%d left", left)
			}
		}
	}
}
