package resp

import (
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
