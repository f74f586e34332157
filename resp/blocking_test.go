package resp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// blockedClients is what INFO says.
func (s *testServer) blockedClients() int64 { return s.stats.blocked.Load() }

// waitBlocked waits until so many clients are blocked.
func (s *testServer) waitBlocked(n int64) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.blockedClients() == n }, 10*time.Second, time.Millisecond)
}

func (c *testClient) id() string {
	return strings.TrimSpace(strings.TrimPrefix(c.do("CLIENT", "ID"), ":"))
}

func TestBlockedClientIsServed(t *testing.T) {
	s := startServer(t, nil)
	a, b, c := s.dial(), s.dial(), s.dial()
	// What came before is answered at once, what comes after waits.
	a.send(command("SET", "k", "v") + command("GET", "k") + command("BLPOP", "q", "0") + command("GET", "k"))
	a.expect("+OK\r\n$1\r\nv\r\n")
	s.waitBlocked(1)
	b.send(command("BRPOP", "p", "q", "0"))
	s.waitBlocked(2)
	require.Contains(t, c.do("CLIENT", "LIST"), "flags=b")
	require.Contains(t, c.do("INFO", "clients"), `blocked_clients:2\r\n`)
	require.Contains(t, c.do("INFO", "clients"), `total_blocking_keys:2\r\n`)
	// Both pops are before the pusher's next command, though one chunk brings both.
	c.send(command("RPUSH", "q", "x", "y") + command("LLEN", "q"))
	c.expect(":2\r\n:0\r\n")
	a.expect("*2\r\n$1\r\nq\r\n$1\r\nx\r\n$1\r\nv\r\n")
	b.expect("*2\r\n$1\r\nq\r\n$1\r\ny\r\n")
	s.waitBlocked(0)
	require.NotContains(t, c.do("CLIENT", "LIST"), "flags=b")
}

func TestBlockingTimeout(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	began := time.Now()
	c.send(command("BLPOP", "q", "0.05"))
	c.expect("*-1\r\n")
	c.send(command("XREAD", "BLOCK", "50", "STREAMS", "s", "$"))
	c.expect("*-1\r\n")
	// BLPOP waits from its entry's stamp on, which is in whole milliseconds.
	require.GreaterOrEqual(t, time.Since(began), 99*time.Millisecond)
	s.waitBlocked(0)
	c.send(command("MULTI") + command("BLPOP", "q", "0") + command("XREAD", "BLOCK", "0", "STREAMS", "s", "$") + command("EXEC"))
	c.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*-1\r\n*-1\r\n")
}

