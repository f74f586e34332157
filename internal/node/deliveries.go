package node

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// deliveries are snapshots that members did not get all of. A member keeps what it got
// (snapshot.Store.Receive), so the next attempt offers the same one, though there may
// be a newer one: that would have to be sent from its beginning, and whoever takes
// snapshots faster than a member can fetch them would never be done.
type deliveries struct {
	mu    sync.Mutex
	kept  map[raftcore.NodeID]keptSnapshot
	going map[raftcore.NodeID]uint64 // index of the snapshot being sent
	turn  chan struct{}              // holds something while it is somebody's turn
}

type keptSnapshot struct {
	r     *snapshot.Reader // keeps the file from being removed
	since time.Time        // when the last attempt ended
}

// turnPatience is how long members wait for the one before: one that takes its snapshot
// slowly must not keep the others from theirs for good.
const turnPatience = 2 * time.Minute

// enter waits until it is the caller's turn, or until it has waited long enough. end
// passes the turn on; calling it again does no harm.
func (d *deliveries) enter(ctx context.Context, patience time.Duration) (end func()) {
	d.mu.Lock()
	if d.turn == nil {
		d.turn = make(chan struct{}, 1)
	}
	turn := d.turn
	d.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case turn <- struct{}{}:
		return sync.OnceFunc(func() { <-turn })
	case <-t.C:
	case <-ctx.Done():
	}
	return func() {}
}

// deliveryPatience is how long a member that went away in the middle is waited for.
const deliveryPatience = 10 * time.Minute

// take returns what was kept for a member, nil if there is nothing.
func (d *deliveries) take(to raftcore.NodeID) *snapshot.Reader {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kept[to]
	delete(d.kept, to)
	return k.r
}

