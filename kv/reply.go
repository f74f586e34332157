package kv

import (
	"slices"
	"strconv"
)

// Reply is a tape of reply values. A command appends exactly one value (an
// aggregate counts as one, its elements follow it). The tape is independent of
// the client's protocol: package resp renders it as RESP2 or RESP3.
//
// Each value is a tag byte and, up to CRLF, its text; a bulk is followed by its
// bytes and CRLF. '+', '-', ':', '$' and '*' are spelled as in RESP, so a tape
// that holds only those (Plain) can be sent to any client as it is.
//
//	'+' status  '-' error  ':' integer  '$' bulk  '*' array
//	'_' null    'N' null array         ',' double  '#' boolean (t/f)
//	'(' big number  '=' verbatim text  '%' map (pairs)  '~' set
//	'!' a value that package resp puts in while rendering, by its number
//	'>' push, out of band in RESP3, an array in RESP2
//	'P' pairs: n pairs follow as 2n values; nested arrays of two in RESP3,
//	    one flat array in RESP2 (ZRANGE WITHSCORES and its kin)
//	'K' keyed arrays: n pairs follow as 2n values; a map in RESP3, an array of
//	    arrays of two in RESP2 (XREAD)
type Reply struct {
	b []byte
	// complex is set once a value was appended whose RESP2 and RESP3 forms differ.
	complex bool
	failed  bool
	// digits17: doubles have up to 17 digits, as before Redis 7.2.
	digits17 bool
	// resp2: the client is known to speak RESP2, so maps, sets, pairs and doubles are
	// written as it reads them and the tape stays plain. Only reads for one chunk have
	// it: what is in the log, or is read by a script, is the same for every client.
	resp2 bool
}

// Reset empties the tape and keeps its memory.
func (r *Reply) Reset() { r.b, r.complex, r.failed, r.resp2 = r.b[:0], false, false, false }

// Bytes is the tape; it is valid until the next append or Reset.
func (r *Reply) Bytes() []byte { return r.b }

// Len is the tape's length in bytes.
func (r *Reply) Len() int { return len(r.b) }

// Plain reports whether the tape reads the same in RESP2 and RESP3.
func (r *Reply) Plain() bool { return !r.complex }

// Failed reports whether an error was appended since the last ClearFailed or Reset.
func (r *Reply) Failed() bool { return r.failed }

// ClearFailed forgets that an error was appended.
func (r *Reply) ClearFailed() { r.failed = false }

// Truncate drops everything after the first n bytes: a command that finds out
// late that it must fail takes its partial value back.
func (r *Reply) Truncate(n int) { r.b = r.b[:n] }

// AppendTape appends another tape's values.
func (r *Reply) AppendTape(o *Reply) {
	r.b = append(r.b, o.b...)
	r.complex = r.complex || o.complex
	r.failed = r.failed || o.failed
}

func (r *Reply) head(tag byte, n int64) {
	r.b = append(r.b, tag)
	r.b = strconv.AppendInt(r.b, n, 10)
	r.b = append(r.b, '\r', '\n')
}

// pairs begins n pairs, which RESP2 has as an array of 2n values.
func (r *Reply) pairs(tag byte, n int) {
	if r.resp2 {
		r.Array(2 * n)
		return
	}
	r.complex = true
	r.aggregate(tag, n, 2*n)
}

// setTag is how a set begins for the client.
func (r *Reply) setTag() byte {
	if r.resp2 {
		return '*'
	}
	r.complex = true
	return '~'
}

func (r *Reply) aggregate(tag byte, n, values int) {
	r.expect(values)
	r.head(tag, int64(n))
}

// OK appends the status OK.
func (r *Reply) OK() { r.b = append(r.b, "+OK\r\n"...) }

// Status appends a simple string. It must hold no CR or LF.
func (r *Reply) Status(s string) {
	r.b = append(r.b, '+')
	r.b = append(r.b, s...)
	r.b = append(r.b, '\r', '\n')
}

// Error appends an error; msg includes the code ("ERR ...", "WRONGTYPE ...").
// CR, LF and NUL are replaced by blanks: user data may be in it (CVE-2025-67733).
func (r *Reply) Error(msg string) {
	r.failed = true
	r.b = append(r.b, '-')
	for i := 0; i < len(msg); i++ {
		c := msg[i]
		if c == '\r' || c == '\n' || c == 0 {
			c = ' '
		}
		r.b = append(r.b, c)
	}
	r.b = append(r.b, '\r', '\n')
}

// Int appends an integer.
func (r *Reply) Int(n int64) { r.head(':', n) }

// Bool appends 1 or 0: Redis commands answer integers, also in RESP3.
func (r *Reply) Bool(v bool) {
	if v {
		r.b = append(r.b, ":1\r\n"...)
		return
	}
	r.b = append(r.b, ":0\r\n"...)
}

