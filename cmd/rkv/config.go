package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/raftcore"
)

// serverConfig is everything `rkv server` can be told. A flag --some-name is also
// RKV_SOME_NAME in the environment and some-name in rkv.toml; flags win over the
// environment, which wins over the file, which wins over the default.
type serverConfig struct {
	node         node.Config
	addr         string
	requirePass  string
	maxClients   int
	idleTimeout  time.Duration
	logLevel     string
	logFormat    string
	debugCommand string
	aclFile      string
	params       map[string]string // of Redis, for this node
	configFile   string            // "": none
	// What else to listen on; the addresses told to clients are in node.
	clusterAddr, sentinelAddr, masterName string
	clusterProxy                          bool
	noIOUring                             bool
}

func serverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "id", Usage: "this node's `N`umber in the cluster, from 1 (default: that of the data directory, 1 in a new one)"},
		&cli.StringFlag{Name: "data-dir", Value: "./rkv-data", Usage: "where this node keeps its data"},
		&cli.StringFlag{Name: "addr", Value: "127.0.0.1:6379", Usage: "`HOST:PORT` for Redis clients"},
		&cli.StringFlag{Name: "peer-addr", Usage: "`HOST:PORT` where the other nodes reach this one (default: client port + 10000)"},
		&cli.StringFlag{Name: "announce-addr", Usage: "`HOST:PORT` told to clients (default: addr)"},
		&cli.StringFlag{Name: "initial-cluster", Usage: "form a new cluster: `1=HOST:PEERPORT,2=...`, the same on all nodes"},
		&cli.StringFlag{Name: "join", Usage: "join an existing cluster through `HOST:PEERPORT,...`"},
		&cli.StringFlag{Name: "cluster-secret-file", Usage: "file with the secret all nodes share; required beyond loopback"},
		&cli.StringFlag{Name: "sync", Value: "always", Usage: "`always`: a write is on disk before it is acknowledged; never: one-node clusters only"},
		&cli.StringFlag{Name: "read-mode", Value: "quorum", Usage: "how a new cluster reads. `quorum`: linearizable whatever clocks do; lease: without a round trip, linearizable while no two nodes' clocks run at rates that differ by more than a third (an existing cluster is switched by: rkv cluster read-mode)"},
		&cli.IntFlag{Name: "priority", Usage: "`N`: this node is preferred as leader over those with lower numbers, -1000 to 1000 (counts when it first joins; later: rkv cluster priority)"},
		&cli.DurationFlag{Name: "election-timeout", Value: 500 * time.Millisecond, Usage: "`T`: a new leader is sought after T to 2T of silence"},
		&cli.DurationFlag{Name: "heartbeat", Value: 50 * time.Millisecond, Usage: "leader's heartbeat, at most half of the election timeout"},
		&cli.DurationFlag{Name: "client-park-timeout", Value: 1800 * time.Millisecond, Usage: "how long requests wait for a leader"},
		&cli.StringFlag{Name: "snapshot-log-size", Value: "512mb", Usage: "log `BYTES` between snapshots"},
		&cli.StringFlag{Name: "snapshot-rate", Value: "64mb", Usage: "`BYTES` per second at most that a snapshot is written, sent and received with"},
		&cli.StringFlag{Name: "segment-size", Value: "64mb", Usage: "`BYTES` of a log segment file"},
		&cli.StringFlag{Name: "requirepass", Usage: "password clients must give with AUTH"},
		&cli.IntFlag{Name: "maxclients", Value: 10000, Usage: "client connections at a time"},
		&cli.DurationFlag{Name: "timeout", Usage: "close client connections idle for so long (0: never)"},
		&cli.StringFlag{Name: "aclfile", Usage: "`FILE` that ACL SAVE writes and ACL LOAD reads; users themselves are in the log"},
		&cli.StringFlag{Name: "enable-debug-command", Value: "no", Usage: "who may use DEBUG, which is for tests: `no`, local or yes"},
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Value: "auto", Usage: "text, json or auto (text on a terminal)"},
		&cli.StringFlag{Name: "cluster-addr", Usage: "`HOST:PORT` for clients that expect a Redis Cluster: one shard, its master is the leader (default: none)"},
		&cli.StringFlag{Name: "cluster-announce-addr", Usage: "`HOST:PORT` of that told to clients (default: announce-addr's host, cluster-addr's port)"},
		&cli.StringFlag{Name: "cluster-redirect", Value: "moved", Usage: "what cluster clients of a follower get. `moved`: the leader's address; proxy: their answer"},
		&cli.StringFlag{Name: "sentinel-addr", Usage: "`HOST:PORT` for clients that expect Sentinels (default: none)"},
		&cli.StringFlag{Name: "sentinel-announce-addr", Usage: "`HOST:PORT` of that told to clients (default: announce-addr's host, sentinel-addr's port)"},
		&cli.StringFlag{Name: "sentinel-master-name", Value: "mymaster", Usage: "the `NAME` by which Sentinel clients ask for the leader"},
		&cli.StringFlag{Name: "io-uring", Value: "auto", Usage: "`auto`: many client sockets by one system call, where the kernel lets us; off: a call for each"},
		&cli.StringFlag{Name: "admin-addr", Usage: "listener for health and metrics (not in this version)", Hidden: true},
		&cli.StringFlag{Name: "config", Usage: "`FILE` in TOML with the same names", Value: ""},
	}
}

