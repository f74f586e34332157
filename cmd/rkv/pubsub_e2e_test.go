package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// ear collects what a go-redis subscription hears.
type ear struct {
	sub *redis.PubSub
	mu  sync.Mutex
	got []string
}

func listen(t *testing.T, rdb *redis.Client, channels, patterns []string) *ear {
	ctx := context.Background()
	e := &ear{sub: rdb.Subscribe(ctx)}
	t.Cleanup(func() { _ = e.sub.Close() })
	if len(channels) > 0 {
		require.NoError(t, e.sub.Subscribe(ctx, channels...))
	}
	if len(patterns) > 0 {
		require.NoError(t, e.sub.PSubscribe(ctx, patterns...))
	}
	for range len(channels) + len(patterns) {
		_, err := e.sub.Receive(ctx)
		require.NoError(t, err)
	}
	go func() {
		for m := range e.sub.Channel(redis.WithChannelSize(10000)) {
			e.mu.Lock()
			e.got = append(e.got, m.Channel+" "+m.Payload)
			e.mu.Unlock()
		}
	}()
	return e
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.got...)
}

func (e *ear) waitFor(t *testing.T, what string, n int) []string {
	t.Helper()
	require.Eventually(t, func() bool { return len(e.heard()) >= n }, 20*time.Second, 5*time.Millisecond, "%s: %d of %d", what, len(e.heard()), n)
	return e.heard()
}

// go-redis on every node, RESP2 and RESP3: everybody hears everybody, in one order;
// the numbers are the cluster's. The leader dies; those on other nodes go on.
func TestPubSubOnEveryNode(t *testing.T) {
	c := startCluster(t, 3)
	ctx := context.Background()
	var clients []*redis.Client
	var ears []*ear
	for i, p := range c.nodes {
		rdb := p.client(&redis.Options{Protocol: 2 + i%2, MaxRetries: -1, ReadTimeout: 20 * time.Second})
		defer rdb.Close()
		clients = append(clients, rdb)
		ears = append(ears, listen(t, rdb, []string{"news"}, []string{"n*s"}))
	}
	for i, rdb := range clients { // a subscriber does not wait for ever until the leader knows it
		require.Eventually(t, func() bool { return rdb.PubSubNumSub(ctx, "news").Val()["news"] == 3 }, 20*time.Second, 5*time.Millisecond, "node %d", i+1)
	}
	const each = 100
	var wg sync.WaitGroup
	for i, rdb := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range each {
				text := fmt.Sprintf("%d-%03d", i, n)
				if n%10 == 0 { // part of a transaction
					_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
						p.Incr(ctx, "n")
						p.Publish(ctx, "news", text)
						return nil
					})
					require.NoError(t, err)
					continue
				}
				got, err := rdb.Publish(ctx, "news", text).Result()
				require.NoError(t, err)
				require.EqualValues(t, 6, got, "three nodes, channel and pattern")
			}
		}()
	}
	wg.Wait()
	var first []string
	for i, e := range ears {
		heard := e.waitFor(t, fmt.Sprint("node ", i+1), 2*3*each)
		if i == 0 {
			first = heard
		}
		require.ElementsMatch(t, first, heard)
		for from := range clients { // each publisher's order is everywhere
			last := ""
			for _, m := range heard {
				if strings.HasPrefix(m, fmt.Sprintf("news %d-", from)) {
					require.LessOrEqual(t, last, m)
					last = m
				}
			}
		}
		require.Equal(t, map[string]int64{"news": 3, "none": 0}, clients[i].PubSubNumSub(ctx, "news", "none").Val())
		require.EqualValues(t, 1, clients[i].PubSubNumPat(ctx).Val())
		require.Equal(t, []string{"news"}, clients[i].PubSubChannels(ctx, "*").Val())
	}

	lead := c.leader()
	c.signal(lead, syscall.SIGKILL)
	sent := 0
	for i, rdb := range clients {
		if c.nodes[i] == lead {
			continue
		}
		for n := range 20 {
			_, err := rdb.Publish(ctx, "news", fmt.Sprintf("after-%d-%d", i, n)).Result()
			require.NoError(t, err, "a publisher on a surviving node sees only a pause")
			sent++
		}
	}
	for i, e := range ears {
		if c.nodes[i] != lead {
			heard := e.waitFor(t, fmt.Sprint("node ", i+1), 2*3*each+2*sent)
			require.Len(t, heard, 2*3*each+2*sent)
		}
	}
}

