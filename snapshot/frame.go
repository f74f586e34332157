package snapshot

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec compresses and decompresses frames. Its coders are made when first needed
// and then kept: they hold a few MiB each. Both are safe for concurrent use, and
// start no goroutine of their own, so one codec does for all stores of a process.
type codec struct {
	workers int
	encOnce sync.Once
	enc     *zstd.Encoder
	decOnce sync.Once
	dec     *zstd.Decoder
	err     error
}

var codecs sync.Map // by workers

// codecFor is the process's codec for so many frames at once.
func codecFor(workers int) *codec {
	c, _ := codecs.LoadOrStore(workers, &codec{workers: workers})
	return c.(*codec)
}

func (c *codec) encoder() (*zstd.Encoder, error) {
	c.encOnce.Do(func() {
		c.enc, c.err = zstd.NewWriter(nil,
			// The window before the level: else the level cuts blocks at 64 KiB, instead of
			// 128, and a frame of two blocks takes 7 % longer and a copy of itself. Frames of
			// the usual size are one block then; one with a large value, of up to
			// maxFrameRaw, is several in either case.
			zstd.WithWindowSize(maxFrameRaw),
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(c.workers),
			zstd.WithEncoderCRC(true)) // zstd's own check, so that `zstd -t` means something
	})
	return c.enc, c.err
}

func (c *codec) decoder() (*zstd.Decoder, error) {
	c.decOnce.Do(func() {
		c.dec, c.err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(c.workers),
			zstd.WithDecoderMaxMemory(maxFrameRaw),
			zstd.WithDecodeAllCapLimit(true)) // never more than the buffer it is given
	})
	return c.dec, c.err
}

// job is one frame on its way through a worker. Between start and done the worker
// owns it, before and after the caller does.
type job struct {
	raw, encoded []byte
	keys         uint32
	index        int
	offset       int64
	err          error
	done         chan struct{}
}

// jobs is a bounded window of frames that are worked on, in order. The caller
// reads or writes the file and delivers; workers only compute. So the order of
// file operations does not depend on scheduling, and at most depth x 4 MiB are in
// memory: without the bound a fast source would outrun the compressor. A window of
// one has no workers: the caller does it all, so that its pace is that of the whole.
type jobs struct {
	depth   int
	running []*job
	free    []*job
}

func newJobs(workers int) jobs {
	if workers <= 1 {
		return jobs{depth: 1}
	}
	return jobs{depth: workers + 1}
}

func (w *jobs) take() *job {
	if n := len(w.free); n > 0 {
		j := w.free[n-1]
		w.free = w.free[:n-1]
		j.raw, j.encoded, j.keys, j.err = j.raw[:0], j.encoded[:0], 0, nil
		return j
	}
	return &job{}
}

// start hands j to a goroutine of its own, which ends with fn.
func (w *jobs) start(j *job, fn func(*job)) {
	j.done = make(chan struct{})
	w.running = append(w.running, j)
	if w.depth == 1 {
		fn(j)
		close(j.done)
		return
	}
	go func() {
		defer close(j.done)
		fn(j)
	}()
}

// newest is closed when the frame that was started last is done; nil: none runs.
func (w *jobs) newest() <-chan struct{} {
	if n := len(w.running); n > 0 {
		return w.running[n-1].done
	}
	return nil
}

func (w *jobs) full() bool { return len(w.running) >= w.depth }

// oldest waits for the first frame in order and takes it out of the window.
func (w *jobs) oldest() *job {
	j := w.running[0]
	<-j.done
	w.running = w.running[1:]
	return j
}

func (w *jobs) recycle(j *job) { w.free = append(w.free, j) }

// drain waits for whatever still runs; a frame takes milliseconds.
func (w *jobs) drain() {
	for len(w.running) > 0 {
		w.oldest()
	}
}

// decodeFrame checks j.encoded against fr and decompresses it into j.raw.
func decodeFrame(dec *zstd.Decoder, j *job, fr frameInfo, file string) {
	if got := crc32.Checksum(j.encoded, castagnoli); got != fr.crc {
		j.err = corrupt(file, j.offset, crcText(fr.crc)+fmt.Sprintf(" of frame %d", j.index), crcText(got))
		return
	}
	if cap(j.raw) < int(fr.raw) {
		j.raw = make([]byte, 0, fr.raw)
	}
	raw, err := dec.DecodeAll(j.encoded, j.raw[:0:fr.raw])
	switch {
	case err != nil:
		j.err = corrupt(file, j.offset, fmt.Sprintf("%d bytes in frame %d", fr.raw, j.index), err)
	case len(raw) != int(fr.raw):
		j.err = corrupt(file, j.offset, fmt.Sprintf("%d bytes in frame %d", fr.raw, j.index), fmt.Sprintf("%d", len(raw)))
	default:
		j.raw = raw
	}
}
