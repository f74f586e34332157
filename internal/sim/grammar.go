package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// Any command at all. What is said is drawn from phrases: a word is itself or a
// placeholder, ?(a|b) is one of these or nothing, (a|b) is one of them, and + joins the
// words of an alternative. Most phrases are right, some of what fills them is not, and
// keys now and then hold another type: every node has to make the same of it.
//
//	K L key of the family    V value      F field or member    I integer    D double
//	S stream id              T time, ms   P pattern            * anything

// phrases by the first letters of their keys.
var phrases = map[string]string{
	"st": `
set K V ?(nx|xx|get|ex+100|px+T|keepttl|pxat+1700000900000)
get K
setnx K V
setex K 100 V
psetex K T V
mset K V L V
msetnx K V L V
msetex 2 K V L V ?(nx|xx) ?(px+T)
mget K L
getset K V
getdel K
getex K ?(px+T|persist)
append K V
strlen K
setrange K I V
getrange K I I
substr K I I
incr K
decr K
incrby K I
decrby K I
incrbyfloat K D
increx K ?(byint+I|byfloat+D)
lcs K L ?(len|idx+?withmatchlen)
digest K
delex K ?(ifeq+V|ifne+V)
rkv.fence set K V
rkv.once s1 I incr K
rkv.once s2 I append K V`,
	"bi": `
setbit K I (0|1)
getbit K I
bitcount K ?(I+I+?(bit|byte))
bitpos K (0|1) ?(I+I)
bitop (and|or|xor|not) K L
bitop or K K L
bitfield K set (u8|i5|u63|i64) I I ?(incrby+u4+I+I) ?(overflow+fail+incrby+i8+0+100)
bitfield_ro K get u8 I
bitfield K get i9 I`,
	"ha": `
hset K F V F V
hmset K F V
hsetnx K F V
hget K F
hmget K F F
hgetall K
hdel K F ?F
hlen K
hkeys K
hvals K
hexists K F
hstrlen K F
hincrby K F I
hincrbyfloat K F D
hrandfield K
hscan K 0
hexpire K 100 fields 1 F
hpexpire K T ?(nx|xx|gt|lt) fields 2 F F
hexpireat K 1700000900 fields 1 F
hpexpireat K 1700000900000 fields 1 F
hpersist K fields 1 F
httl K fields 1 F
hpttl K fields 1 F
hexpiretime K fields 1 F
hpexpiretime K fields 1 F
hgetdel K fields 1 F
hgetex K ?(px+T|persist) fields 1 F
hsetex K ?(fnx|fxx) ?(px+T|keepttl) fields 1 F V`,
	"li": `
lpush K V ?V
rpush K V V ?V
lpushx K V
rpushx K V
lpop K ?I
rpop K ?I
llen K
lrange K I I
lindex K I
lset K I V
linsert K (before|after) F V
lrem K I F
ltrim K I I
lpos K F ?(rank+I) ?(count+I)
lmove K L (left|right) (left|right)
rpoplpush K L
lmpop 2 K L (left|right) ?(count+I)
rpush K a b c 1 2`,
	"se": `
sadd K F F ?F
sadd K I I I
srem K F
scard K
smembers K
sismember K F
smismember K F F
smove K L F
spop K ?I
srandmember K ?I
sdiff K L
sinter K L
sunion K L
sintercard 2 K L ?(limit+I)
sdiffstore K K L
sinterstore K K L
sunionstore K K L
sscan K 0 ?(match+P)`,
	"zs": `
zadd K ?(nx|xx) ?(ch) D F D F
zadd K ?(gt|lt) D F
zadd K incr D F
zincrby K D F
zrem K F
zcard K
zscore K F
zmscore K F F
zrank K F ?withscore
zrevrank K F
zcount K D D
zlexcount K - +
zrange K I I ?(rev) ?(withscores)
zrange K (-inf|D) (+inf|D) byscore ?(limit+I+I)
zrangebyscore K -inf D
zrevrangebyscore K D -inf
zrangebylex K - (+|[F)
zrevrangebylex K + -
zrevrange K I I
zrangestore L K I I
zpopmin K ?I
zpopmax K ?I
zmpop 2 K L (min|max) ?(count+I)
zrandmember K
zunion 2 K L ?(weights+D+D) ?(aggregate+max) ?(withscores)
zinter 2 K L
zdiff 2 K L
zintercard 2 K L
zunionstore K 2 K L ?(weights+D+D) ?(aggregate+(min|max))
zinterstore K 2 K L
zdiffstore K 2 K L
zremrangebyrank K I I
zremrangebyscore K D D
zremrangebylex K - [F
zscan K 0`,
	"sm": `
xadd K * F V ?(F+V)
xadd K ?(nomkstream) ?(maxlen+~+I|maxlen+I|minid+S) S F V
xlen K
xrange K S S ?(count+I)
xrange K - +
xrevrange K + -
xread ?(count+I) streams K S
xdel K S
xdelex K ?(keepref|delref|acked) ids 1 S
xackdel K g ?(keepref|delref|acked) ids 1 S
xtrim K (maxlen|minid) ?(~) I
xsetid K S
xgroup create K g (0|$|S) ?mkstream
xgroup destroy K g
xgroup setid K g S
xgroup createconsumer K g F
xgroup delconsumer K g F
xreadgroup group g F ?(count+I) ?noack streams K >
xreadgroup group g F streams K S
xack K g S
xclaim K g F I S ?(force|justid)
xautoclaim K g F I S ?(count+I)
xpending K g
xpending K g - + 10
xinfo stream K
xinfo groups K
xinfo consumers K g`,
	"ge": `
geoadd K ?(nx|xx) 13.361389 38.115556 F
geoadd K 15.087269 37.502669 F 2.35 48.85 F
geodist K F F ?(m|km|ft)
geohash K F
geopos K F
geosearch K frommember F byradius 200 km ?(asc|desc) ?(withdist)
geosearch K fromlonlat 15 37 bybox 400 400 km asc
geosearchstore L K fromlonlat 15 37 byradius 200 km
georadius K 15 37 200 km ?(store+L|storedist+L)
georadius_ro K 15 37 200 km
georadiusbymember K F 200 km
georadiusbymember_ro K F 200 km`,
	"hl": `
pfadd K F ?F
pfcount K
pfcount K L
pfmerge K L`,
	"an": `
del K ?L
unlink K
exists K L
type K
touch K
rename K L
renamenx K L
copy K L ?replace
move K 6
expire K 100 ?(nx|xx|gt|lt)
pexpire K T
expireat K 1700000900
pexpireat K 1700000900000
expiretime K
pexpiretime K
ttl K
pttl K
persist K
dump K
sort K ?(alpha) ?(limit+0+5) ?(desc)
sort K alpha store L
sort_ro K alpha
object encoding K
object refcount K
scan 0
keys P
dbsize
randomkey
swapdb 5 6
flushdb
memory usage K
publish F V
spublish F V
raft outcome s1 I
raft outcome s2 I
acl setuser F on +@all ~* >V
acl deluser F
acl users
acl list
acl getuser F
script exists F
script load *
script flush
function list
function stats
function flush`,
}

