// Package sim runs whole rkv clusters on one goroutine: the production node loop,
// core, log, snapshots, state machine and sessions over a virtual clock, network and
// disks, all of it driven by one seed. It breaks everything that may break, and
// judges what the clients were told.
//
// A run has two phases. In the first, faults are drawn from the seed's own mix while
// clients work. In the second a random core of the cluster is healed and the rest is
// gone for good: the core must elect, commit and agree within bounds, then lose its
// power and still have everything that was acknowledged.
//
// Same seed and same source: same run (Result.Trace).
package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Result is what became of one seed.
type Result struct {
	Seed  uint64
	Trace uint64 // a hash over everything that happened
	Stats *Stats
	// Err is nil, or names the invariant that does not hold.
	Err error
	ops []*op
}

// Run runs one seed. history, if not nil, gets a line for all that matters.
func Run(seed uint64, history io.Writer) Result { return RunScenario(seed, "", history) }

// RunScenario is Run with the opening of that name; "" is the seed's own, "calm" makes
// it a calm seed.
func RunScenario(seed uint64, name string, history io.Writer) (res Result) {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x726b76)), out: history, stats: newStats()}
	w.began = time.Now()
	w.logger = slog.New(slog.DiscardHandler)
	if history != nil {
		w.logger = slog.New(historyHandler{w: w})
	}
	w.net = network{w: w, links: map[linkID]*link{}}
	w.judge = newJudge(w)
	defer func() {
		if x := recover(); x != nil {
			if v, ok := x.(violation); ok {
				res.Err = fmt.Errorf("after %v: %w", w.now.Round(time.Millisecond), v)
			} else {
				res.Err = fmt.Errorf("after %v: panic: %v\n%s", w.now.Round(time.Millisecond), x, debug.Stack())
			}
			w.say("FAILED: %v", res.Err)
		}
		w.end(&res)
	}()
	w.drawOptions()
	if name == "calm" || name == "" && w.isCalm() {
		w.drawCalm()
	} else {
		w.drawScenario(name)
	}
	w.say("options: %+v", w.opt)
	w.run()
	return res
}

func (w *world) end(res *Result) {
	for _, m := range w.machines {
		if p := m.proc; p != nil {
			p.dead, m.proc = true, nil
			p.s.Kill()
		}
	}
	s := w.stats
	s.Seeds, s.Virtual, s.Ops, s.Events, s.Entries = 1, w.now, len(w.judge.ops), w.events, len(w.judge.ledger)
	for _, o := range w.judge.ops {
		if o.state == opOK {
			s.Acked++
		}
	}
	share := &s.Shares[swarm]
	if w.opt.calm {
		share = &s.Shares[calm]
	}
	*share = Share{Seeds: 1, Virtual: w.now, Real: time.Since(w.began), Ops: s.Ops, Events: w.events}
	s.cells()
	res.Seed, res.Trace, res.Stats, res.ops = w.seed, w.trace, s, w.judge.ops
}

func (w *world) run() {
	for range w.opt.nodes {
		w.addMachine(false)
	}
	for _, m := range w.machines {
		w.after(w.around(50*time.Millisecond), nil, m.start)
	}
	w.disturbFounding()
	w.runUntil(w.now+5*time.Second, func() bool { return w.leader() != nil })
	if w.leader() == nil {
		bound := 30*time.Second + 4*w.opt.election
		if w.opt.calm {
			bound += 12 * w.opt.downTime // founders may go down while they form the cluster
		}
		w.runUntil(w.now+bound, func() bool { return w.leader() != nil })
		if w.leader() == nil {
			w.fail("I20", "no leader after the start")
		}
	}
	for range w.opt.clients {
		w.addClient()
	}
	w.net.loss, w.net.dup, w.net.spike = w.opt.loss, w.opt.dup, w.opt.spike
	w.open()
	w.unleash()
	if w.leases() {
		w.after(w.around(200*time.Millisecond), nil, w.switchReadMode)
	}
	w.runUntil(w.now+w.opt.duration, nil)
	w.liveness()
}

// historyHandler puts the nodes' own log lines into the history.
type historyHandler struct {
	w     *world
	attrs string
}

// Enabled implements slog.Handler.
func (historyHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h historyHandler) Handle(_ context.Context, r slog.Record) error {
	text := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	h.w.say("    %s%s", r.Message, text)
	return nil
}

// WithAttrs implements slog.Handler.
func (h historyHandler) WithAttrs(as []slog.Attr) slog.Handler {
	for _, a := range as {
		h.attrs += " " + a.String()
	}
	return h
}

// WithGroup implements slog.Handler.
func (h historyHandler) WithGroup(string) slog.Handler { return h }
