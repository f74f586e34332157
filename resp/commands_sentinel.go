package resp

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// On the Sentinel listener every node answers as one of the Sentinels of one master,
// the leader, whose replicas are the other members. What real Sentinels agree on by
// votes of their own the log's leader election has decided already.

// sentinelRow is SENTINEL's: other listeners do not know the command.
var sentinelRow = &kv.Command{Name: "sentinel", Group: "sentinel", Since: "2.8.4", Arity: -2,
	Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript, Summary: "Answers as a Sentinel."}

// sentinelKnows are the other commands of a Sentinel.
var sentinelKnows = map[string]bool{
	"ping": true, "auth": true, "hello": true, "info": true, "role": true, "client": true, "command": true, "acl": true,
	"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true, "publish": true,
	"reset": true, "quit": true, "shutdown": true,
}

// sentinelCommand is one subcommand of SENTINEL. If named, its first argument is the
// master's name.
type sentinelCommand struct {
	minArgs, maxArgs int // as clusterCommand
	named            bool
	run              func(s *session, args [][]byte, out *kv.Reply)
}

var sentinelCommands map[string]sentinelCommand

func init() {
	fixed := sentinelCommand{2, 0, false, func(_ *session, _ [][]byte, out *kv.Reply) {
		out.Error("ERR what is watched over is the cluster itself; members come and go by RAFT ADD and RAFT REMOVE")
	}}
	ok := func(_ *session, _ [][]byte, out *kv.Reply) { out.OK() }
	sentinelCommands = map[string]sentinelCommand{
		"get-master-addr-by-name": {3, 3, false, sentinelMasterAddr},
		"masters":                 {2, 2, false, sentinelMasters},
		"master":                  {3, 3, true, sentinelMaster},
		"replicas":                {3, 3, true, sentinelReplicas},
		"slaves":                  {3, 3, true, sentinelReplicas},
		"sentinels":               {3, 3, true, sentinelSentinels},
		"ckquorum":                {3, 3, true, sentinelCheckQuorum},
		"failover":                {3, 3, true, sentinelFailover},
		"is-master-down-by-addr":  {6, 6, false, sentinelIsMasterDown},
		"myid": {2, 2, false, func(s *session, _ [][]byte, out *kv.Reply) {
			st := s.status()
			out.BulkString(memberID(&st, "sentinel", st.ID))
		}},
		"reset": {3, 3, false, func(s *session, args [][]byte, out *kv.Reply) {
			n := int64(0)
			if kv.MatchGlob(args[2], []byte(s.srv.opt.MasterName), false) {
				n = 1 // there is nothing to forget: what is known is the membership
			}
			out.Int(n)
		}},
		"flushconfig": {2, 2, false, ok}, "pending-scripts": {2, 2, false, emptyArray},
		"info-cache": {2, 0, false, emptyArray},
		"monitor":    fixed, "remove": fixed, "set": fixed, "config": fixed, "simulate-failure": fixed, "debug": fixed,
		"help": {2, 2, false, sentinelHelp},
	}
}

// resolveForSentinel is resolve on the Sentinel listener.
func resolveForSentinel(args [][]byte) (*kv.Command, *handler, string) {
	word := strings.ToLower(string(cut(args[0], 32)))
	switch {
	case word == "publish" && len(args) == 3:
		return lookup(args[0]), sentinelPublish, ""
	case sentinelKnows[word]:
		return resolve(args)
	case word != "sentinel":
		return nil, nil, unknownCommand(args)
	case len(args) < 2:
		return nil, nil, kv.WrongArgs("sentinel")
	}
	name := strings.ToLower(string(cut(args[1], 32)))
	c, known := sentinelCommands[name]
	switch {
	case !known:
		return nil, nil, unknownSubcommand("sentinel", args[1])
	case len(args) < c.minArgs, c.maxArgs > 0 && len(args) > c.maxArgs:
		return nil, nil, kv.WrongArgs("sentinel|" + name)
	}
	return sentinelRow, &handler{run: func(s *session, args [][]byte, out *kv.Reply) {
		if c.named && string(args[2]) != s.srv.opt.MasterName {
			out.Error("ERR No such master with that name")
			return
		}
		c.run(s, args, out)
	}, alone: true}, ""
}

