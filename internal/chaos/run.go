package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options of a run. The zero value of each is a sensible default but for Binary and Time.
type Options struct {
	Binary string        // of rkv
	Time   time.Duration // of all rounds together; a started round is finished
	Round  time.Duration // of faults in one round; default 30 s
	Kills  int           // instead: so many kills of the leader and nothing else
	// Graceful stops the leader where Kills kills it.
	Graceful bool
	Nodes    int // 3 to 5; default: drawn, mostly 3
	Seed     uint64
	Faults   []string // only these; default: all the machine can do
	Flags    []string // of each node, behind ours
	Think    time.Duration
	Dir      string // for data, and for what is kept of a failure; default: a temporary one
	Out      io.Writer
	// Loopback forgoes namespaces and own disks, for a machine that refuses them.
	Loopback bool
	Verbose  bool
}

// Report is what a run found.
type Report struct {
	Rounds, Histories, Undecided int
	Ops                          int64
	Violations                   []string
	Kills                        int             // of leaders, measured
	Gaps                         []time.Duration // one a kill
	Errors                       int             // of clients on surviving nodes
	AllErrors                    int             // of all clients
	Faults                       map[string]int
	Missing                      []string // faults this machine cannot do
	Kept                         []string // directories
	samples                      []string
}

// Failed says whether the run is one to look at: an undecided history passed nobody.
func (r *Report) Failed() bool { return len(r.Violations) > 0 || r.Undecided > 0 }

func (r *Report) String() string {
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	var b strings.Builder
	fmt.Fprintf(&b, "chaos: %d histories, %d ops, %d violations, failover p50/p99 %d/%d ms\n",
		r.Histories, r.Ops, len(r.Violations), ms(percentile(r.Gaps, 0.5)), ms(percentile(r.Gaps, 0.99)))
	fmt.Fprintf(&b, "chaos: %d errors on surviving nodes over %d leader kills (longest gap %d ms, %d errors in all), %d undecided, %d rounds\n",
		r.Errors, r.Kills, ms(percentile(r.Gaps, 1)), r.AllErrors, r.Undecided, r.Rounds)
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, "  %4d %s\n", r.Faults[name], name)
	}
	for _, s := range r.samples {
		fmt.Fprintf(&b, "  error on a surviving node: %s\n", s)
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "  REDUCED, this machine cannot do: %s\n", strings.Join(r.Missing, ", "))
	}
	for _, dir := range r.Kept {
		fmt.Fprintf(&b, "  kept: %s\n", dir)
	}
	return b.String()
}

// Run performs rounds until the time is over. It needs root for namespaces and disks, and
// says loudly what it leaves out without.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Round == 0 {
		o.Round = 30 * time.Second
	}
	if o.Think == 0 {
		o.Think = 8 * time.Millisecond
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "rkv-chaos-")
		if err != nil {
			return nil, err
		}
		o.Dir = dir
		defer os.Remove(dir) // stays if anything was kept in it
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return nil, err
	}
	net, disks := o.machine()
	report := &Report{Faults: map[string]int{}}
	can, cannot := usable(o.Faults, net.cuts(), disks)
	report.Missing = cannot
	if len(can) == 0 {
		return nil, fmt.Errorf("none of the faults %v can be done here", o.Faults)
	}
	if len(cannot) > 0 {
		fmt.Fprintf(o.Out, "chaos: REDUCED fault list, without: %s\n", strings.Join(cannot, ", "))
	}
	end := time.Now().Add(o.Time)
	for i := uint64(0); ctx.Err() == nil && (i == 0 || o.Kills == 0 && time.Now().Before(end)); i++ {
		if err := o.oneRound(ctx, report, net, disks, can, o.Seed+i); err != nil {
			return report, errors.Join(err, net.close())
		}
	}
	return report, net.close()
}

// machine finds out what can be done here.
func (o *Options) machine() (network, bool) {
	if o.Loopback {
		return &loopback{}, false
	}
	var net network = &loopback{}
	if ns, err := newNamespaces(); err == nil {
		net = ns
	} else {
		fmt.Fprintf(o.Out, "chaos: no network namespaces: %v\n", err)
	}
	err := tryDisks(o.Dir)
	if err != nil {
		fmt.Fprintf(o.Out, "chaos: no disks of their own: %v\n", err)
	}
	return net, err == nil
}

