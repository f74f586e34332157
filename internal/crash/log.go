package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

const logDir = "/data/log"

func openLog(disk *vfs.Mem) (*segmentlog.Log, segmentlog.Recovered, error) {
	return segmentlog.Open(segmentlog.Options{FS: disk, Dir: logDir, SegmentSize: 16 << 10, Inline: true, LogID: 42})
}

// history is what a log must hold.
type history struct {
	hard    raftcore.HardState
	base    raftcore.Position
	entries []raftcore.Entry
}

func (h *history) last() uint64 { return h.base.Index + uint64(len(h.entries)) }

func (h *history) term(i uint64) uint64 {
	if i <= h.base.Index {
		return h.base.Term
	}
	return h.entries[i-h.base.Index-1].Term
}

// entries are n new ones, without zero bytes, so that no sector of them looks unwritten.
func entries(rng *rand.Rand, first, term uint64, n, size int) []raftcore.Entry {
	var es []raftcore.Entry
	for i := range n {
		e := raftcore.Entry{Index: first + uint64(i), Term: term, Type: raftcore.EntryNormal, Body: make([]byte, size)}
		for j := range e.Body {
			e.Body[j] = byte(1 + rng.IntN(255))
		}
		e.CRC = raftcore.Checksum(e.Term, e.Index, e.Type, e.Body)
		es = append(es, e)
	}
	return es
}

func (h history) with(es []raftcore.Entry) history {
	h.entries = append(h.entries[:len(h.entries):len(h.entries)], es...)
	return h
}

// logOp is an operation on a log: what it does, what is there when it succeeded, and
// the last entry that it may not touch.
type logOp struct {
	name string
	make func(rng *rand.Rand, h history) (do func(l *segmentlog.Log) error, after history, keep uint64)
}

func saving(hard *raftcore.HardState, es []raftcore.Entry) func(l *segmentlog.Log) error {
	return func(l *segmentlog.Log) error {
		return l.Save([]raftcore.Save{{HardState: hard, MustSync: hard != nil, Entries: es}})
	}
}

func appending(n, size int, typ raftcore.EntryType) func(*rand.Rand, history) (func(*segmentlog.Log) error, history, uint64) {
	return func(rng *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		es := entries(rng, h.last()+1, h.hard.Term, n, size)
		for i := range es {
			es[i].Type = typ
			es[i].CRC = raftcore.Checksum(es[i].Term, es[i].Index, typ, es[i].Body)
		}
		return saving(nil, es), h.with(es), h.last()
	}
}

var logOps = []logOp{
	{"append", appending(1, 300, raftcore.EntryNormal)},
	{"batch", appending(4, 900, raftcore.EntryNormal)},
	{"rotate", appending(5, 3000, raftcore.EntryNormal)},
	{"config", appending(1, 120, raftcore.EntryConfig)},
	{"hard state", func(_ *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		after := h
		after.hard = raftcore.HardState{Term: h.hard.Term + 1, Vote: 2}
		return saving(&after.hard, nil), after, h.last()
	}},
	{"truncate", func(rng *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		keep := h.last() - 1 - rng.Uint64N(6)
		after := h
		after.hard = raftcore.HardState{Term: h.hard.Term + 1, Vote: 3}
		after.entries = h.entries[:keep-h.base.Index]
		es := entries(rng, keep+1, after.hard.Term, 2, 200)
		return saving(&after.hard, es), after.with(es), keep
	}},
	{"truncate across segments", func(rng *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		keep := h.base.Index + 2
		after := h
		after.hard = raftcore.HardState{Term: h.hard.Term + 1, Vote: 3}
		after.entries = h.entries[:2]
		es := entries(rng, keep+1, after.hard.Term, 1, 40)
		return saving(&after.hard, es), after.with(es), keep
	}},
	{"compact", func(rng *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		return func(l *segmentlog.Log) error { return l.Compact(h.last() - 2) }, h, h.last()
	}},
	{"reset", func(rng *rand.Rand, h history) (func(*segmentlog.Log) error, history, uint64) {
		at := raftcore.Position{Index: h.last() + 7, Term: h.hard.Term}
		return func(l *segmentlog.Log) error { return l.Reset(at.Index, at.Term) }, history{hard: h.hard, base: at}, 0
	}},
}

