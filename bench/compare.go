package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// sample is one turn of one peer in one cell.
type sample struct {
	RPS, P50, P99 float64 // requests per second; milliseconds
	CPU           float64 // server microseconds per request, all processes
	Syncs         float64 // fdatasyncs per second of the node under load; 0 if unknown
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
		s, err := load(r, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		fmt.Printf("  %-20s %9.0f rps  p50 %7.3f  p99 %7.3f ms  %6.1f us/op\n", c.Name, s.RPS, s.P50, s.P99, s.CPU)
		k := resultKey{p.Name, c.Name}
		results[k] = append(results[k], s)
	}
	return nil
}

// load runs redis-benchmark once.
func load(r *running, c cell) (s sample, err error) {
	host, port, _ := strings.Cut(r.addr, ":")
	args := append([]string{"-h", host, "-p", port, "-n", strconv.Itoa(c.Ops), "--csv"}, c.Args...)
	cpu0, err := r.cpu()
	if err != nil {
		return s, err
	}
	syncs0, counted := r.syncs()
	started := time.Now()
	var out, errs bytes.Buffer
	cmd := exec.Command("redis-benchmark", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("redis-benchmark: %w: %s", err, errs.String())
	}
	took := time.Since(started)
	cpu1, err := r.cpu()
	if err != nil {
		return s, err
	}
	if counted {
		n, _ := r.syncs()
		s.Syncs = float64(n-syncs0) / took.Seconds()
		if c.Writes > 0 && n == syncs0 {
			return s, errors.New("not one fdatasync was counted: this is not durable")
		}
	}
	s.CPU = float64((cpu1 - cpu0).Microseconds()) / float64(c.Ops)
	return s, s.parse(out.String())
}

// parse reads the last line of --csv: test, rps, avg, min, p50, p95, p99, max.
func (s *sample) parse(text string) error {
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 2 || len(rows[len(rows)-1]) < 8 {
		return fmt.Errorf("unexpected output %q", text)
	}
	row := rows[len(rows)-1]
	for _, f := range []struct {
		to  *float64
		col int
	}{{&s.RPS, 1}, {&s.P50, 4}, {&s.P99, 6}} {
		if *f.to, err = strconv.ParseFloat(row[f.col], 64); err != nil {
			return err
		}
	}
	return nil
}

func median(all []sample, f func(sample) float64) float64 {
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
	fmt.Fprintln(t, "case\tpeer\trps\tratio\tp50 ms\tp99 ms\tserver us/op\tfdatasync/s\t")
	for _, c := range cells {
		base := median(results[resultKey{peers[0].Name, c.Name}], func(s sample) float64 { return s.RPS })
		for _, p := range peers {
			all := results[resultKey{p.Name, c.Name}]
			rps := median(all, func(s sample) float64 { return s.RPS })
			syncs := "-"
			if n := median(all, func(s sample) float64 { return s.Syncs }); n > 0 {
				syncs = fmt.Sprintf("%.0f", n)
			}
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%s\t\n", c.Name, p.Name, rps, rps/base,
				median(all, func(s sample) float64 { return s.P50 }), median(all, func(s sample) float64 { return s.P99 }),
				median(all, func(s sample) float64 { return s.CPU }), syncs)
		}
	}
	t.Flush()
}
