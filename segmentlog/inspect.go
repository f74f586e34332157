package segmentlog

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rkvdb/rkv/internal/vfs"
)

// Report is what Verify found.
type Report struct {
	FirstIndex, LastIndex uint64
	Segments, Records     int
	Bytes                 int64 // of intact records
	TornBytes             int64
	Suspect               *Suspect
	// Damage is the first damage in the log's order; what lies behind it was not
	// judged (Dump lists it).
	Damage *CorruptionError
}

// Verify reads a directory as Open would, without changing it. The log must not be
// open. Damage to records is in the report; the error is for what kept Verify from
// judging at all (an unreadable directory, *HardStateError).
func Verify(fs vfs.FS, dir string) (Report, error) {
	s, err := scan(fs, dir, nil)
	r := Report{FirstIndex: s.meta.baseIndex + 1, LastIndex: s.lastIndex, Segments: len(s.segments), TornBytes: s.tornBytes, Suspect: s.suspect}
	for _, g := range s.segments {
		r.Records += len(g.offsets)
		r.Bytes += g.end - firstRecord
	}
	if errors.As(err, &r.Damage) {
		err = nil
	}
	return r, err
}

// Dump prints what is in a directory's files, one line a record, also behind damage
// and in files that are not in force. It changes nothing.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	out := &printer{w: w}
	if m, err := readMeta(fs, dir); err != nil {
		out.line("hardstate: %v", err)
	} else {
		out.line("hardstate: sequence %d log %016x term %d vote %d commit %d first-segment %d base (%d, term %d) promise segment %d byte %d",
			m.sequence, m.logID, m.hard.Term, m.hard.Vote, m.hard.Commit, m.first, m.baseIndex, m.baseTerm, m.promiseSegment, m.promiseOffset)
		if m.cutSegment != 0 {
			out.line("  unfinished cut: segment %d from byte %d, segments below %d", m.cutSegment, m.cutOffset, m.cutBelow)
		}
		if m.suspectIndex != 0 {
			out.line("  suspect up to (%d, term %d)", m.suspectIndex, m.suspectTerm)
		}
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, free, ok := parseName(name); ok && !free {
			if err := out.segment(fs, fileRef{id: id, path: segPath(dir, id)}); err != nil {
				return err
			}
		} else if ok {
			out.line("%s: free", name)
		}
	}
	return out.err
}

// printer remembers the first failure of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) segment(fs vfs.FS, ref fileRef) (err error) {
	if ref.size, err = fileSize(fs, ref.path); err != nil {
		return err
	}
	b, err := readAll(fs, ref)
	if err != nil {
		return err
	}
	h, err := parseSegmentHeader(b)
	if err != nil {
		p.line("%s: no segment header: %v", ref.path, err)
		return nil
	}
	p.line("%s: %s lap %d size %d previous %d base (%d, term %d)", ref.path,
		[...]string{"", "prepared", "active"}[h.state], h.lap, h.size, h.previous, h.baseIndex, h.baseTerm)
	w := recordWalk{b: b, header: &h}
	end := int64(lastNonZero(b))
	for off := firstRecord; off < end; {
		rec, ok := w.ours(off)
		if !ok {
			next := w.nextHeader(off, (end+recordAlign-1)&^(recordAlign-1))
			p.line("  %10d  %d bytes that are no record", off, next-off)
			off = next
			continue
		}
		p.record(&w, off, &rec)
		off += rec.size()
	}
	return nil
}

func (p *printer) record(w *recordWalk, off int64, h *recordHeader) {
	var notes strings.Builder
	if h.first {
		fmt.Fprintf(&notes, " batch %d", h.batch)
	}
	if !w.bodyIntact(off, h) {
		notes.WriteString(" BAD BODY")
	}
	p.line("  %10d  index %d term %d type %d length %d durable %d crc %08x%s",
		off, h.index, h.term, h.typ, h.length, h.durable, h.crc, notes.String())
}
