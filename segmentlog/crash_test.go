package segmentlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// model is what the log must hold: everything acknowledged, nothing else.
type model struct {
	hard    raftcore.HardState
	base    uint64
	baseT   uint64
	entries []raftcore.Entry
}

func (m *model) last() uint64 { return m.base + uint64(len(m.entries)) }
func (m *model) term(i uint64) uint64 {
	if i == m.base {
		return m.baseT
	}
	return m.entries[i-m.base-1].Term
}
func (m *model) upTo(i uint64) []raftcore.Entry { return m.entries[: i-m.base : i-m.base] }

// step is one operation, and the states that a crash inside it may leave.
type step struct {
	name    string
	do      func(l *Log) error
	allowed func(hard raftcore.HardState, base, baseTerm uint64, entries []raftcore.Entry) error
	done    model // the state if it is acknowledged; base of a compaction is read from the log
}

func randomStep(rng *rand.Rand, m model) step {
	switch p := rng.IntN(20); {
	case p == 0 && m.hard.Term > 0:
		return resetStep(rng, m)
	case p <= 2 && len(m.entries) > 0:
		return compactStep(m, m.base+1+rng.Uint64N(uint64(len(m.entries))))
	default:
		return saveStep(rng, m)
	}
}

func saveStep(rng *rand.Rand, m model) step {
	hard := m.hard
	sync := hard.Term == 0 || rng.IntN(5) == 0
	if sync {
		hard.Term += 1 + rng.Uint64N(2)
		hard.Vote = raftcore.NodeID(rng.Uint64N(4))
	}
	start := m.last() + 1
	if rng.IntN(5) == 0 && len(m.entries) > 0 {
		start = m.base + 1 + rng.Uint64N(uint64(len(m.entries))) // conflict
	}
	term := max(m.term(start-1), hard.Term-rng.Uint64N(min(2, hard.Term)))
	var fresh []raftcore.Entry
	for i := range uint64(rng.IntN(6)) {
		body := make([]byte, rng.IntN([]int{1, 60, 600, 3000}[rng.IntN(4)])+1)
		if rng.IntN(3) > 0 { // a third of the bodies are zeros, like sectors never written
			for j := range body {
				body[j] = byte(rng.Uint32())
			}
		}
		e := entry(start+i, term, body)
		if rng.IntN(10) == 0 {
			e.Type = raftcore.EntryConfig
			e.CRC = raftcore.Checksum(e.Term, e.Index, e.Type, e.Body)
		}
		fresh = append(fresh, e)
	}
	saves := []raftcore.Save{{HardState: &hard, MustSync: sync, Entries: fresh}}
	if len(fresh) > 2 && rng.IntN(2) == 0 { // the same in two saves, the second overlapping
		saves = []raftcore.Save{{HardState: &hard, MustSync: sync, Entries: fresh[:2]}, {Entries: fresh[1:]}}
	}
	done := m
	done.hard = hard
	if len(fresh) > 0 {
		done.entries = append(m.upTo(start-1), fresh...)
	}
	return step{
		name: fmt.Sprintf("save %d entries at %d, hard state synced %v", len(fresh), start, sync),
		do:   func(l *Log) error { return l.Save(saves) },
		done: done,
		allowed: func(h raftcore.HardState, base, baseTerm uint64, got []raftcore.Entry) error {
			if base != m.base {
				return fmt.Errorf("base moved to %d", base)
			}
			isNew := h.Term == hard.Term && h.Vote == hard.Vote
			if !isNew && (h.Term != m.hard.Term || h.Vote != m.hard.Vote) {
				return fmt.Errorf("hard state %+v is neither %+v nor %+v", h, m.hard, hard)
			}
			if sameEntries(got, m.entries) == nil {
				return nil
			}
			if !isNew || uint64(len(got)) < start-1-m.base || len(got) > len(done.entries) {
				return fmt.Errorf("%d entries with hard state %+v", len(got), h)
			}
			return sameEntries(got, done.entries[:len(got)])
		},
	}
}

func compactStep(m model, upTo uint64) step {
	return step{
		name: fmt.Sprintf("compact to %d", upTo),
		do:   func(l *Log) error { return l.Compact(upTo) },
		done: m,
		allowed: func(h raftcore.HardState, base, baseTerm uint64, got []raftcore.Entry) error {
			if base < m.base || base > max(upTo, m.base) || baseTerm != m.term(base) {
				return fmt.Errorf("base (%d, %d) after compaction of (%d, %d] to %d", base, baseTerm, m.base, m.last(), upTo)
			}
			return sameEntries(got, m.entries[base-m.base:])
		},
	}
}

func resetStep(rng *rand.Rand, m model) step {
	index, term := m.base+1+rng.Uint64N(uint64(len(m.entries))+20), m.hard.Term
	done := model{hard: m.hard, base: index, baseT: term}
	return step{
		name: fmt.Sprintf("reset to (%d, %d)", index, term),
		do:   func(l *Log) error { return l.Reset(index, term) },
		done: done,
		allowed: func(h raftcore.HardState, base, baseTerm uint64, got []raftcore.Entry) error {
			if base == index && baseTerm == term && len(got) == 0 {
				return nil
			}
			if base != m.base {
				return fmt.Errorf("base %d is neither %d nor %d", base, m.base, index)
			}
			return sameEntries(got, m.entries)
		},
	}
}

