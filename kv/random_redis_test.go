package kv

import (
	"math/rand"
	"strings"
	"testing"
	"time"
)

// randomWords are what arguments are drawn from: few keys, so that commands meet,
// and values at the edges.
var (
	randomKeys = []string{"a", "b", "c", "d"}
	randomArgs = []string{
		"0", "1", "-1", "2", "3", "10", "-5", "100", "9223372036854775807", "-9223372036854775808",
		"9223372036854775808", "1.5", "-0.1", "1e10", "3.0e-3", "0.30000000000000004", "abc", "", " 1", "01", "+1", "nan", "inf",
		"NX", "XX", "GT", "LT", "GET", "KEEPTTL", "PERSIST", "EX", "PX", "EXAT", "PXAT", "LEN", "IDX", "MATCH", "COUNT",
		"MINMATCHLEN", "WITHMATCHLEN", "99999999999", "99999999999999", "hello world", "foobar", "ohmytext", "mynewtext",
	}
	randomCommands = []struct {
		name string
		keys int // leading arguments drawn from randomKeys
		max  int // further ones
	}{
		{"APPEND", 1, 1}, {"DECR", 1, 0}, {"DECRBY", 1, 1}, {"GET", 1, 0}, {"GETDEL", 1, 0}, {"GETEX", 1, 3},
		{"GETRANGE", 1, 2}, {"GETSET", 1, 1}, {"INCR", 1, 0}, {"INCRBY", 1, 1}, {"INCRBYFLOAT", 1, 1}, {"LCS", 2, 3},
		{"MGET", 3, 0}, {"MSET", 1, 1}, {"MSETNX", 1, 1}, {"PSETEX", 1, 2}, {"SET", 1, 5}, {"SET", 1, 1}, {"SET", 1, 1},
		{"SET", 1, 3}, {"SETEX", 1, 2}, {"SETNX", 1, 1}, {"STRLEN", 1, 0}, {"SUBSTR", 1, 2}, {"DEL", 1, 0}, {"UNLINK", 2, 0},
		{"EXISTS", 2, 0}, {"TYPE", 1, 0}, {"RENAME", 2, 0}, {"RENAMENX", 2, 0}, {"TOUCH", 2, 0}, {"EXPIRE", 1, 3},
		{"PEXPIRE", 1, 2}, {"EXPIREAT", 1, 3}, {"PEXPIREAT", 1, 2}, {"PERSIST", 1, 0}, {"DBSIZE", 0, 0},
		{"KEYS", 0, 1}, {"RPUSH", 1, 1}, {"FLUSHDB", 0, 1}, {"FLUSHALL", 0, 1}, {"SETRANGE", 1, 2},
	}
)

// TestRandomCommandsAgainstRedis sends the same random commands to rkv and to a
// real redis-server and compares every reply. What depends on the passing of time
// is left out: short expiries, and replies that tell them.
func TestRandomCommandsAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	n := newTestNode(t)
	const seed = 1
	r := rand.New(rand.NewSource(seed))
	var history []string
	for i := 0; i < 20_000; i++ {
		cmd := randomCommands[r.Intn(len(randomCommands))]
		args := []string{cmd.name}
		for k := 0; k < cmd.keys; k++ {
			args = append(args, randomKeys[r.Intn(len(randomKeys))])
		}
		for k := r.Intn(cmd.max + 1); k > 0; k-- {
			args = append(args, randomArgs[r.Intn(len(randomArgs))])
		}
		if timeDependent(args) {
			continue
		}
		line := strings.Join(args, " ")
		history = append(history, line)
		n.now = time.Now().UnixMilli() // overflow checks depend on it
		var c Chunk
		addCommand(&c, args...)
		n.run(&c)
		got, _, err := parseValue(c.Reply.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := redis.do(t, args...)
		if cmd.name == "KEYS" {
			got, want = got.sorted(), want.sorted()
		}
		if g, w := strings.Join(got.lines(), "\n"), strings.Join(want.lines(), "\n"); g != w {
			from := max(0, len(history)-12)
			t.Fatalf("seed %d, command %d: %q\nrkv:   %s\nRedis: %s\nbefore:\n%s", seed, i, args, g, w, strings.Join(history[from:], "\n"))
		}
	}
}

// timeDependent refuses expiries that could pass between the two servers, and SET
// with one that has passed: either server removes such a key when it gets to it.
func timeDependent(args []string) bool {
	switch args[0] {
	case "SETEX", "PSETEX", "EXPIRE", "PEXPIRE":
		return len(args) > 2 && short(args[2])
	case "SET", "GETEX":
		for i, a := range args {
			if (a == "EX" || a == "PX" || a == "EXAT" || a == "PXAT") && i+1 < len(args) && short(args[i+1]) {
				return true
			}
		}
	}
	return false
}

func short(s string) bool { return len(s) < 11 && len(s) > 0 && s[0] >= '1' && s[0] <= '9' }
