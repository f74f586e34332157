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

// sortItem is an element with what it is ordered by.
type sortItem struct {
	elem, text []byte
	score      float64
	missing    bool // BY found nothing
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
	src := c.sortSource(v)
	first, n := q.window(src.n)
	items := make([]sortItem, 0, n)
	if q.native {
		src.copy(&items, first, n, q.desc)
	} else {
		src.copy(&items, 0, src.n, false)
		if !c.weigh(items, &q) {
			c.Out.Error("ERR One or more scores can't be converted into double")
			return
		}
		slices.SortStableFunc(items, q.compare)
		items = items[first : first+n]
	}
	c.work(src.n + n*len(q.get))
	if q.store {
		c.storeSorted(items, &q)
		return
	}
	c.Out.Array(len(items) * max(len(q.get), 1))
	c.eachSorted(items, &q, func(e []byte, found bool) {
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
			rank := 0
			eachElement(v, func(e []byte) {
				if rank >= first && rank < first+n {
					visit(e)
				}
				rank++
			})
		}}
	}
	return sortSource{0, func(int, int, bool, func([]byte)) {}}
}

// copy copies the elements: looking up what a pattern names may remove expired
// keys, and with that move the source's bytes.
func (src *sortSource) copy(items *[]sortItem, first, n int, desc bool) {
	src.walk(first, n, desc, func(e []byte) {
		*items = append(*items, sortItem{elem: bytes.Clone(e)})
	})
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

// weigh finds what the items are ordered by; false if a number is none.
func (c *Ctx) weigh(items []sortItem, q *sortQuery) bool {
	sound := true
	for i := range items {
		it := &items[i]
		it.text = it.elem
		if q.by != nil {
			found := false
			if it.text, found = c.byPattern(q.by, it.elem); !found {
				it.missing = true
				continue
			}
			it.text = bytes.Clone(it.text)
		}
		if !q.alpha {
			var ok bool
			it.score, ok = parseWeight(it.text)
			sound = sound && ok
		}
	}
	return sound
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
	return parseFloat(bytes.TrimLeft(b, " \t\n\v\f\r"))
}

// compare orders two items. Equal weights are ordered by the elements, so that the
// result depends on the contents alone.
func (q *sortQuery) compare(a, b sortItem) int {
	cmp := 0
	switch {
	case q.alpha && (a.missing || b.missing):
		if cmp = 0; a.missing != b.missing {
			cmp = 1
			if a.missing {
				cmp = -1
			}
		}
	case q.alpha:
		cmp = bytes.Compare(a.text, b.text)
	case a.score < b.score:
		cmp = -1
	case a.score > b.score:
		cmp = 1
	default:
		cmp = bytes.Compare(a.elem, b.elem)
	}
	if q.desc {
		return -cmp
	}
	return cmp
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

// eachSorted calls fn for every value of the result.
func (c *Ctx) eachSorted(items []sortItem, q *sortQuery, fn func(e []byte, found bool)) {
	for i := range items {
		if len(q.get) == 0 {
			fn(items[i].elem, true)
		}
		for _, pattern := range q.get {
			fn(c.byPattern(pattern, items[i].elem))
		}
	}
}

// storeSorted makes the result the destination's list; missing values are empty.
func (c *Ctx) storeSorted(items []sortItem, q *sortQuery) {
	var result [][]byte
	c.eachSorted(items, q, func(e []byte, _ bool) { result = append(result, bytes.Clone(e)) })
	l := listView{c.newCollection(q.dest, TypeList)}
	if len(result) > 0 {
		l.push(result, false)
	}
	l.replaceKey("sortstore", len(result))
	c.Out.Int(int64(len(result)))
}
