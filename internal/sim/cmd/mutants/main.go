// Mutants puts the known bugs of Raft implementations into the code, one at a
// time, and reports what notices: the scripted tests, the random histories of the
// core, the seeds of the simulator. See docs/testing.md.
//
//	go run ./internal/sim/cmd/mutants [-only R07,R09] [-seeds 1000] [-jobs 2]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rkvdb/rkv/internal/sim/mutants"
)

func main() {
	r := runner{}
	only := flag.String("only", "", "run only these mutants, by name, with commas between")
	flag.IntVar(&r.seeds, "seeds", 1000, "how many seeds a mutant is given")
	flag.IntVar(&r.jobs, "jobs", 2, "mutants at a time")
	flag.DurationVar(&r.limit, "limit", 5*time.Minute, "the longest that one stage of one mutant may take")
	flag.StringVar(&r.root, "root", "", "the module to mutate, if not this one: a clean copy, while this one is being worked on")
	stages := flag.String("stages", "tests,histories,sim", "who is asked")
	flag.BoolVar(&r.anyway, "anyway", false, "go on although the unmutated code fails seeds of the simulator; they count for nothing")
	build := flag.String("build", "", "only build the simulator of each mutant into this directory, to look at a seed")
	flag.Parse()
	r.stages = strings.Split(*stages, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return r.run(ctx, *only, os.Stdout) }
	if *build != "" {
		run = func() error { return r.build(ctx, *only, *build) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type runner struct {
	seeds, jobs int
	limit       time.Duration
	stages      []string
	anyway      bool

	root, dir string
}

// run reports every mutant and the sums. It fails if the code as it is does not
// pass what the mutants are given, or a mutant is stale or does not compile.
func (r *runner) run(ctx context.Context, only string, out io.Writer) error {
	chosen, overlays, err := r.prepare(only)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	if err := r.checkUnmutated(ctx, chosen); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d mutants, at most %d seeds each\n", len(chosen), r.seeds)
	verdicts := r.judge(ctx, chosen, overlays, out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return report(out, verdicts)
}

// prepare writes the overlays of the chosen mutants into r.dir, which the caller
// removes.
func (r *runner) prepare(only string) (chosen []mutants.Mutant, overlays map[string]string, err error) {
	if r.root == "" {
		r.root, err = mutants.ModuleRoot()
	} else {
		r.root, err = filepath.Abs(r.root)
	}
	if err != nil {
		return nil, nil, err
	}
	if chosen, err = choose(only); err != nil {
		return nil, nil, err
	}
	if r.dir, err = os.MkdirTemp("", "mutants"); err != nil {
		return nil, nil, err
	}
	overlays = map[string]string{}
	for i := range chosen {
		m := &chosen[i]
		if overlays[m.Name], err = m.Overlay(r.root, r.dir); err != nil {
			_ = os.RemoveAll(r.dir)
			return nil, nil, err
		}
	}
	return chosen, overlays, nil
}

// build leaves the simulator of each mutant in dir under the mutant's name.
func (r *runner) build(ctx context.Context, only, dir string) error {
	chosen, overlays, err := r.prepare(only)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	for i := range chosen {
		name := chosen[i].Name
		args := overlaid([]string{"build", "-o", filepath.Join(dir, name)}, overlays[name])
		if out, err := r.command(ctx, "go", append(args, simPackage)...); err != nil {
			return fmt.Errorf("%s does not compile: %w\n%s", name, err, out)
		}
	}
	return nil
}

func choose(only string) ([]mutants.Mutant, error) {
	all, err := mutants.All()
	if err != nil || only == "" {
		return all, err
	}
	var chosen []mutants.Mutant
	for _, name := range strings.Split(only, ",") {
		found := false
		for i := range all {
			if all[i].Name == name {
				chosen, found = append(chosen, all[i]), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no mutant %q", name)
		}
	}
	return chosen, nil
}

// judge gives the mutants to r.jobs workers and prints each verdict as it comes.
func (r *runner) judge(ctx context.Context, chosen []mutants.Mutant, overlays map[string]string, out io.Writer) []verdict {
	verdicts := make([]verdict, len(chosen))
	next := make(chan int)
	var print sync.Mutex
	var workers sync.WaitGroup
	for range r.jobs {
		workers.Go(func() {
			for i := range next {
				v := r.mutant(ctx, &chosen[i], overlays[chosen[i].Name])
				verdicts[i] = v
				print.Lock()
				fmt.Fprintln(out, v)
				print.Unlock()
			}
		})
	}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return verdicts
}
