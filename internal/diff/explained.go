package diff

import "strings"

// explained returns why a difference is on purpose; "" if it is not
// (docs/divergence.md has them all).
func explained(args []string, redis, rkv Value) string {
	name := strings.ToLower(args[0])
	switch {
	case name == "object" && isOneOf(redis.Text, "raw", "embstr", "int") && isOneOf(rkv.Text, "raw", "embstr", "int"):
		return "a string's encoding follows from its bytes alone"
	case name == "object" && redis.Text == "skiplist" && rkv.Text == "listpack":
		return "SORT, which only reads, leaves a skiplist behind"
	case strings.Contains(name, "lex") || hasWord(args, "bylex"):
		return "ranges by name are undefined unless all scores are equal"
	case name == "setbit" && strings.Contains(rkv.Text, "bit offset is not"):
		return "strings end at proto-max-bulk-len, which is 32 MiB"
	case name == "xgroup" && redis.Kind == '-' && rkv.Kind == '-' && strings.EqualFold(redis.Text, rkv.Text):
		return "the log keeps commands, not their spelling"
	case name == "xinfo" || name == "xclaim" || name == "xautoclaim" || name == "xsetid":
		return "as Redis 7.2"
	case (name == "bitcount" || name == "bitpos") && rkv.Kind == '-':
		return "arguments are checked before the key, as from Redis 7.2 on"
	case strings.Contains(rkv.Text, "value must between -9223372036854775807"):
		return "the least integer is refused, as from Redis 7.2 on"
	case (name == "zrank" || name == "zrevrank") && len(args) == 4:
		return "WITHSCORE is Redis 7.2's"
	case strings.HasPrefix(redis.Text, "ERR Unbalanced XREAD") && strings.HasPrefix(rkv.Text, "ERR Unbalanced '"):
		return "the words of Redis 7.2"
	case (name == "xread" || name == "xreadgroup") && hasWord(args, "+"):
		return "XREAD + is Redis 7.4's"
	case unsigned(redis) == unsigned(rkv):
		return "there is one zero"
	case (name == "xtrim" || name == "xadd") && (hasWord(args, "minid") || hasWord(args, "~")):
		return "what XDEL removed is kept nowhere else"
	case isOneOf(name, "scan", "sscan", "hscan", "zscan") && strings.Contains(rkv.Text, "invalid cursor") ||
		name == "scan" && redis.Kind != rkv.Kind:
		return "negative cursors are refused"
	}
	return ""
}

// unsigned is the reply with every -0 as 0.
func unsigned(v Value) string {
	return strings.NewReplacer(`"-0"`, `"0"`, ",-0", ",0").Replace(v.String())
}

func isOneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}
