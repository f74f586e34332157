package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// recover builds the state machine, the log and the core from what the directory
// holds. Entries after the snapshot are applied later, as they are known to be
// committed.
func (n *Node) recover(ctx context.Context) error {
	dir := filepath.Join(n.cfg.DataDir, "groups", "0")
	genesis := n.identity.Genesis
	n.clusterID = fmt.Sprintf("%x", genesis.ClusterID())
	n.runID = makeRunID(n.identity, n.cfg.Random())
	n.store = kv.New(kv.Options{HashSeed: genesis.HashSeed(), Databases: n.cfg.Databases, Level: n.cfg.Level})
	if err := n.cfg.FS.MkdirAll(dir); err != nil {
		return err
	}
	var err error
	n.snaps, err = snapshot.Open(n.cfg.FS, filepath.Join(dir, "snapshot"), n.snapshotOptions())
	if err != nil {
		return err
	}
	meta, err := n.loadNewest(genesis)
	if err != nil {
		return err
	}
	sync := segmentlog.SyncAlways
	if n.cfg.SyncNever {
		sync = segmentlog.SyncNever
	}
	rec, meta, err := n.openLog(ctx, segmentlog.Options{
		FS: n.cfg.FS, Dir: filepath.Join(dir, "log"), SegmentSize: n.cfg.SegmentSize, Logger: n.log, Sync: sync,
		Inline: n.cfg.Inline, LogID: n.logID(), RoomShort: n.short.Load,
	}, meta)
	if err != nil {
		return err
	}
	if rec, err = n.joinLogToSnapshot(rec, meta); err != nil {
		return err
	}
	core, err := n.newCore(rec, meta)
	if err != nil {
		return fmt.Errorf("recovering: %w", err)
	}
	if err := n.checkReadMode(core.Membership()); err != nil {
		return err
	}
	n.logBase.Store(0)
	n.torn = rec.TornBytes
	n.wire(core, meta)
	n.log.Info("recovered", "snapshot", meta.Index, "first", rec.FirstIndex, "last", rec.LastIndex,
		"term", rec.HardState.Term, "torn_bytes", rec.TornBytes)
	return nil
}

// snapshotOptions: at no more than a rate, and a share of the time that depends on
// what else there is to do. In steps nothing waits.
func (n *Node) snapshotOptions() snapshot.Options {
	o := snapshot.Options{Logger: n.log}
	if !n.cfg.Inline {
		n.pace.requests, n.pace.memory, n.pace.log, n.pace.idle = n.requests, n.store.Held, n.logRoom, n.cfg.Idle
		o.BytesPerSecond, o.Share = n.cfg.SnapshotBytesPerSecond, n.pace.Share
		o.Beside, o.Rest = n.spawnUnlessStopped, n.restFromRemoval
	}
	return o
}

// requests counts what clients asked for, by entry or by round of reads.
func (n *Node) requests() uint64 {
	if !n.running.Load() {
		return 0
	}
	return n.applier.index.Load() + n.asked.Load()
}

// logRoom is what the log since the last snapshot has grown to, and what it may grow to
// before the next one is begun. A log as large as the snapshot that it follows costs no
// more to keep.
func (n *Node) logRoom() (bytes, room int64) {
	if !n.running.Load() {
		return 0, 0
	}
	newest, _ := n.snaps.Newest()
	return n.logBytes(), max(n.cfg.SnapshotLogBytes, newest.Size)
}

// logID marks a new log; the log draws one itself unless it has to be repeatable.
func (n *Node) logID() uint64 {
	if n.cfg.Inline {
		return n.cfg.Random() | 1
	}
	return 0
}

// loadNewest fills the state machine from the newest snapshot that proves sound.
func (n *Node) loadNewest(genesis *Genesis) (raftcore.SnapshotMeta, error) {
	for {
		info, ok := n.snaps.Newest()
		if !ok {
			return raftcore.SnapshotMeta{Membership: genesis.Membership()}, nil
		}
		started := n.cfg.Now()
		err := n.load(info.Meta.Index, false)
		if err == nil {
			n.log.Info("snapshot loaded", "index", info.Meta.Index, "keys", info.Keys,
				"took", n.cfg.Now().Sub(started).Round(time.Millisecond).String())
			return info.Meta, nil
		}
		n.log.Error("snapshot is damaged; trying the one before", "index", info.Meta.Index, "error", err)
		if again, ok := n.snaps.Newest(); ok && again.Meta.Index == info.Meta.Index {
			return raftcore.SnapshotMeta{}, err // not damage of the file: do not loop
		}
	}
}

