package segmentlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// Repair is a damaged log whose lost entries can all be identified, so that they
// can be fetched from peers by index and term (CTRL, FAST'18). Survey makes one
// without changing anything; Fill puts one hole's entries back where they were,
// byte for byte the same records. When no hole is left Open succeeds, for then the
// directory is what it was before the damage.
//
// An entry is identified by its own header if that is intact; else by its
// neighbours: the records before and behind the hole tell how many entries are
// lost and how many bytes they took, and a peer whose log continues behind the hole
// with the same term as ours has, by the Log Matching Property (thesis 3.5), the
// same entries in it.
//
// Fill is not atomic and need not be: a crash inside it leaves a smaller hole, or
// the same. Repair is for one goroutine, but Entry may be called beside it.
type Repair struct {
	fs      vfs.FS
	dir     string
	holes   []*Hole
	spans   []intactSpan
	headers []segmentHeader // of the segments in force
	scan    *scanned
	// claimed is what an end that is no entry of the log, for it cannot be identified,
	// may have been; zero if there is none.
	claimedIndex, claimedTerm uint64
}

// Hole is a run of entries that were durable and cannot be read. It may be empty
// (Last = First-1): rubbish behind a segment's last record, where zeros belong.
type Hole struct {
	File string
	// From and To delimit its bytes; To is 0 if the hole ends with the segment's
	// records, whose end only the entries themselves tell.
	From, To int64
	// First and Last are the entries lost.
	First, Last uint64
	// Anchor is the index of an intact identity of ours at or behind the hole, and
	// AnchorTerm its term: whoever has it has our entries First to Last.
	Anchor, AnchorTerm uint64

	segment  segmentHeader
	known    *recordHeader // the entry's own header, if it is intact; then First = Last
	termFrom uint64        // of the entry before
	durable  uint64        // promise to repeat in headers that are written anew
	cause    *CorruptionError
	filled   bool
}

// Entry is where an intact record lies.
type intactSpan struct {
	path   string
	header recordHeader
	off    int64
}

// ErrMismatch is returned by Fill for entries that are not the lost ones.
var ErrMismatch = errors.New("segmentlog: not the entries that are missing here")

// Survey looks for holes in a log that must not be open. Damage that is no hole in
// this sense (of a segment's header, of the hard state, or without anything intact
// behind it) is returned as the *CorruptionError or *HardStateError that Open gives.
// tail includes an ambiguous tail (Suspect) as far as it can be identified; it is
// not needed for Open to succeed.
func Survey(fs vfs.FS, dir string, tail bool) (*Repair, error) {
	m, err := readMeta(fs, dir)
	if err != nil {
		return nil, err
	}
	s := &scanned{meta: m, lastIndex: m.baseIndex, lastTerm: m.baseTerm}
	r := &Repair{fs: fs, dir: dir, scan: s}
	refs, err := s.list(fs, dir)
	if err != nil {
		return nil, err
	}
	var active []fileRef
	var headers []segmentHeader
	for _, ref := range refs {
		isActive, err := s.classify(fs, ref)
		if err != nil {
			return nil, err
		}
		if !isActive {
			continue
		}
		b, err := readHead(fs, ref)
		if err != nil {
			return nil, err
		}
		h, err := parseSegmentHeader(b)
		if err != nil {
			return nil, &CorruptionError{File: ref.path, Expected: "a segment header", Found: err.Error()}
		}
		active, headers = append(active, ref), append(headers, h)
	}
	r.headers = headers
	for i := range active {
		var next *segmentHeader
		if i+1 < len(active) {
			next = &headers[i+1]
		}
		if err := r.survey(active[i], next, tail); err != nil {
			return nil, err
		}
	}
	s.buf = nil
	return r, s.crossCheck(dir)
}

