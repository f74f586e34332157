package raftcore

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore/quorum"
)

// cluster is a set of cores with a network and disks, all on one goroutine.
//
// Fault model. The network may lose, repeat, delay and reorder any message, and
// cut any pair of nodes; it never alters one. A disk performs Saves in order; in a
// crash it may have performed any prefix of those not reported, and of the next
// one the hard state, or the hard state and some entries. What was reported stays.
// Snapshots are durable when taken. Everything else is the cores' doing.
type cluster struct {
	t     testing.TB
	nodes []*node
	wire  []Message
	cut   func(from, to NodeID) bool // nil: nobody
	sees  func(Message)              // observes every message that leaves
	tweak func(*Config)

	// What has been seen since the beginning, for the invariants over history.
	leaders   map[uint64]NodeID
	votes     map[identityInTerm]NodeID
	committed []Entry  // by index; committed[0] unused
	known     []uint64 // by index: the term in which somebody first knew that it is
	nextValue uint64
	nextRead  uint64
	reads     map[uint64]*read
	leased    int // moments in which somebody had a lease
}

type identityInTerm struct {
	id   identity
	term uint64
}

type read struct {
	floor  uint64 // commit index known anywhere when it was asked
	answer *ReadState
}

type node struct {
	*Core
	c        *cluster
	cfg      Config
	up       bool
	stalled  bool // the disk performs nothing
	disk     disk
	inflight []flight
	handed   uint64 // came out of Ready.Apply, of all that came
	applied  uint64
	pending  []func() // answers to Fetch, snapshot streams and, if slow, what was applied, in order
	snapshot SnapshotMeta
	changes  []Change
	holdWork bool // pending work waits for runPending
	slow     bool // applying is pending work, too

	time int64 // its clock, see Core.SetTime; tick of it passes with one
	tick int64

	lastCommit  uint64 // at the last check
	lastQuorums quorum.Joint[identity]

	restores int
}

// flight is a Save on its way to the disk, with what waits for it.
type flight struct {
	save Save
	then []Message
}

// disk is what survives a crash.
type disk struct {
	hard     HardState
	first    uint64
	entries  []Entry // from first on
	snapshot SnapshotMeta
}

func (d *disk) last() uint64 { return d.first + uint64(len(d.entries)) - 1 }

func (d *disk) terms() (runs []TermRun) {
	for _, e := range d.entries {
		if k := len(runs); k == 0 || runs[k-1].Term != e.Term {
			runs = append(runs, TermRun{e.Index, e.Term})
		}
	}
	return runs
}

func (d *disk) perform(s Save) {
	if s.HardState != nil {
		d.hard = *s.HardState
	}
	d.write(s.Entries)
}

func (d *disk) write(entries []Entry) {
	if len(entries) > 0 {
		d.entries = append(slices.Clone(d.entries[:entries[0].Index-d.first]), entries...)
	}
}

func (d *disk) entry(i uint64) (Entry, bool) {
	if i < d.first || i > d.last() {
		return Entry{}, false
	}
	return d.entries[i-d.first], true
}

func voters(ids ...NodeID) (members []Member) {
	for _, id := range ids {
		members = append(members, Member{ID: id, Incarnation: 1})
	}
	return members
}

// newCluster starts nodes 1..n, of which the given ones are the first voters; the
// others are empty and wait to be added.
func newCluster(t testing.TB, n int, first ...NodeID) *cluster {
	return newClusterOf(t, n, Membership{Members: voters(first...)}, nil)
}

