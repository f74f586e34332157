package segmentlog

import (
	"fmt"
	"slices"

	"github.com/rkvdb/rkv/raftcore"
)

// truncate removes the entries from index start on, and makes m the hard state, in
// four durable steps:
//
//  1. slot: the new hard state, the cut, and a promise lowered to it. From here on
//     the suffix is gone, whatever the files still hold.
//  2. the void segments are renamed away; directory fsync
//  3. zeros over the void rest of the segment; fdatasync
//  4. slot: no cut. Only now may a record be written where old ones stood.
//
// So old and new records never share the disk: a crash before 4 repeats 2 and 3
// over files that hold nothing newer, and after 4 there is nothing old left to come
// back, however short the new records are.
func (l *Log) truncate(start uint64, m meta) error {
	at := len(l.segs) - 1
	for at > 0 && l.segs[at].header.baseIndex >= start {
		at--
	}
	if at < 0 {
		return fmt.Errorf("truncation at index %d of a log without segments", start)
	}
	seg, void := l.segs[at], l.segs[at+1:]
	off, dirtyTo := seg.end, seg.end
	keep := int(start - seg.header.baseIndex - 1)
	if keep < len(seg.offsets) {
		off = seg.offsets[keep]
	}
	if len(void) == 0 {
		dirtyTo = max(dirtyTo, l.dirtyTo)
	}
	m.cutSegment, m.cutOffset, m.cutBelow = seg.header.id, off, l.tail().header.id+1
	m.promiseSegment, m.promiseOffset = seg.header.id, min(off, seg.synced)
	m.promiseIndex, m.promiseTerm = 0, 0
	if off <= seg.synced {
		m.promiseIndex, m.promiseTerm = start-1, l.termOf(start-1)
	}

	l.hideFrom(start, at, keep, off)
	if err := l.writeMeta(m); err != nil {
		return err
	}
	if err := l.prep.discardOpen(void); err != nil {
		return err
	}
	if err := writeZeros(seg.file, off, dirtyTo); err != nil {
		return err
	}
	if err := seg.file.Datasync(); err != nil {
		return err
	}
	seg.synced, l.dirtyTo = off, 0
	m = l.meta
	m.cutSegment, m.cutOffset, m.cutBelow = 0, 0, 0
	return l.writeMeta(m)
}

// hideFrom takes the entries from start on away from readers: segment at keeps its
// first keep records, later segments go.
func (l *Log) hideFrom(start uint64, at, keep int, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seg := l.segs[at]
	// Clipped, so that the next append does not write into an array that a
	// reader still looks at.
	seg.offsets = slices.Clip(seg.offsets[:keep])
	seg.end, seg.synced = end, min(end, seg.synced)
	l.segs = slices.Clip(l.segs[:at+1])
	l.terms = slices.DeleteFunc(slices.Clone(l.terms), func(r raftcore.TermRun) bool { return r.Index >= start })
	l.last = start - 1
	l.epoch++
	l.stats.Truncations++
}

// Compact releases the segments that hold only entries up to upTo. The last segment
// always stays, so fewer entries may go than asked for, and Term(upTo) stays known:
// from an entry or from the base. Durable when it returns (one slot write); files
// are released behind its back and recovery finishes that after a crash.
func (l *Log) Compact(upTo uint64) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	n := 0
	for n < len(l.segs)-1 && l.segs[n].lastIndex() <= upTo {
		n++
	}
	if n == 0 {
		return nil
	}
	base := &l.segs[n].header
	m := l.meta
	m.first, m.baseIndex, m.baseTerm = base.id, base.baseIndex, base.baseTerm
	if err := l.writeMeta(m); err != nil {
		return l.latch(err)
	}
	l.prep.release(l.rebase(n, base.baseIndex, base.baseTerm))
	return nil
}

// Reset drops every entry: the log then ends at (index, term), a snapshot's, and
// the next append is index+1. The snapshot must be durable before the call. One
// slot write is the moment it happens, as in Compact. A suspect tail is forgotten
// if the snapshot reaches it. The hard state must have reached term before (Save).
func (l *Log) Reset(index, term uint64) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	m := l.meta
	if term > m.hard.Term {
		return l.latch(fmt.Errorf("reset to term %d under hard state term %d", term, m.hard.Term))
	}
	if tail := l.tail(); tail != nil {
		m.first = tail.header.id + 1
	}
	m.baseIndex, m.baseTerm = index, term
	if !less(term, index, m.suspectTerm, m.suspectIndex) {
		m.suspectIndex, m.suspectTerm = 0, 0
	}
	if err := l.writeMeta(m); err != nil {
		return l.latch(err)
	}
	l.dirtyTo = 0
	gone := l.rebase(len(l.segs), index, term)
	l.mu.Lock()
	l.last, l.terms = index, nil
	l.liftSuspicion()
	l.mu.Unlock()
	l.prep.release(gone)
	return nil
}

// rebase takes the first n segments away from readers and returns them.
func (l *Log) rebase(n int, index, term uint64) []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := l.segs[:n:n]
	l.segs = slices.Clone(l.segs[n:])
	l.baseIndex, l.baseTerm = index, term
	l.epoch++
	runs := slices.Clone(l.terms)
	for len(runs) > 1 && runs[1].Index <= index+1 {
		runs = runs[1:]
	}
	if len(runs) > 0 {
		runs[0].Index = max(runs[0].Index, index+1)
	}
	l.terms = runs
	return gone
}
