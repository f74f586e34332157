package resp

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// maxmemory-clients: what all connections of the node hold in buffers together, in
// bytes or in percent of maxmemory; 0: no bound of all together, each has its own. At
// each tick the connections that hold most are closed until the rest is within it.
// Those that asked for CLIENT NO-EVICT and servers that follow stay, as in Redis.

// clientMemory is a parsed setting.
type clientMemory struct {
	bytes   int64
	percent bool
}

func parseClientMemory(v string) (m clientMemory) {
	digits, percent := strings.CutSuffix(v, "%")
	if percent {
		return clientMemory{mustInt(digits), true}
	}
	m.bytes, _ = kv.ParseMemory([]byte(v))
	return m
}

// clientMemoryLimit is the bound in bytes; 0: there is none.
func (s *Server) clientMemoryLimit() int64 {
	m := s.live.clientMemory.Load()
	switch {
	case m == nil:
		return 0
	case m.percent:
		return s.backend.Store().Settings().MaxMemory / 100 * m.bytes
	}
	return m.bytes
}

// memory is about what the connection holds of its own.
func (c *conn) memory() int64 {
	n := cap(c.buf) + cap(c.s.out)
	if c.s.multi != nil {
		n += c.s.multi.size
	}
	if c.s.chunk != nil && !c.inFlight { // else it is the node's
		n += c.s.chunk.Size() + c.s.chunk.Reply.Len()
	}
	return int64(n)
}

// evictClients closes this loop's largest connections while those of all loops hold too
// much. A loop counts the others by what they said at their last ticks.
func (l *loop) evictClients() {
	limit := l.srv.clientMemoryLimit()
	if limit <= 0 {
		return
	}
	mine := int64(0)
	for _, c := range l.conns {
		mine += c.memory()
	}
	l.clientBytes.Store(mine)
	total := int64(0)
	for _, other := range l.srv.loops {
		total += other.clientBytes.Load()
	}
	if total <= limit {
		return
	}
	for _, c := range l.largest() {
		n := c.memory()
		l.srv.stats.clientsEvicted.Add(1)
		l.srv.log.Warn("closing a client: all together hold more than maxmemory-clients", "client", c.s.addr.remote, "bytes", n)
		c.guarded(c.close)
		if total -= n; total <= limit {
			return
		}
	}
}

// largest are the connections that may be closed, those that hold most first.
func (l *loop) largest() (list []*conn) {
	for _, c := range l.conns {
		if !c.closed && !c.s.noEvict && c.s.replica == nil && c.memory() > 0 {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(b.memory(), a.memory()) })
	return list
}
