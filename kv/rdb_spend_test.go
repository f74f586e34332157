package kv

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who writes a snapshot beside clients is asked whether it may go on after a few records, for
// each may lie in memory that costs more to touch than a command, and while it encodes
// the table of modifications, which is a million slots.
func TestSpendingRestsOften(t *testing.T) {
	n := newTestNode(t)
	const keys, valueLen = 30_000, 64
	for i := range keys {
		n.do("SET", fmt.Sprintf("key:%012d", i), fmt.Sprintf("%064d", i))
	}
	for i := range uint64(watchSlots) {
		n.s.st.watch.set(i, i+1)
	}
	spent, read := n.s.OpenCut(), n.s.OpenCut()
	defer spent.Close()
	defer read.Close()

	var got, want []byte
	rests, longest, most := 0, 0, 0
	require.NoError(t, spent.Spend(func(raw []byte, keys int) error {
		if len(raw) == 0 {
			require.Zero(t, keys)
			rests++
		}
		got = append(got, raw...)
		if keys > 0 {
			longest, most = max(longest, len(raw)), max(most, keys)
		}
		return nil
	}))
	require.GreaterOrEqual(t, rests, watchSlots/watchPageSlots/encodedPerRest)
	require.Less(t, longest, spendPiece+2*valueLen)
	require.LessOrEqual(t, most, 2*warmTogether)

	require.NoError(t, read.Blocks(func(raw []byte, _ int) error {
		require.NotEmpty(t, raw)
		want = append(want, raw...)
		return nil
	}))
	require.Equal(t, want, got, "how it is cut into pieces does not show")
}

// An error of whoever takes the pieces ends a spending that is not at the keys yet.
func TestSpendingEndsWhereItRests(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "key", "value")
	cut := n.s.OpenCut()
	defer cut.Close()
	full := fmt.Errorf("no room")
	emits := 0
	require.ErrorIs(t, cut.Spend(func([]byte, int) error { emits++; return full }), full)
	require.Equal(t, 1, emits)
}
