package resp

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

func raftHandlers() map[string]handler {
	return map[string]handler{
		"raft|status":   {run: raftStatus},
		"raft|members":  {run: raftMembers},
		"raft|add":      {run: raftAdd, alone: true},
		"raft|remove":   {run: raftChange(Backend.Remove), alone: true},
		"raft|promote":  {run: raftChange(Backend.Promote), alone: true},
		"raft|transfer": {run: raftTransfer, alone: true},
		"raft|priority": {run: raftPriority, alone: true},
		"raft|readmode": {run: raftReadMode, alone: true},
		"raft|snapshot": {run: raftSnapshot, alone: true},
		"raft|digest":   {run: raftDigest, alone: true},
		"raft|backup":   {run: raftBackup, alone: true},
		"raft|help":     help("raft"),
		"failover":      {run: cmdFailover, alone: true},
	}
}

func raftStatus(s *session, _ [][]byte, out *kv.Reply) {
	st := s.srv.backend.Status()
	fields := s.srv.raftFields(&st)
	out.Map(len(fields))
	for _, f := range fields {
		out.BulkString(f.name)
		out.BulkString(f.value)
	}
}

// raftMembers is one map per member, in the order of the configuration.
func raftMembers(s *session, _ [][]byte, out *kv.Reply) {
	st := s.srv.backend.Status()
	out.Array(len(st.Members))
	for _, m := range st.Members {
		out.Map(9)
		out.BulkString("id")
		out.Int(int64(m.ID))
		out.BulkString("peer_addr")
		out.BulkString(m.PeerAddr)
		out.BulkString("client_addr")
		out.BulkString(m.ClientAddr)
		out.BulkString("voter")
		out.Bool(m.Voter)
		out.BulkString("leader")
		out.Bool(m.ID == st.LeaderID)
		out.BulkString("match")
		out.Int(int64(m.Match))
		out.BulkString("active")
		out.Bool(m.Active || m.Self)
		out.BulkString("state")
		out.BulkString(m.State)
		out.BulkString("priority")
		out.Int(int64(m.Priority))
	}
}

// admin runs a blocking operation of the node and answers OK.
func (s *session) admin(run func(ctx context.Context) error) {
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		if err := run(ctx); err != nil {
			out.Error(err.Error())
			return
		}
		out.OK()
	})
}

func raftAdd(s *session, args [][]byte, out *kv.Reply) {
	id, ok := nodeID(args[2])
	if !ok {
		out.Error(errNodeID)
		return
	}
	addr := string(args[3])
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
		out.Error("ERR the peer address must be host:port")
		return
	}
	s.admin(func(ctx context.Context) error { return s.srv.backend.AddLearner(ctx, id, addr) })
}

const errNodeID = "ERR the node id must be an integer from 1 to 8191"

// nodeID: ids of clients carry it above 40 bits and must stay exact in a double.
func nodeID(arg []byte) (uint64, bool) {
	n, ok := parseLen(arg)
	return uint64(n), ok && n > 0 && n < 8192
}

func raftChange(op func(Backend, context.Context, uint64) error) func(*session, [][]byte, *kv.Reply) {
	return func(s *session, args [][]byte, out *kv.Reply) {
		id, ok := nodeID(args[2])
		if !ok {
			out.Error(errNodeID)
			return
		}
		s.admin(func(ctx context.Context) error { return op(s.srv.backend, ctx, id) })
	}
}

// raftTransfer is RAFT TRANSFER [id]; without id the leader chooses.
func raftTransfer(s *session, args [][]byte, out *kv.Reply) {
	to := uint64(0)
	if len(args) > 3 {
		out.Error(kv.WrongArgs("raft|transfer"))
		return
	}
	if len(args) == 3 {
		id, ok := nodeID(args[2])
		if !ok {
			out.Error(errNodeID)
			return
		}
		to = id
	}
	s.admin(func(ctx context.Context) error { return s.srv.backend.Transfer(ctx, to) })
}

// raftPriority is RAFT PRIORITY id number.
func raftPriority(s *session, args [][]byte, out *kv.Reply) {
	id, ok := nodeID(args[2])
	if !ok {
		out.Error(errNodeID)
		return
	}
	n, err := strconv.ParseInt(string(cut(args[3], 16)), 10, 32)
	if err != nil {
		out.Error(errNotInt)
		return
	}
	s.admin(func(ctx context.Context) error { return s.srv.backend.SetPriority(ctx, id, int32(n)) })
}

// raftReadMode is RAFT READMODE quorum|lease.
func raftReadMode(s *session, args [][]byte, out *kv.Reply) {
	mode := strings.ToLower(string(cut(args[2], 16)))
	if mode != "quorum" && mode != "lease" {
		out.Error("ERR the read mode must be quorum or lease")
		return
	}
	s.admin(func(ctx context.Context) error { return s.srv.backend.SetReadMode(ctx, mode) })
}

func raftSnapshot(s *session, _ [][]byte, _ *kv.Reply) {
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		index, err := s.srv.backend.Snapshot(ctx)
		if err != nil {
			out.Error(err.Error())
			return
		}
		out.Int(int64(index))
	})
}

func raftDigest(s *session, _ [][]byte, _ *kv.Reply) {
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		index, digest, err := s.srv.backend.Digest(ctx)
		if err != nil {
			out.Error(err.Error())
			return
		}
		out.Array(2)
		out.Int(int64(index))
		out.BulkString(digest)
	})
}

// cmdFailover is Redis's FAILOVER [TO host port [FORCE]] [TIMEOUT ms] as far as it
// makes sense: a planned transfer, to the member with that client address.
func cmdFailover(s *session, args [][]byte, out *kv.Reply) {
	to := uint64(0)
	for i := 1; i < len(args); {
		switch strings.ToLower(string(cut(args[i], 16))) {
		case "to":
			if i+2 >= len(args) {
				out.Error(errSyntax)
				return
			}
			to = s.memberAt(net.JoinHostPort(string(args[i+1]), string(args[i+2])))
			if to == 0 {
				out.Error("ERR FAILOVER target HOST and PORT is not a replica.")
				return
			}
			i += 3
		case "force":
			i++
		case "timeout":
			if i+1 >= len(args) {
				out.Error(errSyntax)
				return
			}
			i += 2
		case "abort":
			out.Error("ERR No failover in progress.")
			return
		default:
			out.Error(errSyntax)
			return
		}
	}
	s.admin(func(ctx context.Context) error { return s.srv.backend.Transfer(ctx, to) })
}

func (s *session) memberAt(addr string) uint64 {
	for _, m := range s.srv.backend.Status().Members {
		if m.ClientAddr == addr && !m.Self {
			return m.ID
		}
	}
	return 0
}
