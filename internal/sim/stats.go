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
	// Cells counts the seeds in which a fault class fired and an invariant was
	// evaluated; columns are I1 to I20.
	Cells [faults][invariants]int

	evaluated [invariants]bool
}

const invariants = 20

func newStats() *Stats { return &Stats{Hits: map[string]int{}} }

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
	for name, n := range o.Hits {
		s.Hits[name] += n
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

// Print writes the events reached and the table of faults by invariants.
func (s *Stats) Print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(s.Hits)) {
		fmt.Fprintf(w, "%8d  %s\n", s.Hits[name], name)
	}
	for f, n := range s.Fired {
		fmt.Fprintf(w, "%8d  fault: %v\n", n, fault(f))
	}
}
