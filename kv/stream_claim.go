package kv

import "math"

// claimOptions are those of XCLAIM.
type claimOptions struct {
	minIdle int64
	ids     []streamID
	// time is the delivery time to note, Unix ms; retries the count, -1: one more.
	time, retries int64
	last          streamID
	force, justID bool
}

// cmdXClaim is XCLAIM key group consumer min-idle id [id ...] [IDLE ms] [TIME ms]
// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id].
func cmdXClaim(c *Ctx) {
	s, g, exists, ok := c.groupAt1()
	if !ok {
		return
	}
	if !exists {
		c.noGroup()
		return
	}
	o := claimOptions{retries: -1, time: -1}
	if !o.parse(c) {
		return
	}
	if g.last.less(o.last) {
		g.last = o.last
		s.saveGroup(&g)
		c.groupTouched("", s.key)
	}
	// A time of a client's clock is taken for what it is: a wrong one means now.
	if o.time < 0 || o.time > c.now {
		o.time = c.now
	}
	x := claimer{s: &s, g: &g, consumer: s.consumerOrNew(&g, c.Args[3]), justID: o.justID}
	for _, id := range o.ids {
		x.claim(id, &o)
	}
	x.end()
	c.work(10 * len(o.ids))
	c.Out.Array(x.claimed)
	c.Out.AppendTape(&x.body)
}

func (o *claimOptions) parse(c *Ctx) bool {
	number := func(i int, what string) (n int64, ok bool) {
		if n, ok = parseInt(c.Args[i]); !ok {
			c.Out.Error("ERR Invalid " + what + " argument for XCLAIM")
		}
		return n, ok
	}
	var ok bool
	if o.minIdle, ok = number(4, "min-idle-time"); !ok {
		return false
	}
	i := 5
	for ; i < len(c.Args); i++ {
		id, ok := parseStreamID(c.Args[i], 0)
		if !ok {
			break // an option, or what is reported as an unknown one
		}
		o.ids = append(o.ids, id)
	}
	for ; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		switch arg := c.Args[i]; {
		case is(arg, "force"):
			o.force = true
		case is(arg, "justid"):
			o.justID = true
		case more && is(arg, "idle"):
			i++
			var idle int64
			idle, ok = number(i, "IDLE option")
			o.time = c.now - idle
		case more && is(arg, "time"):
			i++
			o.time, ok = number(i, "TIME option")
		case more && is(arg, "retrycount"):
			i++
			o.retries, ok = number(i, "RETRYCOUNT option")
		case more && is(arg, "lastid"):
			i++
			o.last, ok = c.streamIDArg(i)
		default:
			c.Out.Error("ERR Unrecognized XCLAIM option '" + string(arg) + "'")
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

// claimer moves pending entries to a consumer.
type claimer struct {
	s        *streamView
	g        *streamGroup
	consumer streamConsumer
	justID   bool
	body     Reply
	claimed  int
	dropped  int
}

// claim is one ID of XCLAIM. An entry that was deleted stops being pending.
func (x *claimer) claim(id streamID, o *claimOptions) {
	n, pending := x.s.nack(x.g, id)
	switch exists := x.s.has(id); {
	case !exists && pending:
		x.drop(&n)
		return
	case !exists || !pending && !o.force:
		return
	case !pending:
		n = streamNack{id: id, count: 1}
	case o.minIdle > 0 && x.s.c.now-n.time < o.minIdle:
		return
	}
	n.time = o.time
	if o.retries >= 0 {
		n.count = o.retries
	} else if !o.justID {
		n.count++
	}
	x.take(&n)
}

func (x *claimer) drop(n *streamNack) {
	x.s.dropNack(x.g, n)
	x.dropped++
}

// take makes the entry the consumer's and replies it.
func (x *claimer) take(n *streamNack) {
	from := n.consumer
	n.consumer = x.consumer.number
	x.s.saveNack(x.g, n, from)
	x.consumer.active = x.s.c.now
	x.claimed++
	if x.justID {
		n.id.reply(&x.body)
		return
	}
	x.s.entry(n.id, func(e *streamEntry) { e.reply(&x.body) })
}

func (x *claimer) end() {
	x.consumer.seen = x.s.c.now
	x.s.saveConsumer(x.g, &x.consumer)
	x.s.saveHead()
	if x.claimed+x.dropped > 0 {
		x.s.c.groupTouched("", x.s.key)
	}
}

// autoClaimAttempts is how many pending entries XAUTOCLAIM looks at for each it may
// return.
const autoClaimAttempts = 10

// cmdXAutoClaim is XAUTOCLAIM key group consumer min-idle start [COUNT count]
// [JUSTID].
func cmdXAutoClaim(c *Ctx) {
	minIdle, isInt := parseInt(c.Args[4])
	if !isInt {
		c.Out.Error("ERR Invalid min-idle-time argument for XAUTOCLAIM")
		return
	}
	start, ok := c.streamStart(c.Args[5])
	if !ok {
		return
	}
	count, justID := int64(100), false
	for i := 6; i < len(c.Args); i++ {
		switch more := i+1 < len(c.Args); {
		case more && is(c.Args[i], "count"):
			i++
			if count, isInt = parseInt(c.Args[i]); !isInt || count < 1 || count > math.MaxInt64/streamIDSize {
				c.Out.Error("ERR COUNT must be > 0")
				return
			}
		case is(c.Args[i], "justid"):
			justID = true
		default:
			c.syntaxError()
			return
		}
	}
	s, g, exists, ok := c.groupAt1()
	if !ok {
		return
	}
	if !exists {
		c.noGroup()
		return
	}
	x := claimer{s: &s, g: &g, consumer: s.consumerOrNew(&g, c.Args[3]), justID: justID}
	cursor, gone := x.auto(start, minIdle, count)
	x.end()
	c.Out.Array(3)
	cursor.reply(c.Out)
	c.Out.Array(x.claimed)
	c.Out.AppendTape(&x.body)
	c.Out.Array(len(gone))
	for _, id := range gone {
		id.reply(c.Out)
	}
}

// auto claims up to count entries from start on that are idle for long enough, drops
// those that were deleted, and returns where to go on, 0-0 at the end.
func (x *claimer) auto(start streamID, minIdle, count int64) (cursor streamID, gone []streamID) {
	// The candidates first: claiming changes the tree they are found in.
	var found []streamNack
	attempts, finds := autoClaimAttempts*count, int64(0)
	x.s.eachPending(x.g, start, maxStreamID, func(n *streamNack) bool {
		if attempts == 0 || finds == count {
			cursor = n.id
			return false
		}
		attempts--
		if deleted := !x.s.has(n.id); deleted || minIdle <= 0 || x.s.c.now-n.time >= minIdle {
			found = append(found, *n)
			finds++
		}
		x.s.c.work(3)
		return true
	})
	for i := range found {
		n := &found[i]
		if !x.s.has(n.id) {
			x.drop(n)
			gone = append(gone, n.id)
			continue
		}
		n.time = x.s.c.now
		if !x.justID {
			n.count++
		}
		x.take(n)
	}
	x.s.c.work(10 * len(found))
	return cursor, gone
}
