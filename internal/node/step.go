package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Steps is a node without goroutines: the same step functions, called by a
// scheduler that owns time, network and disk (docs/adr/0003). It is what
// internal/sim runs; production uses Open.
//
// A worker of the node (log, state machine, fetcher) has work when its Take says so;
// the Job it returns may be performed later: in between, the disk is busy. All calls
// come from one goroutine.
type Steps struct {
	*Node
	host Host
	l    *loop
	last time.Time
}

// Host receives what a node causes. None of its methods may call the node back
// before it returns.
type Host interface {
	Send(ms []raftcore.Message)
	SendUnits(to raftcore.NodeID, us []transport.Unit) bool
	SendRefused(to raftcore.NodeID, seqs []uint64)
	SetPeers(ps []transport.Peer)
	// AskPeers wants a Probe of each address, and Heard of its reply.
	AskPeers(addrs []string)
	// Introduce wants an Introduction to each address.
	Introduce(addrs []string)
	// TakeSnapshot wants a NewSnapshot run to its end; until SnapshotEnded it is not
	// asked again.
	TakeSnapshot()
	// SendSnapshot wants the newest snapshot streamed to a member, and SnapshotSent.
	SendSnapshot(to raftcore.NodeID)

	// Saving, Applying and Restoring tell what is handed to the log and to the state
	// machine, for those who check it.
	Saving(s *raftcore.Save)
	Applying(es []raftcore.Entry)
	Restoring(meta raftcore.SnapshotMeta)
}

// StepOpen takes possession of the data directory and counts the boot. A directory
// that belongs to no cluster needs a Formation first; then Recover.
func StepOpen(cfg Config, host Host) (*Steps, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, origin: newOrigin(cfg.LargeUnit), inbox: newInbox(),
		stopped: make(chan struct{}), failed: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	s := &Steps{Node: n, host: host}
	n.peers = stepNet{host}
	return s, n.own()
}

// Identity is the directory's.
func (s *Steps) Identity() Identity { return *s.identity }

// Recover builds everything from the directory; the node runs from then on.
func (s *Steps) Recover() error {
	if err := s.recover(context.Background()); err != nil {
		return err
	}
	s.running.Store(true)
	s.l = s.first
	s.l.fx = stepEffects{s.Node, s.host}
	s.last = s.cfg.Now()
	s.fxSetup(s.l)
	return nil
}

// Running reports whether Recover succeeded and Stop has not been called.
func (s *Steps) Running() bool { return s.l != nil }

// TickInterval is how often Turn wants to be told of a tick.
func (s *Steps) TickInterval() time.Duration { return s.cfg.tick() }

// Turn runs one turn of the loop on everything that has happened.
func (s *Steps) Turn(ticked bool) {
	s.l.gather.release() // clients of steps have no sockets
	s.last = s.turn(s.l, ticked, s.last)
}

// Dirty reports whether the loop has something to turn on beside the time.
func (s *Steps) Dirty() bool {
	return s.inbox.dirty.Load() || s.l.gather.holding.Load()
}

// Core is for looking, not for touching.
func (s *Steps) Core() *raftcore.Core { return s.l.core }

// Log is for looking, not for touching.
func (s *Steps) Log() *segmentlog.Log { return s.wal }

// TornBytes is what recovery cut off the log's end.
func (s *Steps) TornBytes() int64 { return s.torn }

// SessionOpen reports whether clients' units can leave this node.
func (s *Steps) SessionOpen() bool { return s.origin.opened() }

// Session is this boot's session id, 0 before it is open.
func (s *Steps) Session() uint64 { return s.origin.session }

// Job is a batch of one worker. An error of it ends the node (Err).
type Job func() error

// SyncItem is one thing a batch of the log does: a save, or dropping the log in
// favour of a snapshot.
type SyncItem struct {
	Save  *raftcore.Save
	Reset *raftcore.SnapshotMeta
}

