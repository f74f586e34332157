package kv

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// The feed is what a plain Redis replica needs to follow: for each change the commands
// that repeat it on a server that has neither our clock nor our dice, as Redis
// propagates its own. Times are absolute, chance is drawn, IDs are complete, a script
// is the commands it called; what belongs together stands between MULTI and EXEC. A
// command that Redis 7.0 does not know is fed as the value it left behind (RESTORE).
// docs/adr/0023 has the reasons.

// fedCommand is a command of the block that is being gathered.
type fedCommand struct {
	db        int
	args      [][]byte
	serverDel bool
}

// fedKey is a key that the present command modified.
type fedKey struct {
	db  int
	key string
}

// feedLog is the feed's part of effectLog.
type feedLog struct {
	index   uint64
	version int64 // Settings.RedisVersion
	block   []fedCommand
	keys    []fedKey
	lapsed  uint64 // keys that were fed as expired or evicted
}

// feedMark is where a command begins.
type feedMark struct {
	on            bool
	dirty, lapsed uint64
	tape          int
	args          [][]byte // the command's: some functions take theirs for another's
}

func (fx *effectLog) feeding() bool { return fx.want&EffectCommand != 0 }

// run runs the command and feeds what it did, if somebody is fed: marks that nobody needs are
// worth sparing.
func (c *Ctx) run(cmd *Command) {
	if !c.logged || !c.store.fx.feeding() {
		cmd.Run(c)
		return
	}
	mark := c.beginFeed()
	cmd.Run(c)
	c.endFeed(mark)
}

// beginFeed notes where the command begins; endFeed feeds what it did.
func (c *Ctx) beginFeed() (m feedMark) {
	fx := &c.store.fx
	if !c.logged || !fx.feeding() {
		return m
	}
	fx.feed.keys = fx.feed.keys[:0]
	return feedMark{true, c.store.dirty, fx.feed.lapsed, c.Out.Len(), c.Args}
}

func (c *Ctx) endFeed(m feedMark) {
	if !m.on || c.cmd.Script {
		return // what a script called was fed call by call
	}
	fx := &c.store.fx
	c.Args = m.args
	form, known := feedForms[c.cmd.Name]
	always := feedAlways[c.cmd.Name] && !bytes.HasPrefix(c.Out.b[m.tape:], []byte{'-'})
	if !always && c.store.dirty-m.dirty == fx.feed.lapsed-m.lapsed {
		return
	}
	switch {
	case known:
		reply, _ := parseTape(c.Out.b[m.tape:])
		form(c, reply)
	case !c.cmd.inRedis70() || c.cmd.Group == "server" && !always:
		c.feedState()
	case c.cmd.parent != nil: // how a subcommand was spelled is not in the log
		c.feedArgs(append([][]byte{c.Args[0], bytes.ToUpper(c.Args[1])}, c.Args[2:]...)...)
	default:
		c.feedArgs(c.Args...)
	}
}

// inRedis70 reports whether a replica of the oldest version we feed knows the command.
// DEBUG's rows have no version, ours begin with 0.
func (c *Command) inRedis70() bool {
	return c.Since != "" && !strings.HasPrefix(c.Since, "0.") && c.Since < "7.2"
}

// feedAlways are commands that are fed though they may have changed no key.
var feedAlways = map[string]bool{
	"flushall": true, "flushdb": true, "swapdb": true, "publish": true, "spublish": true,
	"function|load": true, "function|delete": true, "function|flush": true, "function|restore": true,
}

// feedArgs puts a command into the block. The bytes are copied.
func (c *Ctx) feedArgs(args ...[]byte) { c.store.fx.feedCommand(c.db, args) }

func (c *Ctx) feedWords(name string, args ...[]byte) {
	c.feedArgs(append([][]byte{[]byte(name)}, args...)...)
}

func (fx *effectLog) feedCommand(db int, args [][]byte) {
	fx.feed.block = append(fx.feed.block, fedCommand{db: db, args: copyAll(args)})
}

