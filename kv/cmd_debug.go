package kv

import (
	"fmt"
	"strconv"
)

// The parts of DEBUG that look at or make data. They are in no table that clients,
// scripts or COMMAND can see: package resp takes them by DebugCommand once it knows
// that DEBUG is enabled.
var debugCommands = []Command{
	{Name: "debug|digest", Group: "server", Arity: 2, Flags: FlagReadonly, Run: debugDigest},
	{Name: "debug|digest-value", Group: "server", Arity: -2, Flags: FlagReadonly, Run: debugDigestValue},
	{Name: "debug|object", Group: "server", Arity: -3, Flags: FlagReadonly, Run: debugObject},
	{Name: "debug|sdslen", Group: "server", Arity: 3, Flags: FlagReadonly, Run: debugSDSLen},
	{Name: "debug|listpack", Group: "server", Arity: 3, Flags: FlagReadonly, Run: debugListpack},
	{Name: "debug|ziplist", Group: "server", Arity: 3, Flags: FlagReadonly, Run: debugListpack},
	{Name: "debug|htstats", Group: "server", Arity: -3, Flags: FlagReadonly, Run: debugHTStats},
	{Name: "debug|htstats-key", Group: "server", Arity: -3, Flags: FlagReadonly, Run: debugHTStatsKey},
	{Name: "debug|populate", Group: "server", Arity: -3, Flags: FlagWrite | FlagDenyOOM, Op: 151, Run: debugPopulate},
	{Name: "debug|set-active-expire", Group: "server", Arity: 3, Flags: FlagWrite, Op: 153, Run: debugActiveExpire},
	{Name: "debug|sleep", Group: "server", Arity: 3, Flags: FlagWrite, Op: 154, Run: debugSleep},
	{Name: "debug|set-disable-deny-scripts", Group: "server", Arity: 3, Flags: FlagWrite, Op: 152, Run: debugInScripts},
}

// DebugCommand finds the row of a subcommand of DEBUG that is about data; nil if there
// is none. It is an ordinary read or logged command of a chunk.
func DebugCommand(sub []byte) *Command {
	for i := range debugCommands {
		if equalFold(debugCommands[i].argv0[1], sub) {
			return &debugCommands[i]
		}
	}
	return nil
}

// debugSleep is DEBUG SLEEP seconds in a transaction: the client's node slept before it
// proposed it (Chunk.BeginExecAgo), and what follows comes so much later than what stands
// before it.
func debugSleep(c *Ctx) {
	seconds, ok := parseFloat(c.Args[2])
	if !ok || !(seconds >= 0) {
		c.Out.Error(errNotFloat)
		return
	}
	if c.inExec {
		c.now = min(c.now+int64(min(seconds, 60)*1000), c.store.st.Stamp)
	}
	c.Out.OK()
}

// debugObject is DEBUG OBJECT key. Addresses and reference counts mean nothing here;
// they are there because programs parse the line.
func debugObject(c *Ctx) {
	v, found := c.ks.get(c.Args[2]) // expired or not
	if !found {
		c.Out.Error(errNoKey)
		return
	}
	payload, err := dumpValue(v)
	if err != nil {
		c.Out.Error("ERR " + err.Error())
		return
	}
	c.work(valueWork(v))
	idle := c.store.access.idle(c.db, c.store.hash(c.Args[2]), c.now)
	line := fmt.Sprintf("Value at:0x0 refcount:1 encoding:%s serializedlength:%d lru:%d lru_seconds_idle:%d",
		c.encodingOf(v), len(payload)-1-dumpFooter, int64(accessClock(c.now))-idle, idle)
	if v.Type == TypeList {
		line += fmt.Sprintf(" ql_nodes:%d ql_avg_node:%.2f ql_listpack_max:%d ql_compressed:0 ql_uncompressed_size:%d",
			1, float64(valueWork(v)), c.settings().ListMaxListpackSize, len(payload))
	}
	c.Out.Status(line)
}

