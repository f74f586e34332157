package node

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/snapshot"
)

// A backup is a snapshot that a client copies piece by piece. The file is held open
// while it is being read, so that newer snapshots do not push it out.
type backup struct {
	r    *snapshot.Reader
	info snapshot.Info
	raw  io.ReaderAt
	drop *time.Timer
}

const (
	// backupPiece is how much one answer carries.
	backupPiece = 1 << 20
	// backupIdle is how long a file is held for a client that does not ask on.
	backupIdle = time.Minute
	// backupLimit bounds the files held at once.
	backupLimit = 4
)

// Backup makes a snapshot of at least everything acknowledged anywhere before the
// call, and returns its index, its size in bytes and the SHA-256 that names its
// contents. BackupRead returns it.
func (n *Node) Backup(ctx context.Context) (index uint64, size int64, hash [32]byte, err error) {
	if index, err = n.snapshotOfNow(ctx); err != nil {
		return 0, 0, hash, err
	}
	b, err := n.backupAt(index)
	if err != nil {
		return 0, 0, hash, replyError("ERR backup failed: " + err.Error())
	}
	return index, b.info.Size, b.info.Hash, nil
}

// snapshotOfNow makes a snapshot that holds everything acknowledged before the call.
func (n *Node) snapshotOfNow(ctx context.Context) (index uint64, err error) {
	done := make(chan error, 1)
	n.ReadBarrier(func(err error) { done <- err })
	n.Flush()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = replyError("TIMEOUT No leader confirmed how far the data goes")
	}
	if err != nil {
		return 0, err
	}
	return n.Snapshot(ctx)
}

// DumpRDB writes all data as a file for Redis 7.0 and later, or for 7.4 and later if
// there are hashes with fields that expire.
func (n *Node) DumpRDB(ctx context.Context, w io.Writer) error {
	index, err := n.snapshotOfNow(ctx)
	if err != nil {
		return err
	}
	r, err := n.snaps.Open(index)
	if err != nil {
		return replyError("ERR copying failed: " + err.Error())
	}
	defer r.Close()
	// Which version it takes is known when all of it was seen.
	if kv.ExportRDB(io.Discard, r.Restore, 10) == nil {
		return kv.ExportRDB(w, r.Restore, 10)
	}
	return kv.ExportRDB(w, r.Restore, 12)
}

// BackupRead returns the bytes from offset on, at most a MiB; none at the end.
func (n *Node) BackupRead(index uint64, offset int64) ([]byte, error) {
	b, err := n.backupAt(index)
	if err != nil {
		return nil, replyError(fmt.Sprintf("ERR there is no backup of index %d any more; begin again", index))
	}
	if offset < 0 || offset > b.info.Size {
		return nil, replyError("ERR offset out of range")
	}
	p := make([]byte, min(backupPiece, b.info.Size-offset))
	if got, err := b.raw.ReadAt(p, offset); got < len(p) {
		return nil, replyError(fmt.Sprintf("ERR reading the backup: %v", err))
	}
	return p, nil
}

// backupAt finds or opens the file, and puts off its closing.
func (n *Node) backupAt(index uint64) (*backup, error) {
	n.backupMu.Lock()
	defer n.backupMu.Unlock()
	if b := n.backups[index]; b != nil {
		b.drop.Reset(backupIdle)
		return b, nil
	}
	if len(n.backups) >= backupLimit {
		return nil, fmt.Errorf("%d backups are being read already", backupLimit)
	}
	if n.ctx.Err() != nil {
		return nil, errStopped
	}
	r, err := n.snaps.Open(index)
	if err != nil {
		return nil, err
	}
	if n.backups == nil {
		n.backups = make(map[uint64]*backup)
	}
	b := &backup{r: r, info: r.Info(), raw: r.RawAt()}
	b.drop = time.AfterFunc(backupIdle, func() { n.dropBackup(index) })
	n.backups[index] = b
	return b, nil
}

func (n *Node) dropBackup(index uint64) {
	n.backupMu.Lock()
	defer n.backupMu.Unlock()
	if b := n.backups[index]; b != nil {
		delete(n.backups, index)
		b.drop.Stop()
		_ = b.r.Close()
	}
}

func (n *Node) dropBackups() {
	n.backupMu.Lock()
	var all []uint64
	for index := range n.backups {
		all = append(all, index)
	}
	n.backupMu.Unlock()
	for _, index := range all {
		n.dropBackup(index)
	}
}
