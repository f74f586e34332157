package resp

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

func invalidate(keys ...string) string {
	return ">2\r\n$10\r\ninvalidate\r\n" + msg(keys...)
}

const invalidateAll = ">2\r\n$10\r\ninvalidate\r\n_\r\n"

// line makes a command of words; "" stands for an empty argument.
func (c *testClient) line(words string) string { return c.do(strings.Fields(words)...) }

func TestTrackingOptions(t *testing.T) {
	s := startServer(t, nil)
	c, other := s.dial(), s.dial()
	c.do("hello", "3")
	id := other.do("client", "id")[1:]
	const anew = " before disabling tracking for this client, and then re-enabling it with a different mode."
	for _, x := range [][2]string{
		{"client tracking on foo", "-ERR syntax error"},
		{"client tracking maybe", "-ERR syntax error"},
		{"client caching yes", "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"},
		{"client getredir", ":-1"},
		{"client trackinginfo", `{"flags" <"off"> "redirect" :-1 "prefixes" []}`},
		{"client tracking on prefix a", "-ERR PREFIX option requires BCAST mode to be enabled"},
		{"client tracking on bcast optin", "-ERR OPTIN and OPTOUT are not compatible with BCAST"},
		{"client tracking on optin optout", "-ERR You can't specify both OPTIN mode and OPTOUT mode"},
		{"client tracking on redirect 99999", "-ERR The client ID you want redirect to does not exist"},
		{"client tracking on redirect abc", "-ERR value is not an integer or out of range"},
		{"client tracking on redirect " + id + " redirect " + id, "-ERR A client can only redirect to a single other client"},
		{"client tracking on redirect", "-ERR syntax error"},
		{"client tracking on bcast prefix a prefix ab", "-ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap."},
		{"client tracking on", "+OK"},
		{"client tracking on bcast", "-ERR You can't switch BCAST mode on/off" + anew},
		{"client tracking on optin", "+OK"},
		{"client tracking on optout", "-ERR You can't switch OPTIN/OPTOUT mode" + anew},
		{"client trackinginfo", `{"flags" <"on" "optin"> "redirect" :0 "prefixes" []}`},
		{"client caching no", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."},
		{"client caching foo", "-ERR syntax error"},
		{"client caching yes", "+OK"},
		{"client trackinginfo", `{"flags" <"on" "optin" "caching-yes"> "redirect" :0 "prefixes" []}`},
		{"get k", "nil"},
		{"client trackinginfo", `{"flags" <"on" "optin"> "redirect" :0 "prefixes" []}`},
		{"client getredir", ":0"},
		{"client tracking off", "+OK"},
		{"client tracking on bcast noloop prefix user: prefix x", "+OK"},
		{"client tracking on bcast prefix user:1", "-ERR Prefix 'user:1' overlaps with an existing prefix 'user:'. Prefixes for a single client must not overlap."},
		{"client tracking on bcast prefix y", "+OK"},
		{"client trackinginfo", `{"flags" <"on" "bcast"> "redirect" :0 "prefixes" ["user:" "x" "y"]}`},
		{"client tracking off", "+OK"},
		{"client tracking on redirect " + id, "+OK"},
		{"client getredir", ":" + id},
	} {
		require.Equal(t, x[1], c.line(x[0]), x[0])
	}
	require.Contains(t, other.do("client", "list"), "flags=t")
	require.Contains(t, other.do("client", "list"), "redir="+id)
	require.Equal(t, "+RESET", c.do("reset"))
	require.Equal(t, ":-1", c.do("client", "getredir"))
}

func TestTrackedKeysAreInvalidatedOnce(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	require.Equal(t, "nil", c.do("get", "k"))
	w.do("set", "k", "1")
	c.expect(invalidate("k"))
	w.do("set", "k", "2") // not read since: nothing to tell
	require.Equal(t, `["2" nil]`, c.do("mget", "k", "j"))
	require.Contains(t, w.do("info", "stats"), `tracking_total_keys:2\r\ntracking_total_items:2\r\n`)
	w.do("mset", "k", "1", "j", "2")
	c.expect(invalidate("k") + invalidate("j"))
	c.send(command("get", "k") + command("set", "k", "3"))
	c.expect("$1\r\n1\r\n+OK\r\n" + invalidate("k"))
	c.send(command("multi") + command("get", "k") + command("set", "k", "5") + command("get", "k") + command("exec"))
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$1\r\n3\r\n+OK\r\n$1\r\n5\r\n" + invalidate("k"))

	for _, all := range []string{"flushdb", "flushall", "swapdb 0 1"} {
		c.do("get", "k")
		w.line(all)
		c.expect(invalidateAll)
		require.Contains(t, w.do("info", "stats"), `tracking_total_keys:0\r\ntracking_total_items:0\r\n`)
	}
	require.Equal(t, "nil", c.do("eval", "return redis.call('get', KEYS[1])", "1", "ek"))
	w.do("set", "ek", "1")
	c.expect(invalidate("ek"))

	// A script that reads nothing tracks nothing; one that reads, all it names.
	c.do("eval", "redis.call('set', 'key3', 'bar')", "2", "key1", "key2")
	w.do("mset", "key2", "2", "key1", "2")
	c.do("eval", "redis.call('get', 'key3')", "2", "key1", "key2")
	w.do("mset", "key2", "2", "key1", "2")
	c.expect(invalidate("key2") + invalidate("key1"))

	// Keys that a script does not declare, read or in the log.
	for _, body := range []string{"return redis.call('get', 'und'..'eclared')", "redis.call('incr', 'n') return redis.call('get', 'undeclared')"} {
		require.Equal(t, "nil", c.do("eval", body, "0"))
		w.do("set", "undeclared", "1")
		c.expect(invalidate("undeclared"))
		w.do("del", "undeclared")
	}

	// A key that expires was modified.
	w.do("set", "ex", "1", "px", "60000")
	require.Equal(t, `"1"`, c.do("get", "ex"))
	s.node.offset.Store(120_000)
	eventually(t, func() bool { return w.do("exists", "ex") == ":0" }, "the key expires")
	c.expect(invalidate("ex"))
	require.Equal(t, "+OK", c.do("client", "tracking", "off"))
	require.Contains(t, w.do("info", "clients"), `tracking_clients:0\r\n`)
}

func TestTrackingOptInAndOut(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on", "optin")
	// rueidis asks for a cached value like this.
	c.send(command("client", "caching", "yes") + command("multi") + command("pttl", "k") + command("get", "k") + command("exec") +
		command("get", "other"))
	c.expect("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-2\r\n_\r\n_\r\n")
	w.do("mset", "k", "1", "other", "2")
	c.expect(invalidate("k"))
	c.send(command("client", "caching", "yes") + command("get", "k") + command("get", "other"))
	c.expect("+OK\r\n$1\r\n1\r\n$1\r\n2\r\n")
	w.do("mset", "k", "2", "other", "3")
	c.expect(invalidate("k"))

	c.do("client", "tracking", "off")
	c.do("client", "tracking", "on", "optout")
	c.send(command("client", "caching", "no") + command("get", "k") + command("get", "other"))
	c.expect("+OK\r\n$1\r\n2\r\n$1\r\n3\r\n")
	w.do("mset", "k", "3", "other", "4")
	c.expect(invalidate("other"))
}

func TestTrackingBroadcast(t *testing.T) {
	s := startServer(t, nil)
	c, quiet, w := s.dial(), s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on", "bcast", "prefix", "user:", "prefix", "x")
	quiet.do("hello", "3")
	quiet.do("client", "tracking", "on", "bcast", "noloop")
	require.Contains(t, w.do("info", "stats"), `tracking_total_prefixes:3\r\n`)
	w.do("mset", "user:2", "a", "user:1", "b", "zz", "3")
	c.expect(invalidate("user:1", "user:2"))
	quiet.expect(invalidate("user:1", "user:2", "zz"))
	quiet.send(command("set", "user:9", "1") + command("ping"))
	quiet.expect("+OK\r\n+PONG\r\n")
	c.expect(invalidate("user:9"))
	w.do("set", "user:9", "2")
	c.expect(invalidate("user:9"))
	quiet.expect(invalidate("user:9"))
	require.Contains(t, w.do("client", "list"), "flags=tB")
}

// NOLOOP is silent about the client's own write, and goes on watching the key: the
// client may cache what it wrote.
func TestTrackingNoLoopKeepsWatching(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on", "noloop")
	c.send(command("get", "k") + command("set", "k", "1") + command("ping"))
	c.expect("_\r\n+OK\r\n+PONG\r\n")
	w.do("set", "k", "2")
	c.expect(invalidate("k"))
}

func TestTrackingRedirect(t *testing.T) {
	for _, loops := range []int{1, 2} {
		s := startServer(t, func(o *Options) { o.Loops = loops })
		data, ear, w := s.dial(), s.dial(), s.dial()
		id := ear.do("client", "id")[1:]
		require.Equal(t, "+OK", data.do("client", "tracking", "on", "redirect", id))
		data.do("get", "k")
		w.do("set", "k", "0") // nobody listens: lost, as in Redis
		ear.do("subscribe", "__redis__:invalidate")
		data.do("get", "k")
		w.do("set", "k", "1")
		ear.expect("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n")
		w.do("flushall")
		ear.expect("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n")
		data.do("hello", "3")
		data.do("get", "k")
		ear.conn.Close()
		eventually(t, func() bool { return strings.Contains(data.do("client", "trackinginfo"), "broken_redirect") }, "noticed")
		w.do("set", "k", "2")
		data.expect(">2\r\n$21\r\ntracking-redir-broken\r\n:" + id + "\r\n")
		require.Contains(t, w.do("client", "list"), "flags=tR")
	}
}

// The table is bounded: what is pushed out of it is told to be invalid.
func TestTrackingTableIsBounded(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	require.Equal(t, "+OK", w.do("config", "set", "tracking-table-max-keys", "10"))
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	lost := map[string]bool{}
	for i := range 50 {
		c.send(command("get", fmt.Sprint("k", i)))
		c.expect("_\r\n")
		if i >= 10 {
			lost[c.push()] = true
		}
	}
	require.Len(t, lost, 40)
	require.Contains(t, w.do("info", "stats"), `tracking_total_keys:10\r\n`)
	require.Equal(t, "+OK", w.do("config", "set", "tracking-table-max-keys", "3"))
	for range 7 {
		c.push()
	}
}

// push reads one invalidation of one key.
func (c *testClient) push() string {
	c.t.Helper()
	c.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n")
	return c.reply()
}

// A write that is applied between a read and its reply must be told behind the reply.
func TestInvalidationsWaitForTheReplyUnderWay(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	w.do("set", "k", "old")

	// A transaction that reads and writes is held by the node: the key is entered.
	s.node.hold.Store(true)
	c.send(command("multi") + command("get", "k") + command("incr", "n") + command("exec"))
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n")
	eventually(t, func() bool { return s.tracked.keys.Load() == 1 }, "entered before it is read")
	other := startedWrite(s, "k", "new") // an effect that overtakes the reply
	s.node.hold.Store(false)
	<-other
	c.expect("*2\r\n$3\r\nold\r\n:1\r\n" + invalidate("k"))
}

// The keys of a script are known when it ran; what changed meanwhile is told as well.
func TestScriptsUnderWayMissNoChange(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	w.do("set", "k", "old")
	s.node.hold.Store(true)
	c.send(command("eval", "redis.call('incr', 'n') return redis.call('get', 'k')", "0"))
	eventually(t, func() bool { return s.node.proposals.Load() == 2 }, "proposed")
	other := startedWrite(s, "k", "new")
	<-other
	s.node.hold.Store(false)
	c.expect("$3\r\nold\r\n" + invalidate("k"))
}

// A node without a leader cannot tell what others write: caches do not outlive that.
func TestCachesEndWithoutALeader(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	c.do("get", "k")
	s.node.lonely.Store(true)
	c.expect(invalidateAll)
}

// startedWrite makes the loop see the effect of a write before anything else.
func startedWrite(s *testServer, key, value string) chan struct{} {
	done := make(chan struct{})
	s.Effects(&kv.Effects{List: []kv.Effect{{Kind: kv.EffectKey, Key: []byte(key), Value: []byte(value)}}, Kinds: kv.EffectKey})
	s.loops[0].post(func() { close(done) })
	return done
}

// The check of linearizable caching: clients cache what they read and drop what they
// are told to; when everything is quiet, no cache holds anything but the present
// value. Writers use plain writes, transactions and scripts; readers single reads,
// pipelines, transactions that write, and BCAST.
func TestCachesAreNeverStaleForGood(t *testing.T) {
	for _, mode := range [][]string{{"client", "tracking", "on"}, {"client", "tracking", "on", "bcast"}, {"client", "tracking", "on", "noloop"}} {
		t.Run(strings.Join(mode[2:], " "), func(t *testing.T) {
			s := startServer(t, func(o *Options) { o.Loops = 2 })
			const keys, rounds = 8, 400
			var writers, readers sync.WaitGroup
			quiet := make(chan struct{})
			for n := range 2 {
				writers.Add(1)
				w := s.dial()
				go func() {
					defer writers.Done()
					for i := range rounds {
						key, value := fmt.Sprint("k", i%keys), fmt.Sprint(n, ":", i)
						switch i % 3 {
						case 0:
							w.do("set", key, value)
						case 1:
							w.send(command("multi") + command("set", key, value) + command("exec"))
							w.reply()
							w.reply()
							w.reply()
						case 2:
							w.do("eval", "redis.call('set', KEYS[1], ARGV[1])", "1", key, value)
						}
					}
				}()
			}
			for range 3 {
				r := &cachingClient{testClient: s.dial(), cache: map[string]string{}}
				r.do("hello", "3")
				require.Equal(t, "+OK", r.do(mode...))
				readers.Add(1)
				go func() {
					defer readers.Done()
					for i := 0; ; i++ {
						select {
						case <-quiet:
							r.compare(t, keys)
							return
						default:
							r.read(fmt.Sprint("k", i%keys), i%4 == 3)
						}
					}
				}()
			}
			writers.Wait()
			close(quiet)
			readers.Wait()
		})
	}
}

// cachingClient keeps what it reads until it is told that it changed.
type cachingClient struct {
	*testClient
	cache map[string]string
}

// read reads a key and caches it, alone or in a transaction that also writes.
func (r *cachingClient) read(key string, inTransaction bool) {
	if !inTransaction {
		r.send(command("get", key))
		r.cache[key] = r.next()
		return
	}
	r.send(command("multi") + command("get", key) + command("incr", "n") + command("exec"))
	for range 3 {
		r.next()
	}
	value, _, _ := strings.Cut(strings.Trim(r.next(), "[]"), " ")
	r.cache[key] = value
}

// next is the next reply; pushes before it are obeyed.
func (r *cachingClient) next() string {
	for {
		b, err := r.r.Peek(1)
		require.NoError(r.t, err)
		if b[0] != '>' {
			return r.reply()
		}
		r.obey()
	}
}

func (r *cachingClient) obey() {
	line, err := r.r.ReadString('\n')
	require.NoError(r.t, err)
	require.Equal(r.t, ">2\r\n", line)
	require.Equal(r.t, `"invalidate"`, r.reply())
	switch keys := r.reply(); keys {
	case "nil":
		clear(r.cache)
	default:
		for _, key := range strings.Fields(strings.Trim(keys, "[]")) {
			delete(r.cache, strings.Trim(key, `"`))
		}
	}
}

// compare holds the cache against the present values. Everything is quiet, but the last
// invalidations may be under way: they come behind the replies to who wrote. The client
// stays tracked, or they would never come.
func (r *cachingClient) compare(t *testing.T, keys int) {
	w := &testClient{t: r.t, conn: r.conn, r: r.r}
	deadline := time.Now().Add(5 * time.Second)
	for {
		w.send(command("ping"))
		r.next()
		stale := []string{}
		for i := range keys {
			key := fmt.Sprint("k", i)
			w.send(command("get", key))
			if now := r.next(); r.cache[key] != "" && r.cache[key] != now {
				stale = append(stale, fmt.Sprintf("%s: cached %s, is %s", key, r.cache[key], now))
			}
		}
		if len(stale) == 0 || time.Now().After(deadline) {
			if len(stale) > 0 {
				t.Errorf("stale: %v", stale)
			}
			return
		}
	}
}

// What a chunk reads after it wrote it is not invalidated by that write; a later write of
// the same client is told of. The order of the messages is redis-server's.
func TestTrackingOfOwnWrites(t *testing.T) {
	s := startServer(t, nil)
	c, other := s.dial(), s.dial()
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	c.do("multi")
	c.do("mset", "x", "1", "y", "2")
	c.do("get", "y")
	require.Equal(t, `[+OK "2"]`, c.do("exec"))
	require.Equal(t, "+OK", other.do("set", "z", "1"))
	require.Equal(t, "+PONG", c.do("ping"), "nothing came in between")
	require.Equal(t, "+OK", other.do("set", "y", "3"))
	c.expect(invalidate("y"))

	c.send(command("set", "y", "4") + command("get", "y") + command("set", "y", "5") + command("ping"))
	require.Equal(t, "+OK", c.reply())
	require.Equal(t, `"4"`, c.reply())
	require.Equal(t, "+OK", c.reply())
	c.expect("+PONG\r\n" + invalidate("y"))

	c.send(command("set", "y", "6") + command("get", "y"))
	require.Equal(t, "+OK", c.reply())
	require.Equal(t, `"6"`, c.reply())
	require.Equal(t, "+OK", c.do("set", "y", "7"))
	c.expect(invalidate("y"))
}

// From Redis 7.2 on a script's reads alone are tracked, and a lower limit of tracked keys
// takes effect at once.
func TestTrackingAsLaterVersions(t *testing.T) {
	s := startServer(t, nil)
	c, w := s.dial(), s.dial()
	w.do("config", "set", "redis-version", "7.2")
	c.do("hello", "3")
	c.do("client", "tracking", "on")
	c.do("eval", "redis.call('get', KEYS[1])", "2", "k1", "k2")
	w.do("set", "k2", "1")
	w.do("set", "k1", "1")
	c.expect(invalidate("k1"))
	c.do("mget", "k1", "k2")
	w.do("config", "set", "tracking-table-max-keys", "1")
	require.Contains(t, []string{invalidate("k1"), invalidate("k2")}, c.take(len(invalidate("k1"))))
}

// take reads n bytes.
func (c *testClient) take(n int) string {
	c.t.Helper()
	c.deadline()
	got := make([]byte, n)
	_, err := io.ReadFull(c.r, got)
	require.NoError(c.t, err)
	return string(got)
}
