package raftcore

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

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
	require.Greater(t, happened.leased, 100**seedsFlag, "moments with a lease")
}

type history struct {
	*cluster
	rng   *rand.Rand
	swarm swarm
	wipes bool // one node loses its directory, and no other membership changes
	wiped *node
	// leases: some are tried, under clocks that run as fast as rate says, in a thousandth.
	leases bool
	rate   []int64
	group  []int // partition: nodes in different groups do not hear each other

	steps    int
	held     []delayed // messages that take long
	paused   *node     // does nothing at all
	resumeAt int
	cuts     map[*node]SnapshotMeta // snapshots being written
}

// swarm is what a seed has more of than others, in a thousand: faults that are all
// equally likely hide each other.
type swarm struct {
	reads, changes, holds, pauses, snapshots, transfers int
	oneByOne                                            bool // changes are of one voter
}

func drawSwarm(rng *rand.Rand) swarm {
	often := func(rare, often int) int {
		if rng.Intn(3) == 0 {
			return often
		}
		return rare
	}
	return swarm{
		reads: often(15, 120), changes: often(6, 40), holds: often(0, 60), pauses: often(0, 4), snapshots: often(7, 40), transfers: often(4, 20),
		oneByOne: rng.Intn(2) == 0,
	}
}

type delayed struct {
	m     Message
	until int
}

