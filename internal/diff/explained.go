package diff

import (
	"slices"
	"strings"
)

// explained returns why a difference in the replies to the last of cmds is on purpose;
// "" if it is not (docs/divergence.md has them all). oracle is redis-server's version;
// what later versions changed is explained only to an earlier one: against 7.4 it has to
// be the same. before is why the replies to the command before differed, "" if they did
// not.
func explained(oracle string, cmds [][]string, redis, rkv Value, before string) string {
	args, names := called(cmds[len(cmds)-1]), words(cmds)
	name := strings.ToLower(args[0])
	bothErr := redis.Kind == '-' && rkv.Kind == '-'
	switch {
	case (name == "xgroup" || name == "xinfo") && bothErr && strings.HasPrefix(redis.Text, "ERR unknown subcommand or wrong number of arguments for '") &&
		strings.EqualFold(redis.Text, rkv.Text):
		return "the log keeps commands, not their spelling"
	case name == "object" && redis.Text == "skiplist" && rkv.Text == "listpack" && anyOf(names, "sort", "sort_ro"):
		return "SORT leaves a sorted set as it is, Redis unpacks it"
	case name == "object" && redis.Text == "listpackex" && rkv.Text == "listpack":
		return "a hash is listpackex only while one of its fields expires"
	case anyOf(names, "copy") && name == "object" && redis.Text == "1" && rkv.Text == "2147483647":
		return "COPY of a small integer shares it"
	case isOneOf(name, "expire", "pexpire", "hexpire", "hpexpire") && (hasWord(args, "gt") || hasWord(args, "lt")):
		return "whether the clock moved between two commands"
	case unsigned(redis) == unsigned(rkv):
		return oneZero
	case nearly(redis, rkv) && showDistances(cmds):
		return lastBit
	case name == "debug" && (before == oneZero || before == lastBit): // the digest of what was just shown
		return before
	case oracle < "7.2":
		return since72(name, args, redis, rkv)
	case oracle < "7.4":
		return since74(name, args)
	}
	return ""
}

// since72 explains what is as in Redis 7.2 to an oracle before it.
func since72(name string, args []string, redis, rkv Value) string {
	switch {
	case name == "xinfo" && without(redis, "inactive", "active-time", "seen-time") == without(rkv, "inactive", "active-time", "seen-time"):
		return "active-time and inactive are Redis 7.2's"
	case isOneOf(name, "xclaim", "xautoclaim", "xsetid", "xinfo"):
		return "as Redis 7.2"
	case (name == "bitcount" || name == "bitpos") && rkv.Kind == '-' && (redis.Kind == ':' || strings.HasPrefix(redis.Text, "WRONGTYPE")):
		return "arguments are checked before the key"
	case strings.Contains(rkv.Text, "value must between -9223372036854775807"):
		return "the least integer is refused"
	case (name == "zrank" || name == "zrevrank") && len(args) == 4 && redis.Kind == '-':
		return "WITHSCORE is Redis 7.2's"
	case strings.HasPrefix(redis.Text, "ERR Unbalanced XREAD") && strings.HasPrefix(rkv.Text, "ERR Unbalanced '"):
		return "the words of Redis 7.2"
	}
	return since74(name, args)
}

// since74 explains what is as in Redis 7.4.
func since74(name string, args []string) string {
	if (name == "xread" || name == "xreadgroup") && slices.Contains(args, "+") {
		return "XREAD + is Redis 7.4's"
	}
	return ""
}

// What values may differ in, so that their digests do.
const (
	oneZero = "there is one zero"
	lastBit = "the last bits of a distance are the C library's"
)

// words are the names of commands.
func words(cmds [][]string) (names []string) {
	for _, args := range cmds {
		names = append(names, strings.ToLower(called(args)[0]))
	}
	return names
}

// without is the reply without the fields of the names, and their values.
func without(v Value, names ...string) string {
	var cut func(v Value) Value
	cut = func(v Value) Value {
		w := v
		w.Elems = nil
		for i := 0; i < len(v.Elems); i++ {
			if isOneOf(v.Elems[i].Text, names...) {
				i++
				continue
			}
			w.Elems = append(w.Elems, cut(v.Elems[i]))
		}
		return w
	}
	return withoutIdle(cut(v)).String()
}

// unsigned is the reply with every -0 as 0.
func unsigned(v Value) string {
	return strings.NewReplacer(`"-0"`, `"0"`, ",-0 ", ",0 ", ",-0]", ",0]").Replace(v.String() + " ")
}

func isOneOf(s string, words ...string) bool { return slices.Contains(words, s) }

func anyOf(names []string, words ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(words, name) })
}
