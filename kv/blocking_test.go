package kv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// start proposes or reads a command without waiting for its reply.
func (n *testNode) start(args ...string) *Chunk {
	c := &Chunk{}
	addCommand(c, args...)
	n.run(c)
	return c
}

// multi runs a transaction of commands given as lines and returns its reply.
func (n *testNode) multi(lines ...string) string {
	c := &Chunk{}
	c.BeginExec(nil)
	for _, l := range lines {
		addCommand(c, strings.Fields(l)...)
	}
	c.EndExec()
	n.run(c)
	return tapeText(n.t, c.Reply.Bytes())
}

// unblock ends the wait of a chunk.
func (n *testNode) unblock(target *Chunk, how string) string {
	c := &Chunk{}
	c.AppendUnblock(target.Seq, how)
	n.run(c)
	return tapeText(n.t, c.Reply.Bytes())
}

// got is the chunk's reply, or that its client still waits.
func (n *testNode) got(c *Chunk) string {
	if n.waiting[c.Seq] == c {
		return blockedText
	}
	require.Len(n.t, c.Ends, 1)
	return strings.ReplaceAll(tapeText(n.t, c.Reply.Bytes()), "\n", " ")
}

func (n *testNode) line(s string) string { return n.do(strings.Fields(s)...) }

func (n *testNode) startLine(s string) *Chunk { return n.start(strings.Fields(s)...) }

// The first who came is served first, one element each, whatever makes the key.
func TestBlockedClientsAreServedInOrder(t *testing.T) {
	for _, wake := range [][]string{
		{"RPUSH q a b"},
		{"LPUSH q b a"},
		{"EVAL redis.call('rpush','q','a');return|redis.call('rpush','q','b') 0"},
		{"RPUSH other a b", "RENAME other q"},
		{"RPUSH other a b", "COPY other q"},
		{"RPUSH other b a", "SORT other ALPHA STORE q"},
		{"RPUSH other a b", "LMOVE other q LEFT RIGHT", "LMOVE other q LEFT RIGHT"},
		{"SET q x", "DEL q", "RPUSH q a", "RPUSH q b"},
	} {
		t.Run(wake[len(wake)-1], func(t *testing.T) {
			n := newTestNode(t)
			first, second, third := n.startLine("BLPOP q 0"), n.startLine("BLPOP p q 0"), n.startLine("BLPOP q 0")
			for _, w := range wake {
				args := strings.Fields(w)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "|", " ")
				}
				require.NotContains(t, n.do(args...), "ERR", w)
			}
			require.Equal(t, `1) "q" 2) "a"`, n.got(first))
			require.Equal(t, `1) "q" 2) "b"`, n.got(second))
			require.Equal(t, blockedText, n.got(third))
			require.Equal(t, "(integer) 0", n.line("EXISTS q"))
			require.Empty(t, n.s.ready)
		})
	}
}

// What a transaction or a script pushes and pops again was never there for others.
func TestBlockedClientsSeeWholeTransactions(t *testing.T) {
	n := newTestNode(t)
	c := n.startLine("BLPOP q 0")
	n.multi("RPUSH q a", "LLEN q", "DEL q")
	require.Equal(t, blockedText, n.got(c))
	n.multi("RPUSH q a", "DEL q", "SET q x")
	require.Equal(t, blockedText, n.got(c))
	n.line("DEL q")
	require.Equal(t, "(integer) 1", n.do("EVAL", "redis.call('rpush','q','a','b'); redis.call('lpop','q'); return redis.call('llen','q')", "0"))
	require.Equal(t, `1) "q" 2) "b"`, n.got(c))
}

// With several keys ready at once the one that was written first counts.
func TestFirstKeyWrittenWins(t *testing.T) {
	n := newTestNode(t)
	c := n.startLine("BLPOP a b 0")
	n.multi("RPUSH b 1", "RPUSH a 2")
	require.Equal(t, `1) "b" 2) "1"`, n.got(c))
	require.Equal(t, "(integer) 1", n.line("EXISTS a"))
}

