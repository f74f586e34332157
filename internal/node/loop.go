package node

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/pages"
	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// effects is what a turn may cause. In production each call enqueues for a
// goroutine; the scheduler of the tests and of the simulator queues and reorders.
// None of them blocks or calls back.
type effects interface {
	save(s *raftcore.Save)
	apply(es []raftcore.Entry)
	fetch(f raftcore.Fetch)
	restore(meta raftcore.SnapshotMeta)
	compact(index uint64)
	send(ms []raftcore.Message)
	sendUnits(to raftcore.NodeID, us []transport.Unit) bool
	sendRefused(to raftcore.NodeID, seqs []uint64)
	sendSnapshot(to raftcore.NodeID)
	// deliver hands messages to this node's subscribers, behind the entries applied
	// so far; sendNote is transport.SendNote.
	deliver(ps []kv.Publication)
	sendNote(to raftcore.NodeID, note []byte) bool
	setPeers(m raftcore.Membership, anyIncarnation bool)
	// askPeers asks the nodes at addrs who takes part today.
	askPeers(addrs []string)
	// introduce tells the nodes at addrs where this one is.
	introduce(addrs []string)
	// takeSnapshot starts one unless one is running.
	takeSnapshot()
	// wakeIn has a turn run after so long, instead of when it was last asked for; the next
	// tick will do, too. See loop.wakeBy.
	wakeIn(after time.Duration)
}

// loop is the node's decisions, one turn at a time. It belongs to one goroutine.
type loop struct {
	cfg  Config
	id   raftcore.NodeID
	boot uint64
	// incarnation is who opens sessions: the boots of an emptied directory begin at 1
	// again, and its units must not pass for those of the node that was there before.
	incarnation uint64
	core        *raftcore.Core
	store       *kv.Store
	origin      *origin
	presence    presence
	inbox       *inbox
	reads       reads
	fx          effects
	log         *slog.Logger
	// gauges read what other goroutines publish: the age of the oldest unfinished
	// sync, and the log's size.
	gauges gauges

	held     []heldSend
	lastSave uint64 // newest Save handed out
	saved    uint64 // newest durable Save

	foreign      []unitsFrom // units of other nodes, waiting for the next entry
	foreignBytes int64       // what they hold
	units        []byte      // scratch: encoded units of the entry being built
	bodies       pages.Slab  // for the bodies of entries
	unitCount    uint32
	batchOwn     []uint64  // their sequence numbers, if ours
	notTaken     []uint64  // of ours, whose entry was not
	batchPeer    []peerSeq // and of other nodes
	outgoing     []transport.Unit
	term         uint64 // of the last turn, to notice a new leader
	leader       raftcore.NodeID
	openSent     time.Time
	tickUnit     *tickUnit
	tickWait     []func(error)
	dice         dice
	clock        clockWatch
	stampPace    stampPace
	gather       gather
	large        largeUnits
	lease        *leaseView
	policy       raftcore.LeasePolicy // as last noted
	space        space
	memory       memoryLimit
	snapTurns    snapTurns
	fail         func(err error) // stops the node; nil in tests
	lastStamp    int64
	elapsed      int64     // Config.Elapsed, as of this turn
	waking       time.Time // the moment for which wakeIn was last asked for a turn
	// diskWatched is when watchDisk last looked, awake since when it has done so again and
	// again.
	diskWatched, awake time.Time
	lastTick           time.Time // last TICK proposed for due keys
	tickTerm           uint64    // its term and index
	tickIndex          uint64
	tickedFor          int64     // the deadline of a blocked client that it was for
	swept              time.Time // when blocked clients were last looked through
	readAgain          bool      // a read round may be asked (new leader, or a clock tick)
	waits              []*replicaWait
	campaign           bool // as last told to the core
	news               bool // role, leader or membership changed since Status was published
	wasMember          bool // this node was in a configuration in force
	// lonelySince is when this node last ceased to know a leader; anyPeer: it now
	// talks to any incarnation of its peers.
	lonelySince time.Time
	anyPeer     bool
	askedPeers  time.Time
	introduced  time.Time // when silent members were last told where this leader is
	draining    bool
	proposals   uint64
	batches     uint64
	pubsub      pubsub
	neighbours  neighbours
	levels      levels
}

