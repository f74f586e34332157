package resp

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const pe = "-ERR Protocol error: "

// TestFraming is RELIABILITY.md 5.4 as far as one exchange of bytes shows it: what is
// sent, what comes back, and whether the connection is closed then.
func TestFraming(t *testing.T) {
	s := startServer(t, nil)
	big := strings.Repeat("A", 64<<10)
	for _, tc := range []struct {
		name, send, want string
		open             bool // the connection stays open
	}{
		{"2 empty array", "*0\r\nPING\r\n", "+PONG\r\n", true},
		{"3 null array", "*-1\r\n*-10\r\nPING\r\n", "+PONG\r\n", true},
		{"4 multibulk over int", "*3000000000\r\n", pe + "invalid multibulk length\r\n", false},
		{"5 multibulk max int64", "*9223372036854775807\r\n", pe + "invalid multibulk length\r\n", false},
		{"6 multibulk overflow", "*99999999999999999999\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 plus", "*+1\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 zero", "*01\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 blank", "* 1\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 junk", "*1x\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 nothing", "*\r\n", pe + "invalid multibulk length\r\n", false},
		{"7 CR without LF", "*1\rx", pe + "invalid multibulk length\r\n", false},
		{"8 too many arguments", "*1000001\r\n", pe + "invalid multibulk length\r\n", false},
		{"9 no bulk", "*1\r\nfoo\r\n", pe + "expected '$', got 'f'\r\n", false},
		{"9 control byte", "*1\r\n\x01oo\r\n", pe + "expected '$', got '?'\r\n", false},
		{"10 negative bulk", "*1\r\n$-10\r\n", pe + "invalid bulk length\r\n", false},
		{"10 null bulk", "*1\r\n$-1\r\n", pe + "invalid bulk length\r\n", false},
		{"11 bulk 2 GB", "*1\r\n$2000000000\r\n", pe + "invalid bulk length\r\n", false},
		{"11 bulk max int64", "*1\r\n$9223372036854775807\r\nabc\r\n", pe + "invalid bulk length\r\n", false},
		{"12 bulk 2^64+1", "*1\r\n$18446744073709551617\r\n", pe + "invalid bulk length\r\n", false},
		{"13 bulk text", "*1\r\n$blabla\r\n", pe + "invalid bulk length\r\n", false},
		{"13 bulk junk", "*1\r\n$3x\r\n", pe + "invalid bulk length\r\n", false},
		{"13 bulk blank", "*1\r\n$ 3\r\n", pe + "invalid bulk length\r\n", false},
		{"14 no CRLF after bulk", "*1\r\n$4\r\nPINGxx", pe + "expected CRLF after bulk\r\n", false},
		{"14 LF only", "*1\r\n$4\r\nPING\n\n", pe + "expected CRLF after bulk\r\n", false},
		{"21 inline too big", big + "A", pe + "too big inline request\r\n", false},
		{"21 inline too big with end", big + "A\n", pe + "too big inline request\r\n", false},
		{"22 unbalanced", "SET a \"b\r\n", pe + "unbalanced quotes in request\r\n", false},
		{"22 unbalanced single", "SET a 'b\r\n", pe + "unbalanced quotes in request\r\n", false},
		{"22 quote in a word", "SET a \"b\"c\r\n", pe + "unbalanced quotes in request\r\n", false},
		{"24 NUL", "\x00" + big + "A", pe + "too big inline request\r\n", false},
		{"24 star NUL", "*\x00" + big, pe + "too big mbulk count string\r\n", false},
		{"24 dollar NUL", "*1\r\n$\x00" + big, pe + "too big bulk count string\r\n", false},
		{"24 dollar inline", "$\x00" + big, pe + "too big inline request\r\n", false},
		{"28 POST", "POST / HTTP/1.1\r\nSET a b\r\n", "", false},
		{"28 Host", "Host: x\r\nSET a b\r\n", "", false},
		{
			"28 after GET", "GET / HTTP/1.1\r\nHost: x\r\nSET a b\r\n",
			"-ERR wrong number of arguments for 'get' command\r\n", false,
		},
		{
			"30 RESP3 map", "%1\r\n+a\r\n", "-ERR unknown command '%1', with args beginning with: \r\n" +
				"-ERR unknown command '+a', with args beginning with: \r\n", true,
		},
		{"30 RESP3 null", "_\r\n", "-ERR unknown command '_', with args beginning with: \r\n", true},
		{"30 RESP3 push", ">1\r\n", "-ERR unknown command '>1', with args beginning with: \r\n", true},
		{"30 RESP3 bool", "#t\r\n", "-ERR unknown command '#t', with args beginning with: \r\n", true},
		{"30 RESP3 set", "~1\r\n", "-ERR unknown command '~1', with args beginning with: \r\n", true},
		{"31 HELLO 4", "HELLO 4\r\n", "-NOPROTO unsupported protocol version\r\n", true},
		{"31 HELLO abc", "HELLO abc\r\n", "-ERR Protocol version is not an integer or out of range\r\n", true},
		{"31 HELLO AUTH", "HELLO 3 AUTH x\r\n", "-ERR Syntax error in HELLO option 'AUTH'\r\n", true},
		{"error behind replies", "PING\r\n*x\r\n", "+PONG\r\n" + pe + "invalid multibulk length\r\n", false},
		{
			"error behind a write", "SET k v\r\nGET k\r\n*1\r\n$x\r\n",
			"+OK\r\n$1\r\nv\r\n" + pe + "invalid bulk length\r\n", false,
		},
		{
			"quotes behind a write", "SET k w\r\nGET 'k\r\n",
			"+OK\r\n" + pe + "unbalanced quotes in request\r\n", false,
		},
		{"inline", "set  x  \"a\\x41\\n\" \r\nget x\r\n", "+OK\r\n$3\r\naA\n\r\n", true},
		{"empty name", "*1\r\n$0\r\n\r\n", "-ERR unknown command '', with args beginning with: \r\n", true},
		{
			"injected", "*1\r\n$9\r\nfoo\r\n+OK\r\r\nPING\r\n",
			"-ERR unknown command 'foo  +OK ', with args beginning with: \r\n+PONG\r\n", true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			_, _ = io.WriteString(c.conn, tc.send)
			c.expect(tc.want)
			if tc.open {
				require.Equal(t, `+PONG`, c.do("PING"))
				return
			}
			c.expectClosed("")
		})
	}
	require.Equal(t, 1, strings.Count(s.logs.String(), "possible attack"), "28: logged once a minute")
	require.Equal(t, `nil`, s.dial().do("GET", "a"), "nothing behind POST was executed")
}

