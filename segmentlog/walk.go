package segmentlog

import (
	"fmt"

	"github.com/rkvdb/rkv/raftcore"
)

// recordWalk goes through the records of one segment held in memory. It stops at
// the first place that is not an intact record, and then answers what that is:
//
//	below a promise          damage: it was synced, so it was whole once
//	zeros to the end         the end of the log
//	else, an old (zero) sector that no intact record accounts for
//	                         torn: the last write never completed, so it was never
//	                         acknowledged
//	else                     all of it reached the disk and is wrong: ambiguous
//	                         (see Suspect)
//
// Residual doubt, admitted: if the last acknowledged batch is damaged before any
// later write promised it, and the damaged record also holds a whole sector of
// zeros as its own data, it counts as torn. Open and Close write a promise, so that
// only a batch followed by a power cut can be concerned.
type recordWalk struct {
	b       []byte
	header  *segmentHeader
	path    string
	next    uint64 // index expected
	term    uint64 // term of the entry before
	promise int64  // synced up to here, by the hard-state file or the records seen

	off      int64 // where the walk is, in the end: where it stopped
	batchEnd int64 // as claimed by the batch walked last
}

// run calls visit for each intact record. The entry's body aliases the segment's
// bytes. It returns a *CorruptionError if the walk stopped at damage.
func (w *recordWalk) run(visit func(off int64, e raftcore.Entry)) error {
	metaPromise := w.promise
	w.off = firstRecord
	for {
		h, ok := w.record(w.off)
		if !ok {
			break
		}
		w.promise = max(w.promise, int64(h.durable))
		if h.first {
			w.batchEnd = w.off + int64(h.batch)
		}
		visit(w.off, h.entry(w.body(w.off, &h)))
		w.next, w.term = h.index+1, h.term
		w.off += h.size()
	}
	if w.off == metaPromise {
		w.batchEnd = 0 // a cut batch: what follows, if anything, is another one
	}
	if w.off < w.promise {
		return w.damage(fmt.Sprintf("an intact record (the log was synced up to byte %d)", w.promise))
	}
	if p, _ := laterPromise(w.b, w.header, w.off, w.off); p > 0 {
		return w.damage(fmt.Sprintf("an intact record (a later one promises byte %d was synced)", p))
	}
	return nil
}

// record returns the header at off if the record there is intact and is the one
// that belongs there.
func (w *recordWalk) record(off int64) (recordHeader, bool) {
	h, ok := w.ours(off)
	if !ok || h.index != w.next || h.term < w.term || int64(h.durable) > off || int64(h.durable) < firstRecord {
		return h, false
	}
	return h, w.bodyIntact(off, &h)
}

// ours returns the header at off if it was written in this use of this file and its
// record fits.
func (w *recordWalk) ours(off int64) (recordHeader, bool) {
	if off+recordHeaderSize > int64(len(w.b)) {
		return recordHeader{}, false
	}
	h, ok := parseRecordHeader(w.b[off:])
	return h, ok && h.lap == w.header.lap && h.segment == w.header.id && off+h.size() <= int64(len(w.b))
}

func (w *recordWalk) body(off int64, h *recordHeader) []byte {
	start := off + recordHeaderSize
	return w.b[start : start+int64(h.length) : start+int64(h.length)]
}

func (w *recordWalk) bodyIntact(off int64, h *recordHeader) bool {
	e := h.entry(w.body(off, h))
	return e.Verify() && allZero(w.b[off+recordHeaderSize+int64(h.length):off+h.size()])
}