// gauges are numbers other goroutines own.
type gauges interface {
	// syncAge is how long the oldest write handed to the log syncer has been
	// unfinished; 0 if there is none.
	syncAge(now time.Time) time.Duration
	// logBytes is what the log grew by since the last snapshot.
	logBytes() int64
	logTotal() int64
	// applied, stamp and due are the state machine's, as of its last batch.
	applied() uint64
	stamp() int64
	due() (at int64, ok bool)
	// timeout is when the next client in a blocking command has waited long enough.
	timeout() (at int64, ok bool)
	// level is the cluster's apply level.
	level() uint16
	// presence appends what the state machine knows of the sessions' nodes.
	presence(dst []kv.Presence) []kv.Presence
	// met is the newest process that spoke for a node.
	met(id raftcore.NodeID) process
	// diskFull: this node's disk has no room to spare; waitsForSpace: the log cannot go
	// on before it has.
	diskFull() bool
	waitsForSpace() bool
	// snapshotting: this node writes a snapshot; delivering: the oldest index of one on
	// its way to a member, 0 if there is none.
	snapshotting() bool
	delivering() uint64
}

// heldSend waits until Save after is durable (R4).
type heldSend struct {
	after uint64
	ms    []raftcore.Message
}

type peerSeq struct {
	from raftcore.NodeID
	seq  uint64
}

// maxCatchUpTicks bounds the ticks of one turn: a process that was paused must not
// run through an election timeout before it has read its mail.
const maxCatchUpTicks = 5

// turn takes everything that happened, in the order that lets old news lose:
// messages first, then completions, then time, then new work.
func (l *loop) turn(in *input, now time.Time) {
	wall := l.cfg.Wall(now)
	l.elapsed = l.cfg.Elapsed()
	l.clock.tell(l.elapsed, wall)
	l.core.SetTime(l.elapsed) // after the messages arrived, before they are stepped
	for i := range in.messages {
		l.presence.saw(in.messages[i].From, now)
		l.clock.observe(&in.messages[i], wall)
		l.observeSpace(&in.messages[i])
		l.observeSnapshots(&in.messages[i])
		l.core.Step(in.messages[i])
	}
	if in.saved > l.saved {
		l.onSaved(in.saved)
	}
	for i := range in.fetched {
		f := &in.fetched[i]
		l.core.Fetched(f.ask, f.entries, f.err)
	}
	if in.elapsed > 0 {
		l.gather.release()
	}
	if in.applied {
		l.onApplied(now)
	}
	for _, f := range in.calls {
		f(l)
	}
	l.onPeers(in.peers, now)
	l.origin.unsend(in.refused)
	for i := 0; i < min(in.elapsed, maxCatchUpTicks); i++ {
		l.core.Tick()
	}
	if in.elapsed > 0 {
		l.onTick(now)
	}
	for _, c := range in.chunks {
		if l.space.refuse && c.Grows() {
			l.origin.answer(c, errDiskFull)
			continue
		}
		l.origin.add(c, now)
	}
	for _, c := range in.left { // after those who came in the same turn
		l.origin.leave(c)
	}
	for _, done := range in.barriers {
		l.reads.add(done, now)
	}
	l.tickWait = append(l.tickWait, in.ticks...)
	l.takeForeign(in.units, now)
	l.gather.fresh = l.gather.fresh || len(in.chunks)+len(in.units) > 0
	if len(in.barriers) > 0 {
		l.readAgain = true
	}
	l.work(now)
}

// work hands new units and reads to whoever leads and performs what the core asks
// for, again as long as that brings a new leader to light.
func (l *loop) work(now time.Time) {
	for {
		l.proposeTicks(now)
		l.proposeLeaves(now)
		l.route(now)
		l.pumpPublications()
		if l.readAgain && l.core.Leader() != 0 {
			l.readAgain = false
			l.reads.ask(now, l.core.ReadIndex)
		}
		l.drain()
		if !l.noticeLeader() && !(l.readAgain && l.reads.mayAsk() && l.core.Leader() != 0) {
			break
		}
	}
	l.reads.release(l.gauges.applied())
	l.checkWaits()
	if due := l.core.SpareDue(); due > l.elapsed {
		l.wakeBy(now.Add(time.Duration(due-l.elapsed)), now)
	}
}

// wakeBy has a turn run at the given moment, unless one is going to sooner: whoever asks
// does so again in every turn in which it still has reason to.
func (l *loop) wakeBy(at, now time.Time) {
	if l.waking.After(now) && !at.Before(l.waking) {
		return
	}
	l.waking = at
	l.fx.wakeIn(at.Sub(now))
}

// noticeLeader reports whether term or leader changed since it was last called:
// everything unanswered must then be given to the new leader.
func (l *loop) noticeLeader() bool {
	term, leader := l.core.Term(), l.core.Leader()
	if term == l.term && leader == l.leader {
		return false
	}
	if leader != 0 && leader != l.id {
		l.presence.before = leader
	}
	l.term, l.leader = term, leader
	l.readAgain = true
	l.openSent = time.Time{}
	l.pubsub.answerAll()
	return leader != 0
}