func TestManyEmptyLines(t *testing.T) { // 5.4: 1
	s := startServer(t, nil)
	c := s.dial()
	for range 10 {
		c.send(strings.Repeat("\r\n\n", 50_000))
	}
	require.Equal(t, "+PONG", c.do("PING"))
}

func TestHugeAnnouncementsCostNothing(t *testing.T) { // 5.4: 5, 11, 15
	s := startServer(t, func(o *Options) { o.IdleTimeout = time.Second })
	c := s.dial()
	c.send("*2\r\n$3\r\nGET\r\n$33554432\r\nabc")
	eventually(t, func() bool { return s.clients.count() == 1 }, "connected")
	other := s.dial()
	require.Equal(t, "+PONG", other.do("PING"))
	c.expectClosed("") // by the idle timeout: a trickle is traffic, silence is not
}

func TestOneBytePerSegment(t *testing.T) { // 5.4: 25
	s := startServer(t, nil)
	c := s.dial()
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		require.NoError(t, tcp.SetNoDelay(true))
	}
	req := command("SET", "key", strings.Repeat("v", 2000)) + "get key\r\n"
	for i := range len(req) {
		c.send(req[i : i+1])
	}
	require.Equal(t, "+OK", c.reply())
	require.Equal(t, 2002, len(c.reply()))
}

func TestInlineOfManyTokensIsLinear(t *testing.T) { // 5.4: 23
	s := startServer(t, nil)
	c := s.dial()
	started := time.Now()
	c.send("DEL" + strings.Repeat(" k", 32<<10-8) + "\r\n" + strings.Repeat(" ", 64<<10-8) + "\r\n")
	require.Equal(t, ":0", c.reply())
	require.Less(t, time.Since(started), 5*time.Second)
}

func TestHalfClose(t *testing.T) { // 5.4: 26
	s := startServer(t, nil)
	c := s.dial()
	c.send(command("SET", "a", "1") + command("GET", "a") + "*2\r\n$3\r\nGE")
	require.NoError(t, c.conn.(*net.TCPConn).CloseWrite())
	c.expectClosed("+OK\r\n$1\r\n1\r\n")
	eventually(t, func() bool { return s.clients.count() == 0 }, "the connection is gone")
}

func TestResetWhileInFlight(t *testing.T) { // 5.4: 27
	s := startServer(t, nil)
	s.node.hold.Store(true)
	c := s.dial()
	c.send(command("SET", "a", "1"))
	eventually(t, func() bool { return s.node.proposals.Load() == 1 }, "proposed")
	require.NoError(t, c.conn.(*net.TCPConn).SetLinger(0))
	c.conn.Close()
	eventually(t, func() bool { return s.clients.count() == 0 }, "noticed while in flight")
	s.node.hold.Store(false)
	other := s.dial()
	eventually(t, func() bool { return other.do("GET", "a") == `"1"` }, "applied all the same")
}

func TestTLSHello(t *testing.T) { // 5.4: 29
	s := startServer(t, nil)
	c := s.dial()
	// A record header, version, and lengths without a line end: an endless inline
	// request, closed at its cap.
	c.send("\x16\x03\x01\x02\x00" + strings.Repeat("\x01", 64<<10))
	c.expectClosed(pe + "too big inline request\r\n")
}

