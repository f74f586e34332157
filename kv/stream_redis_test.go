package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The original as the oracle for streams: random commands, and files both ways.

// randomStream makes random stream commands on a few keys, groups and IDs, so that
// they meet. What depends on a clock is left out: automatic IDs, short idle times.
type randomStream struct{ r *rand.Rand }

func (x *randomStream) pick(words ...string) string { return words[x.r.IntN(len(words))] }

func (x *randomStream) key() string { return x.pick("s", "s", "s", "t", "m") }

func (x *randomStream) group() string { return x.pick("g", "g", "h") }

func (x *randomStream) consumer() string { return x.pick("ann", "bob") }

// id is near the end of what was added so far, top.
func (x *randomStream) id(top int) string {
	n := max(0, top-x.r.IntN(30)+2)
	if x.r.IntN(4) == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d-%d", n, x.r.IntN(3))
}

func (x *randomStream) bound(top int) string {
	switch x.r.IntN(6) {
	case 0:
		return x.pick("-", "+")
	case 1:
		return "(" + x.id(top)
	}
	return x.id(top)
}

// trim is by MINID only where XDEL never was (docs/divergence.md).
func (x *randomStream) trim(key string, top int) []string {
	how := []string{"MAXLEN", x.pick("=", "~", "~"), strconv.Itoa(x.r.IntN(30))}
	if key == "m" && x.r.IntN(2) == 0 {
		how = []string{"MINID", x.pick("=", "~"), x.id(top - 10)}
	}
	if how[1] == "~" && x.r.IntN(2) == 0 {
		how = append(how, "LIMIT", strconv.Itoa(x.r.IntN(15)))
	}
	return how
}

func (x *randomStream) fields() (pairs []string) {
	names := [][]string{{"a"}, {"a"}, {"a", "b"}, {"b", "a"}, {"1", "-2", "300"}}[x.r.IntN(5)]
	for _, n := range names {
		val := strconv.FormatInt(int64(x.r.Uint64())>>x.r.IntN(64), 10)
		if x.r.IntN(3) == 0 {
			val = strings.Repeat("v", x.r.IntN(80))
		}
		pairs = append(pairs, n, val)
	}
	return pairs
}

func (x *randomStream) ids(top int) (ids []string) {
	for range 1 + x.r.IntN(4) {
		ids = append(ids, x.id(top))
	}
	return ids
}

func (x *randomStream) command(top int) []string {
	key, group, count := x.key(), x.group(), strconv.Itoa(x.r.IntN(5))
	switch n := x.r.IntN(30); n {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		args := []string{"XADD", key}
		if x.r.IntN(8) == 0 {
			args = append(args, x.trim(key, top)...)
		}
		id := strconv.Itoa(top) + x.pick("-*", "-*", "", "-1")
		return append(append(args, id), x.fields()...)
	case 8, 9:
		return append([]string{"XDEL", x.pick("s", "t")}, x.ids(top)...)
	case 10:
		return append([]string{"XTRIM", key}, x.trim(key, top)...)
	case 11:
		return []string{"XRANGE", key, x.bound(top), x.bound(top), "COUNT", count}
	case 12:
		return []string{"XREVRANGE", key, x.bound(top), x.bound(top)}
	case 13:
		return []string{"XREAD", "COUNT", count, "STREAMS", key, "t", x.pick("$", x.id(top)), x.id(top)}
	case 14:
		if x.r.IntN(10) > 0 {
			return []string{"XLEN", key}
		}
		return []string{"XSETID", key, strconv.Itoa(top + 1), "ENTRIESADDED", "500"}
	case 15, 16, 17, 18, 19:
		args := []string{"XREADGROUP", "GROUP", group, x.consumer(), "COUNT", count, "STREAMS", key, x.pick(">", ">", ">", x.id(top))}
		if x.r.IntN(5) == 0 {
			args = append(args[:4:4], append([]string{"NOACK"}, args[4:]...)...)
		}
		return args
	case 20, 21:
		return append([]string{"XACK", key, group}, x.ids(top)...)
	case 22:
		return []string{"XPENDING", key, group}
	case 23, 24:
		args := append([]string{"XCLAIM", key, group, x.consumer(), x.pick("0", "0", "3600000")}, x.ids(top)...)
		for _, o := range [][]string{{"FORCE"}, {"JUSTID"}, {"RETRYCOUNT", count}, {"LASTID", x.id(top)}} {
			if x.r.IntN(4) == 0 {
				args = append(args, o...)
			}
		}
		return args
	case 25, 26:
		args := []string{"XAUTOCLAIM", key, group, x.consumer(), x.pick("0", "0", "3600000"), x.bound(top)}
		if x.r.IntN(2) == 0 {
			args = append(args, "COUNT", count)
		}
		return args
	case 27:
		return []string{"XGROUP", "SETID", key, group, x.pick("$", x.id(top)), "ENTRIESREAD", x.pick("-1", "7")}
	case 28:
		return []string{"XINFO", "GROUPS", key}
	}
	if x.r.IntN(4) > 0 {
		return []string{"XINFO", "STREAM", key}
	}
	return []string{"XGROUP", "DESTROY", key, group}
}

