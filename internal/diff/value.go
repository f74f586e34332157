package diff

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Value is a reply of RESP2 or RESP3.
type Value struct {
	Kind  byte // the type's first byte on the wire
	Text  string
	Null  bool
	Elems []Value // of a map, keys and values in turn
}

// maxBulk bounds what a reply may claim to hold.
const maxBulk = 512 << 20

// readValue reads one reply.
func readValue(r *bufio.Reader) (Value, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return Value{}, err
	}
	if len(line) < 3 {
		return Value{}, fmt.Errorf("a reply of %q", line)
	}
	v := Value{Kind: line[0], Text: strings.TrimRight(line[1:], "\r\n")}
	switch v.Kind {
	case '$', '=', '!':
		n, err := strconv.Atoi(v.Text)
		if err != nil || n > maxBulk {
			return v, fmt.Errorf("a length of %q", v.Text)
		}
		if n < 0 {
			v.Null, v.Text = true, ""
			return v, nil
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return v, err
		}
		v.Text = string(body[:n])
	case '*', '~', '%', '>', '|':
		n, err := strconv.Atoi(v.Text)
		if err != nil || n > maxBulk {
			return v, fmt.Errorf("a count of %q", v.Text)
		}
		v.Null, v.Text = n < 0, ""
		if v.Kind == '%' || v.Kind == '|' {
			n *= 2
		}
		for ; n > 0; n-- {
			e, err := readValue(r)
			if err != nil {
				return v, err
			}
			v.Elems = append(v.Elems, e)
		}
	case '+', '-', ':', ',', '#', '_', '(':
	default:
		return v, errors.New("a reply of an unknown type " + strconv.Quote(line))
	}
	return v, nil
}

// String is the value on one line; it tells all values apart.
func (v Value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v Value) write(b *strings.Builder) {
	b.WriteByte(v.Kind)
	switch {
	case v.Null:
		b.WriteString("null")
	case v.Elems != nil || strings.IndexByte("*~%>|", v.Kind) >= 0:
		b.WriteByte('[')
		for i, e := range v.Elems {
			if i > 0 {
				b.WriteByte(' ')
			}
			e.write(b)
		}
		b.WriteByte(']')
	case v.Kind == '$' || v.Kind == '=':
		b.WriteString(strconv.Quote(v.Text))
	default:
		b.WriteString(v.Text)
	}
}

// pairs are a map's (or, in RESP2, a flat array's) values by key.
func (v Value) pairs() map[string]Value { return v.fields() }

func (v Value) fields() map[string]Value {
	m := make(map[string]Value, len(v.Elems)/2)
	for i := 0; i+1 < len(v.Elems); i += 2 {
		m[v.Elems[i].Text] = v.Elems[i+1]
	}
	return m
}
