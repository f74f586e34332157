package node

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// A session belongs to an incarnation. A directory that was emptied counts its boots
// from 1 again: with the node's id in its OPEN it would get its predecessor's session,
// whose numbers are used up (found by seed 8 of the simulator).
func TestOpenNamesTheIncarnation(t *testing.T) {
	open := func(incarnation, boot uint64) []byte {
		l := &loop{incarnation: incarnation, boot: boot, origin: newOrigin(maxBatchBytes)}
		l.cfg.ResendTimeout, l.cfg.Level = time.Second, 1
		return l.openUnit(time.Unix(1, 0))
	}
	var want kv.Chunk
	want.AppendOpen(11, 1, 1)
	require.Equal(t, kv.AppendUnit(nil, kv.UnitHeader{Ops: 1}, want.Ops), open(11, 1))
	require.NotEqual(t, open(11, 1), open(12, 1), "the first boot of another incarnation")
	require.NotEqual(t, open(11, 1), open(11, 2))
}

// A leader that hands over takes no proposals. Units that fill an entry by themselves are
// proposed while they are gathered: being refused there, too, they wait, in their order,
// and the loop goes on. (It waited for its own lock.)
func TestAFullEntryThatIsNotTakenWaits(t *testing.T) {
	w := newWorld(7, 3, io.Discard)
	var leader *stepNode
	for steps := 0; leader == nil; steps++ {
		require.Less(t, steps, 200_000)
		w.step()
		for _, n := range w.nodes {
			if n.loop.core.Role() == raftcore.Leader && n.origin.opened() {
				leader = n
			}
		}
	}
	var answered []string
	propose := func(name string, value []byte) {
		c := &kv.Chunk{Waiter: nameWaiter{name, &answered, t}}
		c.AppendOp(kv.Lookup([]byte("append")), [][]byte{[]byte("append"), []byte("k"), value})
		leader.Propose(c)
	}
	const part = maxBatchBytes * 2 / 3 // two of these fill an entry
	propose("first", bytes.Repeat([]byte("x"), part))
	propose("small", []byte("y"))
	propose("second", bytes.Repeat([]byte("z"), part))
	propose("large", bytes.Repeat([]byte("Z"), 2*maxBatchBytes)) // these go after the others

	other := leader.loop.id%3 + 1
	require.NoError(t, leader.loop.core.TransferLeadership(other))
	last := leader.loop.core.LastIndex()
	turned := make(chan bool)
	go func() {
		defer close(turned)
		leader.loop.turn(leader.inbox.take(), w.now)
	}()
	select {
	case <-turned:
	case <-time.After(30 * time.Second):
		t.Fatal("the loop hangs")
	}
	require.Equal(t, last, leader.loop.core.LastIndex(), "no part of what came together may overtake the rest")
	for i := range leader.origin.ring {
		require.Zero(t, leader.origin.ring[i].sentTerm, "given to nobody")
	}
	for steps := 0; len(answered) < 4; steps++ {
		require.Less(t, steps, 200_000)
		w.step()
	}
	require.Equal(t, []string{"first", "small", "second", "large"}, answered)
	c := &kv.Chunk{}
	c.AddRead(kv.Lookup([]byte("getrange")), [][]byte{[]byte("getrange"), []byte("k"), []byte(fmt.Sprint(part - 1)), []byte(fmt.Sprint(part + 1))})
	leader.store.Read(c, 0)
	require.Equal(t, "$3\r\nxyz\r\n", string(c.Reply.Bytes()))
}

type nameWaiter struct {
	name string
	all  *[]string
	t    *testing.T
}

func (w nameWaiter) ChunkDone(c *kv.Chunk) {
	require.NoError(w.t, c.Err)
	*w.all = append(*w.all, w.name)
}
