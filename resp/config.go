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
	trackingKeys atomic.Int64 // 0: no limit

	protected atomic.Bool
	changed   map[string]string // by CONFIG SET, for CONFIG REWRITE
	peak      int64             // of used_memory
}

func (l *liveConfig) init(opt *Options) {
	l.pass.Store(&opt.RequirePass)
	l.clients.Store(int64(opt.MaxClients))
	l.idle.Store(opt.IdleTimeout.Milliseconds())
	l.protected.Store(!opt.UnprotectedMode)
	l.trackingKeys.Store(1_000_000)
	l.output.p.Store(defaultOutputLimits())
	l.changed = make(map[string]string)
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
}

func fixed(value string) func(*Server) string { return func(*Server) string { return value } }

// params is the table of parameters that are not replicated, by name. Replicated ones
// are kv.Settings, start parameters of the node Options.Config.
var params = []param{
	{name: "appendfsync", get: fixed("always")},
	{name: "appendonly", get: fixed("yes")},
	{name: "bind", get: func(s *Server) string { host, _ := splitAddr(s.addr); return host }},
	{
		name:  "client-output-buffer-limit",
		get:   func(s *Server) string { return s.live.output.get().String() },
		check: checkOutputLimits,
		set:   func(s *Server, v string) { s.live.output.set(v) },
	},
	{name: "client-query-buffer-limit", get: func(s *Server) string { return strconv.Itoa(s.opt.QueryBufferLimit) }},
	{name: "cluster-enabled", get: fixed("no")},
	{name: "daemonize", get: fixed("no")},
	{name: "databases", get: func(s *Server) string { return strconv.Itoa(s.backend.Store().Databases()) }},
	{name: "dbfilename", get: fixed("")},
	{name: "dir", get: fixed("")},
	{name: "enable-debug-command", get: func(s *Server) string { return s.opt.DebugCommand }},
	{name: "io-threads", get: fixed("1")},
	{name: "latency-monitor-threshold", get: fixed("0")},
	{
		name:  "maxclients",
		get:   func(s *Server) string { return strconv.Itoa(s.live.maxClients()) },
		check: intBetween(1, 1<<20),
		set:   func(s *Server, v string) { s.live.clients.Store(mustInt(v)) },
	},
	{name: "maxmemory", get: fixed("0")},
	{name: "maxmemory-policy", get: fixed("noeviction")},
	{name: "port", get: func(s *Server) string { _, port := splitAddr(s.addr); return port }},
	{
		name:  "protected-mode",
		get:   func(s *Server) string { return yesNo(s.live.protected.Load()) },
		check: isYesNo,
		set:   func(s *Server, v string) { s.live.protected.Store(strings.EqualFold(v, "yes")) },
	},
	{name: "replica-read-only", get: fixed("no")},
	{
		name:  "requirepass",
		get:   func(s *Server) string { return s.live.password() },
		check: func(string) error { return nil },
		set:   func(s *Server, v string) { s.live.pass.Store(&v) },
	},
	{name: "save", get: fixed("")},
	{name: "slave-read-only", get: fixed("no")},
	{name: "slowlog-log-slower-than", get: fixed("-1")},
	{name: "slowlog-max-len", get: fixed("0")},
	{name: "tcp-backlog", get: fixed(strconv.Itoa(listenBacklog))},
	{name: "tcp-keepalive", get: fixed(strconv.Itoa(keepAliveSeconds))},
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
		set:   func(s *Server, v string) { s.live.trackingKeys.Store(mustInt(v)) },
	},
	{name: "unixsocket", get: fixed("")},
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

func findParam(name string) *param {
	for i := range params {
		if params[i].name == name {
			return &params[i]
		}
	}
	return nil
}

// configValues is every parameter with its present value, by name.
func (s *Server) configValues() []infoField {
	byName := make(map[string]string)
	for i := range params {
		byName[params[i].name] = params[i].get(s)
	}
	for name, value := range s.opt.Config {
		byName[name] = value
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
		"config|set":       {run: configSet, alone: true},
		"config|resetstat": {run: func(s *session, _ [][]byte, out *kv.Reply) { s.srv.stats.reset(); out.OK() }},
		"config|rewrite":   {run: configRewrite, alone: true},
		"config|help":      help("config"),
	}
}

func configGet(s *session, args [][]byte, out *kv.Reply) {
	var found []infoField
	for _, f := range s.srv.configValues() {
		for _, pattern := range args[2:] {
			if globMatch(strings.ToLower(string(cut(pattern, 128))), f.name) {
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

// configSet changes all parameters named, or none. Replicated ones go through the
// log; they cannot be mixed with this node's own, since one part could fail alone.
func configSet(s *session, args [][]byte, out *kv.Reply) {
	pairs := args[2:]
	if len(pairs)%2 != 0 {
		out.Error(kv.WrongArgs("config|set"))
		return
	}
	shared, msg := s.srv.checkConfig(pairs)
	if msg != "" {
		out.Error(msg)
		return
	}
	if shared {
		s.openChunk().AppendConfigSet(pairs)
		s.values, s.endChunk = 1, true
		return
	}
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(string(pairs[i])), string(pairs[i+1])
		if p := findParam(name); p != nil && p.set != nil {
			p.set(s.srv, value)
			s.srv.live.noteChange(name, value)
		}
	}
	out.OK()
}

// checkConfig validates name, value ... pairs; shared tells that they are replicated.
func (s *Server) checkConfig(pairs [][]byte) (shared bool, msg string) {
	local := 0
	seen := make(map[string]bool)
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(string(cut(pairs[i], 128))), string(pairs[i+1])
		if seen[name] {
			return false, configFailed(name, "duplicate parameter")
		}
		seen[name] = true
		if kv.IsSetting(pairs[i]) {
			shared = true
			continue
		}
		local++
		if msg := s.checkParam(name, value); msg != "" {
			return false, msg
		}
	}
	if !shared {
		return false, ""
	}
	if local > 0 {
		return false, "ERR CONFIG SET failed - parameters of the cluster and of this node cannot be changed by one command"
	}
	return true, kv.ValidateSettings(pairs)
}

func (s *Server) checkParam(name, value string) (msg string) {
	p := findParam(name)
	current, isStart := s.opt.Config[name]
	switch {
	case p == nil && !isStart:
		return "ERR Unknown option or number of arguments for CONFIG SET - '" + name + "'"
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
	s.async = s.srv.blocking(func(_ context.Context, out *kv.Reply) {
		if err := rewrite(changed); err != nil {
			out.Error("ERR Rewriting config file: " + err.Error())
			return
		}
		out.OK()
	})
}

// globMatch matches names of parameters and commands: * and ? as Redis has them, all
// else literally. It is linear in the name for each star.
func globMatch(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
