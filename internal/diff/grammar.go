package diff

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Argument is one argument of a command's grammar, as COMMAND DOCS describes it.
type Argument struct {
	Name, Type, Token                 string
	Optional, Multiple, MultipleToken bool
	Args                              []Argument // of a oneof or a block
}

// Grammar is the arguments of each command, by name in lower case.
type Grammar map[string][]Argument

// ReadGrammar makes the grammar from the reply to COMMAND DOCS.
func ReadGrammar(docs Value) (Grammar, error) {
	g := Grammar{}
	for name, doc := range docs.pairs() {
		fields := doc.fields()
		if subs, ok := fields["subcommands"]; ok {
			for sub, doc := range subs.pairs() {
				g[strings.ReplaceAll(sub, "|", " ")] = readArguments(doc.fields()["arguments"])
			}
			continue
		}
		g[name] = readArguments(fields["arguments"])
	}
	if len(g) < 100 {
		return nil, fmt.Errorf("COMMAND DOCS describes %d commands only", len(g))
	}
	return g, nil
}

func readArguments(v Value) (args []Argument) {
	for _, e := range v.Elems {
		f := e.fields()
		a := Argument{Name: f["name"].Text, Type: f["type"].Text, Token: f["token"].Text, Args: readArguments(f["arguments"])}
		for _, flag := range f["flags"].Elems {
			switch flag.Text {
			case "optional":
				a.Optional = true
			case "multiple":
				a.Multiple = true
			case "multiple_token":
				a.MultipleToken = true
			}
		}
		args = append(args, a)
	}
	return args
}

// generator makes commands of a grammar.
type generator struct {
	*rand.Rand
	g        Grammar
	commands []string // those to draw from, by weight
	family   string   // what keys the present command wants
	deleted  bool     // XDEL is in the sequence
	oracle   string   // Redis's version; "": the oldest
}

// drawn are the commands by family of keys. A family's keys hold its type most times.
var drawn = map[string]string{
	"string": "append decr decrby get getdel getex getrange getset incr incrby incrbyfloat lcs mget mset msetnx psetex set setex setnx setrange strlen substr",
	"bitmap": "bitcount bitfield bitfield_ro bitop bitpos getbit setbit",
	"hash": "hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals " +
		"hexpire hexpireat hexpiretime hpersist hpexpire hpexpireat hpexpiretime hpttl httl",
	"list": "lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx",
	"set":  "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove srandmember srem sscan sunion sunionstore",
	"zset": "zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zmpop zmscore zpopmax zpopmin zrandmember zrange " +
		"zrangebyscore zrangestore zrank zrem zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zrevrank zscan zscore zunion zunionstore",
	// Of sorted sets in which all scores are equal: ranges by name are undefined else.
	"lex":     "zadd zlexcount zrangebylex zrevrangebylex zremrangebylex zrange zrangestore zrem zpopmin",
	"stream":  "xack xadd xautoclaim xclaim xdel xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim|xgroup create|xgroup createconsumer|xgroup delconsumer|xgroup destroy|xgroup setid|xinfo stream|xinfo groups",
	"geo":     "geoadd geodist geohash geopos georadius_ro georadiusbymember_ro geosearch geosearchstore georadius georadiusbymember",
	"hll":     "pfadd pfcount pfmerge",
	"generic": "copy del dump exists expire expireat expiretime keys move persist pexpire pexpireat pexpiretime pttl rename renamenx scan sort sort_ro touch ttl type unlink dbsize|object encoding|object refcount",
}

func newGenerator(g Grammar, seed uint64) *generator {
	x := &generator{Rand: rand.New(rand.NewPCG(seed, 0x64696666)), g: g}
	for _, family := range families {
		groups := strings.Split(drawn[family], "|")
		names := strings.Fields(groups[0])
		names = append(names, groups[1:]...)
		for _, name := range names {
			if _, known := g[name]; known {
				x.commands = append(x.commands, family+":"+name)
			}
		}
	}
	return x
}

// families is in a fixed order: a seed has to make the same commands every time.
var families = []string{"string", "bitmap", "hash", "list", "set", "zset", "stream", "geo", "hll", "lex", "generic"}

