package kv

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// payload completes a body with version and CRC.
func payload(version int, body ...byte) string {
	p := binary.LittleEndian.AppendUint16(append([]byte(nil), body...), uint16(version))
	return string(binary.LittleEndian.AppendUint64(p, crc64Update(0, p)))
}

// fillForDump makes keys of every type in small and large forms.
func fillForDump(do func(args ...string)) (keys []string) {
	do("SET", "int", "-1234567")
	do("SET", "text", "hello")
	do("SET", "zeros", strings.Repeat("\x00", 100_000))
	do("SADD", "ints", "1", "-70000", "99999999999")
	keys = []string{"int", "text", "zeros", "ints"}
	for _, n := range []int{1, 20, 600} {
		for _, kind := range []string{"RPUSH", "SADD", "HSET", "ZADD"} {
			key := fmt.Sprint(kind, n)
			keys = append(keys, key)
			for i := range n {
				e := fmt.Sprint("element", i*i)
				switch kind {
				case "HSET":
					do(kind, key, e, strings.Repeat("v", i%90))
				case "ZADD":
					do(kind, key, fmt.Sprint(float64(i)/7), e)
				default:
					do(kind, key, e)
				}
			}
		}
	}
	return keys
}

// What rkv dumps the original restores, and what it dumps rkv restores.
func TestDumpAndRestoreWithRedis(t *testing.T) {
	r := startRedisIn(t, shortDir(t))
	n := newTestNode(t)
	keys := fillForDump(func(args ...string) { n.do(args...) })
	for _, key := range keys {
		dump := n.doValue([]string{"DUMP", key})
		require.Equal(t, byte('$'), dump.kind, key)
		v := r.do(t, "RESTORE", key, "0", dump.text)
		require.Equal(t, "OK", v.text, key)
	}
	require.Equal(t, len(keys), requireSameData(t, n, r, 0))

	back := newTestNode(t)
	for _, key := range keys {
		dump := r.do(t, "DUMP", key)
		require.Equal(t, "OK", back.do("RESTORE", key, "0", dump.text), key)
		// Redis 7.0 knows no listpack of a list or set.
		if want := r.do(t, "OBJECT", "ENCODING", key).text; want != "quicklist" && !strings.HasPrefix(key, "SADD") {
			require.Equal(t, want, back.doValue([]string{"OBJECT", "ENCODING", key}).text, key)
		}
	}
	require.Equal(t, len(keys), requireSameData(t, back, r, 0))
}

func TestRestoreRefusesDamage(t *testing.T) {
	n := newTestNode(t)
	bad := "(error) ERR Bad data format"
	for name, body := range map[string][]byte{
		"unknown type":          {99, 1},
		"nothing but a type":    {0},
		"short string":          {0, 5, 'a', 'b'},
		"empty set":             {2, 0},
		"bytes behind":          {0, 1, 'a', 'b'},
		"repeated member":       {2, 2, 1, 'a', 1, 'a'},
		"count beyond the end":  {1, 0x80, 0x7f, 0xff, 0xff, 0xff, 1, 'a'},
		"score not a number":    {5, 1, 1, 'a', 0, 0, 0, 0, 0, 0, 0xf8, 0x7f},
		"listpack cut short":    {17, 8, 8, 0, 0, 0, 2, 0, 0x81, 0xff},
		"compressed to nowhere": {0, 0xc3, 2, 0x80, 0x20, 0, 0, 0, 0, 'a'},
		"opcode":                {0xfe, 0},
	} {
		require.Equal(t, bad, n.do("RESTORE", "k", "0", payload(10, body...)), name)
	}
	require.Contains(t, n.do("RESTORE", "k", "0", payload(99, 0, 1, 'a')), "version or checksum")
	require.Equal(t, "(integer) 0", n.do("DBSIZE"))
}

// A small payload may not stand for gigabytes, in one string or in many.
func TestRestoreIsBounded(t *testing.T) {
	n := newTestNode(t)
	// 1 MiB of zeros: a literal byte, then repetitions of 264 bytes.
	lzf := []byte{0, 0}
	size := 1
	for size < 1<<20 {
		lzf = append(lzf, 0xe0, 0xff, 0)
		size += 264
	}
	packed := appendRDBLen([]byte{0xc3}, uint64(len(lzf)))
	packed = append(appendRDBLen(packed, uint64(size)), lzf...)
	list := appendRDBLen([]byte{rdbList}, 2000)
	for range 2000 {
		list = append(list, packed...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Equal(t, "(error) ERR Bad data format", n.do("RESTORE", "bomb", "0", payload(10, list...)))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
	require.Equal(t, "OK", n.do("RESTORE", "k", "0", payload(10, append([]byte{rdbString}, packed...)...)))
	require.Equal(t, fmt.Sprint("(integer) ", size), n.do("STRLEN", "k"))
}

// FuzzRestore feeds bodies with a sound footer: what is accepted can be dumped and
// restored again, and is the same then.
func FuzzRestore(f *testing.F) {
	seeds := newTestNode(f)
	for _, key := range fillForDump(func(args ...string) { seeds.do(args...) }) {
		if p := seeds.doValue([]string{"DUMP", key}).text; len(p) < 1000 {
			f.Add([]byte(p[:len(p)-dumpFooter]), 10)
		}
	}
	f.Add([]byte{2, 2, 1, 'a', 1, 'b'}, 9)
	f.Add([]byte{0, 0xc3, 4, 10, 1, 'a', 'b', 0xe0, 0, 1}, 11)
	n := newTestNode(f)
	f.Fuzz(func(t *testing.T, body []byte, version int) {
		n.t, n.log = t, nil
		n.do("DEL", "k", "again")
		if n.do("RESTORE", "k", "0", payload(version&0xffff, body...)) != "OK" {
			require.Equal(t, "(integer) 0", n.do("EXISTS", "k"))
			return
		}
		dump := n.doValue([]string{"DUMP", "k"})
		require.Equal(t, byte('$'), dump.kind)
		require.Equal(t, "OK", n.do("RESTORE", "again", "0", dump.text))
		ks := n.s.dbs[0]
		a, _ := ks.get([]byte("k"))
		b, ok := ks.get([]byte("again"))
		require.True(t, ok)
		var d keyDigest
		require.Equal(t, d.sumKey(0, nil, a), d.sumKey(0, nil, b))
	})
}

func TestMemoryUsage(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "small", "x")
	n.do("SET", "ttl", "x", "EX", "100")
	n.do("SET", "big", strings.Repeat("x", 100_000))
	for i := range 1000 {
		n.do("ZADD", "z", fmt.Sprint(i), fmt.Sprint("member", i))
	}
	usage := func(key string) int64 {
		b, ok := n.s.MemoryUsage(0, []byte(key))
		require.True(t, ok)
		return b
	}
	_, ok := n.s.MemoryUsage(0, []byte("missing"))
	require.False(t, ok)
	require.Less(t, usage("small"), int64(64))
	require.Less(t, usage("small"), usage("ttl"))
	require.InDelta(t, 100_000, usage("big"), 40_000)
	require.Greater(t, usage("z"), int64(2*1000*20))
}
