package kv

import (
	"bytes"
	"slices"
)

// The set commands (https://redis.io/docs/latest/commands/?group=set).
var setCommands = []Command{
	{Name: "sadd", Group: "set", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 304, Run: cmdSAdd,
		Summary: "Adds members to a set, a new one if need be."},
	{Name: "srem", Group: "set", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 305, Run: cmdSRem,
		Summary: "Removes members; the set goes with its last one."},
	{Name: "spop", Group: "set", Since: "1.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 306, Run: cmdSPop,
		Summary: "Takes members out of a set by chance; the key goes with the last one."},
	{Name: "smove", Group: "set", Since: "1.0.0", Arity: 4, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 307, Run: cmdSMove,
		Summary: "Takes a member out of one set and adds it to another."},
	{Name: "sinterstore", Group: "set", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 308, Run: func(c *Ctx) { storeSets(c, "sinterstore", intersect) },
		Summary: "SINTER whose result becomes a set."},
	{Name: "sunionstore", Group: "set", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 309, Run: func(c *Ctx) { storeSets(c, "sunionstore", unite) },
		Summary: "SUNION whose result becomes a set."},
	{Name: "sdiffstore", Group: "set", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Op: 310, Run: func(c *Ctx) { storeSets(c, "sdiffstore", subtract) },
		Summary: "SDIFF whose result becomes a set."},

	{Name: "smembers", Group: "set", Since: "1.0.0", Arity: 2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSMembers,
		Summary: "Lists the members of a set."},
	{Name: "sismember", Group: "set", Since: "1.0.0", Arity: 3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSIsMember,
		Summary: "Tells whether a set has a member."},
	{Name: "smismember", Group: "set", Since: "6.2.0", Arity: -3, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSMIsMember,
		Summary: "Tells of several members whether a set has them."},
	{Name: "scard", Group: "set", Since: "1.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSCard,
		Summary: "Counts the members of a set."},
	{Name: "srandmember", Group: "set", Since: "1.0.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSRandMember,
		Summary: "Picks members of a set by chance."},
	{Name: "sscan", Group: "set", Since: "2.8.0", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdSScan,
		Summary: "Goes through a set in steps."},
	{Name: "sinter", Group: "set", Since: "1.0.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: func(c *Ctx) { combineSets(c, intersect) },
		Summary: "Lists the members that all the sets have."},
	{Name: "sunion", Group: "set", Since: "1.0.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: func(c *Ctx) { combineSets(c, unite) },
		Summary: "Lists the members that any of the sets has."},
	{Name: "sdiff", Group: "set", Since: "1.0.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: -1, KeyStep: 1, Run: func(c *Ctx) { combineSets(c, subtract) },
		Summary: "Lists the members of the first set that no other has."},
	{Name: "sintercard", Group: "set", Since: "7.0.0", Arity: -3, Flags: FlagReadonly | FlagMovableKeys,
		Run: cmdSInterCard, Keys: numKeysAt1,
		Summary: "Counts the members that all the sets have, up to a limit."},
}

// cmdSAdd is SADD key member [member ...].
func cmdSAdd(c *Ctx) {
	s, ok := c.openSet(c.Args[1])
	if !ok {
		return
	}
	s.expect(c.Args[2:])
	added := 0
	for _, member := range c.Args[2:] {
		if s.add(member) {
			added++
		}
	}
	s.save(s.len())
	if added > 0 {
		c.touched("sadd", c.Args[1])
	}
	c.Out.Int(int64(added))
}

// cmdSRem is SREM key member [member ...].
func cmdSRem(c *Ctx) {
	s, ok := c.openSet(c.Args[1])
	if !ok {
		return
	}
	removed, left := 0, s.len()
	for _, member := range c.Args[2:] {
		if left > 0 && s.remove(member) {
			removed++
			left--
		}
	}
	if removed > 0 {
		s.save(left)
		c.touchedRemoving("srem", c.Args[1], left)
	}
	c.Out.Int(int64(removed))
}

