package pages

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/blocking"
)

var pageSize = os.Getpagesize()

// populateStep is what the kernel is asked for at a time: it lets nobody else change the
// process's mappings meanwhile. (Of a huge page it makes the whole.)
const populateStep = 1 << 20

// populate asks for the whole pages in mem, if there are any, and reports whether they are
// there. aside: the kernel may take long, and others go on meanwhile.
func populate(mem []byte, aside bool) bool {
	mem = wholePages(mem, pageSize)
	for len(mem) > 0 {
		n := min(len(mem), populateStep)
		var err error
		if !aside {
			err = unix.Madvise(mem[:n], unix.MADV_POPULATE_WRITE)
		} else if errno := blocking.Syscall(unix.SYS_MADVISE, uintptr(unsafe.Pointer(&mem[0])), uintptr(n), unix.MADV_POPULATE_WRITE, 0); errno != 0 {
			err = errno
		}
		if err != nil {
			return false
		}
		mem = mem[n:]
	}
	return true
}

func wholePages(mem []byte, size int) []byte {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	skip := int(-begin & uintptr(size-1))
	if len(mem) < skip+size {
		return nil
	}
	return mem[skip:][:(len(mem)-skip)&^(size-1)]
}
