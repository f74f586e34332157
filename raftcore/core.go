package raftcore

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rkvdb/rkv/raftcore/progress"
	"github.com/rkvdb/rkv/raftcore/quorum"
)

// Core is one node's share of the protocol, as a value: inputs change it, and
// Ready says what the world has to do about it. It is not safe for concurrent
// use, never blocks, and does the same thing for the same inputs.
type Core struct {
	cfg  Config
	id   NodeID
	dice dice

	// What survives a restart (thesis figure 3.1). vote never changes to another
	// non-zero value within a term, whatever role changes there are (R2).
	term uint64
	vote NodeID
	// hardHanded and hardDurable are the hard state given out in a Save and the
	// one known to be on stable storage. No message leaves before the term and
	// vote it speaks for are durable, see send.
	hardHanded, hardDurable HardState

	log      raftLog
	suspect  Position     // what the log may have been acknowledged up to, see suspect.go
	snapshot SnapshotMeta // the newest durable one; its index never goes back (R32)

	configs configStack
	quorums quorum.Joint[identity] // of the newest configuration

	role   Role
	leader NodeID

	// Time, in calls of Tick since the start.
	now              uint64
	electionDeadline uint64 // campaign when reached
	leaderContact    uint64 // when the leader was last heard; meaningful while leader != 0
	campaignAllowed  bool
	declines         bool
	// clock is what SetTime said last; loyalTo was heard at loyalSince (lease.go). They
	// outlive the term: a promise is about time.
	clock      int64
	loyalTo    NodeID
	loyalSince int64

	// Candidates.
	ballots map[NodeID]ballot

	// Followers. All of it is about the current term's leader.
	verified    uint64 // the log is known to match the leader's up to here
	ackedMatch  uint64 // best match told to the leader
	roundSeen   uint64 // newest round in a frame of the leader
	roundEchoed uint64 // newest round told back
	forwarded   []forwardedRead
	matches     []uint64 // told by the leader

	// Leaders.
	peers            []*peer // sorted by ID, without this node
	termStart        uint64  // index of the no-op that opened the term
	uncommittedBytes int     // of own-term entries above commit
	round            uint64  // never reused, also not across terms of this process
	roundSent        uint64  // newest round asked for by heartbeats
	beatAll          bool    // the next heartbeat goes to spares, too
	commitAt         int64   // when something was last committed, or began to wait for that, on the clock of SetTime
	readAt           int64   // likewise for reads
	spareAt          int64   // when a spare is due, on the clock of SetTime; 0: none
	catchUp          catchUp // what members that lag may be sent
	heartbeatDue     uint64
	dirty            bool // flush may have something to send
	reads            []pendingRead
	parkedReads      []pendingRead // wait for the term's first commit
	transfer         transfer
	lease            lease
	priorityDue      uint64 // no hand-over by priority before
	priorityWait     uint64 // the rest before the one after that

	// A snapshot being installed; restore is what the driver works on.
	restore, restoreNext *restoring

	// The next Ready.
	out      Ready
	reported Change // what the driver was last told
	cause    string // of the newest transition
	saveID   uint64
	// commitDue is when a commit index that advanced alone is written.
	commitDue uint64

	fetchingApply   uint64  // Lo of the Fetch for Apply in flight; zero if none
	fetched         []Entry // its answer, to be handed out
	applyFetchDue   uint64  // tick before which no Fetch for Apply is repeated
	applyFetchAfter uint64  // applied index before which the next one waits

	fault error
}

type ballot struct {
	incarnation uint64
	granted     bool
	conditional bool // counts only beside the grants of all other voters
}

type restoring struct {
	meta SnapshotMeta
	from NodeID
}

