package resp

import (
	"bytes"
	"fmt"
)

// limits are what the guard allows a client in its present phase.
type limits struct {
	maxArgs  int   // elements of one request array
	maxBulk  int64 // bytes of one argument
	authless bool  // the client has yet to authenticate: Redis's errors name that
}

const (
	// maxInline bounds an inline request and every header line, as Redis's
	// PROTO_INLINE_MAX_SIZE does.
	maxInline = 64 << 10

	unauthMaxArgs = 10
	unauthMaxBulk = 16 << 10
)

// protocolError is answered as "-ERR Protocol error: ..." and then the connection
// is closed: the stream cannot be trusted to be in step any more.
type protocolError string

func (e protocolError) Error() string { return "ERR Protocol error: " + string(e) }

// crossProtocolError means the bytes are HTTP: a browser was made to talk to us
// (CVE-2016-10517). The connection is closed without a word.
type crossProtocolError struct{}

func (crossProtocolError) Error() string { return "HTTP request on a Redis port" }

// frameKind says what next found.
type frameKind uint8

const (
	frameNone    frameKind = iota // more bytes are needed
	frameEmpty                    // an empty line, *0 or *-1: skip it
	frameCommand                  // a request array redcon can parse
	frameInline                   // a line for splitInline
)

// guard checks the framing of requests before redcon's parser sees them. redcon
// v1.6.4 trusts lengths (34 bytes panic it) and starts over at each read; the guard
// is iterative, remembers where it stopped, looks at no byte of a bulk's body and
// allocates nothing, so a request fed byte by byte costs linear time.
//
// Offsets are relative to the first byte of the current request, so the owner may
// move its buffer between calls, but must present the request from its first byte.
type guard struct {
	scan int // bytes below it need no second look
	line int // start of the header line being searched for its end
	left int // arguments still to come; meaningful once inArray
	body int // end of the present bulk incl. CRLF, 0 when a header is expected

	inArray bool
}

// need is how many bytes the request has at least, as far as is known: what a buffer
// may grow to without guessing.
func (g *guard) need() int {
	if g.body > g.scan {
		return g.body
	}
	return g.scan + 1
}

// next looks for one complete request at the start of buf. n is its length when
// kind is not frameNone; the guard is then ready for the request after it.
func (g *guard) next(buf []byte, lim *limits) (n int, kind frameKind, err error) {
	if len(buf) == 0 {
		return 0, frameNone, nil
	}
	if !g.inArray {
		if buf[0] != '*' {
			return g.nextInline(buf)
		}
		count, ok, err := g.arrayHeader(buf, lim)
		if err != nil || !ok {
			return 0, frameNone, err
		}
		if count <= 0 {
			return g.done(frameEmpty)
		}
		g.inArray, g.left = true, int(count)
	}
	for g.left > 0 {
		if g.body == 0 {
			ok, err := g.bulkHeader(buf, lim)
			if err != nil || !ok {
				return 0, frameNone, err
			}
		}
		if len(buf) < g.body {
			// A wrong byte after the data is told as soon as it is there.
			if len(buf) == g.body-1 && buf[g.body-2] != '\r' {
				return 0, frameNone, protocolError("expected CRLF after bulk")
			}
			return 0, frameNone, nil
		}
		if buf[g.body-2] != '\r' || buf[g.body-1] != '\n' {
			return 0, frameNone, protocolError("expected CRLF after bulk")
		}
		g.scan, g.line, g.body = g.body, g.body, 0
		g.left--
	}
	return g.done(frameCommand)
}

func (g *guard) done(kind frameKind) (int, frameKind, error) {
	n := g.scan
	*g = guard{}
	return n, kind, nil
}

// header finds the end of the line at g.line. ok is false if it has not arrived.
// The line excludes CRLF; g.scan is moved behind it.
func (g *guard) header(buf []byte, tooBig, invalid protocolError) (line []byte, ok bool, err error) {
	i := bytes.IndexByte(buf[g.scan:], '\r')
	if i < 0 {
		g.scan = len(buf)
		if g.scan-g.line > maxInline {
			return nil, false, tooBig
		}
		return nil, false, nil
	}
	end := g.scan + i
	if end-g.line > maxInline {
		return nil, false, tooBig
	}
	if end+1 == len(buf) {
		g.scan = end
		return nil, false, nil
	}
	// Redis skips whatever follows CR; redcon insists on LF, and so do we.
	if buf[end+1] != '\n' {
		return nil, false, invalid
	}
	line = buf[g.line:end]
	g.scan, g.line = end+2, end+2
	return line, true, nil
}

