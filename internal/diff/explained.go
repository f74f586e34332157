package diff

import (
	"slices"
	"strings"
)

// explained returns why a difference is on purpose; "" if it is not
// (docs/divergence.md has them all). oracle is redis-server's version; what later
// versions changed is explained only to an earlier one: against 7.4 it has to be the
// same.
func explained(oracle string, args []string, redis, rkv Value) string {
	args = called(args)
	name := strings.ToLower(args[0])
	bothErr := redis.Kind == '-' && rkv.Kind == '-'
	switch {
	case name == "xgroup" && bothErr && strings.HasPrefix(redis.Text, "ERR unknown subcommand or wrong number of arguments for '") &&
		strings.EqualFold(redis.Text, rkv.Text):
		return "the log keeps commands, not their spelling"
	case unsigned(redis) == unsigned(rkv):
		return "there is one zero"
	case strings.Contains(name, "scan") && strings.Contains(rkv.Text, "invalid cursor") && signedCursor(args):
		return "cursors with a sign are refused"
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
	case (name == "bitcount" || name == "bitpos") && rkv.Kind == '-' && redis.Kind == ':':
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

// signedCursor: Redis reads a cursor by strtoul, which takes signs.
func signedCursor(args []string) bool {
	return slices.ContainsFunc(args[1:min(3, len(args))], func(a string) bool {
		return strings.HasPrefix(a, "-") || strings.HasPrefix(a, "+")
	})
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