// TakeSync begins the log's next batch, nil if there is none. items are what it does,
// in order.
func (s *Steps) TakeSync() (job Job, items []SyncItem) {
	jobs, _ := s.syncer.take()
	if len(jobs) == 0 {
		return nil, nil
	}
	for i := range jobs {
		if jobs[i].save != nil || jobs[i].reset != nil {
			items = append(items, SyncItem{jobs[i].save, jobs[i].reset})
		}
	}
	return func() error { return s.syncer.perform(jobs) }, items
}

// TakeApply begins the state machine's next batch, nil if there is none.
func (s *Steps) TakeApply() Job {
	jobs, _ := s.applier.take()
	if len(jobs) == 0 {
		return nil
	}
	return func() error { return s.applier.perform(jobs) }
}

// TakeFetch begins the next reads of old entries, nil if there are none.
func (s *Steps) TakeFetch() Job {
	asks, _ := s.fetcher.take()
	if len(asks) == 0 {
		return nil
	}
	return func() error { s.fetcher.perform(asks); return nil }
}

// SnapshotRun is a snapshot being taken, a step at a time.
type SnapshotRun struct {
	s     *Steps
	job   *snapshotJob
	named bool
	wrote bool
	over  bool
}

// NewSnapshot cuts the state machine.
func (s *Steps) NewSnapshot() *SnapshotRun {
	r := &SnapshotRun{s: s, job: s.cutSnapshot()}
	s.call(func(l *loop) { r.job.name(l); r.named = true })
	return r
}

// Step does the next piece if its turn has come, and reports whether it was the
// last one. Turns of the loop have to come between.
func (r *SnapshotRun) Step() (done bool, err error) {
	switch {
	case r.over:
		return true, nil
	case !r.named:
		return false, nil
	case !r.wrote:
		r.wrote = true
		taken, err := r.job.write()
		r.job.close()
		if err != nil || !taken {
			r.over = true
			return true, err
		}
		r.s.call(func(l *loop) { r.job.finish(l); r.over = true })
	}
	return false, nil
}

// SnapshotEnded lets the node ask for the next one.
func (s *Steps) SnapshotEnded() { s.snapping.Store(false) }

// SnapshotRetry is how long the node rests after one that failed.
const SnapshotRetry = snapshotRetry

// ErrNoSnapshot: take one first.
var ErrNoSnapshot = errors.New("there is no snapshot yet")

// NewestSnapshot reads the newest snapshot as it would be streamed.
func (s *Steps) NewestSnapshot() (o snapshot.Offer, stream []byte, err error) {
	r, err := s.snaps.OpenNewest()
	if errors.Is(err, snapshot.ErrNotFound) {
		return o, nil, ErrNoSnapshot
	}
	if err != nil {
		info, _ := s.snaps.Newest()
		return snapshot.Offer{Meta: info.Meta}, nil, err
	}
	defer r.Close()
	stream, err = io.ReadAll(r.StreamFrom(0))
	return r.Offer(), stream, err
}

// SnapshotSent tells the core how a stream ended.
func (s *Steps) SnapshotSent(to raftcore.NodeID, index uint64, ok bool) {
	s.snapshotSent(to, index, ok)
}

// SnapshotIndex is the index of the newest snapshot on disk, 0 if there is none.
func (s *Steps) SnapshotIndex() uint64 {
	info, _ := s.snaps.Newest()
	return info.Meta.Index
}

// AskWanted asks the loop whether a snapshot offered by a peer is of use.
func (s *Steps) AskWanted(meta raftcore.SnapshotMeta, answer func(error)) {
	s.call(func(l *loop) {
		if l.core.SnapshotWanted(meta) {
			answer(nil)
		} else {
			answer(errUnwanted(meta))
		}
	})
}

// Receive keeps a snapshot that has arrived, or a part of one; one at a time.
func (s *Steps) Receive(from raftcore.NodeID, o snapshot.Offer, in snapshot.Stream) error {
	return s.receive(from, o, in)
}

