package kv

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

// missed notes a key miss. Commands that write look keys up for writing, which is no
// miss to Redis, and OBJECT does not count.
func (c *Ctx) missed(key []byte) {
	to := c.missesTo
	if c.logged || c.cmd == nil || c.cmd.Flags&FlagReadonly == 0 || c.cmd.quiet() || len(to.Misses) >= maxMisses {
		return
	}
	to.Misses = append(to.Misses, Miss{DB: c.db, Key: append([]byte(nil), key...), Notify: c.settings().notify()})
}

// quiet: the command's lookups are not notified of.
func (c *Command) quiet() bool { return len(c.argv0) > 1 }
