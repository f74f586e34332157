package snapshot

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec compresses and decompresses frames. Its coders are made when first needed and hold a
// few MiB each; the decoder is kept, encoders as long as they are in use. It is safe for concurrent use, and
// starts no goroutine of its own, so one codec does for all stores of a process.
type codec struct {
	workers int
	encs    sync.Pool // of *frameEncoder
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

// frameEncoder compresses one frame at a time.
type frameEncoder struct {
	enc *zstd.Encoder
	out []byte
}

// Write takes what is compressed.
func (e *frameEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

func newFrameEncoder() (*frameEncoder, error) {
	enc, err := zstd.NewWriter(nil,
		// The window before the level: else the level cuts blocks at 64 KiB, and copies of
		// what is further back in a large value would not be found.
		zstd.WithWindowSize(maxFrameRaw),
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), // no goroutines
		zstd.WithEncoderCRC(true))      // zstd's own check, so that `zstd -t` means something
	return &frameEncoder{enc: enc}, err
}

// codedAtOnce is how much of a frame is compressed before whoever waits for the processor gets
// it: some 0.15 ms. As blocks of one frame such pieces become no larger than the frame in one
// piece; a whole snapshot takes a tenth more processor time (docs/adr/0034).
const codedAtOnce = 24 << 10

// encode compresses j.raw, which is not empty, into j.encoded. It calls rest, if that is not
// nil, between pieces and behind the last one, and ends with its error. What becomes of a
// frame does not depend on it.
func (c *codec) encode(j *job, rest func() error) (err error) {
	e, _ := c.encs.Get().(*frameEncoder)
	if e == nil {
		if e, err = newFrameEncoder(); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	defer c.encs.Put(e)
	e.out = j.encoded[:0]
	e.enc.ResetContentSize(e, int64(len(j.raw)))
	for at := 0; at < len(j.raw); at += codedAtOnce {
		end := min(at+codedAtOnce, len(j.raw))
		if err = e.piece(j.raw[at:end], end == len(j.raw)); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if rest == nil {
			continue
		}
		if err = rest(); err != nil {
			return err
		}
	}
	j.encoded, e.out = e.out, nil
	return nil
}

// piece compresses the next block of the frame.
func (e *frameEncoder) piece(raw []byte, last bool) error {
	_, err := e.enc.Write(raw)
	switch {
	case err != nil:
		return err
	case last:
		return e.enc.Close()
	}
	return e.enc.Flush()
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
