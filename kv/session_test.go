package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// incr is a unit as a test sends it: INCR n under (session, seq, low).
func (n *testNode) incr(session, seq, low uint64) []byte {
	var c Chunk
	addCommand(&c, "INCR", "n")
	return AppendUnit(nil, UnitHeader{Session: session, Seq: seq, Low: low, Ops: uint64(c.NumOps)}, c.Ops)
}

func TestUnitsTakeEffectOnce(t *testing.T) {
	n := newTestNode(t)
	s := n.session
	for _, step := range []struct {
		why               string
		session, seq, low uint64
		counter           string
		state             SeqState
	}{
		{"first", s, 1, 1, "1", SeqApplied},
		{"a copy", s, 1, 1, "1", SeqApplied},
		{"out of order", s, 3, 1, "2", SeqApplied},
		{"the gap", s, 2, 1, "3", SeqApplied},
		{"a copy of the gap", s, 2, 1, "3", SeqApplied},
		{"far ahead", s, 200, 1, "4", SeqApplied},
		{"raises low", s, 201, 150, "5", SeqApplied},
		{"sealed", s, 149, 1, "5", SeqSettled},
		{"a copy from before", s, 3, 1, "5", SeqSettled},
		{"not sealed", s, 150, 150, "6", SeqApplied},
		{"a copy above low", s, 200, 150, "6", SeqApplied},
		{"low above itself", s, 202, 300, "7", SeqSettled},
		{"below that low", s, 299, 0, "7", SeqSettled},
		{"low never falls", s, 300, 5, "8", SeqApplied},
		{"still sealed", s, 298, 5, "8", SeqSettled},
		{"beyond the window", s, 300 + maxSessionWindow, 1, "8", SeqOpen},
		{"last of the window", s, 300 + maxSessionWindow - 1, 1, "9", SeqApplied},
		{"a huge number", s, 1<<64 - 1, 1, "9", SeqOpen},
		{"unknown session", s + 1, 1, 1, "9", SeqClosed},
		{"no session", 0, 1, 1, "9", SeqClosed},
	} {
		if step.session != 0 {
			n.apply(n.incr(step.session, step.seq, step.low))
		}
		require.Equal(t, `"`+step.counter+`"`, n.do("GET", "n"), step.why)
		require.Equal(t, step.state, n.s.SeqState(step.session, step.seq), step.why)
	}
}

func TestDuplicateInOneEntry(t *testing.T) {
	n := newTestNode(t)
	u := n.incr(n.session, 1, 1)
	n.apply(u, u, n.incr(n.session, 2, 1), u)
	require.Equal(t, `"2"`, n.do("GET", "n"))
}

func TestOpenClosesOlderSessions(t *testing.T) {
	n := newTestNode(t)
	open := func(node, boot uint64) []byte {
		var c Chunk
		c.AppendOpen(node, boot, 1)
		return AppendUnit(nil, UnitHeader{Ops: 1}, c.Ops)
	}
	old := n.session
	n.apply(n.incr(old, 1, 1))

	n.apply(open(1, 1)) // a retry of the same boot
	id, ok := n.s.SessionOf(1, 1)
	require.True(t, ok)
	require.Equal(t, old, id)
	require.Equal(t, SeqApplied, n.s.SeqState(old, 1), "the retry keeps what was applied")

	n.apply(open(1, 2), open(2, 7), open(3, 1))
	index := n.index
	id, ok = n.s.SessionOf(1, 2)
	require.True(t, ok)
	require.Equal(t, index, id)
	id2, _ := n.s.SessionOf(2, 7)
	id3, _ := n.s.SessionOf(3, 1)
	require.Equal(t, []uint64{index + 1, index + 2}, []uint64{id2, id3}, "sessions of one entry differ")
	require.Equal(t, SeqClosed, n.s.SeqState(old, 1))
	_, ok = n.s.SessionOf(1, 1)
	require.False(t, ok)

	n.apply(n.incr(old, 2, 1)) // a late unit of the old boot
	require.Equal(t, `"1"`, n.do("GET", "n"))
	n.apply(open(1, 1)) // a late OPEN of the old boot
	_, ok = n.s.SessionOf(1, 2)
	require.True(t, ok)

	n.apply(open(4, 1)) // ids go on above those given out
	id4, _ := n.s.SessionOf(4, 1)
	require.Greater(t, id4, id3)
}

// The table's form is canonical: however it came about, equal content is equal bytes.
func TestSessionTableIsCanonical(t *testing.T) {
	build := func(steps ...[2]uint64) []byte {
		st := newState(1, 1)
		st.sessions.open(1, 1, 1, 5)
		for _, s := range steps {
			st.sessions.admit(&UnitHeader{Session: 5, Seq: s[0], Low: s[1]})
		}
		return st.encode()
	}
	a := build([2]uint64{1, 1}, [2]uint64{500, 1}, [2]uint64{130, 120}, [2]uint64{501, 131}, [2]uint64{600, 600})
	b := build([2]uint64{600, 600})
	require.Equal(t, a, b)
}
