package kv

import (
	"bytes"
	"slices"
)

// SORT and SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...]
// [ASC|DESC] [ALPHA] [STORE destination].
var sortCommands = []Command{
	{Name: "sort", Group: "generic", Since: "1.0.0", Arity: -2, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Keys: sortKeys, Op: 92, Run: func(c *Ctx) { c.sort(false) },
		Summary: "Puts a list, a set or a sorted set in order; may keep the result under a key."},
	{Name: "sort_ro", Group: "generic", Since: "7.0.0", Arity: -2, Flags: FlagReadonly | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.sort(true) },
		Summary: "Puts a list, a set or a sorted set in order."},
}

// sortKeys finds the source and, if there is one, the destination; the last counts.
func sortKeys(args [][]byte) (keys []int, ok bool) {
	keys = []int{1}
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "limit"):
			i += 2
		case is(args[i], "get"), is(args[i], "by"):
			i++
		case is(args[i], "store") && i+1 < len(args):
			keys = append(keys[:1], i+1)
		}
	}
	return keys, true
}

// sortQuery is a parsed SORT.
type sortQuery struct {
	desc, alpha bool
	by          []byte // nil: the elements themselves
	native      bool   // BY without a star: the source's own order
	offset      int64
	count       int64 // negative: no limit
	get         [][]byte
	dest        []byte
	store       bool
}

func (q *sortQuery) parse(c *Ctx, readOnly bool) (ok bool) {
	q.count = -1
	args := c.Args
	for i := 2; i < len(args); i++ {
		left := len(args) - i - 1
		switch opt := args[i]; {
		case is(opt, "asc"):
			q.desc = false
		case is(opt, "desc"):
			q.desc = true
		case is(opt, "alpha"):
			q.alpha = true
		case is(opt, "limit") && left >= 2:
			if q.offset, ok = c.intArg(i + 1); !ok {
				return false
			}
			if q.count, ok = c.intArg(i + 2); !ok {
				return false
			}
			i += 2
		case !readOnly && is(opt, "store") && left >= 1:
			i++
			q.dest, q.store = args[i], true
		case is(opt, "by") && left >= 1:
			i++
			q.by = args[i]
			q.native = q.native || bytes.IndexByte(q.by, '*') < 0
		case is(opt, "get") && left >= 1:
			i++
			q.get = append(q.get, args[i])
		default:
			c.syntaxError()
			return false
		}
	}
	return true
}

// sort is SORT and SORT_RO.
func (c *Ctx) sort(readOnly bool) {
	var q sortQuery
	if !q.parse(c, readOnly) {
		return
	}
	v, found := c.lookup(c.Args[1])
	if found && v.Type != TypeList && v.Type != TypeSet && v.Type != TypeZSet {
		c.wrongType()
		return
	}
	if q.native && v.Type == TypeSet && (q.store || c.script) {
		// A set has no order of its own that could be stored, or that scripts may rely on.
		q.native, q.alpha, q.by = false, true, nil
	}
	if v.Obj == nil {
		// Looking up what a pattern names may remove expired keys, and with that move
		// the source's bytes. A tree's nodes stay what they are.
		v.Bytes = bytes.Clone(v.Bytes)
	}
	src := c.sortSource(v)
	first, n := q.window(src.n)
	var next func() []byte
	if q.native {
		elems := src.elements(first, n, q.desc)
		next = func() (e []byte) {
			e, elems = elems[0], elems[1:]
			return e
		}
	} else {
		o := sorter{q: &q, src: &src}
		if !o.weigh(c) {
			c.Out.Error("ERR One or more scores can't be converted into double")
			return
		}
		o.sort(first, n)
		next = o.next
	}
	c.work(src.n + n*len(q.get))
	if q.store {
		c.storeSorted(n, next, &q)
		return
	}
	if src.t != nil && len(q.get) == 0 {
		c.Out.Grow(int(float64(src.t.root.size)*float64(n)/float64(src.n)) + n*bulkRoom)
	}
	c.Out.Array(n * max(len(q.get), 1))
	for range n {
		e := next()
		if len(q.get) == 0 {
			c.Out.Bulk(e)
		}
		for _, pattern := range q.get {
			if val, found := c.byPattern(pattern, e); found {
				c.Out.Bulk(val)
			} else {
				c.Out.Null()
			}
		}
	}
}

// sortSource is the collection to sort: walk visits n elements from a rank on, or
// down, in its own order. A set has no order: desc does not turn it round.
type sortSource struct {
	n    int
	walk func(first, n int, desc bool, visit func(elem []byte))
	// t is the tree that the elements are in, in that order: behind so many bytes of the
	// keys, or, if there are none, as values. nil: they are packed.
	t      *tree
	behind int
}