func copyAll(args [][]byte) [][]byte {
	size := 0
	for _, a := range args {
		size += len(a)
	}
	room, out := make([]byte, 0, size), make([][]byte, len(args))
	for i, a := range args {
		at := len(room)
		room = append(room, a...)
		out[i] = room[at:len(room):len(room)]
	}
	return out
}

// endBlock hands on what was gathered: one after the other, or as one transaction.
func (fx *effectLog) endBlock(together bool) {
	block := fx.feed.block
	if len(block) == 0 {
		return
	}
	together = together && len(block) > 1
	if together {
		db := AllDatabases // SELECT comes behind MULTI
		if fx.feed.version < redis74 {
			db = block[0].db
		}
		fx.addFed(fedCommand{db: db, args: [][]byte{[]byte("MULTI")}})
	}
	for _, f := range block {
		fx.addFed(f)
	}
	if together {
		fx.addFed(fedCommand{db: AllDatabases, args: [][]byte{[]byte("EXEC")}})
	}
	clear(block)
	fx.feed.block = block[:0]
}

func (fx *effectLog) addFed(f fedCommand) {
	fx.add(Effect{Kind: EffectCommand, DB: f.db, Args: f.args, Index: fx.feed.index, ServerDel: f.serverDel})
}

// feedServerDel feeds that a command which is no DEL took the whole key away.
func (c *Ctx) feedServerDel(key []byte) {
	c.feedWords("DEL", key)
	block := c.store.fx.feed.block
	block[len(block)-1].serverDel = true
}

// feedGone feeds a key that expired or was evicted.
func (c *Ctx) feedGone(key []byte) {
	c.store.fx.feed.lapsed++
	c.feedWords("DEL", key)
}

// feedState feeds the values that the command left in the keys it modified.
func (c *Ctx) feedState() {
	fx := &c.store.fx
	done := map[fedKey]bool{}
	for _, k := range fx.feed.keys {
		if done[k] {
			continue
		}
		done[k] = true
		key := []byte(k.key)
		v, ok := c.store.dbs[k.db].get(key)
		if !ok {
			fx.feedCommand(k.db, [][]byte{[]byte("DEL"), key})
			continue
		}
		payload, err := dumpValue(v)
		if err != nil {
			continue // no value of ours cannot be dumped
		}
		at := strconv.AppendInt(nil, v.ExpireAt, 10)
		fx.feedCommand(k.db, [][]byte{[]byte("RESTORE"), key, at, payload, []byte("REPLACE"), []byte("ABSTTL")})
	}
}

// feedForms are the commands that are fed in another form than they were sent. reply is
// the command's.
var feedForms map[string]func(c *Ctx, reply tapeValue)

