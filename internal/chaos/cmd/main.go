// Command chaos runs real rkv processes under faults and judges what their clients saw
// (package internal/chaos).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/chaos"
)

func main() {
	o := chaos.Options{Out: os.Stdout}
	var faults, flags string
	flag.StringVar(&o.Binary, "rkv", "bin/rkv", "the rkv `binary`")
	flag.DurationVar(&o.Time, "time", 5*time.Minute, "of all rounds together; a started round is finished")
	flag.DurationVar(&o.Round, "round", 30*time.Second, "of faults in one round, each with a new cluster")
	flag.IntVar(&o.Kills, "kills", 0, "kill the leader `N` times, and nothing else")
	flag.BoolVar(&o.Graceful, "graceful", false, "with -kills: SIGTERM instead of SIGKILL, so that the leader hands over first")
	flag.IntVar(&o.Nodes, "nodes", 0, "3 to 5 (default: drawn)")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().Unix()), "of the first round; faults and choices repeat, timing does not")
	flag.StringVar(&faults, "faults", "", "only these, by comma")
	flag.StringVar(&flags, "flags", "", "further `flags` of each node")
	flag.DurationVar(&o.Think, "think", 0, "mean time between two operations of a client (default 8ms)")
	flag.StringVar(&o.Dir, "dir", "", "`directory` for data and for what is kept of failures (default: a temporary one)")
	flag.BoolVar(&o.Loopback, "loopback", false, "no namespaces and disks, with fewer faults")
	flag.BoolVar(&o.Verbose, "v", false, "print each fault")
	flag.Parse()
	if faults != "" {
		o.Faults = strings.Split(faults, ",")
	}
	o.Flags = strings.Fields(flags)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := chaos.Run(ctx, o)
	if report != nil {
		fmt.Print(report)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	case report.Failed(), o.Kills > 0 && report.Errors > 0:
		os.Exit(1)
	}
}
