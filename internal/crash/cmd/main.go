// Command crash enumerates power cuts and damage (package internal/crash) and exits
// with 1 if anything acknowledged was lost or any damage went unnoticed.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"maps"

	"github.com/rkvdb/rkv/internal/crash"
)

func main() {
	states := flag.Int("states", 20000, "judge at least so many `states`")
	seed := flag.Uint64("seed", 1, "of the histories and samples")
	flag.Parse()
	started := time.Now()
	r := crash.Run(*seed, *states)
	for _, name := range slices.Sorted(maps.Keys(r.Calls)) {
		fmt.Printf("  %-32s cut at each of %d file-system calls\n", name, r.Calls[name])
	}
	for _, f := range r.Failures {
		fmt.Println(" ", f)
	}
	fmt.Printf("  seed %d, %v\n%s\n", *seed, time.Since(started).Round(time.Second), r)
	if r.Lost > 0 || r.Silent > 0 {
		os.Exit(1)
	}
}
