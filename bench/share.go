package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// replicationShare is what part of a node's processor time goes into agreeing on a log
// while it is loaded as the cell says: 0 to 1, by a profile of one more turn, whose time
// does not count anywhere else (perf costs some).
func replicationShare(r *running, c cell) (share float64, err error) {
	file := filepath.Join(r.dir, "perf.data")
	defer os.Remove(file)
	cmd := exec.Command("perf", "record", "-q", "-F", "1999", "-g", "-p", strconv.Itoa(r.procs[0].Process.Pid), "-o", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(200 * time.Millisecond) // until it has attached
	_, err = load(r, c)
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait() // it ends by the signal
	if err != nil {
		return 0, err
	}
	script := exec.Command("perf", "script", "-i", file, "-F", "ip,sym")
	out, err := script.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := script.Start(); err != nil {
		return 0, err
	}
	agreeing, all, err := countAgreeing(out)
	if err := errors.Join(err, script.Wait()); err != nil {
		return 0, err
	}
	if all < 100 {
		return 0, fmt.Errorf("perf took %d samples of a node at work", all)
	}
	return float64(agreeing) / float64(all), nil
}

// countAgreeing reads perf's list of stacks, each with its innermost function first, a blank
// line between them. The first function that one of the two lists names decides.
func countAgreeing(out io.Reader) (agreeing, all int, err error) {
	lines := bufio.NewScanner(out)
	decided, inside := false, false
	for lines.Scan() {
		_, function, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if !ok {
			decided, inside = false, false
			continue
		}
		if !inside {
			inside = true
			all++
		}
		switch {
		case decided:
		case namesOne(function, notAgreeing):
			decided = true
		case namesOne(function, isAgreeing):
			decided = true
			agreeing++
		}
	}
	return agreeing, all, lines.Err()
}

// isAgreeing is what a store with a log of its own, like Redis with its AOF, has no need
// of: the core, the node's turns, units put together to entries, the hand-over from one
// goroutine to the next.
var isAgreeing = []string{"rkv/raftcore.", "rkv/internal/node.", "rkv/internal/transport."}

// notAgreeing is what Redis does as well, though a node's functions call it: the log's
// records, writes and syncs, executing commands, sockets. Decoding entries is left with it,
// and so are Go's scheduler and collector, which no function of ours stands above.
var notAgreeing = []string{"rkv/segmentlog.", "rkv/internal/vfs.", "rkv/kv.(*Store).", "rkv/resp."}

func namesOne(function string, of []string) bool {
	for _, name := range of {
		if strings.Contains(function, name) {
			return true
		}
	}
	return false
}
