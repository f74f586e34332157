package main

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// machineIdle is how long the machine's processors have had nothing to do since it was
// started, all added up; 0 if that is not known. Time in which a processor waited for a
// disk does not count: then the disk has something to do.
func machineIdle() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return idleIn(stat)
}

// idleIn is the fourth figure of the first line, proc_stat(5).
func idleIn(stat []byte) time.Duration {
	const tick = time.Second / 100 // USER_HZ, fixed in the Linux ABI
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 5 || string(f[0]) != "cpu" {
		return 0
	}
	n, err := strconv.ParseInt(string(f[4]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}