func (g *guard) arrayHeader(buf []byte, lim *limits) (count int64, ok bool, err error) {
	const invalid = protocolError("invalid multibulk length")
	line, ok, err := g.header(buf, "too big mbulk count string", invalid)
	if err != nil || !ok {
		return 0, false, err
	}
	count, good := parseLen(line[1:])
	switch {
	case !good:
		return 0, false, invalid
	case lim.authless && count > int64(lim.maxArgs):
		return 0, false, protocolError("unauthenticated multibulk length")
	case count > int64(lim.maxArgs):
		return 0, false, invalid
	}
	return count, true, nil
}

func (g *guard) bulkHeader(buf []byte, lim *limits) (ok bool, err error) {
	const invalid = protocolError("invalid bulk length")
	// Redis waits for the whole line before it looks at the first byte; the answer
	// is the same, and ours does not wait for a line that may never end.
	if len(buf) > g.line && buf[g.line] != '$' {
		return false, protocolError(fmt.Sprintf("expected '$', got '%c'", printable(buf[g.line])))
	}
	line, ok, err := g.header(buf, "too big bulk count string", invalid)
	if err != nil || !ok {
		return false, err
	}
	n, good := parseLen(line[1:])
	switch {
	case !good || n < 0:
		return false, invalid
	case lim.authless && n > lim.maxBulk:
		return false, protocolError("unauthenticated bulk length")
	case n > lim.maxBulk:
		return false, invalid
	}
	g.body = g.scan + int(n) + 2
	return true, nil
}

// nextInline looks for the end of a line.
func (g *guard) nextInline(buf []byte) (int, frameKind, error) {
	i := bytes.IndexByte(buf[g.scan:], '\n')
	if i < 0 {
		g.scan = len(buf)
		if g.scan > maxInline {
			return 0, frameNone, protocolError("too big inline request")
		}
		return 0, frameNone, nil
	}
	g.scan += i + 1
	line := trimEOL(buf[:g.scan])
	if len(line) > maxInline {
		return 0, frameNone, protocolError("too big inline request")
	}
	if len(line) == 0 {
		return g.done(frameEmpty)
	}
	return g.done(frameInline)
}

func trimEOL(line []byte) []byte {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// isHTTP recognises the two names Redis watches for: every HTTP request has a Host
// header, and the body of a POST could carry commands.
func isHTTP(name []byte) bool { return equalFold(name, "post") || equalFold(name, "host:") }

// equalFold reports whether b is word, given in lower case, in any case (ASCII).
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range b {
		if toLower(b[i]) != word[i] {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// parseLen reads a length as Redis's string2ll does: no sign but '-', no leading
// zeros, no blanks, no overflow.
func parseLen(p []byte) (int64, bool) {
	if len(p) == 0 || len(p) > 20 {
		return 0, false
	}
	if len(p) == 1 && p[0] == '0' {
		return 0, true
	}
	neg := p[0] == '-'
	if neg {
		p = p[1:]
	}
	if len(p) == 0 || p[0] < '1' || p[0] > '9' {
		return 0, false
	}
	if len(p) <= 18 { // cannot overflow
		v := int64(0)
		for _, c := range p {
			if c < '0' || c > '9' {
				return 0, false
			}
			v = v*10 + int64(c-'0')
		}
		if neg {
			v = -v
		}
		return v, true
	}
	var v uint64
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if v > (1<<63-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	if neg {
		return -int64(v), true
	}
	if v > 1<<63-1 {
		return 0, false
	}
	return int64(v), true
}

// printable keeps control bytes out of the one place where a request's byte is
// echoed before it was parsed.
func printable(c byte) byte {
	if c < 0x20 || c >= 0x7f {
		return '?'
	}
	return c
}