// cmdSPop is SPOP key [count].
func cmdSPop(c *Ctx) {
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
	s, ok := c.openSet(c.Args[1])
	if !ok {
		return
	}
	n := s.len()
	count = min(count, n)
	switch {
	case single && n == 0:
		c.Out.Null()
		return
	case !single:
		c.Out.Set(count)
	}
	if count == 0 {
		return
	}
	if count == n {
		s.each(func(member []byte) bool { c.Out.Bulk(member); return true })
	} else {
		s.popRandom(count)
	}
	s.save(n - count)
	c.touchedRemoving("spop", c.Args[1], n-count)
}

// popRandom replies and removes count members, fewer than there are.
func (s *setView) popRandom(count int) {
	var buf [20]byte
	for n := s.len(); count > 0; count, n = count-1, n-1 {
		rank := s.c.rand(n)
		s.c.Out.Bulk(s.at(rank, buf[:]))
		s.removeAt(rank)
	}
}

// cmdSMove is SMOVE source destination member.
func cmdSMove(c *Ctx) {
	c.settle(c.Args[1:3])
	src, ok := c.openSet(c.Args[1])
	if !ok {
		return
	}
	if !src.found {
		c.Out.Int(0)
		return
	}
	if _, ok := c.openSet(c.Args[2]); !ok {
		return
	}
	member := c.Args[3]
	if bytes.Equal(c.Args[1], c.Args[2]) {
		c.Out.Bool(src.has(member))
		return
	}
	if !src.remove(member) {
		c.Out.Int(0)
		return
	}
	left := src.len()
	src.save(left)
	c.touchedRemoving("srem", c.Args[1], left)
	dst, _ := c.openSet(c.Args[2])
	dst.expect(c.Args[3:4])
	added := dst.add(member)
	dst.save(dst.len())
	if added {
		c.touched("sadd", c.Args[2])
	}
	c.Out.Int(1)
}

// cmdSMembers is SMEMBERS key.
func cmdSMembers(c *Ctx) {
	if s, ok := c.openSet(c.Args[1]); ok {
		s.growReply(0, s.len(), 0) // a member has its hash before it
		c.Out.Set(s.len())
		s.each(func(member []byte) bool { c.Out.Bulk(member); return true })
	}
}

// cmdSIsMember is SISMEMBER key member.
func cmdSIsMember(c *Ctx) {
	if s, ok := c.openSet(c.Args[1]); ok {
		c.Out.Bool(s.has(c.Args[2]))
	}
}

// cmdSMIsMember is SMISMEMBER key member [member ...].
func cmdSMIsMember(c *Ctx) {
	if s, ok := c.openSet(c.Args[1]); ok {
		c.Out.Array(len(c.Args) - 2)
		for _, member := range c.Args[2:] {
			c.Out.Bool(s.has(member))
		}
	}
}

// cmdSCard is SCARD key.
func cmdSCard(c *Ctx) {
	if s, ok := c.openSet(c.Args[1]); ok {
		c.Out.Int(int64(s.len()))
	}
}

// cmdSRandMember is SRANDMEMBER key [count].
func cmdSRandMember(c *Ctx) {
	d, ok := c.randomArgs("")
	if !ok {
		return
	}
	s, ok := c.openSet(c.Args[1])
	if !ok {
		return
	}
	c.replyRandom(d, s.len(), s.ranked(), nil)
}

// cmdSScan is SSCAN key cursor [MATCH pattern] [COUNT count].
func cmdSScan(c *Ctx) {
	scan, ok := c.scanCursor()
	if !ok {
		return
	}
	s, ok := c.openSet(c.Args[1])
	if !ok || !scan.options(s.found) {
		return
	}
	switch s.v.Enc {
	case EncTree:
		scan.tree(s.object().t, func(key, _ []byte) { scan.emit(hashedMember(key)) })
	case EncIntset:
		for _, member := range intsetTexts(s.v.Bytes) {
			scan.emit(member)
		}
	default:
		for _, member := range packedElems(s.v.Bytes) {
			scan.emit(member)
		}
	}
	scan.reply()
}

