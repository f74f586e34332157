package resp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// Parameters of Redis that tools, tests and client libraries read or set and that
// mean nothing here: each holds the value it was given on this node and changes
// nothing else. A line is: name, kind, default and, for numbers, the limits or, for
// words, what is allowed. An exclamation mark before the kind: it cannot be changed; a
// tilde: only who asks by its full name is told of it.
const harmlessTable = `
activedefrag bool no
active-defrag-cycle-max int 25 1 99
active-defrag-cycle-min int 1 1 99
active-defrag-ignore-bytes memory 104857600 1
active-defrag-max-scan-fields int 1000 1
active-defrag-threshold-lower int 10 0 1000
active-defrag-threshold-upper int 100 0 1000
active-expire-effort int 1 1 10
activerehashing bool yes
always-show-logo !bool no
aof-disable-auto-gc ~bool no
aof-load-truncated bool yes
aof-rewrite-incremental-fsync bool yes
aof-timestamp-enabled bool no
aof-use-rdb-preamble bool yes
aof-rewrite-cpulist !text
aof_rewrite_cpulist !text
appenddirname !text appendonlydir
appendfilename !text appendonly.aof
auto-aof-rewrite-min-size memory 67108864 0
auto-aof-rewrite-percentage int 100 0
bgsave-cpulist !text
bgsave_cpulist !text
bind-source-addr text
bio-cpulist !text
bio_cpulist !text
cluster-allow-pubsubshard-when-down bool yes
cluster-allow-reads-when-down bool no
cluster-allow-replica-migration bool yes
cluster-announce-bus-port int 0 0 65535
cluster-announce-hostname text
cluster-announce-human-nodename text
cluster-announce-ip text
cluster-announce-port int 0 0 65535
cluster-announce-tls-port int 0 0 65535
cluster-config-file !text nodes.conf
cluster-link-sendbuf-limit memory 0 0
cluster-migration-barrier int 1 0
cluster-node-timeout int 15000 0
cluster-ping-interval ~int 1000 0
cluster-port !int 0 0 65535
cluster-preferred-endpoint-type words ip hostname unknown-endpoint
cluster-replica-no-failover bool no
cluster-replica-validity-factor int 10 0
cluster-require-full-coverage bool yes
crash-log-enabled bool yes
crash-memcheck-enabled bool yes
disable-thp !bool yes
dynamic-hz bool yes
enable-module-command !text no
enable-protected-configs !text no
hide-user-data-from-log bool no
hz int 10 1 500
ignore-warnings text
io-threads !int 1 1 128
io-threads-do-reads !bool no
jemalloc-bg-thread bool yes
key-load-delay ~int 0
lazyfree-lazy-eviction bool no
lazyfree-lazy-expire bool no
lazyfree-lazy-server-del bool no
lazyfree-lazy-user-del bool no
lazyfree-lazy-user-flush bool no
list-compress-depth int 0 0
loading-process-events-interval-bytes ~memory 2097152 1024
locale-collate text
logfile !text
loglevel words notice debug verbose warning
masterauth text
masteruser text
max-new-connections-per-cycle int 10 1 1000
max-new-tls-connections-per-cycle int 1 1 1000
maxmemory-eviction-tenacity int 10 0 100
min-replicas-max-lag int 10 0
min-replicas-to-write int 0 0
no-appendfsync-on-rewrite bool no
oom-score-adj words no yes relative absolute
oom-score-adj-values scores 0 200 800
pidfile !text
proc-title-template text {title} {listen-addr} {server-mode}
propagation-error-behavior words ignore panic panic-on-replicas
rdb-del-sync-files bool no
rdb-key-save-delay ~int 0
rdb-save-incremental-fsync bool yes
rdbchecksum !bool yes
rdbcompression bool yes
repl-backlog-size memory 1048576 1
repl-backlog-ttl int 3600 0
repl-disable-tcp-nodelay bool no
repl-diskless-load words disabled on-empty-db swapdb
repl-diskless-sync bool yes
repl-diskless-sync-delay int 5 0
repl-diskless-sync-max-replicas int 0 0
repl-ping-replica-period int 10 1
repl-timeout int 60 1
replica-announce-ip text
replica-announce-port int 0 0 65535
replica-announced bool yes
replica-ignore-disk-write-errors bool no
replica-ignore-maxmemory bool yes
replica-lazy-flush bool no
replica-priority int 100 0
replica-read-only bool yes
replica-serve-stale-data bool yes
sanitize-dump-payload words no yes clients
server-cpulist !text
server_cpulist !text
set-proc-title !bool yes
shutdown-on-sigint flags default
shutdown-on-sigterm flags default
shutdown-timeout int 10 0
socket-mark-id int 0 0 4294967295
stop-writes-on-bgsave-error bool yes
supervised !text no
syslog-enabled !bool no
syslog-facility !text local0
syslog-ident !text redis
tls-auth-clients words yes no optional
tls-ca-cert-dir text
tls-ca-cert-file text
tls-cert-file text
tls-ciphers text
tls-ciphersuites text
tls-client-cert-file text
tls-client-key-file text
tls-client-key-file-pass text
tls-cluster bool no
tls-dh-params-file text
tls-key-file text
tls-key-file-pass text
tls-prefer-server-ciphers bool no
tls-protocols text
tls-replication bool no
tls-session-cache-size int 20480 0
tls-session-cache-timeout int 300 0
tls-session-caching bool yes
unixsocketperm !int 0 0 511
use-exit-on-panic ~bool no
watchdog-period ~int 0 0
`

