package node

import (
	"errors"
	"fmt"
	"sync"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// fetcher reads old entries from the log for followers that lag and for replay, so
// that the loop never touches a file. At most one request per member is under way
// (the core sees to it), which bounds the queue.
type fetcher struct {
	log  *segmentlog.Log
	done func(f fetched)
	fail func(err error)

	mu     sync.Mutex
	asks   []raftcore.Fetch
	closed bool
	wake   chan struct{}
	exit   chan struct{}
}

func newFetcher(log *segmentlog.Log, done func(fetched)) *fetcher {
	return &fetcher{log: log, done: done, wake: make(chan struct{}, 1), exit: make(chan struct{})}
}

func (f *fetcher) put(ask raftcore.Fetch) {
	f.mu.Lock()
	f.asks = append(f.asks, ask)
	f.mu.Unlock()
	f.signal()
}

func (f *fetcher) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fetcher) run() {
	defer close(f.exit)
	for {
		asks, closed := f.take()
		switch {
		case closed:
			return
		case len(asks) > 0:
			f.perform(asks)
		default:
			<-f.wake
		}
	}
}

func (f *fetcher) take() (asks []raftcore.Fetch, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	asks, f.asks = f.asks, nil
	return asks, f.closed
}

func (f *fetcher) perform(asks []raftcore.Fetch) {
	for _, ask := range asks {
		entries, err := f.log.Entries(ask.Lo, ask.Hi, ask.MaxBytes)
		if errors.Is(err, segmentlog.ErrCompacted) {
			err = fmt.Errorf("%w: %w", raftcore.ErrCompacted, err)
		}
		if damage := (*segmentlog.CorruptionError)(nil); errors.As(err, &damage) {
			f.fail(err) // the next start repairs it from peers
		}
		f.done(fetched{ask, entries, err})
	}
}

func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.signal()
	<-f.exit
}