// Nobody waits inside MULTI or a script, nor in the middle of a unit.
func TestWhereNobodyWaits(t *testing.T) {
	n := newTestNode(t)
	require.Equal(t, "1) (nil array)\n2) (nil)\n3) (nil array)\n4) (nil array)\n5) (nil array)", n.multi("BLPOP q 0", "BLMOVE q p LEFT LEFT 0", "BLMPOP 0 1 q LEFT", "BZPOPMAX q 0", "BZMPOP 0 1 q MIN"))
	require.Contains(t, n.do("EVAL", "return redis.call('blpop','q',0)", "0"), "not allowed from script")
	require.Contains(t, n.do("EVAL", "return redis.call('xread','block',0,'streams','q','0')", "0"), "xread command is not allowed with BLOCK option from scripts")
	require.Equal(t, "(nil)", n.do("EVAL", "return redis.call('xread','streams','block','0')", "0"))
	n.s.st.Settings.RedisVersion = redis72
	require.Equal(t, "(nil)", n.do("EVAL", "return redis.call('blpop','q',0)", "0"))
	c := &Chunk{}
	addCommand(c, "BLPOP", "q", "0")
	addCommand(c, "SET", "k", "v")
	n.run(c)
	require.Len(t, c.Ends, 2)
	require.Empty(t, n.s.st.waiters.rows)
}

// A wait ends when the stamp says so, and never before.
func TestBlockingTimesOutByTheStamp(t *testing.T) {
	n := newTestNode(t)
	a, b, c := n.startLine("BLPOP q 0.0501"), n.startLine("BLMOVE q p LEFT LEFT 0.05"), n.startLine("BZPOPMIN q 0")
	at, ok := n.s.NextTimeout()
	require.True(t, ok)
	require.Equal(t, n.now+50, at)
	n.tick(49)
	require.Equal(t, blockedText, n.got(b))
	n.tick(1)
	require.Equal(t, "(nil array)", n.got(b))
	require.Equal(t, blockedText, n.got(a))
	n.tick(1)
	require.Equal(t, "(nil array)", n.got(a))
	n.tick(1 << 40)
	require.Equal(t, blockedText, n.got(c))
	// A time that is over wins over a push in the same entry.
	d := n.startLine("BLPOP q 1")
	n.now += 1000
	n.line("RPUSH q x")
	require.Equal(t, "(nil array)", n.got(d))
	require.Equal(t, "(integer) 1", n.line("LLEN q"))
}

func TestUnblock(t *testing.T) {
	n := newTestNode(t)
	a, b := n.startLine("BLPOP q 0"), n.startLine("BLPOP q 0")
	require.Equal(t, "(integer) 1", n.unblock(a, UnblockTimeout))
	require.Equal(t, "(integer) 0", n.unblock(a, UnblockTimeout))
	require.Equal(t, "(nil array)", n.got(a))
	require.Equal(t, "(integer) 1", n.unblock(b, UnblockError))
	require.Equal(t, "(error) UNBLOCKED client unblocked via CLIENT UNBLOCK", n.got(b))
	n.line("RPUSH q x")
	require.Equal(t, "(integer) 1", n.line("LLEN q"))
	require.Equal(t, "(integer) 0", n.unblock(&Chunk{Seq: 999}, UnblockError))
}

// presence logs what the leader would about the node's session.
func (n *testNode) presence(here, gone bool) {
	var c Chunk
	c.AppendPresence(n.session, here, gone)
	n.apply(AppendUnit(nil, UnitHeader{Ops: 1}, c.Ops))
}

