package resp

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeepPipelineInOrder(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	const n = 100_000
	var b strings.Builder
	for i := range n {
		if i%2 == 0 {
			b.WriteString(command("INCR", "n"))
		} else {
			fmt.Fprintf(&b, "ECHO %d\r\n", i)
		}
	}
	go c.send(b.String()) // a client that reads while it writes
	for i := range n {
		want := fmt.Sprintf(`"%d"`, i)
		if i%2 == 0 {
			want = fmt.Sprintf(":%d", i/2+1)
		}
		require.Equal(t, want, c.reply())
	}
}

// TestPipelineWrittenBeforeReading: many clients write a whole pipeline before they
// read the first reply. The server has to take it in though it cannot send.
func TestPipelineWrittenBeforeReading(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", strings.Repeat("v", 1000)))
	const n = 100_000
	c.send(strings.Repeat("GET k\r\n", n))
	for range n {
		c.expect("$1000\r\n")
		_, err := c.r.Discard(1002)
		require.NoError(t, err)
	}
	require.Equal(t, "+PONG", c.do("PING"))
}

// TestSlowReaderCostsBoundedMemory: a pipeline that demands gigabytes is executed no
// further than the client reads (RELIABILITY.md 5.2, 8).
func TestSlowReaderCostsBoundedMemory(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", strings.Repeat("v", 1<<20)))
	c.send(strings.Repeat("GET k\r\n", 4096)) // 4 GiB of replies
	other := s.dial()
	eventually(t, func() bool { return s.stats.commands.Load() >= minChunkReads }, "the first chunk ran")
	for range 50 { // turns of the loop in which it must not go on
		require.Equal(t, "+PONG", other.do("PING"), "others are served")
	}
	require.Less(t, s.stats.commands.Load(), uint64(200))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	require.Less(t, m.HeapInuse, uint64(500<<20))
	for range 64 { // and it goes on when the client reads
		c.expect("$1048576\r\n")
		_, err := c.r.Discard(1<<20 + 2)
		require.NoError(t, err)
	}
}

// TestLargeReplyInTurns: a reply of many turns arrives whole, between others, and does not
// keep other clients waiting.
func TestLargeReplyInTurns(t *testing.T) {
	s := startServer(t, nil)
	c, other := s.dial(), s.dial()
	value := strings.Repeat("0123456789abcdef", 1<<20)
	require.Equal(t, "+OK", c.do("SET", "k", value))
	for range 3 {
		c.send("PING\r\nGET k\r\nGETRANGE k 0 299999\r\nPING\r\n")
		require.Equal(t, "+PONG", other.do("PING"))
		c.expect(fmt.Sprintf("+PONG\r\n$%d\r\n%s\r\n$300000\r\n%s\r\n+PONG\r\n", len(value), value, value[:300000]))
		require.Equal(t, "+PONG", other.do("PING"))
	}
}

func TestWriteTimeout(t *testing.T) {
	s := startServer(t, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", strings.Repeat("v", 8<<20)))
	c.send("GET k\r\nGET k\r\n")
	eventually(t, func() bool { return s.clients.count() == 0 }, "closed")
	require.Equal(t, uint64(1), s.stats.slow.Load())
}

func TestOutputHardLimit(t *testing.T) {
	s := startServer(t, func(o *Options) { o.OutputHardLimit = 8 << 20 })
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", strings.Repeat("v", 4<<20)))
	c.send("MGET k k k k k k k k\r\n")
	eventually(t, func() bool { return s.stats.outputLimit.Load() == 1 }, "closed")
}

func TestBigValues(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	const limit = 32 << 20
	value := strings.Repeat("0123456789abcdef", limit/16)
	require.Equal(t, "+OK", c.do("SET", "big", value))
	c.send("GET big\r\n")
	c.expect(fmt.Sprintf("$%d\r\n%s\r\n", limit, value))
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", limit+1))
	c.expectClosed("-ERR Protocol error: invalid bulk length\r\n")
	c = s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "proto-max-bulk-len", "1mb"))
	eventually(t, func() bool { return s.maxBulk.Load() == 1<<20 }, "the guard follows the setting")
	c.send("*2\r\n$3\r\nGET\r\n$1048577\r\n")
	c.expectClosed("-ERR Protocol error: invalid bulk length\r\n")
}

