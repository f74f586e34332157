package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// stallResult is what one server showed with one command.
type stallResult struct {
	Samples []stallSample
	Refused string // why there is not a full number of samples, if there is not
	Errors  int    // error replies to probes
}

// stallSample is one repetition. Times are in ms.
type stallSample struct {
	GET, SET seen
	Command  float64
}

// seen is what a probe saw: its longest time, and that of all but the worst hundredth.
type seen struct{ Pause, P99 float64 }

// noStall is a pause in ms that is nobody's complaint, whatever Redis's is: three nodes
// and their disks have as much now and then without a command that takes long.
const noStall = 5

func (s seen) pause() float64 { return s.Pause }
func (s seen) p99() float64   { return s.P99 }

func getSeen(s stallSample) seen { return s.GET }
func setSeen(s stallSample) seen { return s.SET }

// usual is the median of all repetitions: what the command does every time, and not what
// the machine did once.
func (r *stallResult) usual(probe func(stallSample) seen, of func(seen) float64) float64 {
	return median(r.Samples, func(s stallSample) float64 { return of(probe(s)) })
}

func (r *stallResult) worst(probe func(stallSample) seen) (ms float64) {
	for _, s := range r.Samples {
		ms = max(ms, probe(s).Pause)
	}
	return ms
}

func (r *stallResult) command() float64 {
	return median(r.Samples, func(s stallSample) float64 { return s.Command })
}

func (r *stallResult) String() string {
	text := fmt.Sprintf("%9.1f ms; pause of GET %8.1f, of SET %8.1f ms", r.command(), r.usual(getSeen, seen.pause), r.usual(setSeen, seen.pause))
	if r.Errors > 0 {
		text += fmt.Sprintf("; %d probes refused", r.Errors)
	}
	if r.Refused != "" {
		text += "; " + r.Refused
	}
	return text
}

// verdict is what a pair of results comes to, from good to bad.
type verdict int

const (
	noWorse verdict = iota // the probe waits no longer than for Redis, or not long
	noise                  // nor longer than beside the control
	worse
	refused // one of them does not do it
)

func (v verdict) String() string {
	return [...]string{noWorse: "", noise: "noise", worse: "stalls", refused: "refused"}[v]
}

// verdictOn compares what a probe saw. idle is what it saw of rkv beside the control: on a
// machine that is not free, that may be more than anybody's pause should be.
func verdictOn(redis, rkv, idle *stallResult, probe func(stallSample) seen) verdict {
	pause := rkv.usual(probe, seen.pause)
	switch {
	case redis.Refused != "" || rkv.Refused != "" || rkv.Errors > redis.Errors:
		return refused
	case pause <= max(redis.usual(probe, seen.pause), noStall):
		return noWorse
	case pause <= idle.usual(probe, seen.pause):
		return noise
	}
	return worse
}

// printStalls prints a row for each command, Redis's figure before rkv's, and the sum.
func printStalls(w io.Writer, results map[resultKey]*stallResult, peers [2]string, rows []heavy) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ms, Redis / rkv\tcommand\tGET max\tratio\tp99\tworst\tSET max\tratio\tp99\tworst\t\t")
	idle := results[resultKey{peers[1], control}]
	all, most := 0, [4]int{} // rows by their worse verdict
	for _, h := range rows {
		redis, rkv := results[resultKey{peers[0], h.name}], results[resultKey{peers[1], h.name}]
		fmt.Fprintf(t, "%s\t%s\t", h.name, beside(redis.command(), rkv.command()))
		v := noWorse
		for _, probe := range []func(stallSample) seen{getSeen, setSeen} {
			a, b := redis.usual(probe, seen.pause), rkv.usual(probe, seen.pause)
			fmt.Fprintf(t, "%s\t%.2f\t%s\t%s\t", beside(a, b), b/max(a, 0.001),
				beside(redis.usual(probe, seen.p99), rkv.usual(probe, seen.p99)), beside(redis.worst(probe), rkv.worst(probe)))
			v = max(v, verdictOn(redis, rkv, idle, probe))
		}
		if h.name == control {
			fmt.Fprintln(t, "control\t")
			continue
		}
		all++
		most[v]++
		fmt.Fprintf(t, "%s\t\n", v)
	}
	t.Flush()
	fmt.Fprintln(w, "max: the longest time of a probe, median of all repetitions; worst: the longest of all")
	fmt.Fprintf(w, "stalls: %d/%d commands pause others no longer than Redis does, or less than %d ms; %d more no longer than PING, %d refused\n",
		most[noWorse], all, noStall, most[noise], most[refused])
}

func beside(redis, rkv float64) string { return fmt.Sprintf("%.1f / %.1f", redis, rkv) }

func writeStalls(file string, results map[resultKey]*stallResult) error {
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}