// examine is asked when the walk stopped beyond every promise and before the last
// non-zero byte. It tells whether the last write was torn; if it was not, it names
// the last entry that the write can have held.
func (w *recordWalk) examine(currentTerm uint64) (lastIndex, lastTerm uint64, torn bool) {
	end := (int64(lastNonZero(w.b)) + recordAlign - 1) &^ (recordAlign - 1)
	end = max(end, min(w.off+recordHeaderSize, int64(len(w.b)))) // it claimed a header at least
	// A copy of an earlier record says nothing about how much was written here.
	h, ok := w.ours(w.off)
	if ok = ok && h.index >= w.next; ok && h.first {
		end = max(end, min(w.off+int64(h.batch), int64(len(w.b))))
	} else if ok {
		end = max(end, w.off+h.size())
	}
	end = min(max(end, w.batchEnd), int64(len(w.b)))

	lastIndex, lastTerm = w.next-1, currentTerm
	known := lastIndex // by a header; lastIndex may be an upper bound beyond it
	for p := w.off; p < end; {
		h, ok := w.ours(p)
		ok = ok && h.index > known && h.index-known <= uint64(end-w.off)/recordHeaderSize+1
		if ok && w.bodyIntact(p, &h) {
			known, lastIndex, lastTerm = h.index, h.index, h.term
			p += h.size()
			continue
		}
		stop := end
		if ok { // identity known, body bad; the padding may rightly be zero
			stop = p + recordHeaderSize + int64(h.length)
		} else {
			stop = w.nextHeader(p, end)
		}
		if oldSector(w.b, p, stop) {
			return 0, 0, true
		}
		if ok {
			known, lastIndex, lastTerm = h.index, h.index, h.term
			p += h.size()
		} else {
			lastIndex, lastTerm = lastIndex+max(1, uint64(stop-p)/recordHeaderSize), currentTerm
			p = stop
		}
	}
	return lastIndex, lastTerm, false
}

// nextHeader finds the next record header of ours behind p, or end.
func (w *recordWalk) nextHeader(p, end int64) int64 {
	for p += recordAlign; p < end && p+recordHeaderSize <= int64(len(w.b)); p += recordAlign {
		if le.Uint32(w.b[p:]) != recordMagic {
			continue
		}
		if _, ok := w.ours(p); ok {
			return p
		}
	}
	return end
}

// oldSector reports whether [from, to) reaches into a sector that still holds the
// zeros from before the write.
func oldSector(b []byte, from, to int64) bool {
	for from < to {
		end := min((from/sectorSize+1)*sectorSize, to)
		if allZero(b[from:end]) {
			return true
		}
		from = end
	}
	return false
}

// laterPromise looks behind from for a record header of this segment that promises
// more than floor was synced, and returns its promise, 0 if there is none.
func laterPromise(b []byte, s *segmentHeader, from, floor int64) (int64, recordHeader) {
	end := int64(lastNonZero(b))
	for p := from; p < end && p+recordHeaderSize <= int64(len(b)); p += recordAlign {
		if le.Uint32(b[p:]) != recordMagic {
			continue
		}
		h, ok := parseRecordHeader(b[p:])
		if ok && h.lap == s.lap && h.segment == s.id && int64(h.durable) > floor && int64(h.durable) <= p {
			return int64(h.durable), h
		}
	}
	return 0, recordHeader{}
}

// damage describes the place where the walk stopped.
func (w *recordWalk) damage(expected string) *CorruptionError {
	e := &CorruptionError{File: w.path, Offset: w.off, Index: w.next, Expected: expected}
	rest := w.b[w.off:]
	h, intact := parseRecordHeader(rest)
	switch {
	case len(rest) < recordHeaderSize || allZero(rest[:recordHeaderSize]):
		e.Found = "zeros"
	case !intact:
		e.Found = "a record header with a wrong checksum"
	case h.lap != w.header.lap || h.segment != w.header.id:
		e.Found = fmt.Sprintf("a record of segment %d, lap %d", h.segment, h.lap)
	case h.index != w.next || h.term < w.term:
		e.Found = fmt.Sprintf("a record of index %d, term %d", h.index, h.term)
	default:
		e.Term = h.term
		e.Found = fmt.Sprintf("a body of %d bytes with a wrong checksum", h.length)
	}
	return e
}
