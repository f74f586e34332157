package transport

import (
	"net"

	"github.com/rkvdb/rkv/raftcore"
)

// sharedFrom is the size from which a body is referenced instead of copied:
// below it an element of the vectored write costs more than the copy.
const sharedFrom = 1 << 10

// writeSlice is the most handed to one write: the write deadline is per slice,
// so that it measures progress and not the size of the backlog.
const writeSlice = 1 << 20

// batch is a run of encoded frames: one buffer with headers, envelopes and
// small bodies, interleaved with references to large bodies.
type batch struct {
	buf    []byte
	shared []sharedBody
	bytes  int // on the wire
	frames int
	seqs   []uint64 // of the units in it
	// noteBytes are those of bytes that notes take.
	noteBytes int
}

// sharedBody is on the wire between buf[:at] and buf[at:].
type sharedBody struct {
	at   int
	body []byte
}

// keepBuffer is the largest buffer a batch keeps for its next use; after a rare
// large one the memory is given back.
const keepBuffer = 1 << 20

func (b *batch) reset() {
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	clear(b.shared) // let go of the bodies
	*b = batch{buf: b.buf[:0], shared: b.shared[:0], seqs: b.seqs[:0]}
}

// addMessage appends a frame with m, or nothing and false if m exceeds a limit
// of the format.
func (b *batch) addMessage(m *raftcore.Message, maxFrame int) bool {
	bodies := 0
	for i := range m.Entries {
		bodies += len(m.Entries[i].Body)
	}
	at := len(b.buf)
	b.buf = appendMessage(beginFrame(b.buf), m)
	envelope := len(b.buf) - at - frameHeaderSize
	if envelope > maxEnvelope || frameHeaderSize+envelope+bodies > maxFrame {
		b.buf = b.buf[:at]
		return false
	}
	endFrame(b.buf, at, kindMessage, bodies)
	b.frames++
	b.bytes += frameHeaderSize + envelope + bodies
	for i := range m.Entries {
		b.addBody(m.Entries[i].Body)
	}
	return true
}

func (b *batch) addBody(body []byte) {
	if len(body) < sharedFrom {
		b.buf = append(b.buf, body...)
		return
	}
	b.shared = append(b.shared, sharedBody{len(b.buf), body})
}

// addUnits appends one frame with us. The caller has checked their size.
func (b *batch) addUnits(us []Unit) {
	at, bodies := len(b.buf), 0
	b.buf = appendUnits(beginFrame(b.buf), us)
	covered := make([][]byte, len(us))
	for i := range us {
		covered[i] = us[i].Bytes
		bodies += len(us[i].Bytes)
		b.seqs = append(b.seqs, us[i].Seq)
	}
	endFrame(b.buf, at, kindUnits, bodies, covered...)
	b.frames++
	b.bytes += len(b.buf) - at + bodies
	for i := range us {
		b.addBody(us[i].Bytes)
	}
}

// addRefused appends one frame with seqs.
func (b *batch) addRefused(seqs []uint64) {
	at := len(b.buf)
	b.buf = appendUints(beginFrame(b.buf), seqs)
	endFrame(b.buf, at, kindRefused, 0)
	b.frames++
	b.bytes += len(b.buf) - at
}

// slices lists the batch's bytes in wire order, in pieces of at most writeSlice.
func (b *batch) slices(out net.Buffers) net.Buffers {
	from := 0
	for _, s := range b.shared {
		out = appendPieces(out, b.buf[from:s.at])
		out = appendPieces(out, s.body)
		from = s.at
	}
	return appendPieces(out, b.buf[from:])
}

func appendPieces(out net.Buffers, p []byte) net.Buffers {
	for len(p) > writeSlice {
		out, p = append(out, p[:writeSlice]), p[writeSlice:]
	}
	if len(p) > 0 {
		out = append(out, p)
	}
	return out
}