func init() {
	pop := func(name string) func(c *Ctx, reply tapeValue) {
		return func(c *Ctx, reply tapeValue) { c.feedWords(name, reply.list[0].text) }
	}
	feedForms = map[string]func(c *Ctx, reply tapeValue){
		"set":          func(c *Ctx, _ tapeValue) { c.feedSet(c.Args[2]) },
		"getset":       func(c *Ctx, _ tapeValue) { c.feedSet(c.Args[2]) },
		"setex":        func(c *Ctx, _ tapeValue) { c.feedSet(c.Args[3]) },
		"psetex":       func(c *Ctx, _ tapeValue) { c.feedSet(c.Args[3]) },
		"getdel":       func(c *Ctx, _ tapeValue) { c.feedWords("DEL", c.Args[1]) },
		"getex":        func(c *Ctx, _ tapeValue) { c.feedExpiry() },
		"expire":       func(c *Ctx, _ tapeValue) { c.feedExpiry() },
		"pexpire":      func(c *Ctx, _ tapeValue) { c.feedExpiry() },
		"expireat":     func(c *Ctx, _ tapeValue) { c.feedExpiry() },
		"pexpireat":    func(c *Ctx, _ tapeValue) { c.feedExpiry() },
		"restore":      func(c *Ctx, _ tapeValue) { c.feedRestore() },
		"incrbyfloat":  func(c *Ctx, r tapeValue) { c.feedWords("SET", c.Args[1], r.text, []byte("KEEPTTL")) },
		"hincrbyfloat": func(c *Ctx, r tapeValue) { c.feedWords("HSET", c.Args[1], c.Args[2], r.text) },
		"spop":         func(c *Ctx, r tapeValue) { c.feedSPop(r) },
		"xadd":         func(c *Ctx, r tapeValue) { c.feedXAdd(r) },
		"xtrim": func(c *Ctx, _ tapeValue) {
			c.feedWords("XTRIM", c.Args[1], []byte("MAXLEN"), []byte("="), c.streamLen())
		},
		"xreadgroup": func(c *Ctx, r tapeValue) { c.feedXReadGroup(r) },
		"xclaim":     func(c *Ctx, r tapeValue) { c.feedXClaim(r) },
		"xautoclaim": func(c *Ctx, r tapeValue) { c.feedXAutoClaim(r) },
		"lmpop":      func(c *Ctx, r tapeValue) { c.feedMPop("POP", 2, r) },
		"blmpop":     func(c *Ctx, r tapeValue) { c.feedMPop("POP", 3, r) },
		"zmpop":      func(c *Ctx, r tapeValue) { c.feedMPop("ZPOP", 2, r) },
		"bzmpop":     func(c *Ctx, r tapeValue) { c.feedMPop("ZPOP", 3, r) },
		"blpop":      pop("LPOP"),
		"brpop":      pop("RPOP"),
		"bzpopmin":   pop("ZPOPMIN"),
		"bzpopmax":   pop("ZPOPMAX"),
		"blmove":     func(c *Ctx, _ tapeValue) { c.feedWords("LMOVE", c.Args[1:5]...) },
		"brpoplpush": func(c *Ctx, _ tapeValue) { c.feedWords("RPOPLPUSH", c.Args[1:3]...) },
		// Scripts are fed as what they call: a replica needs no cache of them.
		"script|load": func(*Ctx, tapeValue) {}, "script|flush": func(*Ctx, tapeValue) {},
	}
	for name := range feedAlways {
		if head, sub, ok := strings.Cut(name, "|"); ok { // names are not in the log
			feedForms[name] = func(c *Ctx, _ tapeValue) {
				c.feedArgs(append([][]byte{[]byte(strings.ToUpper(head)), []byte(strings.ToUpper(sub))}, c.Args[2:]...)...)
			}
		}
	}
}

// feedSet feeds a string that was set, with its expiry.
func (c *Ctx) feedSet(value []byte) {
	key := c.Args[1]
	switch v, ok := c.ks.get(key); {
	case !ok: // it was to expire in the past
		c.feedWords("DEL", key)
	case v.ExpireAt != 0:
		c.feedWords("SET", key, value, c.spelled("PXAT"), strconv.AppendInt(nil, v.ExpireAt, 10))
	default:
		c.feedWords("SET", key, value)
	}
}

// spelled is a word as the command has it; if it does not, or as Redis 7.0 has it, as it is.
func (c *Ctx) spelled(word string) []byte {
	if c.settings().RedisVersion < redis72 {
		return []byte(word)
	}
	for _, a := range c.Args[min(3, len(c.Args)):] {
		if strings.EqualFold(string(a), word) {
			return a
		}
	}
	return []byte(word)
}

// feedExpiry feeds when the key expires now.
func (c *Ctx) feedExpiry() {
	key := c.Args[1]
	switch v, ok := c.ks.get(key); {
	case !ok:
		c.feedWords("DEL", key)
	case v.ExpireAt != 0:
		c.feedWords("PEXPIREAT", key, strconv.AppendInt(nil, v.ExpireAt, 10))
	default:
		c.feedWords("PERSIST", key)
	}
}