// comparable drops what two servers cannot agree on: times, and what Redis 7.0 does
// not show.
func comparableInfo(v value) value {
	out := value{kind: v.kind, text: v.text}
	for i := 0; i < len(v.elems); i++ {
		e := v.elems[i]
		if e.kind == '$' && e.text == "active-time" {
			i++
			continue
		}
		if e.kind == '$' && e.text == "pending" && v.elems[i+1].kind == '*' {
			list := value{kind: '*'}
			for _, p := range v.elems[i+1].elems {
				p.elems = append([]value(nil), p.elems...)
				p.elems[len(p.elems)-2].text = "time"
				list.elems = append(list.elems, p)
			}
			out.elems = append(out.elems, e, list)
			i++
			continue
		}
		out.elems = append(out.elems, comparableInfo(e))
		if e.kind == '$' && e.text == "seen-time" {
			out.elems = append(out.elems, value{kind: ':', text: "time"})
			i++
		}
	}
	return out
}

func requireSameStream(t *testing.T, n *testNode, r *redisServer, key string) {
	t.Helper()
	args := []string{"XINFO", "STREAM", key, "FULL", "COUNT", "0"}
	want, got := comparableInfo(r.do(t, args...)), comparableInfo(n.doValue(args))
	require.Equal(t, strings.Join(want.lines(), "\n"), strings.Join(got.lines(), "\n"), key)
}

func TestRandomStreamCommandsAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	for seed := range uint64(6) {
		redis.do(t, "FLUSHALL")
		n := newTestNode(t)
		x := &randomStream{rand.New(rand.NewPCG(seed, 31))}
		var history []string
		both := func(args ...string) {
			history = append(history, strings.Join(args, " "))
			got := strings.Join(n.doValue(args).lines(), "\n")
			want := strings.Join(redis.do(t, args...).lines(), "\n")
			if got != want {
				t.Fatalf("seed %d, command %d: %q\nrkv:   %s\nRedis: %s\nbefore:\n%s", seed, len(history), args, got, want,
					strings.Join(history[max(0, len(history)-40):], "\n"))
			}
		}
		for _, c := range [][]string{{"stream-node-max-entries", []string{"5", "0", "3"}[seed%3]}, {"stream-node-max-bytes", []string{"150", "0"}[seed%2]}} {
			both("CONFIG", "SET", c[0], c[1])
		}
		top := 1
		for range 3000 {
			// Redis 7.0 makes a consumer only when it claims something.
			for _, key := range []string{"s", "t", "m"} {
				for _, g := range []string{"g", "h"} {
					if x.r.IntN(40) == 0 || len(history) < 10 {
						both("XGROUP", "CREATE", key, g, x.pick("0", "$"), "MKSTREAM")
						both("XGROUP", "CREATECONSUMER", key, g, "ann")
						both("XGROUP", "CREATECONSUMER", key, g, "bob")
					}
				}
			}
			args := x.command(top)
			both(args...)
			if args[0] == "XGROUP" && args[1] == "DESTROY" {
				both("XGROUP", "CREATE", args[2], args[3], "0")
				both("XGROUP", "CREATECONSUMER", args[2], args[3], "ann")
				both("XGROUP", "CREATECONSUMER", args[2], args[3], "bob")
			}
			top += x.r.IntN(2)
			if x.r.IntN(50) == 0 {
				requireSameStream(t, n, redis, "s")
				requireSameStream(t, n, redis, "t")
				requireSameStream(t, n, redis, "m")
			}
		}
		both("CONFIG", "SET", "stream-node-max-entries", "100", "stream-node-max-bytes", "4096")
	}
}

// fillStreams gives either server the same streams.
func fillStreams(seed uint64, do func(args ...string)) {
	x := &randomStream{rand.New(rand.NewPCG(seed, 5))}
	do("CONFIG", "SET", "stream-node-max-entries", "7")
	for _, key := range []string{"s", "t", "m", "empty", "plain"} {
		if key != "plain" {
			for _, g := range []string{"g", "h", "\x00\xff"} {
				do("XGROUP", "CREATE", key, g, "0", "MKSTREAM")
				do("XGROUP", "CREATECONSUMER", key, g, "ann")
				do("XGROUP", "CREATECONSUMER", key, g, "bob")
			}
		}
	}
	for i := range 300 {
		do(append([]string{"XADD", "plain", strconv.Itoa(i + 1)}, x.fields()...)...)
	}
	for i := range 800 {
		do(x.command(1 + i/3)...)
	}
	for i := range 20 {
		do("XADD", "gone", fmt.Sprintf("18446744073709551615-%d", i+1), strings.Repeat("f", 5000), strconv.Itoa(i))
	}
	do("XDEL", "gone", "18446744073709551615-1", "18446744073709551615-20", "18446744073709551615-9")
	do("CONFIG", "SET", "stream-node-max-entries", "100")
}

var streamKeysFilled = []string{"s", "t", "m", "empty", "plain", "gone"}