var sentinelPublish = &handler{run: func(_ *session, args [][]byte, out *kv.Reply) {
	if string(args[1]) != "__sentinel__:hello" {
		out.Error("ERR Only HELLO messages are accepted by Sentinel instances.")
		return
	}
	out.Int(1) // real Sentinels find us, we do not need them
}}

// master is the leader; while there is none, the last one this node knew, as Sentinels
// go on naming a master that is down.
func (s *Server) master(st *Status) (m *Member, down bool) {
	if m := st.leader(); m != nil {
		s.lastMaster.Store(m.ID)
		return m, false
	}
	for i := range st.Members {
		if st.Members[i].ID == s.lastMaster.Load() {
			return &st.Members[i], true
		}
	}
	return nil, true
}

func sentinelMasterAddr(s *session, args [][]byte, out *kv.Reply) {
	st := s.status()
	m, _ := s.srv.master(&st)
	if m == nil || string(args[2]) != s.srv.opt.MasterName {
		out.NullArray()
		return
	}
	host, port := splitAddr(m.ClientAddr)
	out.Array(2)
	out.BulkString(host)
	out.BulkString(port)
}

// instanceFields are what Sentinels tell of every instance.
func (s *session) instanceFields(name, addr, id, flags string, down bool) (f infoFields) {
	host, port := splitAddr(addr)
	f.str("name", name)
	f.str("ip", host)
	f.str("port", port)
	f.str("runid", id)
	f.str("flags", flags)
	f.zero("link-pending-commands")
	f.int("link-refcount", 1)
	f.zero("last-ping-sent", "last-ok-ping-reply", "last-ping-reply")
	after := s.srv.opt.Config["election-timeout"]
	f.str("down-after-milliseconds", downAfter(after))
	if down {
		f.str("s-down-time", "1")
	}
	return f
}

// downAfter is the election timeout in ms.
func downAfter(d string) string {
	if n, ok := strings.CutSuffix(d, "ms"); ok {
		return n
	}
	if n, ok := strings.CutSuffix(d, "s"); ok {
		if f, err := strconv.ParseFloat(n, 64); err == nil {
			return strconv.FormatInt(int64(f*1000), 10)
		}
	}
	return "500"
}

func (s *session) masterFields(st *Status, m *Member, down bool) (f infoFields) {
	flags, role := "master", "master"
	if down {
		flags = "s_down,o_down,master"
	}
	f = s.instanceFields(s.srv.opt.MasterName, m.ClientAddr, memberID(st, "node", m.ID), flags, down)
	f.zero("info-refresh")
	f.str("role-reported", role)
	f.zero("role-reported-time")
	f.uint("config-epoch", st.Term)
	f.int("num-slaves", int64(len(st.Members)-1))
	f.int("num-other-sentinels", int64(len(st.sentinels())))
	f.int("quorum", int64(st.quorum()))
	f.int("failover-timeout", 60000)
	f.int("parallel-syncs", 1)
	return f
}

// quorum is how many voters make a majority.
func (st *Status) quorum() int { return st.voters()/2 + 1 }

func (st *Status) voters() (n int) {
	for i := range st.Members {
		if st.Members[i].Voter {
			n++
		}
	}
	return n
}

// sentinels are the other members that answer as Sentinels.
func (st *Status) sentinels() (list []*Member) {
	for i := range st.Members {
		if m := &st.Members[i]; m.SentinelAddr != "" && !m.Self {
			list = append(list, m)
		}
	}
	return list
}

func (f infoFields) reply(out *kv.Reply) {
	out.Map(len(f))
	for _, x := range f {
		out.BulkString(x.name)
		out.BulkString(x.value)
	}
}

func sentinelMaster(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	m, down := s.srv.master(&st)
	if m == nil {
		out.Error("ERR No such master with that name")
		return
	}
	s.masterFields(&st, m, down).reply(out)
}

func sentinelMasters(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	m, down := s.srv.master(&st)
	if m == nil {
		out.Array(0)
		return
	}
	out.Array(1)
	s.masterFields(&st, m, down).reply(out)
}

