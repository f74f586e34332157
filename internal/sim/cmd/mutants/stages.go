package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/sim/mutants"
)

// The stages: each is asked about every mutant it could notice, also after another
// one has, for the simulator has to do it alone.
//
//	tests      scripted tests of the packages that the specification names
//	histories  raftcore's TestRandomHistories, one seed after the other
//	sim        the simulator's seeds
const (
	simPackage       = "./internal/sim/cmd/sim"
	historiesPackage = "./raftcore"
)

// verdict is what became of a mutant.
type verdict struct {
	m        *mutants.Mutant
	broken   string // it does not compile, or a stage could not run
	test     string // the first scripted test that failed
	history  int    // the seed of raftcore's histories that failed, 0: none
	sim      int    // how many seeds the simulator took, 0: it did not notice
	simCause string
	simTried int // seeds that it ran
	took     time.Duration
}

func (v verdict) killed() bool { return v.test != "" || v.history != 0 || v.sim != 0 }

// String is one line.
func (v verdict) String() string {
	var by []string
	if v.sim != 0 {
		by = append(by, fmt.Sprintf("sim seed %d (%s)", v.sim, v.simCause))
	}
	if v.history != 0 {
		by = append(by, fmt.Sprintf("core history %d", v.history))
	}
	if v.test != "" {
		by = append(by, v.test)
	}
	what := "SURVIVED"
	switch {
	case v.broken != "":
		what = "BROKEN: " + v.broken
	case len(by) > 0:
		what = "killed by " + strings.Join(by, ", ")
	}
	if v.sim == 0 && v.broken == "" && v.simTried > 0 {
		what += fmt.Sprintf(" [not noticed by %d sim seeds]", v.simTried)
	}
	return fmt.Sprintf("%-5s %-70s %s (%.0fs)", v.m.Name, v.m.Title, what, v.took.Seconds())
}

// mutant runs all stages against one mutant; overlay is "" for the code as it is.
func (r *runner) mutant(ctx context.Context, m *mutants.Mutant, overlay string) (v verdict) {
	v.m = m
	started := time.Now()
	defer func() { v.took = time.Since(started) }()
	if r.asked("tests") {
		if v.test, v.broken = r.tests(ctx, m.Tests, overlay); v.broken != "" {
			return v
		}
	}
	if r.asked("histories") && m.InCore() {
		if v.history, v.broken = r.histories(ctx, overlay); v.broken != "" {
			return v
		}
	}
	if r.asked("sim") {
		r.simulate(ctx, r.seeds, overlay, &v)
	}
	return v
}

func (r *runner) asked(stage string) bool { return slices.Contains(r.stages, stage) }

// checkUnmutated runs what the mutants will be given on the code as it is: a test
// that fails anyway kills nothing.
func (r *runner) checkUnmutated(ctx context.Context, chosen []mutants.Mutant) error {
	done := map[string]bool{}
	for i := range chosen {
		key := strings.Join(chosen[i].Tests, " ")
		if done[key] || !r.asked("tests") {
			continue
		}
		done[key] = true
		if name, broken := r.tests(ctx, chosen[i].Tests, ""); name != "" || broken != "" {
			return fmt.Errorf("the unmutated code fails %s: %s %s", key, name, broken)
		}
	}
	if r.asked("histories") {
		if seed, broken := r.histories(ctx, ""); seed != 0 || broken != "" {
			return fmt.Errorf("the unmutated code fails core history %d %s", seed, broken)
		}
	}
	if !r.asked("sim") || r.anyway {
		return nil
	}
	var v verdict
	if r.simulate(ctx, min(r.seeds, sampleSeeds), "", &v); v.sim != 0 || v.broken != "" {
		return fmt.Errorf("the unmutated code fails sim seed %d: %s %s", v.sim, v.simCause, v.broken)
	}
	return nil
}

// sampleSeeds is how many the unmutated code is given here; make sim gives it more.
const sampleSeeds = 100

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// tests runs scripted tests and returns the first one that fails.
func (r *runner) tests(ctx context.Context, args []string, overlay string) (failed, broken string) {
	flags := []string{"test", "-count=1", "-failfast", "-skip=TestRandomHistories", "-timeout=" + r.limit.String()}
	out, err := r.command(ctx, "go", append(overlaid(flags, overlay), args...)...)
	switch {
	case err == nil:
		return "", ""
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return "", "does not compile:\n" + out
	}
	if names := failedTest.FindStringSubmatch(out); names != nil {
		return names[1], ""
	}
	return crash(out), ""
}

// crash names the end of a process that could not say which test failed.
func crash(out string) string {
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return strings.TrimSpace(line)
		}
	}
	return "the process ended"
}

var failedHistory = regexp.MustCompile(`(?m)--- FAIL: TestRandomHistories/(\d+)`)

// histories returns the first seed of raftcore's random histories that fails.
func (r *runner) histories(ctx context.Context, overlay string) (seed int, broken string) {
	flags := []string{"test", "-count=1", "-run=TestRandomHistories", "-timeout=" + r.limit.String()}
	out, err := r.command(ctx, "go", append(overlaid(flags, overlay), historiesPackage, fmt.Sprintf("-raftcore.seeds=%d", r.seeds), "-v")...)
	switch {
	case err == nil:
		return 0, ""
	case strings.Contains(out, "[build failed]"):
		return 0, "does not compile:\n" + out
	}
	// A panic ends the process before it can tell: the last history begun is it.
	if runs := regexp.MustCompile(`(?m)=== RUN   TestRandomHistories/(\d+)`).FindAllStringSubmatch(out, -1); runs != nil {
		seed, _ = strconv.Atoi(runs[len(runs)-1][1])
	}
	if f := failedHistory.FindStringSubmatch(out); f != nil {
		seed, _ = strconv.Atoi(f[1])
	}
	if seed == r.seeds {
		seed = 0 // the sums at the end, or the last one: not worth telling apart
	}
	return seed, ""
}

func overlaid(flags []string, overlay string) []string {
	if overlay != "" {
		flags = append(flags, "-overlay="+overlay)
	}
	return flags
}

// command runs a program in the module's directory, and all its children no longer
// than the limit (and a grace for the build).
func (r *runner) command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = r.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return string(out), err
}

// binary is where the simulator of a mutant goes.
func (r *runner) binary(v *verdict) string {
	name := "unmutated"
	if v.m != nil {
		name = v.m.Name
	}
	return filepath.Join(r.dir, "sim-"+name)
}
