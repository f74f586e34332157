package transport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// lane is one outgoing connection to a peer, again and again, and what waits to
// be written to it. Messages are only queued while it is connected: what was
// said during an outage would be stale after it.
type lane struct {
	t     *Transport
	kind  laneKind
	peer  Peer
	limit int // bytes of pending; the batch being written was within it, too

	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // there is something for the lane's goroutine to write
	nudge  chan struct{} // the peer showed life: dial now

	mu      sync.Mutex
	w       *laneWriter // of the connection, nil without one
	pending batch
	writing int // bytes of the batch being written
	lastErr string
}

func newLane(t *Transport, k laneKind, p Peer, limit int) *lane {
	l := &lane{
		t: t, kind: k, peer: p, limit: limit,
		wake:  make(chan struct{}, 1),
		nudge: make(chan struct{}, 1),
	}
	l.ctx, l.cancel = context.WithCancel(t.ctx)
	return l
}

// signal makes a channel of capacity one ready; more signals before it is
// received are the same signal.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// room reports whether n more bytes may be queued. A queue with nothing pending
// takes anything that fits a frame, or the largest could never pass.
func (l *lane) room(n int) bool {
	return l.w != nil && (l.pending.bytes == 0 || l.pending.bytes+l.writing+n <= l.limit)
}

// message queues m, or reports that it was dropped.
func (l *lane) message(m *raftcore.Message) bool {
	size := frameHeaderSize + 128
	for i := range m.Entries {
		size += m.Entries[i].Size()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(size) && l.pending.addMessage(m, l.t.opts.MaxFrameBytes)
}

// Frames of units are cut at these, so that heartbeat-sized frames behind them
// and the receiver's memory see small pieces.
const (
	unitFrameBytes = 256 << 10
	unitFrameCount = 4096
	unitOverhead   = 20 // envelope bytes of one unit, at most
)

// units queues us, all or none.
func (l *lane) units(us []Unit) bool {
	total := 0
	for i := range us {
		size := len(us[i].Bytes) + unitOverhead
		if frameHeaderSize+8+size > l.t.opts.MaxFrameBytes {
			return false
		}
		total += size
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.room(total) {
		return false
	}
	for len(us) > 0 {
		n, size := 1, len(us[0].Bytes)
		for n < len(us) && n < unitFrameCount && size+len(us[n].Bytes) <= unitFrameBytes {
			size += len(us[n].Bytes)
			n++
		}
		l.pending.addUnits(us[:n])
		us = us[n:]
	}
	return true
}

// refused queues seqs; what does not fit is dropped: the origin's own patience
// covers it (docs/adr/0007).
func (l *lane) refused(seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(seqs) > 0 && l.room(frameHeaderSize+9*len(seqs)) {
		n := min(len(seqs), unitFrameCount)
		l.pending.addRefused(seqs[:n])
		seqs = seqs[n:]
	}
}

// run keeps the lane connected until it is cancelled.
func (l *lane) run() {
	defer l.t.wg.Done()
	var back backoff
	back.init(&l.t.opts)
	for l.ctx.Err() == nil {
		conn, tenancy, err := l.t.dialPeer(l.ctx, l.kind, l.peer)
		if err == nil {
			connected := time.Now()
			err = l.serve(conn)
			l.t.holders.leave(tenancy)
			if time.Since(connected) >= l.t.opts.MaxBackoff {
				back.reset()
			}
		}
		if l.ctx.Err() != nil {
			return
		}
		l.failed(err)
		if l.pause(back.next(), l.nudge) {
			// The peer is there: no reason to be patient, nor to dial in a tight
			// loop should its connections and ours break each other.
			back.reset()
			l.pause(back.next(), nil)
		}
	}
}

// pause waits for d, but no longer than the lane lives, and reports whether
// nudge cut it short.
func (l *lane) pause(d time.Duration, nudge <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-nudge:
		return true
	case <-l.ctx.Done():
	}
	return false
}

// failed keeps and reports why there is no connection.
func (l *lane) failed(err error) {
	l.mu.Lock()
	l.lastErr = err.Error()
	l.mu.Unlock()
	l.t.quiet.warn("peer connection lost or refused", fmt.Sprint(l.peer.ID, l.kind),
		"peer", l.peer.ID, "addr", l.peer.Addr, "lane", l.kind.String(), "err", err)
}

// serve writes to conn until it breaks or the lane is cancelled.
func (l *lane) serve(conn net.Conn) error {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	gone := make(chan error, 1)
	watcher := make(chan struct{})
	go func() {
		defer close(watcher)
		gone <- watch(conn)
		conn.Close() // ends a write that waits for the departed
	}()
	defer func() { conn.Close(); <-watcher }()

	w := newLaneWriter(l, conn)
	l.setUp(w)
	defer l.setDown()
	for {
		select {
		case <-l.wake:
			if err := w.finish(); err != nil {
				select {
				case cause := <-gone: // says more than "use of closed connection"
					return cause
				default:
					return err
				}
			}
		case err := <-gone:
			return err
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

// watch waits for the end of a connection on which the peer never sends.
func watch(conn net.Conn) error {
	var b [1]byte
	if _, err := conn.Read(b[:]); err != nil {
		return err
	}
	return errFrame
}

func (l *lane) setUp(w *laneWriter) {
	l.mu.Lock()
	l.w, l.lastErr = w, ""
	l.mu.Unlock()
	if l.kind == laneControl {
		l.t.links.outgoingUp(l.peer.ID, l)
	}
}

// setDown drops what is pending. Units among it were definitely not sent, and
// their origin, this node, is told so.
func (l *lane) setDown() {
	l.mu.Lock()
	l.w, l.writing = nil, 0
	seqs := append([]uint64(nil), l.pending.seqs...)
	l.pending.reset()
	l.mu.Unlock()
	if len(seqs) > 0 && l.t.ctx.Err() == nil {
		l.t.counters.refusedUnits.Add(uint64(len(seqs)))
		l.t.opts.Handler.HandleRefused(l.peer.ID, seqs)
	}
	if l.kind == laneControl {
		l.t.links.outgoingDown(l.peer.ID, l)
	}
}

// status is the lane for Stats: connected, bytes queued or being written, and
// what broke it last if it is not connected.
func (l *lane) status() (up bool, queued int, lastErr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w != nil, l.pending.bytes + l.writing, l.lastErr
}

// backoff is the waiting time between dials: doubling, jittered by up to half so
// that nodes that lost each other together do not come back in step.
type backoff struct {
	least, most, current time.Duration
	dice                 *rand.Rand
}

func (b *backoff) init(o *Options) {
	*b = backoff{least: o.MinBackoff, most: o.MaxBackoff, dice: newDice()}
	b.reset()
}

func (b *backoff) reset() { b.current = b.least }

func (b *backoff) next() time.Duration {
	d := b.current
	b.current = min(2*b.current, b.most)
	return d/2 + time.Duration(b.dice.Int64N(int64(d/2)+1))
}
