package resp

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkLargeReply is what a loop spends on a reply of 200,000 elements, from the
// request to the bytes for the socket, which takes them all at once.
func BenchmarkLargeReply(b *testing.B) {
	srv, node := newTestSession(b, nil)
	fillLarge(srv, 200_000)
	for _, words := range []string{
		"LRANGE list 0 -1", "LRANGE list 100 99999", "SMEMBERS set", "HGETALL hash", "HKEYS hash", "ZRANGE zset 0 -1",
		"ZRANGE zset 0 -1 WITHSCORES", "XRANGE stream - +", "KEYS *", "GETRANGE string 0 -1", "GET string", "SUNION set none",
	} {
		for _, proto := range []int{resp2, resp3} {
			b.Run(fmt.Sprintf("%s/resp%d", words, proto), func(b *testing.B) {
				s := newSession(srv, 1, clientAddr{}, node.Now())
				s.proto = proto
				req := []byte(command(strings.Fields(words)...))
				b.ReportAllocs()
				for range b.N {
					if _, st := s.feed(req); st != stepRead {
						b.Fatal("no read")
					}
					node.store.Read(s.chunk, 0)
					s.finish()
					b.SetBytes(int64(s.unsent()))
					s.resetOutput()
				}
			})
		}
	}
}

// fillLarge makes a key of each type with n elements, a string of 16 MiB, and n keys.
func fillLarge(srv *Server, n int) {
	const per = 500
	var req strings.Builder
	for from := 0; from < n; from += per {
		args := map[string][]string{}
		for i := from; i < from+per; i++ {
			member := "element:" + strconv.Itoa(i*7919%1_000_000)
			args["RPUSH list"] = append(args["RPUSH list"], member)
			args["SADD set"] = append(args["SADD set"], member)
			args["HSET hash"] = append(args["HSET hash"], member, "value:"+strconv.Itoa(i))
			args["ZADD zset"] = append(args["ZADD zset"], strconv.Itoa(i), member)
			args["MSET"] = append(args["MSET"], "key:"+strconv.Itoa(i), "v")
			req.WriteString(command("XADD", "stream", "*", "field", member))
		}
		for name, more := range args {
			req.WriteString(command(append(strings.Fields(name), more...)...))
		}
	}
	req.WriteString(command("SET", "string", strings.Repeat("0123456789abcdef", 1<<20)))
	drive(srv, []byte(req.String()), 64<<10)
}
