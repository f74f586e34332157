package kv

// streamRead is a parsed XREAD or XREADGROUP: parse once; resolve once, which turns $
// into the ID that is the last one now; then try, any number of times, until it
// reports that it found something. Where nobody may wait, inside MULTI and in
// scripts, they try once and reply the null array, whatever BLOCK says.
type streamRead struct {
	name string
	args [][]byte
	// keys and ids are the two halves of what follows STREAMS, at keys in args.
	keys, ids [][]byte
	// count limits the entries of each stream; 0: no limit.
	count int64
	// block is how long to wait in ms; 0: for ever; -1: not at all.
	block int64
	// group and consumer are XREADGROUP's; noAck: do not make entries pending.
	group, consumer []byte
	isGroup, noAck  bool
	// named: GROUP was there.
	named bool

	// after is, per stream, the ID what is wanted follows; maxStreamID: what the
	// group has not been handed yet. Set by resolve.
	after []streamID
}

// cmdXRead is XREAD [COUNT count] [BLOCK ms] STREAMS key [key ...] id [id ...].
func cmdXRead(c *Ctx) { c.streamRead() }

// cmdXReadGroup is XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK]
// STREAMS key [key ...] id [id ...].
func cmdXReadGroup(c *Ctx) { c.streamRead() }

func (c *Ctx) streamRead() {
	if c.reader != nil && c.reader.wait != nil {
		c.reader.wait.again(c)
		return
	}
	r, msg := parseStreamRead(c.cmd.Name, c.Args)
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	if !r.resolve(c) || r.try(c) {
		return
	}
	if r.block < 0 || !c.waitStream(&r) {
		c.Out.NullArray()
	}
}

// parseStreamRead reads the arguments, name included; msg is the error in Redis's
// words, "" if there is none.
func parseStreamRead(name string, args [][]byte) (r streamRead, msg string) {
	r = streamRead{name: name, args: args, isGroup: name == "xreadgroup", block: -1}
	i := 1
	for ; i < len(args) && r.keys == nil; i++ {
		arg, more := args[i], len(args)-i-1
		switch {
		case more > 0 && is(arg, "block"):
			i++
			r.block, msg = parseStreamBlock(args[i])
		case more > 0 && is(arg, "count"):
			i++
			n, ok := parseInt(args[i])
			if !ok {
				msg = errNotInt
			}
			r.count = max(n, 0)
		case more > 0 && is(arg, "streams"):
			msg = r.split(args[i+1:])
		case more > 1 && is(arg, "group"):
			msg = r.onlyForGroups("GROUP")
			r.named = true
			r.group, r.consumer = args[i+1], args[i+2]
			i += 2
		case is(arg, "noack"):
			msg = r.onlyForGroups("NOACK")
			r.noAck = true
		default:
			msg = errSyntax
		}
		if msg != "" {
			return r, msg
		}
	}
	switch {
	case r.keys == nil:
		return r, errSyntax
	case r.isGroup && !r.named:
		return r, "ERR Missing GROUP option for XREADGROUP"
	}
	return r, ""
}

func parseStreamBlock(arg []byte) (ms int64, msg string) {
	ms, ok := parseInt(arg)
	switch {
	case !ok:
		return 0, "ERR timeout is not an integer or out of range"
	case ms < 0:
		return 0, "ERR timeout is negative"
	}
	return ms, ""
}

func (r *streamRead) split(rest [][]byte) (msg string) {
	if len(rest)%2 != 0 {
		symbol := "$"
		if r.isGroup {
			symbol = ">"
		}
		return "ERR Unbalanced '" + r.name + "' list of streams: for each stream key an ID or '" + symbol + "' must be specified."
	}
	r.keys, r.ids = rest[:len(rest)/2], rest[len(rest)/2:]
	return ""
}

func (r *streamRead) onlyForGroups(option string) (msg string) {
	if r.isGroup {
		return ""
	}
	return "ERR The " + option + " option is only supported by XREADGROUP. You called XREAD instead."
}

// streamKeys finds the keys of XREAD and XREADGROUP: the first half of what follows
// STREAMS, whatever the options before it are worth.
func streamKeys(args [][]byte) (keys []int, ok bool) {
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case is(arg, "streams"):
			n := (len(args) - i - 1) / 2
			if n == 0 || (len(args)-i-1)%2 != 0 {
				return nil, false
			}
			for k := range n {
				keys = append(keys, i+1+k)
			}
			return keys, true
		case is(arg, "block"), is(arg, "count"):
			i++
		case is(arg, "group"):
			i += 2
		case !is(arg, "noack"):
			return nil, false
		}
	}
	return nil, false
}

// resolve turns the IDs as they were written into after, and checks that streams and
// groups are there. If ok is false the error was replied.
func (r *streamRead) resolve(c *Ctx) (ok bool) {
	r.after = make([]streamID, len(r.keys))
	for i, key := range r.keys {
		s, ok := c.openStream(key)
		if !ok {
			return false
		}
		if r.isGroup && !r.hasGroup(&s) {
			c.Out.Error(errNoGroup(key, r.group))
			return false
		}
		var msg string
		if r.after[i], msg = r.position(&s, r.ids[i]); msg != "" {
			c.Out.Error(msg)
			return false
		}
	}
	return true
}

// errNoGroup is XREADGROUP's error.
func errNoGroup(key, group []byte) string {
	return "NOGROUP No such key '" + string(key) + "' or consumer group '" + string(group) + "' in XREADGROUP with GROUP option"
}

func (r *streamRead) hasGroup(s *streamView) bool {
	if !s.found {
		return false
	}
	_, ok := s.group(r.group)
	return ok
}