func (d *deliveries) keep(to raftcore.NodeID, r *snapshot.Reader, now time.Time) {
	d.mu.Lock()
	if d.kept == nil {
		d.kept = make(map[raftcore.NodeID]keptSnapshot)
	}
	old := d.kept[to].r
	d.kept[to] = keptSnapshot{r, now}
	d.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

// sending notes what is being sent to a member; 0: nothing any more.
func (d *deliveries) sending(to raftcore.NodeID, index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.going == nil {
		d.going = make(map[raftcore.NodeID]uint64)
	}
	if d.going[to] = index; index == 0 {
		delete(d.going, to)
	}
}

// delivering implements gauges.
func (n *Node) delivering() (oldest uint64) {
	d := &n.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, index := range d.going {
		if oldest == 0 || index < oldest {
			oldest = index
		}
	}
	for _, k := range d.kept {
		if index := k.r.Meta().Index; oldest == 0 || index < oldest {
			oldest = index
		}
	}
	return oldest
}

// drop lets go of what was kept since before. The files are closed without the lock, which
// the loop takes as well (delivering): closing the last reader of a retired snapshot
// renames it and syncs the directory.
func (d *deliveries) drop(before time.Time) {
	for _, r := range d.takeOlder(before) {
		_ = r.Close()
	}
}

// takeOlder takes what was kept since before off the list.
func (d *deliveries) takeOlder(before time.Time) (old []*snapshot.Reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for to, k := range d.kept {
		if k.since.Before(before) {
			old = append(old, k.r)
			delete(d.kept, to)
		}
	}
	return old
}

// sendSnapshot implements effects: streams a snapshot to a member whose entries are
// gone. The core asks for one stream per member at a time; members get theirs, and load
// it, one after the other, so that no more than one of them is away and slow.
func (n *Node) sendSnapshot(to raftcore.NodeID) {
	n.spawn(func() {
		end := n.deliveries.enter(n.ctx, turnPatience)
		defer end()
		index, err := n.streamTo(to)
		if err != nil {
			end()
			n.log.Warn("snapshot not delivered", "to", uint64(to), "index", index, "error", err)
			_ = sleep(n.ctx, n.cfg.ElectionTimeout) // a member that is down must not make us spin
		}
		n.snapshotSent(to, index, err == nil)
		if err == nil {
			n.awaitInstalled(to, index)
		}
	})
}

// awaitInstalled returns when a member has got on from the snapshot it took, when it is
// gone, or when this node does not lead any more.
func (n *Node) awaitInstalled(to raftcore.NodeID, index uint64) {
	for started := n.cfg.Now(); n.cfg.Now().Sub(started) < turnPatience; {
		if sleep(n.ctx, n.cfg.tick()) != nil || !behind(n.Status().Peers, to, index) {
			return
		}
	}
}

// behind reports whether a member answers and has less than index.
func behind(peers []raftcore.PeerStatus, to raftcore.NodeID, index uint64) bool {
	for _, p := range peers {
		if p.ID == to {
			return p.Active && p.Match < index
		}
	}
	return false
}

// snapshotSent tells the core how a stream ended.
func (n *Node) snapshotSent(to raftcore.NodeID, index uint64, ok bool) {
	n.call(func(l *loop) { l.core.SnapshotSent(to, index, ok) })
}

func (n *Node) streamTo(to raftcore.NodeID) (uint64, error) {
	r, err := n.snapshotFor(to)
	if err != nil {
		return 0, err
	}
	return n.stream(to, r)
}

// stream sends a snapshot. If it does not get through it is kept for the next attempt.
func (n *Node) stream(to raftcore.NodeID, r *snapshot.Reader) (uint64, error) {
	o := r.Offer()
	n.deliveries.sending(to, o.Meta.Index)
	defer n.deliveries.sending(to, 0)
	n.log.Info("sending a snapshot", "to", uint64(to), "index", o.Meta.Index, "bytes", o.Size)
	err := n.peers.SendSnapshot(n.ctx, to, transport.SnapshotOffer(o), func(offset int64) io.Reader {
		if offset > 0 {
			n.log.Info("continuing a snapshot", "to", uint64(to), "index", o.Meta.Index, "from", offset, "bytes", o.Size)
		}
		return r.StreamFrom(offset)
	})
	if err == nil || n.ctx.Err() != nil {
		return o.Meta.Index, errors.Join(err, r.Close())
	}
	n.deliveries.keep(to, r, n.cfg.Now())
	return o.Meta.Index, err
}

// snapshotFor is the one that an earlier attempt left, if the log still goes on from
// there, else the newest, which is taken if there is none.
func (n *Node) snapshotFor(to raftcore.NodeID) (*snapshot.Reader, error) {
	if r := n.deliveries.take(to); r != nil {
		if n.wal.FirstIndex() <= r.Meta().Index+1 {
			return r, nil
		}
		_ = r.Close()
	}
	r, err := n.snaps.OpenNewest()
	if !errors.Is(err, snapshot.ErrNotFound) {
		return r, err
	}
	if _, err := n.snapshotOnce(); err != nil {
		return nil, err
	}
	return n.snaps.OpenNewest()
}

// heldLog is how many times the log's usual size may be kept for members that are
// catching up.
const heldLog = 4

// stillNeeded lowers an index up to which the log is to be let go for the sake of
// members that are catching up, be it from a snapshot that they are being sent: they
// would be sent another one, and might never get to the end of it. Not for ever: what
// is kept is bounded.
func (l *loop) stillNeeded(upTo uint64) uint64 {
	if l.gauges.diskFull() || l.gauges.logTotal() > heldLog*l.cfg.SnapshotLogBytes {
		return upTo
	}
	for _, p := range l.core.Status().Peers {
		if p.Active && p.State != "snapshot" && p.Match > 0 { // 0: not heard of yet
			upTo = min(upTo, p.Match)
		}
	}
	if index := l.gauges.delivering(); index > 0 {
		upTo = min(upTo, index)
	}
	return upTo
}