// unsaid are the commands that no phrase has, with the reason.
var unsaid = map[string]string{
	"flushall":      "the books of the judge are in another database",
	"acl|dryrun":    "says what is said elsewhere",
	"function|load": "client_script.go", "function|delete": "client_script.go", "restore": "dumpRestore", "function|dump": "depends on what is loaded; kv's tests", "function|restore": "kv's tests", "function|help": "fixed text",
	"eval": "client_script.go", "eval_ro": "client_script.go", "evalsha": "client_script.go", "evalsha_ro": "client_script.go", "fcall": "client_script.go", "fcall_ro": "client_script.go",
	"blmove": "client_queue.go", "blmpop": "client_queue.go", "blpop": "client_queue.go", "brpop": "client_queue.go", "brpoplpush": "client_queue.go",
	"bzmpop": "client_queue.go", "bzpopmax": "client_queue.go", "bzpopmin": "client_queue.go",
	"object|freq": "depends on what the node read", "object|idletime": "depends on what the node read", "object|help": "fixed text",
	"pfdebug": "Redis's own tests only", "pfselftest": "changes nothing",
	"script|debug": "fixed text", "script|help": "fixed text", "xgroup|help": "fixed text", "xinfo|help": "fixed text",
}

// atRandom are reads whose replies each node draws for itself, or that tell of its own
// memory: what they say is not compared with the replay.
var atRandom = map[string]bool{
	"srandmember": true, "hrandfield": true, "zrandmember": true, "randomkey": true, "memory|usage": true, "function|stats": true,
}

