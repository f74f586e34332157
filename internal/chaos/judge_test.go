package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at makes an operation from start to end, in milliseconds.
func at(start, end int, outcome Outcome, kind, key string, in, out []string) Op {
	return Op{Kind: kind, Key: key, In: in, Out: out, Outcome: outcome, Node: 1,
		Start: time.Duration(start) * time.Millisecond, End: time.Duration(end) * time.Millisecond}
}

// Each judge is shown histories that are right and wrong histories beside them: what
// cannot say no is no judge.
func TestJudges(t *testing.T) {
	final := func(op Op) Op { op.Worker = 1000; return op }
	set := func(s, e int, o Outcome, v string) Op { return at(s, e, o, "set", "k", []string{v}, nil) }
	get := func(s, e int, v string) Op { return at(s, e, OK, "get", "k", nil, []string{v}) }
	incr := func(s, e int, o Outcome, v string) Op { return at(s, e, o, "incr", "c", nil, []string{v}) }
	count := func(s, e int, v string) Op { return final(at(s, e, OK, "get", "c", nil, []string{v})) }
	push := func(s, e int, o Outcome, v string) Op { return at(s, e, o, "push", "queue:0", []string{v}, nil) }
	pop := func(s, e int, o Outcome, v ...string) Op { return at(s, e, o, "pop", "queue:0", nil, v) }
	rest := func(v ...string) Op { return final(at(900, 901, OK, "rest", "queue:0", nil, v)) }
	expire := func(s, e int, o Outcome) Op { return at(s, e, o, "set", "k", []string{"100"}, nil) }
	take := func(s, e int, token, fence string) Op {
		return at(s, e, OK, "lock", lockKey, []string{token}, []string{fence})
	}
	release := func(s, e int, token string) Op {
		return at(s, e, OK, "unlock", lockKey, []string{token}, []string{"1"})
	}
	total := func(v ...string) Op { return final(at(800, 801, OK, "total", "", nil, v)) }
	move := func(o Outcome, id string) Op {
		return at(1, 2, o, "transfer-eval", "", []string{id}, []string{"1"})
	}
	book := func(v ...string) Op { return final(at(900, 901, OK, "ledger", "", nil, v)) }
	const one = "0.1:0>1:5"

	for _, tc := range []struct {
		name  string
		by    workload
		wrong bool
		ops   []Op
	}{
		{"register: in order", &register{}, false, []Op{set(0, 1, OK, "a"), get(2, 3, "a")}},
		{"register: stale read", &register{}, true, []Op{set(0, 1, OK, "a"), set(2, 3, OK, "b"), get(4, 5, "a")}},
		{"register: unknown write seen late", &register{}, false, []Op{set(0, 1, Unknown, "a"), get(2, 3, ""), get(90, 91, "a")}},
		{"register: unknown write seen and gone", &register{}, true, []Op{set(0, 1, Unknown, "a"), get(2, 3, "a"), get(4, 5, "")}},
		{"register: refused write seen", &register{}, true, []Op{set(0, 1, Failed, "a"), get(2, 3, "a")}},

		{"counter: in order", &counter{}, false, []Op{incr(0, 1, OK, "1"), incr(2, 3, OK, "2"), count(9, 10, "2")}},
		{"counter: twice", &counter{}, true, []Op{incr(0, 5, OK, "1"), incr(0, 5, OK, "1"), count(9, 10, "2")}},
		{"counter: backwards", &counter{}, true, []Op{incr(0, 1, OK, "2"), incr(2, 3, OK, "1"), count(9, 10, "2")}},
		{"counter: lost", &counter{}, true, []Op{incr(0, 1, OK, "1"), count(9, 10, "0")}},
		{"counter: unknown, applied", &counter{}, false, []Op{incr(0, 1, Unknown, ""), count(9, 10, "1")}},
		{"counter: unknown, twice", &counter{}, true, []Op{incr(0, 1, Unknown, ""), count(9, 10, "2")}},
		{"counter: refused, applied", &counter{}, true, []Op{incr(0, 1, Failed, ""), count(9, 10, "1")}},

		{"queue: popped and left", &queue{}, false, []Op{push(0, 1, OK, "0.0"), push(2, 3, OK, "0.1"), pop(4, 5, OK, "0.0"), rest("0.1")}},
		{"queue: lost", &queue{}, true, []Op{push(0, 1, OK, "0.0"), rest()}},
		{"queue: lost with a reply", &queue{}, false, []Op{push(0, 1, OK, "0.0"), pop(2, 3, Unknown), rest()}},
		{"queue: two lost with one reply", &queue{}, true, []Op{push(0, 1, OK, "0.0"), push(2, 3, OK, "0.1"), pop(4, 5, Unknown), rest()}},
		{"queue: twice", &queue{}, true, []Op{push(0, 1, OK, "0.0"), pop(2, 3, OK, "0.0"), pop(2, 3, OK, "0.0"), rest()}},
		{"queue: popped and there", &queue{}, true, []Op{push(0, 1, OK, "0.0"), pop(2, 3, OK, "0.0"), rest("0.0")}},
		{"queue: refused and there", &queue{}, true, []Op{push(0, 1, Failed, "0.0"), rest("0.0")}},
		{"queue: unknown push takes effect late", &queue{}, false, []Op{push(0, 1, Unknown, "0.0"), push(2, 3, OK, "0.1"), pop(4, 5, OK, "0.1"), pop(6, 7, OK, "0.0"), rest()}},
		{"queue: out of order", &queue{}, true, []Op{push(0, 1, OK, "0.0"), push(2, 3, OK, "0.1"), pop(4, 5, OK, "0.1"), pop(6, 7, OK, "0.0"), rest()}},

		{"ttl: there, then gone", &ttl{}, false, []Op{expire(0, 1, OK), get(50, 51, "here"), get(150, 151, "")}},
		{"ttl: early", &ttl{}, true, []Op{expire(0, 1, OK), get(50, 51, "")}},
		{"ttl: late", &ttl{}, true, []Op{expire(0, 1, OK), get(150, 151, "here")}},
		{"ttl: back", &ttl{}, true, []Op{expire(0, 90, OK), get(95, 101, ""), get(102, 103, "here")}},
		{"ttl: unknown, never there", &ttl{}, false, []Op{expire(0, 1, Unknown), get(50, 51, "")}},

		{"lock: one after the other", &lock{}, false, []Op{take(0, 1, "a", "1"), release(5, 6, "a"), take(7, 8, "b", "2")}},
		{"lock: two holders", &lock{}, true, []Op{take(0, 1, "a", "1"), take(3, 4, "b", "2"), release(9, 10, "a")}},
		{"lock: expired", &lock{}, false, []Op{take(0, 1, "a", "1"), take(805, 806, "b", "2")}},
		{"lock: fence goes back", &lock{}, true, []Op{take(0, 1, "a", "2"), release(5, 6, "a"), take(7, 8, "b", "1")}},

		{"bank: books agree", &bank{}, false, []Op{move(OK, one), total("95", "105", "100", "100", "100", "100"), book(one)}},
		{"bank: money made", &bank{}, true, []Op{total("100", "105", "100", "100", "100", "100"), book()}},
		{"bank: transfer lost", &bank{}, true, []Op{move(OK, one), total("100", "100", "100", "100", "100", "100"), book()}},
		{"bank: transfer twice", &bank{}, true, []Op{move(OK, one), total("90", "110", "100", "100", "100", "100"), book(one, one)}},
		{"bank: refused, applied", &bank{}, true, []Op{move(Failed, one), total("95", "105", "100", "100", "100", "100"), book(one)}},
		{"bank: ledger without money", &bank{}, true, []Op{move(OK, one), total("100", "100", "100", "100", "100", "100"), book(one)}},
	} {
		violations, undecided := tc.by.judge(tc.ops)
		require.Equal(t, tc.wrong, len(violations) > 0, "%s: %v", tc.name, violations)
		require.Zero(t, undecided, tc.name)
	}
}

