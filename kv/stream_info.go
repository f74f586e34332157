package kv

// infoStream opens the stream XINFO looks at; else it replied an error.
func (c *Ctx) infoStream() (s streamView, ok bool) {
	if s, ok = c.openStream(c.Args[2]); ok && !s.found {
		c.Out.Error(errNoKey)
	}
	return s, ok && s.found
}

// cmdXInfoStream is XINFO STREAM key [FULL [COUNT count]].
func cmdXInfoStream(c *Ctx) {
	s, ok := c.infoStream()
	if !ok {
		return
	}
	if len(c.Args) == 3 {
		s.info()
		return
	}
	count := int64(10)
	argc := len(c.Args)
	if argc != 4 && argc != 6 || !is(c.Args[3], "full") || argc == 6 && !is(c.Args[4], "count") {
		c.wrongSubcommand("XINFO")
		return
	}
	if argc == 6 {
		if count, ok = c.intArg(5); !ok {
			return
		}
		if count < 0 {
			count = 10
		}
	}
	s.infoFull(count)
}

// infoHead appends what both forms begin with, 7 pairs.
func (s *streamView) infoHead() {
	out := s.c.Out
	keys, radix := s.nodeCount()
	s.c.work(keys)
	field(out, "length").Int(int64(s.len()))
	field(out, "radix-tree-keys").Int(int64(keys))
	field(out, "radix-tree-nodes").Int(int64(radix))
	s.head.last.reply(field(out, "last-generated-id"))
	s.head.deleted.reply(field(out, "max-deleted-entry-id"))
	field(out, "entries-added").Int(int64(s.head.added))
	s.first().reply(field(out, "recorded-first-entry-id"))
}

// field appends the key of a pair.
func field(out *Reply, name string) *Reply {
	out.BulkString(name)
	return out
}

func (s *streamView) info() {
	out := s.c.Out
	out.Map(10)
	s.infoHead()
	field(out, "groups").Int(int64(s.groups()))
	for i, name := range [2]string{"first-entry", "last-entry"} {
		field(out, name)
		if s.len() == 0 {
			out.Null()
			continue
		}
		s.walk(streamID{}, maxStreamID, i == 1, func(e *streamEntry) bool {
			e.reply(out)
			return false
		})
	}
}

// infoFull shows everything, of lists at most count elements if that is not 0.
func (s *streamView) infoFull(count int64) {
	out := s.c.Out
	out.Map(9)
	s.infoHead()
	field(out, "entries")
	s.replyRange(streamID{}, maxStreamID, false, count)
	field(out, "groups").Array(s.groups())
	s.eachGroup(func(g *streamGroup) {
		out.Map(7)
		field(out, "name").Bulk(g.name)
		g.last.reply(field(out, "last-delivered-id"))
		s.infoProgress(g)
		s.infoPending(g, count)
		s.infoConsumers(g, count)
	})
}

// infoProgress appends entries-read and lag.
func (s *streamView) infoProgress(g *streamGroup) {
	intOrNull(field(s.c.Out, "entries-read"), g.read, g.read != unknownRead)
	lag, ok := s.lag(g)
	intOrNull(field(s.c.Out, "lag"), lag, ok)
}

func intOrNull(out *Reply, n int64, ok bool) {
	if ok {
		out.Int(n)
	} else {
		out.Null()
	}
}

func (s *streamView) infoPending(g *streamGroup, count int64) {
	out, n := s.c.Out, s.pendingCount(g)
	field(out, "pel-count").Int(int64(n))
	field(out, "pending").Array(upTo(n, count))
	left := upTo(n, count)
	s.c.work(5 * left)
	if left == 0 {
		return
	}
	s.eachPending(g, streamID{}, maxStreamID, func(nack *streamNack) bool {
		out.Array(4)
		nack.id.reply(out)
		out.Bulk(s.consumerName(nack.consumer))
		out.Int(nack.time)
		out.Int(nack.count)
		left--
		return left > 0
	})
}

// infoConsumers appends the consumers, active-time as Redis 7.2 shows it.
func (s *streamView) infoConsumers(g *streamGroup, count int64) {
	out := s.c.Out
	field(out, "consumers").Array(s.countNumbered(streamConsumers, g.number))
	s.eachConsumer(g, func(c *streamConsumer) {
		n := s.ownedCount(c)
		out.Map(5)
		field(out, "name").Bulk(c.name)
		field(out, "seen-time").Int(c.seen)
		field(out, "active-time").Int(c.active)
		field(out, "pel-count").Int(int64(n))
		field(out, "pending").Array(upTo(n, count))
		left := upTo(n, count)
		s.c.work(5 + 5*left)
		if left == 0 {
			return
		}
		s.eachOwned(c, streamID{}, maxStreamID, func(id streamID) bool {
			nack, _ := s.nack(g, id)
			out.Array(3)
			id.reply(out)
			out.Int(nack.time)
			out.Int(nack.count)
			left--
			return left > 0
		})
	})
}

// upTo is n, but at most count if that is not 0.
func upTo(n int, count int64) int {
	if count > 0 {
		return int(min(int64(n), count))
	}
	return n
}

// cmdXInfoGroups is XINFO GROUPS key.
func cmdXInfoGroups(c *Ctx) {
	s, ok := c.infoStream()
	if !ok {
		return
	}
	n := s.groups()
	c.Out.Array(n)
	s.eachGroup(func(g *streamGroup) {
		c.Out.Map(6)
		field(c.Out, "name").Bulk(g.name)
		field(c.Out, "consumers").Int(int64(s.countNumbered(streamConsumers, g.number)))
		field(c.Out, "pending").Int(int64(s.pendingCount(g)))
		g.last.reply(field(c.Out, "last-delivered-id"))
		s.infoProgress(g)
	})
	c.work(10 * n)
}

// cmdXInfoConsumers is XINFO CONSUMERS key group.
func cmdXInfoConsumers(c *Ctx) {
	s, ok := c.infoStream()
	if !ok {
		return
	}
	g, ok := c.findGroup(&s)
	if !ok {
		return
	}
	n := s.countNumbered(streamConsumers, g.number)
	c.Out.Array(n)
	s.eachConsumer(&g, func(con *streamConsumer) {
		c.Out.Map(4)
		field(c.Out, "name").Bulk(con.name)
		field(c.Out, "pending").Int(int64(s.ownedCount(con)))
		field(c.Out, "idle").Int(max(c.now-con.seen, 0))
		inactive := int64(-1)
		if con.active != -1 {
			inactive = max(c.now-con.active, 0)
		}
		field(c.Out, "inactive").Int(inactive)
	})
	c.work(5 * n)
}

func cmdXInfoHelp(c *Ctx) {
	c.help("XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"CONSUMERS <key> <groupname>",
		"    Show consumers of <groupname>.",
		"GROUPS <key>",
		"    Show the stream consumer groups.",
		"STREAM <key> [FULL [COUNT <count>]",
		"    Show information about the stream.",
		"HELP",
		"    Prints this help.")
}
