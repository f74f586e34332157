package kv

// zrangeKind is what the bounds of a range are.
type zrangeKind int8

const (
	byRank zrangeKind = iota
	byScore
	byLex
)

// zrangeForm is what the command's name says about its range.
type zrangeForm struct {
	kind         zrangeKind
	rev          bool
	anyKind      bool // BYSCORE and BYLEX are accepted
	anyDirection bool // REV is accepted
	store        bool // WITHSCORES is not accepted
}

// zrangeQuery is a parsed range.
type zrangeQuery struct {
	kind          zrangeKind
	rev           bool
	withScores    bool
	start, stop   int64      // byRank
	scores        scoreRange // byScore
	lexMin        lexBound   // byLex
	lexMax        lexBound
	offset, limit int64 // limit < 0: no limit
}

// zrange is ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count]
// [WITHSCORES] and the older commands for parts of it.
func zrange(c *Ctx, form zrangeForm) {
	q, ok := form.parse(c, c.Args[2:])
	if !ok {
		return
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	lo, hi := q.ranks(&z)
	if q.withScores {
		c.Out.Pairs(hi - lo)
	} else {
		c.Out.Array(hi - lo)
	}
	z.walk(lo, hi, q.rev, func(member []byte, score float64) bool {
		c.Out.Bulk(member)
		if q.withScores {
			c.Out.Double(score)
		}
		return true
	})
}

// cmdZRangeStore is ZRANGESTORE dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset
// count].
func cmdZRangeStore(c *Ctx) {
	form := zrangeForm{anyKind: true, anyDirection: true, store: true}
	q, ok := form.parse(c, c.Args[3:])
	if !ok {
		return
	}
	src, ok := c.openZSet(c.Args[2])
	if !ok {
		return
	}
	lo, hi := q.ranks(&src)
	c.work(hi - lo)
	dst := c.newZSet(c.Args[1])
	if src.isTree() && hi-lo > max(int(c.settings().ZSetMaxListpackEntries), src.len()/bulkShare) {
		dst.takeRange(&src, lo, hi)
	} else {
		if q.kind == byRank {
			dst.expect(hi-lo, 0)
		}
		src.walk(lo, hi, false, func(member []byte, score float64) bool {
			dst.put(member, score, 0, false)
			return true
		})
	}
	dst.replaceKey("zrangestore", hi-lo)
	c.Out.Int(int64(hi - lo))
}

// parse reads the bounds, args[0] and args[1], and the options after them. If ok
// is false the error was replied.
func (form zrangeForm) parse(c *Ctx, args [][]byte) (q zrangeQuery, ok bool) {
	q = zrangeQuery{kind: form.kind, rev: form.rev, limit: -1}
	hasLimit := false
	for i := 2; i < len(args); i++ {
		switch {
		case !form.store && is(args[i], "withscores"):
			q.withScores = true
		case is(args[i], "limit") && i+2 < len(args):
			if q.offset, q.limit, ok = c.limitArgs(args[i+1], args[i+2]); !ok {
				return q, false
			}
			hasLimit = q.limit != -1
			i += 2
		case form.anyDirection && is(args[i], "rev"):
			q.rev, form.anyDirection = true, false
		case form.anyKind && is(args[i], "bylex"):
			q.kind, form.anyKind = byLex, false
		case form.anyKind && is(args[i], "byscore"):
			q.kind, form.anyKind = byScore, false
		default:
			c.syntaxError()
			return q, false
		}
	}
	switch {
	case hasLimit && q.kind == byRank:
		c.Out.Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
		return q, false
	case q.withScores && q.kind == byLex:
		c.Out.Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
		return q, false
	}
	first, second := args[0], args[1]
	if q.rev && q.kind != byRank {
		first, second = second, first // REV takes the higher bound first
	}
	return q, q.bounds(c, first, second)
}

func (c *Ctx) limitArgs(offset, count []byte) (off, n int64, ok bool) {
	off, okOff := parseInt(offset)
	n, okN := parseInt(count)
	if !okOff || !okN {
		c.Out.Error(errNotInt)
		return 0, 0, false
	}
	return off, n, true
}

// bounds reads the two ends of the range; else it replies an error.
func (q *zrangeQuery) bounds(c *Ctx, min, max []byte) (ok bool) {
	switch q.kind {
	case byScore:
		if q.scores, ok = parseScoreRange(min, max); !ok {
			c.Out.Error("ERR min or max is not a float")
		}
	case byLex:
		if q.lexMin, q.lexMax, ok = parseLexRange(min, max); !ok {
			c.Out.Error("ERR min or max not valid string range item")
		}
	default:
		var ok2 bool
		q.start, ok = parseInt(min)
		q.stop, ok2 = parseInt(max)
		if ok = ok && ok2; !ok {
			c.Out.Error(errNotInt)
		}
	}
	return ok
}

// ranks is the range as ranks lo <= r < hi of z, its limit applied.
func (q *zrangeQuery) ranks(z *zsetView) (lo, hi int) {
	switch q.kind {
	case byScore:
		lo, hi = z.scoreRanks(q.scores)
	case byLex:
		lo, hi = z.lexRanks(q.lexMin, q.lexMax)
	default:
		n := z.len()
		lo, hi = rankRange(q.start, q.stop, n)
		if q.rev && lo < hi {
			lo, hi = n-hi, n-lo
		}
		return lo, hi
	}
	if q.offset < 0 || q.offset >= int64(hi-lo) {
		return 0, 0
	}
	take := hi - lo - int(q.offset)
	if q.limit >= 0 {
		take = int(min(int64(take), q.limit))
	}
	if q.rev {
		hi -= int(q.offset)
		return hi - take, hi
	}
	lo += int(q.offset)
	return lo, lo + take
}

// zcount is ZCOUNT, ZLEXCOUNT key min max.
func zcount(c *Ctx, kind zrangeKind) {
	q := zrangeQuery{kind: kind, limit: -1}
	if !q.bounds(c, c.Args[2], c.Args[3]) {
		return
	}
	if z, ok := c.openZSet(c.Args[1]); ok {
		lo, hi := q.ranks(&z)
		c.Out.Int(int64(hi - lo))
	}
}

// zremRange is ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX key min max.
func zremRange(c *Ctx, kind zrangeKind) {
	q := zrangeQuery{kind: kind, limit: -1}
	if !q.bounds(c, c.Args[2], c.Args[3]) {
		return
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	lo, hi := q.ranks(&z)
	if lo < hi {
		left := z.len() - (hi - lo)
		c.work(hi - lo)
		z.removeRange(lo, hi)
		z.save(left)
		c.touchedRemoving(c.cmd.Name, c.Args[1], left)
	}
	c.Out.Int(int64(hi - lo))
}
