package kv

import "bytes"

// NotifyFlags are the classes of keyspace events that notify-keyspace-events selects.
type NotifyFlags uint32

// The classes, with Redis's letters.
const (
	NotifyKeyspace NotifyFlags = 1 << iota // K
	NotifyKeyevent                         // E
	notifyGeneric                          // g
	notifyString                           // $
	notifyList                             // l
	notifySet                              // s
	notifyHash                             // h
	notifyZSet                             // z
	notifyExpired                          // x
	notifyEvicted                          // e
	notifyStream                           // t
	notifyModule                           // d
	notifyNew                              // n
	NotifyKeyMiss                          // m: arises in reads

	notifyAll = notifyGeneric | notifyString | notifyList | notifySet | notifyHash | notifyZSet |
		notifyExpired | notifyEvicted | notifyStream | notifyModule // A
)

// notifyLetters is in the order in which CONFIG GET shows them.
var notifyLetters = [...]struct {
	letter byte
	flag   NotifyFlags
}{
	{'g', notifyGeneric}, {'$', notifyString}, {'l', notifyList}, {'s', notifySet}, {'h', notifyHash},
	{'z', notifyZSet}, {'x', notifyExpired}, {'e', notifyEvicted}, {'t', notifyStream}, {'d', notifyModule},
	{'n', notifyNew}, {'K', NotifyKeyspace}, {'E', NotifyKeyevent}, {'m', NotifyKeyMiss},
}

// enabled: an event is published somewhere.
func (f NotifyFlags) enabled() bool { return f&(NotifyKeyspace|NotifyKeyevent) != 0 }

// parseNotify reads the setting; false at a letter that is none.
func parseNotify(b []byte) (f NotifyFlags, ok bool) {
next:
	for _, c := range b {
		if c == 'A' {
			f |= notifyAll
			continue
		}
		for _, l := range notifyLetters {
			if l.letter == c {
				f |= l.flag
				continue next
			}
		}
		return 0, false
	}
	return f, true
}

// String is the setting as CONFIG GET shows it.
func (f NotifyFlags) String() string {
	var out []byte
	all := f&notifyAll == notifyAll
	if all {
		out = append(out, 'A')
	}
	for _, l := range notifyLetters {
		if f&l.flag == 0 || all && (notifyAll|notifyNew)&l.flag != 0 {
			continue // like Redis, A hides n
		}
		out = append(out, l.letter)
	}
	return string(out)
}

// notify are the classes selected now.
func (s *Settings) notify() NotifyFlags { return NotifyFlags(s.NotifyKeyspaceEvents) }

// notifyClasses is the class of every event that commands record (Ctx.touched).
var notifyClasses = map[string]NotifyFlags{
	"expired": notifyExpired, "evicted": notifyEvicted, "new": notifyNew, "keymiss": NotifyKeyMiss,
}

func init() {
	for class, events := range map[NotifyFlags][]string{
		notifyGeneric: {"del", "expire", "persist", "rename_from", "rename_to", "move_from", "move_to", "copy_to", "restore"},
		notifyString:  {"set", "setrange", "incrby", "incrbyfloat", "append", "setbit", "pfadd"},
		notifyList:    {"lpush", "rpush", "linsert", "lset", "lrem", "ltrim", "lpop", "rpop", "sortstore"},
		notifySet:     {"sadd", "srem", "spop", "sinterstore", "sunionstore", "sdiffstore"},
		notifyHash:    {"hset", "hincrby", "hincrbyfloat", "hdel", "hexpire", "hexpired", "hpersist"},
		notifyZSet: {"zadd", "zincr", "zrem", "zremrangebyscore", "zremrangebyrank", "zremrangebylex",
			"zdiffstore", "zinterstore", "zunionstore", "zrangestore", "zpopmin", "zpopmax", "geosearchstore", "georadiusstore"},
		notifyStream: {"xadd", "xdel", "xtrim", "xsetid", "xgroup-create", "xgroup-createconsumer",
			"xgroup-delconsumer", "xgroup-destroy", "xgroup-setid"},
	} {
		for _, e := range events {
			notifyClasses[e] = class
		}
	}
}

