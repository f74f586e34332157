package segmentlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/vfs"
)

// preparer keeps one segment ready: created (or recycled), overwritten with zeros
// that are really on the disk, synced, and named. So a commit overwrites blocks
// that exist, and its fdatasync moves no file metadata.
//
// Recycled files are zeroed again too, although their older lap alone would keep
// stale records out: only over zeros can recovery tell a sector that was never
// written from one that was written and then damaged. The price is that each log
// byte is written twice, the first time in the background in small steps with
// pauses; what recycling saves is the allocation of blocks and its journal traffic.
//
// step does one piece of work; run is the goroutine around it. With Options.Inline
// there is no goroutine, and take and release call step.
type preparer struct {
	fs      vfs.FS
	dir     string
	logger  *slog.Logger
	logID   uint64
	size    int64 // of a full-grown segment
	recycle int   // how many free files to keep
	inline  bool

	roomShort func() bool // Options.RoomShort

	mu        sync.Mutex
	wake      *sync.Cond // any field below changed
	nextID    uint64
	nextSize  int64 // of the next new file: doubles from firstSize up to size
	ready     *segment
	need      int64 // file size that a waiting take asks for, 0 if none waits
	err       error // of the last preparation; cleared when somebody asks again
	starved   bool  // err says that the disk is full: tried again until it is not
	impatient bool  // no take waits for room
	released  []*segment
	free      []fileRef // of size `size`
	closed    bool

	remover *remover // of files not worth keeping

	used  atomic.Int64  // permille of the segment in use that is written
	hurry chan struct{} // a token cuts the running pause short
	done  chan struct{}
}

// firstSize is the size of a log's first segment, so that a first start is quick;
// the following ones double while the log shows that it grows.
const firstSize = 4 << 20

// zeroStep is written and synced at a time, so that a commit's sync is stuck behind
// that much at worst, and between two steps the disk is left to others. Steps of 1 MiB
// and more made commits wait for tens of ms while the log grew.
//
// How long, depends on how soon the segment will be needed. Twice as far as the one in use
// and more, the preparation has time: all members' segments fill up at the same moment,
// and where they have one disk in common, each of them writing as fast as it may is what
// commits wait for (docs/adr/0030). Less far, it rests for zeroPause at least and for
// three times as long as the step took, which bounds the share of the disk; then shorter;
// a Save that waits cancels the rests.
const (
	zeroStep    = int64(256 << 10)
	zeroPause   = 4 * time.Millisecond
	zeroLeisure = 100 * time.Millisecond // 2.5 MiB/s
	zeroLead    = 100                    // permille by which the preparation should be ahead of the use
)

// rest is how long to leave the disk alone: prepared and used are permille of the
// segment in preparation and of the one in use, took is what the last step cost.
func rest(prepared, used int64, took time.Duration) time.Duration {
	switch {
	case prepared < used:
		return 0
	case prepared < used+zeroLead:
		return took
	case prepared < 2*(used+zeroLead):
		return max(zeroPause, 3*took)
	}
	return max(zeroLeisure, 3*took)
}

func newPreparer(o Options, s *scanned) *preparer {
	p := &preparer{
		fs: o.FS, dir: o.Dir, logger: o.Logger, logID: s.meta.logID, size: o.SegmentSize,
		recycle: max(0, o.RecycleLimit), inline: o.Inline, impatient: o.Inline, roomShort: o.RoomShort,
		nextID: s.maxID + 1, nextSize: min(o.SegmentSize, firstSize),
		hurry: make(chan struct{}, 1), done: make(chan struct{}),
	}
	p.wake = sync.NewCond(&p.mu)
	p.remover = newRemover(o, p.roomIsShort, p.roomAgain)
	if n := len(s.segments); n > 0 {
		tail := s.segments[n-1]
		p.nextSize = min(o.SegmentSize, 2*tail.ref.size)
		p.used.Store(tail.end * 1000 / tail.ref.size) // the next one may be needed soon
	}
	// Left-overs: a prepared file is as good as new, the others wait or go.
	s.dead = append(s.dead, s.free...)
	if n := len(s.prepared); n > 0 {
		ref := s.prepared[n-1]
		if f, err := p.fs.Open(ref.path); err == nil {
			p.ready = p.segment(f, ref)
		}
		s.dead = append(s.dead, s.prepared[:n-1]...)
	}
	return p
}

func (p *preparer) segment(f vfs.File, ref fileRef) *segment {
	return &segment{
		header: segmentHeader{state: statePrepared, logID: p.logID, id: ref.id, lap: ref.lap, size: ref.size},
		file:   f, end: firstRecord, synced: firstRecord,
	}
}

// start begins to work in the background.
func (p *preparer) start() {
	p.remover.start()
	if p.inline {
		close(p.done)
		return
	}
	go p.run()
}

func (p *preparer) run() {
	defer close(p.done)
	for {
		p.mu.Lock()
		for !p.closed && !p.hasWork() && !p.starved {
			p.wake.Wait()
		}
		closed, rest := p.closed, p.starved && len(p.released) == 0
		p.mu.Unlock()
		if closed {
			return
		}
		if rest && p.awaitSpace() != nil {
			return
		}
		p.step()
	}
}

