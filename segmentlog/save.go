package segmentlog

import (
	"fmt"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Save makes all saves durable, in order, and returns when they are.
//
// The steps are: at most one hard-state slot (one write, one fdatasync; only if
// term or vote changed, a changed commit index alone waits for the next slot), then
// truncation of a conflicting suffix (rare; see truncate), then all entries with
// one write and one fdatasync. A batch that does not fit the rest of its segment
// goes to the next one, header included, in one write and one sync too, followed by
// a slot that names the segment; only a batch larger than a segment costs several
// writes. Save waits for the
// preparer if no segment is ready. Nothing is acknowledged on an error, and every
// error is latched (Err).
func (l *Log) Save(saves []raftcore.Save) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.latch(l.save(saves))
}

func (l *Log) save(saves []raftcore.Save) error {
	b, err := merge(l.meta.hard, saves)
	if err != nil {
		return err
	}
	if err := l.admit(&b); err != nil {
		return err
	}
	m := l.meta
	m.hard = b.hard
	switch {
	case len(b.entries) > 0 && (b.entries[0].Index <= l.last || l.dirtyTo > 0):
		err = l.truncate(b.entries[0].Index, m)
	case b.mustSync:
		err = l.writeMeta(m)
	default:
		l.meta.hard = b.hard
	}
	if err != nil {
		return err
	}
	return l.append(b.entries)
}

// batch is several saves as one.
type batch struct {
	hard     raftcore.HardState
	mustSync bool
	entries  []raftcore.Entry // contiguous
}

// merge folds saves into one hard state and one run of entries. Later entries
// replace earlier ones from their first index on, as they would on disk.
func merge(hard raftcore.HardState, saves []raftcore.Save) (batch, error) {
	b := batch{hard: hard}
	owned := false // b.entries is ours to append to
	for i := range saves {
		if h := saves[i].HardState; h != nil {
			b.mustSync = b.mustSync || saves[i].MustSync || h.Term != b.hard.Term || h.Vote != b.hard.Vote
			b.hard = *h
		}
		es := saves[i].Entries
		if len(es) == 0 {
			continue
		}
		if len(b.entries) == 0 || es[0].Index <= b.entries[0].Index {
			b.entries, owned = es, false
			continue
		}
		keep := es[0].Index - b.entries[0].Index
		if keep > uint64(len(b.entries)) {
			return b, fmt.Errorf("save %d starts at index %d, beyond the saves before it", saves[i].ID, es[0].Index)
		}
		if !owned {
			b.entries = append(make([]raftcore.Entry, 0, len(b.entries)+len(es)), b.entries[:keep]...)
			owned = true
		}
		b.entries = append(b.entries[:keep], es...)
	}
	return b, nil
}

// admit refuses, before a byte is written, what may never be on disk: gaps, entries
// at or below the base, terms that go back or that the hard state has not reached,
// and entries whose checksum is wrong already.
func (l *Log) admit(b *batch) error {
	if b.hard.Term < l.meta.hard.Term {
		return fmt.Errorf("hard state goes back from term %d to %d", l.meta.hard.Term, b.hard.Term)
	}
	if len(b.entries) == 0 {
		return nil
	}
	first := b.entries[0].Index
	if first > l.last+1 || first <= l.baseIndex {
		return fmt.Errorf("entries start at index %d, but the log is (%d, %d]", first, l.baseIndex, l.last)
	}
	term := l.termOf(first - 1)
	for i := range b.entries {
		e := &b.entries[i]
		switch {
		case e.Index != first+uint64(i):
			return fmt.Errorf("entry %d where %d was expected", e.Index, first+uint64(i))
		case e.Term < term || e.Term > b.hard.Term:
			return fmt.Errorf("entry %d has term %d after term %d, under hard state term %d", e.Index, e.Term, term, b.hard.Term)
		case uint64(len(e.Body)) > maxBody:
			return fmt.Errorf("entry %d has a body of %d bytes; the format ends at %d", e.Index, len(e.Body), uint64(maxBody))
		case !e.Verify():
			return fmt.Errorf("entry %d, term %d: checksum %#x is wrong before it was written", e.Index, e.Term, e.CRC)
		}
		term = e.Term
	}
	return nil
}

