package resp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

// doneChan is a kv.Waiter for sessions without a loop.
type doneChan chan *kv.Chunk

func (d doneChan) ChunkDone(c *kv.Chunk) { d <- c }

// drive feeds a session in pieces of at most size bytes, performs its steps at once
// and returns what it would have written.
func drive(srv *Server, data []byte, size int) []byte {
	s := newSession(srv, srv.clients.nextID(), clientAddr{loopback: true}, srv.backend.Now())
	var buf, out []byte
	for len(data) > 0 || len(buf) > 0 {
		n := min(size, len(data))
		buf, data = append(buf, data[:n]...), data[n:]
		for more := true; more; {
			s.now = srv.backend.Now()
			used, st := s.feed(buf)
			buf = append([]byte(nil), buf[used:]...)
			more = perform(srv, s, st)
			out = append(out, s.out...)
			s.resetOutput()
			if st == stepClose || s.closing && st != stepMore {
				return out
			}
		}
		if len(data) == 0 {
			break
		}
	}
	return out
}

// perform does what the loop would; it reports whether there may be more to do.
func perform(srv *Server, s *session, st step) bool {
	switch st {
	case stepRead:
		if srv.backend.Store().Read(s.chunk, srv.backend.Now()) {
			srv.backend.Store().Read(s.chunk, 0)
		}
		if s.chunk.WantsLog() {
			s.chunk.LogScripts()
			return perform(srv, s, stepPropose)
		}
		s.finish()
	case stepPropose:
		done := make(doneChan, 1)
		s.chunk.Waiter = done
		srv.backend.Propose(s.chunk)
		<-done
		s.finish()
	case stepBarrier:
		s.passBarrier(nil)
	case stepAsync:
		done := make(chan func(*kv.Reply), 1)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.async(ctx, func(fill func(*kv.Reply)) { done <- fill })
		s.asyncDone(<-done)
	case stepMore:
		return false
	case stepPause:
		s.srv.pause.until.Store(0)
		s.pausedUntil = 0
	}
	return true
}

// checkReplies requires the output to be whole replies.
func checkReplies(t *testing.T, out []byte) {
	r := bufio.NewReader(bytes.NewReader(out))
	for {
		if _, err := readReply(r); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			require.NoError(t, err, "%q", out)
		}
	}
}

func newTestSession(t testing.TB, change func(*Options)) (*Server, *fakeNode) {
	node := newFakeNode()
	t.Cleanup(node.stop)
	opt := Options{Backend: node}
	if change != nil {
		change(&opt)
	}
	srv, err := newServer(opt)
	require.NoError(t, err)
	return srv, node
}

// TestRepliesDoNotDependOnSegments: any cut of the stream gives the same replies.
func TestRepliesDoNotDependOnSegments(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	script := "FLUSHALL\r\n*0\r\n" + command("SET", "a", "x\r\ny") + "get a\r\n" + command("MULTI") + "set b \"1 2\"\r\n" +
		command("GET", "b") + "SELECT 1\r\nPING\r\nEXEC\r\n\r\nDBSIZE\r\n" + command("HELLO", "3") + "HGETALL x\r\nCLIENT REPLY SKIP\r\n" +
		"PING\r\nWATCH w\r\nMULTI\r\nEXEC\r\nnosuch\r\nZADD z 1.5 m\r\nZRANGE z 0 -1 WITHSCORES\r\nRESET\r\n" + "*1\r\n$4\r\nPINGx"
	strip := func(out []byte) string { // HELLO tells the client id
		before, after, ok := strings.Cut(string(out), "$2\r\nid\r\n:")
		require.True(t, ok)
		_, after, _ = strings.Cut(after, "\r\n")
		return before + after
	}
	want := strip(drive(srv, []byte(script), len(script)))
	require.Contains(t, want, "-ERR Protocol error: expected CRLF after bulk\r\n")
	for size := 1; size < 40; size++ {
		require.Equal(t, want, strip(drive(srv, []byte(script), size)), "in pieces of %d", size)
	}
}

// TestOneBarrierVouchesForWhatHadArrived: reads that came in together are cut into
// several chunks, but ask once.
func TestOneBarrierVouchesForWhatHadArrived(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	s := newSession(srv, 1, clientAddr{}, 0)
	buf := []byte(strings.Repeat("GET a\r\n", 7*minChunkReads))
	used, st := s.feed(buf)
	require.Equal(t, stepRead, st)
	require.True(t, s.needBarrier())
	buf = buf[used:]
	s.barrier = len(buf) // as the loop notes when it asks
	chunks := 1
	for len(buf) > 0 {
		srv.backend.Store().Read(s.chunk, 0)
		s.finish()
		used, st = s.feed(buf)
		require.Equal(t, stepRead, st)
		require.False(t, s.needBarrier())
		buf = buf[used:]
		chunks++
	}
	require.Equal(t, 3, chunks, "16, 32 and 64 reads: the window opens while replies are small")
	srv.backend.Store().Read(s.chunk, 0)
	s.finish()
	_, st = s.feed([]byte("GET a\r\n"))
	require.Equal(t, stepRead, st)
	require.True(t, s.needBarrier(), "this one came later")
}

