package kv

import "math"

// The stream commands (https://redis.io/docs/latest/commands/?group=stream). Reading
// is in stream_read.go, groups are in stream_group_cmd.go and stream_claim.go, XINFO
// is in stream_info.go.
var streamCommands = []Command{
	{Name: "xadd", Group: "stream", Since: "5.0.0", Arity: -5, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 432, Run: cmdXAdd,
		Summary: "Adds an entry to a stream, a new one if need be; may trim it."},
	{Name: "xdel", Group: "stream", Since: "5.0.0", Arity: -3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 433, Run: cmdXDel,
		Summary: "Deletes entries of a stream; tells how many there were."},
	{Name: "xdelex", Group: "stream", Since: "8.2.0", Arity: -5, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 445, Run: cmdXDelEx,
		Summary: "Deletes messages from a stream and says what becomes of references to them in consumer groups."},
	{Name: "xackdel", Group: "stream", Since: "8.2.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 446, Run: cmdXAckDel,
		Summary: "Acknowledges messages and deletes them, if other consumer groups let them go."},
	{Name: "xtrim", Group: "stream", Since: "5.0.0", Arity: -4, Flags: FlagWrite,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 434, Run: cmdXTrim,
		Summary: "Shortens a stream from its beginning, to a length or to an ID."},
	{Name: "xsetid", Group: "stream", Since: "5.0.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 435, Run: cmdXSetID,
		Summary: "Sets a stream's last ID and its counters; replication sends it."},
	{Name: "xreadgroup", Group: "stream", Since: "5.0.0", Arity: -7, Flags: FlagWrite | FlagBlocking | FlagMovableKeys,
		Op: 436, Run: cmdXReadGroup, Keys: streamKeys, Serve: serveGroup,
		Summary: "Reads as a consumer: what is new to the group, or what is pending for the consumer; may wait."},
	{Name: "xack", Group: "stream", Since: "5.0.0", Arity: -4, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 437, Run: cmdXAck,
		Summary: "Takes entries off a group's list of pending ones; tells how many were on it."},
	{Name: "xclaim", Group: "stream", Since: "5.0.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 438, Run: cmdXClaim,
		Summary: "Gives a consumer pending entries of others."},
	{Name: "xautoclaim", Group: "stream", Since: "6.2.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 439, Run: cmdXAutoClaim,
		Summary: "Gives a consumer pending entries that others left lying, beginning at an ID."},
	{Name: "xgroup", Group: "stream", Since: "5.0.0", Arity: -2, Sub: []*Command{
		{Name: "xgroup|create", Group: "stream", Since: "5.0.0", Arity: -5, Flags: FlagWrite | FlagDenyOOM,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 440, Run: cmdXGroupCreate,
			Summary: "Makes a group that begins to read at an ID."},
		{Name: "xgroup|createconsumer", Group: "stream", Since: "6.2.0", Arity: 5, Flags: FlagWrite | FlagDenyOOM,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 441, Run: cmdXGroupCreateConsumer,
			Summary: "Makes a consumer in a group."},
		{Name: "xgroup|delconsumer", Group: "stream", Since: "5.0.0", Arity: 5, Flags: FlagWrite,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 442, Run: cmdXGroupDelConsumer,
			Summary: "Removes a consumer with its pending entries; tells how many they were."},
		{Name: "xgroup|destroy", Group: "stream", Since: "5.0.0", Arity: 4, Flags: FlagWrite,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 443, Run: cmdXGroupDestroy,
			Summary: "Removes a group with all that it knows."},
		{Name: "xgroup|help", Group: "stream", Since: "5.0.0", Arity: 2, Flags: FlagLoading | FlagStale, Run: cmdXGroupHelp,
			Summary: "Lists the subcommands."},
		{Name: "xgroup|setid", Group: "stream", Since: "5.0.0", Arity: -5, Flags: FlagWrite,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Op: 444, Run: cmdXGroupSetID,
			Summary: "Sets where a group goes on to read."},
	}, Summary: "Consumer groups: a container."},

	{Name: "xlen", Group: "stream", Since: "5.0.0", Arity: 2, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdXLen,
		Summary: "Counts the entries of a stream."},
	{Name: "xrange", Group: "stream", Since: "5.0.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { xrange(c, c.Args[2], c.Args[3], false) },
		Summary: "Reads the entries from one ID of a stream to another."},
	{Name: "xrevrange", Group: "stream", Since: "5.0.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { xrange(c, c.Args[3], c.Args[2], true) },
		Summary: "XRANGE from the last entry to the first."},
	{Name: "xread", Group: "stream", Since: "5.0.0", Arity: -4, Flags: FlagReadonly | FlagBlocking | FlagMovableKeys,
		Run: cmdXRead, Keys: streamKeys,
		Summary: "Reads what comes behind an ID of each stream; may wait for it."},
	{Name: "xpending", Group: "stream", Since: "5.0.0", Arity: -3, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdXPending,
		Summary: "Sums up or lists what a group's consumers have read and not acknowledged."},
	{Name: "xinfo", Group: "stream", Since: "5.0.0", Arity: -2, Sub: []*Command{
		{Name: "xinfo|consumers", Group: "stream", Since: "5.0.0", Arity: 4, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdXInfoConsumers,
			Summary: "Describes the consumers of a group."},
		{Name: "xinfo|groups", Group: "stream", Since: "5.0.0", Arity: 3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdXInfoGroups,
			Summary: "Describes the groups of a stream."},
		{Name: "xinfo|help", Group: "stream", Since: "5.0.0", Arity: 2, Flags: FlagLoading | FlagStale, Run: cmdXInfoHelp,
			Summary: "Lists the subcommands."},
		{Name: "xinfo|stream", Group: "stream", Since: "5.0.0", Arity: -3, Flags: FlagReadonly,
			FirstKey: 2, LastKey: 2, KeyStep: 1, Run: cmdXInfoStream,
			Summary: "Describes a stream; FULL with its entries and groups."},
	}, Summary: "What is known of streams: a container."},
}

