package diff

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Last bits are on purpose where distances are shown that STOREDIST kept, and nowhere else.
func TestLastBitsOfDistances(t *testing.T) {
	const a, b = "166274.15156960033", "166274.1515696004"
	bulk := func(texts ...string) Value {
		v := Value{Kind: '*'}
		for _, text := range texts {
			v.Elems = append(v.Elems, Value{Kind: '$', Text: text})
		}
		return v
	}
	whole := func(kind byte, text string) Value { return Value{Kind: kind, Text: text} }
	const (
		stored = "GEOSEARCHSTORE zs1 ge1 FROMMEMBER x BYRADIUS 9 km STOREDIST"
		passed = "georadius ge1 1 2 9 km COUNT 3 StoreDist zs2;zunionstore zs3 2 li1 zs2;rename zs3 st1;zrangestore zs1 st1 0 -1"
	)
	for _, c := range []struct {
		cmds       string
		redis, rkv Value
		on         bool
	}{
		{stored + ";zrange zs1 0 -1 WITHSCORES", bulk("m", a), bulk("m", b), true},
		{"georadius ge1 1 2 9 km STORE zs2 STOREDIST zs1;zrange zs1 0 -1 WITHSCORES", bulk("m", a), bulk("m", b), true},
		{"georadius ge1 1 2 9 km STORE zs2 STOREDIST zs1;zrange zs2 0 -1 WITHSCORES", bulk("m", a), bulk("m", b), false},
		{stored + ";zpopmin zs1", bulk("m", a), bulk("m", b), true},
		{stored + ";zscore zs1 m", whole('$', a), whole('$', b), true},
		{stored + ";zscore zs1 m", whole(',', a), whole(',', b), true},
		{stored + ";zmpop 2 zs2 zs1 MIN", bulk("zs1", a), bulk("zs1", b), true},
		{stored + ";zunion 2 zs1 zs2 WITHSCORES", bulk("m", a), bulk("m", b), true},
		{passed + ";zscore zs1 m", whole('$', a), whole('$', b), true},
		{passed + ";zscore st1 m", whole('$', a), whole('$', b), true},
		{"EVAL script 0 " + stored + ";zscore zs1 m", whole('$', a), whole('$', b), true},

		{"EVAL script 0 GEORADIUS st1 0.1 85.05 1e10 FT withdist ASC", bulk("e", "65681648.1855"), bulk("e", "65681648.1854"), true},
		{"geodist ge1 a b ft", whole('$', "65681648.1855"), whole('$', "65681648.1854"), true},
		{"georadius_ro ge1 0 85.05 1e10 ft WITHDIST", bulk("", "65684416.9317"), bulk("", "65684416.9321"), true},
		{"geodist ge1 a b ft", whole('$', "65681648.1855"), whole('$', "65681648.1755"), false},
		{"geodist ge1 a b ft", whole('$', "55681648.1855"), whole('$', "55681648.1854"), false},
		{"georadius ge1 1 2 9 km withcoord", bulk("e", "65681648.1855"), bulk("e", "65681648.1854"), false},

		{"zscore zs1 m", whole('$', a), whole('$', b), false},
		{stored + ";zscore zs2 m", whole('$', a), whole('$', b), false},
		{strings.TrimSuffix(stored, " STOREDIST") + ";zscore zs1 m", whole('$', a), whole('$', b), false},
		{stored + ";zscore zs1 m", whole('$', a), whole('$', "166274.15157"), false},
		{stored + ";zscore zs1 m", whole('$', a), Value{Kind: '$', Null: true}, false},
		{stored + ";zrange zs1 0 -1 WITHSCORES", bulk("m", a), bulk("n", b), false},
		{stored + ";zrange zs1 0 -1 WITHSCORES", bulk("m", a), bulk("m", b, "n"), false},
		{stored + ";zcard zs1", whole(':', "9007199254740992"), whole(':', "9007199254740993"), false},
		{stored + ";zrange zs1 0 x", whole('-', "ERR a"), whole('-', "ERR b"), false},
		{"georadius zs1 1 2 9 km STOREDIST;zscore zs1 m", whole('$', a), whole('$', b), false},
	} {
		var cmds [][]string
		for _, text := range strings.Split(c.cmds, ";") {
			args := strings.Fields(text)
			if args[0] == "EVAL" {
				args[1] = callScript
			}
			cmds = append(cmds, args)
		}
		require.Equal(t, c.on, explained("7.4", cmds, c.redis, c.rkv, "") == lastBit, "%s: %s, %s", c.cmds, c.redis, c.rkv)
	}
}
