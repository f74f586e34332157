package kv

import "strings"

// cmdXGroupCreate is XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD n].
func cmdXGroupCreate(c *Ctx) {
	s, opt, ok := c.groupArgs(true)
	if !ok {
		return
	}
	id, ok := s.groupStart(c.Args[4])
	if !ok {
		return
	}
	if !s.found {
		s.create()
		c.modified(s.key)
	}
	if _, exists := s.group(c.Args[3]); exists {
		c.Out.Error("BUSYGROUP Consumer Group name already exists")
		return
	}
	g := streamGroup{name: c.Args[3], number: s.newNumber(), last: id, read: opt.entriesRead}
	s.saveGroup(&g)
	s.saveHead()
	c.groupTouched("xgroup-create", s.key)
	c.Out.OK()
}

// groupOptions are those of XGROUP CREATE and SETID.
type groupOptions struct {
	mkStream    bool
	entriesRead int64
}

// groupArgs reads the options and opens the stream, which has to be there unless
// MKSTREAM says otherwise. If ok is false the error was replied.
func (c *Ctx) groupArgs(create bool) (s streamView, opt groupOptions, ok bool) {
	opt.entriesRead = unknownRead
	for i := 5; i < len(c.Args); i++ {
		switch {
		case create && is(c.Args[i], "mkstream"):
			opt.mkStream = true
		case i+1 < len(c.Args) && is(c.Args[i], "entriesread"):
			i++
			if opt.entriesRead, ok = c.intArg(i); !ok {
				return s, opt, false
			}
			if opt.entriesRead < unknownRead {
				c.Out.Error("ERR value for ENTRIESREAD must be positive or -1")
				return s, opt, false
			}
		default:
			c.wrongSubcommand("XGROUP")
			return s, opt, false
		}
	}
	if s, ok = c.openStream(c.Args[2]); !ok {
		return s, opt, false
	}
	if !s.found && !opt.mkStream {
		c.Out.Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the " +
			"MKSTREAM option to create an empty stream automatically.")
		return s, opt, false
	}
	longest := 7
	if create {
		longest = 8
	}
	if len(c.Args) > longest { // an option given twice
		c.wrongSubcommand("XGROUP")
		return s, opt, false
	}
	return s, opt, true
}

// wrongSubcommand is Redis's reply when the arguments of a subcommand do not add up.
// Redis repeats the word as it was sent, which the log does not keep: capitals are
// what most send.
func (c *Ctx) wrongSubcommand(container string) {
	c.Out.Error("ERR unknown subcommand or wrong number of arguments for '" + strings.ToUpper(clip(c.Args[1], 128)) +
		"'. Try " + container + " HELP.")
}

// groupStart is the ID a group begins after.
func (s *streamView) groupStart(arg []byte) (id streamID, ok bool) {
	if len(arg) == 1 && arg[0] == '$' {
		return s.head.last, true
	}
	if id, ok = parseStreamID(arg, 0); !ok {
		s.c.Out.Error(errStreamID)
	}
	return id, ok
}

// openGroup opens stream and group for the subcommands that need both.
func (c *Ctx) openGroup() (s streamView, g streamGroup, ok bool) {
	if s, _, ok = c.groupArgs(false); !ok {
		return s, g, false
	}
	g, ok = c.findGroup(&s)
	return s, g, ok
}

func (c *Ctx) findGroup(s *streamView) (g streamGroup, ok bool) {
	if g, ok = s.group(c.Args[3]); !ok {
		c.Out.Error("NOGROUP No such consumer group '" + string(c.Args[3]) + "' for key name '" + string(c.Args[2]) + "'")
	}
	return g, ok
}