// debugSDSLen is DEBUG SDSLEN key: of strings that no allocator rounded up.
func debugSDSLen(c *Ctx) {
	key := c.Args[2]
	v, found := c.lookup(key)
	switch {
	case !found:
		c.Out.Error(errNoKey)
	case v.Type != TypeString:
		c.Out.Error("ERR Not an sds encoded string.")
	default:
		n := len(v.str())
		c.Out.Status(fmt.Sprintf("key_sds_len:%d, key_sds_avail:0, key_zmalloc: %d, val_sds_len:%d, val_sds_avail:0, val_zmalloc: %d",
			len(key), len(key), n, n))
	}
}

// debugListpack is DEBUG LISTPACK key. Redis prints the structure to its standard
// output; here there is nothing to print.
func debugListpack(c *Ctx) {
	v, found := c.lookup(c.Args[2])
	switch {
	case !found:
		c.Out.Error(errNoKey)
	case v.Enc != EncPacked || v.Type == TypeString:
		c.Out.Error("ERR Not a listpack encoded object.")
	default:
		c.Out.Status("Listpack structure printed on stdout")
	}
}

// debugHTStats is DEBUG HTSTATS db: the number of keys, in a table that is as large as
// Redis would make it.
func debugHTStats(c *Ctx) {
	db, ok := c.intArg(2)
	if !ok {
		return
	}
	if db < 0 || db >= int64(len(c.store.dbs)) {
		c.Out.Error("ERR Out of range database")
		return
	}
	ks := c.store.dbs[db]
	text := "[Dictionary HT]\n" + tableStats(ks.len()) + "[Expires HT]\n" + tableStats(ks.due.len())
	c.Out.Verbatim("txt", []byte(text))
}

// debugHTStatsKey is DEBUG HTSTATS-KEY key.
func debugHTStatsKey(c *Ctx) {
	v, found := c.lookup(c.Args[2])
	switch {
	case !found:
		c.Out.Error(errNoKey)
	case v.Enc != EncTree || v.Type == TypeList || v.Type == TypeStream:
		c.Out.Error("ERR The value stored at the specified key is not represented using an hash table")
	default:
		c.Out.Verbatim("txt", []byte(tableStats(v.Obj.t.len())))
	}
}

func tableStats(elements int) string {
	if elements == 0 {
		return "No stats available for empty dictionaries\n"
	}
	size := 4
	for size < elements {
		size *= 2
	}
	return "Hash table 0 stats (main hash table):\n table size: " + strconv.Itoa(size) +
		"\n number of elements: " + strconv.Itoa(elements) + "\n"
}

// debugActiveExpire is DEBUG SET-ACTIVE-EXPIRE 0|1: with 0 a key that is due goes when
// somebody asks for it.
func debugActiveExpire(c *Ctx) {
	on, ok := c.intArg(2)
	if !ok {
		return
	}
	c.settings().ActiveExpire = min(max(on, 0), 1)
	c.Out.OK()
}

// populateMax bounds the keys of one DEBUG POPULATE: it is one command of the log.
const populateMax = 1_000_000

// debugPopulate is DEBUG POPULATE count [prefix] [size]: keys that are there already
// stay as they are.
func debugPopulate(c *Ctx) {
	count, ok := c.intArg(2)
	if !ok {
		return
	}
	prefix, size := []byte("key"), int64(-1)
	if len(c.Args) > 3 {
		prefix = c.Args[3]
	}
	if len(c.Args) > 4 {
		if size, ok = c.intArg(4); !ok {
			return
		}
	}
	if len(c.Args) > 5 || count < 0 || count > populateMax || size > c.settings().ProtoMaxBulkLen ||
		size > 0 && count > c.settings().ProtoMaxBulkLen*4/size+1 {
		c.Out.Error(errOutOfRange)
		return
	}
	for i := range count {
		key := appendInt(append(append([]byte(nil), prefix...), ':'), i)
		if c.exists(key) {
			continue
		}
		val := appendInt([]byte("value:"), i)
		if size >= 0 {
			sized := make([]byte, size)
			copy(sized, val)
			val = sized
		}
		c.put(key, Value{Type: TypeString, Enc: EncRaw, Bytes: val})
		c.touched("set", key)
	}
	c.work(int(count) * opCost)
	c.Out.OK()
}