// cmdXAdd is XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]]
// *|id field value [field value ...].
func cmdXAdd(c *Ctx) {
	a, ok := c.streamTrimArgs(true)
	if !ok {
		return
	}
	pairs := c.Args[min(a.next, len(c.Args)):]
	switch {
	case len(pairs) < 2 || len(pairs)%2 != 0:
		c.wrongArgs()
		return
	case a.idGiven && !a.id.autoSeq && a.id.id.isZero():
		c.Out.Error("ERR The ID specified in XADD must be greater than 0-0")
		return
	}
	s, ok := c.openStream(c.Args[1])
	if !ok {
		return
	}
	if !s.found && a.noMkStream {
		c.Out.Null()
		return
	}
	id, msg := s.newID(&a)
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	if !s.found {
		s.create()
	}
	s.add(id, pairs)
	trimmed := 0
	if a.by != trimNothing {
		trimmed = s.trim(&a.streamTrim)
	}
	s.saveHead()
	c.touched("xadd", s.key)
	if trimmed > 0 {
		c.touched("xtrim", s.key)
	}
	id.reply(c.Out)
}

// newID is the ID of the entry to be added, or what is wrong with it.
func (s *streamView) newID(a *streamTrimArgs) (id streamID, msg string) {
	last := s.head.last
	if last == maxStreamID {
		return id, "ERR The stream has exhausted the last possible ID, unable to add more items"
	}
	switch id = a.id.id; {
	case !a.idGiven:
		return s.nextID(s.c.now), ""
	case a.id.autoSeq && id.ms == last.ms && last.seq == math.MaxUint64:
		if s.c.settings().RedisVersion < redis72 {
			return id, "ERR Elements are too large to be stored" // its words for a number it has no more of
		}
		id.seq = last.seq
	case a.id.autoSeq && id.ms == last.ms:
		id.seq = last.seq + 1
	}
	if !last.less(id) {
		return id, "ERR The ID specified in XADD is equal or smaller than the target stream top item"
	}
	return id, ""
}

// cmdXLen is XLEN key.
func cmdXLen(c *Ctx) {
	if s, ok := c.openStream(c.Args[1]); ok {
		n := 0
		if s.found {
			n = s.len()
		}
		c.Out.Int(int64(n))
	}
}

// xrange is XRANGE key start end [COUNT count], and XREVRANGE, whose ends come in
// the other order.
func xrange(c *Ctx, start, end []byte, rev bool) {
	lo, hi, ok := c.streamInterval(start, end)
	if !ok {
		return
	}
	count := int64(-1)
	for i := 4; i < len(c.Args); i += 2 {
		if i+1 == len(c.Args) || !is(c.Args[i], "count") {
			c.syntaxError()
			return
		}
		if count, ok = c.intArg(i + 1); !ok {
			return
		}
		count = max(count, 0)
	}
	s, ok := c.openStream(c.Args[1])
	switch {
	case !ok:
	case !s.found:
		c.Out.Array(0)
	case count == 0:
		c.Out.NullArray()
	default:
		s.replyRange(lo, hi, rev, count)
	}
}

// streamSample is how many entries tell what the others of a reply take.
const streamSample = 16

