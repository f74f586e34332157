package pages

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var pageSize = uintptr(os.Getpagesize())

// populate asks for the whole pages in mem, which is longer than two.
func populate(mem []byte) {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	skip := -begin & (pageSize - 1)
	n := (uintptr(len(mem)) - skip) &^ (pageSize - 1)
	_ = unix.Madvise(mem[skip:skip+n], unix.MADV_POPULATE_WRITE)
}
