package resp

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The replies are redis-server 7.4.1's.
func TestClientFilters(t *testing.T) {
	s := startServer(t, nil)
	c, sub, bob := s.dial(), s.dial(), s.dial()
	sub.send(command("SUBSCRIBE", "ch"))
	require.Equal(t, `["subscribe" "ch" :1]`, sub.reply())
	require.Equal(t, "+OK", c.do("ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*"))
	require.Equal(t, "+OK", bob.do("AUTH", "bob", "x"))
	require.Equal(t, "+OK", bob.do("READONLY"))

	lines := func(args ...string) []string {
		return strings.Split(strings.TrimSpace(strings.Trim(c.do(args...), `"`)), `\n`)
	}
	eventually(t, func() bool { return len(lines("CLIENT", "LIST", "TYPE", "pubsub")) > 0 }, "listed")
	list := lines("CLIENT", "LIST", "TYPE", "PUBSUB")
	require.Contains(t, list[0], " flags=P ")
	require.Contains(t, c.do("CLIENT", "LIST", "TYPE", "normal"), "user=bob")
	require.NotContains(t, c.do("CLIENT", "LIST", "TYPE", "normal"), "flags=P")
	require.Equal(t, `""`, c.do("CLIENT", "LIST", "TYPE", "master"))
	require.Contains(t, bob.do("CLIENT", "INFO"), " flags=r ")

	for _, x := range [][2]string{
		{"client list type foo", "-ERR Unknown client type 'foo'"},
		{"client list foo", "-ERR syntax error"},
		{"client list id x", "-ERR Invalid client ID"},
		{"client list id -1", `""`},
		{"client kill type foo", "-ERR Unknown client type 'foo'"},
		{"client kill user nobody", "-ERR No such user 'nobody'"},
		{"client kill maxage x", "-ERR maxage is not an integer or out of range"},
		{"client kill maxage 0", "-ERR maxage should be greater than 0"},
		{"client kill id 0", "-ERR client-id should be greater than 0"},
		{"client kill maxage 1000", ":0"},
		{"client kill type pubsub", ":1"},
		{"client kill user bob", ":1"},
		{"client kill 1.2.3.4:5", "-ERR No such client"},
	} {
		require.Equal(t, x[1], c.line(x[0]), x[0])
	}
	sub.expectClosed("")
	bob.expectClosed("")
}

// CLIENT LIST tells how much of a request has arrived: at least its own.
func TestClientListQueryBuffer(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Contains(t, c.do("client", "list"), " qbuf=26 ")
	require.Contains(t, c.do("client", "info"), " qbuf=26 ")
}

// A client is killed by its id on whichever node it is: node 4 is this one over again.
func TestKillElsewhere(t *testing.T) {
	s := startServer(t, nil)
	c, victim := s.dial(), s.dial()
	id, err := strconv.ParseUint(victim.do("CLIENT", "ID")[1:], 10, 64)
	require.NoError(t, err)
	elsewhere := strconv.FormatUint(id&(1<<40-1)|4<<40, 10)
	require.Equal(t, ":1", c.do("CLIENT", "KILL", "ID", elsewhere))
	victim.expectClosed("")
	eventually(t, func() bool { return s.clients.count() == 1 }, "gone")
	require.Equal(t, ":0", c.do("CLIENT", "KILL", "ID", elsewhere))
	_, err = s.serveClientCall([]string{"what", "1"})
	require.Error(t, err)
}