// speaker says phrases.
type speaker struct {
	rng    *rand.Rand
	family string
}

// families is in a fixed order: a seed has to say the same every time.
var families = []string{"st", "bi", "ha", "li", "se", "zs", "sm", "ge", "hl", "an"}

// lines are the phrases of all families, and whose they are.
var lines = func() (all [][2]string) {
	for _, f := range families {
		for _, line := range strings.Split(phrases[f], "\n") {
			if line != "" {
				all = append(all, [2]string{f, line})
			}
		}
	}
	return all
}()

// say draws a command with the right number of arguments.
func (s *speaker) say() (*kv.Command, [][]byte) {
	for {
		line := pick(s.rng, lines)
		s.family = line[0]
		if s.family == "an" {
			s.family = pick(s.rng, families[:len(families)-1])
		}
		var args [][]byte
		for _, w := range s.words(nil, strings.Fields(line[1])) {
			args = append(args, []byte(w))
		}
		if s.rng.IntN(50) == 0 { // wrong syntax
			args = append(args, []byte(s.fill("*")))
		}
		if cmd := command(args); cmd.ArityOK(len(args)) {
			return cmd, args
		}
	}
}

// command finds the row of the command table; it must be there.
func command(args [][]byte) *kv.Command {
	cmd := kv.Lookup(args[0])
	if cmd != nil && cmd.Sub != nil {
		cmd = cmd.Subcommand(args[1])
	}
	if cmd == nil {
		panic(fmt.Sprintf("sim: no command %q", args))
	}
	return cmd
}

func (s *speaker) words(dst, words []string) []string {
	for _, w := range words {
		if strings.HasPrefix(w, "?") {
			if w = w[1:]; s.rng.IntN(2) == 0 {
				continue
			}
		}
		if strings.HasPrefix(w, "(") && strings.HasSuffix(w, ")") {
			dst = s.words(dst, split(pick(s.rng, split(w[1:len(w)-1], '|')), '+'))
			continue
		}
		dst = append(dst, s.fill(w))
	}
	return dst
}

