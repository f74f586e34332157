package transport

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

func TestNotesKeepTheirOrder(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	var want [][]byte
	for i := range 500 {
		note := bytes.Repeat([]byte(fmt.Sprint(i)), 1+i%700)
		want = append(want, note)
		require.True(t, a.SendNote(2, note))
		a.Flush()
	}
	eventually(t, func() bool { return get(b, func() int { return len(b.notes) }) == len(want) })
	require.Equal(t, want, get(b, func() [][]byte { return b.notes }))
	require.False(t, a.SendNote(9, []byte("x")), "unknown peer")
	require.EqualValues(t, 1, a.Stats().DroppedNotes)
}

// A peer that does not read costs a bounded queue, and the log's messages still find
// room.
func TestNotesForASlowPeerAreDropped(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	connect(t, a, b)
	b.mu.Lock()
	b.block = make(chan struct{})
	b.mu.Unlock()
	defer b.unblock()
	note := bytes.Repeat([]byte("n"), 1<<20)
	dropped := 0
	for range 200 {
		if !a.SendNote(2, note) {
			dropped++
		}
		a.Flush()
	}
	require.Greater(t, dropped, 100)
	before := a.Stats().DroppedBulk
	a.Send([]raftcore.Message{{Type: raftcore.MsgAppend, To: 2, Round: 7}})
	a.Flush()
	require.Equal(t, before, a.Stats().DroppedBulk)
	b.unblock()
	eventually(t, func() bool { return len(b.received()) == 1 })
}
