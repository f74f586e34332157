package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	runtime.LockOSThread() // servers are told when the thread that started them ends
	var o options
	flag.StringVar(&o.rkv, "rkv", "bin/rkv", "the rkv binary")
	flag.StringVar(&o.dir, "dir", "", "where servers keep their data (default: a temporary directory beside the current one)")
	flag.BoolVar(&o.quick, "quick", false, "a few cells, about two minutes")
	flag.IntVar(&o.rounds, "rounds", 0, "turns of each server (default 5, quick 2, types 3)")
	flag.StringVar(&o.json, "json", "", "write the results to this file, too")
	flag.DurationVar(&o.soak, "soak", 0, "instead: load a cluster for so long and watch memory, descriptors, goroutines")
	flag.BoolVar(&o.snapshots, "snapshot", false, "instead: what clients notice of snapshots, installations and restarts")
	flag.BoolVar(&o.stress, "stress", false, "instead: what clients notice at parts of the peak, of slow followers, of a flood")
	flag.DurationVar(&o.phase, "phase", 10*time.Second, "with -stress: how long each is measured")
	flag.IntVar(&o.keys, "keys", 0, "with -snapshot, -stress and -stalls: so many keys, or elements (default 10, 1 and 1 million)")
	flag.StringVar(&o.steps, "steps", "", "with -snapshot (snapshot,idle,install,restart) and -stress (open,paused,dead,flood,greedy): measure only these")
	flag.BoolVar(&o.stalls, "stalls", false, "instead: how long commands on a million elements hold up other clients, beside Redis")
	flag.StringVar(&o.svg, "svg", "", "draw the results into this file")
	flag.BoolVar(&o.follower, "follower", false, "instead: a follower's rate beside the leader's, and what a GET costs which node")
	flag.BoolVar(&o.types, "types", false, "instead: what each type's hot commands cost one node's processor, beside Redis")
	flag.BoolVar(&o.share, "share", false, "with -types: how much of a write is for agreeing on a log, by perf, in one more turn")
	flag.BoolVar(&o.pause, "pause", false, "with -snapshot: once filled, wait for Enter: filling may take longer than the machine can be kept free")
	flag.BoolVar(&o.seconds, "seconds", false, "with -snapshot: print the longest time of each second, too")
	flag.IntVar(&o.port, "port", 17379, "first of the ports used")
	flag.StringVar(&o.only, "only", "", "only the cells whose names match this regular expression")
	flag.StringVar(&o.also, "also", "", "further rkv binaries, separated by commas, to compare with in the same run")
	flag.BoolVar(&o.noRedis, "no-redis", false, "leave Redis out: ratios are to the first rkv")
	flag.Float64Var(&o.scale, "scale", 1, "this part of each cell's requests")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	rkv, dir       string
	json, svg      string
	only, also     string
	quick, noRedis bool
	snapshots      bool
	stress         bool
	stalls         bool
	phase          time.Duration
	follower       bool
	types, share   bool
	rounds, port   int
	keys           int
	steps          string
	pause, seconds bool
	soak           time.Duration
	scale          float64
}

func run(o options) (err error) {
	if o.rounds == 0 {
		o.rounds = 5
		switch {
		case o.quick, o.stalls:
			o.rounds = 2
		case o.types:
			o.rounds = 3
		}
	}
	base := o.dir
	if base == "" {
		// Beside the working directory, not in /tmp, which may be memory.
		if base, err = os.MkdirTemp(".", "bench-data-"); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench: the servers' logs are kept in", base)
				return
			}
			err = os.RemoveAll(base)
		}()
	}
	if o.soak > 0 {
		return soak(o, base)
	}
	if o.snapshots {
		return snapshots(o.defaults(10_000_000, "snapshot,idle,install,restart"), base)
	}
	if o.stress {
		return stress(o.defaults(1_000_000, "open,paused,dead,flood,greedy"), base)
	}
	if o.stalls {
		return stalls(o.defaults(1_000_000, ""), base)
	}
	if o.follower {
		return followers(o, base)
	}
	if o.types {
		return types(o, base)
	}
	floor, err := measureFloor(base)
	if err != nil {
		return err
	}
	fmt.Println(floor)
	peers := []peer{redisAlways(o, base), rkvCluster(o, base, "leader")}
	cases := grid(o.quick)
	if !o.quick {
		others, err := otherPeers(o, base)
		if err != nil {
			return err
		}
		peers = append(peers, rkvCluster(o, base, "follower"), redisEverysec(o, base), rkvLease(o, base))
		peers = append(peers, others...)
	}
	if o.also != "" {
		peers = peers[:2:2]
		for _, binary := range strings.Split(o.also, ",") {
			other := o
			other.rkv = binary
			p := rkvCluster(other, base, "leader")
			p.Name = filepath.Base(binary) + " " + p.Name
			peers = append(peers, p)
		}
	}
	if o.noRedis {
		peers = slices.DeleteFunc(peers, func(p peer) bool { return strings.HasPrefix(p.Name, "redis") })
	}
	if cases, err = o.chosen(cases); err != nil {
		return err
	}
	results, err := compare(peers, cases, o.rounds)
	if err != nil {
		return err
	}
	printTable(os.Stdout, results, peers, cases)
	return errors.Join(o.writeJSON(floor, results), o.drawSVG(results, peers, cases))
}