// joinLogToSnapshot makes the log continue the snapshot. It does not if the node
// stopped between installing a snapshot and emptying its log; then the log's
// entries are superseded. Nor if it took a snapshot of what a quorum had committed while
// its own log hung, which may be of a term that its log never heard of: a vote in that
// term cannot have left. A gap means that something was lost: refuse.
func (n *Node) joinLogToSnapshot(rec segmentlog.Recovered, meta raftcore.SnapshotMeta) (segmentlog.Recovered, error) {
	if rec.FirstIndex > meta.Index+1 {
		return rec, fmt.Errorf("%w: the log begins at entry %d but the newest usable snapshot ends at %d: entries between are missing; "+
			"empty the data directory and let the node join again with --join", ErrDamaged, rec.FirstIndex, meta.Index)
	}
	if meta.Index == 0 || rec.LastIndex > meta.Index && termAt(rec, meta.Index) == meta.Term ||
		rec.LastIndex == meta.Index && termAt(rec, meta.Index) == meta.Term {
		return rec, nil
	}
	n.log.Info("the log is older than the snapshot; emptying it", "last", rec.LastIndex, "snapshot", meta.Index)
	if rec.HardState.Term < meta.Term {
		rec.HardState = raftcore.HardState{Term: meta.Term, Commit: rec.HardState.Commit}
		if err := n.wal.Save([]raftcore.Save{{HardState: &rec.HardState, MustSync: true}}); err != nil {
			return rec, err
		}
	}
	if err := n.wal.Reset(meta.Index, meta.Term); err != nil {
		return rec, err
	}
	return segmentlog.Recovered{
		HardState: rec.HardState, FirstIndex: meta.Index + 1, LastIndex: meta.Index, BaseTerm: meta.Term,
		Suspect: n.wal.Suspect(),
	}, nil
}

// termAt is the term of an entry of the recovered log or of its base; 0 if unknown.
func termAt(rec segmentlog.Recovered, index uint64) uint64 {
	if index+1 == rec.FirstIndex {
		return rec.BaseTerm
	}
	term := uint64(0)
	for _, r := range rec.Terms {
		if r.Index <= index {
			term = r.Term
		}
	}
	return term
}

func (n *Node) newCore(rec segmentlog.Recovered, meta raftcore.SnapshotMeta) (*raftcore.Core, error) {
	hs := rec.HardState
	if hs.Term < meta.Term {
		hs = raftcore.HardState{Term: meta.Term, Commit: hs.Commit}
	}
	hs.Commit = min(max(hs.Commit, meta.Index), rec.LastIndex)
	var configs []raftcore.Entry
	for _, e := range rec.Configs {
		if e.Index > meta.Index {
			configs = append(configs, e)
		}
	}
	cfg := raftcore.Config{
		ID: n.identity.Node, Incarnation: n.identity.Incarnation,
		Seed:          n.identity.Incarnation ^ n.identity.Boot<<32,
		ElectionTicks: int(n.cfg.ElectionTimeout / n.cfg.tick()), HeartbeatTicks: int(n.cfg.Heartbeat / n.cfg.tick()),
		AutoPromote: true, NoticeInterval: int64(2 * time.Millisecond), SpareDelay: int64(10 * time.Millisecond),
		QuorumPatience: int64(3 * time.Millisecond),
		Time:           n.cfg.Elapsed(),
		HardState:      hs, Snapshot: meta, FirstIndex: rec.FirstIndex, LastIndex: rec.LastIndex,
		Terms: rec.Terms, Configs: configs,
	}
	if s := rec.Suspect; s != nil {
		cfg.Suspect = raftcore.Position{Term: s.LastTerm, Index: s.LastIndex}
	}
	if n.cfg.Tune != nil {
		n.cfg.Tune(&cfg)
	}
	return raftcore.New(cfg)
}

// wire connects the step functions.
func (n *Node) wire(core *raftcore.Core, meta raftcore.SnapshotMeta) {
	n.syncer = newSyncer(n.wal, n.cfg.Now, func(saved uint64) {
		n.inbox.add(func(in *input) { in.saved = max(in.saved, saved) })
	}, n.fail)
	n.syncer.pump = func() { n.pump(false) }
	n.applier = newApplier(n.store, n.origin)
	n.applier.pump = func() { n.pump(false) }
	n.applier.restore = n.install
	n.applier.fail = n.fail
	if !n.cfg.Inline {
		n.applier.rest = n.restFromReplay
	}
	n.applier.applied = func() { n.inbox.add(func(in *input) { in.applied = true }) }
	n.applier.publish()
	n.fetcher = newFetcher(n.wal, func(f fetched) {
		n.inbox.put(func(in *input) { in.fetched = append(in.fetched, f) })
	})
	n.fetcher.fail = n.fail
	n.first = &loop{
		cfg: n.cfg, id: n.identity.Node, incarnation: n.identity.Incarnation, boot: n.identity.Boot, core: core, store: n.store, origin: n.origin, inbox: n.inbox,
		reads: reads{boot: n.identity.Boot}, fx: n, log: n.log, gauges: n, campaign: true, fail: n.fail, lease: &n.lease,
		dice: dice(n.cfg.Random()), clock: clockWatch{window: 2 * n.cfg.ElectionTimeout},
	}
	n.subs = newSubscriptions()
	n.first.pubsub.subs = n.subs
	n.first.neighbours.own = n.cfg.Addresses
	n.store.CountReceivers(n.subs.receivers)
	n.first.noteMembership(core.Membership())
	n.first.noteLease(core.Membership())
}
