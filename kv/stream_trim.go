package kv

// streamTrim is how XADD and XTRIM shorten a stream.
type streamTrim struct {
	by     streamTrimBy
	maxLen int64
	minID  streamID
	// approx: whole nodes only, and of them no more than limit entries (0: any number).
	approx bool
	limit  int64
}

type streamTrimBy uint8

const (
	trimNothing streamTrimBy = iota
	trimMaxLen
	trimMinID
)

// streamTrimArgs are the options of XADD (up to and including the ID) and of XTRIM.
type streamTrimArgs struct {
	streamTrim
	noMkStream bool
	// id is XADD's if idGiven; else it was *, or missing.
	id      streamIDText
	idGiven bool
	// next is the argument after the options and the ID.
	next int
	// limitGiven: LIMIT was there.
	limitGiven bool
}

// streamTrimArgs reads the options from argument 2 on. If ok is false the error was
// replied.
func (c *Ctx) streamTrimArgs(xadd bool) (a streamTrimArgs, ok bool) {
	i := 2
	for done := false; i < len(c.Args) && !done; i++ {
		arg, more := c.Args[i], i+1 < len(c.Args)
		switch {
		case xadd && len(arg) == 1 && arg[0] == '*':
			done = true
		case more && is(arg, "maxlen"), more && is(arg, "minid"):
			if i, ok = a.strategy(c, i); !ok {
				return a, false
			}
		case more && is(arg, "limit"):
			i++
			if a.limit, ok = c.intArg(i); !ok {
				return a, false
			}
			if a.limit < 0 {
				c.Out.Error("ERR The LIMIT argument must be >= 0.")
				return a, false
			}
			a.limitGiven = true
		case xadd && is(arg, "nomkstream"):
			a.noMkStream = true
		case xadd:
			if a.id, ok = parseStreamIDText(arg, 0, true); !ok {
				c.Out.Error(errStreamID)
				return a, false
			}
			a.idGiven, done = true, true
		default:
			c.syntaxError()
			return a, false
		}
	}
	a.next = i
	return a, a.check(c, xadd)
}

// strategy reads MAXLEN|MINID [=|~] threshold from argument i on and returns the
// index of the threshold.
func (a *streamTrimArgs) strategy(c *Ctx, i int) (at int, ok bool) {
	if a.by != trimNothing {
		c.Out.Error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
		return i, false
	}
	a.by = trimMaxLen
	if is(c.Args[i], "minid") {
		a.by = trimMinID
	}
	a.approx = false
	i++
	if sign := c.Args[i]; i+1 < len(c.Args) && len(sign) == 1 && (sign[0] == '~' || sign[0] == '=') {
		a.approx = sign[0] == '~'
		i++
	}
	if a.by == trimMinID {
		a.minID, ok = c.streamIDArg(i)
		return i, ok
	}
	if a.maxLen, ok = c.intArg(i); ok && a.maxLen < 0 {
		c.Out.Error("ERR The MAXLEN argument must be >= 0.")
		return i, false
	}
	return i, ok
}

// check judges the options together and sets the limit that ~ has by default.
func (a *streamTrimArgs) check(c *Ctx, xadd bool) bool {
	switch {
	case a.limit != 0 && a.by == trimNothing:
		c.Out.Error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
		return false
	case !xadd && a.by == trimNothing:
		c.Out.Error("ERR syntax error, XTRIM must be called with a trimming strategy")
		return false
	case a.limitGiven && !a.approx:
		c.Out.Error("ERR syntax error, LIMIT cannot be used without the special ~ option")
		return false
	case !a.limitGiven && a.approx:
		a.limit = 100 * c.settings().StreamNodeMaxEntries
		if a.limit <= 0 {
			a.limit = 10_000
		}
		a.limit = min(a.limit, 1_000_000)
	}
	return true
}

// trim removes entries from the head and returns how many. saveHead must follow. What ~
// and LIMIT remove is decided by nodes, as in Redis: no part of one goes, and none that
// would take more entries along than the limit.
func (s *streamView) trim(how *streamTrim) (removed int) {
	removed = s.surplus(how)
	if how.limit > 0 {
		removed = int(min(int64(removed), how.limit))
	}
	nodes, part := s.nodesBefore(removed)
	if how.approx {
		removed, part = removed-part, 0
	}
	if removed == 0 {
		return 0
	}
	if removed == s.len() {
		s.head.tail = streamTail{}
	}
	s.cutHead(removed, nodes, part)
	s.c.work(removed)
	return removed
}

// surplus is how many entries are beyond what may stay.
func (s *streamView) surplus(how *streamTrim) int {
	switch how.by {
	case trimMaxLen:
		return int(max(int64(s.len())-how.maxLen, 0))
	case trimMinID:
		return s.rank(how.minID)
	}
	return 0
}

// nodesBefore is how many nodes the first entries fill, and how many entries are left
// over, which are a part of the next.
func (s *streamView) nodesBefore(entries int) (nodes, part int) {
	end := s.len()
	if node, _ := nodeAt(s.firstNode()); node.closed {
		end = s.rank(node.end)
	}
	if entries < end { // so it is when a stream is kept short
		return 0, entries
	}
	t2 := s.object().t2
	first, _ := t2.rank([]byte{streamNodes})
	it := s.object().t.seekRank(entries)
	if !it.valid() {
		return s.countBelow([]byte{streamNodes}, []byte{streamNodes + 1}), 0
	}
	node, _ := s.nodeOf(readStreamID(it.key()))
	var key [1 + streamIDSize]byte
	nodes, _ = t2.rank(appendNodeKey(key[:0], node.id))
	return nodes - first, entries - s.rank(node.id)
}

// cutHead removes the first entries, which are those of some nodes and a part of the
// next.
func (s *streamView) cutHead(entries, nodes, part int) {
	o := s.mutable()
	first, _ := o.t2.rank([]byte{streamNodes})
	o.t2.delRange(first, first+nodes)
	if part == 0 {
		o.t.delRange(0, entries)
		return
	}
	// Counting the part walks from the node's first entry on: while it is there.
	o.t.delRange(0, entries-part)
	node, _ := nodeAt(s.firstNode())
	_, size := s.nodeEntries(&node, part)
	o.t.delRange(0, part)
	s.bury(&node, part, size)
}
