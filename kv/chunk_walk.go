package kv

import "bytes"

// EachCommand calls fn for the chunk's commands in their order, with their full
// arguments; a transaction's EXEC itself is not one of them. args are valid during
// the call. It decodes what was encoded, so it is for the rare case only: a slow log.
func (c *Chunk) EachCommand(fn func(cmd *Command, args [][]byte)) {
	reads := c.Reads
	before := func(n int) {
		for len(reads) > 0 && reads[0].Before <= n {
			if lr := &reads[0]; lr.Cmd != nil {
				fn(lr.Cmd, lr.Args)
			}
			reads = reads[1:]
		}
	}
	var o op
	data := c.Ops
	for n := 0; n < c.NumOps; n++ {
		before(n)
		var err error
		if data, err = o.parse(data); err != nil {
			return
		}
		if o.cmd != nil {
			fn(o.cmd, o.args)
		}
	}
	before(c.NumOps)
}

// EachError calls fn for every error in the tape: top is the number of the top-level
// value it is or is in, element its place in that value if that is an aggregate, -1
// otherwise. line is the error with its '-', without the line end.
func (r *Reply) EachError(fn func(top, element int, line []byte)) {
	type level struct{ left, at int }
	var stack []level
	top := -1
	for b := r.b; len(b) > 0; {
		for len(stack) > 0 && stack[len(stack)-1].left == 0 {
			stack = stack[:len(stack)-1]
		}
		if len(stack) == 0 {
			top++
		} else {
			stack[len(stack)-1].left--
			stack[len(stack)-1].at++
		}
		end := bytes.IndexByte(b, '\n')
		if end < 2 {
			return
		}
		line, rest := b[:end-1], b[end+1:]
		switch n, _ := parseInt(line[1:]); line[0] {
		case '-':
			element := -1
			if len(stack) > 0 {
				element = stack[0].at - 1
			}
			fn(top, element, line)
		case '$', '=':
			if n+2 > int64(len(rest)) || n < 0 {
				return
			}
			rest = rest[n+2:]
		case '*', '~':
			stack = append(stack, level{left: int(n)})
		case '%', 'P', 'K':
			stack = append(stack, level{left: 2 * int(n)})
		}
		b = rest
	}
}