func TestQueryBufferLimit(t *testing.T) {
	s := startServer(t, func(o *Options) { o.QueryBufferLimit = 1 << 20 })
	c := s.dial()
	c.deadline()
	_, _ = io.WriteString(c.conn, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n"+strings.Repeat("v", 4<<20))
	eventually(t, func() bool { return s.clients.count() == 0 }, "closed")
	require.Equal(t, uint64(1), s.stats.queryLimit.Load())
}

func TestIdleTimeout(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "timeout", "1"))
	c.expectClosed("")
	require.Equal(t, uint64(1), s.stats.idleClosed.Load())
}

// TestSaturatedNodeStopsReading: back-pressure reaches the socket, and is released.
func TestSaturatedNodeStopsReading(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+PONG", c.do("PING"))
	s.node.full.Store(true)
	c.send(command("SET", "a", "1"))
	before := s.stats.netIn.Load()
	eventually(t, func() bool { return s.stats.netIn.Load() > before || before > 14 }, "the first bytes arrive")
	require.Never(t, func() bool { return s.node.proposals.Load() > 0 }, 30*time.Millisecond, time.Millisecond, "it is executed")
	s.node.full.Store(false)
	require.Equal(t, "+OK", c.reply())
}

// TestDueKeyIsTickedBeforeARead: a read that meets a key due by the clock makes the
// whole cluster expire it first.
func TestDueKeyIsTickedBeforeARead(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "k", "v", "PX", "60000"))
	require.Equal(t, `"v"`, c.do("GET", "k"))
	require.Zero(t, s.node.ticksAsked.Load())
	s.node.offset.Store(120_000)
	require.Equal(t, "nil", c.do("GET", "k"))
	require.Equal(t, int64(1), s.node.ticksAsked.Load())
	require.Equal(t, "nil", c.do("GET", "k"))
	require.Equal(t, int64(1), s.node.ticksAsked.Load())
}

// TestReadsOfATurnShareABarrier: while one barrier is under way, reads gather.
func TestReadsOfATurnShareABarrier(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+PONG", c.do("PING"))
	c.send(strings.Repeat("GET a\r\n", 64))
	for range 64 {
		require.Equal(t, "nil", c.reply())
	}
	require.LessOrEqual(t, s.node.barriers.Load(), int64(2), "not one per chunk of 16")
	require.LessOrEqual(t, s.stats.writes.Load(), uint64(3), "one write per turn")
}

// TestFailedBarrierVouchesForNothing: what comes behind the failed reads asks again.
func TestFailedBarrierVouchesForNothing(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+PONG", c.do("PING"))
	s.node.failBarrier.Store(true)
	c.send(strings.Repeat("GET a\r\n", 2*minChunkReads))
	for range minChunkReads {
		require.Equal(t, "-CLUSTERDOWN No leader", c.reply())
	}
	for range minChunkReads {
		require.Equal(t, "nil", c.reply())
	}
	require.GreaterOrEqual(t, s.node.barriers.Load(), int64(2))
	s.node.failBarrier.Store(true)
	require.Equal(t, "-CLUSTERDOWN No leader", c.do("WATCH", "a"))
	require.Equal(t, "+OK", c.do("WATCH", "a"))
}

func TestPanicCostsOneConnection(t *testing.T) {
	s := startServer(t, nil)
	c, other := s.dial(), s.dial()
	s.node.panicNow.Store(true)
	c.send("PING\r\nPUBSUB CHANNELS\r\nPING\r\n")
	c.expectClosed("")
	require.Equal(t, "+PONG", other.do("PING"))
	require.Equal(t, "[]", other.do("PUBSUB", "CHANNELS"))
	require.Contains(t, s.logs.String(), "connection closed after a panic")
}

// TestOutOfDescriptors: accept fails, the server does not spin, and recovers.
func TestOutOfDescriptors(t *testing.T) {
	s := startServer(t, nil)
	held := s.dial()
	require.Equal(t, "+PONG", held.do("PING"))
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	conn.Close()
	eventually(t, func() bool { return s.stats.connections.Load() == 2 && s.clients.count() == 1 }, "settled")
	for range 2 { // its descriptor is given back at the end of the turn, and would serve the next one
		turned := make(chan struct{})
		s.loops[0].post(func() { close(turned) })
		<-turned
	}
	fd, err := syscall.Dup(0) // the lowest free number, near enough
	require.NoError(t, err)
	syscall.Close(fd)
	raw, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(raw)
	low := before
	low.Cur = uint64(raw + 1)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	restore := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)) }
	defer restore()
	addr := s.Addr()
	_, port := splitAddr(addr)
	sa := &syscall.SockaddrInet4{Port: int(mustInt(port)), Addr: [4]byte{127, 0, 0, 1}}
	require.NoError(t, syscall.Connect(raw, sa), "the kernel completes the handshake")
	eventually(t, func() bool { return strings.Contains(s.logs.String(), "accept failed") }, "noticed")
	require.Equal(t, "+PONG", held.do("PING"), "connections that are there are served")
	restore()
	eventually(t, func() bool { return s.clients.count() == 2 }, "accepted later")
	require.Less(t, strings.Count(s.logs.String(), "accept failed"), 200)
}