// anyFamily are those whose keys any command may get.
var anyFamily = families[:len(families)-2]

func (x *generator) pick(words ...string) string { return words[x.IntN(len(words))] }

// command draws one command.
func (x *generator) command() []string {
	family, name, _ := strings.Cut(x.commands[x.IntN(len(x.commands))], ":")
	x.family = family
	args := strings.Fields(name)
	args = x.arguments(args, x.g[name])
	args = x.repair(args)
	if x.IntN(40) == 0 && x.maySpoil(name) {
		args = x.spoil(args)
	}
	boundRandom(args)
	if x.IntN(8) == 0 {
		args[0] = strings.ToUpper(args[0])
	}
	if x.IntN(40) == 0 && x.mayScript(name) {
		args = append([]string{"EVAL", callScript, "0"}, args...)
	}
	return args
}

// callScript calls the command in its arguments: replies pass through Lua.
const callScript = "return redis.call(unpack(ARGV))"

// called is the command that a script of ours calls, or args.
func called(args []string) []string {
	if len(args) > 3 && args[1] == callScript {
		return args[3:]
	}
	return args
}

// maySpoil: no time is made that runs out at once, and what repair mended stays so.
func (x *generator) maySpoil(name string) bool {
	return x.family != "lex" && !strings.Contains(name, "ex") && !strings.HasPrefix(name, "sort") &&
		name != "set" && name != "xadd" && name != "xtrim"
}

// mayScript: a sorted SORT, or a reply with times in it, would be another one.
func (x *generator) mayScript(name string) bool {
	return x.family != "stream" && !strings.HasPrefix(name, "sort") && !strings.Contains(name, "scan") && name != "keys"
}

func (x *generator) arguments(dst []string, list []Argument) []string {
	for i := range list {
		a := &list[i]
		if a.Optional && x.IntN(3) != 0 {
			continue
		}
		n := 1
		if a.Multiple {
			n = 1 + x.IntN(4)*x.IntN(2)
		}
		if a.Token != "" && !a.MultipleToken {
			dst = append(dst, x.token(a))
		}
		for ; n > 0; n-- {
			if a.Token != "" && a.MultipleToken {
				dst = append(dst, x.token(a))
			}
			dst = x.argument(dst, a)
		}
	}
	return dst
}

func (x *generator) token(a *Argument) string {
	if x.IntN(4) == 0 {
		return strings.ToLower(a.Token)
	}
	return a.Token
}

func (x *generator) argument(dst []string, a *Argument) []string {
	switch a.Type {
	case "pure-token":
		return dst
	case "oneof":
		one := a.Args[x.IntN(len(a.Args))]
		one.Optional = false
		return x.arguments(dst, []Argument{one})
	case "block":
		return x.arguments(dst, a.Args)
	case "key":
		return append(dst, x.key())
	case "integer":
		return append(dst, x.integer(a.Name))
	case "double":
		return append(dst, x.double())
	case "unix-time":
		return append(dst, x.pick("0", "1", "-1", "4102444800", "4102444800000", "9223372036854775807", "x"))
	case "pattern":
		return append(dst, x.pick("*", "?", "a*", "[a-c]", "k:*", "*1", "", "\\*", "w_*", "h:*->f1", "#"))
	}
	return append(dst, x.text(a.Name))
}

func (x *generator) key() string {
	family := x.family
	if x.IntN(25) == 0 || family == "generic" {
		if family == "lex" {
			return "zs9" // not there
		}
		family = anyFamily[x.IntN(len(anyFamily))]
	}
	return family[:2] + x.pick("1", "1", "2", "3")
}