func TestReadWindowClosesForBigReplies(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	drive(srv, []byte(command("SET", "big", strings.Repeat("v", smallTape))), 1<<20)
	s := newSession(srv, 1, clientAddr{}, 0)
	s.readWindow = maxChunkReads
	for _, want := range []int{maxChunkReads, minChunkReads} {
		used, st := s.feed([]byte(strings.Repeat("GET big\r\n", 2*maxChunkReads)))
		require.Equal(t, stepRead, st)
		require.Equal(t, want*len("GET big\r\n"), used)
		srv.backend.Store().Read(s.chunk, 0)
		s.finish()
		s.resetOutput()
	}
}

func TestReadonlyNeedsNoBarrier(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	s := newSession(srv, 1, clientAddr{}, 0)
	_, st := s.feed([]byte("READONLY\r\nGET a\r\n"))
	require.Equal(t, stepRead, st)
	require.False(t, s.needBarrier())
}

// TestChunkCaps: one chunk holds at most so many commands and bytes.
func TestChunkCaps(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	s := newSession(srv, 1, clientAddr{}, 0)
	used, st := s.feed([]byte(strings.Repeat("INCR a\r\n", 3000)))
	require.Equal(t, stepPropose, st)
	require.Equal(t, maxChunkCommands*len("INCR a\r\n"), used)
	s = newSession(srv, 2, clientAddr{}, 0)
	one := command("SET", "k", strings.Repeat("v", 100<<10))
	used, st = s.feed([]byte(strings.Repeat(one, 10)))
	require.Equal(t, stepPropose, st)
	require.Equal(t, 3*len(one), used, "256 KiB of operations, rounded up")
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what pools keep")
	}
	srv, node := newTestSession(t, nil)
	s := newSession(srv, 1, clientAddr{}, 0)
	s.now = node.Now()
	store := node.Store()
	for name, req := range map[string]string{
		"GET": strings.Repeat(command("GET", "key"), 16), "PING": strings.Repeat(command("PING"), 16),
	} {
		buf := []byte(req)
		allocs := testing.AllocsPerRun(200, func() {
			used, st := s.feed(buf)
			if st == stepRead {
				store.Read(s.chunk, 0)
				s.finish()
			}
			if used != len(buf) {
				panic("not consumed")
			}
			s.publish(0)
			s.resetOutput()
		})
		require.Less(t, allocs, 2.0, "%s: per 16 commands", name)
	}
	buf := []byte(strings.Repeat(command("SET", "key", "value"), 16))
	allocs := testing.AllocsPerRun(200, func() {
		s.feed(buf)
		s.chunk.Reply.OK() // as if applied
		s.finish()
		s.resetOutput()
	})
	require.Less(t, allocs, 2.0, "SET: per 16 commands")
}

func TestEqualSecret(t *testing.T) {
	require.True(t, equalSecret([]byte("abc"), "abc"))
	require.False(t, equalSecret([]byte("abd"), "abc"))
	require.False(t, equalSecret([]byte(""), "abc"))
	require.False(t, equalSecret(bytes.Repeat([]byte("a"), 1<<20), "abc"))
}

func TestAuthThrottleOfTheNode(t *testing.T) {
	var th authThrottle
	for range maxAuthFailuresPerSecond {
		require.False(t, th.exceeded(5000))
	}
	require.True(t, th.exceeded(5999))
	require.False(t, th.exceeded(6000))
}

// TestLargeRepliesChangeHands: a large tape becomes the session's output; what the chunk
// and other sessions do afterwards does not show in it.
func TestLargeRepliesChangeHands(t *testing.T) {
	srv, node := newTestSession(t, func(o *Options) { o.OutputSoftLimit = 64 << 20 })
	fillLarge(srv, 20_000)
	for _, words := range []string{"LRANGE list 0 -1", "HGETALL hash", "ZRANGE zset 0 -1 WITHSCORES", "SMEMBERS set", "KEYS *", "GET string"} {
		for _, proto := range []int{resp2, resp3} {
			s, other := newSession(srv, 1, clientAddr{}, node.Now()), newSession(srv, 2, clientAddr{}, node.Now())
			s.proto, other.proto = proto, proto
			answer := func(s *session, words string) []byte {
				_, st := s.feed([]byte(command(strings.Fields(words)...)))
				require.Equal(t, stepRead, st)
				node.store.Read(s.chunk, 0)
				s.finish()
				return s.out
			}
			out := answer(s, words)
			require.GreaterOrEqual(t, len(out), kv.LargeTape)
			want := append([]byte(nil), out...)
			for range 3 {
				answer(other, "HGETALL hash")
				answer(other, words)
				other.resetOutput()
			}
			require.True(t, bytes.Equal(want, s.out), words)
			require.LessOrEqual(t, cap(s.out), 2*len(s.out), "what a slow client makes us hold")
			checkReplies(t, out)
			s.out = append(s.out, "+pushed\r\n"...)
			answer(s, "GET nosuch")
			require.True(t, bytes.HasPrefix(s.out, want))
			require.True(t, bytes.HasPrefix(s.out[len(want):], []byte("+pushed\r\n")))
			require.Less(t, len(s.out), len(want)+20)
		}
	}
}
