package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/rkvdb/rkv/internal/pages"
	"github.com/rkvdb/rkv/raftcore"
)

// After the handshake every connection carries frames, little endian:
//
//	 0 length    u32  bytes after these 16; checked against the cap before anything is allocated
//	 4 crc       u32  CRC-32C of bytes 0..3, 8..15, the envelope and, except in messages, the body
//	 8 envelope  u32  how many of length are the envelope (envelope.go); at most maxEnvelope
//	12 kind      u8
//	13 zero      3 bytes; anything else is refused
//	16 envelope ...
//	   body ...       raw bytes the envelope describes
//
// The bodies of a message's entries are left out of the checksum because each
// entry brings its own (raftcore.Entry.CRC), computed once in its life instead
// of once per peer.
const (
	frameHeaderSize = 16

	// maxEnvelope bounds what a decoder can be made to allocate: an entry header
	// of 6 bytes becomes 48 in memory, so 1 MiB becomes 9. raftcore's 256 KiB
	// messages have envelopes below 150 KiB.
	maxEnvelope = 1 << 20
)

// kind is what a frame holds.
type kind uint8

const (
	kindMessage    kind = 1 + iota // control and bulk lanes
	kindUnits                      // bulk lane
	kindRefused                    // bulk lane
	kindSnapBegin                  // snapshot lane, to the receiver: [size, hash, meta]
	kindSnapBlock                  // body: the next bytes
	kindSnapEnd                    // [bytes in all]
	kindSnapAbort                  // [text]: the sender gave up
	kindSnapCredit                 // to the sender: [blocks]; zero says "still alive"
	kindSnapDone                   // [ok, text]: the receiver's verdict
	kindCall                       // call lane, body: request
	kindCallReply                  // [ok, text], body: answer
	kindNote                       // bulk lane, body: the note
	kindSnapStart                  // to the sender: [offset] of the first byte wanted
	kindEnd
)

// errFrame is wrapped by every complaint about a frame's bytes; the stream has
// lost its footing and the connection must be closed.
var errFrame = errors.New("bad frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends room for a header; the envelope is to be appended next.
func beginFrame(b []byte) []byte {
	return append(b, make([]byte, frameHeaderSize)...)
}

// endFrame fills the header of the frame that begins at b[at:] and whose
// envelope is the rest of b. The body, bodySize bytes, follows on the wire;
// covered are the parts of it that the checksum includes.
func endFrame(b []byte, at int, k kind, bodySize int, covered ...[]byte) {
	h, envelope := b[at:at+frameHeaderSize], b[at+frameHeaderSize:]
	binary.LittleEndian.PutUint32(h[0:], uint32(len(envelope)+bodySize))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(envelope)))
	h[12] = byte(k)
	crc := headerChecksum(h, envelope)
	for _, part := range covered {
		crc = crc32.Update(crc, castagnoli, part)
	}
	binary.LittleEndian.PutUint32(h[4:], crc)
}

func headerChecksum(h, envelope []byte) uint32 {
	crc := crc32.Checksum(h[0:4], castagnoli)
	crc = crc32.Update(crc, castagnoli, h[8:frameHeaderSize])
	return crc32.Update(crc, castagnoli, envelope)
}

// frame is one received frame.
type frame struct {
	kind     kind
	envelope []byte // valid until the reader's next call
	body     []byte // in memory that is not used again
}

// parseHeader reads the header h of a frame and says how long envelope and body are,
// if they keep within the limits.
func parseHeader(h []byte, maxFrame int) (k kind, envelope, body int, err error) {
	length := binary.LittleEndian.Uint32(h[0:])
	env := binary.LittleEndian.Uint32(h[8:])
	k = kind(h[12])
	switch {
	case uint64(length)+frameHeaderSize > uint64(maxFrame):
		return 0, 0, 0, fmt.Errorf("%w: %d bytes announced, at most %d allowed", errFrame, length, maxFrame)
	case env > length || env > maxEnvelope:
		return 0, 0, 0, fmt.Errorf("%w: envelope of %d bytes announced in %d", errFrame, env, length)
	case k == 0 || k >= kindEnd || h[13]|h[14]|h[15] != 0:
		return 0, 0, 0, fmt.Errorf("%w: unknown kind %x", errFrame, h[12:16])
	}
	return k, int(env), int(length - env), nil
}