// The anomalies of lists, by the names of Adya and Elle.
func TestCycles(t *testing.T) {
	txn := func(s, e int, o Outcome, in, out []string) Op { return at(s, e, o, "txn", "", in, out) }
	l := func(s ...string) []string { return s }
	for _, tc := range []struct {
		name, want string
		ops        []Op
	}{
		{"serial", "", []Op{
			txn(0, 1, OK, l("a x 1", "r x"), l("", "1")),
			txn(2, 3, OK, l("r x", "a x 2", "r x"), l("1", "", "1,2")),
			txn(4, 5, OK, l("r x"), l("1,2"))}},
		{"unknown append seen", "", []Op{txn(0, 1, Unknown, l("a x 1"), nil), txn(2, 3, OK, l("r x"), l("1"))}},
		{"refused append seen (G1a)", "refused", []Op{txn(0, 1, Failed, l("a x 1"), nil), txn(2, 3, OK, l("r x"), l("1"))}},
		{"half a transaction seen (G1b)", "between two appends", []Op{
			txn(0, 9, OK, l("a x 1", "a x 2"), l("", "")),
			txn(0, 9, OK, l("r x"), l("1")),
			txn(20, 21, OK, l("r x"), l("1,2"))}},
		{"each sees the other (G1c)", "cycle", []Op{
			txn(0, 9, OK, l("a x 1", "r y"), l("", "2")),
			txn(0, 9, OK, l("a y 2", "r x"), l("", "1"))}},
		{"neither sees the other (write skew, G2)", "cycle", []Op{
			txn(0, 9, OK, l("r x", "a y 2"), l("", "")),
			txn(0, 9, OK, l("r y", "a x 1"), l("", "")),
			txn(20, 21, OK, l("r x", "r y"), l("1", "2"))}},
		{"two orders", "two orders", []Op{
			txn(0, 9, OK, l("a x 1"), l("")), txn(0, 9, OK, l("a x 2"), l("")),
			txn(20, 21, OK, l("r x"), l("1,2")), txn(20, 21, OK, l("r x"), l("2,1"))}},
		{"stale read (real time)", "cycle", []Op{
			txn(0, 1, OK, l("a x 1"), l("")), txn(2, 3, OK, l("r x"), l("")), txn(20, 21, OK, l("r x"), l("1"))}},
		{"lost append", "lost", []Op{txn(0, 1, OK, l("a x 1"), l("")), txn(20, 21, OK, l("r x"), l(""))}},
		{"applied twice", "twice", []Op{txn(0, 1, OK, l("a x 1"), l("")), txn(20, 21, OK, l("r x"), l("1,1"))}},
		{"torn transaction", "in part", []Op{txn(0, 1, Unknown, l("a x 1", "a y 2"), nil), txn(20, 21, OK, l("r x", "r y"), l("1", ""))}},
		{"own append not seen", "own appends", []Op{txn(0, 1, OK, l("a x 1", "r x"), l("", "")), txn(20, 21, OK, l("r x"), l("1"))}},
	} {
		found := checkAppends(tc.ops)
		if tc.want == "" {
			require.Empty(t, found, tc.name)
		} else {
			require.Contains(t, join(found), tc.want, tc.name)
		}
	}
}

func join(list []string) (all string) {
	for _, s := range list {
		all += s + "\n"
	}
	return all
}
