package compat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/servers"
)

// Result is what one unit's run against one server said. A name can occur more than
// once in a unit: the counts say how often it passed.
type Result struct {
	Passed  map[string]int
	Failed  []Failure
	Ignored int // tests that say of themselves that they do not run in this mode
	Elapsed time.Duration
	Trouble string // the run itself did not come to its end: a limit, an exception
}

// Failure is a test that ran and did not pass.
type Failure struct{ Name, Why string }

// Mode is how the suite is asked to run.
type Mode struct {
	SingleDB bool
	Tags     string        // as the suite's --tags, such as "-slow"
	Limit    time.Duration // of one unit
	Silence  time.Duration // of one test: the suite gives a unit up that reports nothing for so long
	Skip     []string      // tests of the unit that are left out
}

// maxReruns bounds how often a unit is begun again without the tests that hung.
const maxReruns = 8

// RunUnit runs one unit against the server start returns. A test that hangs ends the
// whole unit in the suite's own runner; then the unit is run again without it,
// against another server. When ctx ends, so does the unit, and the server is stopped.
func (s *Suite) RunUnit(ctx context.Context, unit string, mode Mode, logFile string, start func() (addr string, stop func(), err error)) (Result, error) {
	total := Result{Passed: map[string]int{}}
	skip, hung := slices.Clone(mode.Skip), 0
	for {
		addr, stop, err := start()
		if err != nil {
			return total, err
		}
		r, err := s.runOnce(ctx, unit, addr, mode, skip, logFile)
		stop()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return total, err
		}
		total.merge(r.Result)
		if r.inProgress == "" || hung >= maxReruns {
			return total, nil
		}
		skip = append(skip, r.inProgress)
		hung++
	}
}

// merge adds a further run of the same unit.
func (r *Result) merge(other Result) {
	for name, n := range other.Passed {
		r.Passed[name] = max(r.Passed[name], n)
	}
	known := map[string]bool{}
	for _, f := range r.Failed {
		known[f.Name] = true
	}
	for _, f := range other.Failed {
		if !known[f.Name] {
			r.Failed = append(r.Failed, f)
		}
	}
	r.Ignored = max(r.Ignored, other.Ignored)
	r.Elapsed += other.Elapsed
	r.Trouble = other.Trouble
}

type runResult struct {
	Result
	inProgress string // the test that hung
}

func (s *Suite) runOnce(ctx context.Context, unit, addr string, mode Mode, skip []string, logFile string) (runResult, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return runResult{}, err
	}
	base, err := freeBasePort()
	if err != nil {
		return runResult{}, err
	}
	args := []string{"tests/test_helper.tcl", "--baseport", base, "--host", host, "--port", port, "--durable",
		"--timeout", fmt.Sprint(int(mode.Silence.Seconds())), "--single", unit}
	if mode.SingleDB {
		args = append(args, "--singledb")
	}
	if mode.Tags != "" {
		args = append(args, "--tags", mode.Tags)
	}
	for _, name := range skip {
		args = append(args, "--skiptest", name)
	}
	ctx, cancel := context.WithTimeout(ctx, mode.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tclsh", args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "TERM=dumb", "LANG=C.UTF-8")
	// The suite starts clients of its own: all of them end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	started := time.Now()
	out, runErr := cmd.CombinedOutput()
	if cmd.Process == nil {
		return runResult{}, fmt.Errorf("starting tclsh: %w", runErr)
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return runResult{}, err
	}
	if err := appendFile(logFile, out); err != nil {
		return runResult{}, err
	}
	r := parse(string(out))
	r.Elapsed = time.Since(started)
	if ctx.Err() != nil {
		r.Trouble = fmt.Sprintf("not done after %v", mode.Limit)
	}
	return r, nil
}

// freeBasePort is what the suite counts its own ports from: its server listens 32 below.
// Two runs on one machine would meet at the default.
func freeBasePort() (string, error) {
	port, err := servers.FreePort()
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(port)
	return strconv.Itoa(n + 32), err
}

func appendFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(text)
	return err
}

var (
	statusLine = regexp.MustCompile(`^\[(ok|err|ignore|skip|exception|TIMEOUT|ready|testing|\d+/\d+ done)\]: (.*)$`)
	elapsed    = regexp.MustCompile(` \(\d+ ms\)$`)
	inFile     = regexp.MustCompile(` in tests/\S+\.tcl$`)
	inProgress = regexp.MustCompile(`\(IN PROGRESS\) (.*)$`)
)

// parse reads what the suite prints: a status line per test, and behind [err] the
// reason in any number of lines. The final summary repeats the failures.
func parse(out string) runResult {
	r := runResult{Result: Result{Passed: map[string]int{}}}
	out, _, _ = strings.Cut(out, "\n                   The End\n")
	why := -1 // of r.Failed, still being read
	for _, line := range strings.Split(out, "\n") {
		m := statusLine.FindStringSubmatch(line)
		if m == nil {
			if p := inProgress.FindStringSubmatch(line); p != nil && r.Trouble != "" {
				r.inProgress = p[1]
				r.Failed = append(r.Failed, Failure{Name: p[1], Why: "hung"})
			} else if why >= 0 {
				r.Failed[why].Why += line + "\n"
			}
			continue
		}
		why = -1
		switch m[1] {
		case "ok":
			r.Passed[elapsed.ReplaceAllString(m[2], "")]++
		case "err":
			r.Failed = append(r.Failed, Failure{Name: inFile.ReplaceAllString(m[2], "")})
			why = len(r.Failed) - 1
		case "ignore":
			r.Ignored++
		case "exception", "TIMEOUT":
			r.Trouble = m[1] + " " + m[2]
		}
	}
	return r
}