// spaceRetry is how often a preparation that found the disk full is tried again.
const spaceRetry = 500 * time.Millisecond

// awaitSpace rests before a preparation is tried again.
func (p *preparer) awaitSpace() error {
	t := time.NewTimer(spaceRetry)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.hurry:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.err = nil
	return nil
}

// giveUp makes a take that waits for room, or would, fail instead.
func (p *preparer) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.impatient = true
	p.wake.Broadcast()
}

// outOfSpace reports whether a preparation failed for a reason that goes away when
// files are removed. Nothing was promised of a segment in preparation, so such a
// failure says nothing about the log.
func outOfSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// hasWork: caller holds mu.
func (p *preparer) hasWork() bool {
	return len(p.released) > 0 || p.err == nil && !p.isReady()
}

func (p *preparer) isReady() bool { return p.ready != nil && p.ready.header.size >= p.need }

// stop ends the goroutine and closes the ready file. A take that waits fails.
func (p *preparer) stop() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.hasten()
	<-p.done
	p.remover.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready != nil {
		p.ready.file.Close()
		p.ready = nil
	}
	for _, s := range p.released {
		s.file.Close() // recovery finds the file below meta.first
	}
	p.released = nil
}

// take hands out a segment of at least size bytes, waiting for it if need be: for as
// long as the disk is full, unless inline. A preparation that failed before is tried
// once more.
func (p *preparer) take(size int64) (s *segment, waited bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.need, p.err = size, nil
	defer func() { p.need = 0 }()
	p.wake.Broadcast()
	for !p.closed && !p.isReady() && (p.err == nil || p.starved && !p.impatient) {
		waited = true
		if !p.inline {
			if !p.starved {
				p.hasten()
			}
			p.wake.Wait()
			continue
		}
		p.mu.Unlock()
		p.step()
		p.mu.Lock()
	}
	if p.closed {
		return nil, waited, ErrClosed
	}
	if p.err != nil {
		return nil, waited, p.err
	}
	s, p.ready = p.ready, nil
	p.used.Store(0)
	p.wake.Broadcast()
	return s, waited, nil
}

// release takes segments that are below meta.first: nothing depends on when they go.
func (p *preparer) release(segs []*segment) {
	p.mu.Lock()
	p.released = append(p.released, segs...)
	starved := p.starved
	p.wake.Broadcast()
	p.mu.Unlock()
	switch {
	case p.inline:
		p.step()
	case starved:
		p.hasten()
	}
}

// step does one piece of work, without holding mu over the disk.
func (p *preparer) step() {
	p.mu.Lock()
	if len(p.released) > 0 {
		segs := p.released
		p.released = nil
		p.mu.Unlock()
		if err := p.discardOpen(segs); err != nil {
			p.logger.Warn("releasing log segments failed; the next start does it again", "dir", p.dir, "err", err)
			return
		}
		p.mu.Lock()
		p.err, p.starved = nil, false // there may be room again
		p.mu.Unlock()
		return
	}
	if p.isReady() {
		p.mu.Unlock()
		return
	}
	small := p.ready // too small for one huge entry
	p.ready = nil
	size := max(p.nextSize, (p.need+blockSize-1)&^(blockSize-1))
	p.mu.Unlock()

	var err error
	if small != nil {
		err = p.discardOpen([]*segment{small})
	}
	var s *segment
	if err == nil {
		s, err = p.prepare(size)
	}
	p.settle(s, size, err)
}

// settle notes how a preparation ended.
func (p *preparer) settle(s *segment, size int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.starved
	p.ready, p.err, p.starved = s, err, outOfSpace(err)
	switch {
	case errors.Is(err, ErrClosed):
		p.logger.Debug("a segment in preparation is left for the next start", "dir", p.dir)
	case p.starved && !was:
		p.logger.Error("no room on the disk for the next log segment; it is made when there is", "dir", p.dir, "err", err)
	case p.starved:
	case err != nil:
		p.logger.Warn("preparing a log segment failed; the next commit that needs one tries again", "dir", p.dir, "err", err)
	default:
		p.nextSize = max(p.nextSize, min(p.size, 2*size))
		if was {
			p.logger.Info("there is room for the next log segment again", "dir", p.dir)
		}
	}
	p.wake.Broadcast()
}

// prepare makes a segment file of size bytes or recycles a larger one. Under its
// free name the file means nothing to recovery, whatever it contains; it gets its
// segment name when it is all zeros and synced.
func (p *preparer) prepare(size int64) (*segment, error) {
	ref, f, err := p.pick(size)
	if err != nil {
		return nil, err
	}
	if err = p.fill(f, ref); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	name := segPath(p.dir, ref.id)
	if err == nil {
		err = p.fs.Rename(ref.path, name)
	}
	if err != nil {
		p.fs.Remove(ref.path) // half-made; if this fails too, the next start does it
		return nil, err
	}
	if err := p.fs.SyncDir(p.dir); err != nil {
		return nil, err
	}
	// Opened again under its name, which error reports quote.
	if f, err = p.fs.Open(name); err != nil {
		return nil, err
	}
	return p.segment(f, ref), nil
}