// Bulk appends a bulk string.
func (r *Reply) Bulk(p []byte) {
	r.makeRoom(len(p))
	r.head('$', int64(len(p)))
	r.b = append(r.b, p...)
	r.b = append(r.b, '\r', '\n')
}

// BulkString appends a bulk string.
func (r *Reply) BulkString(s string) {
	r.makeRoom(len(s))
	r.head('$', int64(len(s)))
	r.b = append(r.b, s...)
	r.b = append(r.b, '\r', '\n')
}

// BulkInt appends an integer as a bulk string.
func (r *Reply) BulkInt(n int64) {
	var tmp [20]byte
	r.Bulk(strconv.AppendInt(tmp[:0], n, 10))
}

// Null appends the null value ($-1 in RESP2).
func (r *Reply) Null() { r.complex = true; r.b = append(r.b, "_\r\n"...) }

// NullArray appends the null array (*-1 in RESP2, the null value in RESP3).
func (r *Reply) NullArray() { r.complex = true; r.b = append(r.b, "N\r\n"...) }

// Array announces n values.
func (r *Reply) Array(n int) { r.aggregate('*', n, n) }

// beginLate begins an aggregate whose number of values shows while they are appended;
// probably there will be guess of them. endLate puts the number in.
func (r *Reply) beginLate(tag byte, guess int) lateHead {
	at := len(r.b)
	r.head(tag, int64(guess))
	return lateHead{at, len(r.b)}
}

// lateHead is the place of a head that is not final.
type lateHead struct{ at, end int }

// beginLateSet is beginLate for a set.
func (r *Reply) beginLateSet(guess int) lateHead {
	return r.beginLate(r.setTag(), guess)
}

// endLate makes it n values. What follows the head moves if the guess had another number
// of digits: in place, which is less than a tape of its own and its copy.
func (r *Reply) endLate(h lateHead, n int) {
	var tmp [24]byte
	head := append(strconv.AppendInt(append(tmp[:0], r.b[h.at]), int64(n), 10), '\r', '\n')
	r.b = slices.Replace(r.b, h.at, h.end, head...)
}

// Map announces n pairs: 2n values follow.
func (r *Reply) Map(n int) { r.pairs('%', n) }

// Set announces n values.
func (r *Reply) Set(n int) { r.aggregate(r.setTag(), n, n) }

// Push announces a push of n values: an array to a RESP2 client ('>' in the tape).
func (r *Reply) Push(n int) { r.complex = true; r.head('>', int64(n)) }

// Pairs announces n pairs as 2n values (see Reply).
func (r *Reply) Pairs(n int) { r.pairs('P', n) }

// KeyedArrays announces n pairs as 2n values (see Reply).
func (r *Reply) KeyedArrays(n int) { r.complex = true; r.head('K', int64(n)) }

// Double appends a score: a double in RESP3, a bulk in RESP2, in Redis's form.
func (r *Reply) Double(f float64) {
	if r.resp2 {
		var tmp [32]byte
		r.Bulk(r.appendDouble(tmp[:0], f))
		return
	}
	r.complex = true
	r.b = append(r.b, ',')
	r.b = r.appendDouble(r.b, f)
	r.b = append(r.b, '\r', '\n')
}

// DoubleText appends a double given as text: a double in RESP3, a bulk in RESP2.
func (r *Reply) DoubleText(text []byte) {
	if r.resp2 {
		r.Bulk(text)
		return
	}
	r.complex = true
	r.b = append(r.b, ',')
	r.b = append(r.b, text...)
	r.b = append(r.b, '\r', '\n')
}

// Verbatim appends text: a verbatim string in RESP3, a bulk in RESP2. format is
// three letters ("txt", "mkd").
func (r *Reply) Verbatim(format string, p []byte) {
	r.complex = true
	r.head('=', int64(len(p)+4))
	r.b = append(r.b, format...)
	r.b = append(r.b, ':')
	r.b = append(r.b, p...)
	r.b = append(r.b, '\r', '\n')
}

// TrueFalse appends a boolean: 1 or 0 in RESP2.
func (r *Reply) TrueFalse(v bool) {
	r.complex = true
	if v {
		r.b = append(r.b, "#t\r\n"...)
		return
	}
	r.b = append(r.b, "#f\r\n"...)
}

// BigNumber appends a number of any size, given as its digits: a bulk in RESP2.
func (r *Reply) BigNumber(digits string) {
	r.complex = true
	r.b = append(append(append(r.b, '('), digits...), '\r', '\n')
}

// Deferred appends the place of value number n, which package resp fills in while
// it renders the tape ('!' in the tape; Chunk.AddDeferred).
func (r *Reply) Deferred(n int) { r.complex = true; r.head('!', int64(n)) }