// withEnv gives every flag its RKV_ variable.
func withEnv(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		env := []string{"RKV_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))}
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = env
		case *cli.IntFlag:
			f.EnvVars = env
		case *cli.Uint64Flag:
			f.EnvVars = env
		case *cli.DurationFlag:
			f.EnvVars = env
		}
	}
	return flags
}

// loadConfig merges flags, environment and file, and checks the whole. Everything
// that is wrong is in the one error.
func loadConfig(c *cli.Context) (*serverConfig, error) {
	var bad []error
	if c.Args().Present() {
		bad = append(bad, fmt.Errorf("unexpected argument %q", c.Args().First()))
	}
	if file := c.String("config"); file != "" {
		bad = append(bad, mergeFile(c, file)...)
	}
	params, err := fileParams(c.String("config"))
	if err != nil {
		bad = append(bad, err)
	}
	cfg := &serverConfig{
		aclFile: c.String("aclfile"), params: params, configFile: c.String("config"),
		addr: c.String("addr"), requirePass: c.String("requirepass"), maxClients: c.Int("maxclients"),
		idleTimeout: c.Duration("timeout"), logLevel: c.String("log-level"), logFormat: c.String("log-format"),
		debugCommand: c.String("enable-debug-command"),
	}
	n := &cfg.node
	n.ID, n.DataDir = raftcore.NodeID(c.Uint64("id")), c.String("data-dir")
	n.ElectionTimeout, n.Heartbeat = c.Duration("election-timeout"), c.Duration("heartbeat")
	n.ParkTimeout = c.Duration("client-park-timeout")
	n.Priority = int32(c.Int("priority"))
	check := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}
	n.PeerAddr, err = peerAddr(cfg.addr, c.String("peer-addr"))
	check(err)
	n.ClientAddr = cfg.addr
	if a := c.String("announce-addr"); a != "" {
		n.ClientAddr = a
	}
	check(personaAddrs(c, cfg))
	if cfg.noIOUring = c.String("io-uring") == "off"; !cfg.noIOUring && c.String("io-uring") != "auto" {
		check(fmt.Errorf("--io-uring is %q, must be auto or off", c.String("io-uring")))
	}
	n.Initial, err = parseCluster(c.String("initial-cluster"))
	check(err)
	if j := c.String("join"); j != "" {
		n.Join = strings.Split(j, ",")
	}
	n.SnapshotLogBytes, err = parseBytes("snapshot-log-size", c.String("snapshot-log-size"))
	check(err)
	n.SnapshotBytesPerSecond, err = parseBytes("snapshot-rate", c.String("snapshot-rate"))
	check(err)
	n.SegmentSize, err = parseBytes("segment-size", c.String("segment-size"))
	check(err)
	n.Secret, err = readSecret(c.String("cluster-secret-file"))
	check(err)
	check(checkModes(c, cfg))
	if len(n.Secret) == 0 && n.PeerAddr != "" && !onLoopback(n.PeerAddr) {
		check(fmt.Errorf("the peer address %s can be reached from other machines; give all nodes the same --cluster-secret-file", n.PeerAddr))
	}
	if len(bad) > 0 {
		return nil, usageError{errors.Join(bad...)}
	}
	if err := n.Validate(); err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// personaAddrs are the listeners for cluster and Sentinel clients.
