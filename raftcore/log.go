package raftcore

import (
	"fmt"
	"slices"
	"sort"
)

// raftLog is the core's view of its own log: the terms of all entries, the bodies
// of the newest ones, and how far each duty has got.
//
//	first ....... winFirst ............ durable .... last
//	on disk only  | in memory, on disk          | on its way to disk
//	        applied <= applying <= commit <= last
type raftLog struct {
	// first is the lowest index that is still in the log; first-1 is the base.
	first, last uint64
	// baseTerm is the term of entry first-1, if known. After a restart with a log
	// that overlaps its snapshot it is not, and must not be guessed: a missing
	// term matches nothing (R12).
	baseTerm  uint64
	baseKnown bool
	runs      []TermRun // of [first, last], ascending; runs[0].Index == first

	// window holds the entries [last+1-len(window), last]: everything not yet durable,
	// everything not yet handed out for Apply unless that has to wait (needless), and
	// beyond that what fits budget.
	window      []Entry
	windowBytes int
	budget      int

	// handed is how far entries have been given to the driver in a Save.
	handed uint64
	// durable is how far the *present* entries are known to be on stable storage.
	// durable <= handed <= last.
	durable uint64
	saves   []pendingSave // handed out, not yet reported, ascending by id

	commit   uint64 // known to be committed; never decreases
	applying uint64 // handed out for Apply
	applied  uint64 // reported by Applied

	pieces       []applyPiece // of (applied, applying], ascending
	unapplied    int          // their bytes
	maxUnapplied int
}

// pendingSave remembers what Saved(id) will prove.
type pendingSave struct {
	id uint64
	// last entry that this Save makes durable, zero if none. A truncation lowers
	// it: when the report comes, the disk has that index, but of another term.
	// Without this, entry i of term 1, overwritten while its Save was in flight,
	// would count as durable though its successor in term 3 is not (R11).
	last uint64
	hard *HardState
}

func newLog(cfg *Config) raftLog {
	l := raftLog{
		first: cfg.FirstIndex, last: cfg.LastIndex,
		handed: cfg.LastIndex, durable: cfg.LastIndex,
		commit:   max(cfg.HardState.Commit, cfg.Snapshot.Index),
		applying: cfg.Snapshot.Index, applied: cfg.Snapshot.Index,
		budget: cfg.WindowBytes, maxUnapplied: cfg.MaxUnappliedBytes,
	}
	if l.first-1 == cfg.Snapshot.Index {
		l.baseTerm, l.baseKnown = cfg.Snapshot.Term, true
	}
	for _, run := range cfg.Terms {
		if run.Index < l.first {
			l.baseTerm, l.baseKnown = run.Term, true
			run.Index = l.first
			l.runs = l.runs[:0]
		}
		if run.Index <= l.last {
			l.runs = append(l.runs, run)
		}
	}
	return l
}

// term returns the term of entry i, if the log (or its base) still knows it.
func (l *raftLog) term(i uint64) (uint64, bool) {
	if i+1 == l.first {
		return l.baseTerm, l.baseKnown
	}
	if i < l.first || i > l.last {
		return 0, false
	}
	return l.runs[l.runOf(i)].Term, true
}

// runOf is the position of the run that contains i; first <= i <= last.
func (l *raftLog) runOf(i uint64) int {
	return sort.Search(len(l.runs), func(n int) bool { return l.runs[n].Index > i }) - 1
}

func (l *raftLog) lastTerm() uint64 {
	term, _ := l.term(l.last)
	return term
}

// matches reports whether the log is known to contain entry (index, term).
func (l *raftLog) matches(index, term uint64) bool {
	have, ok := l.term(index)
	return ok && have == term
}

// upToDate reports whether a log ending in (index, term) is at least as
// up-to-date as this one (thesis 3.6.1).
func (l *raftLog) upToDate(index, term uint64) bool {
	mine := l.lastTerm()
	return term > mine || term == mine && index >= l.last
}

// lastNotAbove finds the highest index <= limit whose term is <= term: where two
// logs may still agree, skipping a whole term per round trip (thesis 3.5). The
// result may lie just below first, where nothing is known.
func (l *raftLog) lastNotAbove(limit, term uint64) (index, termThere uint64) {
	limit = min(limit, l.last)
	for limit >= l.first {
		run := l.runs[l.runOf(limit)]
		if run.Term <= term {
			return limit, run.Term
		}
		limit = run.Index - 1
	}
	if have, ok := l.term(limit); ok {
		return limit, have
	}
	return limit, 0
}

// append adds an entry at last+1.
func (l *raftLog) append(e Entry) {
	if e.Index != l.last+1 {
		panic(fmt.Sprintf("raftcore: append of entry %d to a log that ends at %d", e.Index, l.last))
	}
	if n := len(l.runs); n == 0 || l.runs[n-1].Term != e.Term {
		l.runs = append(l.runs, TermRun{Index: e.Index, Term: e.Term})
	}
	l.window = append(l.window, e)
	l.windowBytes += e.Size()
	l.last = e.Index
}

