package resp

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// infoField is one line of INFO.
type infoField struct{ name, value string }

type infoFields []infoField

func (f *infoFields) str(name, value string) { *f = append(*f, infoField{name, value}) }
func (f *infoFields) int(name string, n int64) {
	*f = append(*f, infoField{name, strconv.FormatInt(n, 10)})
}
func (f *infoFields) uint(name string, n uint64) {
	*f = append(*f, infoField{name, strconv.FormatUint(n, 10)})
}
func (f *infoFields) zero(names ...string) {
	for _, name := range names {
		f.int(name, 0)
	}
}

// infoSection is one section of INFO. Sections and fields stand in Redis's order, with
// ours last: redis-cli takes the first line that contains a word it looks for
// (CLIENTS.md 3).
type infoSection struct {
	name string // lower case; the title has a capital
	fill func(s *Server, st *Status, data *kv.Stats) infoFields
}

var infoSections = []infoSection{
	{"server", (*Server).infoServer},
	{"clients", (*Server).infoClients},
	{"memory", (*Server).infoMemory},
	{"persistence", (*Server).infoPersistence},
	{"stats", (*Server).infoStats},
	{"replication", (*Server).infoReplication},
	{"cpu", (*Server).infoCPU},
	{"modules", func(*Server, *Status, *kv.Stats) infoFields { return nil }},
	{"commandstats", (*Server).infoCommands},
	{"errorstats", (*Server).infoErrors},
	{"latencystats", (*Server).infoLatency},
	{"cluster", func(*Server, *Status, *kv.Stats) infoFields { return infoFields{{"cluster_enabled", "0"}} }},
	{"keyspace", (*Server).infoKeyspace},
	{"raft", func(s *Server, st *Status, _ *kv.Stats) infoFields { return s.raftFields(st) }},
}

// titles that are not the name with a capital.
var infoTitles = map[string]string{"cpu": "CPU"}

func cmdInfo(s *session, args [][]byte, out *kv.Reply) {
	want := make(map[string]bool)
	all, byDefault := false, len(args) == 1
	for _, a := range args[1:] {
		name := strings.ToLower(string(cut(a, 32)))
		byDefault = byDefault || name == "default"
		all = all || name == "all" || name == "everything"
		want[name] = true
	}
	out.Verbatim("txt", []byte(s.srv.info(s, func(name string) bool {
		return all || want[name] || byDefault && name != "commandstats" && name != "latencystats"
	})))
}

