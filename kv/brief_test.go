package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBriefKnowsWhatMayTakeLong(t *testing.T) {
	entry := func(commands ...[]string) []byte {
		var c Chunk
		for _, words := range commands {
			args := make([][]byte, len(words))
			for i, w := range words {
				args[i] = []byte(w)
			}
			c.AppendOp(Lookup(args[0]), args)
		}
		unit := AppendUnit(nil, UnitHeader{Session: 1, Seq: 1, Low: 1, Ops: uint64(c.NumOps)}, c.Ops)
		return BuildEntry(EntryHeader{Level: ApplyLevel, Stamp: 1}, unit)
	}
	require.True(t, Brief(BuildEntry(EntryHeader{Level: ApplyLevel})), "a TICK")
	require.True(t, Brief(entry([]string{"set", "a", "1"}, []string{"incr", "n"}, []string{"lpush", "l", "x"})))
	require.True(t, Brief(entry([]string{"lpop", "l"})))
	for _, long := range [][]string{
		{"lpop", "l", "1000000"}, {"del", "big"}, {"sunionstore", "d", "a", "b"}, {"eval", "return 1", "0"},
		{"flushall"}, {"zpopmin", "z", "9"}, {"setrange", "s", "500000000", "x"},
	} {
		require.False(t, Brief(entry([]string{"set", "a", "1"}, long)), long)
	}
	whole := entry([]string{"set", "a", "1"})
	for n := range whole {
		require.False(t, Brief(whole[:n]), "cut at %d", n)
	}
}
