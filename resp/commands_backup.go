package resp

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/rkvdb/rkv/kv"
)

// backuper is the part of a Backend that `rkv backup` needs.
type backuper interface {
	// Backup makes a snapshot that holds everything acknowledged before the call, and
	// names it.
	Backup(ctx context.Context) (index uint64, size int64, hash [32]byte, err error)
	// BackupRead returns the snapshot's bytes from offset on, at most a MiB.
	BackupRead(index uint64, offset int64) ([]byte, error)
}

// raftBackup is RAFT BACKUP: [index, bytes, SHA-256 of the contents], and
// RAFT BACKUP index offset: the next bytes of that file, none at its end. Pieces
// keep a backup of any size out of memory, and any client can fetch it.
func raftBackup(s *session, args [][]byte, out *kv.Reply) {
	b, ok := s.srv.backend.(backuper)
	if !ok {
		out.Error("ERR backups are not available here")
		return
	}
	switch len(args) {
	case 2:
		s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
			index, size, hash, err := b.Backup(ctx)
			if err != nil {
				out.Error(err.Error())
				return
			}
			out.Array(3)
			out.Int(int64(index))
			out.Int(size)
			out.BulkString(hex.EncodeToString(hash[:]))
		})
	case 4:
		index, err := strconv.ParseUint(string(cut(args[2], 20)), 10, 64)
		offset, err2 := strconv.ParseInt(string(cut(args[3], 20)), 10, 64)
		if err != nil || err2 != nil {
			out.Error("ERR value is not an integer or out of range")
			return
		}
		s.async = s.srv.blocking(func(_ context.Context, out *kv.Reply) {
			p, err := b.BackupRead(index, offset)
			if err != nil {
				out.Error(err.Error())
				return
			}
			out.Bulk(p)
		})
	default:
		out.Error(kv.WrongArgs("raft|backup"))
	}
}
