package blocking

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// received is not on a stack.
var received [1]byte

// An error is the kernel's, and who ends a call's wait runs during it, on the only processor.
func TestSyscall(t *testing.T) {
	require.Equal(t, unix.EBADF, Syscall(unix.SYS_FDATASYNC, ^uintptr(0), 0, 0, 0))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ends [2]int
	require.NoError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	written := make(chan error)
	go func() {
		_, err := unix.Write(ends[1], []byte("x"))
		written <- err
	}()
	require.Zero(t, Syscall(unix.SYS_READ, uintptr(ends[0]), uintptr(unsafe.Pointer(&received)), 1, 0))
	require.Equal(t, "x", string(received[:]))
	require.NoError(t, <-written)
}
