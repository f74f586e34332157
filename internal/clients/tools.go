package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// command runs a program to its end and returns what it printed.
func command(limit time.Duration, stdin string, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		return text, fmt.Errorf("%s: %w\n%.300s", strings.Join(words, " "), err, text)
	}
	return text, nil
}

// cliCase is one way to call redis-cli and what its output has to hold. Where a word is
// FILE it is a file of its own.
type cliCase struct {
	name  string
	words []string
	stdin string
	has   []string
	lacks []string
	fails bool // exit status 1, with what it has to say
}

// cliCases are the flags that scripts and people use, against a plain listener.
func cliCases(key string) []cliCase {
	lots := ""
	for i := range 1000 {
		lots += fmt.Sprintf("*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n", len(key)+9, fmt.Sprintf("%s:pipe%04d", key, i))
	}
	w := func(words ...string) []string { return words }
	errors := []string{"(error)", "ERR", "rror:"}
	return []cliCase{
		{name: "set", words: w("set", key, "1"), has: w("OK")},
		{name: "-2", words: w("-2", "hello"), has: w("standalone")},
		{name: "-3", words: w("-3", "config", "get", "save"), has: w("save"), lacks: errors},
		{name: "--json", words: w("--json", "config", "get", "save"), has: w(`{"save":""}`)},
		{name: "--csv", words: w("--csv", "mget", key, key), has: w(`"1","1"`)},
		{name: "--no-raw", words: w("--no-raw", "get", key), has: w(`"1"`)},
		{name: "-x", words: w("-x", "set", key+":x"), stdin: "from stdin", has: w("OK")},
		{name: "-X", words: w("-X", "tag", "set", key+":x", "tag"), stdin: "tagged", has: w("OK")},
		{name: "-n", words: w("-n", "3", "dbsize"), has: w("0")},
		{name: "-u", words: w("-u", "redis://127.0.0.1:PORT/0", "get", key+":x"), has: w("tagged")},
		{name: "-r -i", words: w("-r", "3", "-i", "0.01", "incr", key+":r"), has: w("1\n2\n3")},
		{name: "--user", words: w("--user", "default", "--pass", "any", "--no-auth-warning", "ping"), has: w("PONG")},
		{name: "--askpass", words: w("--user", "default", "--askpass", "ping"), stdin: "any\n", has: w("PONG")},
		{name: "-a", words: w("-a", "any", "ping"), has: w("without any password configured", "PONG")}, // as Redis answers
		{name: "--quoted-input", words: w("--quoted-input", "set", `"`+key+`\x3aq"`, "1"), has: w("OK")},
		{name: "--quoted-json", words: w("--quoted-json", "get", key+":q"), has: w(`"1"`)},
		{name: "-d", words: w("-d", ",", "mget", key, key), has: w("1,1")},
		{name: "-D", words: w("-D", "|", "get", key), has: w("1|")},
		{name: "--show-pushes", words: w("-3", "--show-pushes", "yes", "client", "tracking", "on"), has: w("OK")},
		{name: "--verbose", words: w("--verbose", "ping"), has: w("PONG")},
		{name: "-e", words: w("-e", "nonsense"), has: w("unknown command"), fails: true},
		{name: "interactive", stdin: "set " + key + ":i 5\nget " + key + ":i\nhelp set\nmulti\nincr " + key + ":i\nexec\n", has: w("OK", "5", "summary", "QUEUED", "6")},
		{name: "--pipe", words: w("--pipe"), stdin: lots, has: w("errors: 0, replies: 1000")},
		{name: "--scan", words: w("--scan", "--pattern", key+":pipe*"), has: w(key + ":pipe0999")},
		{name: "--quoted-pattern", words: w("--scan", "--quoted-pattern", `"`+key+`\x3apipe099*"`), has: w(key + ":pipe0999"), lacks: w(key + ":pipe0899")},
		{name: "--pipe-timeout", words: w("--pipe", "--pipe-timeout", "5"), stdin: lots, has: w("errors: 0, replies: 1000")},
		{name: "--eval", words: w("--eval", "FILE", key+":e", ",", "7"), has: w("7")},
		{name: "--ldb", words: w("--ldb", "--eval", "FILE", key+":e", ",", "7"), has: w("7")}, // a session that ends at once: nothing stops at breakpoints here
		{name: "--bigkeys", words: w("--bigkeys"), has: w("Biggest string found", "Sampled"), lacks: errors},
		{name: "--memkeys-samples", words: w("--memkeys-samples", "10"), has: w("Biggest string found"), lacks: errors},
		{name: "--ldb-sync-mode", words: w("--ldb-sync-mode", "--eval", "FILE", key+":e", ",", "7"), has: w("7")},
		{name: "--memkeys", words: w("--memkeys"), has: w("Biggest string found"), lacks: errors},
		{name: "--hotkeys", words: w("--hotkeys"), has: w("LFU"), fails: true},
		{name: "--rdb", words: w("--rdb", "FILE"), has: w("Transfer finished with success"), lacks: w("rror")},
		{name: "--functions-rdb", words: w("--functions-rdb", "FILE"), has: w("copies are whole"), fails: true},
		{name: "--intrinsic-latency", words: w("--intrinsic-latency", "1"), has: w("total runs")},
		{name: "--latency --csv", words: w("--latency", "--csv"), has: w(","), lacks: errors},
		{name: "--latency --raw", words: w("--latency", "--raw", "-i", "1"), lacks: errors},
	}
}