// Clients of a node that is away keep their places and lose no element.
func TestClientsOfANodeThatIsAway(t *testing.T) {
	n := newTestNode(t)
	mine := n.startLine("BLPOP q 0")
	other := &testNode{t: t, s: n.s, index: n.index, now: n.now, seed: 99, waiting: map[uint64]*Chunk{}}
	var open Chunk
	open.AppendOpen(2, 1, 1)
	other.apply(AppendUnit(nil, UnitHeader{Ops: 1}, open.Ops))
	other.session, _ = n.s.SessionOf(2, 1)
	theirs := other.startLine("BLPOP q 0")
	n.index = other.index

	n.presence(false, false)
	require.Equal(t, []Presence{{n.session, 1, 1, true, 1, 1}, {other.session, 2, 1, false, 1, 1}}, n.s.Presence(nil))
	other.index = n.index
	other.line("RPUSH q a b c")
	require.Equal(t, `1) "q" 2) "a"`, other.got(theirs))
	require.Equal(t, "(integer) 2", other.line("LLEN q"))
	require.Equal(t, blockedText, n.got(mine))
	n.index = other.index
	n.presence(true, false)
	require.Equal(t, `1) "q" 2) "b"`, n.got(mine))

	// A later boot of the node, or the leader's word that it is gone, ends all waits.
	n.line("DEL q")
	mine = n.startLine("BLPOP q 0")
	var again Chunk
	again.AppendOpen(1, 2, 1)
	n.apply(AppendUnit(nil, UnitHeader{Ops: 1}, again.Ops))
	require.Contains(t, n.got(mine), "(error) UNBLOCKED")
	require.Empty(t, n.s.st.waiters.rows)
	require.Empty(t, n.s.st.waiters.queues)
	other.index = n.index
	theirs = other.startLine("BZPOPMIN q 7")
	other.presence(false, true)
	require.Contains(t, other.got(theirs), "(error) UNBLOCKED")
}

