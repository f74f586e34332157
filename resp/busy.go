package resp

import (
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// longReads are the scripts that run beside the event loops because they take long.
// Others need not wait for them; but where the operator set busy-reply-threshold so
// low that one passes it, clients of this node hear of it as from Redis: -BUSY.
type longReads struct {
	threshold atomic.Int64 // ms, 0: never
	n         atomic.Int64
	mu        sync.Mutex
	since     map[*kv.Chunk]int64 // Server.nanos
}

func (b *longReads) begin(c *kv.Chunk, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.since == nil {
		b.since = make(map[*kv.Chunk]int64)
	}
	b.since[c] = now
	b.n.Store(int64(len(b.since)))
}

func (b *longReads) end(c *kv.Chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.since, c)
	b.n.Store(int64(len(b.since)))
}

// longest is how long the oldest has been running, in ms.
func (b *longReads) longest(now int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := now
	for _, at := range b.since {
		first = min(first, at)
	}
	return (now - first) / 1e6
}

// busy is the error that refuses the command while a script runs; "" if none does.
func (s *Server) busy(cmd *kv.Command) string {
	b := &s.longReads
	if b.n.Load() == 0 || cmd.Flags&kv.FlagAllowBusy != 0 {
		return ""
	}
	limit := b.threshold.Load()
	if limit == 0 || b.longest(s.nanos()) < limit {
		return ""
	}
	return s.backend.Store().BusyText()
}