// runCLI goes through the flags on each node, so that followers have their turn.
func runCLI(h *harness) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	file := filepath.Join(h.dir, "cli")
	var failed []error
	n := 0
	for i, one := range cliCases("{cli}") {
		p := c.nodes[i%len(c.nodes)]
		if err := one.run(p, file); err != nil {
			failed = append(failed, fmt.Errorf("%s on %v: %w", one.name, p, err))
		}
		n++
	}
	for _, endless := range [][]string{{"--stat", "-i", "0.2"}, {"--latency-history", "-i", "1"}, {"--latency-dist", "-i", "1"}, {"--lru-test", "1000"}, {"monitor"}, {"--replica"}} {
		if err := runEndless(c.nodes[n%len(c.nodes)], endless); err != nil {
			failed = append(failed, fmt.Errorf("%v: %w", endless, err))
		}
		n++
	}
	return fmt.Sprintf("%d ways to call it", n), errors.Join(failed...)
}

func (one cliCase) run(p *process, file string) error {
	words := append([]string{"redis-cli", "-p", portOf(p.plain)}, one.words...)
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, "PORT", portOf(p.plain))
		if w == "FILE" {
			words[i] = file
			if err := os.WriteFile(file, []byte("return redis.call('INCRBY', KEYS[1], ARGV[1])"), 0o644); err != nil {
				return err
			}
		}
	}
	if one.name == "-u" {
		words = append(words[:1], words[3:]...)
	}
	_ = p.admin.Del(context.Background(), "{cli}:e", "{cli}:r").Err()
	out, err := command(60*time.Second, one.stdin, words...)
	if err != nil && !one.fails {
		return err
	}
	for _, x := range one.has {
		if !strings.Contains(out, x) {
			return fmt.Errorf("no %q in: %.400s", x, out)
		}
	}
	for _, x := range one.lacks {
		if strings.Contains(out, x) {
			return fmt.Errorf("%q in: %.400s", x, out)
		}
	}
	return nil
}

