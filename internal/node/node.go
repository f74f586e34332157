package node

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Node is one running member: the shell of goroutines around the step functions.
type Node struct {
	cfg       Config
	log       *slog.Logger
	ctx       context.Context // ends when the node stops
	cancel    context.CancelFunc
	lock      io.Closer
	clusterID string
	runID     string

	store   *kv.Store
	wal     *segmentlog.Log
	snaps   *snapshot.Store
	peers   peerNet
	subs    *subscriptions
	origin  *origin
	inbox   *inbox
	syncer  *syncer
	applier *applier
	fetcher *fetcher
	lease   leaseView
	first   *loop // what start runs
	turns   turns
	torn    int64 // bytes of a torn last write that recovery cut off

	mu       sync.Mutex
	identity *Identity
	named    *Genesis // whom it would found a cluster with, see formation
	known    *acquaintances
	// peerClusterID is the genesis's, computed once: every Send asks for it.
	peerClusterID [16]byte
	learned       []raftcore.Member // beside the configuration's
	introduced    []raftcore.Member // who said where it is and is not named by the configuration; the loop's
	failure       error

	running  atomic.Bool
	ready    atomic.Bool
	full     atomic.Bool // the disk
	short    atomic.Bool // it is filling up: what is not needed goes at once
	snapping atomic.Bool // one was asked for, or is being written
	writing  atomic.Bool // one is being written
	pace     pace
	asked    atomic.Uint64 // reads, by round or by lease
	asking   atomic.Bool
	// introducing: silent members are being told where this node is.
	introducing atomic.Bool
	stopping    sync.Mutex // makes the end of ctx and the last spawn one after the other
	snapMu      sync.Mutex // one snapshot is written at a time
	deliveries  deliveries
	awaited     atomic.Uint64 // the entry a snapshot must reach that replaces the log
	backupMu    sync.Mutex
	backups     map[uint64]*backup // being read, by index
	snapshots   atomic.Uint64
	// How the last snapshot went: see Status.
	savedAt    atomic.Int64
	saveFailed atomic.Bool
	// Members of the configuration before, and those that left it; of the loop.
	lastMembers []raftcore.Member
	departed    []departure
	refusals    atomic.Int32 // by peers that know a twin
	logBase     atomic.Int64 // the log's size after the last compaction
	status      atomic.Pointer[Status]
	entries     atomic.Pointer[entrySource] // for peers that repair their logs
	alarm       *time.Timer                 // wakeIn's
	stopped     chan struct{}               // closed when the loop has ended
	failed      chan struct{}               // closed at the first failure
	failOnce    sync.Once
	stopOnce    sync.Once
	workers     sync.WaitGroup // short-lived goroutines: snapshots, streams
	clientCalls atomic.Pointer[func(words []string) (int64, error)]
}

const lockName = "LOCK"

// Open takes possession of the data directory, binds the peer port, forms or joins
// the cluster if the directory belongs to none, recovers, and starts. It blocks for
// as long as that takes; ctx ends it early. The node is usable at once, and serves
// linearizably when Status().Ready says so.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, origin: newOrigin(cfg.LargeUnit), inbox: newInbox(),
		alarm: newAlarm(), stopped: make(chan struct{}), failed: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(ctx); err != nil {
		n.release()
		return nil, err
	}
	n.start()
	return n, nil
}

// peerNet is what a node needs of package transport; the simulator has another.
type peerNet interface {
	Send(ms []raftcore.Message)
	SendUnits(to raftcore.NodeID, us []transport.Unit) bool
	SendRefused(to raftcore.NodeID, seqs []uint64)
	SendNote(to raftcore.NodeID, note []byte) bool
	SendSnapshot(ctx context.Context, to raftcore.NodeID, o transport.SnapshotOffer, open func(offset int64) io.Reader) error
	Call(ctx context.Context, addr string, req []byte) ([]byte, error)
	SetPeers(ps []transport.Peer)
	// Flush writes what the three Sends queued.
	Flush()
	Close() error
}

func (n *Node) open(ctx context.Context) error {
	if err := n.own(); err != nil {
		return err
	}
	peers, err := transport.New(transport.Options{
		Listen: n.cfg.ListenPeer, Secret: n.cfg.Secret, Identity: n.transportIdentity, Handler: n,
		Logger: n.log, Clock: n.Now, OnRefused: n.onRefused,
		Life: n.identity.life(n.identity.Boot), LifeAt: n.identity.life, Acquaintances: n.known,
		SnapshotBytesPerSecond: n.cfg.SnapshotBytesPerSecond,
	})
	if err != nil {
		return fmt.Errorf("peer port: %w", err)
	}
	n.peers = peers
	peers.Start()
	if err := n.form(ctx); err != nil {
		return err
	}
	defer n.cfg.LongWork()()
	return n.recover(ctx)
}

