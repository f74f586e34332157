package segmentlog

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// scanned is everything a directory says, read without changing a byte. Open acts
// on it; Verify reports it.
type scanned struct {
	meta     meta
	segments []*segScan // the log, oldest first
	prepared []fileRef  // zeroed, above the last active one
	free     []fileRef
	dead     []fileRef // to be released: below meta.first, void by a cut, or never used
	maxID    uint64

	lastIndex, lastTerm uint64
	terms               []raftcore.TermRun
	configs             []raftcore.Entry
	suspect             *Suspect
	tornBytes           int64

	buf []byte // one segment at a time; a fresh 64 MiB for each costs more than reading them

	progress func(segment, of int) // called before each segment is read, if not nil
}

type fileRef struct {
	id, lap uint64
	path    string
	size    int64
}

// segScan is one active segment.
type segScan struct {
	ref     fileRef
	header  segmentHeader
	offsets []int64 // of its records
	end     int64   // behind the last intact record
	dirtyTo int64   // behind the last non-zero byte; end if nothing follows
	records []byte  // bytes from the promise to end, kept of the last segment only
	from    int64   // where records starts
	suspect bool    // what follows end is evidence, to be kept until it is overwritten
}

// scan reads the directory. A *CorruptionError or *HardStateError comes with what
// was read up to there.
func scan(fs vfs.FS, dir string, progress func(segment, of int)) (*scanned, error) {
	m, err := readMeta(fs, dir)
	if err != nil {
		return &scanned{}, err
	}
	s := &scanned{meta: m, lastIndex: m.baseIndex, lastTerm: m.baseTerm, maxID: max(m.first-1, m.promiseSegment), progress: progress}
	refs, err := s.list(fs, dir)
	if err != nil {
		return s, err
	}
	var active []fileRef
	for _, ref := range refs {
		isActive, err := s.classify(fs, ref)
		if err != nil {
			return s, err
		}
		if isActive {
			active = append(active, ref)
		}
	}
	for i, ref := range active {
		if s.progress != nil {
			s.progress(i, len(active))
		}
		if err := s.scanActive(fs, ref, i == len(active)-1); err != nil {
			return s, err
		}
	}
	s.buf = nil
	return s, s.crossCheck(dir)
}

// list finds the segment files in force, and puts the others where they belong.
func (s *scanned) list(fs vfs.FS, dir string) ([]fileRef, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var refs []fileRef
	for _, name := range names {
		id, free, ok := parseName(name)
		if !ok {
			continue
		}
		s.maxID = max(s.maxID, id)
		ref := fileRef{id: id, path: filepath.Join(dir, name)}
		if ref.size, err = fileSize(fs, ref.path); err != nil {
			return nil, err
		}
		void := s.meta.cutSegment != 0 && id > s.meta.cutSegment && id < s.meta.cutBelow
		switch {
		case free:
			s.free = append(s.free, ref)
		case id < s.meta.first || void:
			s.dead = append(s.dead, ref)
		default:
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b fileRef) int { return cmp.Compare(a.id, b.id) })
	return refs, nil
}

// classify tells whether a segment file is active. A file that is not must not hold
// anything that was ever synced as part of the log.
func (s *scanned) classify(fs vfs.FS, ref fileRef) (active bool, err error) {
	b, err := readHead(fs, ref)
	if err != nil {
		return false, err
	}
	h, headerErr := parseSegmentHeader(b)
	if headerErr == nil && h.state == stateActive {
		return true, s.checkHeader(&h, ref)
	}
	if b, err = s.load(fs, ref); err != nil {
		return false, err
	}
	body := b[min(firstRecord, int64(len(b))):]
	if headerErr != nil && !allZero(body) {
		return false, &CorruptionError{File: ref.path, Expected: "a segment header", Found: headerErr.Error()}
	}
	if headerErr != nil {
		s.dead = append(s.dead, ref)
		return false, nil
	}
	if err := s.checkHeader(&h, ref); err != nil {
		return false, err
	}
	if p, rec := laterPromise(b, &h, firstRecord, firstRecord); p > 0 {
		// The write that made the segment active was reported as synced, or
		// these records would not promise it; the disk lost it.
		return false, &CorruptionError{File: ref.path, Index: rec.index, Term: rec.term,
			Expected: "an active segment header", Found: "a prepared one over synced records"}
	}
	ref.lap = h.lap
	if allZero(body) {
		s.prepared = append(s.prepared, ref)
	} else {
		s.dead = append(s.dead, ref) // its first write was torn, header included
	}
	return false, nil
}