// cmdXGroupSetID is XGROUP SETID key group id|$ [ENTRIESREAD n]. (Redis takes - and
// + for the first and the last ID here, and only here.)
func cmdXGroupSetID(c *Ctx) {
	s, opt, ok := c.groupArgs(false)
	if !ok {
		return
	}
	g, ok := c.findGroup(&s)
	if !ok {
		return
	}
	switch arg := c.Args[4]; {
	case len(arg) == 1 && arg[0] == '-':
		g.last = streamID{}
	case len(arg) == 1 && arg[0] == '+':
		g.last = maxStreamID
	default:
		if g.last, ok = s.groupStart(arg); !ok {
			return
		}
	}
	g.read = opt.entriesRead
	s.saveGroup(&g)
	c.groupTouched("xgroup-setid", s.key)
	c.Out.OK()
}

// cmdXGroupDestroy is XGROUP DESTROY key group.
func cmdXGroupDestroy(c *Ctx) {
	s, _, ok := c.groupArgs(false)
	if !ok {
		return
	}
	g, ok := s.group(c.Args[3])
	if ok {
		s.dropGroup(&g)
		c.groupTouched("xgroup-destroy", s.key)
		c.noteReady(s.key) // who waits in XREADGROUP waits for nothing any more
	}
	c.Out.Bool(ok)
}

// cmdXGroupCreateConsumer is XGROUP CREATECONSUMER key group consumer.
func cmdXGroupCreateConsumer(c *Ctx) {
	s, g, ok := c.openGroup()
	if !ok {
		return
	}
	_, exists := s.consumer(&g, c.Args[4])
	if !exists {
		s.addConsumer(&g, c.Args[4], c.now)
		s.saveHead()
		c.groupTouched("xgroup-createconsumer", s.key)
	}
	c.Out.Bool(!exists)
}

// cmdXGroupDelConsumer is XGROUP DELCONSUMER key group consumer.
func cmdXGroupDelConsumer(c *Ctx) {
	s, g, ok := c.openGroup()
	if !ok {
		return
	}
	pending := 0
	if consumer, exists := s.consumer(&g, c.Args[4]); exists {
		pending = s.dropConsumer(&g, &consumer)
		c.groupTouched("xgroup-delconsumer", s.key)
	}
	c.Out.Int(int64(pending))
}

func cmdXGroupHelp(c *Ctx) {
	c.help("XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"CREATE <key> <groupname> <id|$> [option]",
		"    Create a new consumer group. Options are:",
		"    * MKSTREAM",
		"      Create the empty stream if it does not exist.",
		"    * ENTRIESREAD entries_read",
		"      Set the group's entries_read counter (internal use).",
		"CREATECONSUMER <key> <groupname> <consumer>",
		"    Create a new consumer in the specified group.",
		"DELCONSUMER <key> <groupname> <consumer>",
		"    Remove the specified consumer.",
		"DESTROY <key> <groupname>",
		"    Remove the specified group.",
		"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
		"    Set the current group ID and entries_read counter.",
		"HELP",
		"    Prints this help.")
}

func (c *Ctx) help(lines ...string) {
	c.Out.Array(len(lines))
	for _, l := range lines {
		c.Out.Status(l)
	}
}

// groupAt1 opens the stream and the group of arguments 1 and 2; exists is false if
// either is missing. If ok is false WRONGTYPE was replied.
func (c *Ctx) groupAt1() (s streamView, g streamGroup, exists, ok bool) {
	if s, ok = c.openStream(c.Args[1]); !ok || !s.found {
		return s, g, false, ok
	}
	g, exists = s.group(c.Args[2])
	return s, g, exists, true
}

func (c *Ctx) noGroup() {
	c.Out.Error("NOGROUP No such key '" + string(c.Args[1]) + "' or consumer group '" + string(c.Args[2]) + "'")
}

// cmdXAck is XACK key group id [id ...].
func cmdXAck(c *Ctx) {
	s, g, exists, ok := c.groupAt1()
	if !ok {
		return
	}
	if !exists {
		c.Out.Int(0)
		return
	}
	ids, ok := c.streamIDArgs(3)
	if !ok {
		return
	}
	acked := 0
	for _, id := range ids {
		if n, pending := s.nack(&g, id); pending {
			s.dropNack(&g, &n)
			acked++
		}
	}
	if acked > 0 {
		c.groupTouched("", s.key)
	}
	c.work(5 * len(ids))
	c.Out.Int(int64(acked))
}

