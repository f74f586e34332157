package raftcore

import (
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Int64("raftcore.seed", 0, "run only this seed of TestRandomHistories")
	seedsFlag = flag.Int("raftcore.seeds", 300, "how many seeds TestRandomHistories runs")
)

// TestRandomHistories lets everything go wrong at once: loss, repetition, delay,
// reordering, partitions, slow disks, crashes that lose what was not synced,
// membership changes, hand-overs, compaction and snapshots. The harness asserts
// the invariants after every step; at the end the faults stop, and the cluster has
// to agree and to accept writes again. A failing seed is run alone by
//
//	go test ./raftcore -run TestRandomHistories -raftcore.seed N
func TestRandomHistories(t *testing.T) {
	if *seedFlag != 0 {
		runHistory(t, *seedFlag)
		return
	}
	for seed := int64(1); seed <= int64(*seedsFlag); seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { runHistory(t, seed) })
		if !ok {
			return
		}
	}
	t.Logf("%+v", happened)
	require.Greater(t, happened.elections, 2**seedsFlag)
	require.Greater(t, happened.entries, 20**seedsFlag)
	require.Greater(t, happened.configs, *seedsFlag)
	require.Greater(t, happened.reads, *seedsFlag)
	require.Positive(t, happened.restores)
	require.Positive(t, happened.transfers)
}

type history struct {
	*cluster
	rng   *rand.Rand
	wipes bool // one node loses its directory, and no other membership changes
	wiped *node
	group []int // partition: nodes in different groups do not hear each other
}

func runHistory(t *testing.T, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	const nodes = 5
	first := []NodeID{1, 2, 3}
	if seed%3 == 0 {
		first = []NodeID{1, 2, 3, 4, 5}
	}
	h := &history{rng: rng, group: make([]int, nodes), wipes: seed%5 == 0}
	h.cluster = newClusterOf(t, nodes, Membership{Members: voters(first...)}, func(cfg *Config) {
		cfg.Seed = uint64(seed*100) + uint64(cfg.ID)
		cfg.MaxMessageBytes, cfg.MaxInflightBytes, cfg.MaxInflightMessages = 200, 800, 4
		cfg.WindowBytes, cfg.MaxUncommittedBytes = 600, 4000
		cfg.AutoPromote = seed%2 == 0
	})
	h.cut = func(from, to NodeID) bool { return h.group[from-1] != h.group[to-1] }
	for _, n := range h.nodes {
		n.holdWork = true
	}
	for range 8000 {
		h.step()
	}
	h.calm()
	h.count()
}

// happened counts what the histories made happen: a generator that never gets
// anywhere proves nothing.
var happened struct {
	seeds, elections, entries, configs, restores, truncations, reads, readsFailed, transfers int
}

func (h *history) count() {
	happened.seeds++
	happened.elections += len(h.leaders)
	happened.entries += len(h.committed) - 1
	for _, e := range h.committed {
		if e.Type == EntryConfig {
			happened.configs++
		}
	}
	for _, r := range h.reads {
		if r.answer != nil && r.answer.Failed {
			happened.readsFailed++
		} else if r.answer != nil {
			happened.reads++
		}
	}
	for _, n := range h.nodes {
		happened.restores += n.restores
		for _, change := range n.changes {
			if change.Cause == "leadership handed over" {
				happened.transfers++
			}
		}
	}
}

func (h *history) pick() *node { return h.nodes[h.rng.Intn(len(h.nodes))] }

func (h *history) step() {
	n := h.pick()
	switch dice := h.rng.Intn(1000); {
	case dice < 480:
		h.network()
	case dice < 700:
		if n.up {
			n.Tick()
			n.check()
		}
	case dice < 820:
		if n.up {
			n.sync()
		}
	case dice < 880:
		if n.up {
			n.runPending()
		}
	case dice < 940:
		if l := h.leader(); l != nil {
			_, _ = h.propose(l)
		}
	case dice < 955:
		if n.up {
			h.read(n)
		}
	case dice < 960:
		h.crashOrStart(n)
	case dice < 963:
		for i := range h.group {
			h.group[i] = h.rng.Intn(2) * h.rng.Intn(2)
		}
	case dice < 967:
		clear(h.group)
	case dice < 974:
		if n.up {
			n.takeSnapshot(uint64(h.rng.Intn(6)))
		}
	case dice < 978:
		if l := h.leader(); l != nil {
			_ = l.TransferLeadership(NodeID(h.rng.Intn(6)))
		}
	case dice < 984:
		h.changeMembership()
	case dice < 988:
		for _, n := range h.nodes { // a quiet moment, without which little gets done
			n.work()
			n.sync()
		}
		for range len(h.wire) {
			h.network()
		}
	case dice < 990:
		if n.up {
			n.SetCampaignAllowed(h.rng.Intn(3) > 0, "drawn")
		}
	}
	if n.up && h.rng.Intn(3) > 0 {
		n.work()
	}
}