// Poll is a change of the membership or of leadership under way.
type Poll struct {
	s     *Steps
	cond  condition
	asked bool
	done  bool
	err   error
}

// Add takes m in as a learner; Remove, Promote and Transfer (0: to the best voter)
// are what their names say. All of them fail with raftcore.ErrNotLeader elsewhere.
func (s *Steps) Add(m raftcore.Member) *Poll {
	m.Learner = true
	return &Poll{s: s, cond: adding(m)}
}

// Remove takes a member out.
func (s *Steps) Remove(id raftcore.NodeID) *Poll { return &Poll{s: s, cond: removing(id)} }

// Promote makes a learner a voter.
func (s *Steps) Promote(id raftcore.NodeID) *Poll { return &Poll{s: s, cond: promoting(id)} }

// Transfer hands leadership over.
func (s *Steps) Transfer(to raftcore.NodeID) *Poll { return &Poll{s: s, cond: s.transferring(to)} }

// SetReadMode switches the cluster's reads.
func (s *Steps) SetReadMode(mode string) *Poll { return &Poll{s: s, cond: s.switching(mode)} }

// Step asks the loop once more, and reports what it last answered.
func (p *Poll) Step() (done bool, err error) {
	if p.done || p.err != nil {
		return p.done, p.err
	}
	if !p.asked {
		p.asked = true
		p.s.call(func(l *loop) {
			p.asked = false
			p.done, p.err = p.cond(l)
		})
	}
	return false, nil
}

// Formation is how a new directory becomes part of a cluster, a question at a time.
type Formation struct {
	s *Steps
	f *formation
}

// Question is for the node at Addr; hand it to that node's Answer.
type Question struct {
	Addr string
	c    call
}

// Reply is for Formation.Answer.
type Reply struct{ r *callReply }

// NewFormation is nil if the directory belongs to a cluster already.
func (s *Steps) NewFormation() *Formation {
	if s.identity.Genesis != nil {
		return nil
	}
	return &Formation{s, s.formation()}
}

// Next is the next question; ok is false if it is time to rest for FormRetry.
func (f *Formation) Next() (q Question, ok bool) {
	addr, c := f.f.next()
	return Question{addr, c}, addr != ""
}

// FormRetry is the rest between two rounds of questions.
const FormRetry = formRetry

// JoinPatience is how long a member tries to take a node in before it answers.
const JoinPatience = callAlive

// Answer takes a reply (nil: none came). Once done, the directory belongs to a
// cluster for ever, and Recover may be called.
func (f *Formation) Answer(q Question, r *Reply) (done bool, err error) {
	if r == nil {
		err = f.f.answer(q.Addr, nil, errors.New("no answer"))
	} else {
		err = f.f.answer(q.Addr, r.r, nil)
	}
	if err != nil {
		return false, err
	}
	return f.Done()
}

// Done settles what is decided.
func (f *Formation) Done() (bool, error) {
	if f.f.genesis == nil {
		return false, nil
	}
	if f.s.identity.Genesis != nil {
		return true, nil
	}
	return true, f.s.settle(f.f.genesis)
}

// Probe asks the node at addr who it is and who takes part.
func (s *Steps) Probe(addr string) Question {
	return Question{addr, call{Kind: callProbe, From: s.self()}}
}

// Introduction tells the node at addr where this one is. Its reply says nothing new.
func (s *Steps) Introduction(addr string) Question { return Question{addr, s.introductionCall()} }

// Heard takes the reply to a Probe.
func (s *Steps) Heard(r *Reply) { s.heard(r.r) }

// Answer answers a question of another node; a join that this node can decide is
// answered after the poll.
func (s *Steps) Answer(q Question) (*Reply, *Poll) {
	hello := s.introduction()
	r := &hello
	if q.c.Kind == callHere {
		s.introducedBy(q.c)
	}
	if q.c.Kind != callJoin {
		return &Reply{r}, nil
	}
	m := q.c.From
	m.Learner = true
	if r.Error = s.joinError(m); r.Error != "" {
		return &Reply{r}, nil
	}
	return &Reply{r}, s.Add(m)
}