func TestMaxClients(t *testing.T) { // 5.4: 32
	s := startServer(t, func(o *Options) { o.MaxClients = 3 })
	var held []*testClient
	for range 3 {
		c := s.dial()
		require.Equal(t, "+PONG", c.do("PING"))
		held = append(held, c)
	}
	for range 20 {
		s.dial().expectClosed("-ERR max number of clients reached\r\n")
	}
	require.Equal(t, "+PONG", held[0].do("PING"))
	held[1].conn.Close()
	eventually(t, func() bool { return s.clients.count() == 2 }, "place is free")
	require.Equal(t, "+PONG", s.dial().do("PING"))
	require.Equal(t, `+OK`, held[0].do("CONFIG", "SET", "maxclients", "100"))
	require.Equal(t, "+PONG", s.dial().do("PING"))
}

func TestUnauthenticatedLimits(t *testing.T) { // 5.4: 16
	s := startServer(t, func(o *Options) { o.RequirePass = "secret" })
	for _, tc := range []struct{ name, send, want string }{
		{"args", "*11\r\n", pe + "unauthenticated multibulk length\r\n"},
		{"bulk", "*1\r\n$16385\r\n", pe + "unauthenticated bulk length\r\n"},
		{"auth of 1 MiB", "*2\r\n$4\r\nAUTH\r\n$1048576\r\n", pe + "unauthenticated bulk length\r\n"}, // 20
	} {
		c := s.dial()
		c.send(tc.send)
		c.expectClosed(tc.want)
	}
	c := s.dial()
	require.Equal(t, "-NOAUTH Authentication required.", c.do("GET", "a"))
	require.Equal(t, "-NOAUTH Authentication required.", c.do("CONFIG", "GET", "*"))
	require.Contains(t, c.do("HELLO", "3"), "-NOAUTH HELLO must be called")
	require.Equal(t, "-WRONGPASS invalid username-password pair or user is disabled.", c.do("AUTH", "se\x00ret"))
	require.Equal(t, "-WRONGPASS invalid username-password pair or user is disabled.", c.do("AUTH", "other", "secret"))
	require.Equal(t, "+OK", c.do("AUTH", "default", "secret"))
	require.Equal(t, "nil", c.do("GET", "a"))
	c = s.dial()
	require.Contains(t, c.do("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"), `"proto" :3`)
	require.Equal(t, `"me"`, c.do("CLIENT", "GETNAME"))
	require.Equal(t, "-NOAUTH Authentication required.", func() string { c.do("RESET"); return c.do("GET", "a") }())
}

func TestUnauthenticatedOutput(t *testing.T) { // 5.4: 17
	s := startServer(t, func(o *Options) { o.RequirePass = "secret" })
	c := s.dial()
	require.NoError(t, c.conn.(*net.TCPConn).SetReadBuffer(4096))
	c.deadline()
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		_, err = io.WriteString(c.conn, strings.Repeat("GET a\r\n", 1000))
	}
	require.Error(t, err, "closed though it never read")
	eventually(t, func() bool { return s.clients.count() == 0 }, "closed")
	require.Equal(t, uint64(1), s.stats.outputLimit.Load())
}

func TestAuthTimeout(t *testing.T) { // 5.4: 18
	s := startServer(t, func(o *Options) { o.RequirePass, o.AuthTimeout = "secret", 50*time.Millisecond })
	s.dial().expectClosed("")
}

func TestWrongPasswordsAreSlowedDown(t *testing.T) { // 5.4: 19
	s := startServer(t, func(o *Options) { o.RequirePass = "secret" })
	c := s.dial()
	started := time.Now()
	c.send(strings.Repeat("AUTH x\r\n", 1000))
	for range freeAuthFailures + 3 {
		require.Contains(t, c.reply(), "WRONGPASS")
	}
	require.Greater(t, time.Since(started), (2*authDelayMillis-50)*time.Millisecond)
	denied := s.stats.authDenied.Load()
	waits := uint64(time.Since(started) / (authDelayMillis * time.Millisecond))
	require.LessOrEqual(t, denied, freeAuthFailures+2+waits, "one for each wait, however long this test was held up")
	require.Equal(t, "+OK", s.dial().do("AUTH", "secret"), "others are not slowed down")
}

func TestProtectedMode(t *testing.T) {
	s := startServer(t, nil)
	require.True(t, s.denied(clientAddr{}))
	require.False(t, s.denied(clientAddr{loopback: true}))
	require.True(t, strings.HasPrefix(errDenied, "-DENIED ") && strings.Count(errDenied, "\r\n") == 1)
	c := s.dial()
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "protected-mode", "no"))
	require.False(t, s.denied(clientAddr{}))
	require.Equal(t, "+OK", c.do("CONFIG", "SET", "protected-mode", "yes", "requirepass", "x"))
	require.False(t, s.denied(clientAddr{}))
}

func TestManyConnections(t *testing.T) { // 5.4: 32
	s := startServer(t, nil)
	for i := range 500 {
		conn, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		if i%2 == 0 {
			fmt.Fprint(conn, "PING\r\n")
		}
		conn.Close()
	}
	require.Equal(t, "+PONG", s.dial().do("PING"))
	eventually(t, func() bool { return s.clients.count() == 1 }, "all others are gone")
}