// Keyspace events are the same, in the same order, on every node.
func TestKeyspaceEventsOnEveryNode(t *testing.T) {
	c := startCluster(t, 3)
	ctx := context.Background()
	writer := c.followers()[0].client(nil)
	defer writer.Close()
	require.NoError(t, writer.ConfigSet(ctx, "notify-keyspace-events", "KEA").Err())
	var ears []*ear
	for _, p := range c.nodes {
		rdb := p.client(nil)
		defer rdb.Close()
		ears = append(ears, listen(t, rdb, nil, []string{"__key*__:*"}))
	}
	for i := range 50 {
		require.NoError(t, writer.Set(ctx, fmt.Sprint("k", i), "1", 0).Err())
		require.NoError(t, writer.LPush(ctx, "l", i).Err())
	}
	require.NoError(t, writer.Set(ctx, "short", "1", 50*time.Millisecond).Err())
	want := append(make([]string, 0), ears[0].waitFor(t, "node 1", 2*103)...)
	require.Equal(t, "__keyevent@0__:expired short", want[len(want)-1])
	for i, e := range ears {
		e.waitFor(t, fmt.Sprint("node ", i+1), len(want))
		require.Equal(t, want, e.heard(), "node %d", i+1)
	}
}

// Clients that cache what they read on each node, and writers on the others: when all
// is quiet nobody holds anything but the present value.
func TestCachesOnEveryNode(t *testing.T) {
	c := startCluster(t, 3)
	const keys, rounds = 5, 100
	var caches []*cachingConn
	for _, p := range c.nodes {
		caches = append(caches, newCachingConn(t, p.addr))
	}
	quiet := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, r := range caches {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for i := 0; ; i++ {
				select {
				case <-quiet:
					return
				default:
					r.get(fmt.Sprint("k", i%keys))
				}
			}
		}()
	}
	for n, p := range c.nodes[:2] {
		rdb := p.client(nil)
		defer rdb.Close()
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range rounds {
				require.NoError(t, rdb.Set(context.Background(), fmt.Sprint("k", i%keys), fmt.Sprint(n, "-", i), 0).Err())
			}
		}()
	}
	writers.Wait()
	close(quiet)
	readers.Wait()
	final := c.nodes[2].client(nil)
	defer final.Close()
	for n, r := range caches {
		stale := ""
		require.Eventually(t, func() bool { // the last invalidations are on their way
			r.do("PING")
			stale = ""
			for key, cached := range r.cache {
				if now := final.Get(context.Background(), key).Val(); cached != now {
					stale = fmt.Sprintf("node %d holds %s=%q, is %q", n+1, key, cached, now)
				}
			}
			return stale == ""
		}, 5*time.Second, 20*time.Millisecond, "stale for good")
	}
}

// cachingConn is a RESP3 connection that tracks what it reads.
type cachingConn struct {
	t     *testing.T
	conn  net.Conn
	in    *bufio.Reader
	cache map[string]string
}

func newCachingConn(t *testing.T, addr string) *cachingConn {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c := &cachingConn{t: t, conn: conn, in: bufio.NewReader(conn), cache: map[string]string{}}
	c.do("HELLO 3")
	require.Equal(t, "OK", c.do("CLIENT TRACKING ON"))
	return c
}

func (c *cachingConn) get(key string) {
	delete(c.cache, key)
	c.cache[key] = c.do("GET " + key)
}

// do sends an inline command and returns its reply; invalidations before it are
// obeyed.
func (c *cachingConn) do(line string) string {
	_ = c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := io.WriteString(c.conn, line+"\r\n")
	require.NoError(c.t, err)
	for {
		v, push := c.value()
		if !push {
			return v
		}
	}
}

func (c *cachingConn) value() (text string, push bool) {
	line, err := c.in.ReadString('\n')
	require.NoError(c.t, err)
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.in, b)
		require.NoError(c.t, err)
		return string(b[:n]), false
	case '%', '*':
		if line[0] == '%' {
			n *= 2
		}
		for range n {
			c.value()
		}
		return "", false
	case '>':
		c.value() // "invalidate"
		head, err := c.in.ReadString('\n')
		require.NoError(c.t, err)
		if head[0] == '_' {
			clear(c.cache)
			return "", true
		}
		count, _ := strconv.Atoi(strings.TrimSpace(head[1:]))
		for range count {
			key, _ := c.value()
			delete(c.cache, key)
		}
		return "", true
	}
	return line[1:], false
}