func (o *Options) oneRound(ctx context.Context, report *Report, net network, disks bool, can []fault, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0x72b7))
	size := o.Nodes
	if size == 0 {
		size = []int{3, 3, 3, 5}[rng.IntN(4)]
	}
	dir := filepath.Join(o.Dir, fmt.Sprint("seed-", seed))
	say := func(string, ...any) {}
	if o.Verbose {
		say = func(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }
	}
	c, err := newCluster(o.Binary, dir, size, net, disks, say, o.Flags...)
	if err != nil {
		return err
	}
	r := &round{c: c, dir: dir, seed: seed, think: o.Think, start: time.Now(), stopCtx: ctx, rng: rng, counts: map[string]int{}}
	script := r.mixed(can, o.Round)
	if o.Kills > 0 {
		script = r.kills(o.Kills, o.Graceful)
	}
	r.perform(allWorkloads(), script)
	report.take(r)
	fmt.Fprintf(o.Out, "seed %d: %d nodes, %d ops, %d faults, %d violations, %d errors on surviving nodes\n",
		seed, size, r.began.Load(), sum(r.counts), len(r.violations), r.errs.at)
	for _, sample := range r.errs.samples[:min(len(r.errs.samples), 5)] {
		fmt.Fprintf(o.Out, "  %s\n", sample)
	}
	if len(r.violations) == 0 && r.undecided == 0 && (o.Kills == 0 || r.errs.at == 0) {
		return errors.Join(c.stop(), os.RemoveAll(dir))
	}
	for _, v := range r.violations[:min(len(r.violations), 10)] {
		fmt.Fprintf(o.Out, "  VIOLATION %s\n", v)
	}
	report.Kept = append(report.Kept, dir)
	return errors.Join(r.keep(), c.stop())
}

// mixed draws faults until the time is over.
func (r *round) mixed(can []fault, d time.Duration) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		for end := time.Now().Add(d); time.Now().Before(end) && r.stopCtx.Err() == nil; {
			f := can[rng.IntN(len(can))]
			r.event("%s", f.name)
			r.counts[f.name]++
			if err := f.do(r, rng); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			r.event("%s is over", f.name)
			r.wait(time.Duration(rng.Int64N(int64(700 * time.Millisecond))))
		}
		return nil
	}
}

// kills is the figure of DESIGN 7: leaders killed, or stopped, one after the other, nothing
// else. The report counts both as kills.
func (r *round) kills(n int, graceful bool) func(*rand.Rand) error {
	end, what := func(rng *rand.Rand, n *Node) error { return r.killFor(rng, n, true) }, "kill-leader"
	if graceful {
		end, what = r.stopLeader, "stop-leader"
	}
	return func(rng *rand.Rand) error {
		for i := 0; i < n && r.stopCtx.Err() == nil; i++ {
			lead := r.c.awaitLeader(startLimit)
			r.event("%s %d: %v", what, i+1, lead)
			if err := end(rng, lead); err != nil {
				return err
			}
			r.counts[what]++
			r.wait(500 * time.Millisecond)
		}
		return nil
	}
}

func (r *Report) take(one *round) {
	r.Rounds++
	r.Histories += one.histories
	r.Ops += one.began.Load()
	r.Undecided += one.undecided
	for _, v := range one.violations {
		r.Violations = append(r.Violations, fmt.Sprintf("seed %d: %s", one.seed, v))
	}
	r.Kills += one.gaps.kills
	r.Gaps = append(r.Gaps, one.gaps.found...)
	r.Errors += one.errs.at
	r.AllErrors += one.errs.all
	for _, s := range one.errs.samples {
		if len(r.samples) < maxSamples {
			r.samples = append(r.samples, fmt.Sprintf("seed %d: %s", one.seed, s))
		}
	}
	for name, n := range one.counts {
		r.Faults[name] += n
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
