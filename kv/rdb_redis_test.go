package kv

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The original as the oracle: what we export it loads, what it saves we load, and
// both answer the same afterwards.

// startRedisIn starts a real redis-server on the directory, whose dump.rdb it loads:
// the one that RKV_REDIS_SERVER names, say of another version, or the installed one.
func startRedisIn(t *testing.T, dir string, args ...string) *redisServer {
	bin, err := exec.LookPath(cmp.Or(os.Getenv("RKV_REDIS_SERVER"), "redis-server"))
	if err != nil {
		t.Skip("no redis-server in PATH")
	}
	sock := filepath.Join(dir, "redis.sock")
	log := filepath.Join(dir, "redis.log")
	cmd := exec.Command(bin, append([]string{"--port", "0", "--unixsocket", sock, "--save", "", "--dir", dir,
		"--dbfilename", "dump.rdb", "--logfile", log, "--sanitize-dump-payload", "yes",
		"--enable-debug-command", "yes"}, args...)...)
	require.NoError(t, cmd.Start())
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	for {
		if conn, err := net.Dial("unix", sock); err == nil {
			r := &redisServer{conn: conn, in: bufio.NewReader(conn)}
			if r.do(t, "PING").text == "PONG" { // else it is loading
				t.Cleanup(func() { _ = conn.Close() })
				return r
			}
			_ = conn.Close()
		}
		select {
		case <-exited:
			text, _ := os.ReadFile(log)
			require.FailNow(t, "redis-server ended", "%s", text)
		case <-time.After(10 * time.Millisecond): // polling for a process to listen
		}
	}
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "rkv")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// doDB runs a command in a database.
func (n *testNode) doDB(db int, args ...string) value {
	n.t.Helper()
	var c Chunk
	c.AppendSelect(db)
	addCommand(&c, args...)
	n.run(&c)
	v, _, err := parseValue(c.Reply.Bytes())
	require.NoError(n.t, err)
	return v
}

// requireSameData compares all keys of a database by what commands answer.
func requireSameData(t *testing.T, n *testNode, r *redisServer, db int) (keys int) {
	t.Helper()
	r.do(t, "SELECT", strconv.Itoa(db))
	require.Equal(t, r.do(t, "DBSIZE"), n.doDB(db, "DBSIZE"))
	for _, k := range r.do(t, "KEYS", "*").elems {
		key := k.text
		typ := r.do(t, "TYPE", key).text
		commands := [][]string{{"TYPE", key}, {"PEXPIRETIME", key}}
		switch typ {
		case "string":
			commands = append(commands, []string{"GET", key})
		case "list":
			commands = append(commands, []string{"LRANGE", key, "0", "-1"})
		case "set":
			commands = append(commands, []string{"SMEMBERS", key})
		case "hash":
			commands = append(commands, []string{"HGETALL", key})
		case "zset":
			commands = append(commands, []string{"ZRANGE", key, "0", "-1", "WITHSCORES"}, []string{"ZCARD", key})
		}
		for _, c := range commands {
			want, got := r.do(t, c...), n.doDB(db, c...)
			switch c[0] {
			case "SMEMBERS":
				want, got = want.sorted(), got.sorted()
			case "HGETALL":
				want, got = pairs(want).sorted(), pairs(got).sorted()
			case "ZRANGE":
				want, got = numericScores(t, want), numericScores(t, got)
			}
			if fmt.Sprint(want) != fmt.Sprint(got) {
				require.Equal(t, fmt.Sprintf("%.2000q", want), fmt.Sprintf("%.2000q", got), "%s %.80q", c[0], key)
			}
		}
		keys++
	}
	return keys
}

// numericScores prints scores in one way: Redis 7.0 shows 17 digits, we, as 7.2,
// the shortest ones; and we know one zero only (zset_score.go).
func numericScores(t *testing.T, v value) value {
	for i := 1; i < len(v.elems); i += 2 {
		f, err := strconv.ParseFloat(v.elems[i].text, 64)
		require.NoError(t, err)
		v.elems[i].text = strconv.FormatFloat(f+0, 'g', -1, 64)
	}
	return v
}

// pairs groups a flat array by two.
func pairs(v value) value {
	out := value{kind: '*'}
	for i := 0; i+1 < len(v.elems); i += 2 {
		out.elems = append(out.elems, value{kind: '*', elems: v.elems[i : i+2]})
	}
	return out
}

func TestRedisLoadsOurExport(t *testing.T) {
	n := newTestNode(t)
	n.do("CONFIG", "SET", "redis-version", "7.4") // it hides no listpack
	n.now = time.Now().UnixMilli()                // Redis drops what is expired by its clock
	fillRandom(n, 11, 300)
	var config Chunk
	config.AppendConfigSet([][]byte{[]byte("list-max-listpack-size"), []byte("-5")})
	n.run(&config)
	lengths := []string{"RPUSH", "lengths"} // around where a listpack's numbers grow by a byte
	for _, size := range []int{63, 64, 125, 126, 127, 4095, 4096, 16377, 16378, 16379} {
		lengths = append(lengths, strings.Repeat("l", size))
	}
	n.do(lengths...)
	require.Equal(t, `"listpack"`, n.do("OBJECT", "ENCODING", "lengths"))

	dir := shortDir(t)
	c := n.s.OpenCut()
	f, err := os.Create(filepath.Join(dir, "dump.rdb"))
	require.NoError(t, err)
	stream := func(sink func([]byte) error) error {
		return c.Blocks(func(raw []byte, _ int) error { return sink(raw) })
	}
	require.NoError(t, ExportRDB(f, stream, 10))
	require.NoError(t, f.Close())
	c.Close()
	exported, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, "REDIS0010", string(exported[:9]))
	require.NotContains(t, string(exported), rdbAuxPrefix, "an export holds no secret of the cluster")

	r := startRedisIn(t, dir)
	keys := 0
	for db := range 16 {
		keys += requireSameData(t, n, r, db)
	}
	require.Greater(t, keys, 290)
}

