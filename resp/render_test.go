package resp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

func TestRender(t *testing.T) {
	for _, tc := range []struct {
		name         string
		fill         func(r *kv.Reply)
		resp2, resp3 string
	}{
		{"plain", func(r *kv.Reply) { r.OK(); r.Int(1); r.BulkString("a\r\nb"); r.Array(1); r.Error("ERR x\r\ny") },
			"+OK\r\n:1\r\n$4\r\na\r\nb\r\n*1\r\n-ERR x  y\r\n", "+OK\r\n:1\r\n$4\r\na\r\nb\r\n*1\r\n-ERR x  y\r\n"},
		{"null", func(r *kv.Reply) { r.Null() }, "$-1\r\n", "_\r\n"},
		{"null array", func(r *kv.Reply) { r.NullArray() }, "*-1\r\n", "_\r\n"},
		{"double", func(r *kv.Reply) { r.Double(1.5) }, "$3\r\n1.5\r\n", ",1.5\r\n"},
		{"map", func(r *kv.Reply) { r.Map(1); r.BulkString("k"); r.Null() }, "*2\r\n$1\r\nk\r\n$-1\r\n", "%1\r\n$1\r\nk\r\n_\r\n"},
		{"set", func(r *kv.Reply) { r.Set(1); r.Int(1) }, "*1\r\n:1\r\n", "~1\r\n:1\r\n"},
		{"verbatim", func(r *kv.Reply) { r.Verbatim("txt", []byte("hi")) }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
		{"pairs", func(r *kv.Reply) { r.Pairs(2); r.BulkString("a"); r.Double(1); r.BulkString("b"); r.Double(2) },
			"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
			"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n"},
		{"pairs of aggregates", func(r *kv.Reply) {
			r.Array(2)
			r.Pairs(1)
			r.Int(1)
			r.Map(1)
			r.Int(2)
			r.Int(3)
			r.Null()
		}, "*2\r\n*2\r\n:1\r\n*2\r\n:2\r\n:3\r\n$-1\r\n", "*2\r\n*1\r\n*2\r\n:1\r\n%1\r\n:2\r\n:3\r\n_\r\n"},
		{"keyed arrays", func(r *kv.Reply) {
			r.KeyedArrays(2)
			r.BulkString("a")
			r.Array(1)
			r.Int(1)
			r.BulkString("b")
			r.Array(0)
		},
			"*2\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n*2\r\n$1\r\nb\r\n*0\r\n",
			"%2\r\n$1\r\na\r\n*1\r\n:1\r\n$1\r\nb\r\n*0\r\n"},
		{"empty pairs", func(r *kv.Reply) { r.Pairs(0); r.Null() }, "*0\r\n$-1\r\n", "*0\r\n_\r\n"},
		{"deferred", func(r *kv.Reply) { r.Array(2); r.Deferred(7); r.Int(1) }, "*2\r\n:7\r\n:1\r\n", "*2\r\n:7\r\n:1\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var tape kv.Reply
			tc.fill(&tape)
			deferred := func(dst []byte, n int) []byte { return appendHead(dst, ':', n) }
			require.Equal(t, "x"+tc.resp2, string(renderer{resp2, deferred}.appendTape([]byte("x"), &tape)))
			require.Equal(t, "x"+tc.resp3, string(renderer{resp3, deferred}.appendTape([]byte("x"), &tape)))
		})
	}
}

// TestReadsForRESP2: what reads write for a client of RESP2 at once is what would have
// been rendered for it.
func TestReadsForRESP2(t *testing.T) {
	srv, node := newTestSession(t, nil)
	fillLarge(srv, 1000)
	drive(srv, []byte(command("ZADD", "scores", "1.5", "a", "-inf", "b", "1e300", "c", "0.1", "d")), 1<<20)
	for _, words := range []string{
		"HGETALL hash", "HGETALL nosuch", "SMEMBERS set", "SUNION set nosuch", "SINTER set nosuch", "ZRANGE zset 0 -1 WITHSCORES",
		"ZRANGE scores 0 -1 WITHSCORES", "ZSCORE scores d", "ZSCORE scores nosuch", "ZMSCORE scores a nosuch c",
		"XREAD COUNT 3 STREAMS stream 0", "GEOPOS scores a nosuch",
		"HGETALL list", "ZDIFF 2 scores zset WITHSCORES", "MGET string nosuch",
	} {
		args := [][]byte{}
		for _, w := range strings.Fields(words) {
			args = append(args, []byte(w))
		}
		var chunks [2]kv.Chunk
		for i := range chunks {
			chunks[i].RESP2 = i == 1
			chunks[i].AddRead(kv.Lookup(args[0]), args)
			node.store.Read(&chunks[i], 0)
		}
		require.Equal(t, string(renderer{proto: resp2}.appendTape(nil, &chunks[0].Reply)),
			string(renderer{proto: resp2}.appendTape(nil, &chunks[1].Reply)), words)
	}
}

func TestRenderIsIterative(t *testing.T) {
	var tape kv.Reply
	for range 1_000_000 {
		tape.Set(1)
	}
	tape.Null()
	require.Equal(t, 4*1_000_000+3, len(renderer{proto: resp3}.appendTape(nil, &tape)))
}

func FuzzRenderDamagedTape(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nabc\r\n_\r\n"), true)
	f.Add([]byte("$9\r\nabc\r\n"), false)
	f.Fuzz(func(t *testing.T, tape []byte, three bool) {
		proto := resp2
		if three {
			proto = resp3
		}
		_ = renderer{proto: proto}.appendValues(nil, tape) // must not panic
	})
}
