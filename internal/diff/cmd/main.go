// Command diff compares rkv with a real redis-server by random commands (package
// internal/diff). It starts both and exits with 1 if it found an unexplained
// difference.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/internal/diff"
	"github.com/rkvdb/rkv/internal/servers"
)

func main() {
	var o diff.Options
	rkv := flag.String("rkv", "bin/rkv", "the rkv `binary`")
	nodes := flag.Int("nodes", 3, "of the rkv cluster")
	dir := flag.String("work", "", "`directory` for data and logs (default: a temporary one, removed)")
	flag.Uint64Var(&o.Seed, "seed", 1, "of the first sequence")
	flag.IntVar(&o.Commands, "commands", 1_000_000, "end after so many")
	flag.DurationVar(&o.Time, "time", 0, "or after so long")
	flag.IntVar(&o.Length, "length", 100, "commands of a sequence")
	flag.IntVar(&o.Most, "failures", 10, "end after so many unexplained differences")
	flag.Parse()
	if err := run(o, *rkv, *dir, *nodes); err != nil {
		fmt.Fprintln(os.Stderr, "diff:", err)
		os.Exit(1)
	}
}

func run(o diff.Options, rkv, dir string, nodes int) error {
	if dir == "" {
		tmp, err := os.MkdirTemp("", "rkv-diff-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	for _, old := range []string{"redis", "rkv"} { // of an earlier run
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return err
		}
	}
	redis, err := servers.Redis(filepath.Join(dir, "redis"))
	if err != nil {
		return err
	}
	defer redis.Stop()
	cluster, err := servers.RKV(rkv, filepath.Join(dir, "rkv"), nodes, "--enable-debug-command", "yes")
	if err != nil {
		return err
	}
	defer cluster.Stop()
	o.Redis, o.RKV = redis.Leader, cluster.Leader
	o.Report = func(d diff.Difference) { fmt.Println(d) }
	started := time.Now()
	o.Progress = progress(o.Commands)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := diff.Run(ctx, o)
	fmt.Printf("  seed %d, %v, %d differences on purpose\n", o.Seed, time.Since(started).Round(time.Second), r.Explained)
	fmt.Printf("diff: %d commands, %d unexplained differences\n", r.Commands, r.Unexplained)
	if err == nil && r.Unexplained > 0 {
		err = errors.New("rkv and redis-server differ")
	}
	return err
}

// progress says every half minute how far a run of so many commands is.
func progress(commands int) func(diff.Result) {
	said := time.Now()
	return func(r diff.Result) {
		if time.Since(said) > 30*time.Second {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "  %d of %d commands, %d unexplained differences\n", r.Commands, commands, r.Unexplained)
		}
	}
}
