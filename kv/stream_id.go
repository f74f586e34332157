package kv

import (
	"bytes"
	"encoding/binary"
	"math"
)

// streamID identifies an entry: milliseconds and a number within them. IDs of a
// stream only grow.
type streamID struct{ ms, seq uint64 }

var maxStreamID = streamID{math.MaxUint64, math.MaxUint64}

const (
	streamIDSize = 16
	errStreamID  = "ERR Invalid stream ID specified as stream command argument"
)

func (a streamID) isZero() bool { return a == streamID{} }

func (a streamID) less(b streamID) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }

// next is the ID after a; ok is false if a is the last there can be.
func (a streamID) next() (id streamID, ok bool) {
	if a.seq++; a.seq == 0 {
		a.ms++
	}
	return a, !a.isZero()
}

// prev is the ID before a; ok is false if a is 0-0.
func (a streamID) prev() (id streamID, ok bool) {
	ok = !a.isZero()
	if a.seq == 0 {
		a.ms--
	}
	a.seq--
	return a, ok
}

// appendKey appends the ID as trees order it: 16 bytes, big endian.
func (a streamID) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, a.ms)
	return binary.BigEndian.AppendUint64(dst, a.seq)
}

// readStreamID decodes the first 16 bytes of b, which must be there.
func readStreamID(b []byte) streamID {
	return streamID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// append appends the ID as clients see it.
func (a streamID) append(dst []byte) []byte {
	return appendUint(append(appendUint(dst, a.ms), '-'), a.seq)
}

// reply appends the ID as a bulk.
func (a streamID) reply(out *Reply) {
	var text [41]byte
	out.Bulk(a.append(text[:0]))
}

// streamIDText is how an ID was written.
type streamIDText struct {
	id streamID
	// autoSeq: it was ms-*, the number is the stream's to choose.
	autoSeq bool
}

// parseStreamID reads ms-seq or ms, which means ms-missing.
func parseStreamID(b []byte, missing uint64) (streamID, bool) {
	t, ok := parseStreamIDText(b, missing, false)
	return t.id, ok
}

func parseStreamIDText(b []byte, missing uint64, mayBeAuto bool) (t streamIDText, ok bool) {
	if len(b) > 127 {
		return t, false
	}
	ms, seq, hasSeq := bytes.Cut(b, []byte{'-'})
	if t.id.ms, ok = parseStreamNumber(ms); !ok {
		return t, false
	}
	switch {
	case !hasSeq:
		t.id.seq = missing
	case mayBeAuto && len(seq) == 1 && seq[0] == '*':
		t.autoSeq = true
	default:
		t.id.seq, ok = parseStreamNumber(seq)
	}
	return t, ok
}

// parseStreamNumber reads an unsigned number as generously as Redis does: what is
// no plain integer goes through C's strtoull, which knows blanks, a sign, leading
// zeros, and wraps a negative number round.
func parseStreamNumber(b []byte) (uint64, bool) {
	if n, ok := parseInt(b); ok {
		return uint64(n), n >= 0
	}
	b = bytes.TrimLeft(b, " \t\n\v\f\r")
	negative := false
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		negative = b[0] == '-'
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	for len(b) > 1 && b[0] == '0' {
		b = b[1:]
	}
	n, ok := parseUint(b)
	if negative {
		n = -n
	}
	return n, ok
}

// streamIDArg is argument i as an ID; else it replies an error and returns false.
func (c *Ctx) streamIDArg(i int) (streamID, bool) {
	id, ok := parseStreamID(c.Args[i], 0)
	if !ok {
		c.Out.Error(errStreamID)
	}
	return id, ok
}

// streamIDArgs are the arguments from i on as IDs; else it replies an error.
func (c *Ctx) streamIDArgs(i int) (ids []streamID, ok bool) {
	ids = make([]streamID, 0, len(c.Args)-i)
	for ; i < len(c.Args); i++ {
		id, ok := c.streamIDArg(i)
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

// streamBound reads an end of an interval: an ID, - or +, or an ID after a bracket,
// which excludes it. excluded tells that the bracket was there.
func (c *Ctx) streamBound(arg []byte, missing uint64) (id streamID, excluded, ok bool) {
	switch {
	case len(arg) == 1 && arg[0] == '-':
		return streamID{}, false, true
	case len(arg) == 1 && arg[0] == '+':
		return maxStreamID, false, true
	case len(arg) > 1 && arg[0] == '(':
		excluded = true
		arg = arg[1:]
	}
	if id, ok = parseStreamID(arg, missing); !ok {
		c.Out.Error(errStreamID)
	}
	return id, excluded, ok
}

// streamStart is the first ID of an interval; else it replies an error.
func (c *Ctx) streamStart(arg []byte) (id streamID, ok bool) {
	id, excluded, ok := c.streamBound(arg, 0)
	if ok && excluded {
		if id, ok = id.next(); !ok {
			c.Out.Error("ERR invalid start ID for the interval")
		}
	}
	return id, ok
}

// streamInterval is an interval, both ends inclusive; else it replies an error.
// Redis parses both ends before it judges either.
func (c *Ctx) streamInterval(first, last []byte) (lo, hi streamID, ok bool) {
	if lo, ok = c.streamStart(first); !ok {
		return lo, hi, false
	}
	hi, excluded, ok := c.streamBound(last, math.MaxUint64)
	if ok && excluded {
		if hi, ok = hi.prev(); !ok {
			c.Out.Error("ERR invalid end ID for the interval")
		}
	}
	return lo, hi, ok
}