func newClusterOf(t testing.TB, n int, genesis Membership, tweak func(*Config)) *cluster {
	c := &cluster{
		t: t, leaders: map[uint64]NodeID{}, votes: map[identityInTerm]NodeID{},
		committed: make([]Entry, 1), known: make([]uint64, 1), reads: map[uint64]*read{}, tweak: tweak,
	}
	for id := NodeID(1); id <= NodeID(n); id++ {
		nd := &node{c: c, disk: disk{first: 1}, tick: int64(10 * time.Millisecond)}
		nd.cfg = Config{ID: id, Incarnation: 1, Seed: uint64(id) * 77, ElectionTicks: 10, HeartbeatTicks: 2}
		if _, ok := genesis.Find(id); ok {
			nd.disk.snapshot.Membership = genesis
		}
		if tweak != nil {
			tweak(&nd.cfg)
		}
		c.nodes = append(c.nodes, nd)
		nd.start()
	}
	return c
}

func (c *cluster) node(id NodeID) *node { return c.nodes[id-1] }

// start builds a core from the disk, as a driver does after a crash.
func (n *node) start() {
	cfg := n.cfg
	d := &n.disk
	if !LogContinues(d.snapshot, d.first, d.last(), d.terms()) {
		d.first, d.entries = d.snapshot.Index+1, nil
	}
	cfg.HardState, cfg.Snapshot, cfg.Time = d.hard, d.snapshot, n.time
	cfg.FirstIndex, cfg.LastIndex, cfg.Terms, cfg.Configs = d.first, d.last(), d.terms(), nil
	for _, e := range d.entries {
		if e.Type == EntryConfig && e.Index > d.snapshot.Index {
			cfg.Configs = append(cfg.Configs, e)
		}
	}
	core, err := New(cfg)
	require.NoError(n.c.t, err)
	n.Core, n.up = core, true
	n.inflight, n.pending = nil, nil
	n.snapshot, n.applied, n.handed = d.snapshot, d.snapshot.Index, d.snapshot.Index
	n.lastCommit, n.lastQuorums = n.Commit(), n.quorums
	n.check()
}

// Tick is the core's, and time goes with it.
func (n *node) Tick() {
	n.time += n.tick
	n.SetTime(n.time)
	n.Core.Tick()
}

// leaseHolds is what a reader beside the driver sees: the lease as shown, by the clock.
func (n *node) leaseHolds() bool { return n.up && n.time < n.LeaseUntil() }

// crash stops the node. Of the Saves in flight the disk has performed some.
func (n *node) crash(rng *rand.Rand) {
	n.up = false
	defer func() { n.inflight, n.pending = nil, nil }()
	n.c.wire = slices.DeleteFunc(n.c.wire, func(m Message) bool { return m.To == n.cfg.ID && rng != nil && rng.Intn(2) == 0 })
	if rng == nil {
		return
	}
	done := rng.Intn(len(n.inflight) + 1)
	for _, f := range n.inflight[:done] {
		n.disk.perform(f.save)
	}
	if done < len(n.inflight) {
		torn := n.inflight[done].save
		if rng.Intn(2) == 0 && torn.HardState != nil {
			n.disk.hard = *torn.HardState
			n.disk.write(torn.Entries[:rng.Intn(len(torn.Entries)+1)])
		}
	}
}

// work performs everything the core asks for; the disk only queues.
func (n *node) work() {
	for n.up && n.HasReady() {
		rd := n.Ready()
		l := &n.log
		require.True(n.c.t, l.windowBytes <= l.budget || l.window[0].Index > l.needless(),
			"node %d keeps %d bytes from entry %d, needless up to %d", n.cfg.ID, l.windowBytes, l.winFirst(), l.needless())
		n.perform(rd)
		n.check()
	}
}