// position is the ID that arg means. XREAD's + (Redis 7.4) is the last entry.
func (r *streamRead) position(s *streamView, arg []byte) (id streamID, msg string) {
	word := byte(0)
	if len(arg) == 1 {
		word = arg[0]
	}
	switch {
	case word == '$' && r.isGroup:
		return id, "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer " +
			"by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
	case word == '$':
		return s.head.last, ""
	case word == '+' && r.isGroup:
		return id, "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer " +
			"by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set."
	case word == '+' && s.found && s.len() > 0:
		id, _ = s.final().prev()
		return id, ""
	case word == '+':
		return s.head.last, ""
	case word == '>' && !r.isGroup:
		return id, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
	case word == '>':
		return maxStreamID, ""
	}
	id, ok := parseStreamID(arg, 0)
	if !ok {
		return id, errStreamID
	}
	return id, ""
}

// try looks for entries now. If there are any (or XREADGROUP is asked for history)
// it replies them and returns true; else it replies nothing. A group that has gone
// since resolve counts as one with nothing.
func (r *streamRead) try(c *Ctx) (found bool) {
	out := c.Out
	var body Reply
	if len(r.keys) > 1 {
		c.Out = &body // how many streams have something shows in the end
	}
	n := 0
	for i, key := range r.keys {
		s, ok := c.streamToRead(key)
		if !ok {
			continue
		}
		if r.isGroup {
			ok = r.tryGroup(&s, r.after[i])
		} else {
			ok = r.tryStream(&s, r.after[i])
		}
		if ok {
			n++
		}
	}
	c.Out = out
	if n > 0 && len(r.keys) > 1 {
		out.KeyedArrays(n)
		out.AppendTape(&body)
	}
	return n > 0
}

// streamToRead opens a stream that may have become something else meanwhile.
func (c *Ctx) streamToRead(key []byte) (s streamView, ok bool) {
	if v, found := c.lookup(key); !found || v.Type != TypeStream {
		return s, false
	}
	s, ok = c.openStream(key)
	return s, ok && s.found
}

// begin announces the stream's entries.
func (r *streamRead) begin(s *streamView) {
	if len(r.keys) == 1 {
		s.c.Out.KeyedArrays(1)
	}
	s.c.Out.Bulk(s.key)
}

func (r *streamRead) tryStream(s *streamView, after streamID) (found bool) {
	if s.len() == 0 || !after.less(s.final()) {
		return false
	}
	start, _ := after.next()
	r.begin(s)
	s.replyRange(start, maxStreamID, false, r.count)
	return true
}

// tryGroup hands entries to the consumer, which comes into being by asking; in Redis 7.0
// only once there is something for it.
func (r *streamRead) tryGroup(s *streamView, after streamID) (found bool) {
	g, ok := s.group(r.group)
	if !ok {
		return false
	}
	news := s.len() > 0 && g.last.less(s.final())
	if after == maxStreamID && !news && s.c.settings().RedisVersion < redis72 {
		return false
	}
	consumer := s.consumerOrNew(&g, r.consumer)
	consumer.seen = s.c.now
	switch {
	case after != maxStreamID:
		r.begin(s)
		r.history(s, &g, &consumer, after)
		found = true
	case news:
		r.begin(s)
		r.deliver(s, &g, &consumer)
		found = true
	}
	s.saveConsumer(&g, &consumer)
	s.saveHead()
	switch {
	case !found:
	case after != maxStreamID:
		s.c.groupUsed("", s.key)
	default:
		s.c.groupTouched("", s.key)
	}
	return found
}

// consumerOrNew looks a consumer up and makes it if need be. saveHead must follow.
func (s *streamView) consumerOrNew(g *streamGroup, name []byte) streamConsumer {
	consumer, ok := s.consumer(g, name)
	if !ok {
		consumer = s.addConsumer(g, name, s.c.now)
		s.c.groupTouched("xgroup-createconsumer", s.key)
	}
	return consumer
}

// deliver replies the entries the group has not seen and makes them pending.
func (r *streamRead) deliver(s *streamView, g *streamGroup, consumer *streamConsumer) {
	start, _ := g.last.next()
	n := s.len() - s.rank(start)
	if r.count > 0 {
		n = int(min(int64(n), r.count))
	}
	ids := make([]streamID, 0, n)
	s.c.Out.Array(n)
	s.walk(start, maxStreamID, false, func(e *streamEntry) bool {
		e.reply(s.c.Out)
		ids = append(ids, e.id)
		return len(ids) < n
	})
	for _, id := range ids {
		s.advance(g, id)
		if r.noAck {
			continue
		}
		// XGROUP SETID may have led the group back to what is pending already.
		old, _ := s.nack(g, id)
		s.saveNack(g, &streamNack{id: id, consumer: consumer.number, time: s.c.now, count: 1}, old.consumer)
		consumer.active = s.c.now
	}
	s.saveGroup(g)
	s.c.work(10 * n)
}

// history replies what is pending with the consumer after an ID. Entries that were
// deleted show without fields.
func (r *streamRead) history(s *streamView, g *streamGroup, consumer *streamConsumer, after streamID) {
	start, _ := after.next()
	var ids []streamID
	s.eachOwned(consumer, start, maxStreamID, func(id streamID) bool {
		ids = append(ids, id)
		return r.count == 0 || int64(len(ids)) < r.count
	})
	s.c.Out.Array(len(ids))
	for _, id := range ids {
		if !s.entry(id, func(e *streamEntry) { e.reply(s.c.Out) }) {
			s.c.Out.Array(2)
			id.reply(s.c.Out)
			s.c.Out.NullArray()
			continue
		}
		n, _ := s.nack(g, id)
		n.time = s.c.now
		n.count++
		s.saveNack(g, &n, n.consumer)
	}
	s.c.work(10 * len(ids))
}
