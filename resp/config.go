package resp

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// liveConfig is what CONFIG SET may change on this node while it runs.
type liveConfig struct {
	mu      sync.Mutex
	pass    atomic.Pointer[string]
	clients atomic.Int64
	idle    atomic.Int64 // ms, 0: never

	output       liveOutputLimits
	clientMemory atomic.Pointer[clientMemory]
	trackingKeys atomic.Int64 // 0: no limit

	protected   atomic.Bool
	queryBuffer atomic.Int64
	tracking    atomic.Bool // latency-tracking
	percentiles atomic.Pointer[[]float64]
	memos       map[string]string // of parameters without a meaning here
	changed     map[string]string // by CONFIG SET, for CONFIG REWRITE
	peak        int64             // of used_memory
}

func (l *liveConfig) init(opt *Options) {
	l.pass.Store(&opt.RequirePass)
	l.clients.Store(int64(opt.MaxClients))
	l.idle.Store(opt.IdleTimeout.Milliseconds())
	l.protected.Store(!opt.UnprotectedMode)
	l.trackingKeys.Store(1_000_000)
	l.output.p.Store(defaultOutputLimits())
	l.queryBuffer.Store(int64(opt.QueryBufferLimit))
	l.tracking.Store(true)
	l.percentiles.Store(&[]float64{50, 99, 99.9})
	l.memos = make(map[string]string)
	l.changed = make(map[string]string)
}

// memo is the value a parameter was given, def if it was not.
func (l *liveConfig) memo(name, def string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v, ok := l.memos[name]; ok {
		return v
	}
	return def
}

func (l *liveConfig) setMemo(name, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memos[name] = value
}

func (l *liveConfig) password() string  { return *l.pass.Load() }
func (l *liveConfig) maxClients() int   { return int(l.clients.Load()) }
func (l *liveConfig) idleMillis() int64 { return l.idle.Load() }

func (l *liveConfig) notePeak(used int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peak = max(l.peak, used)
	return l.peak
}

func (l *liveConfig) noteChange(name, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed[name] = value
}

func (l *liveConfig) changes() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := make(map[string]string, len(l.changed))
	for k, v := range l.changed {
		m[k] = v
	}
	return m
}

// param is a parameter of this node. set is nil for one that is fixed while the
// process runs; check refuses a value before anything is changed.
type param struct {
	name  string
	get   func(s *Server) string
	check func(value string) error
	set   func(s *Server, value string)
	norm  func(value string) string // nil: as it is given
	// hidden: CONFIG GET shows it only to who asks by its full name.
	hidden bool
}

func fixed(value string) func(*Server) string { return func(*Server) string { return value } }