// truncate removes the entries from index on. What is committed cannot be
// removed: to be asked to is a bug or a damaged log, never a peer's doing (the
// caller has looked), so it stops the process before anything is lost.
func (l *raftLog) truncate(index uint64) {
	if index <= l.commit {
		panic(fmt.Sprintf("raftcore: truncation from %d would cross the commit index %d", index, l.commit))
	}
	if index > l.last {
		return
	}
	for len(l.window) > 0 && l.window[len(l.window)-1].Index >= index {
		end := len(l.window) - 1
		l.windowBytes -= l.window[end].Size()
		l.window[end] = Entry{}
		l.window = l.window[:end]
	}
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].Index >= index {
		l.runs = l.runs[:len(l.runs)-1]
	}
	l.last = index - 1
	l.handed = min(l.handed, l.last)
	l.durable = min(l.durable, l.last)
	for i := range l.saves {
		l.saves[i].last = min(l.saves[i].last, l.last)
	}
}

// compact forgets everything up to index, which a durable snapshot covers.
func (l *raftLog) compact(index uint64) {
	index = min(index, l.applied, l.last)
	if index < l.first {
		return
	}
	l.baseTerm, l.baseKnown = l.term(index)
	l.first = index + 1
	n := 0
	for n+1 < len(l.runs) && l.runs[n+1].Index <= l.first {
		n++
	}
	l.runs = slices.Delete(l.runs, 0, n)
	if l.first > l.last {
		l.runs = l.runs[:0]
	} else {
		l.runs[0].Index = max(l.runs[0].Index, l.first)
	}
	for len(l.window) > 0 && l.window[0].Index < l.first && l.window[0].Index <= l.durable {
		l.evictFirst()
	}
}

// reset starts over after a snapshot that replaces the log.
func (l *raftLog) reset(meta SnapshotMeta) {
	l.first, l.last = meta.Index+1, meta.Index
	l.baseTerm, l.baseKnown = meta.Term, true
	l.runs, l.window, l.windowBytes = nil, nil, 0
	l.handed, l.durable = meta.Index, meta.Index
	for i := range l.saves {
		l.saves[i].last = 0
	}
	l.commit, l.applying, l.applied = meta.Index, meta.Index, meta.Index
	l.pieces, l.unapplied = nil, 0
}

// saved takes the report that Save id and all before it are durable, and returns
// the newest hard state among them.
func (l *raftLog) saved(id uint64) (hard *HardState) {
	n := 0
	for n < len(l.saves) && l.saves[n].id <= id {
		l.durable = max(l.durable, l.saves[n].last)
		if l.saves[n].hard != nil {
			hard = l.saves[n].hard
		}
		n++
	}
	l.saves = slices.Delete(l.saves, 0, n)
	l.trim()
	return hard
}

// handedOut notes that the entries up to last, of so many bytes, went out for Apply.
func (l *raftLog) handedOut(last uint64, bytes int) {
	l.applying = last
	l.unapplied += bytes
	l.pieces = append(l.pieces, applyPiece{last, bytes})
}

// appliedTo notes that the state machine has applied the entries up to index.
func (l *raftLog) appliedTo(index uint64) {
	l.applied = max(l.applied, index)
	n := 0
	for n < len(l.pieces) && l.pieces[n].last <= l.applied {
		l.unapplied -= l.pieces[n].bytes
		n++
	}
	l.pieces = slices.Delete(l.pieces, 0, n)
}

// behind reports whether the state machine has more to do than should wait in memory.
func (l *raftLog) behind() bool { return l.unapplied >= l.maxUnapplied }

// trim drops the oldest entries from memory while the window exceeds its budget.
func (l *raftLog) trim() {
	for l.windowBytes > l.budget && len(l.window) > 0 && l.window[0].Index <= l.needless() {
		l.evictFirst()
	}
}

// needless is the last entry that may leave memory: durable, and handed out for Apply. If
// the state machine is behind, or what comes next has to be read anyway, what it has not
// been given may go, too: it is read in its turn.
func (l *raftLog) needless() uint64 {
	if l.behind() || l.applying+1 < l.winFirst() {
		return min(l.durable, l.commit)
	}
	return min(l.durable, l.applying)
}

func (l *raftLog) evictFirst() {
	l.windowBytes -= l.window[0].Size()
	l.window[0] = Entry{} // the array lives on until append moves to a new one
	l.window = l.window[1:]
}

// winFirst is the lowest index in memory, last+1 if there is none.
func (l *raftLog) winFirst() uint64 { return l.last + 1 - uint64(len(l.window)) }

// slice copies entries [lo, hi) out of memory, as many as fit maxBytes but at
// least one. The copy shares bodies, which nobody writes, and nothing else.
func (l *raftLog) slice(lo, hi uint64, maxBytes int) (entries []Entry, bytes int) {
	base := l.winFirst()
	view := l.window[lo-base : hi-base]
	n := 0
	for n < len(view) && (n == 0 || bytes+view[n].Size() <= maxBytes) {
		bytes += view[n].Size()
		n++
	}
	return slices.Clone(view[:n]), bytes
}

// holdsMore reports whether the entries from lo on, all in memory, are of more than limit bytes.
func (l *raftLog) holdsMore(lo uint64, limit int) bool {
	sum, base := 0, l.winFirst()
	for i := lo; i <= l.last && sum <= limit; i++ {
		sum += l.window[i-base].Size()
	}
	return sum > limit
}

// bytesOf sums the sizes of entries [lo, hi), all in memory.
func (l *raftLog) bytesOf(lo, hi uint64) (sum int) {
	base := l.winFirst()
	for i := lo; i < hi; i++ {
		sum += l.window[i-base].Size()
	}
	return sum
}
