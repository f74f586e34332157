package resp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func msg(parts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(parts))
	for _, p := range parts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

func pushMsg(parts ...string) string { return ">" + msg(parts...)[1:] }

// The replies of Redis 7.0.15 to a RESP2 client that listens, byte by byte.
func TestSubscriberInRESP2(t *testing.T) {
	c := startServer(t, nil).dial()
	const only = ": only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"
	for _, x := range []struct{ cmd, want string }{
		{"unsubscribe", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"},
		{"sunsubscribe", "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n"},
		{"subscribe a b", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"},
		{"subscribe a a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"},
		{"ping", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"},
		{"ping x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n"},
		{"get a", "-ERR Can't execute 'get'" + only},
		{"client id", "-ERR Can't execute 'client|id'" + only},
		{"publish a b", "-ERR Can't execute 'publish'" + only},
		{"foo", "-ERR unknown command 'foo', with args beginning with: \r\n"},
		{"exec", "-EXECABORT Transaction discarded because of: Can't execute 'exec'" + only},
		{"unsubscribe zz", "*3\r\n$11\r\nunsubscribe\r\n$2\r\nzz\r\n:2\r\n"},
		{"psubscribe p*", "*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n"},
		{"ssubscribe s1 s2", "*3\r\n$10\r\nssubscribe\r\n$2\r\ns1\r\n:1\r\n*3\r\n$10\r\nssubscribe\r\n$2\r\ns2\r\n:2\r\n"},
		{"sunsubscribe", "*3\r\n$12\r\nsunsubscribe\r\n$2\r\ns1\r\n:1\r\n*3\r\n$12\r\nsunsubscribe\r\n$2\r\ns2\r\n:0\r\n"},
		{"unsubscribe a b", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"},
		{"punsubscribe", "*3\r\n$12\r\npunsubscribe\r\n$2\r\np*\r\n:0\r\n"},
		{"ping", "+PONG\r\n"},
		{"subscribe x", "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"},
		{"reset", "+RESET\r\n"},
		{"get a", "$-1\r\n"},
		{"subscribe q", "*3\r\n$9\r\nsubscribe\r\n$1\r\nq\r\n:1\r\n"},
	} {
		c.send(command(strings.Fields(x.cmd)...))
		c.expect(x.want)
	}
	c.send(command("quit"))
	c.expectClosed("+OK\r\n")
}

func TestMessagesReachSubscribers(t *testing.T) {
	s := startServer(t, nil)
	old, new3, pub := s.dial(), s.dial(), s.dial()
	old.send(command("subscribe", "news") + command("psubscribe", "n?ws", "other*"))
	old.expect("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$10\r\npsubscribe\r\n$4\r\nn?ws\r\n:2\r\n" +
		"*3\r\n$10\r\npsubscribe\r\n$6\r\nother*\r\n:3\r\n")
	new3.do("hello", "3")
	new3.send(command("subscribe", "news") + command("ssubscribe", "news"))
	new3.expect(">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n>3\r\n$10\r\nssubscribe\r\n$4\r\nnews\r\n:1\r\n")

	require.Equal(t, ":3", pub.do("publish", "news", "m"))
	require.Equal(t, ":1", pub.do("spublish", "news", "sm"))
	require.Equal(t, ":0", pub.do("publish", "nobody", "m"))
	old.expect(msg("message", "news", "m") + msg("pmessage", "n?ws", "news", "m"))
	new3.expect(pushMsg("message", "news", "m") + pushMsg("smessage", "news", "sm"))
	require.Equal(t, `["news"]`, pub.do("pubsub", "channels"))
	require.Equal(t, `[]`, pub.do("pubsub", "channels", "x*"))
	require.Equal(t, `["news"]`, pub.do("pubsub", "shardchannels"))
	require.Equal(t, `["news" :2 "x" :0]`, pub.do("pubsub", "numsub", "news", "x"))
	require.Equal(t, `["news" :1]`, pub.do("pubsub", "shardnumsub", "news"))
	require.Equal(t, `:2`, pub.do("pubsub", "numpat"))
	require.Equal(t, "-ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.",
		pub.do("pubsub", "channels", "a", "b"))
	list := pub.do("client", "list")
	require.Contains(t, list, "sub=1 psub=2 ssub=0")
	require.Contains(t, list, "flags=P")
	info := pub.do("info", "stats")
	require.Contains(t, info, `pubsub_channels:1\r\npubsub_patterns:2\r\npubsubshard_channels:1\r\n`)
	require.Contains(t, pub.do("info", "clients"), `pubsub_clients:2\r\n`)

	// A client that leaves is counted no more.
	old.conn.Close()
	eventually(t, func() bool { return pub.do("publish", "news", "again") == ":1" }, "one is left")
}

// PUBLISH commands of a pipeline are answered in their places.
func TestPublishInAPipeline(t *testing.T) {
	s := startServer(t, nil)
	sub, c := s.dial(), s.dial()
	sub.do("subscribe", "ch")
	c.send(command("set", "k", "1") + command("publish", "ch", "a") + command("publish", "ch", "b") + command("nonsense") +
		command("publish", "no", "c") + command("get", "k") + command("publish", "ch") +
		command("client", "reply", "skip") + command("publish", "ch", "d") + command("publish", "ch", "e") +
		command("multi") + command("publish", "ch", "f") + command("incr", "k") + command("exec") + command("ping"))
	for _, want := range []string{"+OK", ":1", ":1", "-ERR unknown command 'nonsense', with args beginning with: ", ":0", `"1"`,
		"-ERR wrong number of arguments for 'publish' command", ":1", "+OK", "+QUEUED", "+QUEUED", "[:1 :2]", "+PONG"} {
		require.Equal(t, want, c.reply())
	}
	for _, m := range []string{"a", "b", "d", "e", "f"} {
		sub.expect(msg("message", "ch", m))
	}
	require.Equal(t, ":0", c.do("eval", "return redis.call('publish', 'ch', 'lua')", "0"), "scripts must not see what nodes count")
	sub.expect(msg("message", "ch", "lua"))
}

// A client that publishes to itself hears the message behind the reply, as in Redis
// 7.2; inside of a reply there is never a push.
func TestPublishingToOneself(t *testing.T) {
	c := startServer(t, nil).dial()
	c.do("hello", "3")
	c.send(command("subscribe", "a"))
	c.expect(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	c.send(command("multi") + command("publish", "a", "m") + command("set", "k", "v") + command("publish", "a", "n") + command("exec"))
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n+OK\r\n:1\r\n" + pushMsg("message", "a", "m") + pushMsg("message", "a", "n"))
	c.send(command("multi") + command("subscribe", "b") + command("ssubscribe", "s") + command("ping") + command("exec"))
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n" +
		"-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n+PONG\r\n")
	c.send(command("client", "reply", "skip") + command("subscribe", "b") + command("nonsense"))
	c.expect(">3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n-ERR unknown command 'nonsense', with args beginning with: \r\n")
	c.send(command("client", "reply", "off") + command("subscribe", "e") + command("publish", "e", "x"))
	c.expect(">3\r\n$9\r\nsubscribe\r\n$1\r\ne\r\n:3\r\n" + pushMsg("message", "e", "x"))
}

func TestKeyspaceNotifications(t *testing.T) {
	s := startServer(t, nil)
	sub, c := s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("config", "set", "notify-keyspace-events", "KEA"))
	require.Equal(t, `["notify-keyspace-events" "AKE"]`, c.do("config", "get", "notify-keyspace-events"))
	require.Contains(t, c.do("config", "set", "notify-keyspace-events", "KEQ"), "Invalid event class character")
	sub.do("psubscribe", "__key*__:*")
	c.do("set", "foo", "bar")
	sub.expect(msg("pmessage", "__key*__:*", "__keyspace@0__:foo", "set") + msg("pmessage", "__key*__:*", "__keyevent@0__:set", "foo"))
	c.do("config", "set", "notify-keyspace-events", "Exm")
	c.send(command("select", "3") + command("set", "t", "1", "px", "30"))
	c.expect("+OK\r\n+OK\r\n")
	for gone := false; !gone; {
		gone = c.do("get", "t") == "nil"
	}
	sub.expect(msg("pmessage", "__key*__:*", "__keyevent@3__:expired", "t"))
	sub.expect(msg("pmessage", "__key*__:*", "__keyevent@3__:keymiss", "t"))
}

// A subscriber that does not read is closed at the limit; others go on.
func TestSlowSubscriberIsClosed(t *testing.T) {
	s := startServer(t, nil)
	slow, fast, pub := s.dial(), s.dial(), s.dial()
	require.Equal(t, `["client-output-buffer-limit" "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"]`,
		pub.do("config", "get", "client-output-buffer-limit"))
	require.Equal(t, "+OK", pub.do("config", "set", "client-output-buffer-limit", "pubsub 4mb 0 0"))
	require.Contains(t, pub.do("config", "set", "client-output-buffer-limit", "pubsub 4mb 0"), "Wrong number of arguments in buffer limit")
	require.Contains(t, pub.do("config", "set", "client-output-buffer-limit", "foo 1 2 3"), "Invalid client class specified")
	slow.do("subscribe", "ch")
	fast.do("subscribe", "ch")
	big := strings.Repeat("x", 1<<20)
	for range 40 {
		pub.do("publish", "ch", big)
		fast.expect(msg("message", "ch", big)) // it keeps up, or it were closed as well
	}
	eventually(t, func() bool { return pub.do("publish", "ch", "x") == ":1" }, "the slow one is gone")
	require.EqualValues(t, 1, s.stats.outputLimit.Load())
}

func TestSoftLimitClosesAfterItsTime(t *testing.T) {
	s := startServer(t, nil)
	slow, pub := s.dial(), s.dial()
	require.Equal(t, "+OK", pub.do("config", "set", "client-output-buffer-limit", "pubsub 0 1mb 1"))
	slow.do("subscribe", "ch")
	big := strings.Repeat("x", 1<<20)
	start := time.Now()
	for range 20 {
		pub.do("publish", "ch", big)
	}
	eventually(t, func() bool { return pub.do("publish", "ch", "x") == ":0" }, "closed")
	require.GreaterOrEqual(t, time.Since(start), time.Second)
}

func TestUnsubscribedAtTheEnd(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Loops = 2 })
	pub := s.dial()
	var clients []*testClient
	for i := range 20 {
		c := s.dial()
		for j := range 10 {
			c.do("subscribe", fmt.Sprint(j))
			c.do("psubscribe", fmt.Sprint(j%(i+1)))
		}
		clients = append(clients, c)
	}
	require.Equal(t, `["3" :20]`, pub.do("pubsub", "numsub", "3"))
	for _, c := range clients[:10] {
		c.conn.Close()
	}
	eventually(t, func() bool { return pub.do("pubsub", "numsub", "3") == `["3" :10]` }, "half are gone")
	for _, c := range clients[10:] {
		c.conn.Close()
	}
	eventually(t, func() bool { return pub.do("pubsub", "channels") == "[]" && pub.do("pubsub", "numpat") == ":0" }, "all are gone")
}