func notifyClass(event string) NotifyFlags { return notifyClasses[event] }

// Miss is a key that a read did not find.
type Miss struct {
	DB     int
	Key    []byte
	Notify NotifyFlags
}

// maxMisses bounds what a chunk keeps of its misses.
const maxMisses = 4096

// noteMisses notes which keys the command is about to read and will not find. On the
// log's commands that is an event like others; a read happens on one node, which has
// to tell the others.
func (c *Ctx) noteMisses(cmd *Command, args [][]byte) {
	for _, i := range missKeys(cmd, args) {
		key := args[i]
		if v, ok := c.ks.get(key); ok && (v.ExpireAt == 0 || v.ExpireAt > c.now) {
			if wrongTypeFor(cmd, &v) {
				return // it ends here
			}
			continue
		}
		if c.logged {
			c.event("keymiss", key)
		} else if to := c.missesTo; len(to.Misses) < maxMisses {
			to.Misses = append(to.Misses, Miss{DB: c.db, Key: append([]byte(nil), key...), Notify: c.settings().notify()})
		}
	}
}

// wrongTypeFor reports whether a command with several sources fails at this one.
func wrongTypeFor(cmd *Command, v *Value) bool {
	switch cmd.Group {
	case "set":
		return v.Type != TypeSet
	case "sorted-set":
		return v.Type != TypeZSet && v.Type != TypeSet
	case "bitmap":
		return v.Type != TypeString
	case "hyperloglog":
		return v.Type != TypeString || !bytes.HasPrefix(v.str(), []byte("HYLL"))
	}
	return false
}

// wantsMisses reports whether key misses of the command are notified of.
func (c *Ctx) wantsMisses() bool {
	return c.missesTo != nil && !c.logged || c.logged && c.store.fx.notify&NotifyKeyMiss != 0
}

// missKeys are the positions of the keys that Redis looks up for reading: all of a
// command that only reads (but for OBJECT), the sources of one that writes.
func missKeys(cmd *Command, args [][]byte) (list []int) {
	all, ok := cmd.KeyPositions(args)
	if !ok || cmd.Script {
		return nil
	}
	if cmd.Flags&FlagReadonly != 0 {
		if len(cmd.argv0) > 1 && string(cmd.argv0[0]) == "object" {
			return nil
		}
		return all
	}
	first := writerMissKeys[cmd.Name]
	switch {
	case first == 0:
		return nil
	case cmd.Name == "set" && !hasWord(args[3:], "get"),
		cmd.Name == "bitfield" && (hasWord(args[2:], "set") || hasWord(args[2:], "incrby")):
		return nil
	}
	for _, i := range all {
		if i >= first && (i == first || !missesFirstOnly[cmd.Name]) {
			list = append(list, i)
		}
	}
	return list
}

// writerMissKeys are the commands that write and also look keys up for reading, with
// the position of the first of these.
var writerMissKeys = map[string]int{
	"getdel": 1, "getex": 1, "getset": 1, "set": 1, "bitfield": 1, "copy": 1, "sort": 1, "georadius": 1, "georadiusbymember": 1,
	"xack": 1, "xclaim": 1, "xautoclaim": 1, "xreadgroup": 1, "pfmerge": 1,
	"zrangestore": 2, "geosearchstore": 2, "sinterstore": 2, "sunionstore": 2, "sdiffstore": 2,
	"zunionstore": 2, "zinterstore": 2, "zdiffstore": 2, "bitop": 3,
}

// missesFirstOnly: later keys are destinations.
var missesFirstOnly = map[string]bool{"copy": true, "sort": true, "georadius": true, "georadiusbymember": true}

func hasWord(args [][]byte, word string) bool {
	for _, a := range args {
		if is(a, word) {
			return true
		}
	}
	return false
}
