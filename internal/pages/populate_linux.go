package pages

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var pageSize = os.Getpagesize()

// populateStep is what the kernel is asked for at a time: it lets nobody else change the
// process's mappings meanwhile.
const populateStep = 1 << 20

// populate asks for the whole pages in mem, if there are any.
func populate(mem []byte) {
	mem = wholePages(mem, pageSize)
	for len(mem) > 0 {
		n := min(len(mem), populateStep)
		if unix.Madvise(mem[:n], unix.MADV_POPULATE_WRITE) != nil {
			return
		}
		mem = mem[n:]
	}
}

func wholePages(mem []byte, size int) []byte {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	skip := int(-begin & uintptr(size-1))
	if len(mem) < skip+size {
		return nil
	}
	return mem[skip:][:(len(mem)-skip)&^(size-1)]
}