// network delivers, loses or repeats some message, often not the oldest.
func (h *history) network() {
	if len(h.wire) == 0 {
		for _, n := range h.nodes {
			n.work()
		}
		return
	}
	i := 0
	if h.rng.Intn(4) == 0 {
		i = h.rng.Intn(len(h.wire))
	}
	switch h.rng.Intn(40) {
	case 0:
		h.wire = slices.Delete(h.wire, i, i+1)
	case 1:
		h.give(h.wire[i])
	default:
		h.deliver(i)
	}
}

func (h *history) crashOrStart(n *node) {
	if n.up {
		n.crash(h.rng)
	} else {
		n.start()
	}
}

// wipe empties one directory, once: a second might lose what a quorum promised.
// The node comes back under the same number with a new incarnation (R26).
func (h *history) wipe() {
	if h.wiped != nil {
		return
	}
	n := h.nodes[h.rng.Intn(3)]
	h.wiped = n
	if n.up {
		n.crash(h.rng)
	}
	n.cfg.Incarnation++
	n.disk = disk{first: 1}
	n.start()
}

// readmit lets the wiped node in again, as an operator does.
func (h *history) readmit(l *node) {
	member, _ := l.Membership().Find(h.wiped.cfg.ID)
	switch {
	case member.Incarnation != h.wiped.cfg.Incarnation:
		_ = l.AddLearner(Member{ID: h.wiped.cfg.ID, Incarnation: h.wiped.cfg.Incarnation})
	case member.Learner:
		_ = l.Promote(member.ID)
	}
}

func (h *history) changeMembership() {
	l := h.leader()
	switch {
	case l == nil:
		return
	case h.wipes && h.rng.Intn(4) == 0:
		h.wipe()
		return
	case h.wipes && h.wiped != nil:
		h.readmit(l)
		return
	case h.wipes:
		return
	}
	var target []Member
	for _, n := range h.nodes {
		member, known := l.Membership().Find(n.cfg.ID)
		if !known {
			member = Member{ID: n.cfg.ID, Incarnation: 1, Learner: true}
		} else if h.rng.Intn(3) == 0 {
			member.Learner = !member.Learner
		}
		if h.rng.Intn(4) > 0 {
			target = append(target, member)
		}
	}
	_ = l.ProposeMembership(target)
}

// calm ends the faults and asserts liveness and convergence (I20).
func (h *history) calm() {
	t := h.t
	clear(h.group)
	for _, n := range h.nodes {
		n.holdWork = false
		if !n.up {
			n.start()
		}
		n.SetCampaignAllowed(true, "")
	}
	h.until(400, "a leader, and no change under way", func() bool {
		l := h.leader()
		return l != nil && l.ownTermCommitted() && !l.changeInFlight() && !l.transfer.active()
	})
	h.ticks(3)
	h.until(200, "a leader that takes a write", func() bool {
		l := h.leader()
		if l == nil {
			return false
		}
		_, err := h.propose(l)
		return err == nil
	})
	h.until(400, "the wiped node is back", func() bool {
		l := h.leader()
		if h.wiped == nil || l == nil {
			return h.wiped == nil
		}
		h.readmit(l)
		member, _ := l.Membership().Find(h.wiped.cfg.ID)
		return member.Incarnation == h.wiped.cfg.Incarnation && !member.Learner && !l.changeInFlight()
	})
	h.until(400, "all members agree", h.converged)
	l := h.leader()
	id := h.read(l)
	h.settle()
	require.NotNil(t, h.reads[id].answer)
	require.False(t, h.reads[id].answer.Failed)
	for _, p := range l.peers {
		require.Zero(t, p.InflightBytes(), "idle, but bytes in flight to %d", p.member.ID) // R35
	}
	require.Zero(t, l.uncommittedBytes)
	h.compareLogs(l)
}

func (h *history) converged() bool {
	l := h.leader()
	if l == nil || l.Commit() != l.LastIndex() || l.applied != l.Commit() {
		return false
	}
	for _, member := range l.Membership().Members {
		n := h.node(member.ID)
		if n.applied != l.applied || n.log.durable != l.log.last || n.Leader() != l.cfg.ID {
			return false
		}
	}
	return true
}

// compareLogs asserts log matching and one membership everywhere (I4, R40).
func (h *history) compareLogs(l *node) {
	for _, member := range l.Membership().Members {
		n := h.node(member.ID)
		require.Equal(h.t, l.Membership(), n.Membership())
		for i := max(n.disk.first, 1); i <= n.disk.last(); i++ {
			e, _ := n.disk.entry(i)
			require.Equal(h.t, h.committed[i].CRC, e.CRC, "node %d, entry %d", n.cfg.ID, i)
		}
	}
}
