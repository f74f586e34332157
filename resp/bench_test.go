package resp

import (
	"strings"
	"testing"
)

// BenchmarkSession is the front end's cost per command without sockets, in pipelines
// of 16: guard, parser, dispatch, chunk, (for GET) the store, rendering.
func BenchmarkSession(b *testing.B) {
	const depth = 16
	for name, req := range map[string]string{
		"PING": command("PING"), "GET": command("GET", "key:000000000001"),
		"SET": command("SET", "key:000000000001", strings.Repeat("v", 64)),
	} {
		b.Run(name, func(b *testing.B) {
			srv, node := newTestSession(b, nil)
			drive(srv, []byte(command("SET", "key:000000000001", strings.Repeat("v", 64))), 1<<20)
			s := newSession(srv, 1, clientAddr{}, node.Now())
			buf := []byte(strings.Repeat(req, depth))
			b.ReportAllocs()
			for i := 0; i < b.N; i += depth {
				switch _, st := s.feed(buf); st {
				case stepRead:
					node.store.Read(s.chunk, 0)
					s.finish()
				case stepPropose:
					for range depth {
						s.chunk.Reply.OK() // as if applied
					}
					s.finish()
				}
				s.publish(0)
				s.resetOutput()
			}
		})
	}
}
