//go:build !race

package kv

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory returns n zero bytes outside the Go heap.
func mapMemory(n int) []byte {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("kv: out of memory: mapping %d bytes: %v", n, err))
	}
	return mem
}

// adviseHuge asks for huge pages; a wish, for the kernel may lack them.
func adviseHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }

func unmapMemory(mem []byte) { _ = unix.Munmap(mem) }

// dropMemory gives the pages of mem back to the kernel; they read as zero after.
func dropMemory(mem []byte) { _ = unix.Madvise(mem, unix.MADV_DONTNEED) }