func (s *Server) info(of *session, want func(section string) bool) string {
	st, data := of.status(), s.backend.Store().Stats()
	var b strings.Builder
	sections := infoSections
	if of.persona == sentinelPersona {
		sections = sentinelSections
	}
	for _, sec := range sections {
		if !want(sec.name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		title := infoTitles[sec.name]
		if title == "" {
			title = strings.ToUpper(sec.name[:1]) + sec.name[1:]
		}
		b.WriteString("# " + title + "\r\n")
		for _, f := range sec.fill(s, &st, &data) {
			b.WriteString(f.name + ":" + s.infoValue(of.persona, f) + "\r\n")
		}
	}
	return b.String()
}

// sentinelSections are those of a Sentinel.
var sentinelSections = []infoSection{
	{"server", (*Server).infoServer},
	{"clients", (*Server).infoClients},
	{"stats", (*Server).infoStats},
	{"cpu", (*Server).infoCPU},
	{"sentinel", (*Server).sentinelInfo},
}

// infoValue is a field's value on the listener.
func (s *Server) infoValue(p persona, f infoField) string {
	switch {
	case p == plainPersona:
	case f.name == "redis_mode":
		return p.mode()
	case f.name == "tcp_port":
		_, port := splitAddr(s.listeners[p])
		return port
	case f.name == "cluster_enabled" && p == clusterPersona:
		return "1"
	}
	return f.value
}

func (s *Server) infoServer(st *Status, _ *kv.Stats) (f infoFields) {
	up := int64(time.Since(s.started).Seconds())
	_, port := splitAddr(s.addr)
	exe, _ := os.Executable()
	f.str("redis_version", s.opt.RedisVersion)
	f.str("redis_git_sha1", "00000000")
	f.str("redis_git_dirty", "0")
	f.str("redis_build_id", "0")
	f.str("redis_mode", "standalone")
	f.str("os", "Linux "+runtime.GOARCH)
	f.int("arch_bits", strconv.IntSize)
	f.str("monotonic_clock", "Go runtime")
	f.str("multiplexing_api", "epoll")
	f.str("atomicvar_api", "sync/atomic")
	f.str("gcc_version", "0.0.0")
	f.int("process_id", int64(os.Getpid()))
	f.str("process_supervised", "no")
	f.str("run_id", st.RunID)
	f.str("tcp_port", port)
	f.int("server_time_usec", time.Now().UnixMicro())
	f.int("uptime_in_seconds", up)
	f.int("uptime_in_days", up/86400)
	f.int("hz", int64(time.Second/s.opt.tick))
	f.int("configured_hz", int64(time.Second/s.opt.tick))
	f.int("lru_clock", time.Now().Unix()&(1<<24-1))
	f.str("executable", exe)
	f.str("config_file", s.opt.Config["config_file"])
	f.int("io_threads_active", 0)
	f.str("rkv_version", s.opt.Version)
	return f
}

func (s *Server) infoClients(_ *Status, _ *kv.Stats) (f infoFields) {
	watching, maxIn, maxOut := int64(0), 0, 0
	for _, c := range s.clients.all() {
		v := &c.s.vis
		v.mu.Lock()
		if v.watch > 0 {
			watching++
		}
		maxIn, maxOut = max(maxIn, v.qbuf), max(maxOut, v.omem)
		v.mu.Unlock()
	}
	f.int("connected_clients", int64(s.clients.count()))
	f.zero("cluster_connections")
	f.int("maxclients", int64(s.live.maxClients()))
	f.int("client_recent_max_input_buffer", int64(maxIn))
	f.int("client_recent_max_output_buffer", int64(maxOut))
	trackers, listening := s.subs.numbers()
	f.int("blocked_clients", s.stats.blocked.Load())
	f.int("tracking_clients", int64(trackers))
	f.int("pubsub_clients", int64(listening))
	f.int("watching_clients", watching)
	f.zero("clients_in_timeout_table", "total_watched_keys")
	keys, onNoKey := 0, 0
	if s.stats.blocked.Load() > 0 { // the rows of clients who left go a moment later
		keys, onNoKey = s.backend.Store().BlockedKeys()
	}
	f.int("total_blocking_keys", int64(keys))
	f.int("total_blocking_keys_on_nokey", int64(onNoKey))
	return f
}

func (s *Server) infoMemory(_ *Status, data *kv.Stats) (f infoFields) {
	used := data.UsedMemory
	rss := residentBytes()
	peak := s.live.notePeak(used)
	bytes := func(name string, n int64) {
		f.int(name, n)
		f.str(name+"_human", humanBytes(n))
	}
	bytes("used_memory", used)
	bytes("used_memory_rss", rss)
	bytes("used_memory_peak", peak)
	f.str("used_memory_peak_perc", percent(used, peak))
	f.int("used_memory_overhead", max(0, used-data.LiveBytes))
	f.zero("used_memory_startup")
	f.int("used_memory_dataset", data.LiveBytes)
	f.str("used_memory_dataset_perc", percent(data.LiveBytes, used))
	f.int("allocator_allocated", int64(goHeapBytes())+data.UsedBytes)
	f.int("allocator_active", int64(goHeapBytes())+data.UsedBytes)
	f.int("allocator_resident", rss)
	bytes("total_system_memory", systemMemory())
	f.zero("used_memory_lua", "used_memory_vm_eval") // interpreters come and go
	f.str("used_memory_lua_human", "0B")
	f.int("used_memory_scripts_eval", int64(data.ScriptBytes))
	f.int("number_of_cached_scripts", int64(data.Scripts))
	f.int("number_of_functions", int64(data.Functions))
	f.int("number_of_libraries", int64(data.Libraries))
	f.int("used_memory_vm_functions", int64(data.FunctionBytes))
	f.int("used_memory_functions", int64(data.FunctionBytes))
	bytes("used_memory_scripts", int64(data.ScriptBytes+data.FunctionBytes))
	settings := s.backend.Store().Settings()
	bytes("maxmemory", settings.MaxMemory)
	f.str("maxmemory_policy", kv.EvictionPolicies[settings.MaxMemoryPolicy])
	f.str("mem_fragmentation_ratio", ratio(rss, used))
	f.int("mem_fragmentation_bytes", rss-used)
	f.zero("mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers",
		"mem_clients_slaves", "mem_clients_normal", "mem_cluster_links", "mem_aof_buffer")
	f.str("mem_allocator", "go+mmap")
	f.zero("active_defrag_running", "lazyfree_pending_objects")
	f.uint("lazyfreed_objects", data.LazyFreed)
	return f
}

// infoPersistence: the log is the append-only file, snapshots are the RDB saves.
func (s *Server) infoPersistence(st *Status, data *kv.Stats) (f infoFields) {
	f.zero("loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age")
	f.str("current_fork_perc", "0.00")
	f.zero("current_save_keys_processed", "current_save_keys_total")
	f.uint("rdb_changes_since_last_save", data.Dirty)
	saving, status := int64(0), "ok"
	if st.Saving {
		saving = 1
	}
	f.int("rdb_bgsave_in_progress", saving)
	f.int("rdb_last_save_time", s.lastSave())
	if st.SaveFailed {
		status = "err"
	}
	f.str("rdb_last_bgsave_status", status)
	f.str("rdb_last_bgsave_time_sec", "-1")
	f.str("rdb_current_bgsave_time_sec", "-1")
	f.uint("rdb_saves", st.Snapshots)
	f.zero("rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded")
	f.int("aof_enabled", 1)
	f.zero("aof_rewrite_in_progress", "aof_rewrite_scheduled")
	f.str("aof_last_rewrite_time_sec", "-1")
	f.str("aof_current_rewrite_time_sec", "-1")
	f.str("aof_last_bgrewrite_status", "ok")
	f.zero("aof_rewrites", "aof_rewrites_consecutive_failures")
	f.str("aof_last_write_status", "ok")
	f.zero("aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size")
	f.int("aof_current_size", st.LogBytes)
	return f
}

func (s *Server) infoStats(_ *Status, data *kv.Stats) (f infoFields) {
	c := &s.stats
	ops, in, out := c.current()
	f.uint("total_connections_received", c.connections.Load())
	f.uint("total_commands_processed", c.commands.Load())
	f.int("instantaneous_ops_per_sec", int64(ops))
	f.uint("total_net_input_bytes", c.netIn.Load())
	f.uint("total_net_output_bytes", c.netOut.Load())
	f.zero("total_net_repl_input_bytes", "total_net_repl_output_bytes")
	f.str("instantaneous_input_kbps", fmt.Sprintf("%.2f", in))
	f.str("instantaneous_output_kbps", fmt.Sprintf("%.2f", out))
	f.str("instantaneous_input_repl_kbps", "0.00")
	f.str("instantaneous_output_repl_kbps", "0.00")
	f.uint("rejected_connections", c.rejected.Load())
	f.zero("sync_full", "sync_partial_ok", "sync_partial_err")
	f.uint("expired_keys", data.Expired)
	f.str("expired_stale_perc", "0.00")
	f.zero("expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds")
	f.uint("evicted_keys", data.Evicted)
	f.uint("evicted_clients", c.clientsEvicted.Load())
	f.zero("total_eviction_exceeded_time", "current_eviction_exceeded_time")
	f.uint("keyspace_hits", data.Hits)
	f.uint("keyspace_misses", data.Misses)
	f.int("pubsub_channels", int64(s.backend.SubscriptionCount(kv.SubscribeChannel)))
	f.int("pubsub_patterns", int64(s.backend.SubscriptionCount(kv.SubscribePattern)))
	f.int("pubsubshard_channels", int64(s.backend.SubscriptionCount(kv.SubscribeShard)))
	f.zero("latest_fork_usec", "total_forks",
		"migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses",
		"active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time",
		"current_active_defrag_time")
	f.int("tracking_total_keys", s.tracked.keys.Load())
	f.int("tracking_total_items", s.tracked.items.Load())
	f.int("tracking_total_prefixes", s.tracked.prefixes.Load())
	f.zero("unexpected_error_replies")
	f.uint("total_error_replies", c.errorReplies.Load())
	f.zero("dump_payload_sanitizations")
	f.uint("total_reads_processed", c.reads.Load())
	f.uint("total_writes_processed", c.writes.Load())
	f.zero("io_threaded_reads_processed", "io_threaded_writes_processed", "reply_buffer_shrinks", "reply_buffer_expands")
	f.uint("client_query_buffer_limit_disconnections", c.queryLimit.Load())
	f.uint("client_output_buffer_limit_disconnections", c.outputLimit.Load()+c.slow.Load())
	f.uint("acl_access_denied_auth", c.authDenied.Load())
	f.zero("acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel")
	return f
}

func (s *Server) infoReplication(st *Status, _ *kv.Stats) (f infoFields) {
	leads := st.Role == "leader"
	f.str("role", roleWord(leads))
	if !leads {
		host, port := splitAddr(st.LeaderAddr)
		link := "down"
		if st.LeaderID != 0 {
			link = "up"
		}
		f.str("master_host", host)
		f.str("master_port", port)
		f.str("master_link_status", link)
		f.zero("master_last_io_seconds_ago", "master_sync_in_progress")
		f.uint("slave_read_repl_offset", st.DurableIndex)
		f.uint("slave_repl_offset", st.AppliedIndex)
		f.int("slave_priority", 100)
		f.int("slave_read_only", 0) // every node takes writes
		f.int("replica_announced", 1)
	}
	n := 0
	var lines infoFields
	for _, m := range st.Members {
		if !leads || m.Self || st.down(&m) {
			continue // as Redis, which counts who is connected
		}
		host, port := splitAddr(m.ClientAddr)
		lines.str("slave"+strconv.Itoa(n), fmt.Sprintf("ip=%s,port=%s,state=online,offset=%d,lag=%d",
			host, port, m.Match, 0))
		n++
	}
	for _, c := range s.clients.all() { // servers that follow this node
		if ip, port := splitAddr(c.s.addr.remote); c.s.isReplica() {
			lines.str("slave"+strconv.Itoa(n), fmt.Sprintf("ip=%s,port=%s,state=online,offset=%d,lag=%d", ip, port, st.AppliedIndex, 0))
			n++
		}
	}
	f.int("connected_slaves", int64(n))
	f = append(f, lines...)
	f.str("master_failover_state", "no-failover")
	f.str("master_replid", replID(st.ClusterID))
	f.str("master_replid2", strings.Repeat("0", 40))
	f.uint("master_repl_offset", st.CommitIndex)
	f.str("second_repl_offset", "-1")
	f.int("repl_backlog_active", 1)
	f.int("repl_backlog_size", st.LogBytes)
	f.uint("repl_backlog_first_byte_offset", st.FirstIndex)
	f.uint("repl_backlog_histlen", indexSpan(st.FirstIndex, st.LastIndex))
	return f
}

func indexSpan(first, last uint64) uint64 {
	if last < first {
		return 0
	}
	return last - first + 1
}

// replID is the cluster id brought to the 40 characters tools expect.
func replID(cluster string) string {
	id := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'f' {
			return r
		}
		return -1
	}, strings.ToLower(cluster))
	return (id + strings.Repeat("0", 40))[:40]
}

