package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	failedSeed = regexp.MustCompile(`(?m)^seed (\d+): (.*)$`)
	seedsRun   = regexp.MustCompile(`(?m)^sim: (\d+) seeds`)
)

// simulate runs the simulator's seeds until one fails or the time is up.
func (r *runner) simulate(ctx context.Context, seeds int, overlay string, v *verdict) {
	binary := r.binary(v)
	out, err := r.command(ctx, "go", append(overlaid([]string{"build", "-o", binary}, overlay), simPackage)...)
	if err != nil {
		v.broken = "does not compile:\n" + out
		return
	}
	defer os.Remove(binary)
	deadline := time.Now().Add(r.limit)
	for first := 1; first <= seeds && time.Now().Before(deadline); {
		// One worker: several mutants run at once, and the failing seed is the number
		// of seeds it took.
		out, err = r.command(ctx, binary, fmt.Sprintf("-first=%d", first), fmt.Sprintf("-seeds=%d", seeds-first+1),
			fmt.Sprintf("-time=%v", time.Until(deadline)), "-failures=1", "-workers=1")
		if n := seedsRun.FindStringSubmatch(out); n != nil {
			tried, _ := strconv.Atoi(n[1])
			v.simTried = first - 1 + tried
		}
		if err == nil {
			return
		}
		f := failedSeed.FindStringSubmatch(out)
		if f == nil {
			// It could not even say so: a panic outside of a run, or a loop without an end.
			v.sim, v.simCause = v.simTried+1, crash(out)
			return
		}
		seed, _ := strconv.Atoi(f[1])
		if overlay == "" || !r.failsAnyway(ctx, seed) {
			v.sim, v.simCause = seed, shorten(f[2])
			return
		}
		first = seed + 1
	}
}

// failsAnyway reports whether the unmutated code fails the seed: then it says
// nothing about a mutant.
func (r *runner) failsAnyway(ctx context.Context, seed int) bool {
	_, err := r.command(ctx, "go", "run", simPackage, fmt.Sprintf("-seed=%d", seed))
	return err != nil
}

func shorten(s string) string {
	const most = 80
	if s = strings.TrimSpace(s); len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
