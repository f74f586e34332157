package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
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
	// One worker: several mutants run at once, and the first failing seed is the
	// number of seeds it took.
	out, err = r.command(ctx, binary, fmt.Sprintf("-seeds=%d", seeds), fmt.Sprintf("-time=%v", r.limit), "-failures=1", "-workers=1")
	if n := seedsRun.FindStringSubmatch(out); n != nil {
		v.simTried, _ = strconv.Atoi(n[1])
	}
	if err == nil {
		return
	}
	if f := failedSeed.FindStringSubmatch(out); f != nil {
		v.sim, _ = strconv.Atoi(f[1])
		v.simCause = shorten(f[2])
		return
	}
	// It could not even say so: a panic outside of a run, or a loop without an end.
	v.sim, v.simCause = v.simTried+1, crash(out)
}

func shorten(s string) string {
	const most = 80
	if s = strings.TrimSpace(s); len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
