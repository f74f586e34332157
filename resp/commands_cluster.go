package resp

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// clusterCommand is one subcommand of CLUSTER on the cluster listener.
type clusterCommand struct {
	minArgs, maxArgs int // with CLUSTER and the name; maxArgs 0: any number
	run              func(s *session, args [][]byte, out *kv.Reply)
}

const errOneShard = "ERR all slots belong to one shard here, and members come and go by RAFT ADD and RAFT REMOVE"

var clusterCommands map[string]clusterCommand

func init() {
	refuse := clusterCommand{2, 0, func(_ *session, _ [][]byte, out *kv.Reply) { out.Error(errOneShard) }}
	ok := func(_ *session, _ [][]byte, out *kv.Reply) { out.OK() }
	clusterCommands = map[string]clusterCommand{
		"slots":  {2, 2, clusterSlots},
		"shards": {2, 2, clusterShards},
		"nodes":  {2, 2, clusterNodes},
		"info":   {2, 2, clusterInfo},
		"links":  {2, 2, clusterLinks},
		"myid": {2, 2, func(s *session, _ [][]byte, out *kv.Reply) {
			st := s.status()
			out.BulkString(memberID(&st, "node", st.ID))
		}},
		"myshardid": {2, 2, func(s *session, _ [][]byte, out *kv.Reply) {
			st := s.status()
			out.BulkString(memberID(&st, "shard", 0))
		}},
		"keyslot": {3, 3, func(_ *session, args [][]byte, out *kv.Reply) {
			out.Int(int64(keySlot(args[2])))
		}},
		"countkeysinslot":       {3, 3, clusterCountKeys},
		"getkeysinslot":         {4, 4, clusterGetKeys},
		"replicas":              {3, 3, clusterReplicas},
		"slaves":                {3, 3, clusterReplicas},
		"count-failure-reports": {3, 3, func(_ *session, _ [][]byte, out *kv.Reply) { out.Int(0) }},
		"failover":              {2, 3, clusterFailover},
		"saveconfig":            {2, 2, ok},
		"help":                  {2, 2, clusterHelp},
		"meet":                  refuse, "forget": refuse, "reset": refuse, "replicate": refuse, "addslots": refuse,
		"addslotsrange": refuse, "delslots": refuse, "delslotsrange": refuse, "flushslots": refuse,
		"setslot": refuse, "set-config-epoch": refuse, "bumpepoch": refuse,
	}
}

// noClusterHandlers refuse CLUSTER where the listener is not for cluster clients.
func noClusterHandlers() map[string]handler {
	m := make(map[string]handler)
	for _, sub := range lookup([]byte("cluster")).Sub {
		m[sub.Name] = refused(noClusterHere)
	}
	return m
}

// resolveForCluster is resolve for CLUSTER and ASKING on the cluster listener.
func resolveForCluster(args [][]byte) (*kv.Command, *handler, string) {
	row := lookup(args[0])
	if equalFold(args[0], "asking") {
		if len(args) != 1 {
			return nil, nil, kv.WrongArgs("asking")
		}
		return row, askingHandler, "" // no slot is ever on its way
	}
	if len(args) < 2 {
		return nil, nil, kv.WrongArgs("cluster")
	}
	name := strings.ToLower(string(cut(args[1], 32)))
	c, known := clusterCommands[name]
	switch {
	case !known:
		return nil, nil, unknownSubcommand("cluster", args[1])
	case len(args) < c.minArgs, c.maxArgs > 0 && len(args) > c.maxArgs:
		return nil, nil, kv.WrongArgs("cluster|" + name)
	}
	if sub := row.Subcommand(args[1]); sub != nil {
		row = sub
	}
	return row, &handler{run: c.run, alone: name == "failover" || strings.HasSuffix(name, "keysinslot")}, ""
}

var askingHandler = &handler{run: func(_ *session, _ [][]byte, out *kv.Reply) { out.OK() }, anywhere: true}

// shard is the members that cluster clients can reach, the leader first.
func (st *Status) shard() (list []*Member) {
	for i := range st.Members {
		if m := &st.Members[i]; m.ClusterAddr != "" {
			list = append(list, m)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].ID == st.LeaderID && list[j].ID != st.LeaderID })
	return list
}

// clusterView is the status as a cluster shows it: while nobody leads, the last leader
// keeps the slots, as a master that failed does until another takes over.
func (s *session) clusterView() (st Status, leaderless bool) {
	st = s.status()
	m, down := s.srv.master(&st)
	if m != nil {
		st.LeaderID = m.ID
	}
	return st, down
}

