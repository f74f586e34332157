package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var failedSeed = regexp.MustCompile(`(?m)^FAIL.*?seed[ =](\d+)[: ]*(.*)$`)

// simulate runs the simulator's seeds until one fails.
func (r *runner) simulate(ctx context.Context, overlay string, v *verdict) {
	if _, err := os.Stat(filepath.Join(r.root, simPackage)); err != nil {
		v.simAbsent = true
		return
	}
	binary := r.binary(v)
	out, err := r.command(ctx, "go", append(overlaid([]string{"build", "-o", binary}, overlay), simPackage)...)
	if err != nil {
		v.broken = "does not compile:\n" + out
		return
	}
	defer os.Remove(binary)
	out, err = r.command(ctx, binary, fmt.Sprintf("-seeds=%d", r.seeds), "-first-failure")
	v.simTried = r.seeds
	if err == nil {
		return
	}
	if f := failedSeed.FindStringSubmatch(out); f != nil {
		v.sim, _ = strconv.Atoi(f[1])
		v.simCause = shorten(f[2])
		return
	}
	v.sim, v.simCause = 1, crash(out)
}

func shorten(s string) string {
	const most = 80
	if s = strings.TrimSpace(s); len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
