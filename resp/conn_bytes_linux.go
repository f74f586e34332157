package resp

import (
	"errors"

	"golang.org/x/sys/unix"
)

// The bytes of a connection: what it has received and not executed, what it has to send,
// and the memory of both.

// Sizes of read buffers.
const (
	firstBuffer  = 16 << 10
	maxTurnBytes = 256 << 10 // read per connection and turn: others want their share
	// maxTurnWrite is what is written per connection and turn. A socket whose client reads
	// all the time takes a reply of any size at once, while others wait.
	maxTurnWrite = 512 << 10
)

// read takes what has arrived, up to a turn's share.
func (c *conn) read() {
	c.s.srv.stats.reads.Add(1)
	c.readOn()
}

func (c *conn) readOn() {
	for total, more := 0, true; more && total < maxTurnBytes; {
		room := c.readRoom()
		if len(room) == 0 {
			c.lastActive = c.loop.mono
			c.loop.schedule(c)
			return
		}
		n, err := rawRead(c.fd, room)
		more = c.took(n, err)
		total += n
	}
}

// readRoom is where the next bytes go, nothing if as much was received as may wait.
func (c *conn) readRoom() []byte {
	if c.overfull() {
		return nil
	}
	c.makeRoom()
	return c.buf[len(c.buf):cap(c.buf)]
}

// received is told what became of a receive into readRoom.
func (c *conn) received(n int, err error) {
	c.s.srv.stats.reads.Add(1)
	if c.took(n, err) {
		c.readOn()
	}
}

// took notes n bytes in readRoom and reports whether there may be more.
func (c *conn) took(n int, err error) (more bool) {
	switch {
	case err != nil && !errors.Is(err, unix.EAGAIN):
		c.close()
		return false
	case err == nil && n == 0:
		c.endOfInput()
		return false
	case n > 0:
		more = n == cap(c.buf)-len(c.buf)
		c.buf = c.buf[:len(c.buf)+n]
		c.loop.gather.hear(c)
		c.s.srv.stats.netIn.Add(uint64(n))
	}
	c.lastActive = c.loop.mono
	c.loop.schedule(c)
	return more
}

// endOfInput: the client closed its sending side. Commands it sent before are still
// executed and answered, but one that waits for something else is not.
func (c *conn) endOfInput() {
	c.eof = true
	c.updateInterest()
	if c.cancel != nil || c.blocked != nil || c.s.postponed {
		c.close()
		return
	}
	c.loop.schedule(c)
}

// makeRoom lets the buffer grow with the bytes that did arrive, never with those
// that were only announced.
func (c *conn) makeRoom() {
	if c.buf == nil {
		c.buf = c.loop.getBuf()
	}
	if c.start > 0 && (c.start == len(c.buf) || c.start >= cap(c.buf)/2) {
		n := copy(c.buf, c.buf[c.start:])
		c.buf, c.start = c.buf[:n], 0
	}
	if len(c.buf) < cap(c.buf) {
		return
	}
	size := 2 * c.buffered()
	// Known need bounds the last doubling: a 32 MiB value does not take 64.
	if need := c.s.guard.need(); need > c.buffered() && need < size {
		size = need + firstBuffer
	}
	grown := make([]byte, c.buffered(), max(size, firstBuffer))
	copy(grown, c.buf[c.start:])
	c.loop.putBuf(c.buf)
	c.buf, c.start = grown, 0
}

// overfull reports whether as much was received as may wait to be executed.
func (c *conn) overfull() bool { return c.buffered() >= c.queryLimit() }

func (c *conn) queryLimit() int {
	if !c.s.authed {
		return unauthQueryBuffer
	}
	return int(c.s.srv.live.queryBuffer.Load())
}

// flush and flushed are write and wrote for a connection in loop.dirty.
func (c *conn) flush() {
	c.isDirty = false
	c.write()
}

func (c *conn) flushed(n int, err error) {
	c.isDirty = false
	c.wrote(n, err)
}

// write sends what the socket takes, up to a turn's share.
func (c *conn) write() {
	n, err := rawWrite(c.fd, c.writeShare())
	c.wrote(n, err)
}

// writeShare is what may be sent in this turn.
func (c *conn) writeShare() []byte {
	share := c.s.out[c.s.sent:]
	if len(share) <= c.hardLimit() { // else the socket decides whether it ends here
		share = share[:min(len(share), maxTurnWrite)]
	}
	return share
}

// wrote is told what became of a send of writeShare.
func (c *conn) wrote(n int, err error) {
	s := c.s
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		c.close()
		return
	}
	c.noteSent(n)
	switch {
	case s.unsent() == 0:
		s.resetOutput()
		c.stalled = 0
		if s.replica != nil {
			s.replica.sent()
		}
		if c.ending {
			c.close()
			return
		}
	case s.unsent() > c.hardLimit():
		c.overLimit()
		return
	}
	if c.outputFull && s.unsent() <= s.srv.opt.OutputSoftLimit {
		c.outputFull = false
		c.loop.schedule(c)
	}
	c.updateInterest()
}

func (c *conn) noteSent(n int) {
	s := c.s
	if n > 0 {
		s.sent += n
		s.srv.stats.netOut.Add(uint64(n))
		s.srv.stats.writes.Add(1)
		c.lastActive, c.stalled = c.loop.mono, 0
	}
	if s.unsent() > 0 && c.stalled == 0 {
		c.stalled = c.loop.mono
	}
}

func (c *conn) overLimit() {
	c.s.srv.stats.outputLimit.Add(1)
	c.loop.srv.log.Warn("closing a client that does not read its replies",
		"client", c.s.addr.remote, "unsent_bytes", c.s.unsent())
	c.close()
}

// trim gives memory back that an idle connection does not need.
func (c *conn) trim() {
	if c.closed {
		return
	}
	if c.start == len(c.buf) && c.buf != nil {
		c.loop.putBuf(c.buf)
		c.buf, c.start = nil, 0
	}
}

// discardInput takes what has arrived but was not wanted: closing a socket with
// unread bytes resets it, and the client might lose the reply that says why.
func (c *conn) discardInput() {
	scratch := c.loop.getBuf()
	defer c.loop.putBuf(scratch)
	for range maxTurnBytes / firstBuffer {
		if n, err := rawRead(c.fd, scratch[:cap(scratch)]); n <= 0 || err != nil {
			return
		}
	}
}

// maxIdleBytes bounds what a loop keeps for connections to come.
const maxIdleBytes = 8 << 20

func (l *loop) getBuf() []byte {
	if n := len(l.bufs); n > 0 {
		b := l.bufs[n-1]
		l.bufs[n-1] = nil
		l.bufs, l.bufBytes = l.bufs[:n-1], l.bufBytes-cap(b)
		return b
	}
	return make([]byte, 0, firstBuffer)
}

func (l *loop) putBuf(b []byte) {
	if cap(b) >= firstBuffer && l.bufBytes+cap(b) <= maxIdleBytes {
		l.bufs, l.bufBytes = append(l.bufs, b[:0]), l.bufBytes+cap(b)
	}
}