func (n *node) perform(rd Ready) {
	if rd.Change != nil {
		n.changes = append(n.changes, *rd.Change)
		if rd.Change.Role == Leader {
			n.c.elected(n)
		}
	}
	for _, m := range rd.Send {
		n.transmit(m)
	}
	if rd.Save != nil {
		n.inflight = append(n.inflight, flight{save: *rd.Save})
	}
	switch last := len(n.inflight) - 1; {
	case last >= 0:
		n.inflight[last].then = append(n.inflight[last].then, rd.SendAfterSave...)
	default:
		for _, m := range rd.SendAfterSave {
			n.transmit(m)
		}
	}
	n.apply(rd.Apply)
	for i := range rd.Reads {
		n.answered(rd.Reads[i])
	}
	for _, f := range rd.Fetch {
		n.pending = append(n.pending, func() { n.fetch(f) })
	}
	for _, to := range rd.SendSnapshot {
		meta, term := n.snapshot, n.Term()
		n.pending = append(n.pending, func() {
			n.c.wire = append(n.c.wire, Message{Type: MsgSnapshot, From: n.cfg.ID, To: to, Term: term,
				Incarnation: n.cfg.Incarnation, Snapshot: &meta})
			n.SnapshotSent(to, meta.Index, true)
		})
	}
	if rd.Restore != nil {
		meta := *rd.Restore
		n.pending = append(n.pending, func() { n.install(meta) })
	}
	if !n.holdWork {
		n.runPending()
	}
}

func (n *node) runPending() {
	pending := n.pending
	n.pending = nil
	for _, f := range pending {
		f()
	}
}

func (n *node) apply(entries []Entry) {
	if len(entries) == 0 {
		return
	}
	for i := range entries {
		e := &entries[i]
		require.Equal(n.c.t, n.handed+1, e.Index, "node %d: apply in order, each once", n.cfg.ID)
		require.True(n.c.t, e.Verify())
		n.c.commit(n, *e)
		n.handed = e.Index
	}
	done := func() {
		n.applied = max(n.applied, entries[len(entries)-1].Index) // not after a newer snapshot
		n.Applied(n.applied)
	}
	if n.slow {
		n.pending = append(n.pending, done)
	} else {
		done()
	}
}

// fetch reads the log as the driver sees it: what was written, durable or not.
func (n *node) fetch(f Fetch) {
	view := n.disk
	for _, fl := range n.inflight {
		view.write(fl.save.Entries)
	}
	if f.Lo < view.first {
		n.Fetched(f, nil, fmt.Errorf("reading the log: %w", ErrCompacted))
		return
	}
	var entries []Entry
	bytes := 0
	for i := f.Lo; i < f.Hi; i++ {
		e, ok := view.entry(i)
		if !ok || len(entries) > 0 && bytes+e.Size() > f.MaxBytes {
			break
		}
		entries = append(entries, e)
		bytes += e.Size()
	}
	n.Fetched(f, entries, nil)
}

func (n *node) install(meta SnapshotMeta) {
	for len(n.inflight) > 0 {
		n.sync()
	}
	n.disk.snapshot, n.disk.first, n.disk.entries = meta, meta.Index+1, nil
	n.snapshot = meta
	n.applied, n.handed = meta.Index, meta.Index
	n.restores++
	n.Restored(meta)
}

// sync performs the oldest Save in flight and reports it.
func (n *node) sync() {
	if len(n.inflight) == 0 {
		return
	}
	f := n.inflight[0]
	n.inflight = n.inflight[1:]
	n.disk.perform(f.save)
	n.Saved(f.save.ID)
	for _, m := range f.then {
		n.transmit(m)
	}
	n.check()
}

// takeSnapshot makes a snapshot at the applied index and drops the log up to keep
// entries before it.
func (n *node) takeSnapshot(keep uint64) {
	config := n.MembershipAt(n.applied)
	if n.applied <= n.disk.snapshot.Index || len(config.Members) == 0 || n.restore != nil {
		return
	}
	meta := SnapshotMeta{n.applied, n.c.committed[n.applied].Term, config}
	n.snapshot, n.disk.snapshot = meta, meta
	n.SnapshotTaken(meta)
	if meta.Index > n.disk.first+keep && meta.Index <= n.log.durable {
		drop := meta.Index - keep
		n.disk.entries = slices.Clone(n.disk.entries[drop+1-n.disk.first:])
		n.disk.first = drop + 1
		n.Compacted(drop)
	}
	n.check()
}

