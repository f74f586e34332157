package kv

import "encoding/binary"

// lcsOptions are what LCS accepts after the two keys.
type lcsOptions struct {
	length, idx, withMatchLen bool
	minMatchLen               int64
}

func (o *lcsOptions) parse(c *Ctx) bool {
	for i := 3; i < len(c.Args); i++ {
		switch opt := c.Args[i]; {
		case is(opt, "idx"):
			o.idx = true
		case is(opt, "len"):
			o.length = true
		case is(opt, "withmatchlen"):
			o.withMatchLen = true
		case is(opt, "minmatchlen") && i+1 < len(c.Args):
			n, ok := c.intArg(i + 1)
			if !ok {
				return false
			}
			o.minMatchLen = max(n, 0)
			i++
		default:
			c.syntaxError()
			return false
		}
	}
	if o.idx && o.length {
		c.Out.Error("ERR If you want both the length and indexes, please just use IDX.")
		return false
	}
	return true
}

// cmdLCS is LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]. Time and
// memory grow with the product of the lengths; proto-max-bulk-len bounds it.
func cmdLCS(c *Ctx) {
	v1, found1 := c.lookup(c.Args[1])
	v2, found2 := c.lookup(c.Args[2])
	if found1 && v1.Type != TypeString || found2 && v2.Type != TypeString {
		c.Out.Error("ERR The specified keys must contain string values")
		return
	}
	var o lcsOptions
	if !o.parse(c) {
		return
	}
	a, b := v1.str(), v2.str()
	if size := (int64(len(a)) + 1) * (int64(len(b)) + 1) * 4; size > c.settings().ProtoMaxBulkLen {
		c.Out.Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	c.work(len(a) * len(b) / 32)
	t := newLCSTable(a, b)
	switch {
	case o.length:
		c.Out.Int(int64(t.at(len(a), len(b))))
	case o.idx:
		t.replyMatches(c.Out, &o)
	default:
		c.Out.Bulk(t.walk(nil))
	}
}

// lcsTable holds, at (i, j), the length of the longest common subsequence of the
// first i bytes of a and the first j of b.
type lcsTable struct {
	a, b  []byte
	cells []byte // u32 each, row by row
}

func newLCSTable(a, b []byte) *lcsTable {
	t := &lcsTable{a: a, b: b, cells: make([]byte, 4*(len(a)+1)*(len(b)+1))}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			var n uint32
			if a[i-1] == b[j-1] {
				n = t.at(i-1, j-1) + 1
			} else {
				n = max(t.at(i-1, j), t.at(i, j-1))
			}
			binary.LittleEndian.PutUint32(t.cells[4*(i*(len(b)+1)+j):], n)
		}
	}
	return t
}

func (t *lcsTable) at(i, j int) uint32 {
	return binary.LittleEndian.Uint32(t.cells[4*(i*(len(t.b)+1)+j):])
}

// lcsMatch is one run of equal bytes: a[aFrom..aTo] equals b[bFrom..bTo].
type lcsMatch struct{ aFrom, aTo, bFrom, bTo int }

// walk goes back through the table and collects the subsequence and its runs, last
// one first, in the order Redis finds them.
func (t *lcsTable) walk(emit func(m lcsMatch)) (text []byte) {
	i, j := len(t.a), len(t.b)
	at := t.at(i, j)
	text = make([]byte, at)
	var m lcsMatch
	open := false
	flush := func() {
		if open && emit != nil {
			emit(m)
		}
		open = false
	}
	for i > 0 && j > 0 {
		if t.a[i-1] != t.b[j-1] {
			flush()
			if t.at(i-1, j) > t.at(i, j-1) {
				i--
			} else {
				j--
			}
			continue
		}
		at--
		text[at] = t.a[i-1]
		if !open {
			m, open = lcsMatch{aTo: i - 1, bTo: j - 1}, true
		}
		i--
		j--
		m.aFrom, m.bFrom = i, j
	}
	flush()
	return text
}

func (t *lcsTable) replyMatches(out *Reply, o *lcsOptions) {
	var matches []lcsMatch
	t.walk(func(m lcsMatch) {
		if int64(m.aTo-m.aFrom+1) >= o.minMatchLen {
			matches = append(matches, m)
		}
	})
	out.Map(2)
	out.BulkString("matches")
	out.Array(len(matches))
	for _, m := range matches {
		if o.withMatchLen {
			out.Array(3)
		} else {
			out.Array(2)
		}
		out.Array(2)
		out.Int(int64(m.aFrom))
		out.Int(int64(m.aTo))
		out.Array(2)
		out.Int(int64(m.bFrom))
		out.Int(int64(m.bTo))
		if o.withMatchLen {
			out.Int(int64(m.aTo - m.aFrom + 1))
		}
	}
	out.BulkString("len")
	out.Int(int64(t.at(len(t.a), len(t.b))))
}