// harmlessParams are the rows of harmlessTable.
var harmlessParams = parseHarmless(harmlessTable)

func parseHarmless(table string) []param {
	var list []param
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		f := strings.Fields(line)
		name, kind := f[0], f[1]
		kind, immutable := strings.CutPrefix(kind, "!")
		kind, hidden := strings.CutPrefix(kind, "~")
		p := param{name: name, hidden: hidden}
		def := ""
		if len(f) > 2 {
			def = f[2]
		}
		limit := func(i int, otherwise int64) int64 {
			if i >= len(f) {
				return otherwise
			}
			n, _ := parseLen([]byte(f[i]))
			return n
		}
		p.norm = func(v string) string { return v }
		switch kind {
		case "bool":
			p.check, p.norm = isYesNo, strings.ToLower
		case "int":
			p.check = intBetween(limit(3, -1<<31), limit(4, 1<<31-1))
		case "memory":
			p.check, p.norm = memoryAtLeast(limit(3, 0)), normMemory
		case "words":
			p.check, p.norm = oneOf(f[2:]), strings.ToLower
		case "scores":
			def, p.check = strings.Join(f[2:], " "), threeInts
		case "flags":
			p.check, p.norm = shutdownFlags, strings.ToLower
		default:
			def, p.check = strings.Join(f[2:], " "), func(string) error { return nil }
		}
		p.get = func(s *Server) string { return s.live.memo(name, def) }
		if !immutable {
			norm := p.norm
			p.set = func(s *Server, v string) { s.live.setMemo(name, norm(v)) }
		}
		list = append(list, p)
	}
	return list
}

func memoryAtLeast(lo int64) func(string) error {
	return func(v string) error {
		n, ok := kv.ParseMemory([]byte(v))
		switch {
		case !ok:
			return errors.New("argument must be a memory value")
		case n < lo:
			return fmt.Errorf("argument must be between %d and %d inclusive", lo, int64(1<<63-1))
		}
		return nil
	}
}

func normMemory(v string) string {
	n, _ := kv.ParseMemory([]byte(v))
	return strconv.FormatInt(n, 10)
}

func oneOf(words []string) func(string) error {
	return func(v string) error {
		if slices.Contains(words, strings.ToLower(v)) {
			return nil
		}
		return errors.New("argument(s) must be one of the following: " + strings.Join(words, ", "))
	}
}

func isMemoryOrPercent(v string) error {
	if digits, ok := strings.CutSuffix(v, "%"); ok {
		n, ok := parseLen([]byte(digits))
		switch {
		case !ok || n < 0:
			return errors.New("argument must be a memory or percent value")
		case n > 100:
			return errors.New("percentage argument must be less or equal to 100")
		}
		return nil
	}
	if _, ok := kv.ParseMemory([]byte(v)); !ok {
		return errors.New("argument must be a memory or percent value")
	}
	return nil
}

func threeInts(v string) error {
	f := strings.Fields(v)
	if len(f) != 3 {
		return errors.New("wrong number of arguments")
	}
	last := int64(-2001)
	for _, x := range f {
		n, ok := parseLen([]byte(x))
		if !ok || n < -2000 || n > 2000 {
			return errors.New("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
		}
		if n < last {
			return errors.New("The oom-score-adj-values should be in increasing order: master, replica, child")
		}
		last = n
	}
	return nil
}

func shutdownFlags(v string) error {
	for _, w := range strings.Fields(strings.ToLower(v)) {
		if !slices.Contains([]string{"default", "save", "nosave", "now", "force"}, w) {
			return errors.New("argument(s) must be one of the following: default, save, nosave, now, force")
		}
	}
	return nil
}

// saveParams checks CONFIG SET save: pairs of seconds and changes.
func saveParams(v string) error {
	f := strings.Fields(v)
	for i, x := range f {
		n, ok := parseLen([]byte(x))
		if !ok || len(f)%2 != 0 || n < int64(1-i%2) {
			return errors.New("Invalid save parameters")
		}
	}
	return nil
}

// parsePercentiles reads latency-tracking-info-percentiles.
func parsePercentiles(v string) ([]float64, error) {
	list := []float64{}
	for _, x := range strings.Fields(v) {
		p, err := strconv.ParseFloat(x, 64)
		if err != nil {
			return nil, errors.New("Invalid latency-tracking-info-percentiles parameters")
		}
		if !(p >= 0 && p <= 100) {
			return nil, errors.New("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
		}
		list = append(list, p)
	}
	return list, nil
}

// canonical is the name a parameter is kept under: Redis has old names for some.
func canonical(name string) string {
	switch name {
	case "slaveof", "replicaof":
		return "replicaof"
	case "lua-time-limit":
		return "busy-reply-threshold"
	}
	return strings.Replace(name, "slave", "replica", 1)
}

// aliases are the old names that CONFIG GET also shows.
var aliases = []string{
	"cluster-slave-no-failover", "cluster-slave-validity-factor", "lua-time-limit", "min-slaves-max-lag",
	"min-slaves-to-write", "repl-ping-slave-period", "slave-announce-ip", "slave-announce-port",
	"slave-ignore-maxmemory", "slave-lazy-flush", "slave-priority", "slave-read-only", "slave-serve-stale-data",
	"slaveof",
}