// transmit checks what a message promises against the disk, then puts it out.
func (n *node) transmit(m Message) {
	t := n.c.t
	require.Equal(t, n.cfg.ID, m.From)
	if m.Type != MsgPreVote && m.Type != MsgPreVoteResp {
		require.LessOrEqual(t, m.Term, n.disk.hard.Term, "node %d: %+v left before its term was durable", n.cfg.ID, m)
	}
	switch {
	case m.Type == MsgVote || m.Type == MsgVoteResp && !m.Reject:
		candidate := m.To
		if m.Type == MsgVote {
			candidate = m.From
		}
		if n.disk.hard.Term == m.Term {
			require.Equal(t, candidate, n.disk.hard.Vote, "node %d: vote left before it was durable", n.cfg.ID)
		}
		key := identityInTerm{n.self(), m.Term}
		if old, voted := n.c.votes[key]; voted {
			require.Equal(t, old, candidate, "node %d voted twice in term %d", n.cfg.ID, m.Term)
		}
		n.c.votes[key] = candidate
	case (m.Type == MsgAppendResp || m.Type == MsgHeartbeatResp) && !m.Reject && m.Term == n.Core.term && n.restore == nil:
		require.LessOrEqual(t, m.Index, n.disk.last(), "node %d acknowledged more than its disk has", n.cfg.ID)
		if e, ok := n.disk.entry(m.Index); ok {
			require.True(t, n.log.matches(m.Index, e.Term), "node %d acknowledged entry %d: disk has another", n.cfg.ID, m.Index)
		}
	}
	if n.c.sees != nil {
		n.c.sees(m)
	}
	n.c.wire = append(n.c.wire, m)
}

// check asserts the invariants that one node's step can break.
func (n *node) check() {
	if err := n.CheckInvariants(); err != nil {
		require.NoError(n.c.t, err, "node %d", n.cfg.ID)
	}
	require.NoError(n.c.t, n.fault)
	if n.Role() == Leader && n.Commit() > n.lastCommit {
		n.checkCommit()
	}
	n.lastCommit, n.lastQuorums = n.Commit(), n.quorums
	n.c.checkLeases()
}

// checkLeases asserts what a lease promises: nobody has committed anything else.
func (c *cluster) checkLeases() {
	for _, n := range c.nodes {
		if n.leaseHolds() {
			c.leased++
			require.LessOrEqual(c.t, c.commitIndex(), n.Commit(), "leader %d of term %d has a lease, and others have committed more", n.cfg.ID, n.Term())
		}
	}
}

// checkCommit asserts that a leader's commit index is on a durable quorum, by the
// configuration in force when it moved (I8, I9).
func (n *node) checkCommit() {
	i := n.Commit()
	term, _ := n.log.term(i)
	require.Equal(n.c.t, n.Term(), term, "a leader commits by its own term's entries")
	durable := func(id identity) uint64 {
		other := n.c.node(id.id)
		if other.cfg.Incarnation > id.incarnation {
			// Emptied since. Its acknowledgement was true when it left, see transmit.
			if p := n.peer(id.id); p != nil && p.member.identity() == id && p.Match >= i {
				return 1
			}
			return 0
		}
		have, ok := other.disk.entry(i)
		if other.cfg.Incarnation == id.incarnation && (ok && have.Term == term || other.disk.snapshot.Index >= i) {
			return 1
		}
		return 0
	}
	require.True(n.c.t, n.lastQuorums.Committed(durable) == 1 || n.quorums.Committed(durable) == 1,
		"leader %d commits entry %d, which is not on a durable quorum", n.cfg.ID, i)
}

// elected asserts election safety and leader completeness (I1, I6).
func (c *cluster) elected(n *node) {
	term := n.Term()
	if other, ok := c.leaders[term]; ok {
		require.Equal(c.t, other, n.cfg.ID, "two leaders in term %d", term)
	}
	c.leaders[term] = n.cfg.ID
	for i := n.log.first; i < uint64(len(c.committed)); i++ {
		if c.known[i] >= term {
			continue // a leader that learned of its election late, when others had succeeded it
		}
		require.True(c.t, n.log.matches(i, c.committed[i].Term), "leader %d of term %d lacks committed entry %d", n.cfg.ID, term, i)
	}
}