func runHistory(t *testing.T, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	const nodes = 5
	first := []NodeID{1, 2, 3}
	switch seed % 8 {
	case 0, 1:
		first = []NodeID{1, 2, 3, 4, 5}
	case 2, 3:
		first = []NodeID{1, 2, 3, 4} // half of it is no quorum
	case 4:
		first = []NodeID{1}
	}
	h := &history{rng: rng, swarm: drawSwarm(rng), group: make([]int, nodes), wipes: seed%5 == 0 && len(first) > 1, cuts: map[*node]SnapshotMeta{}}
	h.leases = seed%3 == 0
	genesis := Membership{Members: voters(first...)}
	if h.leases && rng.Intn(3) > 0 {
		genesis.Lease = h.drawLease()
	}
	h.cluster = newClusterOf(t, nodes, genesis, func(cfg *Config) {
		cfg.Seed = uint64(seed*100) + uint64(cfg.ID)
		cfg.MaxMessageBytes, cfg.MaxInflightBytes, cfg.MaxInflightMessages = 200, 800, 4
		cfg.WindowBytes, cfg.MaxUncommittedBytes, cfg.MaxUnappliedBytes = 600, 4000, 300
		cfg.AutoPromote = seed%2 == 0
		cfg.SpareDelay = stepTime.Nanoseconds() * []int64{0, 10, 100, 1000}[seed/2%4]
		cfg.QuorumPatience = cfg.SpareDelay / 3
		cfg.CatchUpRate = int64(time.Second/stepTime) * []int64{0, 1, 20}[seed/8%3] // bytes a step
	})
	h.cut = func(from, to NodeID) bool { return h.group[from-1] != h.group[to-1] }
	for _, n := range h.nodes {
		n.holdWork, n.slow = true, seed%4 == 3
		n.tick = 0 // h.passTime lets time pass
		h.rate = append(h.rate, 800+rng.Int63n(401))
		n.time = rng.Int63n(1e12)
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
	seeds, elections, entries, configs, restores, truncations, reads, readsFailed, transfers, leased int
}

func (h *history) count() {
	happened.seeds++
	happened.leased += h.cluster.leased
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

// stepTime is how long a step takes. A tick comes every 23 steps or so, an election
// timeout lasts ten.
const stepTime = time.Millisecond

// drawLease draws a policy. Most are longer than what the election timers give anyway,
// so that it is the promises that keep others from leading.
func (h *history) drawLease() LeasePolicy {
	return LeasePolicy{TimeoutMillis: uint64(100 + h.rng.Intn(1400)), DriftPPM: DefaultDriftPPM}
}

// passTime moves the clocks by a step. Who is paused is not told.
func (h *history) passTime() {
	for i, n := range h.nodes {
		n.time += stepTime.Nanoseconds() * h.rate[i] / 1000
		if n.up && n != h.paused {
			n.SetTime(n.time)
		}
	}
	h.checkLeases()
}

func (h *history) step() {
	h.steps++
	h.passTime()
	if h.steps >= h.resumeAt {
		h.paused = nil
	}
	for len(h.held) > 0 && h.held[0].until <= h.steps {
		h.wire = append(h.wire, h.held[0].m)
		h.held = h.held[1:]
	}
	n := h.pick()
	if n == h.paused {
		return
	}
	if h.extra(n) {
		return
	}
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
		if l := h.leader(); l != nil && l != h.paused {
			_, _ = h.propose(l)
		}
	case dice < 945:
		h.crashOrStart(n)
	case dice < 948:
		for i := range h.group {
			h.group[i] = h.rng.Intn(2) * h.rng.Intn(2)
		}
	case dice < 949:
		if l := h.leader(); l != nil {
			clear(h.group)
			h.group[l.cfg.ID-1] = 1
		}
	case dice < 953:
		clear(h.group)
	case dice < 957:
		for _, n := range h.nodes { // a quiet moment, without which little gets done
			if n != h.paused {
				n.work()
				n.sync()
			}
		}
		for range len(h.wire) {
			h.network()
		}
	case dice < 961 && h.leases: // back at once, and nothing remembered
		if n.up {
			h.crashOrStart(n)
			h.crashOrStart(n)
		}
	case dice < 963:
		if n.up {
			n.SetCampaignAllowed(h.rng.Intn(3) > 0, "drawn")
		}
	}
	if n.up && h.rng.Intn(3) > 0 {
		n.work()
	}
}

// extra does what this seed may have more of, and reports whether it did anything.
func (h *history) extra(n *node) bool {
	s, dice := &h.swarm, h.rng.Intn(1000)
	took := func(share int) bool {
		dice -= share
		return dice < 0
	}
	switch {
	case took(s.reads):
		if n.up {
			h.read(n)
		}
	case took(s.changes):
		h.changeMembership()
	case took(s.snapshots):
		if n.up {
			h.snapshot(n)
		}
	case took(s.transfers):
		h.handOver()
	case took(s.pauses):
		if h.paused != nil {
			break
		}
		if l := h.leader(); l != nil && h.rng.Intn(2) == 0 {
			n = l
		}
		h.paused, h.resumeAt = n, h.steps+h.rng.Intn(3000)
	default:
		return false
	}
	if n.up && n != h.paused && h.rng.Intn(3) > 0 {
		n.work()
	}
	return true
}

// handOver asks for another leader, and sometimes the old one or the new one is not
// heard of for a while.
func (h *history) handOver() {
	l := h.leader()
	if l == nil || l == h.paused {
		return
	}
	if l.TransferLeadership(NodeID(h.rng.Intn(6))) != nil || l.transfer.to == 0 {
		return
	}
	to := l.transfer.to
	l.work()
	switch h.rng.Intn(6) {
	case 0:
		h.paused, h.resumeAt = l, h.steps+h.rng.Intn(1000)
	case 1: // the order arrives, and the requests for votes do not leave
		for _, m := range h.wire {
			if m.Type == MsgTimeoutNow && m.To == to {
				h.give(m)
			}
		}
		clear(h.group)
		h.group[to-1] = 1
	}
}

// snapshot takes one at once, or begins one whose end another may overtake (R32).
func (h *history) snapshot(n *node) {
	begun, writing := h.cuts[n]
	switch {
	case writing:
		delete(h.cuts, n)
		n.SnapshotTaken(begun)
		require.GreaterOrEqual(h.t, n.Status().SnapshotIndex, n.disk.snapshot.Index, "node %d: an older snapshot replaces a newer one", n.cfg.ID)
		if begun.Index > n.disk.snapshot.Index {
			n.snapshot, n.disk.snapshot = begun, begun
		}
		n.check()
	case h.rng.Intn(3) == 0 && n.applied > n.disk.snapshot.Index && len(n.MembershipAt(n.applied).Members) > 0:
		h.cuts[n] = SnapshotMeta{n.applied, h.committed[n.applied].Term, n.MembershipAt(n.applied)}
	default:
		n.takeSnapshot(uint64(h.rng.Intn(6)))
	}
}

// network delivers, loses or repeats some message, often not the oldest.
func (h *history) network() {
	if len(h.wire) == 0 {
		for _, n := range h.nodes {
			if n != h.paused {
				n.work()
			}
		}
		return
	}
	i := 0
	if h.rng.Intn(4) == 0 {
		i = h.rng.Intn(len(h.wire))
	}
	if h.paused != nil && h.wire[i].To == h.paused.cfg.ID || h.rng.Intn(1000) < h.swarm.holds {
		late := delayed{h.wire[i], max(h.steps+h.rng.Intn(3000), h.resumeAt)}
		h.wire = slices.Delete(h.wire, i, i+1)
		at, _ := slices.BinarySearchFunc(h.held, late.until+1, func(d delayed, until int) int { return d.until - until })
		h.held = slices.Insert(h.held, at, late)
		return
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
	delete(h.cuts, n)
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
	delete(h.cuts, n)
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
	case l == nil || l == h.paused:
		return
	case h.leases && h.rng.Intn(3) == 0:
		policy := LeasePolicy{}
		if h.rng.Intn(3) > 0 {
			policy = h.drawLease()
		}
		_ = l.ProposeLease(policy)
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
	if h.swarm.oneByOne {
		h.changeOne(l)
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

// changeOne adds or removes one member.
func (h *history) changeOne(l *node) {
	id := NodeID(h.rng.Intn(len(h.nodes)) + 1)
	switch member, known := l.Membership().Find(id); {
	case !known:
		_ = l.AddLearner(Member{ID: id, Incarnation: 1})
	case member.Learner:
		_ = l.Promote(id)
	default:
		_ = l.Remove(id)
	}
}

// core lets only some nodes live on: as many as every configuration that anybody
// knows needs. They have to elect a leader and commit without the others.
func (h *history) core() {
	order := h.rng.Perm(len(h.nodes))
	for _, n := range h.nodes {
		n.holdWork = false
		if !n.up {
			n.start()
		}
		n.SetCampaignAllowed(true, "")
	}
	var up []*node
	alive := func(voter identity) uint64 {
		if slices.ContainsFunc(up, func(n *node) bool { return n.self() == voter }) {
			return 1
		}
		return 0
	}
	enough := func() bool {
		best := slices.MaxFunc(up, func(a, b *node) int {
			return cmp.Or(cmp.Compare(a.log.lastTerm(), b.log.lastTerm()), cmp.Compare(a.log.last, b.log.last))
		})
		if !best.configs.mayLead(best.self(), best.log.commit) {
			return false // nobody else can win, and a learner does not campaign
		}
		for _, n := range h.nodes {
			for _, at := range n.configs.entries {
				if len(at.config.Members) > 0 && at.config.quorums().Committed(alive) == 0 {
					return false
				}
			}
		}
		return true
	}
	for _, i := range order {
		if up = append(up, h.nodes[i]); enough() {
			break
		}
	}
	for _, n := range h.nodes {
		if !slices.Contains(up, n) {
			n.crash(nil)
		}
	}
	h.until(600, "a core of the nodes elects a leader that takes a write", func() bool {
		l := h.leader()
		if l == nil {
			return false
		}
		i, err := h.propose(l)
		h.settle()
		return err == nil && l.Commit() >= i
	})
}

// undisturbed asserts that a leader that works stays: whoever is left outside the
// configuration, or behind, deposes nobody (R25).
func (h *history) undisturbed() {
	l := h.leader()
	term := l.Term()
	_, voter := l.Membership().Find(l.cfg.ID)
	require.True(h.t, voter, "the leader is no member\n%s", h.describe())
	h.ticks(100)
	require.Equal(h.t, Leader, l.Role(), "%s", h.describe())
	require.Equal(h.t, term, l.Term(), "%s", h.describe())
}

// calm ends the faults and asserts liveness and convergence (I20).
func (h *history) calm() {
	t := h.t
	clear(h.group)
	h.paused = nil
	for _, n := range h.nodes {
		n.tick = 23 * stepTime.Nanoseconds()
	}
	for _, d := range h.held {
		h.wire = append(h.wire, d.m)
	}
	h.core()
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
	h.undisturbed()
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