func (c *Ctx) feedRestore() {
	key := c.Args[1]
	v, ok := c.ks.get(key)
	if !ok {
		c.feedServerDel(key)
		return
	}
	args := append([][]byte{key, strconv.AppendInt(nil, v.ExpireAt, 10)}, c.Args[3:]...)
	if a, _ := c.restoreOptions(); !a.absolute {
		args = append(args, []byte("ABSTTL"))
	}
	c.feedWords("RESTORE", args...)
}

// feedSPop feeds which members went.
func (c *Ctx) feedSPop(reply tapeValue) {
	key, members := c.Args[1], reply.list
	if len(c.Args) == 2 {
		members = []tapeValue{reply}
	} else if _, ok := c.ks.get(key); !ok {
		c.feedServerDel(key)
		return
	}
	args := [][]byte{[]byte("SREM"), key}
	for _, m := range members {
		args = append(args, m.text)
	}
	c.feedArgs(args...)
}

// feedMPop feeds LMPOP and ZMPOP as a pop of one key; numkeys is the place behind the
// argument that counts the keys.
func (c *Ctx) feedMPop(name string, at int, reply tapeValue) {
	n, _ := parseInt(c.Args[at-1])
	where := strings.ToUpper(string(c.Args[at+int(n)]))
	if name == "POP" {
		name = where[:1] + name
	} else {
		name += where
	}
	c.feedWords(name, reply.list[0].text, strconv.AppendInt(nil, int64(len(reply.list[1].list)), 10))
}

func (c *Ctx) streamLen() []byte {
	n := 0
	if s, ok := c.openStream(c.Args[1]); ok && s.found {
		n = s.len()
	}
	return strconv.AppendInt(nil, int64(n), 10)
}

// feedXAdd feeds the entry with its ID. Which entries a trim left depends on the nodes
// of the stream, so the replica is told how many stay.
func (c *Ctx) feedXAdd(reply tapeValue) {
	args := [][]byte{[]byte("XADD"), c.Args[1]}
	i := 2
	for ; i < len(c.Args); i++ {
		switch a := c.Args[i]; {
		case is(a, "nomkstream"):
			args = append(args, a)
			continue
		case is(a, "maxlen"), is(a, "minid"):
			if i++; is(c.Args[i], "=") || is(c.Args[i], "~") {
				i++
			}
			args = append(args, []byte("MAXLEN"), []byte("="), c.streamLen())
			continue
		case is(a, "limit"):
			i++
			continue
		}
		break
	}
	args = append(args, reply.text)
	c.feedArgs(append(args, c.Args[i+1:]...)...)
}

// feedXReadGroup feeds what was delivered: the replica has no reader.
func (c *Ctx) feedXReadGroup(reply tapeValue) {
	group, consumer := c.Args[2], c.Args[3]
	noAck := false
	i := 4
	for ; i < len(c.Args) && !is(c.Args[i], "streams"); i++ {
		noAck = noAck || is(c.Args[i], "noack")
	}
	keys := c.Args[i+1:]
	keys, ids := keys[:len(keys)/2], keys[len(keys)/2:]
	now, one := strconv.AppendInt(nil, c.now, 10), []byte("1")
	for k, key := range keys {
		entries := reply.member(key)
		if !is(ids[k], ">") || noAck || len(entries) == 0 {
			if v, ok := c.ks.get(key); ok && v.Type == TypeStream {
				c.feedWords("XGROUP", []byte("CREATECONSUMER"), key, group, consumer)
			}
		}
		if !is(ids[k], ">") || len(entries) == 0 {
			continue
		}
		last := entries[len(entries)-1].list[0].text
		if noAck {
			c.feedWords("XGROUP", []byte("SETID"), key, group, last)
			continue
		}
		for _, e := range entries {
			id := e.list[0].text
			c.feedWords("XCLAIM", key, group, consumer, []byte("0"), id, []byte("TIME"), now, []byte("RETRYCOUNT"), one,
				[]byte("FORCE"), []byte("JUSTID"), []byte("LASTID"), id)
		}
		c.feedGroupRead(key, group, last)
	}
}

