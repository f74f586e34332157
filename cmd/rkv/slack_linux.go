package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked for the kernel may end a sleep. Go's monitor
// thread asks for 20 us again and again as long as some thread is inside fdatasync; at
// the usual slack of 50 us that is a sixth of a node's CPU, for nothing: a syncing
// thread gives its processor back after this slack instead. Our own timers tick every
// few milliseconds and do not mind.
const timerSlack = 1_000_000 // ns

// relaxTimers gives the process that slack. Threads inherit it, and the monitor thread
// is older than main: so the process replaces itself by itself, once, under the same
// pid. Without the right to do so it goes on as it is.
func relaxTimers() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack >= timerSlack {
		return
	}
	path, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return
	}
	_ = syscall.Exec(path, os.Args, os.Environ())
}
