// Command compat runs Redis's own test suite (package internal/compat) against a
// cluster of three rkv nodes, through its leader and through a follower, and compares
// with the recorded baseline of a real redis-server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/compat"
	"github.com/rkvdb/rkv/internal/servers"
)

type options struct {
	rkv, source, cache, work, data string
	through                        string
	units, tags                    string
	record, singleDB, verbose      bool
	limit, silence                 time.Duration
	floor                          float64
	skip                           compat.Baseline // cannot pass by design: left out, counted as failed
}

func main() {
	var o options
	flag.StringVar(&o.rkv, "rkv", "bin/rkv", "the rkv `binary`")
	flag.StringVar(&o.source, "source", os.Getenv("REDIS_SRC"), "a checkout of Redis (REDIS_SRC); default: Debian's source package")
	flag.StringVar(&o.cache, "cache", ".cache", "where Debian's source package is kept")
	flag.StringVar(&o.work, "work", "", "`directory` for data and logs (default: a temporary one, removed)")
	flag.StringVar(&o.data, "baselines", "internal/compat/testdata", "`directory` of the baselines")
	flag.StringVar(&o.through, "through", "leader,follower", "the nodes to talk to, or redis: a real one")
	flag.StringVar(&o.units, "units", "", "only these units, by comma (default: all)")
	flag.StringVar(&o.tags, "tags", "", "as the suite's --tags, such as '-slow'")
	flag.BoolVar(&o.record, "record", false, "record the baseline of the redis-server in PATH instead")
	flag.BoolVar(&o.singleDB, "singledb", false, "let the suite keep to one database")
	flag.BoolVar(&o.verbose, "v", false, "print why each test failed")
	flag.DurationVar(&o.limit, "limit", 30*time.Minute, "of one unit")
	flag.DurationVar(&o.silence, "silence", 90*time.Second, "of one test")
	flag.Float64Var(&o.floor, "floor", 0, "exit with 1 below so many `percent`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.work == "" {
		dir, err := os.MkdirTemp("", "rkv-compat-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.work = dir
	}
	work, err := filepath.Abs(o.work)
	if err != nil {
		return err
	}
	o.work = work
	suite, err := compat.Open(o.source, o.cache, o.work)
	if err != nil {
		return err
	}
	units, err := suite.Units()
	if err != nil {
		return err
	}
	if o.units != "" {
		units = strings.Split(o.units, ",")
	}
	file := filepath.Join(o.data, "baseline-"+suite.Version+".txt")
	if o.record {
		return record(ctx, o, suite, units, file)
	}
	baseline, err := readBaseline(file)
	if err != nil {
		return fmt.Errorf("%w (record one with make compat-baseline)", err)
	}
	if o.skip, err = readIfThere(filepath.Join(o.data, "by-design-"+suite.Version+".txt")); err != nil {
		return err
	}
	return compare(ctx, o, suite, units, baseline)
}

// readIfThere reads a list of tests that there need not be.
func readIfThere(file string) (compat.Baseline, error) {
	b, err := readBaseline(file)
	if errors.Is(err, os.ErrNotExist) {
		return compat.Baseline{}, nil
	}
	return b, err
}

func readBaseline(file string) (compat.Baseline, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return compat.ReadBaseline(f)
}

// compare runs the units through each kind of node and prints the score.
func compare(ctx context.Context, o options, suite *compat.Suite, units []string, baseline compat.Baseline) error {
	var total compat.Score
	for _, through := range strings.Split(o.through, ",") {
		var score compat.Score
		for _, unit := range units {
			if len(baseline[unit]) == 0 {
				continue // nothing of it runs against an external server
			}
			r, err := runUnit(ctx, o, suite, unit, through)
			if err != nil {
				return err
			}
			s := baseline.Compare(unit, r.Passed)
			score.Add(s)
			report(o, through, unit, r, s)
		}
		fmt.Printf("compat %s: %d/%d (%.2f%%)\n", through, score.Passed, score.Baseline, score.Percent())
		for i := range score.Missing {
			score.Missing[i] = through + " " + score.Missing[i]
		}
		total.Add(score)
	}
	for _, name := range total.Missing {
		fmt.Println("failed:", name)
	}
	fmt.Printf("compat: %d/%d (%.2f%%)\n", total.Passed, total.Baseline, total.Percent())
	if total.Percent() < o.floor {
		return fmt.Errorf("%.2f%% is below the floor of %.2f%%", total.Percent(), o.floor)
	}
	return nil
}

func report(o options, through, unit string, r compat.Result, s compat.Score) {
	fmt.Printf("  %-8s %-32s %4d/%-4d %4.0fs %s\n", through, unit, s.Passed, s.Baseline, r.Elapsed.Seconds(), r.Trouble)
	if !o.verbose {
		return
	}
	for _, name := range s.Missing {
		_, name, _ = strings.Cut(name, ": ")
		i := slices.IndexFunc(r.Failed, func(f compat.Failure) bool { return f.Name == name })
		why := "did not run"
		if i >= 0 {
			why = strings.TrimSpace(r.Failed[i].Why)
		}
		fmt.Printf("      %s\n        %s\n", name, strings.ReplaceAll(why, "\n", "\n        "))
	}
	for _, f := range r.Failed {
		if strings.HasPrefix(f.Name, "exception") || r.Trouble != "" {
			fmt.Printf("      (%s: %s)\n", f.Name, strings.TrimSpace(f.Why))
		}
	}
}

// record runs the units against redis-server and writes what it passes. Units that are
// not run keep what was recorded of them.
func record(ctx context.Context, o options, suite *compat.Suite, units []string, file string) error {
	baseline, err := readIfThere(file)
	if err != nil {
		return err
	}
	for _, unit := range units {
		r, err := runUnit(ctx, o, suite, unit, "redis")
		if err != nil {
			return err
		}
		baseline[unit] = r.Passed
		fmt.Printf("  %-32s %4d passed %3d failed %4.0fs %s\n", unit, len(r.Passed), len(r.Failed), r.Elapsed.Seconds(), r.Trouble)
		for _, f := range r.Failed {
			fmt.Printf("      %s: %s\n", f.Name, strings.TrimSpace(f.Why))
		}
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "# What redis-server %s passes of its own suite against an external server.\n# Recorded by make compat-baseline.\n", suite.Version); err != nil {
		return err
	}
	_, err = baseline.WriteTo(f)
	return err
}

// runUnit runs a unit against servers of its own.
func runUnit(ctx context.Context, o options, suite *compat.Suite, unit, through string) (compat.Result, error) {
	dir := filepath.Join(o.work, through, strings.ReplaceAll(unit, "/", "-"))
	if err := os.RemoveAll(dir); err != nil {
		return compat.Result{}, err
	}
	mode := compat.Mode{SingleDB: o.singleDB, Tags: o.tags, Limit: o.limit, Silence: o.silence,
		Skip: slices.Sorted(maps.Keys(o.skip[unit]))}
	n := 0
	r, err := suite.RunUnit(ctx, unit, mode, filepath.Join(dir, "suite.log"), func() (string, func(), error) {
		n++
		return start(o, suite.Version, filepath.Join(dir, fmt.Sprint("run", n)), through)
	})
	return r, err
}

// majorMinor is the version that rkv is to imitate for a suite.
func majorMinor(version string) string {
	if strings.HasPrefix(version, "7.0") || strings.HasPrefix(version, "7.2") {
		return version[:3]
	}
	return "7.4"
}

func start(o options, version, dir, through string) (string, func(), error) {
	var s *servers.Server
	var err error
	switch through {
	case "redis":
		s, err = servers.Redis(dir)
	case "leader", "follower":
		s, err = servers.RKV(o.rkv, dir, 3, "--enable-debug-command", "yes")
	default:
		err = fmt.Errorf("-through %q is none of leader, follower, redis", through)
	}
	if err != nil {
		return "", nil, err
	}
	if minor := majorMinor(version); through != "redis" && minor != "7.0" {
		if _, err := servers.Ask(s.Leader, "CONFIG", "SET", "redis-version", minor); err != nil {
			return "", nil, errors.Join(err, s.Stop())
		}
	}
	addr := s.Leader
	if through == "follower" {
		addr = s.Follower
	}
	return addr, func() { _ = s.Stop() }, nil
}
