package kv

import (
	"bytes"
	"math"
)

// The list commands (https://redis.io/docs/latest/commands/?group=list).
var listCommands = []Command{
	{Name: "lpush", Group: "list", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 240, Run: func(c *Ctx) { push(c, true, false) },
		Summary: "Adds elements at the head of a list, a new one if need be."},
	{Name: "rpush", Group: "list", Since: "1.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 241, Run: func(c *Ctx) { push(c, false, false) },
		Summary: "Adds elements at the tail of a list, a new one if need be."},
	{Name: "lpop", Group: "list", Since: "1.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 242, Run: func(c *Ctx) { pop(c, true) },
		Summary: "Takes elements from the head of a list; the key goes with the last one."},
	{Name: "rpop", Group: "list", Since: "1.0.0", Arity: -2, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 243, Run: func(c *Ctx) { pop(c, false) },
		Summary: "Takes elements from the tail of a list; the key goes with the last one."},
	{Name: "lpushx", Group: "list", Since: "2.2.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 244, Run: func(c *Ctx) { push(c, true, true) },
		Summary: "Adds elements at the head of a list that exists."},
	{Name: "rpushx", Group: "list", Since: "2.2.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 245, Run: func(c *Ctx) { push(c, false, true) },
		Summary: "Adds elements at the tail of a list that exists."},
	{Name: "lset", Group: "list", Since: "1.0.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 246, Run: cmdLSet,
		Summary: "Replaces the element at a place of a list."},
	{Name: "linsert", Group: "list", Since: "2.2.0", Arity: 5, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 247, Run: cmdLInsert,
		Summary: "Puts an element beside another one of a list."},
	{Name: "lrem", Group: "list", Since: "1.0.0", Arity: 4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 248, Run: cmdLRem,
		Summary: "Removes elements that equal a value; the key goes with the last one."},
	{Name: "ltrim", Group: "list", Since: "1.0.0", Arity: 4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 249, Run: cmdLTrim,
		Summary: "Keeps a range of a list and drops the rest."},
	{Name: "lmove", Group: "list", Since: "6.2.0", Arity: 5, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 250, Run: cmdLMove,
		Summary: "Takes an element from an end of one list and adds it to an end of another."},
	{Name: "rpoplpush", Group: "list", Since: "1.2.0", Arity: 3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 251, Run: func(c *Ctx) { moveElement(c, false, true) },
		Summary: "Takes the tail of one list and makes it the head of another."},
	{Name: "lmpop", Group: "list", Since: "7.0.0", Arity: -4, Flags: FlagWrite | FlagMovableKeys,
		Op: 252, Run: cmdLMPop, Keys: numKeysAt1,
		Summary: "Takes elements from an end of the first list that has some."},

	{Name: "lrange", Group: "list", Since: "1.0.0", Arity: 4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdLRange,
		Summary: "Reads the elements from one place of a list to another."},
	{Name: "llen", Group: "list", Since: "1.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdLLen,
		Summary: "Counts the elements of a list."},
	{Name: "lindex", Group: "list", Since: "1.0.0", Arity: 3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdLIndex,
		Summary: "Reads the element at a place of a list."},
	{Name: "lpos", Group: "list", Since: "6.0.6", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdLPos,
		Summary: "Finds the places of an element in a list."},
}

// push is LPUSH, RPUSH, LPUSHX, RPUSHX key element [element ...].
func push(c *Ctx, head, onlyIfExists bool) {
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if onlyIfExists && !l.found {
		c.Out.Int(0)
		return
	}
	l.push(c.Args[2:], head)
	n := l.len()
	l.save(n)
	c.touched(endName(head, "lpush", "rpush"), c.Args[1])
	c.Out.Int(int64(n))
}

// pop is LPOP, RPOP key [count].
func pop(c *Ctx, head bool) {
	if len(c.Args) > 3 {
		c.wrongArgs()
		return
	}
	single, count := len(c.Args) == 2, 1
	if !single {
		var ok bool
		if count, ok = c.positiveArg(2); !ok {
			return
		}
	}
	l, ok := c.openList(c.Args[1])
	switch {
	case !ok:
	case !l.found && single:
		c.Out.Null()
	case !l.found:
		c.Out.NullArray()
	case single:
		l.popTo(c.Out, 1, head)
	default:
		count = min(count, l.len())
		c.Out.Array(count)
		l.popTo(c.Out, count, head)
	}
}

// popTo takes count elements off an end, appends them to out in the order they
// are popped, saves the list and records the effect.
func (l *listView) popTo(out *Reply, count int, head bool) {
	if count == 0 {
		return
	}
	left := l.takeTo(out, count, head)
	l.c.touchedRemoving(endName(head, "lpop", "rpop"), l.key, left)
}

