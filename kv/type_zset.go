package kv

import "math"

// The sorted set commands (https://redis.io/docs/latest/commands/?group=sorted-set).
// Ranges are in zset_range.go, combinations in zset_combine.go.
var zsetCommands = []Command{
	{Name: "zadd", Group: "sorted-set", Since: "1.2.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 352, Run: cmdZAdd,
		Summary: "Adds members to a sorted set or changes their scores."},
	{Name: "zincrby", Group: "sorted-set", Since: "1.2.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 353, Run: cmdZIncrBy,
		Summary: "Adds to the score of a member; a missing one counts as 0."},
	{Name: "zrem", Group: "sorted-set", Since: "1.2.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 354, Run: cmdZRem,
		Summary: "Removes members; the sorted set goes with its last one."},
	{Name: "zpopmin", Group: "sorted-set", Since: "5.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 355, Run: func(c *Ctx) { zpop(c, false) },
		Summary: "Takes the members with the lowest scores."},
	{Name: "zpopmax", Group: "sorted-set", Since: "5.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 356, Run: func(c *Ctx) { zpop(c, true) },
		Summary: "Takes the members with the highest scores."},
	{Name: "zmpop", Group: "sorted-set", Since: "7.0.0", Arity: -4, Flags: FlagWrite | FlagMovableKeys,
		Op: 357, Run: cmdZMPop, Keys: numKeysAt1,
		Summary: "Takes the lowest or highest members of the first sorted set that has some."},
	{Name: "zremrangebyrank", Group: "sorted-set", Since: "2.0.0", Arity: 4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 358, Run: func(c *Ctx) { zremRange(c, byRank) },
		Summary: "Removes the members between two places."},
	{Name: "zremrangebyscore", Group: "sorted-set", Since: "1.2.0", Arity: 4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 359, Run: func(c *Ctx) { zremRange(c, byScore) },
		Summary: "Removes the members between two scores."},
	{Name: "zremrangebylex", Group: "sorted-set", Since: "2.8.9", Arity: 4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 360, Run: func(c *Ctx) { zremRange(c, byLex) },
		Summary: "Removes the members between two texts, among members of one score."},
	{Name: "zrangestore", Group: "sorted-set", Since: "6.2.0", Arity: -5, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 361, Run: cmdZRangeStore,
		Summary: "ZRANGE whose result becomes a sorted set."},
	{Name: "zunionstore", Group: "sorted-set", Since: "2.0.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 362, Run: func(c *Ctx) { zstore(c, zunite) }, Keys: destAndNumKeys,
		Summary: "ZUNION whose result becomes a sorted set."},
	{Name: "zinterstore", Group: "sorted-set", Since: "2.0.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 363, Run: func(c *Ctx) { zstore(c, zintersect) }, Keys: destAndNumKeys,
		Summary: "ZINTER whose result becomes a sorted set."},
	{Name: "zdiffstore", Group: "sorted-set", Since: "6.2.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 364, Run: func(c *Ctx) { zstore(c, zsubtract) }, Keys: destAndNumKeys,
		Summary: "ZDIFF whose result becomes a sorted set."},

	{Name: "zscore", Group: "sorted-set", Since: "1.2.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdZScore,
		Summary: "Tells the score of a member."},
	{Name: "zmscore", Group: "sorted-set", Since: "6.2.0", Arity: -3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdZMScore,
		Summary: "Tells the scores of several members."},
	{Name: "zcard", Group: "sorted-set", Since: "1.2.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdZCard,
		Summary: "Counts the members of a sorted set."},
	{Name: "zrank", Group: "sorted-set", Since: "2.0.0", Arity: -3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrank(c, false) },
		Summary: "Tells a member's place, the lowest score first."},
	{Name: "zrevrank", Group: "sorted-set", Since: "2.0.0", Arity: -3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrank(c, true) },
		Summary: "Tells a member's place, the highest score first."},
	{Name: "zrange", Group: "sorted-set", Since: "1.2.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{anyKind: true, anyDirection: true}) },
		Summary: "Reads a range of a sorted set, by place, score or text."},
	{Name: "zrevrange", Group: "sorted-set", Since: "1.2.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{rev: true}) },
		Summary: "Reads the members between two places, the highest score first."},
	{Name: "zrangebyscore", Group: "sorted-set", Since: "1.0.5", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{kind: byScore}) },
		Summary: "Reads the members between two scores."},
	{Name: "zrevrangebyscore", Group: "sorted-set", Since: "2.2.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{kind: byScore, rev: true}) },
		Summary: "ZRANGEBYSCORE from the highest score to the lowest."},
	{Name: "zrangebylex", Group: "sorted-set", Since: "2.8.9", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{kind: byLex}) },
		Summary: "Reads the members between two texts, among members of one score."},
	{Name: "zrevrangebylex", Group: "sorted-set", Since: "2.8.9", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zrange(c, zrangeForm{kind: byLex, rev: true}) },
		Summary: "ZRANGEBYLEX from the last text to the first."},
	{Name: "zcount", Group: "sorted-set", Since: "2.0.0", Arity: 4, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zcount(c, byScore) },
		Summary: "Counts the members between two scores."},
	{Name: "zlexcount", Group: "sorted-set", Since: "2.8.9", Arity: 4, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { zcount(c, byLex) },
		Summary: "Counts the members between two texts, among members of one score."},
	{Name: "zscan", Group: "sorted-set", Since: "2.8.0", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdZScan,
		Summary: "Goes through a sorted set in steps."},
	{Name: "zrandmember", Group: "sorted-set", Since: "6.2.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdZRandMember,
		Summary: "Picks members of a sorted set by chance."},
	{Name: "zunion", Group: "sorted-set", Since: "6.2.0", Arity: -3, Flags: FlagReadonly | FlagMovableKeys,
		Run: func(c *Ctx) { zcombine(c, zunite) }, Keys: numKeysAt1,
		Summary: "Lists the members that any of the sorted sets has, their scores combined."},
	{Name: "zinter", Group: "sorted-set", Since: "6.2.0", Arity: -3, Flags: FlagReadonly | FlagMovableKeys,
		Run: func(c *Ctx) { zcombine(c, zintersect) }, Keys: numKeysAt1,
		Summary: "Lists the members that all the sorted sets have, their scores combined."},
	{Name: "zdiff", Group: "sorted-set", Since: "6.2.0", Arity: -3, Flags: FlagReadonly | FlagMovableKeys,
		Run: func(c *Ctx) { zcombine(c, zsubtract) }, Keys: numKeysAt1,
		Summary: "Lists the members of the first sorted set that no other has."},
	{Name: "zintercard", Group: "sorted-set", Since: "7.0.0", Arity: -3, Flags: FlagReadonly | FlagMovableKeys,
		Run: cmdZInterCard, Keys: numKeysAt1,
		Summary: "Counts the members that all the sorted sets have, up to a limit."},
}

