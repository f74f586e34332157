package kv

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testNode drives a Store as a node does: chunks are proposed as units of its
// session, entries are applied in order, reads go through Read.
type testNode struct {
	t       testing.TB
	s       *Store
	index   uint64
	session uint64
	seq     uint64
	now     int64
	seed    uint64
	waiting map[uint64]*Chunk
	log     []LogEntry
}

// testEpoch is the clock at which tests begin.
const testEpoch = 1_700_000_000_000

func newTestNode(t testing.TB) *testNode {
	n := &testNode{t: t, s: New(Options{HashSeed: 42}), now: testEpoch, waiting: map[uint64]*Chunk{}}
	var c Chunk
	c.AppendOpen(1, 1, 1)
	n.apply(AppendUnit(nil, UnitHeader{Ops: uint64(c.NumOps)}, c.Ops))
	id, ok := n.s.SessionOf(1, 1)
	require.True(t, ok)
	n.session = id
	return n
}

// Chunk and Done implement Owner.
func (n *testNode) Chunk(session, seq uint64) *Chunk {
	if session != n.session {
		return nil
	}
	c := n.waiting[seq]
	delete(n.waiting, seq)
	if c != nil {
		c.Seq = seq
	}
	return c
}

func (n *testNode) Blocked(c *Chunk, _ int64) { n.waiting[c.Seq] = c }

func (n *testNode) Done(c *Chunk) {
	if c.Waiter != nil {
		c.Waiter.ChunkDone(c)
	}
}

// apply makes an entry of encoded units and applies it.
func (n *testNode) apply(units ...[]byte) {
	n.t.Helper()
	n.index++
	n.seed++
	e := LogEntry{Index: n.index, Body: BuildEntry(EntryHeader{Stamp: n.now, Seed: n.seed, Level: ApplyLevel}, units...)}
	n.log = append(n.log, e)
	require.NoError(n.t, n.s.Apply([]LogEntry{e}, n))
}

// tick advances the clock and applies an entry that only stamps.
func (n *testNode) tick(ms int64) {
	n.now += ms
	n.apply()
}

// run proposes or reads the chunk.
func (n *testNode) run(c *Chunk) {
	n.t.Helper()
	if c.Logged() {
		c.LogScripts()
	} else {
		if n.s.Read(c, n.now) {
			n.apply()
			require.False(n.t, n.s.Read(c, 0))
		}
		if !c.WantsLog() {
			return
		}
		c.LogScripts()
	}
	n.seq++
	n.waiting[n.seq] = c
	n.apply(n.unit(c, n.seq))
}

func (n *testNode) unit(c *Chunk, seq uint64) []byte {
	u := AppendUnit(nil, UnitHeader{Session: n.session, Seq: seq, Ops: uint64(c.NumOps)}, c.Ops)
	_, err := CheckUnit(u)
	require.NoError(n.t, err)
	return u
}

// add puts a command into the chunk as package resp would, arity errors included.
func addCommand(c *Chunk, args ...string) {
	argv := make([][]byte, len(args))
	for i, a := range args {
		argv[i] = []byte(a)
	}
	fail := func(msg string) {
		var r Reply
		r.Error(msg)
		c.AddTape(&r)
	}
	cmd := Lookup(argv[0])
	if cmd != nil && cmd.Sub != nil && len(argv) > 1 {
		cmd = cmd.Subcommand(argv[1])
	}
	switch {
	case strings.EqualFold(args[0], "config") && len(args) > 2 && strings.EqualFold(args[1], "set"):
		c.AppendConfigSet(argv[2:])
	case cmd == nil || cmd.Run == nil:
		fail("ERR unknown command '" + args[0] + "'")
	case !cmd.ArityOK(len(argv)):
		fail(WrongArgs(cmd.Name))
	case cmd.Logged():
		c.AppendOp(cmd, argv)
	default:
		c.AddRead(cmd, argv)
	}
}

// blockedText stands for the reply of a command whose client waits.
const blockedText = "(blocked)"

