package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

// A session belongs to an incarnation. A directory that was emptied counts its boots
// from 1 again: with the node's id in its OPEN it would get its predecessor's session,
// whose numbers are used up (found by seed 8 of the simulator).
func TestOpenNamesTheIncarnation(t *testing.T) {
	open := func(incarnation, boot uint64) []byte {
		l := &loop{incarnation: incarnation, boot: boot, origin: newOrigin()}
		l.cfg.ResendTimeout, l.cfg.Level = time.Second, 1
		return l.openUnit(time.Unix(1, 0))
	}
	var want kv.Chunk
	want.AppendOpen(11, 1, 1)
	require.Equal(t, kv.AppendUnit(nil, kv.UnitHeader{Ops: 1}, want.Ops), open(11, 1))
	require.NotEqual(t, open(11, 1), open(12, 1), "the first boot of another incarnation")
	require.NotEqual(t, open(11, 1), open(11, 2))
}