// drain performs the core's to-do lists.
func (l *loop) drain() {
	for l.core.HasReady() {
		rd := l.core.Ready()
		l.lease.show(l.core)
		l.news = l.news || rd.Change != nil || rd.MembershipChanged != nil
		if rd.Change != nil {
			l.logChange(rd.Change)
		}
		if rd.MembershipChanged != nil {
			l.anyPeer, l.lonelySince = false, time.Time{}
			l.fx.setPeers(*rd.MembershipChanged, false)
			l.log.Info("membership changed", "members", describeMembers(*rd.MembershipChanged))
			l.noteMembership(*rd.MembershipChanged)
			l.noteLease(*rd.MembershipChanged)
		}
		if rd.Save != nil {
			l.lastSave = rd.Save.ID
			l.fx.save(rd.Save)
		}
		l.tellSpace(rd.Send)
		l.tellSpace(rd.SendAfterSave)
		l.tellSnapshots(rd.Send)
		l.tellSnapshots(rd.SendAfterSave)
		if len(rd.Send) > 0 {
			l.fx.send(rd.Send)
		}
		if len(rd.SendAfterSave) > 0 {
			l.sendAfterSave(rd.SendAfterSave)
		}
		if len(rd.Apply) > 0 {
			l.applyEntries(rd.Apply)
		}
		for _, r := range rd.Reads {
			l.reads.answer(r.ID, r.Index, r.Failed)
			l.readAgain = l.readAgain || !r.Failed // those that waited for the round
		}
		for _, f := range rd.Fetch {
			l.fx.fetch(f)
		}
		for _, to := range rd.SendSnapshot {
			l.fx.sendSnapshot(to)
		}
		if rd.Restore != nil {
			l.fx.restore(*rd.Restore)
		}
	}
	l.lease.show(l.core) // an echo alone leaves nothing to do
}

func (l *loop) sendAfterSave(ms []raftcore.Message) {
	if l.saved >= l.lastSave {
		l.fx.send(ms)
		return
	}
	l.held = append(l.held, heldSend{l.lastSave, ms})
}

// onSaved releases what waited for the disk.
func (l *loop) onSaved(id uint64) {
	l.saved = id
	l.core.Saved(id)
	n := 0
	for n < len(l.held) && l.held[n].after <= id {
		l.fx.send(l.held[n].ms)
		n++
	}
	if n > 0 {
		l.held = append(l.held[:0], l.held[n:]...)
	}
}

// onApplied tells the core how far the state machine is, and opens the session
// once this boot's OPEN came by.
func (l *loop) onApplied(now time.Time) {
	l.core.Applied(l.gauges.applied())
	l.large.applied(l.gauges.applied(), now)
	l.answered()
	l.deliverMail()
	if l.origin.opened() {
		return
	}
	if session, ok := l.store.SessionOf(l.incarnation, l.boot); ok {
		l.origin.open(session)
		l.log.Debug("session opened", "session", session)
	}
}

func (l *loop) onPeers(changes []peerChange, now time.Time) {
	for _, c := range changes {
		l.peerOfListeners(c.id, c.up)
		l.neighbour(c.id, c.up)
		l.presence.connection(c.id, c.up, l.gauges.met(c.id))
		if c.id != l.core.Leader() || c.id == l.id {
			continue
		}
		// A reset may have eaten units and reads on their way to the leader, and
		// what was sent before the way was open did not leave at all.
		l.origin.unsendAll()
		l.resetPublications()
		l.openSent = time.Time{}
		if c.up {
			l.reads.renew(now, 0, l.cfg.ParkTimeout)
			l.readAgain = true
		}
	}
}

// onTick is everything that happens for no other reason than time.
func (l *loop) onTick(now time.Time) {
	l.origin.led = l.core.Leader() != 0
	if l.origin.expire(now, l.patience()) {
		l.requestTick(func(error) {}) // an empty unit carries the new low, which seals
	}
	if now.Sub(l.swept) >= blockedSweep {
		l.swept = now
		l.origin.expireBlocked(l.clusterTime(now), l.cfg.RequestTimeout)
	}
	l.reads.renew(now, l.cfg.ElectionTimeout, l.cfg.ParkTimeout)
	l.reads.expire(now, l.patience())
	l.readAgain = true
	l.watchDisk(now)
	l.watchSpace(now)
	l.watchClock(now)
	l.watchPeers(now)
	l.watchSilent(now)
	l.proposeDueTick(now)
	l.expirePublications(now)
	l.pubsub.expire(now)
	l.sendListening()
	l.watchSnapshots()
	l.limitIdleMemory(now)
}

// patience is how long a unit may wait. With a leader in sight a slow answer is
// still an answer worth waiting for; without one, clients should hear it before
// their own time-out (DESIGN 10).
func (l *loop) patience() time.Duration {
	if l.core.Leader() != 0 {
		return l.cfg.RequestTimeout
	}
	return l.cfg.ParkTimeout
}

