package kv

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func sampleUnit(t testing.TB) []byte {
	var c Chunk
	addCommand(&c, "SET", "a", "1")
	c.AppendSelect(3)
	c.BeginExec([]Watch{{DB: 3, Key: []byte("w"), Since: 9, Missing: true}})
	addCommand(&c, "DEL", "a", "b")
	c.EndExec()
	u := AppendUnit(nil, UnitHeader{Session: 7, Seq: 300, Low: 299, User: 1, Client: 1 << 40, Ops: uint64(c.NumOps)}, c.Ops)
	h, err := CheckUnit(u)
	require.NoError(t, err)
	require.Equal(t, uint64(4), h.Ops) // SET, SELECT inside, EXEC, DEL
	return u
}

func TestUnitRoundTrip(t *testing.T) {
	u := sampleUnit(t)
	body := BuildEntry(EntryHeader{Stamp: -5, Seed: 6, Level: ApplyLevel, Flags: EntryOOM}, u, u)
	it, err := ParseUnits(body)
	require.NoError(t, err)
	require.Equal(t, EntryHeader{Stamp: -5, Seed: 6, Level: ApplyLevel, Flags: EntryOOM, Units: 2}, it.Header)
	n := 0
	for it.Next() {
		n++
		again := AppendUnit(nil, it.Unit.UnitHeader, it.Unit.Data)
		require.Equal(t, u, again)
		require.Equal(t, uint64(300), it.Unit.Seq)
	}
	require.NoError(t, it.Err())
	require.Equal(t, 2, n)
}

func TestUnknownEntriesStopTheNode(t *testing.T) {
	good := BuildEntry(EntryHeader{Level: ApplyLevel}, sampleUnit(t))
	unit := func(ops ...[]byte) []byte {
		return BuildEntry(EntryHeader{Level: ApplyLevel},
			AppendUnit(nil, UnitHeader{Session: 1, Seq: 1, Ops: uint64(len(ops))}, bytes.Join(ops, nil)))
	}
	edit := func(at int, b byte) []byte {
		c := bytes.Clone(good)
		c[at] = b
		return c
	}
	exec := func(count byte) []byte { return appendOp(nil, opExec, []byte{count, 0, 0, 0}) }
	for _, tc := range []struct {
		name string
		body []byte
		err  error
	}{
		{"format", edit(0, 2), ErrUnknown},
		{"flags", edit(1, 2), ErrUnknown},
		{"level", edit(2, ApplyLevel+1), ErrUnknown},
		{"group", edit(4, 1), ErrUnknown},
		{"reserved", edit(28, 1), ErrUnknown},
		{"units", edit(24, 2), ErrMalformed},
		{"short header", good[:31], ErrMalformed},
		{"cut off", good[:len(good)-1], ErrMalformed},
		{"tail", append(bytes.Clone(good), 0), ErrMalformed},
		{"opcode", unit(appendOp(nil, 59999, nil)), ErrUnknown},
		{"control opcode", unit(appendOp(nil, 15)), ErrUnknown},
		{"huge opcode", unit(appendOp(nil, 65535)), ErrUnknown},
		{"database", unit(appendOp(nil, opSelect, []byte("16"))), ErrUnknown},
		{"select", unit(appendOp(nil, opSelect, []byte("x"))), ErrMalformed},
		{"exec count", unit(exec(1)), ErrMalformed},
		{"exec in exec", unit(exec(1), exec(0)), ErrMalformed},
		{"exec watch", unit(appendOp(nil, opExec, []byte{0, 0, 0, 0}, []byte{0x80})), ErrMalformed},
		{"open in a session", unit(appendOp(nil, opOpen, []byte("1"), []byte("2"))), ErrMalformed},
		{"argument count", unit([]byte{80, 0xff, 0xff, 0xff, 0xff, 0xf}), ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.session = 1
			err := n.s.Apply([]LogEntry{{Index: n.index + 1, Body: tc.body}}, n)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, n.index, n.s.Applied())
		})
	}
}

// An entry that is well formed but makes no sense replies errors and changes nothing.
func TestHostileArguments(t *testing.T) {
	n := newTestNode(t)
	ops := appendOp(nil, 28) // SET without arguments
	ops = appendOp(ops, 28, []byte("k"))
	ops = appendOp(ops, 81, []byte("k"), []byte("x"), []byte("y"), []byte("z"))
	n.apply(AppendUnit(nil, UnitHeader{Session: n.session, Seq: 1, Ops: 3}, ops))
	require.Equal(t, 0, n.s.DBSize(0))
	_, err := CheckUnit(AppendUnit(nil, UnitHeader{Ops: 1}, appendOp(nil, 28)))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzApply(f *testing.F) {
	u := sampleUnit(f)
	f.Add(BuildEntry(EntryHeader{Level: ApplyLevel}, u))
	f.Add(BuildEntry(EntryHeader{Level: ApplyLevel, Stamp: 1 << 62}))
	f.Add(u)
	f.Fuzz(func(t *testing.T, body []byte) {
		s := New(Options{})
		err := s.Apply([]LogEntry{{Index: 1, Body: body}}, nil)
		var p *PanicError
		require.NotErrorAs(t, err, &p)
		_, checked := CheckUnit(body)
		if checked == nil { // what CheckUnit passes, apply understands
			it, err := ParseUnits(BuildEntry(EntryHeader{Level: ApplyLevel}, body))
			require.NoError(t, err)
			require.True(t, it.Next())
		}
	})
}