// defaults fills in what -snapshot and -stress do not share.
func (o options) defaults(keys int, steps string) options {
	if o.keys == 0 {
		o.keys = keys
	}
	if o.steps == "" {
		o.steps = steps
	}
	return o
}

func (o options) drawSVG(results map[resultKey][]sample, peers []peer, cells []cell) error {
	if o.svg == "" {
		return nil
	}
	var b bytes.Buffer
	if err := picture(&b, results, peers, cells); err != nil {
		return err
	}
	return os.WriteFile(o.svg, b.Bytes(), 0o644)
}

func (o options) writeJSON(floor floorResult, results map[resultKey][]sample) error {
	if o.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(map[string]any{"floor": floor, "results": results}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, raw, 0o644)
}

// chosen are the cells that -only asks for.
func (o options) chosen(all []cell) ([]cell, error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	cells := slices.DeleteFunc(all, func(c cell) bool { return !pattern.MatchString(c.Name) })
	if len(cells) == 0 {
		return nil, fmt.Errorf("-only %q matches no cell", o.only)
	}
	for i := range cells {
		cells[i].Ops = max(int(float64(cells[i].Ops)*o.scale), cells[i].Clients)
	}
	return cells, nil
}

// cell is one way of loading a server.
type cell struct {
	Name    string
	Args    []string // of redis-benchmark
	Ops     int      // requests of one turn
	Clients int
	Writes  float64 // the part of them that changes something
	// mixed is the pipeline of a cell whose client is this process; 0: redis-benchmark.
	mixed int
	// before gives a server what the requests want to find; nil: nothing.
	before func(*running) error
}

// writesOf is the part of a redis-benchmark test's requests that changes something.
func writesOf(test string) float64 {
	if test == "get" {
		return 0
	}
	return 1
}

func grid(quick bool) []cell {
	mk := func(test string, c, p, n int, extra ...string) cell {
		args := append([]string{"-t", test, "-c", fmt.Sprint(c), "-P", fmt.Sprint(p), "-r", fmt.Sprint(benchKeys), "-d", "64"}, extra...)
		made := cell{Name: fmt.Sprintf("%s c=%d P=%d", test, c, p), Args: args, Ops: n, Clients: c, Writes: writesOf(test)}
		if test == "get" {
			made.before = fillOnce
		}
		return made
	}
	cells := []cell{
		mk("set", 1, 1, 8_000), mk("set", 50, 1, 100_000), mk("set", 256, 1, 150_000),
		mk("set", 50, 16, 600_000), mk("set", 50, 64, 1_000_000),
		mk("get", 50, 1, 150_000), mk("get", 50, 16, 1_000_000),
	}
	if quick {
		return cells
	}
	for _, t := range []string{"incr", "lpush", "hset", "zadd", "mset"} {
		cells = append(cells, mk(t, 50, 1, 100_000), mk(t, 50, 16, 400_000))
	}
	cells = append(cells, mk("set", 1000, 1, 150_000), mk("set", 256, 16, 600_000),
		mk("get", 1, 1, 20_000), mk("get", 256, 1, 150_000), mk("get", 1000, 1, 150_000), mk("get", 50, 64, 1_000_000),
		mixCell(50, 1, 100_000), mixCell(50, 16, 600_000))
	for _, d := range []string{"3", "1024", "16384"} {
		c := mk("set", 50, 1, 40_000, "-d", d)
		c.Name += " d=" + d
		cells = append(cells, c)
	}
	return cells
}