// maxBody keeps a batch of one entry within its 32-bit length.
const maxBody = 1 << 31

// termOf is the term of an entry in the log or of its base.
func (l *Log) termOf(index uint64) uint64 {
	term := l.baseTerm
	for _, run := range l.terms {
		if run.Index > index {
			break
		}
		term = run.Term
	}
	return term
}

// append writes entries behind the last one.
func (l *Log) append(entries []raftcore.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for len(entries) > 0 {
		tail, err := l.roomFor(entries)
		if err != nil {
			return err
		}
		n := fitting(entries, tail.header.size-tail.end)
		if err := l.writeBatch(tail, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	l.mu.Lock()
	l.stats.Saves++
	l.mu.Unlock()
	return nil
}

// roomFor is the segment for the next batch: the tail if all entries, or at least
// one of those that no fresh segment could hold together, fit; else the next one.
func (l *Log) roomFor(entries []raftcore.Entry) (*segment, error) {
	tail := l.tail()
	if tail != nil {
		n := fitting(entries, tail.header.size-tail.end)
		if n == len(entries) || (n > 0 && tail.end == firstRecord) {
			return tail, nil
		}
	}
	return l.rotate(recordSize(len(entries[0].Body)))
}

// fitting is how many entries fit into space bytes (and into a batch length).
func fitting(entries []raftcore.Entry, space int64) int {
	space = min(space, 1<<32-1)
	for i := range entries {
		if space -= recordSize(len(entries[i].Body)); space < 0 {
			return i
		}
	}
	return len(entries)
}

// rotate takes the next prepared segment. Its active header is written together
// with its first batch. All of the old tail is synced first, under SyncNever too:
// that only the last segment can be incomplete is what recovery builds on.
func (l *Log) rotate(need int64) (*segment, error) {
	previous := uint64(0)
	if tail := l.tail(); tail != nil {
		previous = tail.header.id
		if tail.synced < tail.end {
			if err := l.syncTail(tail); err != nil {
				return nil, err
			}
		}
	}
	s, waited, err := l.prep.take(need + firstRecord)
	if err != nil {
		return nil, fmt.Errorf("preparing a segment: %w", err)
	}
	h := &s.header
	h.state, h.previous, h.baseIndex, h.baseTerm = stateActive, previous, l.last, l.lastTerm()
	l.mu.Lock()
	l.segs = append(l.segs, s)
	l.stats.Rotations++
	if waited {
		l.stats.SegmentWaits++
	}
	l.mu.Unlock()
	return s, nil
}

// inlineBody is the size up to which a body is copied beside its header; a larger
// one becomes a buffer of its own in the write.
const inlineBody = 16 << 10

// scratchLimit is how much of the copy buffer is kept between batches.
const scratchLimit = 4 << 20

// writeBatch writes entries to tail with one write, syncs, and shows them to
// readers.
func (l *Log) writeBatch(tail *segment, entries []raftcore.Entry) error {
	off, bufs := tail.end, [][]byte(nil)
	if !tail.written {
		off, bufs = 0, append(bufs, tail.header.block())
	}
	bufs, offsets, end := l.encode(bufs, tail, entries)
	l.goDirect(tail)
	if err := tail.file.Writev(bufs, off); err != nil {
		return err
	}
	activated := !tail.written
	synced := l.sync == SyncAlways || activated
	if synced {
		if err := tail.file.Datasync(); err != nil {
			return err
		}
	}
	l.show(tail, entries, offsets, end, synced)
	if activated {
		// A file whose header and records are all gone is told from one that was
		// never used by this slot alone. One more sync for each segment.
		return l.writeMeta(l.meta)
	}
	return nil
}

// goDirect takes the page cache out of the way of a segment's first batch and whatever is
// written after it, truncate's zeros, too: it is synced at once, and there are only zeros
// behind it (truncate, recoverTail). The second descriptor that this costs is closed with
// the segment.
func (l *Log) goDirect(tail *segment) {
	if tail.direct || l.sync != SyncAlways {
		return
	}
	tail.direct = true
	if f, ok := tail.file.(vfs.Direct); ok {
		f.Direct()
	}
}

// show makes a written batch visible to readers.
func (l *Log) show(tail *segment, entries []raftcore.Entry, offsets []int64, end int64, synced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail.written = true
	tail.offsets = append(tail.offsets, offsets...)
	tail.end = end
	l.prep.used.Store(end * 1000 / tail.header.size)
	l.stats.Writes++
	if synced {
		tail.synced = end
		l.stats.Syncs++
	}
	for i := range entries {
		l.terms = appendTerm(l.terms, entries[i].Index, entries[i].Term)
	}
	l.last = entries[len(entries)-1].Index
	l.liftSuspicion()
}

// encode lays out the records of one batch behind tail.end.
func (l *Log) encode(bufs [][]byte, tail *segment, entries []raftcore.Entry) (_ [][]byte, offsets []int64, end int64) {
	var total, copied int64
	for i := range entries {
		size := recordSize(len(entries[i].Body))
		total += size
		if len(entries[i].Body) > inlineBody {
			size = recordHeaderSize + recordAlign
		}
		copied += size
	}
	if int64(cap(l.scratch)) < copied || cap(l.scratch) > scratchLimit && copied <= scratchLimit {
		l.scratch = make([]byte, copied)
	}
	b, start := l.scratch[:0:cap(l.scratch)], 0
	offsets, end = make([]int64, len(entries)), tail.end
	for i := range entries {
		e := &entries[i]
		h := recordHeader{
			lap: tail.header.lap, segment: tail.header.id, index: e.Index, term: e.Term,
			durable: uint64(tail.synced), length: uint32(len(e.Body)), crc: e.CRC, typ: e.Type,
		}
		if i == 0 {
			h.first, h.batch = true, uint32(total)
		}
		offsets[i] = end
		size := recordSize(len(e.Body))
		end += size
		at := len(b)
		b = b[:at+recordHeaderSize]
		h.put(b[at:])
		if len(e.Body) > inlineBody {
			bufs = append(bufs, b[start:], e.Body)
			start = len(b)
		} else {
			b = append(b, e.Body...)
		}
		for pad := size - recordHeaderSize - int64(len(e.Body)); pad > 0; pad-- {
			b = append(b, 0)
		}
	}
	if start < len(b) {
		bufs = append(bufs, b[start:])
	}
	return bufs, offsets, end
}

// liftSuspicion forgets a suspect tail once the log is as long again. The slot that
// still names it does no harm: recovery applies the same rule. Caller holds mu.
func (l *Log) liftSuspicion() {
	if l.suspect != nil && !less(l.lastTerm(), l.last, l.suspect.LastTerm, l.suspect.LastIndex) {
		l.suspect = nil
		l.meta.suspectIndex, l.meta.suspectTerm = 0, 0
	}
}

func (l *Log) syncTail(tail *segment) error {
	if err := tail.file.Datasync(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tail.synced = tail.end
	l.stats.Syncs++
	return nil
}

// writeMeta writes m as the newest slot, with the promise as of now unless a cut
// has set one.
func (l *Log) writeMeta(m meta) error {
	m.sequence++
	if m.cutSegment == 0 {
		m.promiseSegment, m.promiseOffset, m.promiseIndex, m.promiseTerm = 0, 0, 0, 0
		if tail := l.tail(); tail != nil && tail.written && tail.header.id >= m.first {
			m.promiseSegment, m.promiseOffset = tail.header.id, tail.synced
			if tail.synced == tail.end {
				m.promiseIndex, m.promiseTerm = l.last, l.lastTerm()
			}
		}
	}
	if err := writeMeta(l.metaFile, &m); err != nil {
		return err
	}
	l.meta = m
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.StateSyncs++
	return nil
}