// peer is the leader's record of another member.
type peer struct {
	member Member
	progress.Progress
	lastContact uint64 // tick of the last answer in this term, at first of its beginning
	heard       bool   // there was an answer
	round       uint64 // newest round it echoed
	commitSent  uint64 // newest commit index it was told
	toldAt      int64  // when, on the clock of SetTime
	awaits      uint64 // newest entry it said it waits for (Awaits, ReadIndex)
	roundSent   uint64 // newest round it was asked to echo
	beatAt      int64  // when, on the clock of SetTime
	asked       bool   // one of those whose answers make the next quorum (spares.go)
	spare       bool   // not one of them
	fed         int64  // catchUp.budget that covers what it was sent (catchup.go)
	lags        bool   // it lacked more than a little when it was last sent something
	fetching    uint64 // Lo of the Fetch in flight for it; zero if none
	caughtUp    uint64 // ticks a learner has kept up
	probeDue    bool   // heartbeat answered: check for a lost message
}

// New returns a follower with the recovered state, or a *ConfigError (or an error
// wrapping ErrIntegrity) that says why it cannot be used.
func New(cfg Config) (*Core, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Core{
		cfg: cfg, id: cfg.ID,
		dice:       dice{state: cfg.Seed ^ uint64(cfg.ID)*0x9e3779b97f4a7c15},
		term:       cfg.HardState.Term,
		vote:       cfg.HardState.Vote,
		hardHanded: cfg.HardState, hardDurable: cfg.HardState,
		log:             newLog(&cfg),
		snapshot:        SnapshotMeta{cfg.Snapshot.Index, cfg.Snapshot.Term, cfg.Snapshot.Membership.clone()},
		campaignAllowed: true, suspect: cfg.Suspect,
		clock: cfg.Time, loyalSince: cfg.Time, // loyal to whomever it heard before it was stopped
		catchUp: catchUp{rate: max(cfg.CatchUpRate, 0)},
	}
	c.liftSuspicion()
	if err := c.configs.recover(&cfg); err != nil {
		return nil, err
	}
	c.cfg.Configs, c.cfg.Terms = nil, nil // not referenced any more
	c.quorums = c.configs.newest().quorums()
	c.verified = c.log.commit
	c.reported = Change{Term: c.term}
	c.resetElectionTimer()
	return c, nil
}

// Propose appends an entry and returns its index. The core takes ownership of
// body. The entry is not committed yet, and may never be: only its coming out of
// Ready.Apply, with this term, proves that it was. The index is meaningless if
// the error is ErrNotLeader, ErrTransferring, ErrBusy or ErrEntryType; then
// nothing was appended.
func (c *Core) Propose(typ EntryType, body []byte) (index uint64, err error) {
	switch {
	case typ != EntryNormal && typ != EntryNoop:
		return 0, ErrEntryType
	case c.role != Leader:
		return 0, ErrNotLeader
	case c.transfer.active():
		return 0, ErrTransferring
	case c.uncommittedBytes > 0 && c.uncommittedBytes+len(body)+entryOverhead > c.cfg.MaxUncommittedBytes:
		return 0, ErrBusy
	}
	return c.appendOwn(typ, body), nil
}

// Tick advances the core's time by one unit.
func (c *Core) Tick() {
	c.now++
	c.expireForwarded()
	if c.role == Leader {
		c.tickLeader()
	} else if c.now >= c.electionDeadline {
		c.electionTimeout()
	}
}

// Saved reports that Save id, and every Save before it, is durable in full.
func (c *Core) Saved(id uint64) {
	if hard := c.log.saved(id); hard != nil {
		c.hardDurable = *hard
	}
	switch c.role {
	case Leader:
		c.advanceCommit()
	case Candidate:
		c.countOwnVote()
	case Follower:
		c.acknowledge()
	}
}

// Applied reports that the state machine has applied every entry up to index.
func (c *Core) Applied(index uint64) {
	c.log.appliedTo(min(index, c.log.applying))
}

// SnapshotTaken reports a durable snapshot of this node's own state machine. One
// older than an installed snapshot is not news (R32).
func (c *Core) SnapshotTaken(meta SnapshotMeta) {
	if meta.Index > c.snapshot.Index && meta.Index <= c.log.applied && len(meta.Membership.Members) > 0 {
		c.snapshot = SnapshotMeta{meta.Index, meta.Term, meta.Membership.clone()}
	}
}

