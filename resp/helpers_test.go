package resp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a live server on the loopback interface over a fakeNode.
type testServer struct {
	*Server
	t    testing.TB
	node *fakeNode
	logs *logBuffer
}

// startServer starts a server; the test's end closes it and checks that it could end
// gracefully.
func startServer(t testing.TB, change func(o *Options)) *testServer {
	t.Helper()
	node, logs := newFakeNode(), &logBuffer{}
	opt := Options{
		Addr: "127.0.0.1:0", Backend: node, Version: "0.1.0-test",
		Logger: slog.New(slog.NewTextHandler(logs, nil)), tick: 10 * time.Millisecond,
	}
	if change != nil {
		change(&opt)
	}
	s, err := New(opt)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
		node.stop()
	})
	return &testServer{Server: s, t: t, node: node, logs: logs}
}

// logBuffer collects log lines.
type logBuffer struct {
	mu  chanMutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	defer l.mu.lock()()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	defer l.mu.lock()()
	return l.buf.String()
}

// client is a connection that speaks raw bytes.
type testClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (s *testServer) dial() *testClient { return s.dialTo(s.Addr()) }

func (s *testServer) dialTo(addr string) *testClient {
	s.t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	return &testClient{t: s.t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *testClient) send(s string) {
	c.t.Helper()
	c.deadline()
	_, err := io.WriteString(c.conn, s)
	require.NoError(c.t, err)
}

func (c *testClient) deadline() { _ = c.conn.SetDeadline(time.Now().Add(20 * time.Second)) }

// expect reads exactly len(want) bytes and compares.
func (c *testClient) expect(want string) {
	c.t.Helper()
	c.deadline()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	require.NoError(c.t, err, "got %q, want %q", got[:n], want)
	require.Equal(c.t, want, string(got))
}

// expectClosed reads to the end and requires it to be want.
func (c *testClient) expectClosed(want string) {
	c.t.Helper()
	c.deadline()
	got, err := io.ReadAll(c.r)
	if err != nil && strings.Contains(err.Error(), "reset") {
		err = nil // we sent more than the server wanted to read
	}
	require.NoError(c.t, err)
	require.Equal(c.t, want, string(got))
}

// do sends a command and returns its reply as text.
func (c *testClient) do(args ...string) string {
	c.t.Helper()
	c.send(command(args...))
	return c.reply()
}

// command encodes a request array.
func command(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// reply reads one reply and renders it in a short form: +OK, -ERR x, :1, "bulk",
// [a b], {k v}, nil, <set>.
func (c *testClient) reply() string {
	c.t.Helper()
	c.deadline()
	s, err := readReply(c.r)
	require.NoError(c.t, err)
	return s
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") || len(line) < 3 {
		return "", fmt.Errorf("malformed line %q", line)
	}
	text := line[1 : len(line)-2]
	switch line[0] {
	case '+', '-', ':', ',', '#', '(':
		return line[:len(line)-2], nil
	case '_':
		return "nil", nil
	case '$', '=':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "nil", err
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", err
		}
		return strconv.Quote(string(body[:n])), nil
	case '*', '~', '%':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "nil-array", err
		}
		if line[0] == '%' {
			n *= 2
		}
		parts := make([]string, n)
		for i := range parts {
			if parts[i], err = readReply(r); err != nil {
				return "", err
			}
		}
		marks := map[byte]string{'*': "[]", '~': "<>", '%': "{}"}[line[0]]
		return marks[:1] + strings.Join(parts, " ") + marks[1:], nil
	}
	return "", fmt.Errorf("unknown type in %q", line)
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, ok func() bool, msg string) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, 2*time.Millisecond, msg)
}

// chanMutex is a mutex whose lock returns its unlock.
type chanMutex struct{ mu sync.Mutex }

func (m *chanMutex) lock() func() { m.mu.Lock(); return m.mu.Unlock }