// clusterSlots is CLUSTER SLOTS: one range with the leader and those who follow it.
func clusterSlots(s *session, _ [][]byte, out *kv.Reply) {
	st, _ := s.clusterView()
	if st.leader() == nil {
		out.Array(0)
		return
	}
	var live []*Member
	for _, m := range st.shard() {
		if !st.down(m) {
			live = append(live, m)
		}
	}
	out.Array(1)
	out.Array(2 + len(live))
	out.Int(0)
	out.Int(slots - 1)
	for _, m := range live {
		host, port := splitAddr(m.ClusterAddr)
		out.Array(4)
		out.BulkString(host)
		out.Int(number(port))
		out.BulkString(memberID(&st, "node", m.ID))
		out.Array(0)
	}
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// clusterShards is CLUSTER SHARDS.
func clusterShards(s *session, _ [][]byte, out *kv.Reply) {
	st, _ := s.clusterView()
	list := st.shard()
	out.Array(1)
	out.Map(2)
	out.BulkString("slots")
	if st.leader() == nil {
		out.Array(0)
	} else {
		out.Array(2)
		out.Int(0)
		out.Int(slots - 1)
	}
	out.BulkString("nodes")
	out.Array(len(list))
	for _, m := range list {
		host, port := splitAddr(m.ClusterAddr)
		role, health := "replica", "online"
		if m.ID == st.LeaderID {
			role = "master"
		}
		if st.down(m) {
			health = "fail"
		}
		out.Map(7)
		out.BulkString("id")
		out.BulkString(memberID(&st, "node", m.ID))
		out.BulkString("port")
		out.Int(number(port))
		out.BulkString("ip")
		out.BulkString(host)
		out.BulkString("endpoint")
		out.BulkString(host)
		out.BulkString("role")
		out.BulkString(role)
		out.BulkString("replication-offset")
		out.Int(int64(m.Match))
		out.BulkString("health")
		out.BulkString(health)
	}
}

// nodeLine is a member as CLUSTER NODES shows it. The bus port is the peers'; the epoch
// is the leader's term.
func nodeLine(st *Status, m *Member) string {
	flags, of, state, ranges := "slave", "-", "connected", ""
	switch leader := st.leader(); {
	case leader == nil:
	case m.ID == leader.ID:
		flags, ranges = "master", " 0-"+strconv.Itoa(slots-1)
	default:
		of = memberID(st, "node", leader.ID)
	}
	if m.Self {
		flags = "myself," + flags
	}
	if st.down(m) {
		flags, state = flags+",fail", "disconnected"
	}
	host, port := splitAddr(m.ClusterAddr)
	_, bus := splitAddr(m.PeerAddr)
	return fmt.Sprintf("%s %s:%s@%s %s %s 0 0 %d %s%s", memberID(st, "node", m.ID), host, port, bus, flags, of,
		st.Term, state, ranges)
}

func clusterNodes(s *session, _ [][]byte, out *kv.Reply) {
	st, _ := s.clusterView()
	var b strings.Builder
	for _, m := range st.shard() {
		b.WriteString(nodeLine(&st, m) + "\n")
	}
	out.Verbatim("txt", []byte(b.String()))
}

// clusterReplicas is CLUSTER REPLICAS node-id.
func clusterReplicas(s *session, args [][]byte, out *kv.Reply) {
	st, _ := s.clusterView()
	var of *Member
	var lines []string
	for _, m := range st.shard() {
		if memberID(&st, "node", m.ID) == strings.ToLower(string(args[2])) {
			of = m
		} else if m.ID != st.LeaderID {
			lines = append(lines, nodeLine(&st, m))
		}
	}
	switch {
	case of == nil:
		out.Error("ERR Unknown node " + string(cut(args[2], 128)))
	case of.ID != st.LeaderID:
		out.Error("ERR The specified node is not a master")
	default:
		out.Array(len(lines))
		for _, l := range lines {
			out.BulkString(l)
		}
	}
}

func clusterInfo(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	var f infoFields
	state, assigned, masters := "fail", int64(0), int64(0)
	if st.leader() != nil {
		state, assigned, masters = "ok", slots, 1
	}
	f.str("cluster_state", state)
	f.int("cluster_slots_assigned", assigned)
	f.int("cluster_slots_ok", assigned)
	f.zero("cluster_slots_pfail", "cluster_slots_fail")
	f.int("cluster_known_nodes", int64(len(st.Members)))
	f.int("cluster_size", masters)
	f.uint("cluster_current_epoch", st.Term)
	f.uint("cluster_my_epoch", st.Term)
	f.zero("cluster_stats_messages_sent", "cluster_stats_messages_received", "total_cluster_links_buffer_limit_exceeded")
	var b strings.Builder
	for _, x := range f {
		b.WriteString(x.name + ":" + x.value + "\r\n")
	}
	out.Verbatim("txt", []byte(b.String()))
}

// clusterLinks is CLUSTER LINKS: the connections between this node and the others.
func clusterLinks(s *session, _ [][]byte, out *kv.Reply) {
	st := s.status()
	var up []*Member
	for _, m := range st.shard() {
		if m.Connected && !m.Self {
			up = append(up, m)
		}
	}
	out.Array(2 * len(up))
	for _, m := range up {
		for _, direction := range []string{"to", "from"} {
			out.Map(6)
			out.BulkString("direction")
			out.BulkString(direction)
			out.BulkString("node")
			out.BulkString(memberID(&st, "node", m.ID))
			for _, name := range []string{"create-time", "events", "send-buffer-allocated", "send-buffer-used"} {
				out.BulkString(name)
				if name == "events" {
					out.BulkString("r")
				} else {
					out.Int(0)
				}
			}
		}
	}
}

// clusterFailover is CLUSTER FAILOVER [FORCE|TAKEOVER]: this node is to lead.
func clusterFailover(s *session, args [][]byte, out *kv.Reply) {
	st := s.status()
	switch {
	case len(args) == 3 && !equalFold(args[2], "force") && !equalFold(args[2], "takeover"):
		out.Error(errSyntax)
	case st.Role == "leader":
		out.Error("ERR You should send CLUSTER FAILOVER to a replica")
	default:
		s.admin(func(ctx context.Context) error { return s.srv.backend.Transfer(ctx, st.ID) })
	}
}

func clusterHelp(_ *session, _ [][]byte, out *kv.Reply) {
	names := make([]string, 0, len(clusterCommands))
	for name := range clusterCommands {
		names = append(names, name)
	}
	sort.Strings(names)
	out.Array(1 + len(names))
	out.Status("CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, name := range names {
		out.Status(strings.ToUpper(name))
	}
}

func clusterCountKeys(s *session, args [][]byte, out *kv.Reply) {
	slot, ok := parseSlot(args[2], out)
	if !ok {
		return
	}
	s.keysInSlot(slot, 1<<40, func(keys [][]byte, out *kv.Reply) { out.Int(int64(len(keys))) })
}

func clusterGetKeys(s *session, args [][]byte, out *kv.Reply) {
	slot, ok := parseSlot(args[2], out)
	if !ok {
		return
	}
	most, ok := parseLen(args[3])
	if !ok || most < 0 {
		out.Error("ERR Invalid number of keys")
		return
	}
	s.keysInSlot(slot, most, func(keys [][]byte, out *kv.Reply) {
		out.Array(len(keys))
		for _, k := range keys {
			out.Bulk(k)
		}
	})
}

func parseSlot(arg []byte, out *kv.Reply) (int, bool) {
	n, ok := parseLen(arg)
	if !ok || n < 0 || n >= slots {
		out.Error("ERR Invalid slot")
		return 0, false
	}
	return int(n), true
}

// keysInSlot looks at every key of the database: nothing but this asks for slots, which
// is not worth an index.
func (s *session) keysInSlot(slot int, most int64, answer func(keys [][]byte, out *kv.Reply)) {
	db, scan := s.db, kv.Lookup([]byte("scan"))
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		passed := make(chan error, 1)
		s.srv.backend.ReadBarrier(func(err error) { passed <- err })
		s.srv.backend.Flush()
		if err := <-passed; err != nil {
			out.Error(err.Error())
			return
		}
		var keys [][]byte
		seen := make(map[string]bool)
		for cursor := []byte("0"); ctx.Err() == nil; {
			var c kv.Chunk
			c.AppendSelect(db)
			c.AddRead(scan, [][]byte{[]byte("scan"), cursor, []byte("count"), []byte("1000")})
			s.srv.backend.Store().Read(&c, 0)
			_, page := redcon.ReadNextRESP(c.Reply.Bytes())
			next, found := scanPage(page)
			for _, k := range found {
				if keySlot(k) == slot && !seen[string(k)] && int64(len(keys)) < most {
					seen[string(k)] = true
					keys = append(keys, k)
				}
			}
			if cursor = next; len(next) == 0 || string(next) == "0" {
				break
			}
		}
		answer(keys, out)
	})
}

// scanPage takes SCAN's reply apart.
func scanPage(r redcon.RESP) (next []byte, keys [][]byte) {
	part := 0
	r.ForEach(func(x redcon.RESP) bool {
		if part++; part == 1 {
			next = append(next, x.Bytes()...)
			return true
		}
		x.ForEach(func(k redcon.RESP) bool {
			keys = append(keys, append([]byte(nil), k.Bytes()...))
			return true
		})
		return true
	})
	return next, keys
}