// reopen opens after a crash and checks what is there against allowed.
func reopen(o Options, m *model, allowed func(raftcore.HardState, uint64, uint64, []raftcore.Entry) error) (*Log, error) {
	l, r, err := Open(o)
	if err != nil {
		return nil, err
	}
	if r.Suspect != nil {
		return nil, fmt.Errorf("a power cut alone must never look like damage: %+v", *r.Suspect)
	}
	var got []raftcore.Entry
	if r.LastIndex >= r.FirstIndex {
		if got, err = l.Entries(r.FirstIndex, r.LastIndex+1, 1<<40); err != nil {
			return nil, err
		}
	}
	base := r.FirstIndex - 1
	if err := allowed(r.HardState, base, r.BaseTerm, got); err != nil {
		return nil, err
	}
	var terms []raftcore.TermRun
	var configs []raftcore.Entry
	for _, e := range got {
		terms = appendTerm(terms, e.Index, e.Term)
		if e.Type == raftcore.EntryConfig {
			configs = append(configs, e)
		}
	}
	if fmt.Sprint(terms) != fmt.Sprint(r.Terms) {
		return nil, fmt.Errorf("terms %v, want %v", r.Terms, terms)
	}
	if err := sameEntries(r.Configs, configs); err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	*m = model{hard: r.HardState, base: base, baseT: r.BaseTerm, entries: got}
	return l, nil
}

// settled allows only the model itself (the commit index may lag).
func settled(m *model) func(raftcore.HardState, uint64, uint64, []raftcore.Entry) error {
	want := *m
	return func(h raftcore.HardState, base, baseTerm uint64, got []raftcore.Entry) error {
		if h.Term != want.hard.Term || h.Vote != want.hard.Vote || base != want.base || baseTerm != want.baseT {
			return fmt.Errorf("(%+v, base %d/%d), want (%+v, base %d/%d)", h, base, baseTerm, want.hard, want.base, want.baseT)
		}
		return sameEntries(got, want.entries)
	}
}

// TestPowerCutsAtRandomOperations runs random work and cuts the power at a random
// operation of it, and again inside the recovery, over and over on one disk.
func TestPowerCutsAtRandomOperations(t *testing.T) {
	seeds, rounds := uint64(60), 60
	if testing.Short() {
		seeds = 10
	}
	states := 0
	for seed := range seeds {
		if err := powerCuts(seed, rounds, &states); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d crash states", states)
	require.Greater(t, states, int(seeds)*rounds*9/10)
}

func powerCuts(seed uint64, rounds int, states *int) error {
	rng, disk := newRng(seed), vfs.NewMem()
	o := testOptions(disk)
	if err := disk.MkdirAll(testDir); err != nil {
		return err
	}
	var m model
	allowed := settled(&m)
	name := "nothing"
	for round := range rounds {
		fail := func(err error) error {
			return fmt.Errorf("round %d, after a power cut in %q: %w", round, name, err)
		}
		if rng.IntN(3) == 0 { // the recovery crashes too
			disk.PowerOffAfter(rng.IntN(12))
			l, err := reopen(o, &m, allowed)
			if err == nil { // too short a recovery; go on working under the same threat
				l.Close()
				allowed = settled(&m)
			} else if !errors.Is(err, vfs.ErrCrashed) {
				return fail(err)
			}
			disk.Crash(rng)
			*states++
		}
		l, err := reopen(o, &m, allowed)
		if err != nil {
			return fail(err)
		}
		disk.PowerOffAfter(rng.IntN(80))
		for {
			s := randomStep(rng, m)
			name, allowed = s.name, s.allowed
			if err := s.do(l); err != nil {
				if !errors.Is(err, vfs.ErrCrashed) {
					return fail(err)
				}
				if l.Err() == nil || !errors.Is(l.Save(nil), vfs.ErrCrashed) {
					return fail(errors.New("the failure was not latched"))
				}
				break
			}
			m = s.done
			if base := l.FirstIndex() - 1; base > m.base { // compaction chose it
				m = model{hard: m.hard, base: base, baseT: m.term(base), entries: m.entries[base-m.base:]}
			}
			if err := sameLog(l, m.base, m.entries); err != nil && !errors.Is(err, vfs.ErrCrashed) {
				return fail(err)
			}
		}
		l.Close()
		disk.Crash(rng)
		*states++
	}
	return nil
}

// TestPowerCutAtEveryOperation cuts one fixed piece of work, with all its
// truncations, rotations, compactions and a reset, at each of its operations, with
// several fates for the unsynced sectors each.
func TestPowerCutAtEveryOperation(t *testing.T) {
	work := func(rng *rand.Rand, l *Log, m *model) (func(raftcore.HardState, uint64, uint64, []raftcore.Entry) error, string, error) {
		for range 60 {
			s := randomStep(rng, *m)
			if err := s.do(l); err != nil {
				return s.allowed, s.name, err
			}
			*m = s.done
			if base := l.FirstIndex() - 1; base > m.base {
				*m = model{hard: m.hard, base: base, baseT: m.term(base), entries: m.entries[base-m.base:]}
			}
		}
		return settled(m), "nothing", nil
	}
	for k := 0; ; k++ {
		finished := false
		for fate := range uint64(4) {
			disk := vfs.NewMem()
			require.NoError(t, disk.MkdirAll(testDir))
			l, _ := mustOpen(t, testOptions(disk))
			var m model
			disk.PowerOffAfter(k)
			allowed, name, err := work(newRng(7), l, &m)
			finished = err == nil
			l.Close()
			disk.Crash(newRng(fate))
			l, err = reopen(testOptions(disk), &m, allowed)
			require.NoError(t, err, "power cut at operation %d in %q, fate %d", k, name, fate)
			require.NoError(t, l.Save(saveTerm(m.hard.Term+1, run(m.last()+1, m.last()+3, m.hard.Term+1, 700))))
			require.NoError(t, l.Close())
		}
		if finished {
			require.Greater(t, k, 100)
			return
		}
	}
}
