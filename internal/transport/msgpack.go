package transport

import (
	"encoding/binary"
	"math"
)

// The few msgpack forms that envelopes use, written and read by hand because
// they are on the path of every message. Writers use the shortest form; the
// reader takes any width. A test holds them against hashicorp/go-msgpack.

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
}

func appendArray(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x90|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

func appendString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

func appendNil(b []byte) []byte { return append(b, 0xc0) }

// cursor reads msgpack values from b. The first value that is not what was
// asked for sets bad; from then on every read gives zero, so that a decoder may
// check once at its end. Nothing it returns is larger than what b can hold.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() { c.bad, c.b = true, nil }

// next takes n bytes, or fails and returns nil.
func (c *cursor) next(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

// head takes the type byte. At the end of the bytes it fails and returns 0xc1,
// which msgpack never uses.
func (c *cursor) head() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0xc1
	}
	h := c.b[0]
	c.b = c.b[1:]
	return h
}

// big reads an unsigned big-endian number of width bytes.
func (c *cursor) big(width int) uint64 {
	var v uint64
	for _, x := range c.next(width) {
		v = v<<8 | uint64(x)
	}
	return v
}

func (c *cursor) uint() uint64 {
	h := c.head()
	switch {
	case h < 0x80:
		return uint64(h)
	case h >= 0xcc && h <= 0xcf:
		return c.big(1 << (h - 0xcc))
	}
	c.fail()
	return 0
}

// uintMax reads a number that must not exceed limit.
func (c *cursor) uintMax(limit uint64) uint64 {
	v := c.uint()
	if v > limit {
		c.fail()
		return 0
	}
	return v
}

func (c *cursor) int() int64 {
	if len(c.b) == 0 {
		c.fail()
		return 0
	}
	switch h := c.b[0]; {
	case h >= 0xe0:
		c.head()
		return int64(int8(h))
	case h >= 0xd0 && h <= 0xd3:
		c.head()
		width := 1 << (h - 0xd0)
		shift := 64 - 8*width
		return int64(c.big(width)<<shift) >> shift
	}
	return int64(c.uintMax(math.MaxInt64))
}

// array reads an array's length. Every element takes at least minElement bytes,
// so a length that the remaining bytes cannot hold fails before anything is
// allocated for it.
func (c *cursor) array(minElement int) int {
	var n uint64
	switch h := c.head(); {
	case h&0xf0 == 0x90:
		n = uint64(h & 0x0f)
	case h == 0xdc:
		n = c.big(2)
	case h == 0xdd:
		n = c.big(4)
	default:
		c.fail()
	}
	if n > uint64(len(c.b)/minElement) {
		c.fail()
		return 0
	}
	return int(n)
}

// arrayOf reads the length of an array that must have n elements.
func (c *cursor) arrayOf(n int) {
	if c.array(1) != n {
		c.fail()
	}
}

func (c *cursor) string() string {
	var n uint64
	switch h := c.head(); {
	case h&0xe0 == 0xa0:
		n = uint64(h & 0x1f)
	case h >= 0xd9 && h <= 0xdb:
		n = c.big(1 << (h - 0xd9))
	default:
		c.fail()
	}
	if n > uint64(len(c.b)) {
		c.fail()
		return ""
	}
	return string(c.next(int(n)))
}

func (c *cursor) bool() bool {
	h := c.head()
	if h != 0xc2 && h != 0xc3 {
		c.fail()
	}
	return h == 0xc3
}

// isNil takes a nil if one is next.
func (c *cursor) isNil() bool {
	if len(c.b) > 0 && c.b[0] == 0xc0 {
		c.b = c.b[1:]
		return true
	}
	return false
}

// done reports whether everything was read and nothing was bad.
func (c *cursor) done() bool { return !c.bad && len(c.b) == 0 }