// params is the table of parameters that are not replicated, by name. Replicated ones
// are kv.Settings, start parameters of the node Options.Config.
var params = []param{
	{
		name:  "acllog-max-len",
		get:   func(s *Server) string { return s.live.memo("acllog-max-len", "128") },
		check: intBetween(0, 1<<31-1),
		set: func(s *Server, v string) {
			s.live.setMemo("acllog-max-len", v)
			s.aclLog.setMax(int(mustInt(v)))
		},
	},
	{name: "aclfile", get: func(s *Server) string { return s.opt.ACLFile }},
	{name: "appendfsync", get: fixed("always")},
	{
		// The log is always there; who asks for no durability gets more than that.
		name: "appendonly", get: fixed("yes"), check: isYesNo, set: func(*Server, string) {},
	},
	{name: "bind", get: func(s *Server) string { host, _ := splitAddr(s.addr); return host }},
	{
		name:  "client-output-buffer-limit",
		get:   func(s *Server) string { return s.live.output.get().String() },
		check: checkOutputLimits,
		set:   func(s *Server, v string) { s.live.output.set(v) },
	},
	{
		name:  "client-query-buffer-limit",
		get:   func(s *Server) string { return strconv.FormatInt(s.live.queryBuffer.Load(), 10) },
		check: memoryAtLeast(1 << 20),
		set:   func(s *Server, v string) { s.live.queryBuffer.Store(mustInt(normMemory(v))) },
	},
	{name: "cluster-enabled", get: fixed("no")},
	{name: "daemonize", get: fixed("no")},
	{name: "databases", get: func(s *Server) string { return strconv.Itoa(s.backend.Store().Databases()) }},
	{name: "dbfilename", get: fixed("dump.rdb")},
	{name: "dir", get: fixed("")},
	{name: "enable-debug-command", get: func(s *Server) string { return s.opt.DebugCommand }},
	{
		name:  "latency-monitor-threshold",
		get:   func(s *Server) string { return strconv.FormatInt(s.latency.threshold.Load(), 10) },
		check: intBetween(0, 1<<62),
		set:   func(s *Server, v string) { s.latency.threshold.Store(mustInt(v)) },
	},
	{
		name:  "latency-tracking",
		get:   func(s *Server) string { return yesNo(s.live.tracking.Load()) },
		check: isYesNo,
		set:   func(s *Server, v string) { s.live.tracking.Store(strings.EqualFold(v, "yes")) },
	},
	{
		name: "latency-tracking-info-percentiles",
		get: func(s *Server) string {
			var parts []string
			for _, p := range *s.live.percentiles.Load() {
				parts = append(parts, strconv.FormatFloat(p, 'g', -1, 64))
			}
			return strings.Join(parts, " ")
		},
		check: func(v string) error { _, err := parsePercentiles(v); return err },
		set: func(s *Server, v string) {
			list, _ := parsePercentiles(v)
			s.live.percentiles.Store(&list)
		},
	},
	{name: "lfu-decay-time", get: lfuParam("lfu-decay-time", "1"), check: intBetween(0, 1<<31-1), set: setLFU("lfu-decay-time")},
	{name: "lfu-log-factor", get: lfuParam("lfu-log-factor", "10"), check: intBetween(0, 1<<31-1), set: setLFU("lfu-log-factor")},
	{
		name:  "maxclients",
		get:   func(s *Server) string { return strconv.Itoa(s.live.maxClients()) },
		check: intBetween(1, 1<<32-1),
		set:   func(s *Server, v string) { s.live.clients.Store(mustInt(v)) },
	},
	{
		name:  "maxmemory-clients",
		get:   func(s *Server) string { return s.live.memo("maxmemory-clients", "0") },
		check: isMemoryOrPercent,
		set: func(s *Server, v string) {
			m := parseClientMemory(v)
			if !m.percent {
				v = normMemory(v)
			}
			s.live.setMemo("maxmemory-clients", v)
			s.live.clientMemory.Store(&m)
		},
	},
	{name: "port", get: func(s *Server) string { _, port := splitAddr(s.addr); return port }},
	{
		name:  "protected-mode",
		get:   func(s *Server) string { return yesNo(s.live.protected.Load()) },
		check: isYesNo,
		set:   func(s *Server, v string) { s.live.protected.Store(strings.EqualFold(v, "yes")) },
	},
	{name: "replicaof", get: fixed("")},
	{
		// The password itself goes through the log (kv.ACL); this is what CONFIG GET
		// shows on the node where it was set.
		name:  "requirepass",
		get:   func(s *Server) string { return s.live.password() },
		check: func(string) error { return nil },
		set:   func(s *Server, v string) { s.live.pass.Store(&v) },
	},
	{
		name:  "busy-reply-threshold",
		get:   func(s *Server) string { return strconv.FormatInt(s.longReads.threshold.Load(), 10) },
		check: intBetween(0, 1<<62),
		set:   func(s *Server, v string) { s.longReads.threshold.Store(mustInt(v)) },
	},
	{
		name:  "save",
		get:   func(s *Server) string { return s.live.memo("save", "") },
		check: saveParams,
		set:   func(s *Server, v string) { s.live.setMemo("save", strings.Join(strings.Fields(v), " ")) },
	},
	{
		name:  "slowlog-log-slower-than",
		get:   func(s *Server) string { return strconv.FormatInt(s.slowlog.threshold.Load(), 10) },
		check: intBetween(-1, 1<<62),
		set:   func(s *Server, v string) { s.slowlog.threshold.Store(mustInt(v)) },
	},
	{
		name:  "slowlog-max-len",
		get:   func(s *Server) string { return strconv.Itoa(s.slowlog.maxLen()) },
		check: intBetween(0, 1<<62),
		set:   func(s *Server, v string) { s.slowlog.setMax(int(mustInt(v))) },
	},
	{name: "tcp-backlog", get: fixed(strconv.Itoa(listenBacklog))},
	{
		name:  "tcp-keepalive",
		get:   func(s *Server) string { return s.live.memo("tcp-keepalive", strconv.Itoa(keepAliveSeconds)) },
		check: intBetween(0, 1<<31-1),
		set:   func(s *Server, v string) { s.live.setMemo("tcp-keepalive", v) },
	},
	{
		name:  "timeout",
		get:   func(s *Server) string { return strconv.FormatInt(s.live.idle.Load()/1000, 10) },
		check: intBetween(0, 1<<31-1),
		set:   func(s *Server, v string) { s.live.idle.Store(mustInt(v) * 1000) },
	},
	{name: "tls-port", get: fixed("0")},
	{
		name:  "tracking-table-max-keys",
		get:   func(s *Server) string { return strconv.FormatInt(s.live.trackingKeys.Load(), 10) },
		check: intBetween(0, 1<<53),
		set: func(s *Server, v string) {
			s.live.trackingKeys.Store(mustInt(v))
			for _, l := range s.loops {
				l.post(func() { l.hub.tracking.limit("") })
			}
		},
	},
	{name: "unixsocket", get: fixed("")},
}

