package kv

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// lateNode has values of each type that are written late.
func lateNode(t *testing.T) *testNode {
	n := newTestNode(t)
	pad := strings.Repeat("x", 90)
	for i := 0; i < 14; i++ {
		list, set, hash, zset := []string{"RPUSH", "list"}, []string{"SADD", "set"}, []string{"HSET", "hash"}, []string{"ZADD", "zset"}
		for k := 0; k < 1000; k++ {
			name := fmt.Sprint(i, ":", k, pad)
			list, set = append(list, name), append(set, name)
			hash, zset = append(hash, name, "v"), append(zset, fmt.Sprint(k), name)
			n.do("XADD", "stream", fmt.Sprintf("%d-%d", i+1, k+1), "field", name)
		}
		for _, args := range [][]string{list, set, hash, zset} {
			n.do(args...)
		}
	}
	n.do("XGROUP", "CREATE", "stream", "group", "0")
	n.do("XREADGROUP", "GROUP", "group", "me", "COUNT", "50", "STREAMS", "stream", ">")
	n.do("SET", "string", "s")
	n.do("RPUSH", "list", strings.Repeat("long", 20_000))
	n.do("HSET", "hash", strings.Repeat("f", 40_000), strings.Repeat("v", 1<<20))
	n.do("RPUSH", "short", "a", "b")
	return n
}

var lateKeys = []string{"list", "set", "hash", "zset", "stream"}

func chunkOf(commands ...string) *Chunk {
	c := &Chunk{}
	for _, line := range commands {
		addCommand(c, strings.Fields(line)...)
	}
	return c
}

// What is written late is what would have been written at once, each value in its place.
func TestLateValuesAreInTheirPlaces(t *testing.T) {
	n := lateNode(t)
	commands := []string{"DUMP list", "GET string", "DUMP set", "DUMP hash", "DUMP short", "DUMP nothing", "DUMP zset", "DUMP stream", "LLEN list"}
	for first := range commands {
		want, got := chunkOf(commands[first:]...), chunkOf(commands[first:]...)
		n.s.Read(want, n.now)
		_, tooLong := n.s.ReadBriefly(got, n.now)
		if !tooLong {
			require.Equal(t, len(commands)-1, first, "the others have large values")
			continue
		}
		require.False(t, n.s.ReadLong(got, n.now))
		require.Equal(t, want.Ends, got.Ends)
		require.True(t, string(want.Reply.Bytes()) == string(got.Reply.Bytes()), "from %s on", commands[first])
		require.Equal(t, want.Reply.Plain(), got.Reply.Plain())
	}
}

// A value that is written late is as it was when it was read, and what changes meanwhile
// does so as if nobody had read.
func TestLateValuesAreOfTheirMoment(t *testing.T) {
	n := lateNode(t)
	changes := map[string][]string{
		"list":   {"LPOP list 500", "LSET list 700 changed", "LREM list 0 changed", "RPUSH list one two"},
		"set":    {"SPOP set 300", "SADD set one two"},
		"hash":   {"HSET hash one 1", "HINCRBY hash one 5", "HPEXPIRE hash 100000 FIELDS 1 one"},
		"zset":   {"ZPOPMIN zset 200", "ZADD zset 3.5 one", "ZREMRANGEBYRANK zset 50 5000"},
		"stream": {"XTRIM stream MAXLEN 5000", "XADD stream 99-1 f v", "XACK stream group 14-900", "XGROUP DESTROY stream group"},
	}
	for _, key := range lateKeys {
		want, got := chunkOf("DUMP "+key), chunkOf("DUMP "+key)
		n.s.Read(want, n.now)
		_, tooLong := n.s.ReadBriefly(got, n.now)
		require.True(t, tooLong)
		require.False(t, n.s.takeLate(got, n.now))
		for _, line := range changes[key] {
			require.NotContains(t, n.do(strings.Fields(line)...), "ERR", line)
		}
		got.writeLate()
		require.True(t, string(want.Reply.Bytes()) == string(got.Reply.Bytes()), key)
	}
	other := New(Options{HashSeed: 42})
	for _, e := range n.log {
		require.NoError(t, other.Apply([]LogEntry{e}, &testNode{}))
	}
	_, want := other.Digest()
	_, got := n.s.Digest()
	require.Equal(t, want, got)
}

// A script beside a large value that takes long has the whole chunk read at once, or the
// store would be locked for it.
func TestLateValueBesideALongScript(t *testing.T) {
	n := lateNode(t)
	commands := func() *Chunk {
		c := chunkOf("DUMP list")
		addCommand(c, "EVAL", "local n = 0 for i = 1, 200000 do n = n + i end return n", "0")
		return c
	}
	want, got := commands(), commands()
	n.s.Read(want, n.now)
	_, tooLong := n.s.ReadBriefly(got, n.now)
	require.True(t, tooLong)
	require.False(t, n.s.ReadLong(got, n.now))
	require.Equal(t, want.Ends, got.Ends)
	require.True(t, string(want.Reply.Bytes()) == string(got.Reply.Bytes()))
}

// A key that is due asks for a TICK first, as it does of every read.
func TestLateValueThatIsDue(t *testing.T) {
	n := lateNode(t)
	n.do("PEXPIRE", "list", "10")
	c := chunkOf("DUMP set", "DUMP list")
	_, tooLong := n.s.ReadBriefly(c, n.now)
	require.True(t, tooLong)
	require.True(t, n.s.ReadLong(c, n.now+11))
	n.tick(11)
	require.False(t, n.s.ReadLong(c, 0))
	require.Equal(t, "_\r\n", string(c.Reply.Bytes()[c.Ends[0]:]))
}

// Writers, cuts and late values beside each other.
func TestConcurrentLateValues(t *testing.T) {
	n := lateNode(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, key := range lateKeys {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := chunkOf("DUMP "+key, "DUMP short")
				if _, tooLong := n.s.ReadBriefly(c, 0); tooLong {
					n.s.ReadLong(c, 0)
				}
				b := c.Reply.Bytes()[:c.Ends[0]]
				b = b[strings.Index(string(b[:20]), "\r\n")+2 : len(b)-2]
				if crc64Update(0, b[:len(b)-8]) != binary.LittleEndian.Uint64(b[len(b)-8:]) {
					t.Error("a payload of", key, "is broken")
					return
				}
			}
		}()
	}
	for i := range 60 {
		n.do("RPUSH", "list", fmt.Sprint(i))
		n.do("LPOP", "list")
		n.do("SPOP", "set")
		n.do("HSET", "hash", fmt.Sprint(i), "v")
		n.do("ZADD", "zset", fmt.Sprint(i), fmt.Sprint(i))
		n.do("XADD", "stream", "*", "f", "v")
		if i%10 == 0 {
			cut := n.s.OpenCut()
			_ = cut.Each(0, func([]byte, Value) error { return nil })
			cut.Close()
		}
	}
	close(stop)
	wg.Wait()
}