// commit asserts state machine safety: one entry per index, for ever (I7).
func (c *cluster) commit(n *node, e Entry) {
	if e.Index < uint64(len(c.committed)) {
		old := c.committed[e.Index]
		require.Equal(c.t, []uint64{old.Term, uint64(old.CRC)}, []uint64{e.Term, uint64(e.CRC)},
			"node %d applies another entry at %d", n.cfg.ID, e.Index)
		return
	}
	require.EqualValues(c.t, len(c.committed), e.Index)
	c.committed, c.known = append(c.committed, e), append(c.known, n.Term())
}

func (c *cluster) commitIndex() uint64 {
	highest := uint64(0)
	for _, n := range c.nodes {
		if n.up {
			highest = max(highest, n.Commit())
		}
	}
	return highest
}

// propose appends a fresh value on n.
func (c *cluster) propose(n *node) (uint64, error) {
	c.nextValue++
	return n.Propose(EntryNormal, binary.LittleEndian.AppendUint64(make([]byte, c.nextValue%40), c.nextValue))
}

// read asks n for a read index and returns its number.
func (c *cluster) read(n *node) uint64 {
	c.nextRead++
	c.reads[c.nextRead] = &read{floor: max(c.commitIndex(), uint64(len(c.committed)-1))}
	n.SetTime(n.time)
	n.ReadIndex(c.nextRead)
	return c.nextRead
}

func (n *node) answered(r ReadState) {
	asked := n.c.reads[r.ID]
	require.NotNil(n.c.t, asked)
	require.Nil(n.c.t, asked.answer, "read %d answered twice", r.ID)
	asked.answer = &r
	if !r.Failed {
		require.GreaterOrEqual(n.c.t, r.Index, asked.floor, "read %d is stale", r.ID) // I14
	}
}

// deliver hands the i-th message on the wire to its receiver.
func (c *cluster) deliver(i int) {
	m := c.wire[i]
	c.wire = slices.Delete(c.wire, i, i+1)
	c.give(m)
}

func (c *cluster) give(m Message) {
	if m.To == 0 || int(m.To) > len(c.nodes) || c.cut != nil && c.cut(m.From, m.To) {
		return
	}
	if n := c.node(m.To); n.up {
		m.Entries = slices.Clone(m.Entries)
		n.SetTime(n.time)
		n.Step(m)
		n.check()
	}
}

// settle works until nothing moves: all disks fast, all messages in order.
func (c *cluster) settle() {
	for moved := true; moved; {
		moved = false
		for _, n := range c.nodes {
			if !n.up {
				continue
			}
			n.work()
			for len(n.inflight) > 0 && !n.stalled {
				n.sync()
				n.work()
				moved = true
			}
			if len(n.pending) > 0 && !n.holdWork {
				n.runPending()
				moved = true
			}
		}
		for len(c.wire) > 0 {
			c.deliver(0)
			moved = true
		}
	}
}

// ticks lets time pass for everybody, settling after each tick.
func (c *cluster) ticks(n int) {
	for range n {
		for _, nd := range c.nodes {
			if nd.up {
				nd.Tick()
			}
		}
		c.settle()
	}
}

// until lets time pass until ok, at most n ticks.
func (c *cluster) until(n int, what string, ok func() bool) {
	c.settle()
	for i := 0; i < n && !ok(); i++ {
		c.ticks(1)
	}
	require.True(c.t, ok(), "%s\n%s", what, c.describe())
}

