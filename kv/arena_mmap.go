//go:build !race

package kv

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory returns n zero bytes outside the Go heap; huge asks for huge pages,
// which save TLB misses in a large table.
func mapMemory(n int, huge bool) []byte {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("kv: out of memory: mapping %d bytes: %v", n, err))
	}
	if huge {
		_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // a wish; the kernel may lack it
	}
	return mem
}

func unmapMemory(mem []byte) { _ = unix.Munmap(mem) }

// dropMemory gives the pages of mem back to the kernel; they read as zero after.
func dropMemory(mem []byte) { _ = unix.Madvise(mem, unix.MADV_DONTNEED) }