func TestRedisLoadsOurStreams(t *testing.T) {
	for seed := range uint64(3) {
		n := newTestNode(t)
		fillStreams(seed, func(args ...string) { n.doValue(args) })
		dir := shortDir(t)
		rdb, _ := blocksOf(t, n.s)
		var out bytes.Buffer
		require.NoError(t, ExportRDB(&out, func(sink func([]byte) error) error { return sink(rdb) }, 10))
		require.NotContains(t, out.String(), rdbAuxPrefix)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "dump.rdb"), out.Bytes(), 0o644))
		r := startRedisIn(t, dir)
		for _, key := range streamKeysFilled {
			requireSameStream(t, n, r, key)
		}
	}
}

func TestWeLoadRedisStreams(t *testing.T) {
	for seed := range uint64(3) {
		dir := shortDir(t)
		r := startRedisIn(t, dir)
		fillStreams(seed, func(args ...string) { r.do(t, args...) })
		r.do(t, "SAVE")
		dump, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
		require.NoError(t, err)
		n, err := imports(t, dump)
		require.NoError(t, err)
		for _, key := range streamKeysFilled {
			requireSameStream(t, n, r, key)
		}
		// Also what is not shown: how full the nodes are.
		both := func(args ...string) {
			t.Helper()
			require.Equal(t, r.do(t, args...).lines(), n.doValue(args).lines(), "%q", args)
		}
		for _, key := range streamKeysFilled[:5] {
			for i := range 40 {
				both("XADD", key, strconv.Itoa(2000+i), "a", "b")
			}
			both("XINFO", "STREAM", key)
			both("XTRIM", key, "MAXLEN", "~", "25")
		}
	}
}

// Redis's own time in deliveries and consumers survives the way through us.
func TestStreamTimesSurviveImportAndExport(t *testing.T) {
	dir := shortDir(t)
	r := startRedisIn(t, dir)
	r.do(t, "XADD", "s", "1", "a", "b")
	r.do(t, "XGROUP", "CREATE", "s", "g", "0")
	r.do(t, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
	r.do(t, "SAVE")
	dump, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	require.NoError(t, err)
	n, err := imports(t, dump)
	require.NoError(t, err)
	rdb, _ := blocksOf(t, n.s)
	var out bytes.Buffer
	require.NoError(t, ExportRDB(&out, func(sink func([]byte) error) error { return sink(rdb) }, 10))
	dir2 := shortDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir2, "dump.rdb"), out.Bytes(), 0o644))
	r2 := startRedisIn(t, dir2)
	full := []string{"XINFO", "STREAM", "s", "FULL"}
	require.Equal(t, r.do(t, full...), r2.do(t, full...))
	require.WithinDuration(t, time.Now(), time.UnixMilli(n.nackTime("s", "g")), time.Minute)
}

// nackTime is the delivery time of the group's first pending entry.
func (n *testNode) nackTime(key, group string) (at int64) {
	v, _ := n.s.dbs[0].get([]byte(key))
	s := viewStream(v.Obj)
	g, _ := s.group([]byte(group))
	s.eachPending(&g, streamID{}, maxStreamID, func(nack *streamNack) bool {
		at = nack.time
		return false
	})
	return at
}

// DUMP gives Redis's bytes where no clock is in them, and RESTORE takes them.
func TestStreamDumpIsRedis(t *testing.T) {
	r := startRedis(t)
	r.do(t, "CONFIG", "SET", "rdbcompression", "no")
	n := newTestNode(t)
	both := func(args ...string) {
		t.Helper()
		require.Equal(t, r.do(t, args...), n.doValue(args), "%.200q", args)
	}
	x := &randomStream{rand.New(rand.NewPCG(8, 8))}
	for i := range 250 {
		both(append([]string{"XADD", "s", fmt.Sprintf("%d-%d", 1<<(i/10), i)}, x.fields()...)...)
	}
	both("XTRIM", "s", "MAXLEN", "~", "240")
	both("XGROUP", "CREATE", "s", "g", "5")
	both("XGROUP", "CREATE", "s", "h", "$", "ENTRIESREAD", "250")
	both("DUMP", "s")

	// With deleted entries, which only Redis keeps, and with times.
	for _, do := range []func(args ...string) value{
		func(args ...string) value { return r.do(t, args...) }, func(args ...string) value { return n.doValue(args) },
	} {
		fillStreams(4, func(args ...string) { do(args...) })
	}
	for _, key := range streamKeysFilled {
		theirs, ours := r.do(t, "DUMP", key).text, n.doValue([]string{"DUMP", key}).text
		require.Equal(t, "OK", n.doValue([]string{"RESTORE", key, "0", theirs, "REPLACE"}).text, key)
		requireSameStream(t, n, r, key)
		require.Equal(t, "OK", r.do(t, "RESTORE", key, "0", ours, "REPLACE").text, key)
		requireSameStream(t, n, r, key)
	}
	full := []string{"XINFO", "STREAM", "s", "FULL"}
	require.Equal(t, comparableInfo(r.do(t, full...)), comparableInfo(n.doValue(full)))
}