// Compacted reports that the log will drop its entries up to index, which must
// not be above the newest snapshot (what is, stays). From now on the core neither
// sends nor fetches them: a member that still needs them gets a snapshot. The
// dropping has to go through the same queue as the Saves, behind those in flight.
func (c *Core) Compacted(index uint64) {
	c.log.compact(min(index, c.snapshot.Index))
	c.configs.compact(c.log.first - 1)
	c.dirty = true
}

// Ready hands out what has to be done, and moves on: every item is handed out
// once. The driver may take further Readies before the first is performed; the
// order of Saves is the order they were handed out in. Nothing in it is written
// to by the core afterwards; bodies of entries are shared and read-only.
func (c *Core) Ready() Ready {
	c.flush()
	c.handOutApply()
	c.out.Save = c.nextSave()
	c.out.Change = c.nextChange()
	ready := c.out
	c.out = Ready{}
	c.log.trim()
	return ready
}

// HasReady reports whether Ready has anything to hand out. It may be wrong only
// in saying yes.
func (c *Core) HasReady() bool {
	o := &c.out
	return c.dirty || len(o.Send) > 0 || len(o.SendAfterSave) > 0 || len(o.Reads) > 0 ||
		len(o.Fetch) > 0 || len(o.SendSnapshot) > 0 || o.Restore != nil || o.MembershipChanged != nil ||
		c.saveNeeded() || c.applyNeeded() || c.changed()
}

// nextSave collects what is not on its way to the disk yet. Hard state and
// entries travel together, so a vote can never be durable without its term (R3).
func (c *Core) nextSave() *Save {
	if !c.saveNeeded() {
		return nil
	}
	c.saveID++
	save, pending := &Save{ID: c.saveID}, pendingSave{id: c.saveID}
	// Only entries of earlier Saves are sure to be on disk when this hard state
	// is, and a commit index beyond the log would look like a lost log.
	hard := HardState{Term: c.term, Vote: c.vote, Commit: max(c.hardHanded.Commit, min(c.log.commit, c.log.handed))}
	if hard != c.hardHanded && (hard.Term != c.hardHanded.Term || hard.Vote != c.hardHanded.Vote || c.now >= c.commitDue) {
		save.HardState = &hard
		save.MustSync = hard.Term != c.hardHanded.Term || hard.Vote != c.hardHanded.Vote
		saved := hard
		pending.hard = &saved
		c.hardHanded = hard
		c.commitDue = c.now + uint64(c.cfg.ElectionTicks)
	}
	if l := &c.log; l.handed < l.last {
		save.Entries = slices.Clone(l.window[l.handed+1-l.winFirst():])
		pending.last = l.last
		l.handed = l.last
	}
	c.log.saves = append(c.log.saves, pending)
	return save
}

func (c *Core) saveNeeded() bool {
	if c.log.handed < c.log.last || c.term != c.hardHanded.Term || c.vote != c.hardHanded.Vote {
		return true
	}
	// A commit index alone is a convenience for the next start: no hurry.
	return c.now >= c.commitDue && min(c.log.commit, c.log.handed) > c.hardHanded.Commit
}

// send queues a message of the current term. It may leave at once only if term
// and vote are durable: what is said in a term must not be forgotten (R4).
func (c *Core) send(m Message) {
	m.From, m.Incarnation = c.id, c.cfg.Incarnation
	if m.Term == 0 {
		m.Term = c.term
	}
	if c.hardDurable.Term == c.term && c.hardDurable.Vote == c.vote {
		c.out.Send = append(c.out.Send, m)
	} else {
		c.out.SendAfterSave = append(c.out.SendAfterSave, m)
	}
}

func (c *Core) changed() bool {
	return c.role != c.reported.Role || c.term != c.reported.Term || c.leader != c.reported.Leader
}

func (c *Core) nextChange() *Change {
	if !c.changed() {
		return nil
	}
	c.reported = Change{Role: c.role, Term: c.term, Leader: c.leader, Cause: c.cause}
	change := c.reported
	return &change
}

