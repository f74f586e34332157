package resp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// DumpRDB implements rdbDumper: a copy of eight MiB, or an error before its first byte.
func (n *fakeNode) DumpRDB(_ context.Context, w io.Writer) error {
	if n.failBarrier.Swap(false) {
		return errors.New("CLUSTERDOWN No leader")
	}
	for range 128 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
			return err
		}
	}
	return nil
}

func TestSyncSendsACopy(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("REPLCONF", "capa", "eof"))
	require.Equal(t, "+OK", c.do("REPLCONF", "rdb-only", "1"))
	require.Contains(t, c.do("REPLCONF", "rdb-filter-only", "functions"), "-ERR copies are whole")
	require.Equal(t, "+OK", c.do("REPLCONF", "rdb-filter-only", ""), "redis-cli --replica leaves nothing out")
	require.Contains(t, c.do("REPLCONF", "nonsense", "1"), "-ERR Unrecognized REPLCONF option: nonsense")
	require.Contains(t, c.do("REPLCONF", "capa"), "-ERR syntax error")
	s.node.failBarrier.Store(true)
	require.Equal(t, "-CLUSTERDOWN No leader", c.do("SYNC"), "before the first byte there is an error")
	c.send(command("SYNC"))
	all, err := io.ReadAll(c.conn)
	require.NoError(t, err, "the connection ends with the copy")
	head, rest, _ := strings.Cut(string(all), "\r\n")
	mark := strings.TrimPrefix(head, "$EOF:")
	require.Len(t, mark, 40)
	require.True(t, strings.HasSuffix(rest, mark))
	require.Equal(t, 8<<20, strings.Count(strings.TrimSuffix(rest, mark), "x"))
}

// A client that does not read its copy costs no memory, and one that leaves ends it.
func TestSyncWaitsForTheReader(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.NoError(t, c.conn.(*net.TCPConn).SetReadBuffer(4096))
	require.Equal(t, "+OK", c.do("REPLCONF", "rdb-only", "1"))
	c.send(command("SYNC"))
	watcher := s.dial()
	require.Eventually(t, func() bool { return strings.Contains(watcher.do("CLIENT", "LIST"), "cmd=sync") }, 5*time.Second, 5*time.Millisecond)
	require.Never(t, func() bool {
		unsent := make(chan int, 1)
		for _, x := range s.clients.all() {
			if x.s.rdbOnly {
				x.onLoop(func() { unsent <- x.s.unsent() })
				select {
				case n := <-unsent:
					return n > copyWindow+128<<10
				case <-time.After(time.Second): // it has gone
				}
			}
		}
		return false
	}, 300*time.Millisecond, 20*time.Millisecond)
	c.conn.Close()
	require.Eventually(t, func() bool { return len(s.admin) == 0 }, 5*time.Second, 5*time.Millisecond, "nobody writes on")
}
