package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Seed is what a new cluster of one begins with.
type Seed struct {
	ID                   raftcore.NodeID
	PeerAddr, ClientAddr string
	// Boot is above the boot of every session in the data: a node id that comes back
	// with a lower one would be taken for an old process.
	Boot uint64
	// Fill loads the data into an empty store and returns the position of its last
	// entry, from (1, 1) on.
	Fill func(store *kv.Store) (raftcore.Position, error)
}

// NewCluster writes a data directory that makes one node a cluster of its own, with
// a new cluster id. The directory must not exist. All or nothing: it is made beside
// its place and renamed there when it is complete and durable. Others join it with
// --join. It blocks as long as loading and writing the data takes.
func NewCluster(ctx context.Context, dir string, s Seed) (clusterID string, info snapshot.Info, err error) {
	fs := vfs.OS{}
	dir = filepath.Clean(dir)
	temp := dir + ".new"
	if exists, err := fs.Exists(dir); err != nil || exists {
		return "", info, errors.Join(err, fmt.Errorf("%w: %s exists", ErrDataDir, dir))
	}
	if err := fs.RemoveAll(temp); err != nil {
		return "", info, err
	}
	defer fs.RemoveAll(temp) // nothing once it was renamed
	id := &Identity{Node: s.ID, Incarnation: randomID(), Boot: s.Boot}
	id.Genesis = &Genesis{Members: []raftcore.Member{{
		ID: id.Node, Incarnation: id.Incarnation, PeerAddr: s.PeerAddr, ClientAddr: s.ClientAddr,
	}}}
	if info, err = writeSeed(ctx, fs, temp, id, s); err != nil {
		return "", info, err
	}
	if err := errors.Join(fs.SyncDir(temp), fs.Rename(temp, dir), fs.SyncDir(filepath.Dir(dir))); err != nil {
		return "", info, err
	}
	return fmt.Sprintf("%x", id.Genesis.ClusterID()), info, nil
}

// writeSeed makes identity, snapshot, and a log that continues it.
func writeSeed(ctx context.Context, fs vfs.FS, dir string, id *Identity, s Seed) (info snapshot.Info, err error) {
	store := kv.New(kv.Options{HashSeed: id.Genesis.HashSeed()})
	at, err := s.Fill(store)
	if err != nil {
		return info, err
	}
	group := filepath.Join(dir, "groups", "0")
	if err := fs.MkdirAll(group); err != nil {
		return info, err
	}
	snaps, err := snapshot.Open(fs, filepath.Join(group, "snapshot"), snapshot.Options{Workers: 2})
	if err != nil {
		return info, err
	}
	cut := store.OpenCut()
	defer cut.Close()
	meta := raftcore.SnapshotMeta{Index: at.Index, Term: at.Term, Membership: id.Genesis.Membership()}
	if info, err = snaps.Write(ctx, meta, cut); err != nil {
		return info, err
	}
	log, _, err := segmentlog.Open(segmentlog.Options{FS: fs, Dir: filepath.Join(group, "log"), Inline: true})
	if err != nil {
		return info, err
	}
	hard := raftcore.HardState{Term: at.Term, Commit: at.Index}
	err = log.Save([]raftcore.Save{{HardState: &hard, MustSync: true}})
	if err == nil {
		err = log.Reset(at.Index, at.Term)
	}
	if err = errors.Join(err, log.Close()); err != nil {
		return info, err
	}
	err = writeIdentity(fs, dir, id)
	for _, d := range []string{group, filepath.Join(dir, "groups")} {
		err = errors.Join(err, fs.SyncDir(d))
	}
	return info, err
}

// Remains is what a stopped node's directory still holds, for recovery from the
// permanent loss of a quorum. Reading it changes nothing but the name of a snapshot
// found damaged.
type Remains struct {
	Identity  Identity
	ClusterID string
	// Snapshot is the newest sound one, Index 0 if there is none.
	Snapshot raftcore.SnapshotMeta
	// Membership is the newest that can be read.
	Membership raftcore.Membership
	HardState  raftcore.HardState
	// First and Last delimit the entries that can be read without a gap from the
	// snapshot on; First > Last if there are none. LastTerm is the last one's term.
	First, Last, LastTerm uint64
	// Holes are damaged stretches; what lies behind the first one is lost. Claimed is
	// the last entry the log is known to have held.
	Holes   []*segmentlog.Hole
	Claimed uint64

	snaps  *snapshot.Store
	repair *segmentlog.Repair
}

// OpenRemains looks into a data directory. The caller holds its lock.
func OpenRemains(dir string) (*Remains, error) {
	fs := vfs.OS{}
	id, err := readIdentity(fs, filepath.Join(dir, identityName))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	if id.Genesis == nil {
		return nil, fmt.Errorf("%w: %s does not belong to a cluster yet", ErrDataDir, dir)
	}
	r := &Remains{Identity: *id, ClusterID: fmt.Sprintf("%x", id.Genesis.ClusterID()), Membership: id.Genesis.Membership()}
	group := filepath.Join(dir, "groups", "0")
	if r.snaps, err = snapshot.Open(fs, filepath.Join(group, "snapshot"), snapshot.Options{}); err != nil {
		return nil, err
	}
	if err := r.provenSnapshot(); err != nil {
		return nil, err
	}
	logDir := filepath.Join(group, "log")
	report, err := segmentlog.Verify(fs, logDir)
	if err != nil {
		return nil, err
	}
	if r.repair, err = segmentlog.Survey(fs, logDir, false); err != nil {
		return nil, err
	}
	r.Holes = r.repair.Holes()
	r.HardState = r.repair.HardState()
	r.measure(report)
	return r, nil
}