func (x *generator) integer(name string) string {
	switch name {
	case "numkeys":
		return "\x00numkeys"
	case "db", "destination-db":
		return x.pick("0", "1", "15", "16", "-1", "x")
	case "seconds", "milliseconds":
		return x.pick("100000", "1000000", "4102444800", "0", "-1", "9223372036854775807", "x")
	case "count", "limit", "offset":
		return x.pick("0", "1", "2", "3", "10", "100", "-1", "-3", "x", "9223372036854775807", "-9223372036854775808", "1")
	case "cursor":
		// None that strtoul finds too large: Redis keeps that error for the next SORT.
		return x.pick("0", "0", "0", "0", "x", "", "00", "+0", "-0", "-", " 0")
	case "bit":
		return x.pick("0", "1", "2")
	}
	switch x.IntN(12) {
	case 0:
		return x.pick("9223372036854775807", "-9223372036854775808", "9223372036854775808", "4294967296", "2147483647", "-2147483648")
	case 1:
		return x.pick("x", "", "1.5", " 1", "1 ", "+1", "01", "00", "0x10")
	}
	return fmt.Sprint(x.IntN(14) - 4)
}

func (x *generator) double() string {
	return x.pick("0", "1", "-1", "1.5", "3.14159", "0.1", "-0.1", "1e10", "1e-7", "inf", "-inf", "+inf", "nan", "x", "", "2", "3",
		"100", "1e308", "-1e308", "(1", "13.361389", "38.115556", "15.087269", "180", "-180", "85.05", "90")
}

func (x *generator) text(name string) string {
	switch name {
	case "min", "max", "start", "stop":
		if x.family == "lex" {
			return x.pick("-", "+", "[a", "(a", "[b", "(c", "[", "(", "x", "[1", "(long", "0", "-1")
		}
	}
	switch name {
	case "id", "start", "end", "min", "max", "last-id", "lastid", "id-or-dollar", "min-idle-time", "entries-read", "entriesread", "entries-added":
		if x.family == "zset" {
			return x.pick("-", "+", "[a", "(a", "[b", "(c", "-inf", "+inf", "0", "1", "(1", "2.5", "-1", "x", "[", "3")
		}
		return x.pick("0", "-", "+", "1-1", "1-2", "1-*", "2-*", "2-1", "3", "5-5", "$", ">", "0-0", "0-1", "(1-1", "(1-2", "7-1", "8-*", "x", "1", "18446744073709551615-18446744073709551615")
	case "encoding":
		return x.pick("u8", "i8", "u1", "i64", "u63", "u64", "i16", "i5", "u4", "x", "i0", "u32")
	case "group":
		return x.pick("g1", "g1", "g2")
	case "consumer":
		return x.pick("c1", "c2")
	case "operation":
		return x.pick("AND", "OR", "XOR", "NOT", "and", "x")
	case "member", "field", "element", "pivot", "member1", "member2":
		return x.pick("a", "b", "c", "d", "e", "1", "2", "3", "-5", "100", "f1", "f2", "Palermo", "Catania", "",
			"\x01\x00\xff\r\n", // SORT ALPHA: for strcoll all that begins with 0 is the same
			strings.Repeat("long", 20), fmt.Sprint(x.IntN(200)))
	case "unit":
		return x.pick("m", "km", "ft", "mi", "x")
	}
	switch x.IntN(10) {
	case 0:
		return x.pick("", strings.Repeat("v", 45), strings.Repeat("w", 64), strings.Repeat("x", 65), strings.Repeat("y", 300))
	case 1, 2, 3:
		return x.integer("")
	case 4:
		return x.double()
	}
	return x.pick("a", "b", "c", "hello", "foobar", "ohmytext", "mynewtext", "1", "12", "abc\x01")
}