// takeTo is popTo without the effect; it returns how many elements are left.
func (l *listView) takeTo(out *Reply, count int, head bool) (left int) {
	n := l.len()
	switch {
	case count == 1 && head:
		out.Bulk(l.at(0))
	case count == 1:
		out.Bulk(l.at(n - 1))
	case head:
		l.forward(0, func(rank int, elem []byte) bool { out.Bulk(elem); return rank+1 < count })
	default:
		l.backward(n-1, func(rank int, elem []byte) bool { out.Bulk(elem); return rank > n-count })
	}
	if head {
		l.remove(0, count)
	} else {
		l.remove(n-count, n)
	}
	l.save(n - count)
	return n - count
}

func endName(head bool, left, right string) string {
	if head {
		return left
	}
	return right
}

// cmdLMPop is LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count].
func cmdLMPop(c *Ctx) {
	keys, where, count, ok := c.mpopArgs(1, "left", "right")
	if !ok {
		return
	}
	for _, key := range keys {
		l, ok := c.openList(key)
		if !ok {
			return
		}
		if !l.found {
			continue
		}
		l.mpopTo(c.Out, count, where == 0)
		return
	}
	c.Out.NullArray()
}

// mpopTo replies the key and up to count elements taken off an end.
func (l *listView) mpopTo(out *Reply, count int, head bool) {
	count = min(count, l.len())
	out.Array(2)
	out.Bulk(l.key)
	out.Array(count)
	l.popTo(out, count, head)
}

// cmdLRange is LRANGE key start stop.
func cmdLRange(c *Ctx) {
	start, stop, ok := c.rangeArgs(2)
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	lo, hi := rankRange(start, stop, l.len())
	l.growReply(lo, hi, bulkRoom)
	c.Out.Array(hi - lo)
	if lo < hi {
		l.forward(lo, func(rank int, elem []byte) bool { c.Out.Bulk(elem); return rank+1 < hi })
	}
}

// cmdLLen is LLEN key.
func cmdLLen(c *Ctx) {
	if l, ok := c.openList(c.Args[1]); ok {
		c.Out.Int(int64(l.len()))
	}
}

// cmdLIndex is LINDEX key index.
func cmdLIndex(c *Ctx) {
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.found {
		c.Out.Null()
		return
	}
	index, ok := c.intArg(2)
	if !ok {
		return
	}
	if rank, inside := rankOf(index, l.len()); inside {
		c.Out.Bulk(l.at(rank))
	} else {
		c.Out.Null()
	}
}

// cmdLSet is LSET key index element.
func cmdLSet(c *Ctx) {
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.found {
		c.Out.Error(errNoKey)
		return
	}
	index, ok := c.intArg(2)
	if !ok {
		return
	}
	rank, inside := rankOf(index, l.len())
	if !inside {
		c.Out.Error("ERR index out of range")
		return
	}
	l.set(rank, c.Args[3])
	l.save(l.len())
	c.touched("lset", c.Args[1])
	c.Out.OK()
}

