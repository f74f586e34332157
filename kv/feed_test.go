package kv

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type feedListener struct {
	lines []string
	dbs   []int
}

func (l *feedListener) Effects(f *Effects) {
	for _, e := range f.List {
		if e.Kind == EffectCommand {
			l.lines = append(l.lines, string(bytes.Join(e.Args, []byte(" "))))
			l.dbs = append(l.dbs, e.DB)
		}
	}
}

// TestFeed: what a replica is told, in the forms in which redis-server 7.0 propagates.
func TestFeed(t *testing.T) {
	n := newTestNode(t)
	l := &feedListener{}
	n.s.Listen(l).Want(EffectCommand)
	at := strconv.Itoa(testEpoch + 100_000)
	fed := func(want []string, args ...string) {
		t.Helper()
		l.lines = nil
		n.do(args...)
		require.Equal(t, want, l.lines, "%v", args)
	}
	fed([]string{"SET k v PXAT " + at}, "SET", "k", "v", "EX", "100", "NX")
	fed(nil, "SET", "k", "w", "NX")
	fed([]string{"PERSIST k"}, "GETEX", "k", "PERSIST")
	fed(nil, "GETEX", "k")
	fed([]string{"PEXPIREAT k " + at}, "EXPIRE", "k", "100")
	fed([]string{"DEL k"}, "EXPIRE", "k", "-1")
	fed([]string{"SET f 1.5 KEEPTTL"}, "INCRBYFLOAT", "f", "1.5")
	fed([]string{"sadd s a"}, "SADD", "s", "a")
	fed([]string{"SREM s a"}, "SPOP", "s")
	fed([]string{"rpush l 1 2 3"}, "RPUSH", "l", "1", "2", "3")
	fed([]string{"RPOP l 2"}, "LMPOP", "2", "none", "l", "RIGHT", "COUNT", "2")
	fed([]string{"LPOP l"}, "BLPOP", "l", "0")
	fed([]string{"XADD x MAXLEN = 1 " + strconv.Itoa(testEpoch) + "-0 f v"}, "XADD", "x", "MAXLEN", "~", "5", "*", "f", "v")
	fed([]string{"MULTI", "SET a 1", "incr a", "EXEC"}, "EVAL", "redis.call('set','a',1) redis.call('incr','a') redis.call('get','a')", "0")
	fed([]string{"xgroup CREATE x g 0"}, "XGROUP", "create", "x", "g", "0")
	id := strconv.Itoa(testEpoch) + "-0"
	fed([]string{"XCLAIM x g c 0 " + id + " TIME " + strconv.Itoa(testEpoch) + " RETRYCOUNT 1 FORCE JUSTID LASTID " + id},
		"XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
	fed([]string{"geoadd geo 13 38 m"}, "GEOADD", "geo", "13", "38", "m")
	fed(nil, "DEL", "none")

	l.lines = nil
	n.do("HSETEX", "h", "FIELDS", "1", "f", "v")
	require.Len(t, l.lines, 1)
	require.True(t, strings.HasPrefix(l.lines[0], "RESTORE h 0 "), "a command of later versions is fed as a value")
	require.True(t, strings.HasSuffix(l.lines[0], " REPLACE ABSTTL"))

	n.do("SET", "due", "v", "PX", "5")
	l.lines = nil
	n.tick(10)
	require.Equal(t, []string{"DEL due"}, l.lines)

	// Who waits is served in a step of its own.
	l.lines = nil
	require.Equal(t, blockedText, n.do("BLMPOP", "0", "1", "w", "LEFT"))
	n.do("RPUSH", "w", "a", "b")
	require.Equal(t, []string{"rpush w a b", "LPOP w 1"}, l.lines)
}

// TestFeedOfVersion: where versions of Redis propagate in other ways, the one that is set
// counts.
func TestFeedOfVersion(t *testing.T) {
	id, at := strconv.Itoa(testEpoch)+"-0", strconv.Itoa(testEpoch+100_000)
	claim := "XCLAIM x g c 0 " + id + " TIME " + strconv.Itoa(testEpoch) + " RETRYCOUNT 1 FORCE JUSTID LASTID " + id
	for _, tc := range []struct {
		version string
		multi   int // the database that MULTI is sent in
		read    []string
	}{
		{"7.0", 0, []string{claim}},
		{"7.4", AllDatabases, []string{claim, "XGROUP SETID x g " + id + " ENTRIESREAD 1"}},
	} {
		n := newTestNode(t)
		l := &feedListener{}
		n.s.Listen(l).Want(EffectCommand)
		n.do("CONFIG", "SET", "redis-version", tc.version)
		n.do("XADD", "x", "*", "f", "v")
		n.do("XGROUP", "CREATE", "x", "g", "0")
		l.lines = nil
		n.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
		if len(tc.read) > 1 {
			tc.read = append(append([]string{"MULTI"}, tc.read...), "EXEC")
		}
		require.Equal(t, tc.read, l.lines, tc.version)
		l.lines = nil
		n.do("SET", "k", "v", "pxat", at)
		n.do("SET", "k", "v", "ex", "100")
		sent := map[string]string{"7.0": "PXAT", "7.4": "pxat"}[tc.version] // 7.0 writes the option anew
		require.Equal(t, []string{"SET k v " + sent + " " + at, "SET k v PXAT " + at}, l.lines)
		l.lines, l.dbs = nil, nil
		n.do("EVAL", "redis.call('set','a',1) redis.call('set','b',1)", "0")
		require.Equal(t, []int{tc.multi, 0, 0, AllDatabases}, l.dbs)
	}
}

// TestFeedServerDel: a DEL that stands for another command is told from one that was sent.
func TestFeedServerDel(t *testing.T) {
	n := newTestNode(t)
	var marks []bool
	n.s.Listen(effectsFunc(func(f *Effects) {
		for _, e := range f.List {
			if e.Kind == EffectCommand && string(e.Args[0]) == "DEL" {
				marks = append(marks, e.ServerDel)
			}
		}
	})).Want(EffectCommand)
	n.do("SADD", "s", "a", "b")
	n.do("SPOP", "s", "5")
	n.do("SET", "due", "v", "PX", "5")
	n.tick(10)
	require.Equal(t, []bool{true, false}, marks)
}

type effectsFunc func(f *Effects)

func (fn effectsFunc) Effects(f *Effects) { fn(f) }