// survey goes through one segment; next is the header of the one behind it.
func (r *Repair) survey(ref fileRef, next *segmentHeader, tail bool) error {
	s := r.scan
	b, err := s.load(r.fs, ref)
	if err != nil {
		return err
	}
	h, err := parseSegmentHeader(b)
	if err != nil {
		return &CorruptionError{File: ref.path, Expected: "the header read a moment ago", Found: err.Error()}
	}
	if err := s.checkChain(&h, ref); err != nil {
		return err
	}
	s.segments = append(s.segments, &segScan{ref: ref, header: h})
	promise := firstRecord
	if s.meta.promiseSegment == ref.id {
		promise = max(promise, s.meta.promiseOffset)
	}
	if s.meta.cutSegment == ref.id && s.meta.cutOffset <= int64(len(b)) {
		clear(b[s.meta.cutOffset:])
	}
	if p, _ := laterPromise(b, &h, firstRecord, promise); p > 0 {
		promise = maxPromise(b, &h, promise)
	}
	w := &recordWalk{b: b, header: &h, path: ref.path, off: firstRecord, next: s.lastIndex + 1, term: s.lastTerm, promise: promise}
	durable := uint64(firstRecord)
	end := int64(lastNonZero(b))
	for {
		rec, ok := w.record(w.off)
		switch {
		case ok:
			r.spans = append(r.spans, intactSpan{ref.path, rec, w.off})
			s.take(rec.entry(w.body(w.off, &rec)))
			durable = rec.durable
			w.next, w.term = rec.index+1, rec.term
			w.off += rec.size()
		case next == nil && w.off >= promise && !(tail && w.off < end),
			next != nil && w.off >= end && s.lastIndex == next.baseIndex && s.lastTerm == next.baseTerm:
			if next == nil && w.off < end {
				r.claim(w)
			}
			return nil
		default:
			hole := &Hole{File: ref.path, From: w.off, First: w.next, segment: h, termFrom: w.term, durable: durable, cause: w.damage("an intact record")}
			if !r.measure(w, hole, next) {
				if next == nil && w.off >= promise {
					r.claim(w) // a tail that cannot be identified: Suspect, or torn
					return nil
				}
				return hole.cause
			}
			r.holes = append(r.holes, hole)
			s.lastIndex, s.lastTerm = hole.Last, max(w.term, hole.lastTerm())
			w.next, w.term = hole.Last+1, s.lastTerm
			if w.off = hole.To; hole.To == 0 {
				return nil
			}
		}
	}
}

// claim notes what the end of the log may have held.
func (r *Repair) claim(w *recordWalk) {
	if index, term, torn := w.examine(r.scan.meta.hard.Term); !torn {
		r.claimedIndex, r.claimedTerm = index, term
	}
}

func maxPromise(b []byte, h *segmentHeader, promise int64) int64 {
	for {
		p, _ := laterPromise(b, h, firstRecord, promise)
		if p <= promise {
			return promise
		}
		promise = p
	}
}

// lastTerm is the term of entry Last if it is known, else a lower bound.
func (h *Hole) lastTerm() uint64 {
	if h.Anchor == h.Last {
		return h.AnchorTerm
	}
	return h.termFrom
}

// measure finds out where the hole at w.off ends and what anchors it.
func (r *Repair) measure(w *recordWalk, hole *Hole, next *segmentHeader) bool {
	if h, ok := w.ours(w.off); ok && h.index == w.next && h.term >= w.term && int64(h.durable) <= w.off && int64(h.durable) >= firstRecord {
		hole.known, hole.To = &h, w.off+h.size()
		hole.Last, hole.Anchor, hole.AnchorTerm = h.index, h.index, h.term
		return true
	}
	end := (int64(lastNonZero(w.b)) + recordAlign - 1) &^ (recordAlign - 1)
	for p := w.nextHeader(w.off, end); p < end; p = w.nextHeader(p, end) {
		h, _ := w.ours(p)
		lost := h.index - w.next
		if h.index > w.next && lost <= uint64(p-w.off)/recordHeaderSize && h.term >= w.term && int64(h.durable) <= p {
			hole.To, hole.Last = p, h.index-1
			hole.Anchor, hole.AnchorTerm = h.index, h.term
			return true
		}
	}
	if m := &r.scan.meta; next == nil && m.promiseSegment == hole.segment.id && m.promiseOffset > w.off {
		// The last record below the promise is lost; the hard state names it.
		if m.promiseIndex < w.next || m.promiseTerm < w.term {
			return false
		}
		hole.To, hole.Last, hole.Anchor, hole.AnchorTerm = m.promiseOffset, m.promiseIndex, m.promiseIndex, m.promiseTerm
		return true
	}
	if next == nil || next.baseIndex+1 < w.next || next.baseTerm < w.term {
		return false
	}
	hole.Last, hole.Anchor, hole.AnchorTerm = next.baseIndex, next.baseIndex, next.baseTerm
	return true
}

