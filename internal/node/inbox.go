package node

import (
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// input is everything that happened since the loop's last turn.
type input struct {
	chunks   []*kv.Chunk
	left     []*kv.Chunk // their clients have gone
	barriers []func(error)
	ticks    []func(error)
	messages []raftcore.Message
	units    []unitsFrom
	refused  []uint64
	peers    []peerChange
	fetched  []fetched
	calls    []func(*loop)
	saved    uint64 // newest durable Save
	applied  bool   // the state machine moved
	elapsed  int    // clock ticks
}

type unitsFrom struct {
	from  raftcore.NodeID
	units []transport.Unit
}

type peerChange struct {
	id raftcore.NodeID
	up bool
}

type fetched struct {
	ask     raftcore.Fetch
	entries []raftcore.Entry
	err     error
}

// inbox is the loop's only door. Writers append under a short mutex; the loop takes
// everything at once and hands its emptied previous input back, so that steady
// traffic allocates nothing.
//
// Its bytes are bounded by what feeds it: chunks by Saturated, peer frames by the
// senders' windows, the rest by one item per request.
type inbox struct {
	mu     sync.Mutex
	in     input
	spare  input
	dirty  atomic.Bool // written under mu; read by whoever might turn
	woken  bool        // the loop's goroutine was told
	closed bool
	wake   chan struct{}
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put runs f on the pending input and wakes the loop's goroutine. After close it
// drops, and reports false.
func (b *inbox) put(f func(in *input)) bool {
	if !b.add(f) {
		return false
	}
	b.mu.Lock()
	wake := b.dirty.Load() && !b.woken
	b.woken = b.woken || wake
	b.mu.Unlock()
	if wake {
		b.signal()
	}
	return true
}

// add is put for those who see to it themselves that a turn follows (Node.pump).
func (b *inbox) add(f func(in *input)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	f(&b.in)
	b.dirty.Store(true)
	return true
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take swaps the pending input for an empty one. The caller must be done with the
// input it took before.
func (b *inbox) take() *input {
	b.mu.Lock()
	b.in, b.spare = b.spare, b.in
	b.dirty.Store(false)
	b.woken = false
	b.in.reset()
	b.mu.Unlock()
	return &b.spare
}

func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
}

func (in *input) reset() {
	clear(in.chunks)
	clear(in.left)
	clear(in.barriers)
	clear(in.ticks)
	clear(in.messages)
	clear(in.units)
	clear(in.fetched)
	clear(in.calls)
	*in = input{
		chunks: in.chunks[:0], left: in.left[:0], barriers: in.barriers[:0], ticks: in.ticks[:0],
		messages: in.messages[:0], units: in.units[:0], refused: in.refused[:0],
		peers: in.peers[:0], fetched: in.fetched[:0], calls: in.calls[:0],
	}
}
