package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// round is one cluster under faults and what its clients saw.
type round struct {
	c     *Cluster
	dir   string
	seed  uint64
	think time.Duration // mean time between two operations of a session
	start time.Time

	workCtx context.Context // over when the clients shall end
	stopCtx context.Context // over when the whole run is called off

	clients sync.WaitGroup
	began   atomic.Int64 // operations
	errs    clientErrors
	gaps    gaps

	rngMu sync.Mutex
	rng   *rand.Rand

	eventMu sync.Mutex
	events  []string
	counts  map[string]int // faults done

	running    []*running
	violations []string
	undecided  int
	histories  int
}

func (r *round) newRand() *rand.Rand {
	r.rngMu.Lock()
	defer r.rngMu.Unlock()
	return rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64()))
}

// event is a line of the round's story.
func (r *round) event(format string, args ...any) {
	line := fmt.Sprintf("%8.3f %s", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
	r.eventMu.Lock()
	r.events = append(r.events, line)
	r.eventMu.Unlock()
	r.c.say("%s", line)
}

func (r *round) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.stopCtx.Done():
	}
}

func (r *round) violation(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.event("VIOLATION %s", line)
	r.violations = append(r.violations, line)
}

// perform runs the clients, the script of faults beside them, and everything that comes after.
func (r *round) perform(workloads []workload, script func(rng *rand.Rand) error) {
	workCtx, endWork := context.WithCancel(r.stopCtx)
	defer endWork()
	r.workCtx = workCtx
	for _, n := range r.c.members() {
		r.probe(n)
	}
	for _, w := range workloads {
		one := &running{workload: w}
		r.running = append(r.running, one)
		r.startWork(one)
	}
	r.wait(500 * time.Millisecond)
	if err := script(r.newRand()); err != nil && r.stopCtx.Err() == nil {
		r.violation("not healed: %v", err)
	}
	r.wait(500 * time.Millisecond)
	endWork()
	r.clients.Wait()
	if r.stopCtx.Err() != nil {
		return
	}
	r.workCtx = r.stopCtx
	r.end()
}

// end reads the end state and judges.
func (r *round) end() {
	if err := r.c.awaitReady(r.c.members(), startLimit); err != nil {
		r.violation("not healed: %v", err)
		return
	}
	for _, w := range r.running {
		for _, v := range r.finalReads(w) {
			r.violation("%s: %s", w.name(), v)
		}
	}
	if err := r.c.sameDigests(startLimit); err != nil {
		r.violation("%v", err)
	}
	for _, w := range r.running {
		violations, undecided := w.judge(w.h.all())
		for _, v := range violations {
			r.violation("%s: %s", w.name(), v)
		}
		r.undecided += undecided
		r.histories++
	}
	for _, crash := range r.c.crashes() {
		r.violation("%s", crash)
	}
	for _, v := range r.logs() {
		r.violation("%s", v)
	}
}

// logs looks for what no node may ever say.
func (r *round) logs() (violations []string) {
	files, _ := filepath.Glob(filepath.Join(r.dir, "n*.log"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			violations = append(violations, err.Error())
		}
		for line := range strings.Lines(string(text)) {
			for _, word := range []string{"panic:", "fatal error:", "apply hash", "DATA RACE"} {
				if strings.Contains(line, word) {
					violations = append(violations, filepath.Base(file)+" says "+strings.TrimSpace(line))
				}
			}
		}
	}
	return violations
}

// keep writes histories and the story beside the nodes' logs.
func (r *round) keep() error {
	for _, w := range r.running {
		if err := w.h.write(filepath.Join(r.dir, "history-"+w.name()+".jsonl")); err != nil {
			return err
		}
	}
	story := strings.Join(r.events, "\n") + "\n\nerrors on surviving nodes:\n" + strings.Join(r.errs.samples, "\n") + "\n"
	return os.WriteFile(filepath.Join(r.dir, "story.txt"), []byte(story), 0o644)
}
