package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"math"
	"runtime"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// pacer keeps work on a file to a number of bytes per second, 0 for no bound, and to
// a share of the time.
type pacer struct {
	ctx     context.Context
	rate    int64
	share   func() float64 // nil: all of it
	started time.Time
	done    int64         // bytes
	resumed time.Time     // when the work since the last pass began
	owed    time.Duration // rest for work so far that was not taken; negative: more was
}

const (
	// minRest is the shortest rest worth a timer; shorter ones add up.
	minRest = time.Millisecond
	// maxRest bounds what one slow piece of work, or a process that was stopped, costs.
	maxRest = 200 * time.Millisecond
	// maxCredit bounds what a timer that was late, as they are, earns.
	maxCredit = 2 * time.Millisecond
)

func (s *Store) newPacer(ctx context.Context) *pacer {
	now := time.Now()
	return &pacer{ctx: ctx, rate: s.opts.BytesPerSecond, share: s.opts.Share, started: now, resumed: now}
}

// pass counts n bytes and waits until all counted so far are within the rate, and
// the time since the last pass within the share. Whoever waits for the processor goes
// first even if there is nothing to wait for. It returns ctx's error if that ends first.
func (p *pacer) pass(n int) error {
	p.done += int64(n)
	now := time.Now()
	wait := time.Duration(0)
	if p.rate > 0 {
		wait = time.Duration(float64(p.done)/float64(p.rate)*float64(time.Second)) - now.Sub(p.started)
	}
	if p.share != nil {
		p.owed = min(p.owed+restAfter(now.Sub(p.resumed), p.share()), maxRest)
		wait = max(wait, p.owed)
	}
	if wait < minRest {
		p.resumed = now
		if p.share != nil {
			runtime.Gosched()
		}
		return p.ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	p.resumed = time.Now()
	p.owed = max(p.owed-p.resumed.Sub(now), -maxCredit)
	return p.ctx.Err()
}

// resume begins a piece of work: what was waited for since the last pass was none.
func (p *pacer) resume() { p.resumed = time.Now() }

// restAfter is how long to rest after working for so long, to have worked a share.
func restAfter(worked time.Duration, share float64) time.Duration {
	if share >= 1 {
		return 0
	}
	return time.Duration(float64(worked) * (1/max(share, 0.01) - 1))
}

// fileWriter appends to a file, hashing and pacing what passes.
type fileWriter struct {
	pace   *pacer
	f      vfs.File
	off    int64
	hash   hash.Hash
	synced int64 // see hasten
}

// syncEvery bounds how much of a file is not on its way to the disk yet: the whole of
// it synced at once would have every sync of the log wait behind it.
const syncEvery, writebackEvery = 4 << 20, 256 << 10

// hasten sees to it that a file written up to off, and told so up to synced, gets to the
// disk; it returns how far that is.
func hasten(f vfs.File, synced, off int64) (int64, error) {
	if w, ok := f.(vfs.Writeback); ok {
		if off-synced < writebackEvery {
			return synced, nil
		}
		return off, w.Writeback(synced, off-synced)
	}
	if off-synced < syncEvery {
		return synced, nil
	}
	return off, f.Datasync()
}

func newFileWriter(f vfs.File, pace *pacer) *fileWriter {
	return &fileWriter{pace: pace, f: f, hash: sha256.New()}
}

func (w *fileWriter) write(b []byte) error {
	if err := w.pace.ctx.Err(); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(b, w.off); err != nil {
		return fmt.Errorf("snapshot: writing at %d: %w", w.off, err)
	}
	w.hash.Write(b)
	w.off += int64(len(b))
	var err error
	if w.synced, err = hasten(w.f, w.synced, w.off); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return w.pace.pass(len(b))
}

// frameWriter cuts raw bytes into frames and writes them and the footer.
type frameWriter struct {
	out    *fileWriter
	codec  *codec
	window jobs
	next   *job // collects raw bytes
	foot   footer
}

// emit is the sink of a Source.
func (w *frameWriter) emit(raw []byte, keys int) error {
	if keys < 0 {
		return fmt.Errorf("snapshot: source reports %d keys", keys)
	}
	for {
		if w.next == nil {
			w.next = w.window.take()
		}
		// Keys are counted in the frame in which their block begins.
		w.next.keys += uint32(min(keys, math.MaxUint32))
		keys = 0
		n := min(len(raw), maxFrameRaw-len(w.next.raw))
		w.next.raw = append(w.next.raw, raw[:n]...)
		raw = raw[n:]
		if err := w.out.pace.pass(0); err != nil || len(w.next.raw) < targetFrameRaw {
			return err
		}
		if err := w.compress(); err != nil {
			return err
		}
		if len(raw) == 0 {
			return nil
		}
	}
}

// compress hands the collected bytes to a worker and, if the window is full,
// writes the oldest frame. Without workers it keeps the pace while it compresses.
func (w *frameWriter) compress() error {
	j := w.next
	w.next = nil
	var rest func() error
	if w.window.depth == 1 {
		rest = func() error { return w.out.pace.pass(0) }
	}
	w.window.start(j, func(j *job) { j.err = w.codec.encode(j, rest) })
	if w.window.full() {
		return w.writeOldest()
	}
	return nil
}

func (w *frameWriter) writeOldest() error {
	j := w.window.oldest()
	if j.err != nil {
		return j.err
	}
	w.foot.frames = append(w.foot.frames, frameInfo{
		raw: uint32(len(j.raw)), encoded: uint32(len(j.encoded)),
		crc: crc32.Checksum(j.encoded, castagnoli), keys: j.keys,
	})
	w.foot.rawSize += uint64(len(j.raw))
	w.foot.keys += uint64(j.keys)
	err := w.out.write(j.encoded)
	w.window.recycle(j)
	return err
}

// finish writes what is left, and the footer.
func (w *frameWriter) finish() error {
	if w.next != nil && len(w.next.raw) > 0 {
		if err := w.compress(); err != nil {
			return err
		}
	}
	for len(w.window.running) > 0 {
		if err := w.writeOldest(); err != nil {
			return err
		}
	}
	if len(w.foot.frames) == 0 {
		return errors.New("snapshot: the source is empty")
	}
	head := w.foot.appendHead(make([]byte, 0, w.foot.size()))
	w.out.hash.Write(head)
	w.out.hash.Sum(w.foot.hash[:0])
	return w.out.write(w.foot.appendTail(head))
}

// writeFile fills f with the snapshot of src.
func (s *Store) writeFile(f vfs.File, pace *pacer, meta raftcore.SnapshotMeta, src Source) error {
	w := &frameWriter{
		out: newFileWriter(f, pace), codec: s.codec,
		window: newJobs(s.writeWorkers),
		foot:   footer{meta: meta, membership: raftcore.EncodeMembership(meta.Membership)},
	}
	defer w.window.drain()
	if err := src.Blocks(w.emit); err != nil {
		return err
	}
	return w.finish()
}
