package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// keptSnapshots: the newest and the one before, which is there when the newest
// turns out to be damaged.
const keptSnapshots = 2

// Snapshot takes one now and returns its index.
func (n *Node) Snapshot(ctx context.Context) (uint64, error) {
	type result struct {
		index uint64
		err   error
	}
	out := make(chan result, 1)
	n.spawn(func() {
		index, err := n.snapshotOnce()
		out <- result{index, err}
	})
	select {
	case r := <-out:
		if r.err != nil {
			return 0, replyError("ERR snapshot failed: " + r.err.Error())
		}
		return r.index, nil
	case <-ctx.Done():
		return 0, replyError("TIMEOUT The snapshot is still being written")
	}
}

// takeSnapshot implements effects.
func (n *Node) takeSnapshot() {
	if n.snapping.Swap(true) {
		return
	}
	n.spawn(func() {
		defer n.snapping.Store(false)
		if _, err := n.snapshotOnce(); err != nil {
			n.log.Error("snapshot failed; the log keeps growing", "error", err)
			_ = sleep(n.ctx, snapshotRetry) // do not spin on a full disk
		}
	})
}

// snapshotRetry is the rest after a snapshot that failed.
const snapshotRetry = 5 * time.Second

// snapshotOnce runs a snapshotJob.
func (n *Node) snapshotOnce() (uint64, error) {
	n.snapMu.Lock()
	defer n.snapMu.Unlock()
	n.writing.Store(true)
	defer n.writing.Store(false)
	n.collect()
	j := n.cutSnapshot()
	defer j.close()
	if err := n.onLoop(n.ctx, j.name); err != nil {
		return 0, err
	}
	taken, err := j.write()
	n.saveFailed.Store(err != nil)
	if err == nil {
		n.savedAt.Store(n.cfg.Wall(j.started))
	}
	if err != nil || !taken {
		return j.meta.Index, err
	}
	return j.meta.Index, n.onLoop(n.ctx, j.finish)
}

// collect collects garbage: what the snapshot needs comes out of what is there, not on top
// of it. The collector's sweep yields to whatever can run, but the runtime looks for news
// from the network only when nothing can: with one processor for the hot path nobody
// would hear any for as long as it takes.
func (n *Node) collect() {
	defer n.cfg.LongWork()()
	runtime.GC()
}

// snapshotJob takes one snapshot in four steps: cut and write wait for the store
// and the disk, name and finish belong to the loop. The log is let go only after
// what was written was proved by reading it back, as snapshot.Store.Write does (R34).
type snapshotJob struct {
	n       *Node
	started time.Time
	cut     *kv.Cut
	meta    raftcore.SnapshotMeta
	known   bool
}

// cutSnapshot is the first step. Whoever calls it closes the job.
func (n *Node) cutSnapshot() *snapshotJob {
	return &snapshotJob{n: n, started: n.cfg.Now(), cut: n.store.OpenCut()}
}

func (j *snapshotJob) close() {
	j.cut.Close()
	j.n.applier.tidy()
}

// name asks the core what the cut's index stands for.
func (j *snapshotJob) name(l *loop) { j.meta, j.known = l.metaAt(j.cut.Index) }