// runEndless lets a mode that never ends run for a moment: it must still be there, and
// print no error.
func runEndless(p *process, words []string) error {
	cmd := exec.Command("stdbuf", append([]string{"-o0", "redis-cli", "-p", portOf(p.plain)}, words...)...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	deadline := time.After(1500 * time.Millisecond)
	for tick := time.Tick(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			return fmt.Errorf("ended: %v: %.300s", err, out.String())
		case <-tick:
			_ = p.admin.Set(context.Background(), "{cli}:m", "1", 0).Err() // something to be seen
		case <-deadline:
			text := out.String()
			if text == "" || strings.Contains(strings.ToLower(text), "error") || strings.Contains(text, "ERR") {
				return fmt.Errorf("printed: %.300q", text)
			}
			return nil
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// runClusterCLI is redis-cli -c, which follows MOVED, and --cluster with what makes sense
// of its subcommands.
func runClusterCLI(h *harness) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	var failed []error
	cli := func(has string, words ...string) {
		out, err := command(30*time.Second, "", append([]string{"redis-cli"}, words...)...)
		if !strings.Contains(out, has) {
			failed = append(failed, fmt.Errorf("%v: no %q in: %.300s %w", words, has, out, orNone(err)))
		}
	}
	for _, p := range c.nodes {
		port := portOf(p.cluster)
		cli("OK", "-c", "-p", port, "set", fmt.Sprint("{cli}", p.id), "1")
		cli("1", "-c", "-p", port, "get", fmt.Sprint("{cli}", p.id))
		cli("cluster_state:ok", "-p", port, "cluster", "info")
		cli("[OK] All 16384 slots covered", "--cluster", "check", p.cluster)
		cli("keys in 1 masters", "--cluster", "info", p.cluster)
		cli("PONG", "--cluster", "call", p.cluster, "ping")
		dir, err := os.MkdirTemp(h.dir, "backup")
		if err != nil {
			return "", err
		}
		cli("Backup created", "--cluster", "backup", p.cluster, dir)
		// What moves slots and members is refused, or finds nothing to do.
		cli("[OK] All 16384 slots covered", "--cluster", "fix", p.cluster)
		cli("No rebalancing needed", "--cluster", "rebalance", p.cluster)
		cli("is not empty", "--cluster", "create", c.nodes[0].cluster, c.nodes[1].cluster, c.nodes[2].cluster, "--cluster-yes")
		cli("is not empty", "--cluster", "add-node", c.nodes[0].cluster, c.nodes[1].cluster)
		cli("*** The specified node", "--cluster", "reshard", p.cluster, "--cluster-from", "all", "--cluster-to", "x", "--cluster-slots", "10", "--cluster-yes")
		cli("No such node ID", "--cluster", "del-node", p.cluster, "0123")
	}
	lead, err := c.leader()
	if err != nil {
		return "", err
	}
	cli("MOVED", "-p", portOf(c.others(lead)[0].cluster), "set", "{cli}", "1")
	cli("ERR", "-p", portOf(lead.cluster), "cluster", "meet", "127.0.0.1", "1")
	return "", errors.Join(failed...)
}

// benchmarkRun is redis-benchmark through one node; with kill, the leader, which is
// another one, dies in the middle. It exits at the first error.
func runBenchmark(words ...string) func(h *harness) (string, error) {
	return func(h *harness) (string, error) {
		c, err := h.needCluster()
		if err != nil {
			return "", err
		}
		lead, err := c.leader()
		if err != nil {
			return "", err
		}
		through := c.others(lead)[0]
		kill := len(words) > 0 && words[0] == "kill"
		args := words
		if kill {
			args = words[1:]
		}
		var killing sync.WaitGroup
		if kill {
			killing.Go(func() {
				time.Sleep(time.Second)
				err = lead.end(syscall.SIGKILL)
			})
		}
		out, berr := command(100*time.Second, "", append([]string{"redis-benchmark", "-p", portOf(through.plain), "-q"}, args...)...)
		killing.Wait()
		if kill {
			err = errors.Join(err, c.restart(lead))
		}
		if strings.Contains(out, "rror") {
			berr = errors.Join(berr, fmt.Errorf("%.300s", out))
		}
		return strings.Join(words, " "), errors.Join(err, berr, c.faults())
	}
}

// runClusterBenchmark is redis-benchmark --cluster, which refuses clusters with one master
// whoever made them: it has to say of ours what it says of Redis's.
func runClusterBenchmark(h *harness) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(h.dir, "redis")
	if err != nil {
		return "", err
	}
	port := fmt.Sprint(*port + 49)
	server := exec.Command(redisServer(h.binary), "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--cluster-enabled", "yes", "--save", "")
	if err := server.Start(); err != nil {
		return "", err
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	real := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, DisableIdentity: true})
	defer real.Close()
	ctx := context.Background()
	err = await(10*time.Second, func() bool { return real.Ping(ctx).Err() == nil })
	if err == nil {
		err = real.ClusterAddSlotsRange(ctx, 0, 16383).Err()
	}
	if err == nil {
		err = await(10*time.Second, func() bool { return strings.Contains(real.ClusterInfo(ctx).Val(), "cluster_state:ok") })
	}
	if err != nil {
		return "", fmt.Errorf("a Redis Cluster of one: %w", err)
	}
	says := func(port string) string {
		out, _ := command(30*time.Second, "", "redis-benchmark", "--cluster", "-p", port, "-n", "10", "-t", "set", "-q")
		return strings.TrimSpace(out)
	}
	expected := says(port)
	var failed []error
	for _, p := range c.nodes {
		failed = append(failed, want(expected, says(portOf(p.cluster))))
	}
	return fmt.Sprintf("as a Redis Cluster of one: %q", expected), errors.Join(failed...)
}