// own takes possession of the data directory and counts the boot.
func (n *Node) own() error {
	fs, dir := n.cfg.FS, n.cfg.DataDir
	if err := fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, dir, err)
	}
	if err := checkContent(fs, dir); err != nil {
		return err
	}
	var err error
	if n.lock, err = fs.Lock(filepath.Join(dir, lockName)); err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("data directory %s is in use by another rkv process: %w", dir, err)
		}
		return fmt.Errorf("%w %s: %w", ErrDataDir, dir, err)
	}
	if n.identity, err = loadIdentity(fs, dir, n.cfg.ID, n.cfg.Random); err != nil {
		return err
	}
	n.log = n.log.With("node", uint64(n.identity.Node))
	if n.known, err = openAcquaintances(fs, dir, n.log); err != nil {
		return fmt.Errorf("%w %s: the memory of peers: %w", ErrDataDir, dir, err)
	}
	return nil
}

func (n *Node) transportIdentity() transport.Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := transport.Identity{Node: n.identity.Node, Incarnation: n.identity.Incarnation, Boot: n.identity.Boot}
	if n.identity.Genesis != nil {
		if n.peerClusterID == [16]byte{} {
			n.peerClusterID = n.identity.Genesis.ClusterID()
		}
		id.ClusterID = n.peerClusterID
	}
	return id
}

// start begins the goroutines. They are listed in docs/ARCHITECTURE.md.
func (n *Node) start() {
	n.turns.l, n.turns.last = n.first, n.cfg.Now()
	n.fxSetup(n.first)
	prepare, stop := n.store.MemoryAhead()
	context.AfterFunc(n.ctx, stop)
	n.spawn(prepare)
	go n.syncer.run()
	go n.applier.run()
	go n.fetcher.run()
	n.running.Store(true)
	go n.runLoop()
	n.spawn(n.watchSpace)
	n.spawn(n.watchPace)
	n.spawn(n.announceReady)
	n.spawn(n.announceProgress)
}

func newAlarm() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// wakeIn implements effects: runLoop hears of it.
func (n *Node) wakeIn(after time.Duration) { n.alarm.Reset(after) }

// runLoop tells the loop of the time and runs the turns that nobody else does.
func (n *Node) runLoop() {
	defer close(n.stopped)
	ticker := time.NewTicker(n.cfg.tick())
	defer ticker.Stop()
	defer n.alarm.Stop()
	for n.ctx.Err() == nil {
		select {
		case <-n.inbox.wake:
			n.pump(false)
		case <-n.alarm.C:
			n.inbox.add(func(*input) {}) // time is news enough
			n.pump(false)
		case <-ticker.C:
			n.takeTurns(true)
			n.dispatch(false)
		}
	}
	t := &n.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	n.inbox.close() // first: nothing may slip in behind the last take
	t.l.stop(n.inbox.take(), t.last)
}

// stop answers everybody who waits: the node ends.
func (l *loop) stop(in *input, now time.Time) {
	for _, f := range in.calls {
		f(l)
	}
	for _, c := range in.chunks {
		l.origin.add(c, now)
	}
	for _, done := range append(in.barriers, in.ticks...) {
		done(errStopped)
	}
	for _, done := range l.tickWait {
		done(errStopped)
	}
	l.pubsub.stop()
	l.reads.abandon()
	l.origin.abandon()
}

// turn runs one turn of the loop, under the monitor. last is when it was told of a tick before; the
// result is what to pass next time.
func (n *Node) turn(l *loop, ticked bool, last time.Time) time.Time {
	in, now := n.inbox.take(), n.cfg.Now()
	if !ticked {
		l.turn(in, now)
		if l.news {
			n.publish(l)
		}
		return last
	}
	in.elapsed = max(1, int(now.Sub(last)/n.cfg.tick()))
	l.turn(in, now)
	n.publish(l)
	return now
}

// fxSetup makes the peers known before the first message is sent.
func (n *Node) fxSetup(l *loop) {
	n.setPeers(l.core.Membership(), false)
	n.publish(l)
}

// announceReady logs once that the node serves linearizable reads.
func (n *Node) announceReady() {
	started := n.cfg.Now()
	for n.awaitNearness() == nil {
		done := make(chan error, 1)
		n.barrier(func(err error) { done <- err })
		n.Flush()
		select {
		case err := <-done:
			if err == nil {
				n.ready.Store(true)
				n.log.Info("ready", "clients", n.cfg.ClientAddr, "peers", n.cfg.PeerAddr,
					"after", n.cfg.Now().Sub(started).Round(time.Millisecond).String())
				return
			}
			n.log.Info("waiting for a leader", "peers", n.cfg.PeerAddr)
		case <-n.ctx.Done():
			return
		}
	}
}

// nearEntries is how far behind its leader a node may be that asks whether it is fresh.
const (
	nearEntries  = 1000
	nearInterval = 10 * time.Millisecond
	nearPatience = time.Minute
)