// write makes the file. It reports false, and the index of the newest snapshot in
// meta, if there was nothing new to write.
func (j *snapshotJob) write() (taken bool, err error) {
	n := j.n
	newest, ok := n.snaps.Newest()
	if ok && newest.Meta.Index >= j.cut.Index || j.cut.Index == 0 {
		j.meta = newest.Meta
		return false, nil
	}
	if !j.known {
		return false, fmt.Errorf("the term of entry %d is not known", j.cut.Index)
	}
	info, err := n.snaps.Write(n.ctx, j.meta, closingSource{j})
	if errors.Is(err, snapshot.ErrOutdated) {
		newest, _ := n.snaps.Newest()
		j.meta = newest.Meta
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n.snapshots.Add(1)
	n.log.Info("snapshot taken", "index", j.meta.Index, "keys", info.Keys, "bytes", info.Size,
		"took", n.cfg.Now().Sub(j.started).Round(time.Millisecond).String())
	if err := n.snaps.Retire(keptSnapshots); err != nil {
		n.log.Warn("old snapshots not removed", "error", err)
	}
	return true, nil
}

// closingSource closes the cut once it was read through: while the file is synced and
// verified nothing need be kept for it.
type closingSource struct{ j *snapshotJob }

func (s closingSource) Blocks(emit func(raw []byte, keys int) error) error {
	defer s.j.close()
	return s.j.cut.Spend(emit)
}

func (j *snapshotJob) finish(l *loop) { l.snapshotTaken(j.meta) }

// metaAt names the state after entry index.
func (l *loop) metaAt(index uint64) (raftcore.SnapshotMeta, bool) {
	term, ok := l.core.TermAt(index)
	return raftcore.SnapshotMeta{Index: index, Term: term, Membership: l.core.MembershipAt(index)}, ok
}

// snapshotTaken releases the log below a durable, proven snapshot, but keeps a
// stretch for followers that lag: sending them entries is cheaper than a snapshot.
func (l *loop) snapshotTaken(meta raftcore.SnapshotMeta) {
	l.core.SnapshotTaken(meta)
	st := l.core.Status()
	entries := st.LastIndex - st.FirstIndex + 1
	bytes := l.gauges.logTotal()
	upTo := meta.Index
	if entries > 0 && bytes > 0 {
		keep := uint64(float64(l.cfg.KeepLogBytes) / float64(bytes) * float64(entries))
		if keep >= entries {
			keep = entries
		}
		upTo = min(upTo, st.LastIndex-keep)
	}
	upTo = l.stillNeeded(upTo)
	if upTo >= st.FirstIndex {
		l.core.Compacted(upTo)
	}
	l.fx.compact(upTo)
}

// HandleSnapshot implements transport.Handler: keeps the stream in a file, proves
// it, and tells the core, which decides whether it is still wanted (R30).
func (n *Node) HandleSnapshot(from raftcore.NodeID, o transport.SnapshotOffer, r transport.SnapshotStream) error {
	if !n.running.Load() {
		return n.receiveAwaited(o, r)
	}
	wanted := false
	if err := n.onLoop(n.ctx, func(l *loop) { wanted = l.core.SnapshotWanted(o.Meta) }); err != nil || !wanted {
		return errors.Join(err, errUnwanted(o.Meta))
	}
	return n.receive(from, snapshot.Offer(o), r)
}

func errUnwanted(meta raftcore.SnapshotMeta) error {
	return fmt.Errorf("the snapshot at %d is not wanted, the log has it", meta.Index)
}

// receive keeps one stream and hands its news to the loop. The store takes one at a
// time.
func (n *Node) receive(from raftcore.NodeID, o snapshot.Offer, in snapshot.Stream) error {
	meta := o.Meta
	n.log.Info("receiving a snapshot", "from", uint64(from), "index", meta.Index, "bytes", o.Size)
	defer n.pace.load()()
	_, err := n.snaps.Receive(n.ctx, o, in)
	if err != nil && !errors.Is(err, snapshot.ErrOutdated) {
		return err
	}
	n.call(func(l *loop) {
		// What a snapshot holds is committed, so any term may deliver it.
		l.core.Step(raftcore.Message{
			Type: raftcore.MsgSnapshot, From: from, To: l.id, Term: l.core.Term(), Snapshot: &meta,
		})
	})
	return nil
}

// install replaces the state machine by the received snapshot, then empties the
// log, then tells the core (R34). It runs on the applier.
func (n *Node) install(meta raftcore.SnapshotMeta) error {
	if err := n.load(meta.Index, true); err != nil {
		return fmt.Errorf("installing the snapshot at %d: %w", meta.Index, err)
	}
	n.origin.reconcile(n.store.SeqState)
	n.syncer.put(syncJob{reset: &meta, then: func() {
		n.call(func(l *loop) { l.core.Restored(meta) })
	}})
	n.log.Info("snapshot installed", "index", meta.Index)
	return nil
}

// load reads a snapshot into the state machine. What it reads is built beside the
// old state, which is replaced when all of the file was read and verified. beside: at
// the pace of a process that has peers and clients.
func (n *Node) load(index uint64, beside bool) error {
	r, err := n.snaps.Open(index)
	if err != nil {
		return err
	}
	defer r.Close()
	loader := n.store.NewLoader()
	if !beside {
		prepare, stop := loader.Hurry()
		defer stop()
		if !n.cfg.Inline {
			go prepare()
		}
	}
	total := r.Info().RawSize
	read, lastWord := int64(0), n.cfg.Now()
	rdb := kv.NewRDBLoader(loader)
	defer rdb.Abort()
	restore := r.Restore
	if beside {
		defer n.pace.load()()
		restore = func(sink func([]byte) error) error { return r.RestoreBeside(n.ctx, sink) }
	}
	err = restore(func(raw []byte) error {
		read += int64(len(raw))
		if now := n.cfg.Now(); now.Sub(lastWord) >= time.Second {
			lastWord = now
			n.log.Info("loading the snapshot", "index", index, "percent", read*100/max(total, 1))
		}
		return rdb.Feed(raw)
	})
	if err == nil {
		err = rdb.Finish()
	}
	if err != nil {
		return err
	}
	if err := loader.Commit(index); err != nil {
		return err
	}
	n.savedAt.Store(n.store.Stamp())
	return nil
}