const (
	// readBufferSize is how much one read takes from the socket: a burst of
	// small frames costs one system call.
	readBufferSize = 64 << 10
	// trustedAllocation is what a header alone can make the reader allocate.
	// Larger bodies get memory as their bytes arrive.
	trustedAllocation = 1 << 20
)

// frameReader cuts a byte stream into frames.
type frameReader struct {
	src      io.Reader
	maxFrame int
	buf      []byte // buf[lo:hi] was read and not yet consumed
	lo, hi   int
	header   [frameHeaderSize]byte // of the frame being read; here, or it would be allocated each time
	slab     pages.Slab            // for what outlives buf
}

func newFrameReader(src io.Reader, maxFrame int) *frameReader {
	return &frameReader{src: src, maxFrame: maxFrame, buf: make([]byte, readBufferSize)}
}

// ready reports whether next would return without reading from the source.
func (r *frameReader) ready() bool {
	if r.hi-r.lo < frameHeaderSize {
		return false
	}
	_, env, body, err := parseHeader(r.buf[r.lo:], r.maxFrame)
	return err != nil || r.hi-r.lo >= frameHeaderSize+env+body
}

// next returns the next frame. io.EOF is returned at a frame's boundary only;
// elsewhere the end of the stream is io.ErrUnexpectedEOF.
func (r *frameReader) next() (frame, error) {
	if err := r.fill(frameHeaderSize); err != nil {
		return frame{}, err
	}
	h := r.header[:]
	copy(h, r.buf[r.lo:])
	k, envSize, bodySize, err := parseHeader(h, r.maxFrame)
	if err != nil {
		return frame{}, err
	}
	// A frame that fits in the buffer is read together with its successors; of
	// a larger one only the rest is read, straight into its own memory.
	if whole := frameHeaderSize + envSize + bodySize; whole <= len(r.buf) {
		if err := r.fill(whole); err != nil {
			return frame{}, unexpected(err)
		}
	}
	r.lo += frameHeaderSize
	f := frame{kind: k}
	if f.envelope, err = r.take(envSize); err != nil {
		return frame{}, err
	}
	if bodySize > 0 {
		if f.body, err = r.own(bodySize); err != nil {
			return frame{}, err
		}
	}
	crc := headerChecksum(h, f.envelope)
	if k != kindMessage {
		crc = crc32.Update(crc, castagnoli, f.body)
	}
	if want := binary.LittleEndian.Uint32(h[4:]); crc != want {
		return frame{}, fmt.Errorf("%w: checksum is %08x, should be %08x", errFrame, crc, want)
	}
	return f, nil
}

// fill reads until n bytes, at most len(buf), are buffered.
func (r *frameReader) fill(n int) error {
	if r.hi-r.lo >= n {
		return nil
	}
	if len(r.buf)-r.lo < n || r.lo == r.hi {
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	for r.hi-r.lo < n {
		m, err := r.src.Read(r.buf[r.hi:])
		r.hi += m
		if err != nil && r.hi-r.lo < n {
			if r.hi > r.lo {
				return unexpected(err)
			}
			return err
		}
	}
	return nil
}

// take returns the next n bytes, in the buffer if they are there already.
func (r *frameReader) take(n int) ([]byte, error) {
	if r.hi-r.lo >= n {
		p := r.buf[r.lo : r.lo+n]
		r.lo += n
		return p, nil
	}
	return r.own(n)
}

// own returns the next n bytes in memory that is not used again.
func (r *frameReader) own(n int) ([]byte, error) {
	p := r.slab.Make(min(n, max(trustedAllocation, r.hi-r.lo)))
	have := copy(p, r.buf[r.lo:r.hi])
	r.lo += have
	for {
		if _, err := io.ReadFull(r.src, p[have:]); err != nil {
			return nil, unexpected(err)
		}
		if have = len(p); have == n {
			return p, nil
		}
		grown := make([]byte, min(n, 4*have))
		pages.Populate(grown)
		copy(grown, p)
		p = grown
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decodeVerified decodes a message frame and checks every entry's checksum.
func decodeVerified(f frame) (m raftcore.Message, err error) {
	if m, err = decodeMessage(f.envelope, f.body); err != nil {
		return m, fmt.Errorf("%w: %w", errFrame, err)
	}
	for i := range m.Entries {
		if e := &m.Entries[i]; !e.Verify() {
			return raftcore.Message{}, fmt.Errorf("%w: entry %d of term %d does not match its checksum", errFrame, e.Index, e.Term)
		}
	}
	return m, nil
}