// pendingArgs are those of XPENDING's long form.
type pendingArgs struct {
	lo, hi  streamID
	count   int64
	minIdle int64
	// consumer is whose entries are wanted, if one was named.
	consumer []byte
	named    bool
}

// cmdXPending is XPENDING key group [[IDLE min-idle] start end count [consumer]].
func cmdXPending(c *Ctx) {
	var a pendingArgs
	summary := len(c.Args) == 3
	if !summary && !a.parse(c) {
		return
	}
	s, g, exists, ok := c.groupAt1()
	switch {
	case !ok:
	case !exists:
		c.noGroup()
	case summary:
		s.pendingSummary(&g)
	default:
		s.pendingList(&g, &a)
	}
}

// parse reads the arguments from 3 on, in the order in which Redis complains.
func (a *pendingArgs) parse(c *Ctx) (ok bool) {
	if len(c.Args) < 6 || len(c.Args) > 9 {
		c.syntaxError()
		return false
	}
	at := 3
	if is(c.Args[3], "idle") {
		if a.minIdle, ok = c.intArg(4); !ok {
			return false
		}
		if len(c.Args) < 8 {
			c.syntaxError()
			return false
		}
		at = 5
	}
	if a.count, ok = c.intArg(at + 2); !ok {
		return false
	}
	if a.lo, a.hi, ok = c.streamInterval(c.Args[at], c.Args[at+1]); !ok {
		return false
	}
	if at+3 < len(c.Args) {
		a.consumer, a.named = c.Args[at+3], true
	}
	return true
}

func (s *streamView) pendingSummary(g *streamGroup) {
	out, total := s.c.Out, s.pendingCount(g)
	out.Array(4)
	out.Int(int64(total))
	if total == 0 {
		out.Null()
		out.Null()
		out.NullArray()
		return
	}
	lo, _ := numberedRank(s, g, 0)
	hi, _ := numberedRank(s, g, total-1)
	lo.reply(out)
	hi.reply(out)
	var names Reply
	n := 0
	s.eachConsumer(g, func(c *streamConsumer) {
		if owned := s.ownedCount(c); owned > 0 {
			names.Array(2)
			names.Bulk(c.name)
			names.BulkInt(int64(owned))
			n++
		}
	})
	out.Array(n)
	out.AppendTape(&names)
	s.c.work(5 * n)
}

// numberedRank is the ID of the group's i-th pending entry.
func numberedRank(s *streamView, g *streamGroup, i int) (id streamID, ok bool) {
	var room [1 + streamNumberSize]byte
	prefix := numberKey(room[:0], streamPending, g.number)
	from, _ := s.object().t2.rank(prefix)
	key, _ := s.object().t2.at(from + i)
	if !hasPrefix(key, prefix) {
		return id, false
	}
	return readStreamID(key[len(prefix):]), true
}

func (s *streamView) pendingList(g *streamGroup, a *pendingArgs) {
	var body Reply
	n, seen := 0, 0
	reply := func(nack *streamNack) bool {
		seen++
		if a.minIdle != 0 && s.c.now-nack.time < a.minIdle {
			return true
		}
		body.Array(4)
		nack.id.reply(&body)
		body.Bulk(s.consumerName(nack.consumer))
		body.Int(max(s.c.now-nack.time, 0))
		body.Int(nack.count)
		n++
		return int64(n) < a.count
	}
	switch consumer, ok := s.consumer(g, a.consumer); {
	case a.count <= 0 || a.named && !ok:
	case a.named:
		s.eachOwned(&consumer, a.lo, a.hi, func(id streamID) bool {
			nack, _ := s.nack(g, id)
			return reply(&nack)
		})
	default:
		s.eachPending(g, a.lo, a.hi, reply)
	}
	s.c.work(5 * seen)
	s.c.Out.Array(n)
	s.c.Out.AppendTape(&body)
}