func sentinelReplicas(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	master, noMaster := s.srv.master(&st)
	if master == nil {
		out.Array(0)
		return
	}
	host, port := splitAddr(master.ClientAddr)
	out.Array(len(st.Members) - 1)
	for i := range st.Members {
		m := &st.Members[i]
		if m.ID == master.ID {
			continue
		}
		flags, link, down := "slave", "ok", st.down(m)
		if down {
			flags = "s_down,slave,disconnected"
		}
		if down || noMaster {
			link = "err"
		}
		f := s.instanceFields(bareAddr(m.ClientAddr), m.ClientAddr, memberID(&st, "node", m.ID), flags, down)
		f.zero("info-refresh")
		f.str("role-reported", "slave")
		f.zero("role-reported-time", "master-link-down-time")
		f.str("master-link-status", link)
		f.str("master-host", host)
		f.str("master-port", port)
		f.int("slave-priority", 100)
		f.uint("slave-repl-offset", max(m.Match, 1))
		f.int("replica-announced", 1)
		f.reply(out)
	}
}

func sentinelSentinels(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	list := st.sentinels()
	out.Array(len(list))
	leader := "?"
	if m := st.leader(); m != nil {
		leader = memberID(&st, "sentinel", m.ID)
	}
	for _, m := range list {
		flags, down := "sentinel", st.down(m)
		if down {
			flags = "s_down,sentinel,disconnected"
		}
		id := memberID(&st, "sentinel", m.ID)
		f := s.instanceFields(id, m.SentinelAddr, id, flags, down)
		f.zero("last-hello-message")
		f.str("voted-leader", leader)
		f.uint("voted-leader-epoch", st.Term)
		f.reply(out)
	}
}

// sentinelCheckQuorum answers from the voters this node is connected to.
func sentinelCheckQuorum(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	usable := 0
	for i := range st.Members {
		if m := &st.Members[i]; m.Voter && !st.down(m) {
			usable++
		}
	}
	if usable < st.quorum() {
		out.Error(fmt.Sprintf("NOQUORUM %d usable Sentinels. Not enough available Sentinels to reach the specified quorum "+
			"for this master. Not enough available Sentinels to reach the majority and authorize a failover", usable))
		return
	}
	out.Status(fmt.Sprintf("OK %d usable Sentinels. Quorum and failover authorization can be reached", usable))
}

// sentinelFailover is SENTINEL FAILOVER: somebody else is to lead.
func sentinelFailover(s *session, _ [][]byte, _ *kv.Reply) {
	s.admin(func(ctx context.Context) error { return s.srv.backend.Transfer(ctx, 0) })
}

// sentinelIsMasterDown is IS-MASTER-DOWN-BY-ADDR ip port epoch runid. Votes of Sentinels
// decide nothing here: none is given.
func sentinelIsMasterDown(s *session, args [][]byte, out *kv.Reply) {
	st := s.status()
	m, down := s.srv.master(&st)
	if m == nil || bareAddr(m.ClientAddr) != string(args[2])+":"+string(args[3]) {
		down = false
	}
	out.Array(3)
	if down {
		out.Int(1)
	} else {
		out.Int(0)
	}
	out.BulkString("*")
	out.Int(0)
}

func sentinelHelp(_ *session, _ [][]byte, out *kv.Reply) {
	names := make([]string, 0, len(sentinelCommands))
	for name := range sentinelCommands {
		names = append(names, name)
	}
	sort.Strings(names)
	out.Array(1 + len(names))
	out.Status("SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, name := range names {
		out.Status(strings.ToUpper(name))
	}
}

// bareAddr is an address as Sentinels write it: no brackets.
func bareAddr(addr string) string {
	host, port := splitAddr(addr)
	return host + ":" + port
}

// sentinelInfo is the section Sentinel of INFO.
func (s *Server) sentinelInfo(st *Status, _ *kv.Stats) (f infoFields) {
	f.int("sentinel_masters", 1)
	f.zero("sentinel_tilt")
	f.str("sentinel_tilt_since_seconds", "-1")
	f.zero("sentinel_running_scripts", "sentinel_scripts_queue_length", "sentinel_simulate_failure_flags")
	m, down := s.master(st)
	status, addr := "ok", ":0"
	if down {
		status = "odown"
	}
	if m != nil {
		addr = bareAddr(m.ClientAddr)
	}
	f.str("master0", fmt.Sprintf("name=%s,status=%s,address=%s,slaves=%d,sentinels=%d",
		s.opt.MasterName, status, addr, len(st.Members)-1, len(st.sentinels())+1))
	return f
}

// sentinelRole is ROLE of a Sentinel.
func (s *session) sentinelRole(out *kv.Reply) {
	out.Array(2)
	out.BulkString("sentinel")
	out.Array(1)
	out.BulkString(s.srv.opt.MasterName)
}