// split cuts at sep outside of parentheses. A lone separator is a word.
func split(text string, sep byte) (parts []string) {
	depth, from := 0, 0
	for i := range len(text) {
		switch {
		case text[i] == '(':
			depth++
		case text[i] == ')':
			depth--
		case text[i] == sep && depth == 0 && i > from && i < len(text)-1:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

func (s *speaker) fill(w string) string {
	rng := s.rng
	switch w {
	case "K", "L":
		f := s.family
		if rng.IntN(25) == 0 {
			f = pick(rng, families[:len(families)-1])
		}
		return fmt.Sprintf("%s%d", f, rng.IntN(3))
	case "V":
		if rng.IntN(5) == 0 {
			return s.fill(pick(rng, []string{"I", "D"}))
		}
		return strings.Repeat(string(rune('a'+rng.IntN(4))), pick(rng, []int{0, 1, 3, 10, 65, 300}))
	case "F", "[F":
		return strings.TrimSuffix(w, "F") + pick(rng, []string{"a", "b", "c", "d", "e", "1", "-2", "100", "", "\x00\xff\r\n", strings.Repeat("long", 20)})
	case "I":
		if rng.IntN(12) == 0 {
			return pick(rng, []string{"9223372036854775807", "-9223372036854775808", "4294967296", "x", "", "1.5", " 1", "01"})
		}
		return fmt.Sprint(rng.IntN(14) - 3)
	case "D":
		return pick(rng, []string{"0", "1", "-1", "1.5", "3.14159", "-0.1", "1e10", "1e-7", "inf", "-inf", "nan", "x", "2", "100", "(1", "1e308"})
	case "S":
		return pick(rng, []string{"0", "-", "+", "1-1", "1-2", "2-*", "3", "5-5", "0-1", "(1-1", "x", "18446744073709551615-18446744073709551615"})
	case "T":
		return fmt.Sprint(1 + rng.IntN(3000))
	case "P":
		return pick(rng, []string{"*", "?", "s*", "[a-c]*", "*1", "", "\\*"})
	case "*":
		return s.fill(pick(rng, []string{"V", "F", "I", "D", "S", "K"}))
	}
	return w
}

// logged reports whether the command is proposed. What may come back through the log after
// it was read goes there at once: the clients here do not ask twice.
func logged(cmd *kv.Command) bool {
	return cmd.Logged() || cmd.ReadFirst || cmd.Script && cmd.Flags&kv.FlagReadonly == 0
}

// appendCommand adds one command to a chunk.
func appendCommand(ch *kv.Chunk, db int, cmd *kv.Command, args [][]byte) {
	ch.AppendSelect(db)
	if logged(cmd) {
		ch.AppendOp(cmd, args)
	} else {
		ch.AddRead(cmd, args)
	}
}

const dbAny = 5 // and 6: swapped and moved between

// anything says any command at all, alone or in a pipeline.
func (c *client) anything() {
	type said struct {
		cmd  *kv.Command
		args [][]byte
	}
	s := speaker{rng: c.w.rng}
	var list []said
	read, random := true, false
	for range 1 + c.w.rng.IntN(4)*c.w.rng.IntN(3) {
		cmd, args := s.say()
		list = append(list, said{cmd, args})
		read = read && !logged(cmd)
		random = random || atRandom[cmd.Name]
		c.w.stats.Commands[cmd.Name]++
	}
	db := dbAny + c.w.rng.IntN(2)
	exec := !read && c.w.chance(0.1)
	c.do(&op{read: read, random: random, exec: exec, build: func(ch *kv.Chunk) {
		if exec {
			ch.BeginExec(nil)
		}
		for _, x := range list {
			appendCommand(ch, db, x.cmd, x.args)
		}
		if exec {
			ch.EndExec()
		}
	}})
}

// dumpRestore carries a value to another key by DUMP and RESTORE.
func (c *client) dumpRestore() {
	s := speaker{rng: c.w.rng, family: pick(c.w.rng, families[:len(families)-1])}
	from, to := s.fill("K"), s.fill("K")
	c.do(&op{read: true, build: func(ch *kv.Chunk) { add(ch, dbAny, "dump "+from) }, then: func(o *op) {
		_, payload, ok := bytes.Cut(o.reply, []byte("\r\n"))
		if !ok || o.reply[0] != '$' || len(payload) < 2 {
			c.again()
			return
		}
		payload = bytes.Clone(payload[:len(payload)-2])
		if c.w.chance(0.1) {
			payload[c.w.rng.IntN(len(payload))] ^= 1
		}
		c.do(&op{build: func(ch *kv.Chunk) { add(ch, dbAny, "restore "+to+" 0 ? replace", payload) }})
	}})
}