// elect makes id campaign until it wins: the others lose patience with whomever
// they follow, but do not campaign themselves.
func (c *cluster) elect(id NodeID) *node {
	n := c.node(id)
	for attempt := 0; attempt < 5 && n.Role() != Leader; attempt++ {
		for _, other := range c.nodes { // and owe it nothing any more
			other.time += other.LeasePolicy().promise()
		}
		for _, other := range c.nodes {
			for i := 0; attempt > 0 && other.up && other != n && i < 10; i++ {
				other.electionDeadline = other.now + 20
				other.Tick()
				other.electionDeadline = other.now + 20
			}
		}
		n.electionDeadline = n.now + 1
		n.Tick()
		c.settle()
	}
	require.Equal(c.t, Leader, n.Role(), "node %d did not win\n%s", id, c.describe())
	return n
}

// leader is the leader of the highest term, nil if there is none.
func (c *cluster) leader() *node {
	var best *node
	for _, n := range c.nodes {
		if n.up && n.Role() == Leader && (best == nil || n.Term() > best.Term()) {
			best = n
		}
	}
	return best
}

// isolate cuts the given nodes off from all others (and from each other).
func (c *cluster) isolate(ids ...NodeID) {
	c.cut = func(from, to NodeID) bool { return slices.Contains(ids, from) || slices.Contains(ids, to) }
}

func (c *cluster) heal() { c.cut = nil }

// mustPropose proposes on n and settles.
func (c *cluster) mustPropose(n *node) uint64 {
	index, err := c.propose(n)
	require.NoError(c.t, err)
	c.settle()
	return index
}

// describe is what a failing test prints about where everybody is.
func (c *cluster) describe() string {
	out := ""
	for _, n := range c.nodes {
		s := n.Status()
		out += fmt.Sprintf("%d up=%v %v term %d leader %d log [%d, %d] durable %d commit %d applied %d restoring %v joint %v voters %v transfer %d disk %v fetchingApply %d\n",
			n.cfg.ID, n.up, s.Role, s.Term, s.Leader, s.FirstIndex, s.LastIndex, s.DurableIndex, s.Commit, s.Applied,
			n.restore != nil, s.Membership.Joint(), n.quorums, s.TransferTarget, n.disk.hard, n.fetchingApply)
		for _, p := range n.peers {
			out += fmt.Sprintf("   -> %d %v match %d next %d fetching %d round %d\n", p.member.ID, p.State, p.Match, p.Next, p.fetching, p.round)
		}
	}
	return out
}

// entryOf makes an entry whose body names its term.
func entryOf(index, term uint64) Entry {
	e := Entry{Term: term, Index: index, Type: EntryNormal, Body: fmt.Appendf(nil, "%d.%d", index, term)}
	e.CRC = Checksum(e.Term, e.Index, e.Type, e.Body)
	return e
}

func configEntry(index, term uint64, m Membership) Entry {
	e := Entry{Term: term, Index: index, Type: EntryConfig, Body: EncodeMembership(m)}
	e.CRC = Checksum(e.Term, e.Index, e.Type, e.Body)
	return e
}

// load restarts n with the given hard state and a log of entries from 1 on.
func (n *node) load(hard HardState, entries ...Entry) *node {
	n.disk.hard, n.disk.first, n.disk.entries = hard, 1, entries
	n.start()
	return n
}

// loadTerms is load with entries of the given terms.
func (n *node) loadTerms(hard HardState, terms ...uint64) *node {
	var entries []Entry
	for i, term := range terms {
		entries = append(entries, entryOf(uint64(i+1), term))
	}
	return n.load(hard, entries...)
}

// hear steps a message from a member, as if just arrived, and lets n work.
func (n *node) hear(from NodeID, m Message) {
	m.From, m.To, m.Incarnation = from, n.cfg.ID, 1
	n.Step(m)
	n.check()
	n.work()
}

// syncAll makes everything n has written durable.
func (n *node) syncAll() {
	for len(n.inflight) > 0 {
		n.sync()
		n.work()
	}
}

// take empties the wire and returns the messages of one type.
func (c *cluster) take(typ MessageType) (taken []Message) {
	for _, m := range c.wire {
		if m.Type == typ {
			taken = append(taken, m)
		}
	}
	c.wire = nil
	return taken
}