// noteMembership makes a node that is removed say so, in its log and to its clients.
// The joint configuration is the last a removed follower hears of.
func (l *loop) noteMembership(m raftcore.Membership) {
	member := findMember(m, l.id) != nil
	removed := !member && len(m.Members) > 0 && l.wasMember
	if removed {
		l.log.Warn("this node is removed from its cluster; stop it, or empty its data directory and start it with --join")
	}
	l.wasMember = l.wasMember || member
	l.origin.removed, l.reads.removed = removed, removed
}

// watchPeers opens the door to members with emptied directories when nobody known
// leads: this node's configuration may be so old (a joining node's is the first one
// ever) that it names the predecessor of today's leader, which would then be refused
// for good. The core goes by incarnations on its own; the next configuration closes
// the door.
//
// A leader that the configuration does not name at all has no address here and so
// cannot be answered: others are asked for it.
func (l *loop) watchPeers(now time.Time) {
	leader := l.core.Leader()
	stranger := leader != 0 && leader != l.id && !names(l.core.Membership(), leader)
	if (stranger || l.anyPeer && leader == 0) && now.Sub(l.askedPeers) > 2*l.cfg.ElectionTimeout {
		l.askedPeers = now
		l.fx.askPeers(addresses(l.core.Membership(), l.id))
	}
	switch {
	case l.anyPeer:
	case leader != 0:
		l.lonelySince = time.Time{}
	case l.lonelySince.IsZero():
		l.lonelySince = now
	case now.Sub(l.lonelySince) > 3*l.cfg.ElectionTimeout:
		l.anyPeer = true
		l.fx.setPeers(l.core.Membership(), true)
	}
}

// watchSilent has a leader tell members that do not answer where it is, and a node that
// finds no leader everybody. The configuration of one that was away for long may name
// nobody of today: it hears its leader or who wants its vote, has no address to answer
// to and nobody to ask for one.
func (l *loop) watchSilent(now time.Time) {
	leads := l.core.Role() == raftcore.Leader
	if !leads && (!l.anyPeer || l.core.Leader() != 0) || now.Sub(l.introduced) < 2*l.cfg.ElectionTimeout {
		return
	}
	l.introduced = now
	silent := addresses(l.core.Membership(), l.id)
	if leads {
		silent = silentPeers(l.core.Status())
	}
	if len(silent) > 0 {
		l.fx.introduce(silent)
	}
}

// silentPeers are the addresses of whoever has not answered for an election timeout.
func silentPeers(s raftcore.Status) (addrs []string) {
	for _, p := range s.Peers {
		if m, ok := s.Membership.Find(p.ID); ok && !p.Active {
			addrs = append(addrs, m.PeerAddr)
		}
	}
	return addrs
}

func names(m raftcore.Membership, id raftcore.NodeID) bool {
	_, ok := m.Find(id)
	return ok
}

// addresses of everybody but self.
func addresses(m raftcore.Membership, self raftcore.NodeID) []string {
	var addrs []string
	for _, list := range [][]raftcore.Member{m.Members, m.Outgoing} {
		for _, x := range list {
			if x.ID != self && !slices.Contains(addrs, x.PeerAddr) {
				addrs = append(addrs, x.PeerAddr)
			}
		}
	}
	return addrs
}

// watchDisk steps out of the way when a sync hangs: others may lead (R37). It gives the
// disk up when that has not answered for StallLimit; while this process stood still (it
// was stopped, or its machine), nobody could have heard an answer, so that does not count.
func (l *loop) watchDisk(now time.Time) {
	if now.Sub(l.diskWatched) >= l.cfg.ElectionTimeout {
		l.awake = now
	}
	l.diskWatched = now
	age := l.gauges.syncAge(now)
	full := age >= l.cfg.ElectionTimeout && l.gauges.waitsForSpace()
	if min(age, now.Sub(l.awake)) >= l.cfg.StallLimit && !full && l.fail != nil {
		l.fail(fmt.Errorf("%w: nothing for %v", ErrDiskStalled, age.Round(time.Millisecond)))
	}
	allowed := age < l.cfg.ElectionTimeout && !l.draining
	if allowed == l.campaign {
		return
	}
	l.campaign = allowed
	cause := "disk answers again"
	switch {
	case l.draining:
		cause = "shutting down"
	case full:
		cause = "disk full"
		l.log.Warn("no room for the log; handing leadership over, and acknowledging nothing until there is")
	case !allowed:
		cause = "disk stall"
		l.log.Warn("disk does not answer; handing leadership over", "pending", age.Round(time.Millisecond).String())
	}
	l.core.SetCampaignAllowed(allowed, cause)
}

func (l *loop) logChange(c *raftcore.Change) {
	l.log.Info("role changed", "role", c.Role.String(), "term", c.Term, "leader", uint64(c.Leader), "cause", c.Cause)
}
