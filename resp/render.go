package resp

import (
	"bytes"
	"strconv"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// RESP protocol versions, as HELLO negotiates them.
const (
	resp2 = 2
	resp3 = 3
)

// renderer turns reply tapes into a client's protocol. deferred, if not nil,
// renders the value that a tape left to the front end.
type renderer struct {
	proto    int
	deferred func(dst []byte, n int) []byte
}

// deferredTag marks a value that this package fills in (kv.Reply.Deferred).
const deferredTag = '!'

// frame is an aggregate whose elements are being rendered.
type frame struct {
	left  int // values still to come
	pairs bool
}

// appendTape renders a whole tape. A tape both protocols spell alike is copied: that
// is every hot command.
func (r renderer) appendTape(dst []byte, tape *kv.Reply) []byte {
	if n := len(dst) + tape.Len(); n > cap(dst) && n >= kv.LargeTape {
		dst = append(kv.NewTape(n+tape.Len()/8), dst...) // pairs take more in RESP3
	}
	if tape.Plain() {
		return append(dst, tape.Bytes()...)
	}
	return r.appendValues(dst, tape.Bytes())
}

// appendValues renders the values in tape, however many there are. It is iterative:
// the nesting of a reply must not become the depth of our stack. Runs of values that are
// spelled alike in all protocols are copied together.
func (r renderer) appendValues(dst, tape []byte) []byte {
	var few [8]frame
	stack, run := few[:0], tape // run begins with what is not copied yet
	for len(tape) > 0 {
		if n := len(stack); n > 0 {
			top := &stack[n-1]
			if top.left == 0 {
				stack = stack[:n-1]
				continue
			}
			if top.pairs && top.left%2 == 0 {
				dst = append(dst, run[:len(run)-len(tape)]...)
				dst, run = redcon.AppendArray(dst, 2), tape
			}
			top.left--
		}
		tag, text, rest := cutHeader(tape)
		if rest == nil {
			break // a damaged tape; nothing sensible is left to say
		}
		if behind, ok := skipAlike(tag, text, rest); ok {
			tape = behind
			continue
		}
		dst = append(dst, run[:len(run)-len(tape)]...)
		if f, ok := r.appendAggregate(&dst, tag, text); ok {
			tape, stack = rest, append(stack, f)
		} else {
			dst, tape = r.appendScalar(dst, tag, text, rest)
		}
		run = tape
	}
	return append(dst, run[:len(run)-len(tape)]...)
}

// skipAlike returns the tape behind a value that is no aggregate and is spelled alike in
// all protocols.
func skipAlike(tag byte, text, rest []byte) (behind []byte, ok bool) {
	switch tag {
	case '+', '-', ':':
		return rest, true
	case '$':
		if n := atoi(text); n >= 0 && len(rest) >= n+2 {
			return rest[n+2:], true
		}
	}
	return nil, false
}

// cutHeader splits a value's tag and text from what follows. rest is nil if there is
// no complete header.
func cutHeader(tape []byte) (tag byte, text, rest []byte) {
	i := bytes.IndexByte(tape, '\n')
	if i < 2 {
		return 0, nil, nil
	}
	return tape[0], tape[1 : i-1], tape[i+1:]
}

func (r renderer) appendAggregate(dst *[]byte, tag byte, text []byte) (frame, bool) {
	n := atoi(text)
	switch tag {
	case '*':
		*dst = redcon.AppendArray(*dst, n)
		return frame{left: n}, true
	case '~':
		if r.proto == resp3 {
			*dst = appendHead(*dst, '~', n)
		} else {
			*dst = redcon.AppendArray(*dst, n)
		}
		return frame{left: n}, true
	case '>':
		*dst = appendPush(*dst, r.proto, n)
		return frame{left: n}, true
	case '%':
		if r.proto == resp3 {
			*dst = appendHead(*dst, '%', n)
		} else {
			*dst = redcon.AppendArray(*dst, 2*n)
		}
		return frame{left: 2 * n}, true
	case 'P':
		if r.proto == resp3 {
			*dst = redcon.AppendArray(*dst, n)
		} else {
			*dst = redcon.AppendArray(*dst, 2*n)
		}
		return frame{left: 2 * n, pairs: r.proto == resp3}, true
	case 'K':
		if r.proto == resp3 {
			*dst = appendHead(*dst, '%', n)
		} else {
			*dst = redcon.AppendArray(*dst, n)
		}
		return frame{left: 2 * n, pairs: r.proto != resp3}, true
	}
	return frame{}, false
}

// appendScalar renders one value that is no aggregate and returns the tape behind it.
func (r renderer) appendScalar(dst []byte, tag byte, text, rest []byte) (out, tape []byte) {
	switch tag {
	case '$', '=':
		n := atoi(text)
		if n < 0 || len(rest) < n+2 {
			return dst, nil
		}
		body := rest[:n]
		switch {
		case tag == '$':
			dst = redcon.AppendBulk(dst, body)
		case r.proto == resp3:
			dst = appendHead(dst, '=', n)
			dst = append(append(dst, body...), '\r', '\n')
		default:
			dst = redcon.AppendBulk(dst, body[min(4, n):])
		}
		return dst, rest[n+2:]
	case '_':
		return r.appendNull(dst, "$-1\r\n"), rest
	case 'N':
		return r.appendNull(dst, "*-1\r\n"), rest
	case ',', '(':
		if r.proto == resp3 {
			return appendLine(dst, tag, text), rest
		}
		return redcon.AppendBulk(dst, text), rest
	case '#':
		if r.proto == resp3 {
			return appendLine(dst, tag, text), rest
		}
		if string(text) == "t" {
			return redcon.AppendInt(dst, 1), rest
		}
		return redcon.AppendInt(dst, 0), rest
	case deferredTag:
		if r.deferred != nil {
			return r.deferred(dst, atoi(text)), rest
		}
		return r.appendNull(dst, "$-1\r\n"), rest
	}
	return appendLine(dst, tag, text), rest // '+', '-', ':'
}

func (r renderer) appendNull(dst []byte, old string) []byte {
	if r.proto == resp3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, old...)
}

func appendLine(dst []byte, tag byte, text []byte) []byte {
	dst = append(append(dst, tag), text...)
	return append(dst, '\r', '\n')
}

func appendHead(dst []byte, tag byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, tag), int64(n), 10)
	return append(dst, '\r', '\n')
}

func atoi(text []byte) int {
	n, ok := parseLen(text)
	if !ok {
		return 0
	}
	return int(n)
}