func (s *scanned) checkHeader(h *segmentHeader, ref fileRef) error {
	bad := func(what string, want, got any) error {
		return &CorruptionError{File: ref.path, Index: h.baseIndex + 1, Term: h.baseTerm,
			Expected: fmt.Sprintf("%s %v", what, want), Found: fmt.Sprint(got)}
	}
	switch {
	case h.logID != s.meta.logID:
		return bad("log id", s.meta.logID, h.logID)
	case h.id != ref.id:
		return bad("segment number", ref.id, h.id)
	case h.size != ref.size || h.size < firstRecord || h.size%blockSize != 0:
		return bad("file size", h.size, ref.size)
	}
	return nil
}

// scanActive reads a segment of the log, checks that it continues the one before,
// and takes in its records.
func (s *scanned) scanActive(fs vfs.FS, ref fileRef, last bool) error {
	b, err := s.load(fs, ref)
	if err != nil {
		return err
	}
	h, err := parseSegmentHeader(b)
	if err != nil {
		return &CorruptionError{File: ref.path, Expected: "the header read a moment ago", Found: err.Error()}
	}
	ref.lap = h.lap
	if err := s.checkChain(&h, ref); err != nil {
		return err
	}
	promise := firstRecord
	if s.meta.promiseSegment == ref.id {
		promise = max(promise, s.meta.promiseOffset)
	}
	if s.meta.cutSegment == ref.id && s.meta.cutOffset <= int64(len(b)) {
		clear(b[s.meta.cutOffset:]) // an unfinished truncation: already void
	}
	w := recordWalk{b: b, header: &h, path: ref.path, next: s.lastIndex + 1, term: s.lastTerm, promise: promise}
	seg := &segScan{ref: ref, header: h}
	err = w.run(func(off int64, e raftcore.Entry) {
		seg.offsets = append(seg.offsets, off)
		s.take(e)
	})
	seg.end, seg.dirtyTo = w.off, max(w.off, int64(lastNonZero(b)))
	if s.segments = append(s.segments, seg); err != nil {
		return err
	}
	if last {
		seg.from = min(promise, seg.end)
		seg.records = slices.Clone(b[seg.from:seg.end])
		return s.judgeTail(&w, seg)
	}
	if seg.dirtyTo > seg.end {
		return w.damage("a record, or the end of the segment (a later segment follows)")
	}
	return nil
}

func (s *scanned) checkChain(h *segmentHeader, ref fileRef) error {
	if h.baseIndex != s.lastIndex || h.baseTerm != s.lastTerm {
		return &CorruptionError{File: ref.path, Index: s.lastIndex + 1,
			Expected: fmt.Sprintf("a segment that continues index %d, term %d (are records or a whole file missing before it?)", s.lastIndex, s.lastTerm),
			Found:    fmt.Sprintf("one that continues index %d, term %d", h.baseIndex, h.baseTerm)}
	}
	if n := len(s.segments); n > 0 && h.previous != s.segments[n-1].ref.id {
		return &CorruptionError{File: ref.path, Index: s.lastIndex + 1,
			Expected: fmt.Sprintf("previous segment %d", s.segments[n-1].ref.id), Found: fmt.Sprint(h.previous)}
	}
	return nil
}

func (s *scanned) take(e raftcore.Entry) {
	s.lastIndex, s.lastTerm = e.Index, e.Term
	s.terms = appendTerm(s.terms, e.Index, e.Term)
	if e.Type == raftcore.EntryConfig {
		e.Body = slices.Clone(e.Body)
		s.configs = append(s.configs, e)
	}
}

