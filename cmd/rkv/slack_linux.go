package main

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked for the kernel may end a sleep. Go's monitor
// thread asks for 20 us again and again as long as some thread is inside fdatasync; at
// the usual slack of 50 us that is a sixth of a node's CPU, for nothing: a syncing
// thread gives its processor back after some milliseconds instead. Our own timers tick every
// few milliseconds and do not mind.
const timerSlack = 1_000_000 // ns

// monitorSlack is the monitor thread's own. Whenever a node has been idle, which at
// moderate load is after each entry, its next system call wakes that thread, which looks
// around once or twice and falls asleep again: three switches and a timer interrupt for
// each entry, a twelfth of a node's CPU at the slack above. What it looks for may
// wait, though not for long: it ends time slices of ten milliseconds, and has the processor
// back of a system call that takes longer than foreseen, a sync on a disk that hangs above
// all (internal/vfs gives it away before where that can be foreseen). A thread that it
// starts inherits its slack, and so do those which that one starts: timers that they wait
// for are up to so much later, which is little beside a heartbeat.
const monitorSlack = 4_000_000 // ns

// relaxTimers gives the process and the monitor thread these slacks. Threads inherit
// theirs, and the monitor thread is older than main: so the process replaces itself by
// itself, once, under the same pid. Another thread's slack may be set with CAP_SYS_NICE
// only. Without the right to do one or the other it goes on as it is.
func relaxTimers() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return
	}
	if slack >= timerSlack {
		relaxMonitor()
		return
	}
	path, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return
	}
	// Threads of real time have none, whatever was set.
	if slack, err = unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || slack < timerSlack {
		return
	}
	_ = syscall.Exec(path, os.Args, os.Environ())
}

// relaxMonitor finds the monitor thread: the runtime starts it first of all. Were it
// another one, that one's timers would be so much later.
func relaxMonitor() {
	tids, err := threads()
	if err != nil {
		return
	}
	monitor := startedNext(os.Getpid(), tids)
	if monitor == 0 {
		return
	}
	// Refused without CAP_SYS_NICE.
	_ = os.WriteFile("/proc/"+strconv.Itoa(monitor)+"/timerslack_ns", strconv.AppendInt(nil, monitorSlack, 10), 0)
}

// threads lists this process's threads.
func threads() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, nil
}

// startedNext is the thread that was started after first, 0 if none was. Numbers are given
// in order, and from the lowest again behind the highest.
func startedNext(first int, tids []int) int {
	slices.Sort(tids)
	at, found := slices.BinarySearch(tids, first)
	if !found || len(tids) < 2 {
		return 0
	}
	return tids[(at+1)%len(tids)]
}
