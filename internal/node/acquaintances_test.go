package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// directory is a data directory's past as its identity file has it.
type directory struct{ Identity }

func (d directory) start(life uint64) directory {
	d.Boot++
	d.Lives = append(append([]uint64(nil), d.Lives...), life)
	return d
}

func (d directory) meets(a *acquaintances) transport.Reason {
	_, asked := a.Newest(d.Node, d.Incarnation)
	return a.Meet(transport.Acquaintance{
		Node: d.Node, Incarnation: d.Incarnation, Boot: d.Boot, Life: d.life(d.Boot), AskedBoot: asked, LifeThen: d.life(asked),
	})
}

func reopen(t *testing.T, fs vfs.FS) *acquaintances {
	a, err := openAcquaintances(fs, "/", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return a
}

// However often a copy is started, it is not taken for what went on without it, and a
// peer that was restarted meanwhile remembers (docs/adr/0015).
func TestOlderCopiesAreRefusedForEver(t *testing.T) {
	fs := vfs.NewMem()
	a := reopen(t, fs)
	old := directory{Identity{Node: 2, Incarnation: 7}}.start(100).start(101)
	require.Equal(t, transport.ReasonNone, old.meets(a))
	current := old.start(102).start(103)
	require.Equal(t, transport.ReasonNone, current.meets(a))
	a = reopen(t, fs)
	require.Equal(t, transport.ReasonOldBoot, old.meets(a))
	restored := old
	for boot := range 10 {
		restored = restored.start(uint64(200 + boot))
		want := transport.ReasonOldCopy
		if restored.Boot < current.Boot {
			want = transport.ReasonOldBoot
		}
		require.Equal(t, want, restored.meets(a), "boot %d", restored.Boot)
	}
	require.Equal(t, transport.ReasonNone, current.meets(a))
	require.Equal(t, transport.ReasonNone, current.start(104).start(105).start(106).meets(a))
	wiped := directory{Identity{Node: 2, Incarnation: 8}}.start(300)
	require.Equal(t, transport.ReasonNone, wiped.meets(a), "an emptied directory is somebody else")
}

// Somebody who was away for longer than a directory remembers has to believe it; one
// that forgot too early is no such case.
func TestAPastBeyondMemoryIsBelieved(t *testing.T) {
	a := reopen(t, vfs.NewMem())
	d := directory{Identity{Node: 2, Incarnation: 7}}.start(100)
	require.Equal(t, transport.ReasonNone, d.meets(a))
	forgetful := d.start(101)
	forgetful.Lives = forgetful.Lives[1:]
	require.Equal(t, transport.ReasonOldCopy, forgetful.meets(a))
	d.Boot, d.Lives = d.Boot+maxLives, []uint64{5}
	require.Equal(t, transport.ReasonNone, d.meets(a))
}

// The dialer knows the incarnation of who answers only afterwards: then it asks again.
func TestAPeerThatWasNotAskedIsAskedNextTime(t *testing.T) {
	a := reopen(t, vfs.NewMem())
	first, second := directory{Identity{Node: 2, Incarnation: 7}}.start(100), directory{Identity{Node: 2, Incarnation: 8}}.start(200)
	require.Equal(t, transport.ReasonNone, first.meets(a))
	require.Equal(t, transport.ReasonNone, second.meets(a))
	first = first.start(101)
	of, _ := a.Newest(2, 0)
	require.EqualValues(t, 8, of)
	p := transport.Acquaintance{Node: 2, Incarnation: 7, Boot: first.Boot, Life: 101}
	require.NotEqual(t, p.Incarnation, of)
	require.Equal(t, transport.ReasonBusy, a.Meet(p))
	of, asked := a.Newest(2, 0)
	require.EqualValues(t, 7, of)
	p.AskedBoot, p.LifeThen = asked, first.life(asked)
	require.Equal(t, transport.ReasonNone, a.Meet(p))
}

// A full disk does not keep peers out; what it could not take is written later.
func TestAcquaintancesOfAFullDisk(t *testing.T) {
	fs := vfs.NewMem()
	a := reopen(t, fs)
	fs.SetFault(func(vfs.Op) error { return errors.New("full") })
	d := directory{Identity{Node: 2, Incarnation: 7}}.start(100)
	require.Equal(t, transport.ReasonNone, d.meets(a))
	require.Equal(t, transport.ReasonOldCopy, directory{Identity{Node: 2, Incarnation: 7}}.start(101).meets(a))
	fs.SetFault(nil)
	require.Equal(t, transport.ReasonNone, d.meets(a))
	_, boot := reopen(t, fs).Newest(2, 7)
	require.EqualValues(t, 1, boot)
}

// Every byte of the file may be damaged: it is then begun anew.
func TestDamagedAcquaintances(t *testing.T) {
	fs := vfs.NewMem()
	d := directory{Identity{Node: 2, Incarnation: 7}}.start(100)
	d.meets(reopen(t, fs))
	raw, err := fs.ReadFile("/peers")
	require.NoError(t, err)
	for i := range raw {
		require.NoError(t, fs.FlipBit("/peers", int64(8*i)))
		_, boot := reopen(t, fs).Newest(2, 7)
		require.Zero(t, boot, "byte %d", i)
		require.NoError(t, fs.FlipBit("/peers", int64(8*i)))
	}
}

// An operator restores a member's directory from a copy: the node stops and says so,
// also when it is started again and again; emptied, it joins.
func TestRestoredDirectoryIsNoticed(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	stop := func(id raftcore.NodeID) {
		require.NoError(t, c.nodes[id].Close(context.Background()))
		delete(c.nodes, id)
	}
	dir, saved := filepath.Join(c.dir, "3"), filepath.Join(c.dir, "saved")
	initial := map[raftcore.NodeID]string{}
	for id, addr := range c.addrs {
		initial[id] = addr
	}
	stop(3)
	require.NoError(t, os.CopyFS(saved, os.DirFS(dir)))
	c.nodes[3] = c.open(3, initial, nil)
	_, err := do(t, c.nodes[3], "set", "k", "v")
	require.NoError(t, err)
	stop(3)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(saved)))
	for range 3 {
		n := c.open(3, initial, nil)
		select {
		case <-n.Failed():
		case <-time.After(20 * time.Second):
			t.Fatal("nobody noticed")
		}
		require.ErrorIs(t, n.Err(), ErrSuperseded)
		require.Contains(t, n.Err().Error(), "--join")
		_ = n.Close(context.Background())
	}
	_, err = do(t, c.leader(), "set", "still", "at-work")
	require.NoError(t, err)
}
