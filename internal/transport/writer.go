package transport

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// laneWriter writes the batches of one connection, one at a time. Whoever flushes the
// lane writes on its own goroutine what the socket takes at once, which is nearly
// always everything: waking the lane's goroutine costs more than the write. What is
// left is finished by the lane's goroutine.
type laneWriter struct {
	l    *lane
	conn net.Conn
	raw  syscall.RawConn // nil: not a socket of the system, always the goroutine's

	// Guarded by lane.mu: somebody writes; left: he gave up, and the lane's goroutine
	// is to go on in his place.
	busy, left bool

	// The rest belongs to whoever set busy.
	batch  batch
	pieces net.Buffers // of batch, not yet written
	vector net.Buffers
	memory net.Buffers // of pieces
	try    func(fd uintptr) bool
	tried  error
}

func newLaneWriter(l *lane, conn net.Conn) *laneWriter {
	w := &laneWriter{l: l, conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		w.raw, _ = sc.SyscallConn()
	}
	w.try = w.attempt
	return w
}

// flush writes what is pending, as far as that is possible without waiting.
func (l *lane) flush() {
	l.mu.Lock()
	w := l.w
	if w == nil || w.busy || l.pending.bytes == 0 {
		l.mu.Unlock()
		return // whoever is busy looks again
	}
	if w.raw == nil {
		l.mu.Unlock()
		signal(l.wake)
		return
	}
	w.take()
	l.mu.Unlock()
	if w.raw.Write(w.try) != nil || w.tried != nil || len(w.pieces) > 0 {
		w.handOver() // the goroutine meets the error, if it was one, again
		return
	}
	w.done(false)
}

// take begins a batch of everything pending. The caller holds lane.mu.
func (w *laneWriter) take() {
	w.busy = true
	w.l.pending, w.batch = w.batch, w.l.pending
	w.l.writing = w.batch.bytes
	w.memory = w.batch.slices(w.memory[:0])
	w.pieces = w.memory
}

// handOver leaves the rest of the batch to the lane's goroutine.
func (w *laneWriter) handOver() {
	w.l.mu.Lock()
	w.left = true
	w.l.mu.Unlock()
	signal(w.l.wake)
}

// done ends a batch. What came meanwhile is the goroutine's, unless it is the caller,
// which looks by itself.
func (w *laneWriter) done(goroutine bool) {
	w.l.t.counters.flushes.Add(1)
	w.l.t.counters.framesOut.Add(uint64(w.batch.frames))
	clear(w.memory)
	w.pieces = nil
	w.batch.reset()
	w.l.mu.Lock()
	w.busy = false
	more := w.l.w == w && w.l.pending.bytes > 0
	if w.l.w == w {
		w.l.writing = 0
	}
	w.l.mu.Unlock()
	if more && !goroutine {
		signal(w.l.wake)
	}
}

// finish writes what others left, and then what is pending, waiting for the socket as
// long as it must. Only the lane's goroutine calls it.
func (w *laneWriter) finish() error {
	for {
		w.l.mu.Lock()
		if !w.left && (w.busy || w.l.pending.bytes == 0) {
			w.l.mu.Unlock()
			return nil
		}
		if !w.left {
			w.take()
		}
		w.left = false
		w.l.mu.Unlock()
		if err := w.write(); err != nil {
			return err
		}
		w.done(true)
	}
}

// maxVector is IOV_MAX on Linux; package net cuts there as well.
const maxVector = 1024

// next is as many pieces as one write takes: the write deadline is per slice.
func (w *laneWriter) next() net.Buffers {
	n, size := 0, 0
	for n < len(w.pieces) && n < maxVector && (n == 0 || size+len(w.pieces[n]) <= writeSlice) {
		size += len(w.pieces[n])
		n++
	}
	return w.pieces[:n]
}

// write sends the rest of the batch with as few vectored writes as the deadline's
// slices allow.
func (w *laneWriter) write() error {
	for len(w.pieces) > 0 {
		if err := w.conn.SetWriteDeadline(time.Now().Add(w.l.t.opts.WriteTimeout)); err != nil {
			return err
		}
		part := w.next()
		w.vector = part[:len(part):len(part)]
		written, err := w.vector.WriteTo(w.conn)
		w.l.t.counters.bytesOut.Add(uint64(written))
		if err != nil {
			return err
		}
		w.pieces = w.pieces[len(part):]
	}
	return w.conn.SetWriteDeadline(time.Time{}) // attempt must not meet an old one
}

// attempt writes until the socket takes no more. It always reports true: there is
// nothing to wait for.
func (w *laneWriter) attempt(fd uintptr) bool {
	w.tried = nil
	for len(w.pieces) > 0 {
		n, err := unix.Writev(int(fd), w.next())
		if err == unix.EINTR {
			continue
		}
		if n > 0 {
			w.l.t.counters.bytesOut.Add(uint64(n))
			w.consume(n)
		}
		if err != nil {
			w.tried = err
			return true
		}
	}
	return true
}

// consume forgets n written bytes.
func (w *laneWriter) consume(n int) {
	for n > 0 {
		if n < len(w.pieces[0]) {
			w.pieces[0] = w.pieces[0][n:]
			return
		}
		n -= len(w.pieces[0])
		w.pieces = w.pieces[1:]
	}
}
