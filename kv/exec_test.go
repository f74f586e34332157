package kv

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exec runs a transaction of commands in db 0.
func (n *testNode) exec(watches []Watch, commands ...string) string {
	n.t.Helper()
	var c Chunk
	c.BeginExec(watches)
	for _, line := range commands {
		addCommand(&c, strings.Fields(line)...)
	}
	c.EndExec()
	n.run(&c)
	require.Len(n.t, c.Ends, 1)
	return tapeText(n.t, c.Reply.Bytes())
}

func TestExecIsOneArrayInOrder(t *testing.T) {
	n := newTestNode(t)
	got := n.exec(nil, "SET a 1", "GET a", "INCR a", "GET a", "NOSUCH", "LPUSH a x", "GET missing")
	require.Equal(t, strings.Join([]string{
		"1) OK", `2) "1"`, "3) (integer) 2", `4) "2"`, "5) (error) ERR unknown command 'NOSUCH'",
		"6) (error) " + errWrongType, "7) (nil)",
	}, "\n"), got)
	require.Equal(t, "(empty)", n.exec(nil))
	require.Equal(t, `1) "2"`, n.exec(nil, "GET a"), "a transaction of reads needs no log")
}

func TestWatch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before []string // while the key is watched
		tick   int64
		hold   bool
	}{
		{"untouched", []string{"SET other 1", "GET k", "PTTL k"}, 0, true},
		{"set", []string{"SET k 1"}, 0, false},
		{"deleted", []string{"DEL k"}, 0, false},
		{"deleted and made again", []string{"DEL k", "SET k 0"}, 0, false},
		{"renamed away", []string{"RENAME k other"}, 0, false},
		{"renamed onto", []string{"SET other 1", "RENAME other k"}, 0, false},
		{"expiry set", []string{"EXPIRE k 100"}, 0, false},
		{"expired", nil, 1000, false},
		{"expired, unnoticed", nil, 999, true},
		{"flushed", []string{"FLUSHDB"}, 0, false},
		{"all flushed", []string{"FLUSHALL"}, 0, false},
		{"failed command", []string{"LPUSH k x"}, 0, true},
		{"nothing changed", []string{"SETNX k 5", "DEL missing"}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, commands := range [][]string{{"SET result 1"}, {"GET result"}} {
				n := newTestNode(t)
				n.do("SET", "k", "0", "PX", "1000")
				w := []Watch{n.s.Watch(0, []byte("k"))}
				for _, line := range tc.before {
					n.do(strings.Fields(line)...)
				}
				n.now += tc.tick
				got := n.exec(w, commands...)
				require.Equal(t, tc.hold, got != "(nil array)", "%s: %s", commands, got)
				require.Equal(t, tc.hold && commands[0] == "SET result 1", n.do("EXISTS", "result") == "(integer) 1")
			}
		})
	}
}

func TestWatchOfMissingKey(t *testing.T) {
	n := newTestNode(t)
	w := []Watch{n.s.Watch(0, []byte("k"))}
	n.do("FLUSHALL") // does not touch a key that is not there
	require.Equal(t, "1) OK", n.exec(w, "SET x 1"))
	n.do("SET", "k", "1")
	require.Equal(t, "(nil array)", n.exec(w, "SET x 1"))
}

func TestWatchIsPerDatabase(t *testing.T) {
	n := newTestNode(t)
	w := []Watch{n.s.Watch(1, []byte("k"))}
	n.do("SET", "k", "1") // db 0
	require.Equal(t, "1) OK", n.exec(w, "SET x 1"))
}

// A connection's own write in the same entry, before its WATCH, does not abort it.
func TestWatchAfterOwnWriteInTheSameEntry(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "k", "1")
	w := []Watch{n.s.Watch(0, []byte("k"))}
	require.Equal(t, "1) OK", n.exec(w, "SET k 2"))
	require.Equal(t, "(nil array)", n.exec(w, "SET k 3"), "its own EXEC modified the key")
}

// Reads run at their places between the writes, in their own databases.
func TestReadsBetweenWrites(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	var pong Reply
	pong.Status("PONG")
	addCommand(&c, "GET", "a")
	addCommand(&c, "SET", "a", "1")
	addCommand(&c, "GET", "a")
	c.AddTape(&pong)
	c.AppendSelect(1)
	addCommand(&c, "GET", "a")
	addCommand(&c, "SET", "a", "2")
	c.BeginExec(nil)
	addCommand(&c, "GET", "a")
	c.AddDeferred(7)
	c.AppendSelect(0)
	addCommand(&c, "GET", "a")
	addCommand(&c, "APPEND", "a", "x")
	c.EndExec()
	addCommand(&c, "GET", "a")
	n.run(&c)
	require.Equal(t, "_\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n_\r\n+OK\r\n"+
		"*4\r\n$1\r\n2\r\n!7\r\n$1\r\n1\r\n:2\r\n$2\r\n1x\r\n", string(c.Reply.Bytes()))
	require.Len(t, c.Ends, 8)
	require.Equal(t, c.Reply.Len(), int(c.Ends[7]))
	require.Equal(t, n.index, c.Index)

	c.Reset()
	require.True(t, c.Empty())
	addCommand(&c, "GET", "a")
	n.run(&c)
	require.Equal(t, "$2\r\n1x\r\n", string(c.Reply.Bytes()), "a chunk is used again")
}

// After a refused transaction, what follows still runs in the database that the
// encoder assumed.
func TestSelectInsideRefusedExec(t *testing.T) {
	n := newTestNode(t)
	w := []Watch{n.s.Watch(0, []byte("k"))}
	n.do("SET", "k", "1")
	var c Chunk
	c.BeginExec(w)
	c.AppendSelect(2)
	addCommand(&c, "SET", "a", "1")
	addCommand(&c, "GET", "a")
	c.EndExec()
	addCommand(&c, "SET", "b", "1")
	addCommand(&c, "GET", "b")
	n.run(&c)
	require.Equal(t, "N\r\n+OK\r\n$1\r\n1\r\n", string(c.Reply.Bytes()))
	require.Equal(t, 1, n.s.DBSize(2))
}

func TestOOM(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	addCommand(&c, "SET", "a", "1")
	addCommand(&c, "DEL", "a")
	n.seq++
	n.waiting[n.seq] = &c
	n.index++
	body := BuildEntry(EntryHeader{Level: ApplyLevel, Flags: EntryOOM}, n.unit(&c, n.seq))
	require.NoError(t, n.s.Apply([]LogEntry{{Index: n.index, Body: body}}, n))
	require.Equal(t, "-"+errOOM+"\r\n:0\r\n", string(c.Reply.Bytes()))
}