// judgeTail decides what the bytes behind the last intact record are.
func (s *scanned) judgeTail(w *recordWalk, seg *segScan) error {
	if seg.dirtyTo == seg.end {
		return nil
	}
	lastIndex, lastTerm, torn := w.examine(s.meta.hard.Term)
	if torn {
		s.tornBytes = seg.dirtyTo - seg.end
		return nil
	}
	seg.suspect = true
	s.suspect = &Suspect{File: seg.ref.path, Offset: seg.end, FirstIndex: s.lastIndex + 1, LastIndex: lastIndex, LastTerm: lastTerm}
	return nil
}

// crossCheck compares the segments with what the hard state promises, and settles
// the suspicion that an earlier start wrote down.
func (s *scanned) crossCheck(dir string) error {
	tail := uint64(0)
	if n := len(s.segments); n > 0 {
		tail = s.segments[n-1].ref.id
	}
	if p := s.meta.promiseSegment; p >= s.meta.first && !slices.ContainsFunc(s.segments, func(g *segScan) bool { return g.ref.id == p }) {
		return &CorruptionError{File: segPath(dir, p), Index: s.lastIndex + 1,
			Expected: fmt.Sprintf("a segment synced up to byte %d", s.meta.promiseOffset), Found: "no active segment of that number"}
	}
	if s.lastTerm > s.meta.hard.Term {
		return &HardStateError{File: filepath.Join(dir, metaName), Reason: fmt.Sprintf(
			"its term is %d, but the log holds an entry of term %d, which was written later", s.meta.hard.Term, s.lastTerm)}
	}
	// Prepared files below the tail can never be used, for numbers ascend.
	s.prepared = slices.DeleteFunc(s.prepared, func(ref fileRef) bool {
		if ref.id < tail {
			s.dead = append(s.dead, ref)
		}
		return ref.id < tail
	})
	s.joinSuspicions(dir)
	return nil
}

func (s *scanned) joinSuspicions(dir string) {
	m := &s.meta
	if m.suspectIndex == 0 {
		return
	}
	if !less(s.lastTerm, s.lastIndex, m.suspectTerm, m.suspectIndex) {
		m.suspectIndex, m.suspectTerm = 0, 0
		return
	}
	if s.suspect == nil {
		s.suspect = &Suspect{File: dir, FirstIndex: s.lastIndex + 1, LastIndex: m.suspectIndex, LastTerm: m.suspectTerm}
	} else if less(s.suspect.LastTerm, s.suspect.LastIndex, m.suspectTerm, m.suspectIndex) {
		s.suspect.LastIndex, s.suspect.LastTerm = m.suspectIndex, m.suspectTerm
	}
}

// less orders (term, index) as elections do (thesis 3.6.1).
func less(termA, indexA, termB, indexB uint64) bool {
	return termA < termB || termA == termB && indexA < indexB
}

// appendTerm extends runs by one entry.
func appendTerm(runs []raftcore.TermRun, index, term uint64) []raftcore.TermRun {
	if n := len(runs); n > 0 && runs[n-1].Term == term {
		return runs
	}
	return append(runs, raftcore.TermRun{Index: index, Term: term})
}

func readHead(fs vfs.FS, ref fileRef) ([]byte, error) {
	ref.size = min(ref.size, blockSize)
	return readAll(fs, ref)
}

func readAll(fs vfs.FS, ref fileRef) ([]byte, error) {
	return readInto(make([]byte, ref.size), fs, ref)
}

// load reads a file into s.buf, valid until the next load.
func (s *scanned) load(fs vfs.FS, ref fileRef) ([]byte, error) {
	if int64(cap(s.buf)) < ref.size {
		s.buf = make([]byte, ref.size)
	}
	return readInto(s.buf[:ref.size], fs, ref)
}

func readInto(b []byte, fs vfs.FS, ref fileRef) ([]byte, error) {
	f, err := fs.OpenRead(ref.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, &CorruptionError{File: ref.path, Offset: int64(n), Expected: fmt.Sprintf("%d readable bytes", len(b)), Found: fmt.Sprint(err), Cause: err}
	}
	return b, nil
}

func fileSize(fs vfs.FS, path string) (int64, error) {
	f, err := fs.OpenRead(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}
