package kv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnce(t *testing.T) {
	n := newTestNode(t)
	ask := func(want string, line string) {
		t.Helper()
		require.Equal(t, want, n.do(strings.Fields(line)...), line)
	}
	first := n.do("RKV.ONCE", "a", "1", "INCR", "n")
	for range 3 {
		ask(first, "RKV.ONCE a 1 INCR n")
		ask(first, "RKV.ONCE a 1 DEL n")
	}
	require.Equal(t, n.do("GET", "n"), n.do("GETRANGE", "n", "0", "9"))
	wrong := n.do("RKV.ONCE", "a", "2", "LPUSH", "n", "x")
	require.Contains(t, wrong, "WRONGTYPE")
	n.do("DEL", "n")
	ask(wrong, "RKV.ONCE a 2 LPUSH n x")
	require.Contains(t, n.do("EXISTS", "n"), "0")

	for line, want := range map[string]string{
		"RKV.ONCE b 7 INCR n":              "NOSESSION",
		"RKV.ONCE b 0 INCR n":              "positive",
		"RKV.ONCE a 3 GET n":               "not allowed",
		"RKV.ONCE a 3 BLPOP n 0":           "not allowed",
		"RKV.ONCE a 3 RKV.ONCE a 4 INCR n": "not allowed",
		"RKV.ONCE a 3 RAFT OUTCOME a 4":    "not allowed",
		"RKV.ONCE a 3 INFO":                "not allowed",
		"RKV.ONCE a 3 INCR":                "wrong number",
		"RKV.ONCE a 3 EVALSHA x 0":         "NOSCRIPT",
	} {
		require.Contains(t, n.do(strings.Fields(line)...), want, line)
	}
	ran := n.do("RKV.ONCE", "a", "3", "EVAL", "return redis.call('incr', 'n')", "0")
	ask(ran, "RKV.ONCE a 3 INCR other")
	require.Contains(t, n.do("GET", "n"), "1")
}

// Outcome seals what was not applied, and says which it was.
func TestOutcomeOfAClientsCommand(t *testing.T) {
	n := newTestNode(t)
	n.do("RKV.ONCE", "a", "1", "INCR", "n")
	at := n.index
	require.Contains(t, n.do("RAFT", "OUTCOME", "a", "1"), "applied")
	require.Contains(t, n.do("RAFT", "OUTCOME", "a", "1"), fmt.Sprint(at))
	require.Contains(t, n.do("RAFT", "OUTCOME", "a", "2"), "never")
	require.Contains(t, n.do("RKV.ONCE", "a", "2", "INCR", "n"), "SEALED")
	require.Contains(t, n.do("RAFT", "OUTCOME", "new", "5"), "never")
	n.do("RKV.ONCE", "new", "1", "INCR", "m")
	require.Contains(t, n.do("RKV.ONCE", "new", "5", "INCR", "m"), "SEALED")
	require.Contains(t, n.do("GET", "n"), "1")
	require.Contains(t, n.do("GET", "m"), "1")
}

// The table is bounded in every direction; what it forgets is refused, not repeated.
func TestOnceTableIsBounded(t *testing.T) {
	n := newTestNode(t)
	for i := 1; i <= maxOnceResults+10; i++ {
		n.do("RKV.ONCE", "a", fmt.Sprint(i), "INCR", "n")
	}
	require.Contains(t, n.do("RKV.ONCE", "a", "10", "INCR", "n"), "SETTLED")
	require.Contains(t, n.do("RAFT", "OUTCOME", "a", "10"), "unknown")
	require.Contains(t, n.do("GET", "n"), fmt.Sprint(maxOnceResults+10))

	n.do("RKV.ONCE", "a", "100", "SET", "big", strings.Repeat("x", 2*maxOnceReply))
	n.do("RKV.ONCE", "a", "101", "GETDEL", "big")
	require.Contains(t, n.do("RKV.ONCE", "a", "101", "GETDEL", "big"), "REPLYLOST")

	ids := 1
	for ; len(n.s.st.once.byID) < maxOnceSessions; ids++ {
		var c Chunk
		for range 1000 {
			ids++
			addCommand(&c, "RKV.ONCE", fmt.Sprint("id", ids), "1", "SET", "k", "v")
		}
		n.run(&c)
	}
	require.Contains(t, n.do("RKV.ONCE", "late", "1", "INCR", "n"), "BUSY")
	require.Contains(t, n.do("RAFT", "OUTCOME", "late", "1"), "BUSY")
	n.tick(onceRest)
	require.NotContains(t, n.do("RKV.ONCE", "late", "1", "INCR", "late"), "BUSY")
	require.Contains(t, n.do("RKV.ONCE", "a", "102", "INCR", "n"), "NOSESSION")
	require.Contains(t, n.do("RAFT", "OUTCOME", "nobody", "1"), "unknown")
	n.tick(onceIdle)
	n.do("RKV.ONCE", "next", "1", "INCR", "late")
	require.Len(t, n.s.st.once.byID, 1)
}

// A session survives the snapshot, and a cut keeps what it had.
func TestOnceIsInTheSnapshot(t *testing.T) {
	n := newTestNode(t)
	for i := range 50 {
		n.do("RKV.ONCE", fmt.Sprint("id", i%7), fmt.Sprint(1+i/7), "HSET", "h", fmt.Sprint(i), "x")
	}
	cut := n.s.OpenCut()
	before := cut.State()
	n.do("RKV.ONCE", "id1", "9", "INCR", "n")
	n.do("RKV.ONCE", "new", "1", "INCR", "n")
	require.Equal(t, before, cut.State())
	cut.Close()
	enc := n.s.st.encode()
	st, err := decodeState(enc)
	require.NoError(t, err)
	require.Equal(t, enc, st.encode())
	require.Equal(t, n.s.st.once.bytes, st.once.bytes)
	require.NotNil(t, st.once.find([]byte("new")))
}

// Whoever has the lock later has the greater number, also within one entry.
func TestFence(t *testing.T) {
	n := newTestNode(t)
	var one, two Chunk
	addCommand(&one, "RKV.FENCE", "SET", "lock", "a", "NX")
	addCommand(&one, "DEL", "lock")
	addCommand(&two, "RKV.FENCE", "SET", "lock", "b", "NX")
	n.waiting[100], n.waiting[101] = &one, &two
	n.apply(n.unit(&one, 100), n.unit(&two, 101))
	var a, b int
	_, err := fmt.Sscanf(string(one.Reply.Bytes()), "*2\r\n:%d\r\n+OK\r\n:1\r\n", &a)
	require.NoError(t, err, "%q", one.Reply.Bytes())
	_, err = fmt.Sscanf(string(two.Reply.Bytes()), "*2\r\n:%d\r\n+OK\r\n", &b)
	require.NoError(t, err, "%q", two.Reply.Bytes())
	require.Greater(t, b, a)
	require.Contains(t, n.do("RKV.FENCE", "GET", "lock"), "not allowed")
	require.Contains(t, n.do("RKV.FENCE", "RKV.FENCE", "INCR", "x"), "not allowed")
	n.seq = 200
	first := n.do("RKV.ONCE", "a", "1", "RKV.FENCE", "INCR", "n")
	require.Equal(t, first, n.do("RKV.ONCE", "a", "1", "RKV.FENCE", "INCR", "n"))
}