// cmdLInsert is LINSERT key BEFORE|AFTER pivot element.
func cmdLInsert(c *Ctx) {
	after := is(c.Args[2], "after")
	if !after && !is(c.Args[2], "before") {
		c.syntaxError()
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.found {
		c.Out.Int(0)
		return
	}
	at := -1
	l.eachEqual(c.Args[3], func(rank int) bool {
		at = rank
		return false
	})
	if at < 0 {
		c.work(l.len())
		c.Out.Int(-1)
		return
	}
	c.work(at)
	if after {
		at++
	}
	l.insert(at, c.Args[4])
	n := l.len()
	l.save(n)
	c.touched("linsert", c.Args[1])
	c.Out.Int(int64(n))
}

// cmdLRem is LREM key count element.
func cmdLRem(c *Ctx) {
	count, ok := c.intArg(2)
	if !ok {
		return
	}
	if count == math.MinInt64 {
		c.Out.Error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	c.work(l.len())
	removed := 0
	if count < 0 {
		removed = l.removeEqual(c.Args[3], int(-count), true)
	} else {
		removed = l.removeEqual(c.Args[3], int(count), false)
	}
	if removed > 0 {
		left := l.len()
		l.save(left)
		c.touchedRemoving("lrem", c.Args[1], left)
	}
	c.Out.Int(int64(removed))
}

// cmdLTrim is LTRIM key start stop.
func cmdLTrim(c *Ctx) {
	start, stop, ok := c.rangeArgs(2)
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if l.found {
		n := l.len()
		lo, hi := rankRange(start, stop, n)
		l.remove(hi, n)
		l.remove(0, lo)
		l.save(hi - lo)
		c.touchedRemoving("ltrim", c.Args[1], hi-lo)
	}
	c.Out.OK()
}

// cmdLMove is LMOVE source destination LEFT|RIGHT LEFT|RIGHT.
func cmdLMove(c *Ctx) {
	from, okFrom := listEnd(c.Args[3])
	to, okTo := listEnd(c.Args[4])
	if !okFrom || !okTo {
		c.syntaxError()
		return
	}
	moveElement(c, from, to)
}

func listEnd(b []byte) (head, ok bool) {
	head = is(b, "left")
	return head, head || is(b, "right")
}

// moveElement is LMOVE and RPOPLPUSH source destination.
func moveElement(c *Ctx, fromHead, toHead bool) {
	c.settle(c.Args[1:3])
	src, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !src.found {
		c.Out.Null()
		return
	}
	if _, ok := c.openList(c.Args[2]); !ok {
		return
	}
	if src.len() == 1 && bytes.Equal(c.Args[1], c.Args[2]) {
		// Moved onto itself: the key must not come and go, its expiry would be lost.
		c.Out.Bulk(src.at(0))
		c.touched(endName(toHead, "lpush", "rpush"), c.Args[1])
		c.touched(endName(fromHead, "lpop", "rpop"), c.Args[1])
		c.store.dirty-- // one change, as Redis counts
		return
	}
	// The popped element lives on in the reply while its list changes under it.
	start := c.Out.Len()
	left := src.takeTo(c.Out, 1, fromHead)
	elem := lastBulk(c.Out.Bytes()[start:])
	dst, _ := c.openList(c.Args[2])
	dst.push([][]byte{elem}, toHead)
	dst.save(dst.len())
	c.touched(endName(toHead, "lpush", "rpush"), c.Args[2])
	c.touchedRemoving(endName(fromHead, "lpop", "rpop"), c.Args[1], left) // in Redis's order
	c.store.dirty--
}

// lastBulk is the text of the one bulk on the tape.
func lastBulk(tape []byte) []byte {
	return tape[bytes.IndexByte(tape, '\n')+1 : len(tape)-2]
}

// cmdLPos is LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len].
func cmdLPos(c *Ctx) {
	o, ok := lposOptions(c)
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	found := l.positions(c.Args[2], o)
	switch {
	case o.hasCount:
		c.Out.Array(len(found))
		for _, rank := range found {
			c.Out.Int(int64(rank))
		}
	case len(found) > 0:
		c.Out.Int(int64(found[0]))
	default:
		c.Out.Null()
	}
}

type lposArgs struct {
	skip     int  // matches to pass over
	backward bool // from the tail
	hasCount bool
	count    int // matches wanted; 0: all
	maxLen   int // comparisons; 0: any number
}

func lposOptions(c *Ctx) (o lposArgs, ok bool) {
	o.count = 1
	for i := 3; i < len(c.Args); i += 2 {
		rank, count, maxLen := is(c.Args[i], "rank"), is(c.Args[i], "count"), is(c.Args[i], "maxlen")
		if i+1 == len(c.Args) || !rank && !count && !maxLen {
			c.syntaxError()
			return o, false
		}
		n, isInt := parseInt(c.Args[i+1])
		switch {
		case rank && !isInt:
			c.Out.Error(errNotInt)
			return o, false
		case rank && n == math.MinInt64:
			c.Out.Error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
			return o, false
		case rank && n == 0:
			c.Out.Error("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
			return o, false
		case count && (!isInt || n < 0):
			c.Out.Error("ERR COUNT can't be negative")
			return o, false
		case maxLen && (!isInt || n < 0):
			c.Out.Error("ERR MAXLEN can't be negative")
			return o, false
		case rank && n > 0:
			o.skip, o.backward = int(n-1), false
		case rank:
			o.skip, o.backward = int(-n-1), true
		case count:
			o.count, o.hasCount = int(n), true
		default:
			o.maxLen = int(n)
		}
	}
	return o, true
}

// positions finds the ranks LPOS asks for.
func (l *listView) positions(elem []byte, o lposArgs) (found []int) {
	n := l.len()
	limit := n // of comparisons
	if o.maxLen > 0 {
		limit = min(limit, o.maxLen)
	}
	visit := func(rank int) bool {
		switch {
		case o.skip > 0:
			o.skip--
		default:
			found = append(found, rank)
		}
		return o.count == 0 || len(found) < o.count
	}
	if o.backward {
		l.backward(n-1, func(rank int, e []byte) bool {
			return n-rank <= limit && (!bytes.Equal(e, elem) || visit(rank))
		})
	} else {
		l.eachEqual(elem, func(rank int) bool { return rank < limit && visit(rank) })
	}
	return found
}
