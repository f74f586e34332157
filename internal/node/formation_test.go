package node

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// founders are nodes that found a cluster together. Questions and replies take as long
// as a test wants.
type founders struct {
	t     *testing.T
	addrs map[raftcore.NodeID]string
	list  []*founder // index+1 is the node id
}

// founder is a machine with a disk and a process that is not part of a cluster yet.
type founder struct {
	c     *founders
	id    raftcore.NodeID
	disk  *vfs.Mem
	steps *Steps
	form  *Formation // nil once it belongs to a cluster
	call  *founderCall
}

// founderCall is the one question a founder waits for.
type founderCall struct {
	from  *founder
	q     Question
	reply *Reply
	asked bool // the callee gave its reply
}

func newFounders(t *testing.T, n int) *founders {
	c := &founders{t: t, addrs: map[raftcore.NodeID]string{}}
	for id := raftcore.NodeID(1); int(id) <= n; id++ {
		c.addrs[id] = fmt.Sprintf("10.0.0.%d:1", id)
		c.list = append(c.list, &founder{c: c, id: id})
	}
	for _, f := range c.list {
		f.empty()
	}
	return c
}

// empty starts the machine's process on a new disk.
func (f *founder) empty() {
	f.disk = vfs.NewMem()
	f.start()
}

// start starts the machine's process, again if there is one.
func (f *founder) start() {
	if f.steps != nil {
		f.steps.Kill()
	}
	s, err := StepOpen(Config{ID: f.id, DataDir: "/data", FS: f.disk, PeerAddr: f.c.addrs[f.id], ClientAddr: "c", Initial: f.c.addrs,
		Logger: slog.New(slog.DiscardHandler)}, noHost{})
	require.NoError(f.c.t, err)
	f.steps, f.form, f.call = s, s.NewFormation(), nil
}

// ask puts the founder's next question on its way, or begins another round.
func (f *founder) ask() {
	if f.form == nil || f.call != nil {
		return
	}
	if q, ok := f.form.Next(); ok {
		f.call = &founderCall{from: f, q: q}
	}
}

// serve lets the callee see a question.
func (x *founderCall) serve() {
	for _, g := range x.from.c.list {
		if g.steps.cfg.PeerAddr == x.q.Addr && !x.asked {
			x.asked = true
			x.reply, _ = g.steps.Answer(x.q)
		}
	}
}

// deliver lets the caller see the reply; nil if the question or the reply got lost.
func (x *founderCall) deliver() {
	f := x.from
	if f.call != x {
		return
	}
	f.call = nil
	done, err := f.form.Answer(x.q, x.reply)
	require.NoError(f.c.t, err)
	if done {
		f.form = nil
	}
}

// to lets the founder ask until it has asked g, who answers; nobody else does.
func (f *founder) to(g *founder) {
	for f.form != nil {
		if f.ask(); f.call == nil {
			continue
		}
		x := f.call
		if x.q.Addr == f.c.addrs[g.id] {
			x.serve()
			x.deliver()
			return
		}
		x.deliver()
	}
}

// settled is the cluster that a founder's directory belongs to.
func (f *founder) settled() *Genesis { return f.steps.identity.Genesis }

// agree: all that belong to a cluster belong to the same one.
func (c *founders) agree(format string, args ...any) {
	var first *founder
	for _, f := range c.list {
		switch {
		case f.settled() == nil:
		case first == nil:
			first = f
		default:
			require.Equal(c.t, first.settled(), f.settled(), "%s: nodes %d and %d belong to two clusters", fmt.Sprintf(format, args...), first.id, f.id)
		}
	}
}

// A founder that settled, was removed and emptied answers like one that was never
// there. With one that is still forming it must not make another cluster of the same
// founders (found by the simulator, "leader removes itself", seeds 31 and 848).
func TestEmptiedFounderFoundsNoSecondCluster(t *testing.T) {
	c := newFounders(t, 3)
	a, b, late := c.list[0], c.list[1], c.list[2]
	late.to(b)
	everybody := func() {
		for _, f := range []*founder{a, b} {
			for _, g := range c.list {
				if f != g {
					f.to(g)
				}
			}
		}
	}
	everybody()
	if a.settled() == nil { // the late one has to name a, too
		late.to(a)
		everybody()
		everybody()
	}
	require.NotNil(t, a.settled())
	require.NotNil(t, b.settled())
	require.Nil(t, late.settled(), "it has not heard yet that they agree")
	a.empty()
	late.to(a)
	a.to(late)
	c.agree("once node %d is emptied", a.id)
	late.to(b)
	a.to(b)
	c.agree("at the end")
	require.NotNil(t, late.settled())
	require.NotEmpty(t, a.form.f.join, "an emptied founder joins")
}

func TestFoundersNeverMakeTwoClusters(t *testing.T) {
	seeds := 2000
	if testing.Short() {
		seeds = 200
	}
	emptied := 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 18))
		c := newFounders(t, 3+2*rng.IntN(2))
		var calls []*founderCall
		rate := rng.IntN(30)
		for range 60 + rng.IntN(400) {
			f := c.list[rng.IntN(len(c.list))]
			switch n := rng.IntN(300); {
			case n < rate:
				f.empty()
				emptied++
			case n < 2*rate:
				f.start()
			case n < 120:
				if f.call == nil {
					if f.ask(); f.call != nil {
						calls = append(calls, f.call)
					}
				}
			case len(calls) == 0:
			default:
				i := rng.IntN(len(calls))
				switch x := calls[i]; {
				case rng.IntN(3) > 0 && !x.asked:
					x.serve()
				default:
					x.deliver() // late, or not at all
					calls = append(calls[:i], calls[i+1:]...)
				}
			}
			c.agree("seed %d", seed)
		}
		// When all is well again everybody belongs to the cluster, or asks to join it.
		for range 20 * len(c.list) {
			for _, f := range c.list {
				if f.ask(); f.call != nil {
					f.call.serve()
					f.call.deliver()
				}
			}
		}
		c.agree("seed %d, at its end", seed)
		for _, f := range c.list {
			if f.form != nil {
				require.NotEmpty(t, f.form.f.join, "seed %d: node %d is still forming: %s", seed, f.id, f.form.f)
			}
		}
	}
	require.Positive(t, emptied)
}

// noHost is for steps that never run.
type noHost struct{}

func (noHost) Send([]raftcore.Message)                          {}
func (noHost) SendUnits(raftcore.NodeID, []transport.Unit) bool { return false }
func (noHost) SendRefused(raftcore.NodeID, []uint64)            {}
func (noHost) SetPeers([]transport.Peer)                        {}
func (noHost) AskPeers([]string)                                {}
func (noHost) Introduce([]string)                               {}
func (noHost) TakeSnapshot()                                    {}
func (noHost) SendSnapshot(raftcore.NodeID)                     {}
func (noHost) Saving(*raftcore.Save)                            {}
func (noHost) Applying([]raftcore.Entry)                        {}
func (noHost) Restoring(raftcore.SnapshotMeta)                  {}
