package resp

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

const (
	noClusterHere = "ERR This instance has cluster support disabled"
	noModules     = "ERR Error loading the extension. Please check the server logs."
)

func serverHandlers() map[string]handler {
	const useRaft = "ERR replication is by consensus here; use RAFT ADD and RAFT REMOVE"
	return map[string]handler{
		"info":     {run: cmdInfo},
		"time":     {run: cmdTime},
		"role":     {run: cmdRole},
		"migrate":  {run: cmdMigrate, alone: true},
		"wait":     {run: cmdWait},
		"waitaof":  {run: cmdWaitAOF},
		"lolwut":   {run: cmdLolwut},
		"lastsave": {run: cmdLastSave},
		"save":     {run: cmdSnapshotNow, alone: true},
		"bgsave":   {run: cmdBGSave("Background saving started", "ERR Background save already in progress")},
		"bgrewriteaof": {
			run: cmdBGSave("Background append only file rewriting started", "ERR Background append only file rewriting already in progress"),
		},
		"cluster":     refused(noClusterHere),
		"replicaof":   refused(useRaft),
		"slaveof":     refused(useRaft),
		"shutdown":    {run: cmdShutdown, alone: true},
		"monitor":     {run: cmdMonitor},
		"module|list": {run: emptyArray, anywhere: true},
		"module|help": help("module"),
		"module|load": refused(noModules), "module|loadex": refused(noModules), "module|unload": refused(noModules),
		"memory|doctor": {run: memoryDoctor},
		"memory|purge":  {run: memoryPurge},
		"memory|help":   help("memory"), "memory|malloc-stats": {run: memoryMallocStats}, "memory|stats": {run: memoryStats},
		"asking": refused(noClusterHere),
	}
}

func emptyArray(_ *session, _ [][]byte, out *kv.Reply) { out.Array(0) }
func replyOK(_ *session, _ [][]byte, out *kv.Reply)    { out.OK() }

func cmdTime(s *session, _ [][]byte, out *kv.Reply) {
	now := time.Now()
	out.Array(2)
	out.BulkInt(now.Unix())
	out.BulkInt(int64(now.Nanosecond() / 1000))
}

func cmdLolwut(s *session, _ [][]byte, out *kv.Reply) {
	out.Verbatim("txt", []byte("one log, many hands:\n"+
		"what the most of them have written\nstays when one lets go\n\nrkv ver. "+s.srv.opt.Version+"\n"))
}

// cmdLastSave is when everything this node holds was last in a snapshot, Unix s.
func cmdLastSave(s *session, _ [][]byte, out *kv.Reply) { out.Int(s.srv.lastSave()) }

// lastSave is the time of the newest snapshot; of this process's start, when there is
// none: what was there then has been read from the disk.
func (s *Server) lastSave() int64 {
	if at := s.backend.Status().SavedAt; at != 0 {
		return at / 1000
	}
	return s.started.Unix()
}

func cmdSnapshotNow(s *session, _ [][]byte, _ *kv.Reply) {
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		if _, err := s.srv.backend.Snapshot(ctx); err != nil {
			out.Error(err.Error())
			return
		}
		out.OK()
	})
}

// cmdBGSave is BGSAVE [SCHEDULE] and BGREWRITEAOF: it starts a snapshot and does not
// wait for it. The log below a snapshot is let go, which is what rewriting it means.
func cmdBGSave(status, busy string) func(*session, [][]byte, *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		srv := s.srv
		switch {
		case len(args) > 2, len(args) == 2 && !equalFold(args[1], "schedule"):
			out.Error(errSyntax)
			return
		case srv.backend.Status().Saving:
			out.Error(busy)
			return
		}
		start := srv.blocking(func(ctx context.Context, _ *kv.Reply) {
			if _, err := srv.backend.Snapshot(ctx); err != nil {
				srv.log.Warn("snapshot asked for by a client failed", "error", err)
			}
		})
		ctx, cancel := context.WithTimeout(srv.ctx, snapshotTimeout)
		start(ctx, func(func(*kv.Reply)) { cancel() })
		out.Status(status)
	}
}

// snapshotTimeout bounds a snapshot nobody waits for.
const snapshotTimeout = 10 * time.Minute

// cmdRole answers as Redis does: clients route by it, so it must be the truth.
func cmdRole(s *session, _ [][]byte, out *kv.Reply) {
	if s.persona == sentinelPersona {
		s.sentinelRole(out)
		return
	}
	st := s.status()
	if st.Role == "leader" {
		var replicas []Member
		for _, m := range st.Members {
			if !m.Self && !st.down(&m) { // clients would try them
				replicas = append(replicas, m)
			}
		}
		out.Array(3)
		out.BulkString("master")
		out.Int(int64(st.CommitIndex))
		out.Array(len(replicas))
		for _, m := range replicas {
			host, port := splitAddr(m.ClientAddr)
			out.Array(3)
			out.BulkString(host)
			out.BulkString(port)
			out.BulkInt(int64(m.Match))
		}
		return
	}
	host, port := splitAddr(st.LeaderAddr)
	n, _ := strconv.ParseInt(port, 10, 64)
	out.Array(5)
	out.BulkString("slave")
	out.BulkString(host)
	out.Int(n)
	if st.LeaderID != 0 {
		out.BulkString("connected")
	} else {
		out.BulkString("connect")
	}
	out.Int(int64(st.AppliedIndex))
}

// splitAddr returns host and port; "", "0" if the address is not known.
func splitAddr(addr string) (host, port string) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return addr, "0"
	}
	return strings.Trim(addr[:i], "[]"), addr[i+1:]
}

// cmdWait is WAIT numreplicas timeout: how many other nodes hold the connection's
// last write durably.
func cmdWait(s *session, args [][]byte, out *kv.Reply) {
	n, ok1 := parseLen(args[1])
	ms, ok2 := parseLen(args[2])
	switch {
	case !ok1 || n > 1<<20:
		out.Error(errNotInt)
		return
	case !ok2 || ms > 1<<40:
		out.Error("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		out.Error("ERR timeout is negative")
		return
	}
	index := s.lastWrite
	have := s.srv.replicasAt(index)
	if have >= int(n) || s.inExec {
		out.Int(int64(have)) // inside EXEC nothing blocks, as in Redis
		return
	}
	s.async = func(ctx context.Context, done func(func(*kv.Reply))) {
		cancel := context.CancelFunc(func() {})
		if ms > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		s.srv.backend.WaitReplicas(ctx, index, int(n), func(count int) {
			cancel()
			done(func(out *kv.Reply) { out.Int(int64(count)) })
		})
	}
}

// replicasAt counts the nodes other than the leader that are known to hold index.
func (s *Server) replicasAt(index uint64) int {
	n := 0
	for _, m := range s.backend.Status().Matches {
		if m >= index {
			n++
		}
	}
	return max(0, n-1)
}