// pick opens a free file if one is large enough and its lap is known, else creates
// one. The reference carries the new segment number and lap.
func (p *preparer) pick(size int64) (fileRef, vfs.File, error) {
	for {
		p.mu.Lock()
		id := p.nextID
		if len(p.free) == 0 || p.free[0].size < size {
			p.nextID++
			p.mu.Unlock()
			if err := p.roomFor(size); err != nil {
				return fileRef{}, nil, err
			}
			ref := fileRef{id: id, lap: 1, path: freePath(p.dir, id), size: size}
			f, err := p.fs.Create(ref.path)
			return ref, f, err
		}
		ref := p.free[0]
		p.free = p.free[1:]
		p.nextID++
		p.mu.Unlock()

		b, err := readHead(p.fs, ref)
		if err == nil {
			var h segmentHeader
			if h, err = parseSegmentHeader(b); err == nil {
				ref.id, ref.lap = id, h.lap+1
				f, err := p.fs.Open(ref.path)
				return ref, f, err
			}
		}
		if err := p.fs.Remove(ref.path); err != nil {
			return fileRef{}, nil, err
		}
	}
}

// roomFor looks for room before it is used up: half a segment would take from snapshots,
// and from the files of others, what they need to make room.
func (p *preparer) roomFor(size int64) error {
	free, err := p.fs.Free(p.dir)
	if err != nil || free >= uint64(size) {
		return err
	}
	return &fs.PathError{Op: "reserve", Path: p.dir, Err: unix.ENOSPC}
}

// fill zeroes the file in steps and then gives it its prepared header.
func (p *preparer) fill(f vfs.File, ref fileRef) error {
	for at := firstRecord; at < ref.size; {
		started := time.Now()
		step := at
		at = min(at+p.stride(), ref.size)
		if err := writeZeros(f, step, at); err != nil {
			return err
		}
		if err := f.Datasync(); err != nil {
			return err
		}
		if err := p.pause(rest(at*1000/ref.size, p.used.Load(), time.Since(started))); err != nil {
			return err
		}
	}
	h := segmentHeader{state: statePrepared, logID: p.logID, id: ref.id, lap: ref.lap, size: ref.size}
	if err := f.Writev([][]byte{h.block()}, 0); err != nil {
		return err
	}
	return f.Sync()
}

// stride is how much to write before the next sync: little beside commits, much when
// one waits for the result.
func (p *preparer) stride() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.need > 0 {
		return 16 * zeroStep
	}
	return zeroStep
}

// pause rests between two steps unless somebody waits.
func (p *preparer) pause(d time.Duration) error {
	p.mu.Lock()
	closed, waiting := p.closed, p.need > 0
	p.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if p.inline || waiting || d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.hurry:
	}
	return nil
}

func (p *preparer) hasten() {
	select {
	case p.hurry <- struct{}{}:
	default:
	}
}

// discardOpen closes segments and discards their files.
func (p *preparer) discardOpen(segs []*segment) error {
	var refs []fileRef
	var errs []error
	for _, s := range segs {
		refs = append(refs, fileRef{id: s.header.id, path: segPath(p.dir, s.header.id), size: s.header.size})
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, p.discard(refs))...)
}

// discard turns files into free ones: as many as are worth keeping wait to be used
// again, the others for the remover. Under a free name a file means nothing, whatever it
// holds and however long it is, and the names are durable when discard returns. In which
// order a crash undoes them is no matter: a slot has declared the files void already.
func (p *preparer) discard(refs []fileRef) error {
	if len(refs) == 0 {
		return nil
	}
	var gone []string
	for _, ref := range refs {
		if name := freePath(p.dir, ref.id); name != ref.path {
			if err := p.fs.Rename(ref.path, name); err != nil {
				return fmt.Errorf("releasing segment %d: %w", ref.id, err)
			}
			ref.path = name
		}
		if !p.keep(ref) {
			gone = append(gone, ref.path)
		}
	}
	if err := p.fs.SyncDir(p.dir); err != nil {
		return err
	}
	return p.remover.add(gone)
}

// keep takes a free file up if it is worth keeping.
func (p *preparer) keep(ref fileRef) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ref.size != p.size || len(p.free) >= p.recycle {
		return false
	}
	p.free = append(p.free, ref)
	return true
}

// roomIsShort reports whether files to be removed should go at once.
func (p *preparer) roomIsShort() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starved || p.roomShort != nil && p.roomShort()
}

// roomAgain has a preparation that found the disk full tried again.
func (p *preparer) roomAgain() {
	p.mu.Lock()
	starved := p.starved
	p.mu.Unlock()
	if starved {
		p.hasten()
	}
}

func (p *preparer) count(st *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready != nil {
		st.Prepared = 1
	}
	st.Free = len(p.free)
	if p.err != nil {
		st.PrepareError = p.err.Error()
	}
}