func (s *Server) infoCPU(*Status, *kv.Stats) (f infoFields) {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	sec := func(t syscall.Timeval) string { return fmt.Sprintf("%d.%06d", t.Sec, t.Usec) }
	f.str("used_cpu_sys", sec(ru.Stime))
	f.str("used_cpu_user", sec(ru.Utime))
	f.str("used_cpu_sys_children", "0.000000")
	f.str("used_cpu_user_children", "0.000000")
	return f
}

func (s *Server) infoErrors(*Status, *kv.Stats) (f infoFields) {
	for _, e := range s.stats.errorCodes() {
		f.str("errorstat_"+e.name, "count="+strconv.FormatUint(e.count, 10))
	}
	return f
}

func (s *Server) infoKeyspace(_ *Status, data *kv.Stats) (f infoFields) {
	for db, keys := range data.Keys {
		if keys > 0 {
			f.str("db"+strconv.Itoa(db), fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", keys, data.Expires[db]))
		}
	}
	return f
}

// raftFields are the INFO raft fields scripts depend on (DESIGN 5).
func (s *Server) raftFields(st *Status) (f infoFields) {
	voters, learners := 0, 0
	for _, m := range st.Members {
		if m.Voter {
			voters++
		} else {
			learners++
		}
	}
	f.uint("raft_id", st.ID)
	f.str("raft_role", st.Role)
	f.uint("raft_term", st.Term)
	f.uint("raft_leader_id", st.LeaderID)
	f.str("raft_leader_addr", st.LeaderAddr)
	f.uint("raft_last_index", st.LastIndex)
	f.uint("raft_durable_index", st.DurableIndex)
	f.uint("raft_commit_index", st.CommitIndex)
	f.uint("raft_applied_index", st.AppliedIndex)
	f.uint("raft_snapshot_index", st.SnapshotIndex)
	f.uint("raft_log_first_index", st.FirstIndex)
	f.int("raft_voters", int64(voters))
	f.int("raft_learners", int64(learners))
	quorum := int64(0)
	if st.QuorumOK {
		quorum = 1
	}
	f.int("raft_quorum_ok", quorum)
	f.str("raft_read_mode", st.ReadMode)
	f.str("raft_cluster_id", st.ClusterID)
	f.int("raft_stamp", st.Stamp)
	f.uint("raft_fsyncs", st.Fsyncs)
	f.uint("raft_batches", st.Batches)
	f.uint("raft_proposals", st.Proposals)
	f.int("raft_log_bytes", st.LogBytes)
	f.uint("raft_snapshots", st.Snapshots)
	f.int("raft_goroutines", int64(runtime.NumGoroutine()))
	n := 0
	for _, m := range st.Members {
		if m.Self {
			continue
		}
		lag := uint64(0)
		if m.Match > 0 && st.LastIndex > m.Match {
			lag = st.LastIndex - m.Match
		}
		f.str("raft_peer"+strconv.Itoa(n), fmt.Sprintf("id=%d,addr=%s,client_addr=%s,voter=%t,match=%d,lag=%d,active=%t,state=%s",
			m.ID, m.PeerAddr, m.ClientAddr, m.Voter, m.Match, lag, m.Active, m.State))
		n++
	}
	return f
}

func goHeapBytes() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	if samples[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return samples[0].Value.Uint64()
}

func residentBytes() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func systemMemory() int64 {
	var si syscall.Sysinfo_t
	if syscall.Sysinfo(&si) != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}

func humanBytes(n int64) string {
	const unit = 1024
	f := float64(n)
	for _, u := range []string{"B", "K", "M", "G", "T"} {
		if f < unit {
			if u == "B" {
				return strconv.FormatInt(n, 10) + u
			}
			return fmt.Sprintf("%.2f%s", f, u)
		}
		f /= unit
	}
	return fmt.Sprintf("%.2fP", f)
}

func percent(a, b int64) string {
	if b <= 0 {
		return "0.00%"
	}
	return fmt.Sprintf("%.2f%%", 100*float64(a)/float64(b))
}

func ratio(a, b int64) string {
	if b <= 0 {
		return "0.00"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