func personaAddrs(c *cli.Context, cfg *serverConfig) error {
	var bad []error
	cfg.clusterAddr, cfg.sentinelAddr = c.String("cluster-addr"), c.String("sentinel-addr")
	cfg.masterName = c.String("sentinel-master-name")
	announced := func(name, addr string) string {
		told := c.String(name + "-announce-addr")
		if addr == "" {
			if told != "" {
				bad = append(bad, fmt.Errorf("--%s-announce-addr without --%s-addr", name, name))
			}
			return ""
		}
		_, port, err := net.SplitHostPort(addr)
		if err == nil && told != "" {
			_, _, err = net.SplitHostPort(told)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("--%s-addr: %w", name, err))
		}
		if told != "" {
			return told
		}
		host, _, _ := net.SplitHostPort(cfg.node.ClientAddr)
		return net.JoinHostPort(host, port)
	}
	cfg.node.Addresses.Cluster = announced("cluster", cfg.clusterAddr)
	cfg.node.Addresses.Sentinel = announced("sentinel", cfg.sentinelAddr)
	switch r := c.String("cluster-redirect"); r {
	case "moved", "proxy":
		cfg.clusterProxy = r == "proxy"
	default:
		bad = append(bad, fmt.Errorf("--cluster-redirect is %q, must be moved or proxy", r))
	}
	if cfg.masterName == "" || strings.ContainsAny(cfg.masterName, " \t\r\n") {
		bad = append(bad, errors.New("--sentinel-master-name must be a name without blanks"))
	}
	return errors.Join(bad...)
}

func checkModes(c *cli.Context, cfg *serverConfig) error {
	var bad []error
	switch s := c.String("sync"); s {
	case "always":
	case "never":
		cfg.node.SyncNever = true
		if len(cfg.node.Initial) > 1 || len(cfg.node.Join) > 0 {
			bad = append(bad, errors.New("--sync never is for one-node clusters: an acknowledged write must be on disk"))
		}
	default:
		bad = append(bad, fmt.Errorf("--sync is %q, must be always or never", s))
	}
	switch m := c.String("read-mode"); m {
	case node.ReadQuorum, node.ReadLease:
		if c.IsSet("read-mode") {
			cfg.node.ReadMode = m // else: what the cluster does
		}
	default:
		bad = append(bad, fmt.Errorf("--read-mode is %q, must be quorum or lease", m))
	}
	if c.String("admin-addr") != "" {
		bad = append(bad, errors.New("--admin-addr is not available in this version"))
	}
	if d := cfg.debugCommand; d != "no" && d != "local" && d != "yes" {
		bad = append(bad, fmt.Errorf("--enable-debug-command is %q, must be no, local or yes", d))
	}
	if cfg.maxClients < 1 {
		bad = append(bad, fmt.Errorf("--maxclients is %d, must be at least 1", cfg.maxClients))
	}
	if cfg.idleTimeout < 0 {
		bad = append(bad, fmt.Errorf("--timeout is %v, must not be negative", cfg.idleTimeout))
	}
	for name, d := range map[string]time.Duration{
		"election-timeout": cfg.node.ElectionTimeout, "heartbeat": cfg.node.Heartbeat, "client-park-timeout": cfg.node.ParkTimeout,
	} {
		if d <= 0 {
			bad = append(bad, fmt.Errorf("--%s is %v, must be positive", name, d))
		}
	}
	if _, err := logLevel(cfg.logLevel); err != nil {
		bad = append(bad, err)
	}
	switch cfg.logFormat {
	case "auto", "text", "json":
	default:
		bad = append(bad, fmt.Errorf("--log-format is %q, must be text, json or auto", cfg.logFormat))
	}
	return errors.Join(bad...)
}

