package crash

import (
	"fmt"
	"math/rand/v2"

	"github.com/rkvdb/rkv/internal/vfs"
)

// Report counts what was seen.
type Report struct {
	States  int
	Lost    int // acknowledged data missing after a power cut
	Silent  int // damage that nobody noticed
	Refused int // damage that was refused, or that restricts the node's vote
	// Failures describes the first few of Lost and Silent.
	Failures []string
	// Calls counts, per operation, the file-system calls at which power was cut.
	Calls map[string]int
}

// String is the line that `make crash` prints.
func (r *Report) String() string {
	return fmt.Sprintf("crash: %d states, %d acknowledged lost, %d silent corruptions, %d refused safely",
		r.States, r.Lost, r.Silent, r.Refused)
}

// run is one enumeration.
type run struct {
	Report
	want int
	rng  *rand.Rand
}

// Run enumerates until at least states states were judged. Each round works on
// histories drawn from seed; the damage is done in every fourth round.
func Run(seed uint64, states int) *Report {
	r := &run{want: states, rng: rand.New(rand.NewPCG(seed, 77)), Report: Report{Calls: map[string]int{}}}
	for round := uint64(0); round == 0 || r.States < states; round++ {
		r.powerCuts(seed<<20 + round)
		if round%4 == 0 {
			r.damages(seed<<20 + round)
		}
	}
	return &r.Report
}

func (r *run) enough() bool { return r.States >= r.want }

const keptFailures = 10

func (r *run) failed(format string, args ...any) {
	if len(r.Failures) < keptFailures {
		r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
	}
}

// lost judges one state after a power cut.
func (r *run) lost(err error, format string, args ...any) {
	r.States++
	if err != nil {
		r.Lost++
		r.failed("lost: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

// verdict is what became of a damaged directory.
type verdict int

const (
	whole   verdict = iota // everything is there
	refused                // not started, or started with a restricted vote
	silent
)

func (r *run) damaged(v verdict, err error, format string, args ...any) {
	r.States++
	switch v {
	case refused:
		r.Refused++
	case silent:
		r.Silent++
		r.failed("silent: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

// bits is a source of chosen coin tosses: the disk tosses one for each unsynced
// piece when it crashes. Beyond 64 of them it goes on with a generator.
type bits struct {
	chosen uint64
	asked  int
	rest   *rand.Rand // nil: only the chosen ones, zeros behind
}

// Uint64 implements rand.Source. rand.IntN(2) uses the lowest bit.
func (b *bits) Uint64() uint64 {
	at := b.asked
	b.asked++
	if b.rest != nil {
		return b.rest.Uint64()
	}
	if at >= 64 {
		return 0
	}
	return b.chosen >> at & 1
}

const (
	allUpTo = 10
	samples = 256
)

// fates calls f with the disk as it may be after the power cut: every one, or a
// sample.
func (r *run) fates(disk *vfs.Mem, f func(after *vfs.Mem, fate string)) {
	none := &bits{}
	f(disk.CrashClone(rand.New(none)), "nothing survives")
	if none.asked == 0 {
		return
	}
	if none.asked <= allUpTo {
		for i := uint64(1); i < 1<<none.asked; i++ {
			f(disk.CrashClone(rand.New(&bits{chosen: i})), fmt.Sprintf("subset %b", i))
		}
		return
	}
	f(disk.CrashClone(rand.New(&bits{chosen: ^uint64(0)})), "all survives")
	for range samples {
		s := r.rng.Uint64()
		f(disk.CrashClone(rand.New(&bits{rest: rand.New(rand.NewPCG(s, 1))})), fmt.Sprintf("sample %d", s))
	}
}

// cuts runs an operation again and again, with the power cut one call later each
// time, until it is acknowledged. prepare builds the disk and returns the operation
// and the judge.
func (r *run) cuts(name string, prepare func() (disk *vfs.Mem, op func() error, judge func(after *vfs.Mem, acked bool) error)) {
	for k := 0; ; k++ {
		disk, op, judge := prepare()
		disk.PowerOffAfter(k)
		acked := op() == nil
		r.fates(disk, func(after *vfs.Mem, fate string) {
			r.lost(judge(after, acked), "%s, power cut at call %d, %s", name, k, fate)
		})
		if acked {
			r.Calls[name] = max(r.Calls[name], k)
			return
		}
	}
}
