package kv

import (
	"math"
	"math/big"
)

// The blocking forms of the list and sorted set pops
// (https://redis.io/docs/latest/commands/blpop/). XREAD and XREADGROUP are with the
// streams.
var blockingCommands = []Command{
	{Name: "blpop", Group: "list", Since: "2.0.0", Arity: -3, Flags: FlagWrite | FlagBlocking,
		FirstKey: 1, LastKey: -2, KeyStep: 1, Op: 253, Run: func(c *Ctx) { bpop(c, waitList) }, Serve: func(c *Ctx, key []byte) { bpopList(c, key, true) },
		Summary: "Takes the head of the first list that has one; waits while all are empty."},
	{Name: "brpop", Group: "list", Since: "2.0.0", Arity: -3, Flags: FlagWrite | FlagBlocking,
		FirstKey: 1, LastKey: -2, KeyStep: 1, Op: 254, Run: func(c *Ctx) { bpop(c, waitList) }, Serve: func(c *Ctx, key []byte) { bpopList(c, key, false) },
		Summary: "Takes the tail of the first list that has one; waits while all are empty."},
	{Name: "blmove", Group: "list", Since: "6.2.0", Arity: 6, Flags: FlagWrite | FlagDenyOOM | FlagBlocking,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 255, Run: cmdBLMove, Serve: serveBLMove,
		Summary: "LMOVE that waits while the source is empty."},
	{Name: "brpoplpush", Group: "list", Since: "2.2.0", Arity: 4, Flags: FlagWrite | FlagDenyOOM | FlagBlocking,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 256, Run: cmdBRPopLPush, Serve: func(c *Ctx, _ []byte) { moveElement(c, false, true) },
		Summary: "RPOPLPUSH that waits while the source is empty."},
	{Name: "blmpop", Group: "list", Since: "7.0.0", Arity: -5, Flags: FlagWrite | FlagBlocking | FlagMovableKeys,
		Op: 257, Run: func(c *Ctx) { bmpop(c, waitList, "left", "right") }, Serve: serveBLMPop, Keys: numKeysAt2,
		Summary: "LMPOP that waits while all the lists are empty."},
	{Name: "bzpopmin", Group: "sorted-set", Since: "5.0.0", Arity: -3, Flags: FlagWrite | FlagFast | FlagBlocking,
		FirstKey: 1, LastKey: -2, KeyStep: 1, Op: 365, Run: func(c *Ctx) { bpop(c, waitZSet) }, Serve: func(c *Ctx, key []byte) { bpopZSet(c, key, false) },
		Summary: "Takes the member with the lowest score of the first sorted set that has one; waits while all are empty."},
	{Name: "bzpopmax", Group: "sorted-set", Since: "5.0.0", Arity: -3, Flags: FlagWrite | FlagFast | FlagBlocking,
		FirstKey: 1, LastKey: -2, KeyStep: 1, Op: 366, Run: func(c *Ctx) { bpop(c, waitZSet) }, Serve: func(c *Ctx, key []byte) { bpopZSet(c, key, true) },
		Summary: "Takes the member with the highest score of the first sorted set that has one; waits while all are empty."},
	{Name: "bzmpop", Group: "sorted-set", Since: "7.0.0", Arity: -5, Flags: FlagWrite | FlagBlocking | FlagMovableKeys,
		Op: 367, Run: func(c *Ctx) { bmpop(c, waitZSet, "min", "max") }, Serve: serveBZMPop, Keys: numKeysAt2,
		Summary: "ZMPOP that waits while all the sorted sets are empty."},
}

// MayBlock reports whether the command, outside EXEC, may make its client wait. Such a
// command is the last of its chunk.
func MayBlock(cmd *Command, args [][]byte) bool {
	if cmd.Flags&FlagBlocking == 0 {
		return false
	}
	if cmd.Group != "stream" {
		return true
	}
	for _, a := range args {
		switch {
		case is(a, "block"):
			return true // or a key of that name: no harm
		case is(a, "streams"):
			return false
		}
	}
	return false
}

