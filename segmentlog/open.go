package segmentlog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// DefaultSegmentSize is the size of a segment file, in bytes, unless Options say
// otherwise.
const DefaultSegmentSize = 64 << 20

const (
	defaultRecycleLimit = 2
	minSegmentSize      = 2 * blockSize
)

// Open recovers the log in o.Dir, creating an empty one if there is none.
//
// It reads every record once. What it reports is durable: bytes that no promise
// covered are written and synced again, for after a failed sync a page may read
// well and yet never have reached the disk. A *CorruptionError or *HardStateError
// means that nothing was changed and the node must not take part.
func Open(o Options) (*Log, Recovered, error) {
	o = withDefaults(o)
	if err := prepareDir(o); err != nil {
		return nil, Recovered{}, err
	}
	s, err := scan(o.FS, o.Dir, progressTo(o.Logger))
	if err != nil {
		return nil, Recovered{}, err
	}
	l := &Log{
		fs: o.FS, dir: o.Dir, logger: o.Logger, sync: o.Sync, meta: s.meta,
		last: s.lastIndex, terms: s.terms, suspect: s.suspect,
		baseIndex: s.meta.baseIndex, baseTerm: s.meta.baseTerm,
		prep: newPreparer(o, s),
	}
	if err := l.recover(s); err != nil {
		return nil, Recovered{}, errors.Join(fmt.Errorf("segmentlog: recovering %s: %w", o.Dir, err), l.abandon())
	}
	l.prep.start()
	r := Recovered{
		HardState: l.meta.hard, FirstIndex: l.baseIndex + 1, LastIndex: l.last, BaseTerm: l.baseTerm,
		Terms: append([]raftcore.TermRun(nil), l.terms...), Configs: s.configs, TornBytes: s.tornBytes, Suspect: s.suspect,
	}
	l.report(&r)
	return l, r, nil
}

// progressTo says every second how far the reading is.
func progressTo(log *slog.Logger) func(segment, of int) {
	last := time.Now()
	return func(segment, of int) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			log.Info("reading the log", "segment", segment+1, "of", of)
		}
	}
}

func withDefaults(o Options) Options {
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	o.SegmentSize = (max(o.SegmentSize, minSegmentSize) + blockSize - 1) &^ (blockSize - 1)
	if o.RecycleLimit == 0 {
		o.RecycleLimit = defaultRecycleLimit
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// prepareDir makes the directory and its hard-state file. The latter comes first
// and is durable before any segment exists, so segments without it mean loss.
func prepareDir(o Options) error {
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return err
	}
	if err := o.FS.SyncDir(filepath.Dir(o.Dir)); err != nil {
		return err
	}
	name := filepath.Join(o.Dir, metaName)
	exists, err := o.FS.Exists(name)
	if err != nil || exists {
		return err
	}
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if id, _, ok := parseName(n); ok {
			return &HardStateError{File: name, Reason: fmt.Sprintf("it is missing beside segment file %d", id)}
		}
	}
	id := o.LogID
	for id == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		id = binary.LittleEndian.Uint64(b[:])
	}
	return createMeta(o.FS, o.Dir, id)
}

// recover makes the disk equal to what scan found. Each step may be cut short by a
// crash and is then found and done again: the slot that asked for it is replaced
// only at the end.
func (l *Log) recover(s *scanned) error {
	// The process before may have been refused a directory sync and ended. Names that
	// are seen now, a prepared segment's above all, must not vanish once they are
	// relied on.
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	var err error
	if l.metaFile, err = l.fs.Open(filepath.Join(l.dir, metaName)); err != nil {
		return err
	}
	for _, g := range s.segments {
		f, err := l.fs.Open(g.ref.path)
		if err != nil {
			return err
		}
		l.segs = append(l.segs, &segment{header: g.header, file: f, offsets: g.offsets, end: g.end, synced: g.end, written: true})
	}
	// Files void by a cut must be gone for good before the cut is forgotten.
	if err := l.prep.discard(s.dead); err != nil {
		return err
	}
	if n := len(s.segments); n > 0 {
		if err := l.recoverTail(s.segments[n-1], l.segs[n-1]); err != nil {
			return err
		}
	}
	m := l.meta
	m.cutSegment, m.cutOffset, m.cutBelow = 0, 0, 0
	if s.suspect != nil {
		m.suspectIndex, m.suspectTerm = s.suspect.LastIndex, s.suspect.LastTerm
	}
	return l.writeMeta(m)
}

// recoverTail zeroes what is behind the last record, unless it is suspect and so
// evidence, and writes again what no promise covers.
func (l *Log) recoverTail(g *segScan, tail *segment) error {
	dirtyTo := g.dirtyTo
	if l.meta.cutSegment == g.ref.id {
		dirtyTo = g.ref.size // scan saw the void part as zeros already
	}
	if g.suspect {
		l.dirtyTo = dirtyTo
	} else if err := writeZeros(tail.file, g.end, dirtyTo); err != nil {
		return err
	}
	if l.meta.promiseSegment != g.ref.id {
		if err := tail.file.Writev([][]byte{g.header.block()}, 0); err != nil {
			return err
		}
	}
	if len(g.records) > 0 {
		if err := tail.file.Writev([][]byte{g.records}, g.from); err != nil {
			return err
		}
	}
	return tail.file.Datasync()
}

// abandon closes what a failed Open had opened.
func (l *Log) abandon() error {
	if l.prep.ready != nil {
		l.prep.ready.file.Close()
	}
	if l.metaFile == nil {
		return nil
	}
	return l.closeFiles()
}

func (l *Log) report(r *Recovered) {
	l.logger.Info("log recovered", "dir", l.dir, "first", r.FirstIndex, "last", r.LastIndex,
		"term", r.HardState.Term, "segments", len(l.segs), "torn_bytes", r.TornBytes)
	if r.Suspect != nil {
		l.logger.Warn("the end of the log is damaged and may have been acknowledged; refetching it from peers, voting restricted until then",
			"file", r.Suspect.File, "offset", r.Suspect.Offset, "first", r.Suspect.FirstIndex,
			"last", r.Suspect.LastIndex, "term", r.Suspect.LastTerm)
	}
}

// zeros is what writeZeros writes; nobody writes to it.
var zeros = make([]byte, 1<<20)

// writeZeros overwrites [from, to) in writes of at most 1 MiB. Not synced.
func writeZeros(f vfs.File, from, to int64) error {
	for from < to {
		n := min(int64(len(zeros)), to-from)
		if err := f.Writev([][]byte{zeros[:n]}, from); err != nil {
			return err
		}
		from += n
	}
	return nil
}