// What a snapshot holds is an RDB that a Redis of 7.2 or later loads as it is, with
// our own fields in it.
func TestRedisLoadsASnapshot(t *testing.T) {
	if os.Getenv("RKV_REDIS_SERVER") == "" {
		t.Skip("RKV_REDIS_SERVER names no redis-server of 7.2 or later")
	}
	n := newTestNode(t)
	n.now = time.Now().UnixMilli()
	fillRandom(n, 12, 300)
	rdb, _ := blocksOf(t, n.s)
	dir := shortDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dump.rdb"), rdb, 0o600))
	r := startRedisIn(t, dir)
	keys := 0
	for db := range 16 {
		keys += requireSameData(t, n, r, db)
	}
	require.Greater(t, keys, 290)
}

func TestExportOfVersion11(t *testing.T) {
	n := newTestNode(t)
	fillRandom(n, 4, 100)
	rdb, _ := blocksOf(t, n.s)
	stream := func(sink func([]byte) error) error { return sink(rdb) }
	var out strings.Builder
	require.NoError(t, ExportRDB(&out, stream, 11))
	back, err := imports(t, []byte(out.String()))
	require.NoError(t, err)
	require.Equal(t, held(t, n.s)[1:], held(t, reseed(t, back, n))[1:], "all but the system state")
	require.Error(t, ExportRDB(&out, stream, 9))
	require.ErrorIs(t, ExportRDB(&out, func(sink func([]byte) error) error { return sink(rdb[:len(rdb)-1]) }, 10), ErrRDB)
	bad := append([]byte(nil), rdb...)
	bad[len(bad)/2] ^= 1
	require.Error(t, ExportRDB(&out, func(sink func([]byte) error) error { return sink(bad) }, 11))
}

// reseed is here to say that both nodes order keys by the same seed.
func reseed(t *testing.T, n, like *testNode) *Store {
	require.Equal(t, like.s.st.HashSeed, n.s.st.HashSeed)
	return n.s
}

func TestWeLoadRedisDump(t *testing.T) {
	for name, args := range map[string][]string{
		"defaults":       nil,
		"no compression": {"--rdbcompression", "no"},
		"small nodes":    {"--list-max-listpack-size", "3"},
		"no listpacks":   {"--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0", "--set-max-intset-entries", "0"},
		"large listpacks": {"--hash-max-listpack-entries", "100000", "--zset-max-listpack-entries", "100000",
			"--set-max-intset-entries", "100000", "--hash-max-listpack-value", "100000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			r := startRedisIn(t, dir, args...)
			fillRedis(t, r)
			r.do(t, "SAVE")
			dump, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
			require.NoError(t, err)
			n, err := imports(t, dump)
			require.NoError(t, err)
			n.now = time.Now().UnixMilli()
			n.apply()
			require.Equal(t, 26, requireSameData(t, n, r, 0)+requireSameData(t, n, r, 9))
		})
	}
}

// fillRedis makes keys that Redis saves in all of its encodings.
func fillRedis(t *testing.T, r *redisServer) {
	must := func(args ...string) {
		t.Helper()
		v := r.do(t, args...)
		require.NotEqual(t, byte('-'), v.kind, "%.60q: %s", args[0], v.text)
	}
	for i, s := range []string{"", "x", "0", "-1", "127", "128", "-129", "40000", "2147483647", "2147483648", "-2147483649",
		strings.Repeat("compress me ", 5000), strings.Repeat("z", 70000), "\x00\xff\r\n"} {
		must("SET", "string"+strconv.Itoa(i), s)
	}
	must("PEXPIREAT", "string1", "32503680000000")
	for i := range 300 {
		n := strconv.Itoa(i - 150)
		must("RPUSH", "list", "element "+n, n, strconv.Itoa(i*i*i*i*i))
		must("HSET", "hash", "field "+n, n)
		must("ZADD", "zset", strconv.FormatFloat(float64(i)/7, 'g', -1, 64), "member "+n)
		must("SADD", "set", "member "+n)
		must("SADD", "intset", strconv.Itoa((i-150)*(1<<(i%50))))
		if i < 20 {
			must("RPUSH", "list small", n)
			must("HSET", "hash small", n, strings.Repeat("v", i))
			must("ZADD", "zset small", n, "m"+n)
			must("SADD", "set small", "m"+n)
		}
	}
	must("ZADD", "zset small", "inf", "a", "-inf", "b", "1e-300", "c", "3", "d", "-0.0", "e")
	must("RPUSH", "list large", "a", strings.Repeat("L", 20000), "b")
	must("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b")
	must("RPUSH", "list plain", "a", strings.Repeat("plain", 100), "b", strings.Repeat("lain", 300))
	must("SELECT", "9")
	must("SET", "in nine", "9")
	must("SELECT", "0")
}
