// Package blocking makes system calls that are known to block.
//
// A system call that Go knows of keeps its processor (P) until the monitor thread finds
// that it takes long, which is after some milliseconds here (cmd/rkv's monitorSlack), longer
// than most of them. With one P for the hot path that would stop the node meanwhile: no
// command is read, no acknowledgement heard. These calls give the P away before, as the
// runtime does for its own (docs/adr/0022).
//
// Giving it away wakes another thread, and having it back afterwards takes a second one:
// dearer than the wait when that is short.
package blocking

import (
	"syscall"
	_ "unsafe" // for go:linkname
)

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// Syscall is the system call trap; 0 is success. Its arguments keep nothing alive: what they
// point to must be held by the caller until it returns, and not lie on a goroutine's stack,
// which may move.
//
// The runtime finds its frame by the stack pointer, so that nothing may stand between the
// three calls.
//
//go:nosplit
//go:norace
func Syscall(trap, a1, a2, a3, a4 uintptr) syscall.Errno {
	entersyscallblock()
	_, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, a4, 0, 0)
	exitsyscall()
	return errno
}
