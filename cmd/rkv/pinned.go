package main

import (
	"os/exec"
	"runtime"
)

// runPinned runs cmd from one operating-system thread: Linux delivers Pdeathsig
// when the thread that started the child ends, not the process.
func runPinned(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