func TestClientUnblock(t *testing.T) {
	s := startServer(t, nil)
	a, b := s.dial(), s.dial()
	id := a.id()
	for _, block := range [][]string{{"BLPOP", "q", "0"}, {"XREAD", "BLOCK", "0", "STREAMS", "s", "$"}, {"BZMPOP", "0", "1", "z", "MIN"}} {
		a.send(command(block...))
		s.waitBlocked(1)
		b.send(command("CLIENT", "UNBLOCK", id))
		b.expect(":1\r\n")
		a.expect("*-1\r\n")
		a.send(command(block...))
		s.waitBlocked(1)
		b.send(command("CLIENT", "UNBLOCK", id, "ERROR") + command("CLIENT", "UNBLOCK", id, "TIMEOUT"))
		b.expect(":1\r\n:0\r\n")
		a.expect("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
	}
	// Another node's client is that node's business.
	a.send(command("BLPOP", "q", "0"))
	s.waitBlocked(1)
	n, err := strconv.ParseUint(id, 10, 64)
	require.NoError(t, err)
	elsewhere := strconv.FormatUint(n&(1<<40-1)|4<<40, 10)
	b.send(command("CLIENT", "UNBLOCK", elsewhere) + command("CLIENT", "UNBLOCK", elsewhere, "ERROR"))
	b.expect(":1\r\n:0\r\n")
	a.expect("*-1\r\n")
	b.send(command("CLIENT", "UNBLOCK", "12345") + command("CLIENT", "UNBLOCK", "x") + command("CLIENT", "UNBLOCK", id, "FOO"))
	b.expect(":0\r\n-ERR value is not an integer or out of range\r\n-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n")
}

// An element is not popped for a client that has left, however it left.
func TestDisconnectWhileBlocked(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	for i := range 12 {
		a := s.dial()
		proposals := s.node.proposals.Load()
		s.node.hold.Store(i%2 == 1) // then it leaves before it is blocked
		a.send(command("BLPOP", "q", "0"))
		if i%2 == 0 {
			s.waitBlocked(1)
		} else {
			require.Eventually(t, func() bool { return s.node.proposals.Load() > proposals }, 10*time.Second, time.Millisecond)
		}
		switch i % 3 {
		case 0:
			a.conn.Close()
		case 1:
			require.NoError(t, a.conn.(interface{ CloseWrite() error }).CloseWrite())
		default:
			require.Equal(t, int64(1), int64(strings.Count(c.do("CLIENT", "KILL", "ADDR", a.conn.LocalAddr().String()), "1")))
		}
		s.node.hold.Store(false)
		require.Eventually(t, func() bool {
			keys, _ := s.node.store.BlockedKeys()
			return s.node.leaves.Load() == int64(i+1) && keys == 0 && s.blockedClients() == 0 && s.clients.count() == 1
		}, 10*time.Second, time.Millisecond)
		c.send(command("RPUSH", "q", "x") + command("LPOP", "q"))
		c.expect(":1\r\n$1\r\nx\r\n")
	}
	a := s.dial()
	a.send(command("XREAD", "BLOCK", "0", "STREAMS", "s", "$"))
	s.waitBlocked(1)
	a.conn.Close()
	s.waitBlocked(0)
	keys, _ := s.node.store.BlockedKeys()
	require.Zero(t, keys)
}

func TestXReadBlocks(t *testing.T) {
	s := startServer(t, nil)
	a, b, c := s.dial(), s.dial(), s.dial()
	a.send(command("XREAD", "BLOCK", "0", "STREAMS", "s", "t", "$", "$"))
	b.send(command("HELLO", "3"))
	b.reply()
	b.send(command("XREAD", "BLOCK", "10000", "STREAMS", "s", "0"))
	s.waitBlocked(2)
	c.do("SET", "t", "x") // no stream: they wait on
	c.do("DEL", "t")
	c.do("XADD", "t", "1-1", "f", "v")
	a.expect("*1\r\n*2\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
	c.do("EVAL", "redis.call('xadd','s','1-1','f','v')", "0")
	b.expect("%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
	s.waitBlocked(0)
	c.do("SET", "str", "x")
	require.Contains(t, a.do("XREAD", "BLOCK", "0", "STREAMS", "str", "$"), "WRONGTYPE")
	proposals := s.node.proposals.Load()
	a.send(command("XREAD", "BLOCK", "0", "STREAMS", "s", "$"))
	s.waitBlocked(1)
	require.Equal(t, proposals, s.node.proposals.Load(), "XREAD is no write")
	c.do("XADD", "s", "2-1", "f", "v")
	require.Contains(t, a.reply(), "2-1")
}

// Many clients on many keys, pushes from several sides: each element comes out once.
func TestManyBlockedClients(t *testing.T) {
	s := startServer(t, nil)
	const clients, each = 40, 25
	got := make(chan string, clients*each)
	for i := range clients {
		c := s.dial()
		go func() {
			for j := range each {
				c.send(command("BLPOP", "q0", fmt.Sprint("q", (i+j)%5), "0"))
				got <- c.reply()
			}
		}()
	}
	var pushers sync.WaitGroup
	for i := range 4 {
		p := s.dial()
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			for j := range clients * each / 4 {
				p.do("RPUSH", fmt.Sprint("q", 0), fmt.Sprint(i, ".", j))
			}
		}()
	}
	seen := map[string]bool{}
	for range clients * each {
		select {
		case r := <-got:
			require.False(t, seen[r], r)
			seen[r] = true
		case <-time.After(20 * time.Second):
			t.Fatal("an element was lost")
		}
	}
	pushers.Wait()
	s.waitBlocked(0)
}

// A server that stops tells who waits; they are not served any more.
func TestStopWhileBlocked(t *testing.T) {
	s := startServer(t, nil)
	a, b := s.dial(), s.dial()
	a.send(command("BLPOP", "q", "0"))
	b.send(command("XREAD", "BLOCK", "0", "STREAMS", "s", "$"))
	s.waitBlocked(2)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	a.expectClosed("-UNBLOCKED the node this client is connected to stops\r\n")
	b.expectClosed("-UNBLOCKED the node this client is connected to stops\r\n")
}