// feedGroupRead feeds how many entries a group has read, which XCLAIM does not tell a
// replica. Redis 7.0 does not feed it.
func (c *Ctx) feedGroupRead(key, name, last []byte) {
	s, ok := c.openStream(key)
	if !ok || !s.found || c.settings().RedisVersion < redis74 {
		return
	}
	if g, ok := s.group(name); ok {
		c.feedWords("XGROUP", []byte("SETID"), key, name, last, []byte("ENTRIESREAD"), strconv.AppendInt(nil, g.read, 10))
	}
}

// feedXClaim feeds the entries that were claimed, whatever the replica thinks of how
// long they have been idle.
func (c *Ctx) feedXClaim(reply tapeValue) {
	args := append([][]byte{[]byte("XCLAIM")}, c.Args[1:4]...)
	args = append(args, []byte("0"))
	n := len(args)
	for _, e := range reply.list {
		args = append(args, e.id())
	}
	if len(args) == n {
		return
	}
	timed := false
	i := 5
	for ; i < len(c.Args); i++ {
		if _, ok := parseStreamID(c.Args[i], 0); !ok {
			break
		}
	}
	for ; i < len(c.Args); i++ {
		switch a := c.Args[i]; {
		case is(a, "idle"):
			ms, _ := parseInt(c.Args[i+1])
			args = append(args, []byte("TIME"), strconv.AppendInt(nil, c.now-ms, 10))
			timed = true
			i++
		case is(a, "time"):
			timed = true
			args = append(args, a)
		default:
			args = append(args, a)
		}
	}
	if !timed {
		args = append(args, []byte("TIME"), strconv.AppendInt(nil, c.now, 10))
	}
	c.feedArgs(args...)
}

func (c *Ctx) feedXAutoClaim(reply tapeValue) {
	head := [][]byte{c.Args[1], c.Args[2]}
	args := append([][]byte{[]byte("XCLAIM")}, c.Args[1:4]...)
	args = append(args, []byte("0"))
	if entries := reply.list[1].list; len(entries) > 0 {
		for _, e := range entries {
			args = append(args, e.id())
		}
		args = append(args, []byte("TIME"), strconv.AppendInt(nil, c.now, 10))
		if is(c.Args[len(c.Args)-1], "justid") {
			args = append(args, []byte("JUSTID"))
		}
		c.feedArgs(args...)
	}
	if len(reply.list) > 2 && len(reply.list[2].list) > 0 { // they are in no stream any more
		for _, e := range reply.list[2].list {
			head = append(head, e.id())
		}
		c.feedWords("XACK", head...)
	}
}

// tapeValue is a value of a tape.
type tapeValue struct {
	text []byte
	list []tapeValue
}

// id is an entry's: of the entry, or of a list of IDs.
func (v tapeValue) id() []byte {
	if len(v.list) > 0 {
		return v.list[0].text
	}
	return v.text
}

// member is the list that belongs to a key in XREAD's reply.
func (v tapeValue) member(key []byte) []tapeValue {
	for i := 0; i+1 < len(v.list); i += 2 {
		if bytes.Equal(v.list[i].text, key) {
			return v.list[i+1].list
		}
	}
	return nil
}

// parseTape decodes the value at the start of a tape that this package wrote. The
// bytes are the tape's.
func parseTape(b []byte) (v tapeValue, rest []byte) {
	i := bytes.IndexByte(b, '\r')
	if i < 1 {
		return v, nil
	}
	tag, head := b[0], b[1:i]
	b = b[i+2:]
	n := 0
	switch tag {
	case '$', '=':
		size, _ := parseInt(head)
		if size < 0 || size > math.MaxInt32 || int(size)+2 > len(b) {
			return v, b
		}
		v.text = b[:size]
		return v, b[size+2:]
	case '*', '~', '>':
		size, _ := parseInt(head)
		n = int(size)
	case '%', 'P', 'K':
		size, _ := parseInt(head)
		n = 2 * int(size)
	default:
		v.text = head
		return v, b
	}
	for ; n > 0; n-- {
		var e tapeValue
		e, b = parseTape(b)
		v.list = append(v.list, e)
	}
	return v, b
}
