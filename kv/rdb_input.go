package kv

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"strconv"
)

// rdbPush runs a decoder over a stream that is pushed in pieces. The decoder is a
// coroutine (iter.Pull): between two Feeds it is suspended in the middle of
// whatever it decodes, and it runs only inside Feed, Finish and Abort, on the
// caller's time. One of the latter two must be called to let it end.
type rdbPush struct {
	in     rdbInput
	resume func() (struct{}, bool)
	stop   func()
	ended  bool
	err    error
}

func (p *rdbPush) start(run func() error) {
	p.resume, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.in.more = func() bool { return yield(struct{}{}) }
		p.err = run()
	})
}

// Feed takes the next piece of the stream; raw may be reused afterwards. After an
// error every further call returns it.
func (p *rdbPush) Feed(raw []byte) error {
	if len(raw) == 0 || p.err != nil {
		return p.err
	}
	if !p.ended {
		p.in.buf, p.in.pos = raw, 0
		_, more := p.resume()
		p.ended = !more
	} else {
		p.in.off += int64(len(p.in.buf))
		p.in.buf, p.in.pos = raw, 0
	}
	if left := len(p.in.buf) - p.in.pos; p.ended && p.err == nil && left > 0 {
		p.err = p.in.errorf("%d bytes after the end", left)
	}
	return p.err
}

// Finish ends the stream: an error if it was not complete.
func (p *rdbPush) Finish() error {
	p.Abort()
	return p.err
}

// Abort ends the decoder, wherever it is. Calling it again, or after Finish, does
// no harm.
func (p *rdbPush) Abort() {
	if p.ended {
		return
	}
	p.ended = true
	p.stop()
	if p.err == nil { // nothing was fed, so nothing ran
		p.err = p.in.errorf("file ends early")
	}
}

// rdbInput is the byte stream the decoder reads: it arrives in blocks, and more
// suspends the decoder until the next one is there.
type rdbInput struct {
	buf []byte
	pos int
	// off is the offset of buf[0] in the stream, crc covers the blocks before buf.
	off int64
	crc uint64
	// more waits for the next block and puts it in buf; false: there is none.
	more func() bool
	// small and lzf are scratch for what spans blocks, and for compressed strings.
	small [16]byte
	lzf   []byte
	// bounded: compressed strings may yield no more than inflate bytes in all.
	bounded bool
	inflate int64
}

// errorf reports malformed bytes at the current place.
func (in *rdbInput) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: at offset %d: %s", ErrRDB, in.off+int64(in.pos), fmt.Sprintf(format, args...))
}

// fill makes at least one byte available.
func (in *rdbInput) fill() error {
	for in.pos == len(in.buf) {
		in.crc = crc64Update(in.crc, in.buf)
		in.off += int64(len(in.buf))
		in.buf, in.pos = nil, 0
		if !in.more() {
			return in.errorf("file ends early")
		}
	}
	return nil
}

// sum is the CRC of everything read so far.
func (in *rdbInput) sum() uint64 { return crc64Update(in.crc, in.buf[:in.pos]) }