// cmdZAdd is ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...].
func cmdZAdd(c *Ctx) { zadd(c, zaddFlags{}) }

// cmdZIncrBy is ZINCRBY key increment member. (An increment named like a flag of
// ZADD is taken for one, as in Redis, and a syntax error follows.)
func cmdZIncrBy(c *Ctx) { zadd(c, zaddFlags{incr: true}) }

type zaddFlags struct{ nx, xx, gt, lt, ch, incr bool }

func (f *zaddFlags) take(arg []byte) bool {
	switch {
	case is(arg, "nx"):
		f.nx = true
	case is(arg, "xx"):
		f.xx = true
	case is(arg, "gt"):
		f.gt = true
	case is(arg, "lt"):
		f.lt = true
	case is(arg, "ch"):
		f.ch = true
	case is(arg, "incr"):
		f.incr = true
	default:
		return false
	}
	return true
}

// check replies what is wrong with the flags and the score member pairs.
func (f *zaddFlags) check(c *Ctx, pairs [][]byte) (ok bool) {
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		c.syntaxError()
	case f.nx && f.xx:
		c.Out.Error("ERR XX and NX options at the same time are not compatible")
	case f.gt && f.nx || f.lt && f.nx || f.gt && f.lt:
		c.Out.Error("ERR GT, LT, and/or NX options at the same time are not compatible")
	case f.incr && len(pairs) > 2:
		c.Out.Error("ERR INCR option supports a single increment-element pair")
	default:
		return true
	}
	return false
}

