package diff

import (
	"slices"
	"strconv"
	"strings"
)

// rule is how the replies to a command are compared.
type rule uint8

const (
	exact   rule = iota
	anyway       // the elements in any order
	inPairs      // pairs of elements in any order
	shape        // chance: type and length
	clock        // times that may be off by what lies between the two
	scan         // cursor, then elements in any order; any if either has more to come
	ignored      // bytes that mean the same: DUMP
	idle         // times since something
)

var rules = map[string]rule{
	"smembers": anyway, "sunion": anyway, "sinter": anyway, "sdiff": anyway, "hkeys": anyway, "hvals": anyway, "keys": anyway,
	"hgetall":    inPairs,
	"hrandfield": shape, "srandmember": shape, "zrandmember": shape,
	"ttl": clock, "pttl": clock, "expiretime": clock, "pexpiretime": clock,
	"httl": clock, "hpttl": clock, "hexpiretime": clock, "hpexpiretime": clock,
	"scan": scan, "sscan": scan, "hscan": scan, "zscan": scan,
	"dump":     ignored,
	"xpending": idle, "xinfo": idle, "xautoclaim": exact,
}

// same says whether the replies to a command are the same.
func same(args []string, a, b Value) bool {
	args = called(args)
	name := strings.ToLower(args[0])
	r := rules[name]
	if a.Kind == '-' || b.Kind == '-' {
		return a.String() == b.String()
	}
	switch r {
	case anyway:
		return multiset(a, 1) == multiset(b, 1)
	case inPairs:
		return multiset(a, 2) == multiset(b, 2)
	case shape:
		return a.Kind == b.Kind && a.Null == b.Null && len(a.Elems) == len(b.Elems) && (!isWhole(args, a) || multiset(a, 1) == multiset(b, 1))
	case clock:
		return a.Kind == b.Kind && a.Null == b.Null && near(name, a, b)
	case ignored:
		return a.Kind == b.Kind && a.Null == b.Null
	case scan:
		return sameScan(args, a, b)
	case idle:
		return withoutIdle(a).String() == withoutIdle(b).String()
	}
	if (name == "sort" || name == "sort_ro") && openOrder(args) {
		return multiset(a, 1) == multiset(b, 1)
	}
	return a.String() == b.String()
}

func hasWord(args []string, word string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, word) })
}

func multiset(v Value, n int) string {
	var parts []string
	for i := 0; i < len(v.Elems); i += n {
		var part strings.Builder
		for _, e := range v.Elems[i:min(i+n, len(v.Elems))] {
			part.WriteString(e.String() + " ")
		}
		parts = append(parts, part.String())
	}
	slices.Sort(parts)
	return string(v.Kind) + strings.Join(parts, ",")
}

// near compares times, or lists of them: ten seconds may pass between two servers.
func near(name string, a, b Value) bool {
	if len(a.Elems) != len(b.Elems) {
		return false
	}
	for i := range a.Elems {
		if !near(name, a.Elems[i], b.Elems[i]) {
			return false
		}
	}
	x, err1 := strconv.ParseInt(a.Text, 10, 64)
	y, err2 := strconv.ParseInt(b.Text, 10, 64)
	if err1 != nil || err2 != nil || x < 0 || y < 0 {
		return a.Text == b.Text
	}
	margin := int64(10)
	if strings.Contains(name, "p") && name != "expiretime" && name != "hexpiretime" { // the names of those in ms
		margin *= 1000
	}
	return x-y < margin && y-x < margin
}

// isWhole reports whether a random choice had to take all there is: fewer came than were
// asked for.
func isWhole(args []string, v Value) bool {
	if len(args) < 3 {
		return false
	}
	count, err := strconv.ParseInt(args[2], 10, 64)
	return err == nil && count > int64(len(v.Elems))
}

func sameScan(args []string, a, b Value) bool {
	if len(a.Elems) != 2 || len(b.Elems) != 2 {
		return a.String() == b.String()
	}
	from := args[1:2]
	if name := strings.ToLower(args[0]); name != "scan" {
		from = args[2:3]
	}
	if a.Elems[0].Text != "0" || b.Elems[0].Text != "0" || from[0] != "0" {
		return true // half a walk says nothing
	}
	n := 2
	if name := strings.ToLower(args[0]); name == "scan" || name == "sscan" || hasWord(args, "novalues") {
		n = 1
	}
	return multiset(a.Elems[1], n) == multiset(b.Elems[1], n)
}

// idleFields are names of fields that hold times.
var idleFields = []string{"idle", "inactive", "active-time", "seen-time", "radix-tree-keys", "radix-tree-nodes"}

// withoutIdle blanks what depends on the clock in replies about consumer groups: the
// fields of that name, and the third of the four numbers of a pending entry.
func withoutIdle(v Value) Value {
	w := v
	w.Elems = nil
	for i, e := range v.Elems {
		switch {
		case i > 0 && slices.Contains(idleFields, v.Elems[i-1].Text),
			len(v.Elems) == 4 && i == 2 && e.Kind == ':' && v.Elems[3].Kind == ':',
			len(v.Elems) == 3 && i == 1 && e.Kind == ':' && v.Elems[2].Kind == ':':
			w.Elems = append(w.Elems, Value{Kind: ':', Text: "time"})
		default:
			w.Elems = append(w.Elems, withoutIdle(e))
		}
	}
	return w
}
