package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// records lists where a stopped node's log keeps which entry.
func (c *testCluster) records(id raftcore.NodeID) (found []record) {
	var out strings.Builder
	require.NoError(c.t, segmentlog.Dump(vfs.OS{}, c.logDir(id), &out))
	file := ""
	for _, line := range strings.Split(out.String(), "\n") {
		if name, _, ok := strings.Cut(line, ": active"); ok {
			file = name
		}
		r := record{file: file}
		var term, typ int
		if n, _ := fmt.Sscanf(line, "%d index %d term %d type %d length %d", &r.off, &r.index, &term, &typ, &r.length); n == 5 {
			found = append(found, r)
		}
	}
	return found
}

type record struct {
	file   string
	off    int64
	index  uint64
	length int
}

// flip inverts a bit of a file.
func flip(t *testing.T, file string, off int64) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, off)
	require.NoError(t, err)
}

// fillLog writes entries, one of them larger than an answer to a call.
func (c *testCluster) fillLog() {
	for i := range 30 {
		_, err := do(c.t, c.leader(), "set", fmt.Sprint("key", i), strings.Repeat("v", 100*i))
		require.NoError(c.t, err)
	}
	_, err := do(c.t, c.leader(), "set", "large", strings.Repeat("w", 3<<20))
	require.NoError(c.t, err)
	_, err = do(c.t, c.leader(), "set", "end", "1")
	require.NoError(c.t, err)
	c.settled()
}

// Bits flip in one node's log, in bodies and in headers: it fetches what is lost and
// goes on, while the others serve.
func TestDamagedMiddleIsRepaired(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.fillLog()
	victim := c.kill(c.others(c.leader())[0])
	recs := c.records(victim)
	require.Greater(t, len(recs), 30)
	for i := 2; i < len(recs); i += 3 {
		flip(t, recs[i].file, recs[i].off+8*int64(i%8)) // in the header
		if recs[i-2].length > 0 {
			flip(t, recs[i-2].file, recs[i-2].off+64+int64(recs[i-2].length)/2) // in a body
		}
	}
	_, err := do(t, c.leader(), "set", "meanwhile", "1")
	require.NoError(t, err)
	n := c.restart(victim)
	require.Equal(t, "$1\r\n1\r\n", get(t, n, "meanwhile"))
	c.settled()
	c.sameDigests()
	c.kill(n)
	report, err := segmentlog.Verify(vfs.OS{}, c.logDir(victim))
	require.NoError(t, err)
	require.Nil(t, report.Damage, "what was repaired is on the disk")
	c.restart(victim)
	c.sameDigests()
}

// Node k is damaged at entries i with i mod n == k: each entry is intact somewhere,
// and all is recovered, from nodes that repair themselves at the same time.
func TestHelicalDamageIsRepaired(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.fillLog()
	for _, n := range c.others(nil) {
		c.kill(n)
	}
	for id := range c.addrs {
		for _, r := range c.records(id) {
			if raftcore.NodeID(r.index%3)+1 == id && r.length > 0 {
				flip(t, r.file, r.off+64+int64(r.length)/2)
			}
		}
	}
	opened := make(chan *Node, 3)
	for id := range c.addrs {
		go func() { opened <- c.open(id, c.addrs, nil) }()
	}
	for range 3 {
		n := <-opened
		c.nodes[n.identity.Node] = n
	}
	c.leader()
	for i := range 30 {
		require.Contains(t, get(t, c.nodes[1], fmt.Sprint("key", i)), strings.Repeat("v", 100*i))
	}
	c.settled()
	c.sameDigests()
}

// Nobody has the entry any more: refuse, with an address, and change nothing.
func TestUnrepairableLogIsRefused(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	for i := range 5 {
		_, err := do(t, c.leader(), "set", fmt.Sprint("key", i), "1")
		require.NoError(t, err)
	}
	c.kill(c.nodes[1])
	r := c.records(1)[3]
	flip(t, r.file, r.off+70)
	before, err := os.ReadFile(r.file)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = Open(ctx, Config{ID: 1, DataDir: filepath.Join(c.dir, "1"), PeerAddr: c.addrs[1], SegmentSize: 1 << 20})
	var damage *segmentlog.CorruptionError
	require.ErrorAs(t, err, &damage)
	require.ErrorIs(t, err, errNobodyHas)
	require.Equal(t, r.file, damage.File)
	require.Equal(t, r.off, damage.Offset)
	after, err := os.ReadFile(r.file)
	require.NoError(t, err)
	require.Equal(t, before, after)
}