func (in *rdbInput) byte() (byte, error) {
	if in.pos == len(in.buf) {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	c := in.buf[in.pos]
	in.pos++
	return c, nil
}

// peek is the next byte, which stays.
func (in *rdbInput) peek() (byte, error) {
	if in.pos == len(in.buf) {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	return in.buf[in.pos], nil
}

// take returns the next n bytes: a part of the block, or, if they span blocks, in
// scratch, which may be grown. They are valid until the next read. Memory is taken
// as the bytes arrive, never for what a length claims.
func (in *rdbInput) take(n int, scratch *[]byte) ([]byte, error) {
	if n <= len(in.buf)-in.pos {
		b := in.buf[in.pos : in.pos+n : in.pos+n]
		in.pos += n
		return b, nil
	}
	out := (*scratch)[:0]
	for len(out) < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
		k := min(n-len(out), len(in.buf)-in.pos)
		out = append(out, in.buf[in.pos:in.pos+k]...)
		in.pos += k
	}
	*scratch = out
	return out, nil
}

// fixed returns the next n <= 16 bytes.
func (in *rdbInput) fixed(n int) ([]byte, error) {
	scratch := in.small[:0]
	return in.take(n, &scratch)
}

// length reads a length or count. special is the kind of an encoded string, -1
// otherwise.
func (in *rdbInput) length() (n uint64, special int, err error) {
	c, err := in.byte()
	if err != nil {
		return 0, -1, err
	}
	switch {
	case c>>6 == 0:
		return uint64(c & 0x3f), -1, nil
	case c>>6 == 1:
		low, err := in.byte()
		return uint64(c&0x3f)<<8 | uint64(low), -1, err
	case c>>6 == 3:
		return 0, int(c & 0x3f), nil
	}
	width := 0
	switch c {
	case 0x80:
		width = 4
	case 0x81:
		width = 8
	default:
		return 0, -1, in.errorf("length of kind %#x", c)
	}
	b, err := in.fixed(width)
	if err != nil {
		return 0, -1, err
	}
	if width == 4 {
		return uint64(binary.BigEndian.Uint32(b)), -1, nil
	}
	return binary.BigEndian.Uint64(b), -1, nil
}

// count reads the number of things that follow; each takes at least a byte, so it
// is no larger than a file can be.
func (in *rdbInput) count() (int, error) {
	n, special, err := in.length()
	if err != nil {
		return 0, err
	}
	if special >= 0 || n > math.MaxInt32*1024 {
		return 0, in.errorf("count")
	}
	return int(n), nil
}

// string reads a string; like take's, the result is valid until the next read.
func (in *rdbInput) string(scratch *[]byte) ([]byte, error) {
	n, special, err := in.length()
	switch {
	case err != nil:
		return nil, err
	case special < 0:
		if n > rdbMaxString {
			return nil, in.errorf("string of %d bytes", n)
		}
		return in.take(int(n), scratch)
	case special <= 2:
		b, err := in.fixed(1 << special)
		if err != nil {
			return nil, err
		}
		*scratch = appendInt((*scratch)[:0], littleInt(b))
		return *scratch, nil
	case special == 3:
		return in.compressed(scratch)
	}
	return nil, in.errorf("string of kind %d", special)
}

// compressed reads an LZF string.
func (in *rdbInput) compressed(scratch *[]byte) ([]byte, error) {
	packed, err := in.count()
	if err != nil {
		return nil, err
	}
	n, err := in.count()
	if err != nil {
		return nil, err
	}
	if packed > rdbMaxString || n > rdbMaxString {
		return nil, in.errorf("compressed string of %d bytes", n)
	}
	if in.inflate -= int64(n); in.bounded && in.inflate < 0 {
		return nil, in.errorf("compressed strings stand for too much")
	}
	b, err := in.take(packed, &in.lzf)
	if err != nil {
		return nil, err
	}
	out, err := lzfDecompress((*scratch)[:0], b, n)
	if err != nil {
		return nil, in.errorf("%v", err)
	}
	*scratch = out
	return out, nil
}

// header reads magic and version.
func (in *rdbInput) header() (version int, err error) {
	b, err := in.fixed(len(rdbMagic) + 4)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(b[len(rdbMagic):]), 10, 16)
	if string(b[:len(rdbMagic)]) != rdbMagic || err != nil {
		return 0, in.errorf("no RDB header")
	}
	if v < 1 || v > rdbMaxVersion {
		return 0, in.errorf("RDB version %d, known are 1 to %d", v, rdbMaxVersion)
	}
	return int(v), nil
}

// end reads and checks the CRC, which is 0 if the writer made none. Versions below
// 5 have no CRC.
func (in *rdbInput) end(version int) error {
	if version < 5 {
		return nil
	}
	want := in.sum()
	b, err := in.fixed(8)
	if err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint64(b); got != want && got != 0 {
		return in.errorf("CRC-64 %016x, the file says %016x", want, got)
	}
	return nil
}
