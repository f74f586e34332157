package transport

import (
	"fmt"
	"net"
	"time"
)

// stream is a two-way connection used frame by frame: snapshots and calls.
type stream struct {
	conn    net.Conn
	r       *frameReader
	c       *counters
	scratch []byte
	vector  net.Buffers
}

// streamOverhead is what a frame of a stream may have beside its body: a
// membership of dozens of nodes, an error's text.
const streamOverhead = 64 << 10

func newStream(t *Transport, conn net.Conn, maxBody int) *stream {
	return &stream{
		conn: conn,
		r:    newFrameReader(countingReader{conn, &t.counters}, maxBody+streamOverhead),
		c:    &t.counters,
	}
}

// write sends one frame; envelope appends its envelope. One writer at a time.
func (s *stream) write(timeout time.Duration, k kind, envelope func([]byte) []byte, body []byte) error {
	s.scratch = beginFrame(s.scratch[:0])
	if envelope != nil {
		s.scratch = envelope(s.scratch)
	}
	endFrame(s.scratch, 0, k, len(body), body)
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	s.vector = append(s.vector[:0:0], s.scratch)
	if len(body) > 0 {
		s.vector = append(s.vector, body)
	}
	n, err := s.vector.WriteTo(s.conn)
	s.c.bytesOut.Add(uint64(n))
	if err == nil {
		s.c.framesOut.Add(1)
	}
	return err
}

// read returns the next frame, which must come within timeout.
func (s *stream) read(timeout time.Duration) (frame, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return frame{}, err
	}
	f, err := s.r.next()
	if err == nil {
		s.c.framesIn.Add(1)
	}
	return f, err
}

// maxErrorText bounds the text of a handler's error on its way to the peer.
const maxErrorText = 4 << 10

// appendOutcome appends [ok, text] for err.
func appendOutcome(b []byte, err error) []byte {
	b = appendBool(appendArray(b, 2), err == nil)
	text := ""
	if err != nil {
		text = err.Error()
	}
	return appendString(b, text[:min(len(text), maxErrorText)])
}

// decodeOutcome returns nil, a *RemoteError, or an error wrapping errFrame.
func decodeOutcome(envelope []byte) error {
	c := cursor{b: envelope}
	c.arrayOf(2)
	ok, text := c.bool(), c.string()
	switch {
	case !c.done():
		return fmt.Errorf("%w: %w", errFrame, errEnvelope)
	case !ok:
		return &RemoteError{text}
	}
	return nil
}

// decodeNumber reads the envelope [number].
func decodeNumber(envelope []byte) (uint64, error) {
	c := cursor{b: envelope}
	c.arrayOf(1)
	n := c.uint()
	if !c.done() {
		return 0, fmt.Errorf("%w: %w", errFrame, errEnvelope)
	}
	return n, nil
}

func appendNumber(b []byte, n uint64) []byte { return appendUint(appendArray(b, 1), n) }