// awaitNearness waits until this node nearly has what its leader has. To be asked sooner
// would make the leader hurry (raftcore.Core.Awaits), as for a client, to the cost of the
// others' (docs/adr/0040).
func (n *Node) awaitNearness() error {
	said, led := n.cfg.Now(), time.Duration(0)
	for led < nearPatience {
		s := n.status.Load()
		switch {
		case s != nil && s.Leader != 0:
			if n.mayAsk(s) {
				return nil
			}
			if n.pace.loading.Load() == 0 { // a snapshot takes as long as it takes
				led += nearInterval
			}
		case n.cfg.Now().Sub(said) >= n.cfg.ParkTimeout:
			n.log.Info("waiting for a leader", "peers", n.cfg.PeerAddr)
			said = n.cfg.Now()
		}
		if err := sleep(n.ctx, nearInterval); err != nil {
			return err
		}
	}
	return nil
}

// mayAsk reports whether to hurry the leader costs others little, or is owed to clients.
func (n *Node) mayAsk(s *Status) bool {
	near := len(s.Matches) > 0 && n.applied()+nearEntries >= s.Matches[0]
	return near || s.Leader == n.identity.Node || n.clientsWait()
}

// clientsWait reports whether there are clients that did not wait for this node to be
// ready.
func (n *Node) clientsWait() bool { return n.asked.Load() > 0 || n.origin.outstanding() > 0 }

// announceProgress logs every second how far the log has been applied, until the node
// serves.
func (n *Node) announceProgress() {
	for sleep(n.ctx, time.Second) == nil && !n.ready.Load() {
		if applied, commit := n.applied(), n.Status().Commit; applied < commit {
			n.log.Info("applying the log", "applied", applied, "of", commit)
		}
	}
}

// Close hands leadership over if it can, stops everything, and returns when no
// goroutine is left. What was acknowledged is durable before and after.
func (n *Node) Close(ctx context.Context) error {
	if n.running.Load() {
		n.HandOver(ctx)
	}
	return n.abort()
}

// abort is Close without courtesy: as far as the others can tell, a crash.
func (n *Node) abort() error {
	n.stopOnce.Do(func() {
		n.cancel()
		n.inbox.signal()
		if n.running.Load() {
			<-n.stopped
		}
		n.inbox.close() // also of a node that never ran
		n.release()
	})
	return n.Err()
}

// HandOver gives leadership away, if this node has it and there is another voter,
// and waits until somebody else leads. The node goes on as a follower. It tells whether
// this node led until now.
func (n *Node) HandOver(ctx context.Context) (led bool) {
	ctx, cancel := context.WithTimeout(ctx, 4*n.cfg.ElectionTimeout)
	defer cancel()
	alone := false
	_ = n.onLoop(ctx, func(l *loop) {
		led = l.core.Role() == raftcore.Leader
		alone = voters(l.core.Membership()) < 2
	})
	if !led || alone || n.ctx.Err() != nil {
		return led
	}
	if err := n.Transfer(ctx, 0); err != nil {
		n.log.Warn("stopping without handing leadership over", "error", err)
	}
	return led
}

func voters(m raftcore.Membership) int {
	c := 0
	for _, x := range m.Members {
		if !x.Learner {
			c++
		}
	}
	return c
}

// release lets go of everything open or start acquired, in reverse order.
func (n *Node) release() {
	n.cancelWork()
	if n.wal != nil {
		n.wal.GiveUp()
	}
	if n.peers != nil {
		_ = n.peers.Close()
	}
	if n.running.Load() {
		n.fetcher.close()
		n.applier.close()
		n.syncer.close()
	}
	n.dropBackups()
	n.workers.Wait()
	n.deliveries.drop(n.cfg.Now().Add(time.Hour))
	if n.wal != nil {
		if err := n.wal.Close(); err != nil {
			n.log.Warn("closing the log", "error", err)
		}
	}
	if n.lock != nil {
		_ = n.lock.Close()
	}
}

// fail stops the node at the first error it cannot go on with. Failed tells. What goes
// wrong while the node ends anyway, a wait that was cut short for one, is no failure.
func (n *Node) fail(err error) {
	if n.ctx.Err() != nil {
		n.log.Warn("while stopping", "error", err)
		return
	}
	n.failOnce.Do(func() {
		n.mu.Lock()
		n.failure = err
		n.mu.Unlock()
		n.log.Error("the node stops", "error", err)
		close(n.failed)
	})
}

// Failed is closed when the node cannot go on; Err tells why. The owner then calls
// Close and exits.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is the failure, nil if there was none.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// spawn runs f on a goroutine that Close waits for.
func (n *Node) spawn(f func()) {
	n.workers.Add(1)
	go func() {
		defer n.workers.Done()
		f()
	}()
}

// runID names this process for INFO: 40 hex digits.
func makeRunID(id *Identity, nonce uint64) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%d %d %d %d", id.Node, id.Incarnation, id.Boot, nonce))
	return hex.EncodeToString(sum[:])
}