// A setOp visits the members of a combination of sets, each once, until visit
// returns false. A missing key is an empty set.
type setOp func(sets []setView, visit func(member []byte) bool)

// openSets opens all keys; WRONGTYPE is replied for the first that holds something
// else, whatever the others hold.
func (c *Ctx) openSets(keys [][]byte) (sets []setView, ok bool) {
	c.settle(keys)
	sets = make([]setView, len(keys))
	for i, key := range keys {
		if sets[i], ok = c.openSet(key); !ok {
			return nil, false
		}
	}
	for i := range sets {
		c.work(sets[i].len())
	}
	return sets, true
}

// combineSets is SINTER, SUNION, SDIFF key [key ...].
func combineSets(c *Ctx, op setOp) {
	sets, ok := c.openSets(c.Args[1:])
	if !ok {
		return
	}
	head, n := c.Out.beginLateSet(sets[0].len()), 0
	op(sets, func(member []byte) bool {
		c.Out.Bulk(member)
		n++
		return true
	})
	c.Out.endLate(head, n)
}

// storeSets is SINTERSTORE, SUNIONSTORE, SDIFFSTORE destination key [key ...].
func storeSets(c *Ctx, event string, op setOp) {
	sets, ok := c.openSets(c.Args[2:])
	if !ok {
		return
	}
	dst := c.newSet(c.Args[1])
	op(sets, func(member []byte) bool {
		dst.add(member)
		return true
	})
	n := dst.len()
	dst.replaceKey(event, n)
	c.Out.Int(int64(n))
}

// cmdSInterCard is SINTERCARD numkeys key [key ...] [LIMIT limit].
func cmdSInterCard(c *Ctx) {
	keys, limit, ok := c.interCardArgs()
	if !ok {
		return
	}
	sets, ok := c.openSets(keys)
	if !ok {
		return
	}
	n := 0
	intersect(sets, func([]byte) bool {
		n++
		return n != limit
	})
	c.Out.Int(int64(n))
}

// interCardArgs reads numkeys key [key ...] [LIMIT limit]; limit 0 is none.
func (c *Ctx) interCardArgs() (keys [][]byte, limit int, ok bool) {
	n, isInt := parseInt(c.Args[1])
	if !isInt || n <= 0 {
		c.Out.Error("ERR numkeys should be greater than 0")
		return nil, 0, false
	}
	if n > int64(len(c.Args)-2) {
		c.Out.Error("ERR Number of keys can't be greater than number of args")
		return nil, 0, false
	}
	for rest := c.Args[2+n:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 || !is(rest[0], "limit") {
			c.syntaxError()
			return nil, 0, false
		}
		v, isInt := parseInt(rest[1])
		if !isInt || v < 0 {
			c.Out.Error("ERR LIMIT can't be negative")
			return nil, 0, false
		}
		limit = int(v)
	}
	return c.Args[2 : 2+n], limit, true
}

// intersect walks the smallest set and asks the others, smallest first.
func intersect(sets []setView, visit func(member []byte) bool) {
	bySize := slices.Clone(sets)
	slices.SortStableFunc(bySize, func(a, b setView) int { return a.len() - b.len() })
	bySize[0].each(func(member []byte) bool {
		for i := range bySize[1:] {
			if !bySize[1+i].has(member) {
				return true
			}
		}
		return visit(member)
	})
}

// unite walks all sets and passes over what an earlier one held: no memory is
// needed for what was seen.
func unite(sets []setView, visit func(member []byte) bool) {
	for i := range sets {
		more := true
		sets[i].each(func(member []byte) bool {
			more = anyHas(sets[:i], member) || visit(member)
			return more
		})
		if !more {
			return
		}
	}
}

// subtract walks the first set and passes over what any other holds.
func subtract(sets []setView, visit func(member []byte) bool) {
	sets[0].each(func(member []byte) bool {
		return anyHas(sets[1:], member) || visit(member)
	})
}

func anyHas(sets []setView, member []byte) bool {
	for i := range sets {
		if sets[i].has(member) {
			return true
		}
	}
	return false
}
