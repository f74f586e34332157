package segmentlog

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
)

// remover takes away files that nobody needs any more, little by little and with pauses,
// for the commits of this node and of its neighbours on the disk wait while a file system
// gives a gigabyte back (docs/adr/0030). It has a goroutine while there is something to
// do; with Options.Inline none, and add does it all. What it does not get to, the next
// start finds by the name.
type remover struct {
	fs     vfs.FS
	dir    string
	step   int64
	logger *slog.Logger
	inline bool
	hurry  func() bool // room is short: no pauses
	gone   func()      // called after each file

	mu      sync.Mutex
	queue   []string
	started bool
	running bool
	closing chan struct{} // closed by stop
	done    sync.WaitGroup
}

func newRemover(o Options, hurry func() bool, gone func()) *remover {
	return &remover{
		fs: o.FS, dir: o.Dir, logger: o.Logger, inline: o.Inline, hurry: hurry, gone: gone,
		step: min(vfs.EraseStep, max(o.SegmentSize/8, blockSize)), closing: make(chan struct{}),
	}
}

// add takes files that are durably under free names. It fails only inline.
func (r *remover) add(names []string) error {
	if r.inline {
		var errs []error
		for _, name := range names {
			errs = append(errs, vfs.Erase(r.fs, name, r.step, nil))
		}
		return errors.Join(errs...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, names...)
	r.begin()
	return nil
}

// start begins with what was added before.
func (r *remover) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	r.begin()
}

// begin: caller holds mu.
func (r *remover) begin() {
	if !r.started || r.running || r.closed() || len(r.queue) == 0 {
		return
	}
	r.running = true
	r.done.Add(1)
	go r.run()
}

func (r *remover) run() {
	defer r.done.Done()
	for name, ok := r.next(); ok; name, ok = r.next() {
		err := vfs.Erase(r.fs, name, r.step, r.rest)
		switch {
		case errors.Is(err, ErrClosed):
		case err != nil:
			r.logger.Warn("removing an old log segment failed; the next start does it again", "file", name, "err", err)
		default:
			r.gone()
		}
	}
}

// next takes a file from the queue; if there is none run must return.
func (r *remover) next() (name string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.closed() {
		r.running = false
		return "", false
	}
	name, r.queue = r.queue[0], r.queue[1:]
	return name, true
}

// restSlice is how often a rest looks whether there is hurry now: after a slow step it
// would last for seconds.
const restSlice = 100 * time.Millisecond

// rest leaves the disk alone after a step that took so long.
func (r *remover) rest(took time.Duration) error {
	for left := vfs.ErasePause(took); left > 0 && !r.hurry(); left -= restSlice {
		t := time.NewTimer(min(left, restSlice))
		select {
		case <-t.C:
		case <-r.closing:
			t.Stop()
			return ErrClosed
		}
	}
	if r.closed() {
		return ErrClosed
	}
	return nil
}

func (r *remover) closed() bool {
	select {
	case <-r.closing:
		return true
	default:
		return false
	}
}

// stop ends the work where it is.
func (r *remover) stop() {
	r.mu.Lock()
	if !r.closed() {
		close(r.closing)
	}
	r.mu.Unlock()
	r.done.Wait()
}