func lfuParam(name, def string) func(*Server) string {
	return func(s *Server) string { return s.live.memo(name, def) }
}

func setLFU(name string) func(*Server, string) {
	return func(s *Server, v string) {
		s.live.setMemo(name, v)
		factor, _ := parseLen([]byte(s.live.memo("lfu-log-factor", "10")))
		decay, _ := parseLen([]byte(s.live.memo("lfu-decay-time", "1")))
		s.backend.Store().SetLFU(factor, decay)
	}
}

// listenBacklog is Redis's tcp-backlog; the system may cut it (net.core.somaxconn).
// keepAliveSeconds is its tcp-keepalive: a vanished client is noticed after it.
const (
	listenBacklog    = 511
	keepAliveSeconds = 300
)

func intBetween(lo, hi int64) func(string) error {
	return func(v string) error {
		n, ok := parseLen([]byte(v))
		switch {
		case !ok:
			return errors.New("argument couldn't be parsed into an integer")
		case n < lo || n > hi:
			return fmt.Errorf("argument must be between %d and %d inclusive", lo, hi)
		}
		return nil
	}
}

func isYesNo(v string) error {
	if strings.EqualFold(v, "yes") || strings.EqualFold(v, "no") {
		return nil
	}
	return errors.New("argument must be 'yes' or 'no'")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func mustInt(v string) int64 { n, _ := parseLen([]byte(v)); return n }

// findParam finds a parameter by any of its names.
func findParam(name string) *param { return paramsByName[canonical(name)] }

var paramsByName map[string]*param

func init() {
	paramsByName = make(map[string]*param)
	for _, list := range [][]param{params, harmlessParams} {
		for i := range list {
			if paramsByName[list[i].name] != nil {
				panic("resp: parameter " + list[i].name + " is in the tables twice")
			}
			paramsByName[list[i].name] = &list[i]
		}
	}
}

// configValues is every parameter with its present value, by name.
func (s *Server) configValues() []infoField {
	byName := make(map[string]string)
	for name, p := range paramsByName {
		byName[name] = p.get(s)
	}
	for _, alias := range aliases {
		byName[alias] = byName[canonical(alias)]
	}
	for name, value := range s.opt.Config {
		byName[name] = value
	}
	if v := s.live.memo("save", ""); v != "" {
		byName["save"] = v
	}
	settings := s.backend.Store().Settings()
	settings.Each(func(name, value string) { byName[name] = value })
	list := make([]infoField, 0, len(byName))
	for name, value := range byName {
		list = append(list, infoField{name, value})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

func configHandlers() map[string]handler {
	return map[string]handler{
		"config|get":       {run: configGet},
		"config|set":       {run: configSet, inExec: configSetInExec},
		"config|resetstat": {run: configResetStat},
		"config|rewrite":   {run: configRewrite, alone: true},
		"config|help":      help("config"),
	}
}

func configResetStat(s *session, _ [][]byte, out *kv.Reply) {
	s.srv.stats.reset()
	s.srv.statsEpoch.Add(1)
	s.srv.backend.Store().ResetStats()
	out.OK()
}

func configGet(s *session, args [][]byte, out *kv.Reply) {
	var found []infoField
	for _, f := range s.srv.configValues() {
		for _, pattern := range args[2:] {
			hidden := paramsByName[f.name] != nil && paramsByName[f.name].hidden
			if equalFold(pattern, f.name) || !hidden && kv.MatchGlob(cut(pattern, 128), []byte(f.name), true) {
				found = append(found, f)
				break
			}
		}
	}
	out.Map(len(found))
	for _, f := range found {
		out.BulkString(f.name)
		out.BulkString(f.value)
	}
}

// configSet changes all parameters named, or none. Those of the cluster go through
// the log; this node's own are checked before and follow when the log has answered,
// so they cannot fail alone.
func configSet(s *session, args [][]byte, out *kv.Reply) {
	change, msg := s.srv.checkConfig(args[2:])
	switch {
	case msg != "":
		out.Error(msg)
	case len(change.shared) > 0:
		s.openChunk().AppendConfigSet(change.shared)
		s.values, s.endChunk = 1, true
		s.ranAs(configSetRow, args)
		s.afterChunk = func() { change.apply(s.srv) }
	default:
		change.apply(s.srv)
		out.OK()
	}
}

var configSetRow = findRow("config|set")

// configSetInExec is CONFIG SET inside a transaction.
func configSetInExec(s *session, c *kv.Chunk, args [][]byte, out *kv.Reply) {
	change, msg := s.srv.checkConfig(args[2:])
	switch {
	case msg != "":
		out.Error(msg)
	case len(change.shared) > 0:
		c.AppendConfigSet(change.shared)
		before := s.afterChunk
		s.afterChunk = func() {
			if before != nil {
				before()
			}
			change.apply(s.srv)
		}
	default:
		change.apply(s.srv)
		out.OK()
	}
}

// configChange is a CONFIG SET that was checked.
type configChange struct {
	shared [][]byte // name, value, ... for the log
	local  []localChange
}

type localChange struct {
	p     *param
	value string
}

func (c *configChange) apply(s *Server) {
	for _, l := range c.local {
		l.p.set(s, l.value)
		s.live.noteChange(l.p.name, l.value)
	}
}

// checkConfig validates name, value ... pairs.
func (s *Server) checkConfig(pairs [][]byte) (c configChange, msg string) {
	if len(pairs)%2 != 0 {
		return c, kv.WrongArgs("config|set")
	}
	seen := make(map[string]bool)
	for i := 0; i < len(pairs); i += 2 {
		name := strings.ToLower(string(cut(pairs[i], 128)))
		if !kv.IsSetting(pairs[i]) && findParam(name) == nil && s.opt.Config[name] == "" {
			return c, "ERR Unknown option or number of arguments for CONFIG SET - '" + name + "'"
		}
		if seen[canonical(name)] {
			return c, configFailed(name, "duplicate parameter")
		}
		seen[canonical(name)] = true
	}
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(string(cut(pairs[i], 128))), string(pairs[i+1])
		if kv.IsSetting(pairs[i]) {
			c.shared = append(c.shared, append([]byte(nil), pairs[i]...), append([]byte(nil), pairs[i+1]...))
			continue
		}
		if msg := s.checkParam(name, value); msg != "" {
			return c, msg
		}
		if p := findParam(name); p != nil && p.set != nil {
			c.local = append(c.local, localChange{p, value})
			if p.name == "requirepass" {
				c.shared = append(c.shared, []byte(kv.PasswordSetting), kv.PasswordValue(value))
			}
		}
	}
	if len(c.shared) > 0 {
		msg = kv.ValidateSettings(c.shared)
	}
	return c, msg
}

func (s *Server) checkParam(name, value string) (msg string) {
	p := findParam(name)
	current, isStart := s.opt.Config[name]
	switch {
	case p != nil && p.set != nil:
		if err := p.check(value); err != nil {
			return configFailed(name, err.Error())
		}
		return ""
	case !isStart:
		current = p.get(s)
	}
	if value == current {
		return "" // it is so already
	}
	return configFailed(name, "can't set immutable config")
}

func configFailed(name, why string) string {
	return "ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + why
}

func configRewrite(s *session, _ [][]byte, out *kv.Reply) {
	rewrite := s.srv.opt.Rewrite
	if rewrite == nil {
		out.Error("ERR The server is running without a config file")
		return
	}
	changed := s.srv.live.changes()
	delete(changed, "requirepass") // it is in the log
	s.async = s.srv.blocking(func(_ context.Context, out *kv.Reply) {
		if err := rewrite(changed); err != nil {
			out.Error("ERR Rewriting config file: " + err.Error())
			return
		}
		out.OK()
	})
}