// Who waits is part of the snapshot, and is served after it was loaded.
func TestWaitersSurviveASnapshot(t *testing.T) {
	n := newTestNode(t)
	n.line("XGROUP CREATE s g $ MKSTREAM")
	a, b := n.startLine("BLPOP q r 5"), n.startLine("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
	state, err := decodeState(n.s.st.encode())
	require.NoError(t, err)
	require.Equal(t, n.s.st.waiters.bytes, state.waiters.bytes)
	n.s.st = state
	require.Equal(t, SeqWaiting, n.s.SeqState(n.session, a.Seq))
	n.line("RPUSH r x")
	n.line("XADD s 1-1 f v")
	require.Equal(t, `1) "r" 2) "x"`, n.got(a))
	require.Contains(t, n.got(b), `"1-1"`)
	require.Equal(t, SeqApplied, n.s.SeqState(n.session, a.Seq))
	require.Empty(t, n.s.st.waiters.due)
}

// Snapshots that no apply could have made are refused.
func TestDamagedWaitersAreRefused(t *testing.T) {
	n := newTestNode(t)
	n.startLine("BLPOP q r 5")
	n.startLine("BLPOP q 5")
	for name, damage := range map[string]func(rows []waiter){
		"key outside":   func(rows []waiter) { rows[0].Keys[0] = 9 },
		"key twice":     func(rows []waiter) { rows[0].Keys = []int{1, 1} },
		"no keys":       func(rows []waiter) { rows[0].Keys = nil },
		"order":         func(rows []waiter) { rows[0].Ticket = 2 },
		"ticket":        func(rows []waiter) { rows[1].Ticket = 3 },
		"unit twice":    func(rows []waiter) { rows[1].Seq = rows[0].Seq },
		"no command":    func(rows []waiter) { rows[0].Op = 9999 },
		"wrong command": func(rows []waiter) { rows[0].Op = Lookup([]byte("set")).Op },
		"arity":         func(rows []waiter) { rows[0].Args, rows[0].Keys = rows[0].Args[:2], []int{1} },
		"database":      func(rows []waiter) { rows[0].DB = 16 },
		"kind":          func(rows []waiter) { rows[0].Kind = waitKinds },
	} {
		rows := n.s.st.waiters.wire()
		for i := range rows {
			rows[i].Keys = append([]int(nil), rows[i].Keys...)
		}
		damage(rows)
		_, ok := newWaiterTable(rows, n.s.st.waiters.last, 16)
		require.False(t, ok, name)
	}
}

// XREADGROUP ends with the group or the stream it waits for.
func TestBlockedGroupEndsWithItsStream(t *testing.T) {
	for _, tc := range []struct{ wake, want string }{
		{"DEL s", "NOGROUP"}, {"SET s x", "WRONGTYPE"}, {"XGROUP DESTROY s g", "NOGROUP"}, {"FLUSHALL", "NOGROUP"},
		{"SWAPDB 0 1", "NOGROUP"}, {"RENAME s t", "NOGROUP"}, {"PEXPIRE s 5", "NOGROUP"}, {"MOVE s 3", "NOGROUP"},
	} {
		n := newTestNode(t)
		n.line("XGROUP CREATE s g $ MKSTREAM")
		c := n.startLine("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
		keys, onNoKey := n.s.BlockedKeys()
		require.Equal(t, [2]int{1, 1}, [2]int{keys, onNoKey})
		require.NotContains(t, n.line(tc.wake), "ERR")
		n.tick(10)
		require.Contains(t, n.got(c), tc.want, tc.wake)
		require.Contains(t, n.got(c), "no longer exists", tc.wake)
		keys, onNoKey = n.s.BlockedKeys()
		require.Zero(t, keys+onNoKey)
	}
}

// reader is the waiter of an XREAD.
type reader struct{ ready int }

func (r *reader) ChunkDone(*Chunk)  {}
func (r *reader) ChunkReady(*Chunk) { r.ready++ }

func (n *testNode) read(line string) (*Chunk, *reader) {
	r := &reader{}
	c := &Chunk{Waiter: r}
	addCommand(c, strings.Fields(line)...)
	c.AllowWait()
	require.False(n.t, n.s.Read(c, n.now))
	return c, r
}

func TestXReadWaitsOnItsNode(t *testing.T) {
	n := newTestNode(t)
	n.line("XADD s 1-1 a b")
	c, r := n.read("XREAD BLOCK 7 STREAMS t s $ $")
	require.True(t, c.Waits())
	require.EqualValues(t, 7, c.WaitLimit())
	require.Zero(t, c.Reply.Len())
	n.line("XADD u 1-1 a b")
	require.Zero(t, r.ready)
	n.line("SET t x")
	require.Equal(t, 1, r.ready)
	n.s.Read(c, n.now)
	require.True(t, c.Waits(), "another type is nothing to read")
	n.line("DEL t")
	n.s.Read(c, n.now)
	n.multi("XADD s 2-1 a b", "XADD t 1-1 a b")
	require.Equal(t, 3, r.ready)
	n.s.Read(c, n.now)
	require.False(t, c.Waits())
	require.NotContains(t, tapeText(t, c.Reply.Bytes()), `"t"`, "the stream that was written first")
	require.Contains(t, tapeText(t, c.Reply.Bytes()), `"2-1"`)
	require.Zero(t, n.s.readers.n.Load())
	require.Empty(t, n.s.readers.byKey)

	c, r = n.read("XREAD BLOCK 0 STREAMS nobody s 0 $")
	require.True(t, c.Waits())
	keys, _ := n.s.BlockedKeys()
	require.Equal(t, 2, keys)
	n.s.EndWait(c)
	n.line("XADD nobody 1-1 a b")
	require.Zero(t, r.ready)
	require.Empty(t, n.s.readers.byKey)
}

// The table stays small whatever clients do.
func TestTooManyWait(t *testing.T) {
	n := newTestNode(t)
	big := strings.Repeat("k", 16<<20)
	var got string
	for i := range 5 {
		got = n.do("BLPOP", fmt.Sprint(big, i), "0")
	}
	require.Contains(t, got, errTooManyWait)
}

func TestBlockingArguments(t *testing.T) {
	n := newTestNode(t)
	n.line("SET str x")
	for _, tc := range []struct{ line, want string }{
		{"BLPOP q x", "ERR timeout is not a float or out of range"},
		{"BLPOP q -1", "ERR timeout is negative"},
		{"BLPOP q -inf", "ERR timeout is negative"},
		{"BLPOP q inf", "ERR timeout is out of range"},
		{"BLPOP q 0x7FFFFFFFFFFFFF", "ERR timeout is out of range"},
		{"BLPOP q -0.0001", blockedText},
		{"BLPOP str 0", "WRONGTYPE"},
		{"BLPOP q str 0", "WRONGTYPE"},
		{"BZPOPMIN q str 0", "WRONGTYPE"},
		{"BLMOVE q p LEFT FOO x", "ERR syntax error"},
		{"BLMOVE q p LEFT LEFT x", "ERR timeout is not a float"},
		{"BLMPOP x 0 q LEFT", "ERR numkeys should be greater than 0"},
		{"BLMPOP x 1 q LEFT", "ERR timeout is not a float"},
		{"BLMPOP 0 2 q LEFT", "ERR syntax error"},
		{"BLMPOP 0 1 q LEFT COUNT 0", "ERR count should be greater than 0"},
		{"BZMPOP 0 1 q LEFT", "ERR syntax error"},
		{"BLMPOP 1 1 q LEFT COUNT 10", blockedText},
	} {
		require.Contains(t, n.line(tc.line), tc.want, tc.line)
	}
}

// TestSwapWakesNobodyForWhatIsDue: a key that is due serves no waiter. Redis 7.0 deletes it
// when a waiter is looked for, later versions when it is asked for.
func TestSwapWakesNobodyForWhatIsDue(t *testing.T) {
	for version, left := range map[string]string{"7.0": "(integer) 0", "7.4": "(integer) 1"} {
		n := newTestNode(t)
		n.do("CONFIG", "SET", "redis-version", version)
		require.Equal(t, "OK", n.do("CONFIG", "SET", "active-expire", "no"))
		n.do("RPUSH", "k", "v")
		n.do("PEXPIRE", "k", "5")
		n.do("SWAPDB", "0", "1")
		c := n.startLine("BLPOP k 0")
		n.now += 10
		n.do("SWAPDB", "0", "1")
		require.Equal(t, blockedText, n.got(c))
		require.Equal(t, left, n.do("DBSIZE"), version)
		n.now++
		require.Equal(t, "(integer) 0", n.do("EXISTS", "k"))
		require.Equal(t, "(integer) 0", n.do("DBSIZE"), "it went because somebody asked")
		n.do("RPUSH", "k", "w")
		require.Contains(t, n.got(c), `"w"`)
	}
}

// TestSleepInATransaction: what stands before DEBUG SLEEP sees a time that is earlier by
// that much, so that a key may expire within the transaction.
func TestSleepInATransaction(t *testing.T) {
	n := newTestNode(t)
	n.do("CONFIG", "SET", "active-expire", "no")
	c := n.startLine("BLPOP k 0")
	exec := &Chunk{}
	exec.BeginExecAgo(nil, 200)
	addCommand(exec, "RPUSH", "k", "v")
	addCommand(exec, "PEXPIRE", "k", "100")
	addCommand(exec, "PTTL", "k")
	exec.AppendOp(DebugCommand([]byte("sleep")), bytesOf("DEBUG", "SLEEP", "0.2"))
	addCommand(exec, "PTTL", "k")
	exec.EndExec()
	n.run(exec)
	require.Equal(t, "1) (integer) 1\n2) (integer) 1\n3) (integer) 100\n4) OK\n5) (integer) -2", tapeText(t, exec.Reply.Bytes()))
	require.Equal(t, blockedText, n.got(c))
	n.do("RPUSH", "k", "w")
	require.Contains(t, n.got(c), `"w"`)
}
