package node

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// messageSink notes whom entries go to.
type messageSink struct {
	effects
	to []raftcore.NodeID
}

func (s *messageSink) send(ms []raftcore.Message) {
	for i := range ms {
		if ms[i].Type == raftcore.MsgAppend && len(ms[i].Entries) > 0 {
			s.to = append(s.to, ms[i].To)
		}
	}
	s.effects.send(ms)
}

// presenceOf are gauges of a state machine that knows these sessions.
type presenceOf struct {
	gauges
	rows []kv.Presence
}

func (g presenceOf) presence(dst []kv.Presence) []kv.Presence { return append(dst, g.rows...) }

// A leader asks one of two members first, but sends an entry to both when the other one
// has clients that it may serve, or when somebody waits for copies on both.
func TestEntriesGoAtOnceToWhoWaitsForThem(t *testing.T) {
	w := newWorld(3, 3, io.Discard)
	var l *loop
	sink := &messageSink{}
	write := func() []raftcore.NodeID {
		sink.to = nil
		l.leadPresence(w.now)
		l.units, l.unitCount = l.units[:0], 0
		require.NoError(t, l.appendEntry(w.now))
		l.drain()
		return sink.to
	}
	// rested has the world settle, and one member lack the newest entry.
	rested := func() (id raftcore.NodeID) {
		l = w.settledLeader(t)
		fx := l.fx
		if old, ok := fx.(*messageSink); ok {
			fx = old.effects
		}
		sink = &messageSink{effects: fx}
		l.fx = sink
		for range 3 {
			if len(write()) == 1 {
				break
			}
		}
		require.Len(t, sink.to, 1, "one of two is enough")
		for _, m := range l.core.Membership().Members {
			if m.ID != l.id && m.ID != sink.to[0] {
				id = m.ID
			}
		}
		sink.to = nil
		return id
	}

	spare := rested()
	alarm := &alarmSink{effects: l.fx}
	l.fx = alarm
	l.work(w.now)
	require.Len(t, alarm.in, 1, "nothing else need happen before the others are late")
	require.LessOrEqual(t, alarm.in[0], 3*time.Millisecond)
	l.fx = sink
	l.addWait(&replicaWait{index: l.core.LastIndex() - 2, n: 1, done: func(int) {}})
	l.drain()
	require.Empty(t, sink.to, "there are as many copies already")
	l.addWait(&replicaWait{index: l.core.LastIndex(), n: 2, done: func(int) {}})
	l.drain()
	require.Equal(t, []raftcore.NodeID{spare}, sink.to, "somebody waits for two copies")

	spare = rested()
	l.batchPeer = []peerSeq{{from: spare}}
	require.NotContains(t, write(), spare, "its session is opened before it serves anybody")
	spare = rested()
	l.batchPeer = []peerSeq{{spare, 1}}
	require.Contains(t, write(), spare, "a client of it waits for the unit")
	l.batchPeer = nil

	spare = rested()
	m, _ := l.core.Membership().Find(spare)
	before := l.gauges
	l.gauges = presenceOf{before, []kv.Presence{{Session: 7, Node: m.Incarnation, Waiting: 1}}}
	require.Contains(t, write(), spare, "its client may be served")
	require.Equal(t, []raftcore.NodeID{spare}, l.presence.waiting)
	l.gauges = presenceOf{before, []kv.Presence{{Session: 7, Node: m.Incarnation}}}
	write()
	require.Empty(t, l.presence.waiting)
}

// settledLeader runs the world until it has a leader whose entries are everywhere.
func (w *world) settledLeader(t *testing.T) *loop {
	for range 200_000 {
		w.step()
		for _, n := range w.nodes {
			c := n.loop.core
			if c.Role() == raftcore.Leader && n.origin.opened() && c.Commit() == c.LastIndex() && caughtUp(c) {
				return n.loop
			}
		}
	}
	t.Fatal("no leader")
	return nil
}

func caughtUp(c *raftcore.Core) bool {
	peers := c.Status().Peers
	return !slices.ContainsFunc(peers, func(p raftcore.PeerStatus) bool { return p.Match < c.LastIndex() })
}

// Only one alarm can be set: the earliest that anybody wants.
func TestTheEarliestWakesTheLoop(t *testing.T) {
	alarm := &alarmSink{}
	l := &loop{fx: alarm}
	now := time.Unix(1, 0)
	l.wakeBy(now.Add(30), now)
	l.wakeBy(now.Add(40), now)
	l.wakeBy(now.Add(20), now.Add(5))
	l.wakeBy(now.Add(30), now.Add(10))
	require.Equal(t, []time.Duration{30, 15}, alarm.in)
	l.wakeBy(now.Add(30), now.Add(20))
	require.Equal(t, []time.Duration{30, 15, 10}, alarm.in, "it went off: who still wants one asks again")
}