func (c *Ctx) sortSource(v Value) sortSource {
	x := collection{c: c, key: c.Args[1], v: v, found: true}
	switch v.Type {
	case TypeList:
		l := listView{x}
		return sortSource{n: l.len(), t: x.tree(), walk: func(first, n int, desc bool, visit func(elem []byte)) {
			next := func(_ int, e []byte) bool {
				visit(e)
				n--
				return n > 0
			}
			if n > 0 && desc {
				l.backward(l.len()-1-first, next)
			} else if n > 0 {
				l.forward(first, next)
			}
		}}
	case TypeZSet:
		z := zsetView{x}
		return sortSource{n: z.len(), t: x.tree(), behind: scoreSize, walk: func(first, n int, desc bool, visit func(elem []byte)) {
			lo := first
			if desc {
				lo = z.len() - first - n
			}
			z.walk(lo, lo+n, desc, func(member []byte, _ float64) bool {
				visit(member)
				return true
			})
		}}
	case TypeSet:
		s := setView{x}
		return sortSource{n: s.len(), t: x.tree(), behind: hashSize, walk: func(first, n int, _ bool, visit func(elem []byte)) {
			if v.Enc == EncIntset {
				for _, e := range intsetTexts(v.Bytes)[first : first+n] {
					visit(e)
				}
				return
			}
			rank := 0
			s.each(func(e []byte) bool {
				if rank >= first && rank < first+n {
					visit(e)
				}
				rank++
				return rank < first+n
			})
		}}
	}
	return sortSource{walk: func(int, int, bool, func([]byte)) {}}
}

// elements lists the elements, which alias the source.
func (src *sortSource) elements(first, n int, desc bool) [][]byte {
	elems := make([][]byte, 0, n)
	src.walk(first, n, desc, func(e []byte) { elems = append(elems, e) })
	return elems
}

// window is what LIMIT leaves of n elements.
func (q *sortQuery) window(n int) (first, length int) {
	first = int(min(max(q.offset, 0), int64(n)))
	length = n - first
	if q.count >= 0 {
		length = int(min(q.count, int64(length)))
	}
	return first, length
}

// byteStore keeps copies of many byte slices, in few pieces of memory, each twice as
// large as the one before: a short command takes little.
type byteStore struct{ piece []byte }

const (
	byteStoreFirst = 256
	byteStoreMost  = 32 << 10
)

// clone is a copy, never nil.
func (s *byteStore) clone(b []byte) []byte {
	if s.piece == nil || cap(s.piece)-len(s.piece) < len(b) {
		room := min(max(2*cap(s.piece), byteStoreFirst), byteStoreMost)
		s.piece = make([]byte, 0, max(room, len(b)))
	}
	from := len(s.piece)
	s.piece = append(s.piece, b...)
	return s.piece[from:len(s.piece):len(s.piece)]
}

// byPattern looks up what a pattern of BY or GET names for an element: "#" is the
// element itself, "key_*" a string, "key_*->field" a hash's field. The result is
// valid until the next lookup.
func (c *Ctx) byPattern(pattern, elem []byte) (val []byte, found bool) {
	if len(pattern) == 1 && pattern[0] == '#' {
		return elem, true
	}
	star := bytes.IndexByte(pattern, '*')
	if star < 0 {
		return nil, false
	}
	prefix, postfix := pattern[:star], pattern[star+1:]
	var field []byte
	if at := bytes.Index(postfix, []byte("->")); at >= 0 && at+2 < len(postfix) {
		postfix, field = postfix[:at], postfix[at+2:]
	}
	key := slices.Concat(prefix, elem, postfix)
	v, found := c.lookup(key)
	if found && field != nil && v.Type == TypeHash {
		h := hashView{collection: collection{c: c, key: key, v: v, found: true}}
		h.hideDue()
		return h.get(field)
	}
	if !found || field != nil || v.Type != TypeString {
		return nil, false
	}
	return v.str(), true
}

// storeSorted makes the result, of n elements, the destination's list; missing values are
// empty.
func (c *Ctx) storeSorted(n int, next func() []byte, q *sortQuery) {
	l := listView{c.newCollection(q.dest, TypeList)}
	left, pattern := n, 0
	var e []byte
	l.fill(func() (_, val []byte, ok bool) {
		if pattern == 0 {
			if left == 0 {
				return nil, nil, false
			}
			e = next()
			left--
		}
		if len(q.get) == 0 {
			return nil, e, true
		}
		val, _ = c.byPattern(q.get[pattern], e)
		pattern = (pattern + 1) % len(q.get)
		return nil, val, true
	})
	total := n * max(len(q.get), 1)
	l.replaceKey("sortstore", total)
	c.Out.Int(int64(total))
}
