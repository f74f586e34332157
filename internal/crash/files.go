package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Snapshots and the identity file.

const snapDir = "/data/snapshot"

// content is a snapshot's source: one piece.
type content []byte

func (c content) Blocks(emit func(raw []byte, keys int) error) error { return emit(c, 1) }

func someContent(seed uint64) content {
	rng := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, 2000)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func openSnaps(disk *vfs.Mem) (*snapshot.Store, error) {
	return snapshot.Open(disk, snapDir, snapshot.Options{Workers: 1})
}

func metaOf(index uint64) raftcore.SnapshotMeta { return raftcore.SnapshotMeta{Index: index, Term: 1} }

func writeSnap(s *snapshot.Store, index uint64) error {
	_, err := s.Write(context.Background(), metaOf(index), someContent(index))
	return err
}

// offeredSnap is a snapshot as another member offers and streams it.
func offeredSnap(index uint64) (o snapshot.Offer, stream []byte) {
	disk := vfs.NewMem()
	s, err := openSnaps(disk)
	must(err)
	must(writeSnap(s, index))
	r, err := s.OpenNewest()
	must(err)
	defer r.Close()
	stream, err = io.ReadAll(r.StreamFrom(0))
	must(err)
	return r.Offer(), stream
}

func oldSnap() (*vfs.Mem, *snapshot.Store) {
	disk := vfs.NewMem()
	s, err := openSnaps(disk)
	must(err)
	must(writeSnap(s, 10))
	return disk, s
}

func receive(s *snapshot.Store, o snapshot.Offer, stream []byte) error {
	_, err := s.Receive(context.Background(), o, snapshot.Whole(stream))
	return err
}

func (r *run) snapshotCuts(uint64) {
	offer, stream := offeredSnap(20)
	for name, op := range map[string]func(s *snapshot.Store) error{
		"save":    func(s *snapshot.Store) error { return writeSnap(s, 20) },
		"receive": func(s *snapshot.Store) error { return receive(s, offer, stream) },
		"retire":  func(s *snapshot.Store) error { return errors.Join(writeSnap(s, 20), s.Retire(1)) },
	} {
		r.cuts("snapshot "+name, func() (*vfs.Mem, func() error, func(*vfs.Mem, bool) error) {
			disk, s := oldSnap()
			return disk, func() error { return op(s) }, func(disk *vfs.Mem, acked bool) error {
				index, err := soundSnap(disk)
				if err == nil && acked && index != 20 {
					err = fmt.Errorf("an acknowledged snapshot is gone, %d is there", index)
				}
				return err
			}
		})
	}
}

// soundSnap verifies and compares the newest snapshot.
func soundSnap(disk *vfs.Mem) (index uint64, err error) {
	s, err := openSnaps(disk)
	if err != nil {
		return 0, err
	}
	rd, err := s.OpenNewest()
	if err != nil {
		return 0, err
	}
	defer rd.Close()
	var got []byte
	if err := rd.Restore(func(raw []byte) error { got = append(got, raw...); return nil }); err != nil {
		return 0, err
	}
	index = rd.Meta().Index
	if !bytes.Equal(got, someContent(index)) {
		return 0, fmt.Errorf("snapshot %d has other contents", index)
	}
	return index, nil
}

// installCuts: a snapshot is received, then the log is dropped for it. There may be
// the old log with the old snapshot, or the new snapshot; never a gap (R34).
func (r *run) installCuts(uint64) {
	offer, stream := offeredSnap(20)
	r.cuts("install", func() (*vfs.Mem, func() error, func(*vfs.Mem, bool) error) {
		disk, s := oldSnap()
		must(disk.MkdirAll(logDir))
		l, _, err := openLog(disk)
		must(err)
		hard := raftcore.HardState{Term: 1, Vote: 1}
		must(saving(&hard, entries(rand.New(rand.NewPCG(1, 1)), 1, 1, 12, 500))(l))
		op := func() error {
			if err := receive(s, offer, stream); err != nil {
				return err
			}
			return l.Reset(20, 1)
		}
		return disk, op, func(disk *vfs.Mem, acked bool) error {
			index, err := soundSnap(disk)
			if err != nil {
				return err
			}
			l, rec, err := openLog(disk)
			if err != nil {
				return err
			}
			defer l.Close()
			switch {
			case acked && (index != 20 || rec.FirstIndex != 21):
				return fmt.Errorf("snapshot %d, log from %d after an acknowledged install", index, rec.FirstIndex)
			case rec.FirstIndex > index+1:
				return fmt.Errorf("gap: snapshot %d, log from %d", index, rec.FirstIndex)
			case index == 10 && rec.LastIndex != 12:
				return fmt.Errorf("snapshot %d and a log up to %d of 12", index, rec.LastIndex)
			}
			return nil
		}
	})
}

const dataDir = "/data"

func (r *run) identityCuts() {
	r.cuts("identity", func() (*vfs.Mem, func() error, func(*vfs.Mem, bool) error) {
		disk := vfs.NewMem()
		must(disk.MkdirAll(dataDir))
		was, err := node.BootIdentity(disk, dataDir, 3)
		must(err)
		return disk, func() error { _, err := node.BootIdentity(disk, dataDir, 3); return err },
			func(disk *vfs.Mem, acked bool) error {
				id, err := node.BootIdentity(disk, dataDir, 3)
				switch {
				case err != nil:
					return err
				case id.Incarnation != was.Incarnation || id.Boot < was.Boot+1 || acked && id.Boot < was.Boot+2:
					return fmt.Errorf("identity %+v after %+v", id, was)
				}
				return nil
			}
	})
}

// isDamage reports whether an error is a refusal with an address.
func isDamage(err error) bool {
	var log *segmentlog.CorruptionError
	var hard *segmentlog.HardStateError
	var snap *snapshot.CorruptionError
	return errors.As(err, &log) || errors.As(err, &hard) || errors.As(err, &snap) ||
		errors.Is(err, node.ErrDamaged) || errors.Is(err, node.ErrForeign)
}