// becomeFollower is the only way back, in this term or into a higher one. Within
// a term the vote stays: a second vote would elect a second leader (R2).
func (c *Core) becomeFollower(term uint64, leader NodeID, cause string) {
	if term != c.term || leader != c.leader || c.role != Follower {
		c.cause = cause
		c.failReads()
	}
	if term > c.term {
		c.term, c.vote = term, 0
		c.verified = c.log.commit
		c.ackedMatch, c.roundSeen, c.roundEchoed = 0, 0, 0
		c.matches = nil
	}
	if c.role == Leader {
		c.peers, c.transfer, c.uncommittedBytes, c.lease = nil, transfer{}, 0, lease{}
	}
	if c.role != Follower {
		c.resetElectionTimer()
	}
	c.role, c.leader, c.ballots = Follower, leader, nil
}

// followTheLeader notes a message of this term's leader.
func (c *Core) followTheLeader(leader NodeID) {
	if c.role != Follower || c.leader != leader {
		c.becomeFollower(c.term, leader, fmt.Sprintf("leader %d announced itself", leader))
	}
	c.leaderContact = c.now
	c.notePromise(leader)
	c.resetElectionTimer()
}

// resetElectionTimer draws from (T, 2T]. Not T itself: a voter that heard the last
// heartbeat a tick later would still refuse, and the round would be wasted.
func (c *Core) resetElectionTimer() {
	t := uint64(c.cfg.ElectionTicks)
	c.electionDeadline = c.now + t + 1 + c.dice.below(t)
}

// Membership returns the configuration in force: the newest in the log. It is shared
// with the core, which never changes one; nor must the caller.
func (c *Core) Membership() Membership { return c.configs.newest() }

// MembershipAt returns the configuration as of index, for the snapshot taken
// there (R22). Below the oldest one known it is empty: no snapshot may be taken
// at such an index.
func (c *Core) MembershipAt(index uint64) Membership { return c.configs.at(index).clone() }

// Role, Term, Leader (0: unknown), LastIndex and Commit are what Status says,
// without the cost of the rest.
func (c *Core) Role() Role        { return c.role }
func (c *Core) Term() uint64      { return c.term }
func (c *Core) Leader() NodeID    { return c.leader }
func (c *Core) LastIndex() uint64 { return c.log.last }
func (c *Core) Commit() uint64    { return c.log.commit }

// Status copies out everything worth showing.
func (c *Core) Status() Status {
	s := Status{
		ID: c.id, Role: c.role, Term: c.term, Vote: c.vote, Leader: c.leader,
		FirstIndex: c.log.first, LastIndex: c.log.last, DurableIndex: c.log.durable,
		Commit: c.log.commit, Applied: c.log.applied, SnapshotIndex: c.snapshot.Index,
		Membership: c.Membership(), QuorumOK: c.inContact(), TransferTarget: c.transfer.to,
		Matches: slices.Clone(c.matches), UncommittedBytes: c.uncommittedBytes, Fault: c.fault, Suspect: c.suspect,
	}
	if c.role == Leader {
		s.Matches = c.voterMatches()
	}
	if len(c.peers) > 0 {
		s.Peers = make([]PeerStatus, 0, len(c.peers))
	}
	for _, p := range c.peers {
		s.Peers = append(s.Peers, PeerStatus{
			ID: p.member.ID, Match: p.Match, Next: p.Next, State: p.State.String(),
			InflightBytes: p.InflightBytes(), Active: c.active(p),
		})
	}
	return s
}

// voterMatches are the durable indexes of all voters, best first.
func (c *Core) voterMatches() []uint64 {
	matches := make([]uint64, 0, len(c.quorums.Incoming))
	for _, voter := range c.quorums.Incoming {
		matches = append(matches, c.matchOf(voter))
	}
	slices.SortFunc(matches, func(a, b uint64) int { return cmp.Compare(b, a) })
	return matches
}

// dice is splitmix64 (Steele, Lea, Flood 2014): the election timeouts' only need.
type dice struct{ state uint64 }

func (d *dice) below(n uint64) uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) % n
}