// timeoutArg is argument i as seconds, in ms; 0 is for ever. Else it replies an error.
func (c *Ctx) timeoutArg(i int) (ms int64, ok bool) {
	f, ok := parseLongDouble(c.Args[i])
	if !ok {
		c.Out.Error("ERR timeout is not a float or out of range")
		return 0, false
	}
	f.Mul(f, big.NewFloat(1000))
	limit := new(big.Float).SetInt64(math.MaxInt64 - c.now)
	if f.Cmp(limit) > 0 {
		c.Out.Error("ERR timeout is out of range")
		return 0, false
	}
	ms, accuracy := f.Int64()
	if accuracy == big.Below && ms != math.MaxInt64 {
		ms++ // up to the next whole one
	}
	if ms < 0 {
		c.Out.Error("ERR timeout is negative")
		return 0, false
	}
	return ms, true
}

// bpop is BLPOP, BRPOP, BZPOPMIN, BZPOPMAX key [key ...] timeout: the pop is Serve's.
func bpop(c *Ctx, kind waitKind) {
	last := len(c.Args) - 1
	if timeout, ok := c.timeoutArg(last); ok {
		c.serveOrWait(kind, 1, last, timeout)
	}
}

// bmpop is BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count] and BZMPOP
// with MIN|MAX.
func bmpop(c *Ctx, kind waitKind, words ...string) {
	keys, _, _, ok := c.mpopArgs(2, words...)
	if !ok {
		return
	}
	if timeout, ok := c.timeoutArg(1); ok {
		c.serveOrWait(kind, 3, 3+len(keys), timeout)
	}
}

// serveOrWait serves the client from the first of the keys Args[first:end] that holds
// something, or makes it wait for all of them.
func (c *Ctx) serveOrWait(kind waitKind, first, end int, timeout int64) {
	var keys []int
	for i := first; i < end; i++ {
		_, found, ok := c.typed(c.Args[i], kind.of())
		switch {
		case !ok:
			return
		case found:
			c.cmd.Serve(c, c.Args[i])
			return
		}
		keys = append(keys, i)
	}
	if !c.wait(kind, keys, timeout) {
		c.Out.NullArray()
	}
}

func bpopList(c *Ctx, key []byte, head bool) {
	if l, ok := c.openList(key); ok && l.found {
		c.Out.Array(2)
		c.Out.Bulk(key)
		l.popTo(c.Out, 1, head)
	}
}

func bpopZSet(c *Ctx, key []byte, max bool) {
	if z, ok := c.openZSet(key); ok && z.found {
		c.Out.Array(3)
		c.Out.Bulk(key)
		z.popTo(c.Out, 1, max, false)
	}
}

func serveBLMPop(c *Ctx, key []byte) {
	_, where, count, ok := c.mpopArgs(2, "left", "right")
	if !ok {
		return
	}
	if l, ok := c.openList(key); ok && l.found {
		l.mpopTo(c.Out, count, where == 0)
	}
}

func serveBZMPop(c *Ctx, key []byte) {
	_, where, count, ok := c.mpopArgs(2, "min", "max")
	if !ok {
		return
	}
	if z, ok := c.openZSet(key); ok && z.found {
		z.mpopTo(c.Out, count, where == 1)
	}
}

// cmdBLMove is BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout.
func cmdBLMove(c *Ctx) {
	_, okFrom := listEnd(c.Args[3])
	_, okTo := listEnd(c.Args[4])
	if !okFrom || !okTo {
		c.syntaxError()
		return
	}
	bmove(c, 5)
}

// cmdBRPopLPush is BRPOPLPUSH source destination timeout.
func cmdBRPopLPush(c *Ctx) { bmove(c, 3) }

func bmove(c *Ctx, timeoutAt int) {
	timeout, ok := c.timeoutArg(timeoutAt)
	if !ok {
		return
	}
	_, found, ok := c.typed(c.Args[1], TypeList)
	switch {
	case !ok:
	case found:
		c.cmd.Serve(c, c.Args[1])
	case !c.wait(waitList, []int{1}, timeout):
		c.Out.Null()
	}
}

func serveBLMove(c *Ctx, _ []byte) {
	from, _ := listEnd(c.Args[3])
	to, _ := listEnd(c.Args[4])
	moveElement(c, from, to)
}