// do runs one command and returns its reply as text (replyText).
func (n *testNode) do(args ...string) string {
	n.t.Helper()
	var c Chunk
	addCommand(&c, args...)
	n.run(&c)
	if n.waiting[c.Seq] == &c {
		return blockedText
	}
	require.Len(n.t, c.Ends, 1)
	return tapeText(n.t, c.Reply.Bytes())
}

// value is a decoded reply. Maps, pairs and doubles are what RESP2 shows.
type value struct {
	kind  byte // + - : $ * and n (null), N (null array)
	text  string
	elems []value
}

// parseValue decodes a tape or RESP2.
func parseValue(b []byte) (value, []byte, error) {
	i := bytes.Index(b, []byte("\r\n"))
	if i < 1 {
		return value{}, nil, fmt.Errorf("no value in %q", b)
	}
	tag, head, rest := b[0], string(b[1:i]), b[i+2:]
	n, _ := strconv.Atoi(head)
	switch tag {
	case '+', '-', ':':
		return value{kind: tag, text: head}, rest, nil
	case '#':
		return value{kind: ':', text: map[string]string{"t": "1", "f": "0"}[head]}, rest, nil
	case ',', '(':
		return value{kind: '$', text: head}, rest, nil
	case '_':
		return value{kind: 'n'}, rest, nil
	case 'N':
		return value{kind: 'N'}, rest, nil
	case '$', '=':
		if n < 0 {
			return value{kind: 'n'}, rest, nil
		}
		if len(rest) < n+2 {
			return value{}, nil, fmt.Errorf("short bulk in %q", b)
		}
		text := string(rest[:n])
		if tag == '=' {
			text = text[4:]
		}
		return value{kind: '$', text: text}, rest[n+2:], nil
	case 'K':
		v := value{kind: '*'}
		for ; n > 0; n-- {
			pair := value{kind: '*', elems: make([]value, 2)}
			for i := range pair.elems {
				var err error
				if pair.elems[i], rest, err = parseValue(rest); err != nil {
					return v, nil, err
				}
			}
			v.elems = append(v.elems, pair)
		}
		return v, rest, nil
	case '*', '~', '%', 'P':
		if n < 0 {
			return value{kind: 'N'}, rest, nil
		}
		if tag == '%' || tag == 'P' {
			n *= 2
		}
		v := value{kind: '*'}
		for ; n > 0; n-- {
			var e value
			var err error
			if e, rest, err = parseValue(rest); err != nil {
				return v, nil, err
			}
			v.elems = append(v.elems, e)
		}
		return v, rest, nil
	}
	return value{}, nil, fmt.Errorf("tag %q", tag)
}

// lines prints a value as redis-cli does.
func (v value) lines() []string {
	switch v.kind {
	case '-':
		return []string{"(error) " + v.text}
	case ':':
		return []string{"(integer) " + v.text}
	case '$':
		return []string{strconv.Quote(v.text)}
	case 'n':
		return []string{"(nil)"}
	case 'N':
		return []string{"(nil array)"}
	case '*':
		if len(v.elems) == 0 {
			return []string{"(empty)"}
		}
		var out []string
		for i, e := range v.elems {
			prefix := strconv.Itoa(i+1) + ") "
			for _, l := range e.lines() {
				out = append(out, prefix+l)
				prefix = strings.Repeat(" ", len(prefix))
			}
		}
		return out
	}
	return []string{v.text}
}

// sorted orders the elements of an array: for replies without an order.
func (v value) sorted() value {
	v.elems = append([]value(nil), v.elems...)
	for i := range v.elems {
		if v.elems[i].kind == '*' {
			v.elems[i] = v.elems[i].sorted()
		}
	}
	sort.Slice(v.elems, func(i, j int) bool {
		return strings.Join(v.elems[i].lines(), "\n") < strings.Join(v.elems[j].lines(), "\n")
	})
	return v
}

func tapeText(t testing.TB, tape []byte) string {
	t.Helper()
	v, rest, err := parseValue(tape)
	require.NoError(t, err)
	require.Empty(t, rest, "more than one value on the tape")
	return strings.Join(v.lines(), "\n")
}