// Holes are what is missing, in the log's order. Filled ones are none any more.
func (r *Repair) Holes() []*Hole {
	return slices.DeleteFunc(slices.Clone(r.holes), func(h *Hole) bool { return h.filled })
}

// Configs are the membership entries that can be read: who may have the rest.
func (r *Repair) Configs() []raftcore.Entry { return r.scan.configs }

// Entry reads an intact entry and the term of the entry at anchor (0 if that is not
// known here): the answer to a peer that repairs its log. ok is false if this log
// cannot read it either.
func (r *Repair) Entry(index, anchor uint64) (e raftcore.Entry, anchorTerm uint64, ok bool) {
	at, found := slices.BinarySearchFunc(r.spans, index, func(s intactSpan, i uint64) int { return int(int64(s.header.index) - int64(i)) })
	if !found {
		return e, 0, false
	}
	sp := &r.spans[at]
	f, err := r.fs.OpenRead(sp.path)
	if err != nil {
		return e, 0, false
	}
	defer f.Close()
	body := make([]byte, sp.header.length)
	if n, _ := f.ReadAt(body, sp.off+recordHeaderSize); n < len(body) {
		return e, 0, false
	}
	e = sp.header.entry(body)
	return e, r.termAt(anchor), e.Verify()
}

func (r *Repair) termAt(index uint64) uint64 {
	if at, found := slices.BinarySearchFunc(r.spans, index, func(s intactSpan, i uint64) int { return int(int64(s.header.index) - int64(i)) }); found {
		return r.spans[at].header.term
	}
	for _, h := range r.holes {
		if h.Anchor == index {
			return h.AnchorTerm
		}
	}
	return 0
}

// Err is the damage as Open reports it.
func (h *Hole) Err() *CorruptionError { return h.cause }

// String names the hole for logs.
func (h *Hole) String() string {
	return fmt.Sprintf("entries %d to %d at byte %d of %s", h.First, h.Last, h.From, h.File)
}

// Fill writes the lost entries, First to Last, back and syncs them. The caller has
// them from somebody whose log holds the hole's anchor. It returns ErrMismatch, and
// changes nothing, if they cannot be the lost ones.
func (r *Repair) Fill(h *Hole, entries []raftcore.Entry) error {
	b, err := h.records(entries)
	if err != nil {
		return err
	}
	f, err := r.fs.Open(h.File)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		b = make([]byte, h.segment.size-h.From)
	}
	err = r.checkRoom(f, h, int64(len(b)))
	if err == nil {
		_, err = f.WriteAt(b, h.From)
	}
	if err == nil {
		err = f.Datasync()
	}
	err = errors.Join(err, f.Close())
	h.filled = err == nil
	return err
}

// checkRoom: what lies behind a hole of unknown length must be zeros.
func (r *Repair) checkRoom(f vfs.File, h *Hole, n int64) error {
	end := h.From + n
	switch {
	case end > h.segment.size || h.To != 0 && end != h.To:
		return fmt.Errorf("%w: they take %d bytes, %s has room for others", ErrMismatch, n, h)
	case h.To != 0:
		return nil
	}
	rest := make([]byte, h.segment.size-end)
	if got, err := f.ReadAt(rest, end); got < len(rest) {
		return err
	}
	if !allZero(rest) {
		return fmt.Errorf("%w: something follows them in %s", ErrMismatch, filepath.Base(h.File))
	}
	return nil
}