// mergeFile sets what the file says and neither flags nor environment do.
func mergeFile(c *cli.Context, file string) (bad []error) {
	values := map[string]any{}
	if _, err := toml.DecodeFile(file, &values); err != nil {
		return []error{fmt.Errorf("configuration file %s: %w", file, err)}
	}
	known := map[string]bool{}
	for _, f := range c.Command.Flags {
		known[f.Names()[0]] = true
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if name == paramsTable {
			continue // fileParams
		}
		if !known[name] || name == "config" || name == "help" {
			bad = append(bad, fmt.Errorf("configuration file %s: unknown setting %q", file, name))
			continue
		}
		if c.IsSet(name) {
			continue
		}
		if err := c.Set(name, fmt.Sprint(values[name])); err != nil {
			bad = append(bad, fmt.Errorf("configuration file %s: %s: %w", file, name, err))
		}
	}
	return bad
}

// peerAddr defaults to the client port + 10000, as Redis Cluster's bus does.
func peerAddr(addr, given string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("--addr: %w", err)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("--addr: port %q is not a number up to 65535", port)
	}
	if given != "" {
		if _, _, err := net.SplitHostPort(given); err != nil {
			return "", fmt.Errorf("--peer-addr: %w", err)
		}
		return given, nil
	}
	if p > 55535 {
		return "", fmt.Errorf("client port %d + 10000 is not a port; give --peer-addr", p)
	}
	return net.JoinHostPort(host, strconv.FormatUint(p+10000, 10)), nil
}

// onLoopback reports whether only this machine can reach addr.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func parseCluster(s string) (map[raftcore.NodeID]string, error) {
	if s == "" {
		return nil, nil
	}
	m := map[raftcore.NodeID]string{}
	seen := map[string]bool{}
	for _, part := range strings.Split(s, ",") {
		id, addr, ok := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.ParseUint(id, 10, 64)
		if !ok || err != nil || n == 0 {
			return nil, fmt.Errorf("--initial-cluster: %q is not N=HOST:PORT", part)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("--initial-cluster: %w", err)
		}
		if _, dup := m[raftcore.NodeID(n)]; dup || seen[addr] {
			return nil, fmt.Errorf("--initial-cluster: %q is listed twice", part)
		}
		m[raftcore.NodeID(n)], seen[addr] = addr, true
	}
	if len(m) > 7 {
		return nil, fmt.Errorf("--initial-cluster lists %d nodes; at most 7 vote with profit", len(m))
	}
	return m, nil
}

// parseBytes reads a size in Redis's style: 100, 64mb, 1gb.
func parseBytes(name, s string) (int64, error) {
	units := []struct {
		suffix string
		size   int64
	}{{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"g", 1e9}, {"m", 1e6}, {"k", 1e3}, {"b", 1}, {"", 1}}
	low := strings.ToLower(strings.TrimSpace(s))
	for _, u := range units {
		if digits, ok := strings.CutSuffix(low, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n <= 0 || n > (1<<50)/u.size {
				break
			}
			return n * u.size, nil
		}
	}
	return 0, fmt.Errorf("--%s is %q, must be a size such as 64mb", name, s)
}

func readSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--cluster-secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < 16 {
		return nil, fmt.Errorf("--cluster-secret-file: the secret in %s has %d bytes, give at least 16 random ones", file, len(secret))
	}
	return []byte(secret), nil
}
