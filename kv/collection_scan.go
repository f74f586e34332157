package kv

import (
	"encoding/binary"
)

// elementScan is one call of HSCAN, SSCAN or ZSCAN. A tree is walked in hash
// order and the cursor is a position in it, the top 52 bits of a hash, so it stays
// valid through changes, conversions, restarts and on other nodes. A packed
// collection is returned whole, as Redis does.
type elementScan struct {
	c       *Ctx
	cursor  uint64
	count   int
	pattern []byte // nil: all
	bare    bool   // HSCAN NOVALUES: the fields alone
	elems   [][]byte
	next    uint64
}

// cursorBits is the width of a cursor: clients keep it in a double.
const cursorBits = 52

// scanCursor reads the cursor of HSCAN and its kin. If ok is false the error was
// replied. The options follow by options, because Redis looks at the key first.
func (c *Ctx) scanCursor() (s *elementScan, ok bool) {
	cursor, ok := c.cursor(c.Args[2])
	if !ok {
		c.Out.Error("ERR invalid cursor")
		return nil, false
	}
	return &elementScan{c: c, cursor: cursor, count: 10}, true
}

// options reads [MATCH pattern] [COUNT count] [NOVALUES], unless the key is missing: then it
// replies that nothing is left. If ok is false something was replied.
func (s *elementScan) options(found bool) (ok bool) {
	c := s.c
	if !found {
		s.reply()
		return false
	}
	for i := 3; i < len(c.Args); i += 2 {
		switch {
		case is(c.Args[i], "novalues") && c.cmd.Name == "hscan":
			s.bare = true
			i--
		case is(c.Args[i], "novalues") && c.settings().RedisVersion >= redis74:
			c.Out.Error("ERR NOVALUES option can only be used in HSCAN")
			return false
		case i+1 < len(c.Args) && is(c.Args[i], "count"):
			n, ok := c.intArg(i + 1)
			if !ok {
				return false
			}
			if n < 1 {
				c.syntaxError()
				return false
			}
			s.count = int(n)
		case i+1 < len(c.Args) && is(c.Args[i], "match"):
			s.pattern = c.Args[i+1]
			if len(s.pattern) == 1 && s.pattern[0] == '*' {
				s.pattern = nil
			}
		default:
			c.syntaxError()
			return false
		}
	}
	return true
}

// emit takes an element, and what belongs to it, if the pattern matches. Both must
// stay valid until reply.
func (s *elementScan) emit(elem []byte, more ...[]byte) {
	if s.pattern != nil && !matchGlob(s.pattern, elem) {
		return
	}
	s.elems = append(s.elems, elem)
	if !s.bare {
		s.elems = append(s.elems, more...)
	}
}

// tree walks about count entries of a tree in hash order from the cursor. Entries
// of one cursor position are never torn apart.
func (s *elementScan) tree(t *tree, visit func(key, val []byte)) {
	if s.cursor>>cursorBits != 0 {
		return
	}
	var from [8]byte
	binary.BigEndian.PutUint64(from[:], s.cursor<<(64-cursorBits))
	last := uint64(1) << 63 // no position
	for it := t.seek(from[:]); it.valid(); it.next() {
		key := it.key()
		pos := hashPosition(key)
		if s.count <= 0 && pos != last {
			s.next = pos
			return
		}
		visit(key, it.val())
		s.count--
		last = pos
	}
}

// hashPosition is the cursor position of a key made by appendHashed.
func hashPosition(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key) >> (64 - cursorBits)
}

func (s *elementScan) reply() {
	s.c.Out.Array(2)
	s.c.Out.BulkString(string(appendUint(nil, s.next)))
	s.c.Out.Array(len(s.elems))
	for _, e := range s.elems {
		s.c.Out.Bulk(e)
	}
}