// records are the bytes of the hole.
func (h *Hole) records(entries []raftcore.Entry) ([]byte, error) {
	if uint64(len(entries)) != h.Last-h.First+1 {
		return nil, fmt.Errorf("%w: %d entries for %s", ErrMismatch, len(entries), h)
	}
	var b []byte
	term := h.termFrom
	for i := range entries {
		e := &entries[i]
		if e.Index != h.First+uint64(i) || e.Term < term || e.Term > h.AnchorTerm || !e.Verify() || uint64(len(e.Body)) > maxBody {
			return nil, fmt.Errorf("%w: entry %d of term %d for %s", ErrMismatch, e.Index, e.Term, h)
		}
		term = e.Term
		head := recordHeader{
			lap: h.segment.lap, segment: h.segment.id, index: e.Index, term: e.Term,
			durable: h.durable, length: uint32(len(e.Body)), crc: e.CRC, typ: e.Type,
		}
		if k := h.known; k != nil {
			if k.term != e.Term || k.crc != e.CRC || k.typ != e.Type || int(k.length) != len(e.Body) {
				return nil, fmt.Errorf("%w: entry %d differs from its record's header", ErrMismatch, e.Index)
			}
			head = *k
		}
		at := len(b)
		b = append(b, make([]byte, head.size())...)
		head.put(b[at:])
		copy(b[at+recordHeaderSize:], e.Body)
	}
	if h.Anchor == h.Last && term != h.AnchorTerm { // of an empty hole, too
		return nil, fmt.Errorf("%w: entry %d has term %d, not %d", ErrMismatch, h.Last, term, h.AnchorTerm)
	}
	return b, nil
}

// EntryAt reads one entry of an open log, and the term of the entry at anchor as of
// the same moment (0 if the log has none there): Repair.Entry of a healthy log.
func (l *Log) EntryAt(index, anchor uint64) (e raftcore.Entry, anchorTerm uint64, err error) {
	entries, err := l.Entries(index, index+1, 1)
	if err != nil {
		return e, 0, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if index > l.last || l.termOf(index) != entries[0].Term {
		return e, 0, ErrUnavailable // truncated meanwhile
	}
	if anchor > l.baseIndex && anchor <= l.last {
		anchorTerm = l.termOf(anchor)
	}
	return entries[0], anchorTerm, nil
}

// Compact lets go of the segments before the last one that begins at or below index,
// as Log.Compact does, and reports whether that took a hole along. A durable snapshot
// must hold everything up to index.
func (r *Repair) Compact(index uint64) (bool, error) {
	at := len(r.headers) - 1
	for at > 0 && r.headers[at].baseIndex > index {
		at--
	}
	base := r.headers[at] // there is a segment, or there would be no hole
	holes := r.Holes()
	rest := slices.DeleteFunc(slices.Clone(holes), func(h *Hole) bool { return h.segment.id < base.id })
	if len(rest) == len(holes) {
		return false, nil
	}
	m := r.scan.meta
	m.first, m.baseIndex, m.baseTerm = base.id, base.baseIndex, base.baseTerm
	r.holes = rest
	return true, r.writeMeta(m)
}

// Supersede empties the log: it then ends at (index, term), a durable snapshot's, as
// Log.Reset does. The way out when nobody has the lost entries any more: whatever was
// in the log up to LastIndex is in a snapshot that reaches it. What an unidentified end
// may have held beyond that stays suspect.
func (r *Repair) Supersede(index, term uint64) error {
	if index < r.LastIndex() {
		return fmt.Errorf("segmentlog: a snapshot at %d does not replace a log that goes on to %d", index, r.LastIndex())
	}
	m := r.scan.meta
	m.first, m.baseIndex, m.baseTerm = r.scan.maxID+1, index, term
	if term > m.hard.Term {
		m.hard.Term, m.hard.Vote = term, 0 // it never voted in a term it had not reached
	}
	if less(m.suspectTerm, m.suspectIndex, r.claimedTerm, r.claimedIndex) {
		m.suspectIndex, m.suspectTerm = r.claimedIndex, r.claimedTerm
	}
	if !less(term, index, m.suspectTerm, m.suspectIndex) {
		m.suspectIndex, m.suspectTerm = 0, 0
	}
	m.cutSegment, m.cutOffset, m.cutBelow = 0, 0, 0
	m.promiseSegment, m.promiseOffset, m.promiseIndex, m.promiseTerm = 0, 0, 0, 0
	r.holes, r.headers = nil, nil
	return r.writeMeta(m)
}

// writeMeta is the moment of a Compact or Supersede; Open cleans up.
func (r *Repair) writeMeta(m meta) error {
	f, err := r.fs.Open(filepath.Join(r.dir, metaName))
	if err != nil {
		return err
	}
	m.sequence++
	r.scan.meta = m
	return errors.Join(writeMeta(f, &m), f.Close())
}

// HardState is the directory's.
func (r *Repair) HardState() raftcore.HardState { return r.scan.meta.hard }

// LastIndex is the last entry the log is known to hold, readable or not.
func (r *Repair) LastIndex() uint64 { return r.scan.lastIndex }
