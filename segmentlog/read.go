package segmentlog

import (
	"fmt"
	"sort"

	"github.com/rkvdb/rkv/raftcore"
)

// Entries reads the entries [lo, hi), as many as fit maxBytes (of records, headers
// included) but at least one. Every entry is verified against its checksum. Bodies
// share one freshly allocated buffer per segment, which is the caller's.
//
// Errors: ErrCompacted if lo is not in the log any more, ErrUnavailable if hi-1 is
// not yet; *CorruptionError if the disk returned something else than was written.
// Safe beside everything else; may block on the disk.
func (l *Log) Entries(lo, hi uint64, maxBytes int) ([]raftcore.Entry, error) {
	for {
		spans, epoch, err := l.locate(lo, hi, int64(maxBytes))
		if err != nil {
			return nil, err
		}
		var entries []raftcore.Entry
		for _, sp := range spans {
			if entries, err = sp.read(entries); err != nil {
				break
			}
		}
		if err == nil {
			return entries, nil
		}
		l.mu.RLock()
		moved, closed := l.epoch != epoch, l.closed
		l.mu.RUnlock()
		if closed {
			return nil, ErrClosed
		}
		if !moved {
			return nil, err
		}
	}
}

// span is a run of records of one segment.
type span struct {
	seg      *segment
	header   segmentHeader
	first    uint64
	offsets  []int64
	from, to int64
}

// locate finds where the entries are. It does not touch the disk.
func (l *Log) locate(lo, hi uint64, room int64) ([]span, uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return nil, 0, ErrClosed
	case lo <= l.baseIndex:
		return nil, 0, ErrCompacted
	case hi > l.last+1:
		return nil, 0, ErrUnavailable
	case lo >= hi:
		return nil, l.epoch, nil
	}
	at := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].header.baseIndex >= lo }) - 1
	var spans []span
	for next := lo; next < hi; at++ {
		s := l.segs[at]
		first := int(next - s.header.baseIndex - 1)
		sp := span{seg: s, header: s.header, first: next, from: s.offsets[first], to: s.offsets[first]}
		n := 0
		for ; first+n < len(s.offsets) && next < hi; n++ {
			end := s.end
			if first+n+1 < len(s.offsets) {
				end = s.offsets[first+n+1]
			}
			if room -= end - s.offsets[first+n]; room < 0 && next > lo {
				hi = next
				break
			}
			sp.to = end
			next++
		}
		if sp.offsets = s.offsets[first : first+n : first+n]; n > 0 {
			spans = append(spans, sp)
		}
	}
	return spans, l.epoch, nil
}

// read appends the span's entries to entries.
func (sp *span) read(entries []raftcore.Entry) ([]raftcore.Entry, error) {
	b := make([]byte, sp.to-sp.from)
	if n, err := sp.seg.file.ReadAt(b, sp.from); n < len(b) {
		damage := sp.damage(sp.from+int64(n), sp.first, fmt.Sprintf("%d readable bytes", len(b)), fmt.Sprint(err))
		damage.Cause = err
		return nil, damage
	}
	for i, off := range sp.offsets {
		index := sp.first + uint64(i)
		rec := b[off-sp.from:]
		h, ok := parseRecordHeader(rec)
		if !ok || h.index != index || h.lap != sp.header.lap || h.segment != sp.header.id || h.size() > int64(len(rec)) {
			return nil, sp.damage(off, index, "the record header written there", "another one, or a wrong checksum")
		}
		e := h.entry(rec[recordHeaderSize : recordHeaderSize+h.length : recordHeaderSize+h.length])
		if !e.Verify() {
			err := sp.damage(off, index, "a body with the header's checksum", "a wrong checksum")
			err.Term = h.term
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (sp *span) damage(off int64, index uint64, expected, found string) *CorruptionError {
	return &CorruptionError{File: sp.seg.file.Name(), Offset: off, Index: index, Expected: expected, Found: found}
}
