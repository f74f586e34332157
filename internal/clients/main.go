package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

var (
	binary = flag.String("rkv", "bin/rkv", "the binary under test")
	port   = flag.Int("port", 26000, "first of about 40 ports on 127.0.0.1")
	only   = flag.String("only", "", "run only what matches this regular expression")
	short  = flag.Bool("short", false, "only what needs neither npm nor Debian, in less than a minute")
	keep   = flag.Bool("keep", false, "keep the nodes' directories and logs")
	count  = flag.Int("count", 1, "do each run so many times")
	errs   = flag.Bool("errors", false, "print each error a client saw, and when")
)

// run is one line of the report.
type run struct {
	client, persona, proto string
	short                  bool // part of the short form
	do                     func(h *harness) (story string, err error)
}

func (r run) String() string { return strings.TrimSpace(r.client + " " + r.persona + " " + r.proto) }

// runLimit bounds each run; what takes longer hangs.
const runLimit = 3 * time.Minute

func main() {
	flag.Parse()
	logging.Disable() // go-redis tells of each refused connection
	h, err := newHarness()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !*short {
		if err := install(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	passed, total := h.runAll(regexp.MustCompile(*only))
	if err := h.close(); err != nil {
		fmt.Println("FAIL the nodes:", err)
		passed = min(passed, total-1)
	}
	fmt.Printf("clients: %d/%d passed\n", passed, total)
	if passed < total || total == 0 {
		os.Exit(1)
	}
}

// runAll runs what was asked for, one line each.
func (h *harness) runAll(which *regexp.Regexp) (passed, total int) {
	for _, r := range runs() {
		if !which.MatchString(r.String()) || *short && !r.short {
			continue
		}
		for range *count {
			total++
			if h.one(r) {
				passed++
			}
		}
	}
	return passed, total
}

func (h *harness) one(r run) bool {
	began := time.Now()
	story, err := r.do(h)
	took := time.Since(began).Round(100 * time.Millisecond)
	if err == nil {
		fmt.Printf("ok   %-32s %s (%v)\n", r, story, took)
		return true
	}
	fmt.Printf("FAIL %-32s %s (%v)\n", r, story, took)
	for line := range strings.Lines(err.Error()) {
		fmt.Printf("     %s\n", strings.TrimRight(line, "\n"))
	}
	if h.cluster != nil && h.cluster.awaitAll() != nil { // the next one starts afresh
		_ = h.stopCluster()
	}
	return false
}

// runs is everything there is.
func runs() (list []run) {
	add := func(client string, short bool, personas []string, protos []int, do func(t target, say *talk) error) {
		for _, persona := range personas {
			for _, proto := range protos {
				name := fmt.Sprintf("RESP%d", proto)
				list = append(list, run{client, persona, name, short && proto == 3, func(h *harness) (string, error) {
					return h.client(client, persona, proto, do, (*drill).run)
				}})
			}
		}
	}
	all, both := []string{"plain", "cluster", "sentinel"}, []int{2, 3}
	add("go-redis", true, all, both, runGoRedis)
	add("rueidis", false, all, both, runRueidis)
	add("ioredis", false, all, both, program(node, "ioredis.mjs"))
	add("node-redis", false, all, both, program(node, "node-redis.mjs"))
	add("redis-py", false, all, []int{2}, program(python, "redis_py.py")) // Debian's version knows no RESP3
	tool := func(client, persona string, short bool, do func(h *harness) (string, error)) {
		list = append(list, run{client, persona, "", short, do})
	}
	rolling := func(client, persona string, do func(t target, say *talk) error) {
		tool(client+" rolling restart", persona, false, func(h *harness) (string, error) {
			return h.client(client+" rolling", persona, 3, do, (*drill).roll)
		})
	}
	for _, persona := range all {
		rolling("go-redis", persona, runGoRedis)
		rolling("node-redis", persona, program(node, "node-redis.mjs"))
	}
	tool("MONITOR, CLIENT", "plain", true, runAlike)
	tool("redis-cli", "plain", false, runCLI)
	tool("redis-cli -c", "cluster", true, runClusterCLI)
	tool("redis-benchmark", "plain", false, runBenchmark("-n", "5000", "-r", "1000", "--threads", "2"))
	tool("redis-benchmark -3", "plain", false, runBenchmark("-n", "5000", "-r", "1000", "-3", "-P", "16", "--enable-tracking"))
	tool("redis-benchmark kill", "plain", false, runBenchmark("kill", "-n", "60000", "-r", "1000", "-t", "set,get,lpush"))
	tool("redis-benchmark --cluster", "cluster", false, runClusterBenchmark)
	tool("exporter", "all", false, runExporter)
	tool("asynq", "plain", false, runApp(asynqOnSurvivor))
	tool("asynq", "sentinel", false, runApp(asynqOnSentinels))
	tool("BullMQ", "plain", false, runApp(bullmq("plain")))
	tool("BullMQ", "sentinel", false, runApp(bullmq("sentinel")))
	tool("redsync", "plain", false, runApp(redsyncLocks))
	tool("sessions and limits", "plain", false, runApp(sessions))
	tool("exactly once", "plain", true, runApp(exactlyOnce))
	tool("fenced lock", "plain", false, runApp(fencedLock))
	return list
}

// client runs one client on one persona: its checks, then a drill.
func (h *harness) client(name, persona string, proto int, do func(t target, say *talk) error, drills func(*drill, context.Context) (string, error)) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	t := h.target(c, name, persona, proto)
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	say := newTalk(loading)
	ended := make(chan error, 1)
	go func() { ended <- do(t, say) }()
	d := &drill{c: c, tgt: t, talk: say}
	var story string
	select {
	case err = <-ended:
		return say.summary(""), fmt.Errorf("ended before its load: %v; %s", err, strings.Join(say.failed, "; "))
	case <-ctx.Done():
		return say.summary(""), fmt.Errorf("its checks took more than %v; %s", runLimit, strings.Join(say.failed, "; "))
	case <-say.load:
		story, err = drills(d, ctx)
		time.Sleep(100 * time.Millisecond) // what is published last may still be under way
		stop()
	}
	select {
	case end := <-ended:
		if end != nil {
			err = fmt.Errorf("%w; the client: %w", err, end)
		}
	case <-time.After(15 * time.Second):
		err = fmt.Errorf("the client does not end; %w", err)
	}
	if err == nil {
		err = d.judge(ctx)
	}
	if len(say.failed) > 0 {
		err = fmt.Errorf("%s\n%w", strings.Join(say.failed, "\n"), orNone(err))
	}
	return say.summary(story), err
}