func TestCloseIsGraceful(t *testing.T) {
	node := newFakeNode()
	defer node.stop()
	s, err := New(Options{Addr: "127.0.0.1:0", Backend: node, tick: 5 * time.Millisecond})
	require.NoError(t, err)
	s.Start()
	node.hold.Store(true)
	busy, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer busy.Close()
	idle, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer idle.Close()
	fmt.Fprint(busy, "SET a 1\r\nGET a\r\n")
	eventually(t, func() bool { return node.proposals.Load() == 1 }, "in flight")
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended <- s.Close(ctx)
	}()
	_, err = idle.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "an idle connection ends at once")
	_, err = net.DialTimeout("tcp", s.Addr(), time.Second)
	require.Error(t, err, "nobody is accepted any more")
	node.hold.Store(false)
	got, err := io.ReadAll(busy)
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n$1\r\n1\r\n", string(got))
	require.NoError(t, <-ended)
}

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	node := newFakeNode()
	defer node.stop()
	s, err := New(Options{Addr: "127.0.0.1:0", Backend: node})
	require.NoError(t, err)
	s.Start()
	node.hold.Store(true)
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "SET a 1\r\n")
	eventually(t, func() bool { return node.proposals.Load() == 1 }, "in flight")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Close(ctx), context.DeadlineExceeded)
	node.hold.Store(false) // the answer comes to a server that is gone
}

func TestCloseWithoutStart(t *testing.T) {
	node := newFakeNode()
	defer node.stop()
	s, err := New(Options{Addr: "127.0.0.1:0", Backend: node, Loops: 2})
	require.NoError(t, err)
	require.NoError(t, s.Close(context.Background()))
	again, err := New(Options{Addr: s.Addr(), Backend: node})
	require.NoError(t, err, "the address is free again")
	_, err = New(Options{Addr: s.Addr(), Backend: node})
	require.ErrorContains(t, err, "address already in use")
	require.NoError(t, again.Close(context.Background()))
}

func TestCloseEndsAWait(t *testing.T) {
	node := newFakeNode()
	defer node.stop()
	s, err := New(Options{Addr: "127.0.0.1:0", Backend: node})
	require.NoError(t, err)
	s.Start()
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "WAIT 9 0\r\n")
	eventually(t, func() bool { return s.stats.commands.Load() > 0 }, "waiting")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, ":2\r\n", string(got))
}

func TestWaitEndsWithTheClient(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.send("WAIT 9 0\r\n")
	eventually(t, func() bool { return s.stats.commands.Load() > 0 }, "waiting")
	c.conn.Close()
	eventually(t, func() bool { return s.clients.count() == 0 }, "a blocked client that left is noticed")
}

func TestManyClientsOnSeveralLoops(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Loops = 3 })
	const clients, each = 50, 200
	conns := make([]*testClient, clients)
	for i := range conns {
		conns[i] = s.dial()
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				if got := c.do("INCR", "n"); got[0] != ':' {
					t.Errorf("INCR: %s", got)
					return
				}
				if got := c.do("GET", "n"); got[0] != '"' {
					t.Errorf("GET: %s", got)
					return
				}
			}
		}()
	}
	wg.Wait()
	require.Equal(t, fmt.Sprintf(`"%d"`, clients*each), s.dial().do("GET", "n"))
}

// TestIdleConnectionsAreCheap: idle clients hold neither goroutines nor read buffers
// of their own.
func TestIdleConnectionsAreCheap(t *testing.T) {
	s := startServer(t, nil)
	goroutines := runtime.NumGoroutine()
	for range 300 {
		c := s.dial()
		require.Equal(t, "+OK", c.do("SET", "k", "v"))
	}
	require.InDelta(t, goroutines, runtime.NumGoroutine(), 5)
	kept := make(chan int, 1)
	s.loops[0].post(func() { kept <- s.loops[0].bufBytes })
	require.LessOrEqual(t, <-kept, maxIdleBytes)
}