// replyBound is what n entries hardly exceed in a reply: ids as text and fields by name,
// which a node has once for most.
func (s *streamView) replyBound(n int) int64 { return 4*s.object().t.root.size + 64*int64(n) }

// replyRange appends the entries of an interval as an array, at most count of them
// if that is positive, and returns their number.
func (s *streamView) replyRange(lo, hi streamID, rev bool, count int64) (n int) {
	if lo.isZero() && hi == maxStreamID {
		n = s.len()
	} else {
		n = s.rank(hi) - s.rank(lo)
		if s.has(hi) {
			n++
		}
	}
	if n = max(n, 0); count > 0 {
		n = int(min(int64(n), count))
	}
	s.c.Out.Array(n)
	start, left := s.c.Out.Len(), n
	if left > 0 {
		s.walk(lo, hi, rev, func(e *streamEntry) bool {
			e.reply(s.c.Out)
			if left--; n-left == streamSample {
				s.c.Out.growLike(start, streamSample, left, s.replyBound(left))
			}
			return left > 0
		})
	}
	s.c.work(n)
	return n
}

// cmdXDel is XDEL key id [id ...].
func cmdXDel(c *Ctx) {
	s, ok := c.openStream(c.Args[1])
	if !ok {
		return
	}
	if !s.found {
		c.Out.Int(0)
		return
	}
	ids, ok := c.streamIDArgs(2)
	if !ok {
		return
	}
	removed := 0
	for _, id := range ids {
		if s.remove(id) {
			removed++
			if s.head.deleted.less(id) {
				s.head.deleted = id
			}
		}
	}
	if removed > 0 {
		s.saveHead()
		c.touched("xdel", s.key)
	}
	c.work(5 * len(ids))
	c.Out.Int(int64(removed))
}

// cmdXTrim is XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count].
func cmdXTrim(c *Ctx) {
	a, ok := c.streamTrimArgs(false)
	if !ok {
		return
	}
	s, ok := c.openStream(c.Args[1])
	if !ok {
		return
	}
	removed := 0
	if s.found {
		removed = s.trim(&a.streamTrim)
	}
	if removed > 0 {
		s.saveHead()
		c.touched("xtrim", s.key)
	}
	c.Out.Int(int64(removed))
}

// cmdXSetID is XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID
// max-deleted-id].
func cmdXSetID(c *Ctx) {
	last, ok := c.streamIDArg(2)
	if !ok {
		return
	}
	added, deleted := int64(-1), streamID{}
	for i := 3; i < len(c.Args); i += 2 {
		switch more := i+1 < len(c.Args); {
		case more && is(c.Args[i], "entriesadded"):
			if added, ok = c.intArg(i + 1); !ok {
				return
			}
			if added < 0 {
				c.Out.Error("ERR entries_added must be positive")
				return
			}
		case more && is(c.Args[i], "maxdeletedid"):
			if deleted, ok = c.streamIDArg(i + 1); !ok {
				return
			}
			if last.less(deleted) {
				c.Out.Error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
				return
			}
		default:
			c.syntaxError()
			return
		}
	}
	s, ok := c.openStream(c.Args[1])
	if !ok {
		return
	}
	if msg := s.setIDFails(last, added); msg != "" {
		c.Out.Error(msg)
		return
	}
	s.head.last = last
	if added >= 0 {
		s.head.added = uint64(added)
	}
	if !deleted.isZero() {
		s.head.deleted = deleted
	}
	s.saveHead()
	c.groupTouched("xsetid", s.key)
	c.Out.OK()
}

// setIDFails says what is wrong with XSETID's numbers.
func (s *streamView) setIDFails(last streamID, added int64) string {
	switch {
	case !s.found:
		return errNoKey
	case s.len() > 0 && last.less(s.final()):
		return "ERR The ID specified in XSETID is smaller than the target stream top item"
	case s.len() > 0 && added >= 0 && int64(s.len()) > added:
		return "ERR The entries_added specified in XSETID is smaller than the target stream length"
	case last.less(s.head.deleted):
		return "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
	}
	return ""
}

// groupTouched records an effect that changes a stream's groups but not its entries.
// As in Redis it is a change and an event, but nothing that WATCH would notice.
func (c *Ctx) groupTouched(event string, key []byte) {
	c.store.dirty++
	c.groupUsed(event, key)
}

// groupUsed is groupTouched for what Redis does not count as a change: times and counts
// of deliveries.
func (c *Ctx) groupUsed(event string, key []byte) {
	fx := &c.store.fx
	if fx.want&EffectKey != 0 { // XPENDING and XINFO may be cached, too
		fx.add(Effect{Kind: EffectKey, DB: c.db, Key: key})
	}
	if fx.notify != 0 {
		c.event(event, key)
	}
}