func (r *Remains) provenSnapshot() error {
	for {
		info, ok := r.snaps.Newest()
		if !ok {
			return nil
		}
		rd, err := r.snaps.Open(info.Meta.Index)
		if err == nil {
			err = rd.Verify()
			rd.Close()
		}
		if err == nil {
			r.Snapshot, r.Membership = info.Meta, info.Meta.Membership
			return nil
		}
		if again, ok := r.snaps.Newest(); ok && again.Name == info.Name {
			return err
		}
	}
}

// measure finds the entries that continue the snapshot.
func (r *Remains) measure(report segmentlog.Report) {
	r.First, r.Last, r.LastTerm = r.Snapshot.Index+1, r.Snapshot.Index, r.Snapshot.Term
	for {
		e, _, ok := r.repair.Entry(r.Last+1, 0)
		if !ok || e.Term < r.LastTerm {
			break
		}
		r.Last, r.LastTerm = e.Index, e.Term
		if m, err := raftcore.DecodeMembership(e.Body); e.Type == raftcore.EntryConfig && err == nil {
			r.Membership = m
		}
	}
	r.Claimed = max(r.Last, report.LastIndex, r.repair.LastIndex())
	if report.Suspect != nil {
		r.Claimed = max(r.Claimed, report.Suspect.LastIndex)
	}
}

// Load brings a store to entry Last: the snapshot, then every entry, committed or
// not. skip is an entry that is applied as if it were empty, 0 for none.
func (r *Remains) Load(store *kv.Store, skip uint64) (raftcore.Position, error) {
	if r.Snapshot.Index > 0 {
		rd, err := r.snaps.Open(r.Snapshot.Index)
		if err != nil {
			return raftcore.Position{}, err
		}
		err = LoadSnapshot(store, rd, nil)
		if err = errors.Join(err, rd.Close()); err != nil {
			return raftcore.Position{}, err
		}
	}
	a := &applier{store: store}
	for i := r.First; i <= r.Last; i++ {
		e, _, ok := r.repair.Entry(i, 0)
		if !ok {
			return raftcore.Position{}, fmt.Errorf("entry %d cannot be read any more", i)
		}
		if i == skip {
			e.Type = raftcore.EntryNoop
		}
		if err := a.apply([]raftcore.Entry{e}); err != nil {
			return raftcore.Position{}, fmt.Errorf("entry %d: %w (--skip-entry %d leaves it out)", i, err, i)
		}
	}
	if r.Last == 0 {
		return raftcore.Position{}, errors.New("the directory holds no data")
	}
	return raftcore.Position{Term: max(r.LastTerm, 1), Index: r.Last}, nil
}

// LoadSnapshot reads a snapshot into a store, which does not change unless all of
// the file proves sound. progress, if not nil, is told
// the raw bytes read so far.
func LoadSnapshot(store *kv.Store, r *snapshot.Reader, progress func(done int64)) error {
	loader := store.NewLoader()
	rdb := kv.NewRDBLoader(loader)
	defer rdb.Abort()
	done := int64(0)
	err := r.Restore(func(raw []byte) error {
		if done += int64(len(raw)); progress != nil {
			progress(done)
		}
		return rdb.Feed(raw)
	})
	if err == nil {
		err = rdb.Finish()
	}
	if err != nil {
		return err
	}
	return loader.Commit(r.Meta().Index)
}

// ImportRDB reads a file that Redis wrote into an empty store, as its entry 1. feed
// delivers the bytes in pieces.
func ImportRDB(store *kv.Store, feed func(sink func(raw []byte) error) error) (keys uint64, err error) {
	// A first entry without effect: state of index 0 would be no snapshot.
	if err := store.Apply([]kv.LogEntry{{Index: 1, Kind: kv.EntryOther}}, nil); err != nil {
		return 0, err
	}
	cut := store.OpenCut()
	state := cut.State()
	cut.Close()
	loader := store.NewLoader()
	if err := loader.SetState(state); err != nil {
		return 0, err
	}
	rdb := kv.NewRDBImporter(loader)
	defer rdb.Abort()
	if err := feed(rdb.Feed); err != nil {
		return 0, err
	}
	if err := rdb.Finish(); err != nil {
		return 0, err
	}
	return rdb.Keys, loader.Commit(1)
}

// BootIdentity reads the identity of a data directory and counts the boot, as every
// start does first.
func BootIdentity(fs vfs.FS, dir string, want raftcore.NodeID) (*Identity, error) {
	return loadIdentity(fs, dir, want, randomID)
}