// Joined completes the reply with the poll's outcome; late: it has none yet.
func (s *Steps) Joined(r *Reply, err error, late bool) {
	if late {
		err = fmt.Errorf("not taken in within %v; ask again", JoinPatience)
	}
	s.joined(r.r, err)
}

// Meet is the handshake's judgement about the node of a peer: what the transport asks
// both sides before anything passes between them.
func (s *Steps) Meet(peer *Steps) transport.Reason {
	id := peer.identity
	_, asked := s.known.Newest(id.Node, id.Incarnation)
	return s.known.Meet(transport.Acquaintance{
		Node: id.Node, Incarnation: id.Incarnation, Boot: id.Boot, Life: id.life(id.Boot),
		AskedBoot: asked, LifeThen: id.life(asked),
	})
}

// Met reports whether this node would still know the present life of the peer after a
// power cut.
func (s *Steps) Met(peer *Steps) bool {
	id := peer.identity
	_, boot := s.known.Newest(id.Node, id.Incarnation)
	return boot == id.Boot && !s.known.unsaved
}

// NewestBoot is the newest boot met of a raft identity.
func (s *Steps) NewestBoot(id Identity) uint64 {
	_, boot := s.known.Newest(id.Node, id.Incarnation)
	return boot
}

// Refused is what the transport reports when a peer refuses this node.
func (s *Steps) Refused(peer raftcore.NodeID, reason transport.Reason) { s.onRefused(peer, reason) }

// Kill is what a system does for a process that dies: its lock and its memory go.
// The node must not be called any more.
func (s *Steps) Kill() {
	s.cancel()
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
}

// Stop answers everybody who waits and lets go of the directory, as a process that
// ends in order does. A process that is killed just is not called any more.
func (s *Steps) Stop() error {
	s.cancel()
	if s.l != nil {
		s.l.stop(s.inbox.take(), s.last)
		s.l = nil
	}
	s.inbox.close()
	var err error
	if s.wal != nil {
		err = s.wal.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// stepEffects are the node's own, but for what would start a goroutine.
type stepEffects struct {
	*Node
	host Host
}

func (e stepEffects) takeSnapshot() {
	if !e.snapping.Swap(true) {
		e.host.TakeSnapshot()
	}
}

func (e stepEffects) wakeIn(time.Duration) {} // its ticks will do

func (e stepEffects) askPeers(addrs []string) { e.host.AskPeers(addrs) }

func (e stepEffects) introduce(addrs []string) { e.host.Introduce(addrs) }

func (e stepEffects) sendSnapshot(to raftcore.NodeID) { e.host.SendSnapshot(to) }

func (e stepEffects) save(s *raftcore.Save) {
	e.host.Saving(s)
	e.Node.save(s)
}

func (e stepEffects) apply(es []raftcore.Entry) {
	e.host.Applying(es)
	e.Node.apply(es)
}

func (e stepEffects) restore(meta raftcore.SnapshotMeta) {
	e.host.Restoring(meta)
	e.Node.restore(meta)
}

// stepNet is the host as peerNet. Streams and calls come through Steps instead.
type stepNet struct{ Host }

var errStepNet = errors.New("not by this way in steps")

func (stepNet) SendSnapshot(context.Context, raftcore.NodeID, transport.SnapshotOffer, func(int64) io.Reader) error {
	return errStepNet
}

func (stepNet) Call(context.Context, string, []byte) ([]byte, error) { return nil, errStepNet }

// SendNote takes the note and loses it: notes may be lost, and the simulator loses
// them all.
func (stepNet) SendNote(raftcore.NodeID, []byte) bool { return true }

func (stepNet) Flush() {} // a Host has everything at once

func (stepNet) Close() error { return nil }
