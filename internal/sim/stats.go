package sim

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Stats are what a run, or many, did. They add up.
type Stats struct {
	Seeds   int
	Virtual time.Duration
	Ops     int
	Acked   int
	Entries int
	Events  uint64
	Fired   [faults]int
	Hits    map[string]int
	// Commands counts what random commands and scripts said.
	Commands map[string]int
	// Openings counts the scenarios played.
	Openings map[string]int
	// Cells counts the seeds in which a fault class fired and an invariant was
	// evaluated; columns are I1 to I20.
	Cells [faults][invariants]int
	// Shares are the kinds of seeds.
	Shares [shares]Share

	evaluated [invariants]bool
}

const invariants = 20

// Share is what one kind of seeds did. The kinds differ too much in their speed for
// one figure to mean anything.
type Share struct {
	Seeds   int
	Virtual time.Duration
	Real    time.Duration // of the workers, added up
	Ops     int
	Events  uint64
}

const (
	swarm = iota // seconds full of faults
	calm         // hours (calm.go)
	shares
)

var shareNames = [shares]string{"swarm", "calm"}

// PrintShares tells how fast each kind of seeds ran on one worker.
func (s *Stats) PrintShares(w io.Writer) {
	for i, x := range s.Shares {
		if x.Seeds > 0 {
			fmt.Fprintf(w, "%-6s %d seeds, %.1f cluster-hours, %d ops; a seed: %v, %d events, %d ms; %.0f times real time for each worker\n",
				shareNames[i]+":", x.Seeds, x.Virtual.Hours(), x.Ops, (x.Virtual / time.Duration(x.Seeds)).Round(time.Second),
				x.Events/uint64(x.Seeds), (x.Real / time.Duration(x.Seeds)).Milliseconds(), x.Virtual.Seconds()/x.Real.Seconds())
		}
	}
}

func newStats() *Stats {
	return &Stats{Hits: map[string]int{}, Openings: map[string]int{}, Commands: map[string]int{}}
}

// fired counts a fault that really happened.
func (w *world) fired(f fault) { w.stats.Fired[f]++ }

// hit counts an event worth reaching (RELIABILITY 7.2).
func (w *world) hit(event string) { w.stats.Hits[event]++ }

// checked notes that invariants were evaluated.
func (w *world) checked(is ...int) {
	for _, i := range is {
		w.stats.evaluated[i-1] = true
	}
}

// Add adds another run's figures.
func (s *Stats) Add(o *Stats) {
	s.Seeds += o.Seeds
	s.Virtual += o.Virtual
	s.Ops += o.Ops
	s.Acked += o.Acked
	s.Entries += o.Entries
	s.Events += o.Events
	for f := range s.Fired {
		s.Fired[f] += o.Fired[f]
		for i := range s.Cells[f] {
			s.Cells[f][i] += o.Cells[f][i]
		}
	}
	for i, x := range o.Shares {
		y := &s.Shares[i]
		*y = Share{y.Seeds + x.Seeds, y.Virtual + x.Virtual, y.Real + x.Real, y.Ops + x.Ops, y.Events + x.Events}
	}
	for name, n := range o.Hits {
		s.Hits[name] += n
	}
	for name, n := range o.Openings {
		s.Openings[name] += n
	}
	for name, n := range o.Commands {
		s.Commands[name] += n
	}
}

// Faults is the number of faults fired, settings of a seed not counted.
func (s *Stats) Faults() int {
	n := 0
	for _, c := range s.Fired {
		n += c
	}
	return n
}

// cells fills in the table for one run.
func (s *Stats) cells() {
	for f, n := range s.Fired {
		for i, yes := range s.evaluated {
			if n > 0 && yes {
				s.Cells[f][i] = 1
			}
		}
	}
}

// NewStats returns a sum to add to.
func NewStats() *Stats { return newStats() }

// sometimes are the rare situations that enough seeds must reach (RELIABILITY 7.2).
// One that is never reached is a hole in the simulator.
var sometimes = []string{
	"founder killed while forming", "founder lost power while forming", "founder emptied while forming",
	"leader elected", "leader killed", "leader stepped down",
	"leader killed with entries nobody else has", "leader killed before its own fsync", "killed with a write under way",
	"killed after its write, before it noticed", "killed before its vote was durable", "killed after its vote was durable",
	"two leaders in different terms", "entry of a majority overwritten (figure 8)", "suffix truncated",
	"tail of three terms truncated", "truncation across a segment boundary", "one configuration truncated",
	"two configurations truncated", "joint configuration committed", "leader elected while joint",
	"leader outside the new configuration", "leader removed", "leader removed while partitioned", "removed node campaigns",
	"a vote asked of one who does not know it is a voter", "transfer completed", "peer refused by its boot", "older copy noticed",
	"snapshot taken", "snapshot taken during joint", "snapshot streamed", "snapshot continued", "joint snapshot streamed", "snapshot installed",
	"snapshot installed while joint", "snapshot superseded on its way", "two snapshots at once", "install races a local snapshot",
	"restarted from a snapshot", "restarted from a second-generation snapshot", "empty log and a snapshot",
	"bulk data queued for an election timeout", "read by lease", "lease over before the reply",
	"read pending at step-down", "read answered across a leader change", "read waited for a tick", "ReadIndex of an older term",
	"retry of an applied unit", "session closed by a later boot", "reply lost to a snapshot", "outcome unknown", "definite error",
	"MULTI answered across a leader change", "apply level raised", "node upgraded", "node downgraded", "node stopped at an unknown level",
	"client blocked", "XREAD waits", "client left while it was blocked", "client unblocked by another",
	"client blocked across a leader change", "hostile script", "log opened with a torn tail", "log opened with an ambiguous tail",
	"log segment damaged", "hard-state slot damaged", "snapshot damaged", "started on a damaged disk", "refused to start on damage",
	"damaged disk made whole again", "disk full met by the log", "fsync failed at leader", "stall at leader", "node stopped itself", "stopped by a disk that hangs",
	"all nodes power-cycled", "healed core at work within ten timeouts",
}

// Print writes the events reached and not reached, and the table of faults by
// invariants.
func (s *Stats) Print(w io.Writer) {
	var missed []string
	known := map[string]bool{}
	for _, name := range sometimes {
		known[name] = true
		if s.Hits[name] == 0 {
			missed = append(missed, name)
			continue
		}
		fmt.Fprintf(w, "%9d  %s\n", s.Hits[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Hits)) {
		if !known[name] {
			fmt.Fprintf(w, "%9d  %s (not on the list)\n", s.Hits[name], name)
		}
	}
	fmt.Fprintf(w, "sometimes: %d of %d reached; not reached: %q\n", len(sometimes)-len(missed), len(sometimes), missed)
	for _, name := range slices.Sorted(maps.Keys(s.Openings)) {
		fmt.Fprintf(w, "%9d  opening: %s\n", s.Openings[name], name)
	}
	fmt.Fprintf(w, "%-22s %9s", "seeds by fault", "fired")
	for i := range invariants {
		fmt.Fprintf(w, " %5s", fmt.Sprintf("I%d", i+1))
	}
	fmt.Fprintln(w)
	for f, n := range s.Fired {
		fmt.Fprintf(w, "%-22s %9d", fault(f), n)
		for i := range invariants {
			fmt.Fprintf(w, " %5d", s.Cells[f][i])
		}
		fmt.Fprintln(w)
	}
}