// grown makes a log with a random history over several segments.
func grown(seed uint64) (*vfs.Mem, *segmentlog.Log, history, *rand.Rand) {
	rng := rand.New(rand.NewPCG(seed, 5))
	disk := vfs.NewMem()
	must(disk.MkdirAll(logDir))
	l, _, err := openLog(disk)
	must(err)
	h := history{}
	for range 3 + rng.IntN(6) {
		h.hard = raftcore.HardState{Term: h.hard.Term + 1, Vote: 1}
		es := entries(rng, h.last()+1, h.hard.Term, 1+rng.IntN(4), 100+rng.IntN(2500))
		must(saving(&h.hard, es)(l))
		h = h.with(es)
		if rng.IntN(2) == 0 {
			es = entries(rng, h.last()+1, h.hard.Term, 8, 30+rng.IntN(100))
			must(saving(nil, es)(l))
			h = h.with(es)
		}
	}
	return disk, l, h, rng
}

// must is for what cannot fail here: no fault is injected yet.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (r *run) powerCuts(seed uint64) {
	for _, op := range logOps {
		r.cuts("log "+op.name, func() (*vfs.Mem, func() error, func(*vfs.Mem, bool) error) {
			disk, l, before, rng := grown(seed)
			do, after, keep := op.make(rng, before)
			judged := 0
			return disk, func() error { err := do(l); return err },
				func(disk *vfs.Mem, acked bool) error {
					if judged++; judged%16 == 0 { // the recovery is cut, too
						disk.PowerOffAfter(r.rng.IntN(8))
						if l, _, err := openLog(disk); err == nil {
							l.Close()
						}
						disk.Crash(rand.New(rand.NewPCG(r.rng.Uint64(), 3)))
					}
					return judgeLog(disk, op.name, before, after, keep, acked)
				}
		})
		if r.enough() && len(r.Calls) > len(logOps) {
			return
		}
	}
	r.snapshotCuts(seed)
	r.installCuts(seed)
	r.identityCuts()
}

// judgeLog opens a log after a power cut, compares it, and goes on working with it.
func judgeLog(disk *vfs.Mem, op string, before, after history, keep uint64, acked bool) error {
	l, rec, err := openLog(disk)
	if err != nil {
		return err
	}
	defer l.Close()
	if rec.Suspect != nil {
		return errors.New("a power cut alone looks like damage")
	}
	got := history{hard: rec.HardState, base: raftcore.Position{Index: rec.FirstIndex - 1, Term: rec.BaseTerm}}
	if rec.LastIndex >= rec.FirstIndex {
		if got.entries, err = l.Entries(rec.FirstIndex, rec.LastIndex+1, 1<<40); err != nil {
			return err
		}
	}
	if err := allowed(op, &got, &before, &after, keep, acked); err != nil {
		return err
	}
	next := entries(rand.New(rand.NewPCG(1, 1)), got.last()+1, got.hard.Term+1, 2, 300)
	if err := saving(&raftcore.HardState{Term: got.hard.Term + 1, Vote: 1}, next)(l); err != nil {
		return fmt.Errorf("working on: %w", err)
	}
	return nil
}

func allowed(op string, got, before, after *history, keep uint64, acked bool) error {
	isOld := got.hard.Term == before.hard.Term && got.hard.Vote == before.hard.Vote
	isNew := got.hard.Term == after.hard.Term && got.hard.Vote == after.hard.Vote
	switch {
	case acked && !isNew, !isOld && !isNew:
		return fmt.Errorf("hard state %+v", got.hard)
	case op == "reset":
		if got.base == after.base && len(got.entries) == 0 {
			return nil
		}
		if acked {
			return fmt.Errorf("base %+v after a reset", got.base)
		}
		return covers(got, before, before.base.Index, before.last())
	case acked:
		return covers(got, after, got.base.Index, after.last())
	}
	if got.last() < keep {
		return fmt.Errorf("ends at %d below %d", got.last(), keep)
	}
	if covers(got, before, got.base.Index, before.last()) == nil {
		return nil
	}
	if !isNew || got.last() > after.last() {
		return fmt.Errorf("(%d, %d] with hard state %+v", got.base.Index, got.last(), got.hard)
	}
	return covers(got, after, got.base.Index, got.last())
}

// covers: got holds exactly want's entries (from, to], and its base fits.
func covers(got, want *history, from, to uint64) error {
	if got.base.Index != from || from < want.base.Index || got.last() != to || got.base.Term != want.term(from) {
		return fmt.Errorf("log is (%d, %d] on term %d, want (%d, %d]", got.base.Index, got.last(), got.base.Term, from, to)
	}
	for i := range got.entries {
		g, w := &got.entries[i], &want.entries[from-want.base.Index+uint64(i)]
		if g.Index != w.Index || g.Term != w.Term || g.Type != w.Type || !bytes.Equal(g.Body, w.Body) {
			return fmt.Errorf("entry %d differs", g.Index)
		}
	}
	return nil
}
