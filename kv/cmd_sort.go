package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// SORT and SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...]
// [ASC|DESC] [ALPHA] [STORE destination].
var sortCommands = []Command{
	{Name: "sort", Group: "generic", Since: "1.0.0", Arity: -2, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Keys: sortKeys, Op: 92, Run: func(c *Ctx) { c.sort(false) },
		Summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result."},
	{Name: "sort_ro", Group: "generic", Since: "7.0.0", Arity: -2, Flags: FlagReadonly | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.sort(true) },
		Summary: "Returns the sorted elements of a list, a set, or a sorted set."},
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
	var elems [][]byte
	if q.native {
		elems = src.elements(first, n, q.desc)
	} else {
		o := sorter{q: &q, elems: src.elements(0, src.n, false)}
		if !o.weigh(c) {
			c.Out.Error("ERR One or more scores can't be converted into double")
			return
		}
		elems = o.sorted(first, n)
	}
	c.work(src.n + n*len(q.get))
	if q.store {
		c.storeSorted(elems, &q)
		return
	}
	c.Out.Array(len(elems) * max(len(q.get), 1))
	c.eachSorted(elems, &q, func(e []byte, found bool) {
		if found {
			c.Out.Bulk(e)
		} else {
			c.Out.Null()
		}
	})
}

// sortSource is the collection to sort: walk visits n elements from a rank on, or
// down, in its own order. A set has no order: desc does not turn it round.
type sortSource struct {
	n    int
	walk func(first, n int, desc bool, visit func(elem []byte))
}

func (c *Ctx) sortSource(v Value) sortSource {
	x := collection{c: c, key: c.Args[1], v: v, found: true}
	switch v.Type {
	case TypeList:
		l := listView{x}
		return sortSource{l.len(), func(first, n int, desc bool, visit func(elem []byte)) {
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
		return sortSource{z.len(), func(first, n int, desc bool, visit func(elem []byte)) {
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
		return sortSource{s.len(), func(first, n int, _ bool, visit func(elem []byte)) {
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
	return sortSource{0, func(int, int, bool, func([]byte)) {}}
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

// sorter sorts elements by their keys.
type sorter struct {
	q     *sortQuery
	elems [][]byte
	keys  []sortKey
	// texts are what ALPHA orders by: the elements, or what BY names for them, nil
	// where it names nothing.
	texts [][]byte
}

// sortKey stands for an element where it is compared and moved: most comparisons need
// no more, and moving it is cheaper than moving texts.
type sortKey struct {
	// weight is in the order of the numbers, or the first bytes of the text.
	weight uint64
	at     int // in elems
}

// weigh finds what the elements are ordered by; false if a number is none.
func (o *sorter) weigh(c *Ctx) bool {
	o.keys = make([]sortKey, len(o.elems))
	if o.texts = o.elems; o.q.by != nil && o.q.alpha {
		o.texts = make([][]byte, len(o.elems))
	}
	var kept byteStore
	sound := true
	for i, text := range o.elems {
		found := true
		if o.q.by != nil {
			text, found = c.byPattern(o.q.by, text)
		}
		weight := 0.0
		switch {
		case o.q.alpha && o.q.by != nil && found:
			text = kept.clone(text)
			o.texts[i] = text
		case !o.q.alpha && found:
			var ok bool
			weight, ok = parseWeight(text)
			sound = sound && ok
		}
		o.keys[i] = sortKey{encodeScore(weight), i}
		if o.q.alpha {
			o.keys[i].weight = textWeight(text)
		}
	}
	return sound
}

// textWeight is the first eight bytes, as if zeros followed the text.
func textWeight(text []byte) uint64 {
	var head [8]byte
	copy(head[:], text)
	return binary.BigEndian.Uint64(head[:])
}

// sorted is n of the elements in order, from the first on.
func (o *sorter) sorted(first, n int) [][]byte {
	if end := first + n; end < len(o.keys)/8 {
		o.smallest(end)
	}
	slices.SortFunc(o.keys, o.compare)
	result := make([][]byte, n)
	for i, k := range o.keys[first : first+n] {
		result[i] = o.elems[k.at]
	}
	return result
}

// smallest drops all keys but the n that come first: each of the others is mostly
// only compared with the last of those so far, the top of a heap.
func (o *sorter) smallest(n int) {
	if n == 0 {
		o.keys = nil
		return
	}
	top := o.keys[:n]
	for i := n/2 - 1; i >= 0; i-- {
		o.siftDown(top, i)
	}
	for _, k := range o.keys[n:] {
		if o.compare(k, top[0]) < 0 {
			top[0] = k
			o.siftDown(top, 0)
		}
	}
	o.keys = top
}

func (o *sorter) siftDown(top []sortKey, i int) {
	for {
		kid := 2*i + 1
		if kid >= len(top) {
			return
		}
		if kid+1 < len(top) && o.compare(top[kid], top[kid+1]) < 0 {
			kid++
		}
		if o.compare(top[i], top[kid]) >= 0 {
			return
		}
		top[i], top[kid] = top[kid], top[i]
		i = kid
	}
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

// parseWeight reads a number as strtod does: nothing at all is 0, and blanks in
// front are passed over.
func parseWeight(b []byte) (float64, bool) {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end] // strtod ends there
	}
	if len(b) == 0 {
		return 0, true
	}
	if n, ok := parseInt(b); ok && n > -1<<53 && n < 1<<53 {
		return float64(n), true
	}
	return parseFloat(bytes.TrimLeft(b, " \t\n\v\f\r"))
}

// compare orders two keys. Equal weights are ordered by the elements, then by their
// place in the source, so that the result depends on the contents alone.
func (o *sorter) compare(a, b sortKey) int {
	c := cmp.Compare(a.weight, b.weight)
	if c == 0 && o.q.alpha {
		c = compareTexts(o.texts[a.at], o.texts[b.at])
	} else if c == 0 {
		c = bytes.Compare(o.elems[a.at], o.elems[b.at])
	}
	switch {
	case c == 0:
		return cmp.Compare(a.at, b.at)
	case o.q.desc:
		return -c
	}
	return c
}

// compareTexts has what BY did not find in front of all texts.
func compareTexts(a, b []byte) int {
	if a == nil || b == nil {
		switch {
		case a != nil:
			return 1
		case b != nil:
			return -1
		}
		return 0
	}
	return bytes.Compare(a, b)
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

// eachSorted calls fn for every value of the result; found is whether there is one.
func (c *Ctx) eachSorted(elems [][]byte, q *sortQuery, fn func(e []byte, found bool)) {
	for _, e := range elems {
		if len(q.get) == 0 {
			fn(e, true)
		}
		for _, pattern := range q.get {
			fn(c.byPattern(pattern, e))
		}
	}
}

// storeSorted makes the result the destination's list; missing values are empty.
func (c *Ctx) storeSorted(elems [][]byte, q *sortQuery) {
	result := elems
	if len(q.get) > 0 {
		var kept byteStore
		result = make([][]byte, 0, len(elems)*len(q.get))
		c.eachSorted(elems, q, func(e []byte, _ bool) { result = append(result, kept.clone(e)) })
	}
	l := listView{c.newCollection(q.dest, TypeList)}
	if len(result) > 0 {
		l.push(result, false)
	}
	l.replaceKey("sortstore", len(result))
	c.Out.Int(int64(len(result)))
}