func zadd(c *Ctx, f zaddFlags) {
	at := 2
	for at < len(c.Args) && f.take(c.Args[at]) {
		at++
	}
	pairs := c.Args[at:]
	if !f.check(c, pairs) {
		return
	}
	var few [8]float64
	scores := few[:0]
	longest := 0
	for i := 0; i < len(pairs); i += 2 {
		s, ok := parseFloat(pairs[i])
		if !ok {
			c.Out.Error(errNotFloat)
			return
		}
		scores = append(scores, s)
		longest = max(longest, len(pairs[i+1]))
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	if f.incr {
		z.increment(f, scores[0], pairs[1])
		return
	}
	if !z.found && f.xx {
		c.Out.Int(0)
		return
	}
	z.expect(len(scores), longest)
	added, updated := 0, 0
	for i, score := range scores {
		switch z.add(f, score, pairs[2*i+1]) {
		case zaddAdded:
			added++
		case zaddUpdated:
			updated++
		}
	}
	z.save(z.len())
	if added+updated > 0 {
		c.touched("zadd", c.Args[1])
	}
	if f.ch {
		added += updated
	}
	c.Out.Int(int64(added))
}

type zaddResult int

const (
	zaddNothing zaddResult = iota
	zaddAdded
	zaddUpdated
)

// add adds one member or updates its score, as the flags allow.
func (z *zsetView) add(f zaddFlags, score float64, member []byte) zaddResult {
	old, exists := z.score(member)
	switch {
	case !exists && f.xx, exists && !f.allows(score, old), exists && score == old:
		return zaddNothing
	}
	z.put(member, score, old, exists)
	if exists {
		return zaddUpdated
	}
	return zaddAdded
}

// allows reports whether an existing member may get a new score.
func (f *zaddFlags) allows(score, old float64) bool {
	return !f.nx && (!f.gt || score > old) && (!f.lt || score < old)
}

// increment is ZINCRBY and ZADD INCR: it replies the new score, or null if the
// flags forbid it.
func (z *zsetView) increment(f zaddFlags, incr float64, member []byte) {
	old, exists := z.score(member)
	score := old + incr
	switch {
	case exists && f.nx, !exists && f.xx:
		z.c.Out.Null()
		return
	case math.IsNaN(score):
		z.c.Out.Error("ERR resulting score is not a number (NaN)")
		return
	case exists && !f.allows(score, old):
		z.c.Out.Null()
		return
	}
	if !exists || score != old {
		z.put(member, score, old, exists)
		z.save(z.len())
		z.c.touched("zincr", z.key)
	}
	z.c.Out.Double(score)
}

// cmdZRem is ZREM key member [member ...].
func cmdZRem(c *Ctx) {
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	removed, left := 0, z.len()
	for _, member := range c.Args[2:] {
		if score, exists := z.score(member); exists {
			z.remove(member, score)
			removed++
			left--
		}
	}
	if removed > 0 {
		z.save(left)
		c.touchedRemoving("zrem", c.Args[1], left)
	}
	c.Out.Int(int64(removed))
}

// zpop is ZPOPMIN, ZPOPMAX key [count].
func zpop(c *Ctx, max bool) {
	if len(c.Args) > 3 {
		c.syntaxError()
		return
	}
	single, count := len(c.Args) == 2, 1
	if !single {
		var ok bool
		if count, ok = c.positiveArg(2); !ok {
			return
		}
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	count = min(count, z.len())
	switch {
	case count == 0:
		c.Out.Array(0)
	case single:
		c.Out.Array(2)
		z.popTo(c.Out, 1, max, false)
	default:
		c.Out.Pairs(count)
		z.popTo(c.Out, count, max, false)
	}
}

// popTo takes count > 0 members off an end, appends them to out in the order they
// are popped, each with its score (as an array of two if nested), and saves.
func (z *zsetView) popTo(out *Reply, count int, max, nested bool) {
	n := z.len()
	lo, hi := 0, count
	if max {
		lo, hi = n-count, n
	}
	z.walk(lo, hi, max, func(member []byte, score float64) bool {
		if nested {
			out.Array(2)
		}
		out.Bulk(member)
		out.Double(score)
		return true
	})
	z.removeRange(lo, hi)
	z.save(n - count)
	z.c.touchedRemoving(endName(max, "zpopmax", "zpopmin"), z.key, n-count)
}

// cmdZMPop is ZMPOP numkeys key [key ...] MIN|MAX [COUNT count].
func cmdZMPop(c *Ctx) {
	keys, where, count, ok := c.mpopArgs(1, "min", "max")
	if !ok {
		return
	}
	for _, key := range keys {
		z, ok := c.openZSet(key)
		if !ok {
			return
		}
		if !z.found {
			continue
		}
		z.mpopTo(c.Out, count, where == 1)
		return
	}
	c.Out.NullArray()
}

// mpopTo replies the key and up to count members taken off an end.
func (z *zsetView) mpopTo(out *Reply, count int, max bool) {
	count = min(count, z.len())
	out.Array(2)
	out.Bulk(z.key)
	out.Array(count)
	z.popTo(out, count, max, true)
}

// cmdZScore is ZSCORE key member.
func cmdZScore(c *Ctx) {
	if z, ok := c.openZSet(c.Args[1]); ok {
		z.replyScore(c.Args[2])
	}
}

// cmdZMScore is ZMSCORE key member [member ...].
func cmdZMScore(c *Ctx) {
	if z, ok := c.openZSet(c.Args[1]); ok {
		c.Out.Array(len(c.Args) - 2)
		for _, member := range c.Args[2:] {
			z.replyScore(member)
		}
	}
}

func (z *zsetView) replyScore(member []byte) {
	if score, exists := z.score(member); exists {
		z.c.Out.Double(score)
	} else {
		z.c.Out.Null()
	}
}

// cmdZCard is ZCARD key.
func cmdZCard(c *Ctx) {
	if z, ok := c.openZSet(c.Args[1]); ok {
		c.Out.Int(int64(z.len()))
	}
}

// zrank is ZRANK, ZREVRANK key member [WITHSCORE].
func zrank(c *Ctx, rev bool) {
	if len(c.Args) > 4 {
		c.wrongArgs()
		return
	}
	withScore := len(c.Args) == 4
	if withScore && !is(c.Args[3], "withscore") {
		c.syntaxError()
		return
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	rank, score, exists := z.rank(c.Args[2])
	if rev {
		rank = z.len() - 1 - rank
	}
	switch {
	case !exists && withScore:
		c.Out.NullArray()
	case !exists:
		c.Out.Null()
	case withScore:
		c.Out.Array(2)
		c.Out.Int(int64(rank))
		c.Out.Double(score)
	default:
		c.Out.Int(int64(rank))
	}
}

// cmdZScan is ZSCAN key cursor [MATCH pattern] [COUNT count].
func cmdZScan(c *Ctx) {
	scan, ok := c.scanCursor()
	if !ok {
		return
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok || !scan.options(z.found) {
		return
	}
	if z.isTree() {
		scan.tree(z.object().t2, func(key, val []byte) {
			scan.emit(hashedMember(key), appendDigits17(nil, readScore(val)))
		})
	} else {
		z.each(func(member []byte, score float64) bool {
			scan.emit(member, c.Out.appendPackedScore(nil, score))
			return true
		})
	}
	scan.reply()
}

// cmdZRandMember is ZRANDMEMBER key [count [WITHSCORES]].
func cmdZRandMember(c *Ctx) {
	d, ok := c.randomArgs("withscores")
	if !ok {
		return
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	c.replyRandom(d, z.len(), z.ranked(), func(score []byte) { c.Out.Double(readScore(score)) })
}
