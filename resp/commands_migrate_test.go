package resp

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMigrate(t *testing.T) {
	from, to := startServer(t, nil), startServer(t, nil)
	c, there := from.dial(), to.dial()
	host, port := splitAddr(to.Addr())
	migrate := func(words string) string { return c.line("MIGRATE " + host + " " + port + " " + words) }

	require.Equal(t, "+NOKEY", migrate("k 9 5000"))
	c.do("SET", "k", "v", "PX", "60000")
	require.Equal(t, "+OK", migrate("k 9 5000"))
	require.Equal(t, ":0", c.do("EXISTS", "k"))
	there.do("SELECT", "9")
	require.Equal(t, `"v"`, there.do("GET", "k"))
	require.NotEqual(t, ":-1", there.do("PTTL", "k"))

	c.do("RPUSH", "l", "a", "b")
	c.do("SET", "k", "w")
	c.send(command("MIGRATE", host, port, "", "9", "5000", "KEYS", "k", "l", "none"))
	require.Equal(t, "-ERR Target instance replied with error: BUSYKEY Target key name already exists.", c.reply())
	require.Equal(t, `"w"`, c.do("GET", "k"), "was not taken")
	require.Equal(t, ":0", c.do("EXISTS", "l"), "was taken")
	require.Equal(t, `["a" "b"]`, there.do("LRANGE", "l", "0", "-1"))
	require.Equal(t, "+OK", migrate("k 9 5000 REPLACE COPY"))
	require.Equal(t, `"w"`, there.do("GET", "k"))
	require.Equal(t, `"w"`, c.do("GET", "k"))

	for _, x := range [][2]string{
		{"k 9 5000 KEYS k", "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"},
		{"k 9 5000 AUTH", "-ERR syntax error"},
		{"k 9 5000 AUTH2 a", "-ERR syntax error"},
		{"k 9 x", "-ERR value is not an integer or out of range"},
		{"k 99 5000", "-ERR Target instance replied with error: ERR DB index is out of range"},
		{"k 9 5000 AUTH wrong", "-ERR Target instance replied with error: ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"},
	} {
		require.Equal(t, x[1], migrate(x[0]), x[0])
	}
	require.Equal(t, "-IOERR error or timeout connecting to the client", c.line("MIGRATE 127.0.0.1 1 k 0 500"))
	require.Equal(t, `"w"`, c.do("GET", "k"))
	c.do("MULTI")
	require.Contains(t, c.line("MIGRATE 127.0.0.1 1 k 0 500"), "not allowed inside a transaction")
}

// A key that was modified while it was on its way stays.
func TestMigrateRace(t *testing.T) {
	from := startServer(t, nil)
	c, other := from.dial(), from.dial()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port := splitAddr(l.Addr().String())
	c.do("SET", "k", "old")
	c.send(command("MIGRATE", "127.0.0.1", port, "k", "0", "5000"))
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "RESTORE"); {
		line, err = r.ReadString('\n')
		require.NoError(t, err)
	}
	require.Equal(t, "+OK", other.do("SET", "k", "new"))
	_, err = conn.Write([]byte("+OK\r\n+OK\r\n"))
	require.NoError(t, err)
	require.Equal(t, "-"+errMigrateRace, c.reply())
	require.Equal(t, `"new"`, c.do("GET", "k"))

	// A server that does not answer in time. There has to be time enough to connect to it.
	c.send(command("MIGRATE", "127.0.0.1", port, "k", "0", "1000"))
	silent, err := l.Accept()
	require.NoError(t, err)
	defer silent.Close()
	require.Equal(t, "-"+errMigrateRead, c.reply())
}
