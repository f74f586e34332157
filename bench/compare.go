package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// sample is one turn of one peer in one cell.
type sample struct {
	RPS, P50, P99, P999 float64 // requests per second; milliseconds
	CPU                 float64 // server microseconds per request, all processes
	Syncs               float64 // fdatasyncs per second of the node under load; 0 if unknown
	Batch               float64 // writes per entry of the log; 0 if unknown
	Written             float64 // bytes that all processes sent to their disks, per request
}

type resultKey struct{ Peer, Cell string }

// MarshalText makes the key usable in JSON.
func (k resultKey) MarshalText() ([]byte, error) { return []byte(k.Peer + ": " + k.Cell), nil }

// compare lets peers take turns, forward and backward, so that a drift of the
// machine hits all alike.
func compare(peers []peer, cells []cell, rounds int) (map[resultKey][]sample, error) {
	results := map[resultKey][]sample{}
	for round := range rounds {
		for i := range peers {
			p := peers[i]
			if round%2 == 1 {
				p = peers[len(peers)-1-i]
			}
			fmt.Printf("turn %d of %d: %s\n", round+1, rounds, p.Name)
			if err := turn(p, cells, results); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	return results, nil
}

func turn(p peer, cells []cell, results map[resultKey][]sample) (err error) {
	r, err := p.start()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.keep = true
		}
		err = errors.Join(err, r.stop())
	}()
	for _, c := range cells {
		if !p.takesPart(c) {
			continue
		}
		if c.before != nil {
			if err := c.before(r); err != nil {
				return fmt.Errorf("before %s: %w", c.Name, err)
			}
		}
		s, err := load(r, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		fmt.Printf("  %-20s %9.0f rps  p50 %7.3f  p99 %7.3f  p99.9 %7.3f ms  %6.1f us/op\n", c.Name, s.RPS, s.P50, s.P99, s.P999, s.CPU)
		k := resultKey{p.Name, c.Name}
		results[k] = append(results[k], s)
	}
	return nil
}

// load loads a server as the cell says and counts what that takes from it.
func load(r *running, c cell) (s sample, err error) {
	before, err := r.spent()
	if err != nil {
		return s, err
	}
	started := time.Now()
	if c.mixed > 0 {
		c.Ops, err = s.mix(r.addr, c)
	} else {
		err = s.redisBenchmark(r.addr, c)
	}
	if err != nil {
		return s, err
	}
	took := time.Since(started)
	after, err := r.spent()
	if err != nil {
		return s, err
	}
	return s, s.charge(r, c, before, after, took)
}

// redisBenchmark runs it once.
func (s *sample) redisBenchmark(addr string, c cell) error {
	host, port, _ := strings.Cut(addr, ":")
	args := append([]string{"-h", host, "-p", port, "-n", strconv.Itoa(c.Ops)}, c.Args...)
	var out, errs bytes.Buffer
	cmd := exec.Command("redis-benchmark", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("redis-benchmark: %w: %s", err, errs.String())
	}
	return s.parse(out.String())
}

// charge shares what a turn took from the servers among its requests.
func (s *sample) charge(r *running, c cell, before, after spent, took time.Duration) error {
	ops := float64(c.Ops)
	s.CPU = float64((after.cpu - before.cpu).Microseconds()) / ops
	s.Written = float64(after.written-before.written) / ops
	if r.log == nil {
		return nil
	}
	if c.Writes > 0 && after.log.syncs == before.log.syncs {
		return errors.New("not one fdatasync was counted: this is not durable")
	}
	s.Syncs = float64(after.log.syncs-before.log.syncs) / took.Seconds()
	if entries := after.log.entries - before.log.entries; c.Writes > 0 && entries > 0 {
		s.Batch = ops * c.Writes / float64(entries)
	}
	return nil
}

// Of redis-benchmark's report, version 7.0: its CSV has no percentiles beyond p99.
var (
	reportRate    = regexp.MustCompile(`throughput summary: ([0-9.]+) requests per second`)
	reportLatency = regexp.MustCompile(`avg +min +p50 +p95 +p99 +max\s+[0-9.]+ +[0-9.]+ +([0-9.]+) +[0-9.]+ +([0-9.]+) `)
	reportPart    = regexp.MustCompile(`(?m)^([0-9.]+)% <= ([0-9.]+) milliseconds`)
)

// parse reads a report with percentiles; of several, the last one.
func (s *sample) parse(text string) error {
	report := text[max(strings.LastIndex(text, "requests completed in"), 0):]
	rate, latency := reportRate.FindStringSubmatch(report), reportLatency.FindStringSubmatch(report)
	if rate == nil || latency == nil {
		return fmt.Errorf("unexpected output %q", text)
	}
	var err error
	for _, f := range []struct {
		to   *float64
		from string
	}{{&s.RPS, rate[1]}, {&s.P50, latency[1]}, {&s.P99, latency[2]}, {&s.P999, latencyOf(99.9, report)}} {
		if *f.to, err = strconv.ParseFloat(f.from, 64); err != nil {
			return err
		}
	}
	return nil
}

// latencyOf is the first latency listed that so many percent did not exceed: the list is
// densest where they near 100, and goes from 99.805 to 99.902.
func latencyOf(percent float64, report string) string {
	for _, row := range reportPart.FindAllStringSubmatch(report, -1) {
		if p, err := strconv.ParseFloat(row[1], 64); err == nil && p >= percent {
			return row[2]
		}
	}
	return ""
}

func median[T any](all []T, f func(T) float64) float64 {
	if len(all) == 0 {
		return 0
	}
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = f(s)
	}
	sort.Float64s(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// printTable prints medians and ratios to the first peer.
func printTable(w io.Writer, results map[resultKey][]sample, peers []peer, cells []cell) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "case\tpeer\trps\tratio\tp50 ms\tp99 ms\tp99.9 ms\tserver us/op\tfdatasync/s\twrites/entry\tdisk bytes/op\t")
	for _, c := range cells {
		base := median(results[resultKey{peers[0].Name, c.Name}], func(s sample) float64 { return s.RPS })
		for _, p := range peers {
			all := results[resultKey{p.Name, c.Name}]
			if len(all) == 0 {
				continue
			}
			of := func(f func(sample) float64) float64 { return median(all, f) }
			rps := of(func(s sample) float64 { return s.RPS })
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%s\t%s\t%.0f\t\n", c.Name, p.Name, rps, rps/base,
				of(func(s sample) float64 { return s.P50 }), of(func(s sample) float64 { return s.P99 }),
				of(func(s sample) float64 { return s.P999 }), of(func(s sample) float64 { return s.CPU }),
				known("%.0f", of(func(s sample) float64 { return s.Syncs })), known("%.1f", of(func(s sample) float64 { return s.Batch })),
				of(func(s sample) float64 { return s.Written }))
		}
	}
	t.Flush()
}

// known is a dash for what was not counted.
func known(format string, n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf(format, n)
}