// repair makes what the grammar cannot say: numkeys counts the keys that follow,
// nothing waits, and IDs do not come from the clock.
func (x *generator) repair(args []string) []string {
	if i := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "block") }); i > 0 && strings.HasPrefix(args[0], "xread") {
		args = slices.Delete(args, i, min(i+2, len(args)))
	}
	if i := slices.Index(args, "*"); i > 0 && args[0] == "xadd" {
		args[i] = "9-*"
	}
	for i, a := range args {
		// Redis 7.4 looks at 32 bits of the index in a small list.
		if n, err := strconv.ParseInt(a, 10, 64); i == 2 && args[0] == "lset" && err == nil && n != int64(int32(n)) {
			args[i] = "100"
		}
		// Redis 7.4 counts a negative offset from the end, but only in a large set.
		if i > 2 && x.oracle >= "7.4" && strings.EqualFold(args[i-1], "limit") && strings.HasPrefix(a, "-") && args[0][0] == 'z' {
			args[i] = "1"
		}
		// Redis 7.0 negates the least integer here, 7.2 refuses it.
		if a == "-9223372036854775808" && (args[0] == "lrem" || args[0] == "lpos") {
			args[i] = "-9223372036854775807"
		}
	}
	switch {
	case x.family == "lex":
		args = x.equalScores(args)
	case args[0] == "zrange" || args[0] == "zrangestore":
		args = slices.DeleteFunc(args, func(a string) bool { return strings.EqualFold(a, "bylex") })
	case strings.HasPrefix(args[0], "sort"):
		args = x.definiteSort(args)
	case args[0] == "xdel":
		x.deleted = true
	case x.deleted && (args[0] == "xadd" || args[0] == "xtrim"):
		// Where a node ends whose last entries were deleted is kept nowhere here.
		args = slices.DeleteFunc(args, func(a string) bool { return a == "~" })
	case args[0] == "set":
		// What is in the past already is there until somebody looks (DBSIZE).
		for i := range args[:len(args)-1] {
			if i > 2 && strings.HasSuffix(strings.ToLower(args[i]), "xat") && len(args[i+1]) < 13 {
				args[i+1] = "4102444800000"
			}
		}
	}
	for i, a := range args {
		if a != "\x00numkeys" {
			continue
		}
		n := 0
		for _, k := range args[i+1:] {
			if len(k) != 3 || !slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(k, f[:2]) }) {
				break
			}
			n++
		}
		args[i] = fmt.Sprint(n)
		if x.IntN(20) == 0 {
			args[i] = x.integer("")
		}
	}
	return args
}

// equalScores makes the sorted sets of the family lex such that all scores are equal, and
// asks for ranges by name.
func (x *generator) equalScores(args []string) []string {
	if args[0] == "zrange" || args[0] == "zrangestore" {
		if !hasWord(args, "bylex") && !hasWord(args, "byscore") {
			args = append(args, "BYLEX")
		}
		return args
	}
	if args[0] != "zadd" {
		return args
	}
	args = []string{"zadd", args[1]}
	for range 1 + x.IntN(4) {
		args = append(args, "0", x.text("member"))
	}
	return args
}

// definiteSort leaves out of SORT what has no order: the names of a set, and elements of
// equal weights that are compared as texts. Their order may be seen, but not cut short,
// replaced by something else, or stored. And SORT turns a packed sorted set into a
// skiplist, though it only reads.
func (x *generator) definiteSort(args []string) []string {
	if strings.HasPrefix(args[1], "zs") || strings.HasPrefix(args[1], "ge") {
		args[1] = "li1"
	}
	if !openOrder(args) {
		return args
	}
	kept := args[:2:2]
	for i := 2; i < len(args); i++ {
		switch strings.ToLower(args[i]) {
		case "limit":
			i += 2
		case "get", "store":
			i++
		default:
			kept = append(kept, args[i])
		}
	}
	return kept
}

// openOrder reports whether the order of SORT's result is anybody's.
func openOrder(args []string) bool {
	by := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "by") })
	if by < 2 || by+1 >= len(args) {
		return false
	}
	return hasWord(args, "alpha") || !strings.Contains(args[by+1], "*")
}

// boundRandom leaves no count at which Redis would make a reply of gigabytes.
func boundRandom(args []string) {
	if !strings.Contains(args[0], "rand") {
		return
	}
	for i, a := range args {
		if n, err := strconv.ParseInt(a, 10, 64); err == nil && n < -1000 {
			args[i] = "-30"
		}
	}
}

// spoil breaks the syntax.
func (x *generator) spoil(args []string) []string {
	i := x.IntN(len(args))
	switch x.IntN(4) {
	case 0:
		if i > 0 {
			return slices.Delete(args, i, i+1)
		}
	case 1:
		return slices.Insert(args, i+1, x.text(""))
	case 2:
		return append(args, args[i])
	case 3:
		if i > 0 {
			args[i] = x.text("")
		}
	}
	return args
}
