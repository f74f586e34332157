package resp

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answerTogether has the clients' writes answered in one turn of the loop, and returns how
// often the node had been released before.
func answerTogether(s *testServer, clients ...*testClient) int64 {
	s.node.hold.Store(true)
	for _, c := range clients {
		c.send("SET k v\r\n")
	}
	require.Eventually(s.t, func() bool { return s.node.queued() == len(clients) }, 10*time.Second, time.Millisecond)
	before := s.node.releases.Load()
	s.node.hold.Store(false)
	s.node.kick()
	for _, c := range clients {
		c.expect("+OK\r\n")
	}
	return before
}

// The node is released when all clients that were answered have sent their next command,
// or when those who have not let a pause pass; closing counts as sending.
func TestLoopWaitsForAnsweredClients(t *testing.T) {
	s := startServer(t, nil)
	a, b, c := s.dial(), s.dial(), s.dial()
	for name, next := range map[string]func(){
		"all come back":  func() { a.send("SET k v\r\n"); b.send("GET k\r\n"); c.send("PING\r\n") },
		"one comes back": func() { a.send("PING\r\n") },
		"none does":      func() {},
		"one goes":       func() { a.send("PING\r\n"); c.conn.Close(); c = s.dial() },
	} {
		before := answerTogether(s, a, b, c)
		next()
		require.Eventually(t, func() bool { return s.node.releases.Load() > before }, 10*time.Second, time.Millisecond, name)
		for _, x := range []*testClient{a, b, c} { // whatever was asked is answered
			x.send("ECHO end\r\n")
			for x.reply() != `"end"` {
			}
		}
	}
}

// A deep pipeline fills entries alone; beside clients who are answered with it, its part
// of an entry is theirs, and again all of it when they are gone.
func TestSharesOfAnEntry(t *testing.T) {
	var g gather
	require.Equal(t, maxChunkOps, g.share())
	round := func(clients int) {
		g.began, g.expected = time.Time{}, clients
		g.noteCompany()
	}
	round(4)
	require.Equal(t, maxChunkOps/4, g.share())
	g.began, g.expected = time.Now(), 8 // more of the same round are answered
	g.noteCompany()
	require.Equal(t, maxChunkOps/8, g.share())
	round(1) // the first of the next round: the others are probably still there
	require.Equal(t, maxChunkOps/8, g.share())
	round(1)
	require.Equal(t, maxChunkOps, g.share())
	round(1000)
	require.Equal(t, minChunkOps, g.share())
}

// A chunk ends where it has filled its share; one command may be larger.
func TestChunkKeepsToItsShare(t *testing.T) {
	srv, _ := newTestSession(t, nil)
	s := newSession(srv, 1, clientAddr{}, 0)
	commands := func(room int, value string) (in int) {
		s.opsRoom = room
		_, st := s.feed([]byte(strings.Repeat("SET k "+value+"\r\n", 100)))
		require.Equal(t, stepPropose, st)
		in = s.values
		perform(srv, s, st)
		return in
	}
	require.Equal(t, 100, commands(maxChunkOps, strings.Repeat("v", 1000)))
	require.InDelta(t, 16, commands(minChunkOps, strings.Repeat("v", 1000)), 1)
	require.Equal(t, 1, commands(minChunkOps, strings.Repeat("v", minChunkOps)))
}