// redisServer is the program with which to compare: the installed one, or the link beside
// the binary under test.
func redisServer(binary string) string {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path
	}
	return filepath.Join(filepath.Dir(binary), "redis-server")
}

// runExporter is Debian's prometheus-redis-exporter on each kind of listener: it must scrape
// without an error and find what dashboards show.
func runExporter(h *harness) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	dir, err := installed()
	if err != nil {
		return "", err
	}
	exporter := filepath.Join(dir, "exporter/usr/bin/prometheus-redis-exporter")
	var failed []error
	metrics := 0
	for i, listener := range []string{c.nodes[0].plain, c.nodes[1].plain, c.nodes[2].cluster, c.nodes[0].sentinel} {
		n, err := scrape(exporter, listener, fmt.Sprintf("127.0.0.1:%d", *port+45+i), []string{"leader or follower", "another", "cluster", "sentinel"}[i])
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", listener, err))
		}
		metrics += n
	}
	return fmt.Sprintf("%d metrics", metrics), errors.Join(failed...)
}

func scrape(exporter, listener, web, kind string) (metrics int, err error) {
	args := []string{"-redis.addr", "redis://" + listener, "-web.listen-address", web, "-include-system-metrics", "-export-client-list"}
	if kind != "cluster" && kind != "sentinel" {
		args = append(args, "-check-keys", "db0={cli}*") // a follower's cluster listener would send it to the leader, as Redis does
	}
	cmd := exec.Command(exporter, args...)
	var log syncBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var text string
	err = await(10*time.Second, func() bool {
		r, err := http.Get("http://" + web + "/metrics")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		text = string(b)
		return err == nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, log.String())
	}
	wants := []string{"redis_up 1", `redis_exporter_last_scrape_error{err=""} 0`}
	if kind != "sentinel" {
		wants = append(wants, "redis_connected_clients ", "redis_db_keys{db=\"db0\"}", "redis_commands_total{cmd=", "redis_memory_used_bytes ",
			"redis_instance_info{", "redis_uptime_in_seconds ")
	} else {
		wants = append(wants, "redis_sentinel_master_status{")
	}
	for _, w := range wants {
		if !strings.Contains(text, w) {
			err = errors.Join(err, fmt.Errorf("no %s", w))
		}
	}
	if l := log.String(); kind != "sentinel" && (strings.Contains(l, "level=error") || strings.Contains(l, "level=warning")) {
		err = errors.Join(err, fmt.Errorf("it says: %.400s", l))
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "redis_") {
			metrics++
		}
	}
	return metrics, err
}
