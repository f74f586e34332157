// Command sim runs seeds of the simulator (internal/sim) and reports.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/sim"
)

func main() {
	seeds := flag.Int("seeds", 300, "number of seeds")
	first := flag.Uint64("first", 1, "the first seed")
	scenario := flag.String("scenario", "", "open every seed with this scenario; calm: make every seed a calm one")
	one := flag.Uint64("seed", 0, "run this seed alone")
	verbose := flag.Bool("v", false, "with -seed: print the history")
	table := flag.Bool("table", false, "print the events reached and the table of faults by invariants")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "seeds that run at once")
	limit := flag.Duration("time", 0, "stop beginning seeds after so long; 0: no limit")
	maxFailures := flag.Int("failures", 0, "stop after so many failures; 0: go on")
	traces := flag.Bool("traces", false, "print each seed's trace hash")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(800)
	if *one != 0 {
		*first, *seeds, *workers = *one, 1, 1
	}
	var history io.Writer
	if *one != 0 && *verbose {
		history = os.Stdout
	}

	started := time.Now()
	var mu sync.Mutex
	total := sim.NewStats()
	failures, next := 0, uint64(0)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= uint64(*seeds) || *limit > 0 && time.Since(started) > *limit || *maxFailures > 0 && failures >= *maxFailures {
			return 0, false
		}
		next++
		return *first + next - 1, true
	}
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := sim.RunScenario(seed, *scenario, history)
				mu.Lock()
				total.Add(r.Stats)
				if *traces {
					fmt.Printf("trace %d %016x\n", seed, r.Trace)
				}
				if r.Err != nil {
					failures++
					fmt.Printf("seed %d: %v\n  replay: make sim SEED=%d\n", seed, r.Err, seed)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if *table {
		total.Print(os.Stdout)
	}
	wall := time.Since(started)
	total.PrintShares(os.Stdout)
	cpu := cpuTime()
	fmt.Printf("speed-up: %.0f times real time (%v simulated in %v, %d workers), %.0f times the CPU time (%v)\n",
		total.Virtual.Seconds()/wall.Seconds(), total.Virtual.Round(time.Second), wall.Round(time.Second), *workers,
		total.Virtual.Seconds()/cpu.Seconds(), cpu.Round(100*time.Millisecond))
	fmt.Printf("sim: %d seeds, %.1f cluster-hours, %d ops, %d faults fired, %d failures\n",
		total.Seeds, total.Virtual.Hours(), total.Ops, total.Faults(), failures)
	if failures > 0 {
		pprof.StopCPUProfile()
		os.Exit(1)
	}
}

// cpuTime is what this process has used of all processors. On a machine that others
// use, too, it says more than the time that passed.
func cpuTime() time.Duration {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
