package resp

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// memoryStats is MEMORY STATS with Redis's names; what has no counterpart here is 0.
func memoryStats(s *session, _ [][]byte, out *kv.Reply) {
	data := s.srv.backend.Store().Stats()
	used := int64(goHeapBytes()) + data.UsedBytes
	rss := residentBytes()
	keys := int64(0)
	dbs := 0
	for _, n := range data.Keys {
		keys += int64(n)
		if n > 0 {
			dbs++
		}
	}
	perKey := int64(0)
	if keys > 0 {
		perKey = data.LiveBytes / keys
	}
	ints := []struct {
		name string
		n    int64
	}{
		{"peak.allocated", s.srv.live.notePeak(used)}, {"total.allocated", used}, {"startup.allocated", 0},
		{"replication.backlog", 0}, {"clients.slaves", 0}, {"clients.normal", s.srv.clientBytes()},
		{"cluster.links", 0}, {"aof.buffer", 0}, {"lua.caches", 0}, {"functions.caches", 0},
	}
	out.Map(len(ints) + dbs + 16)
	for _, f := range ints {
		out.BulkString(f.name)
		out.Int(f.n)
	}
	for db, n := range data.Keys {
		if n == 0 {
			continue
		}
		out.BulkString(fmt.Sprintf("db.%d", db))
		out.Map(3)
		out.BulkString("overhead.hashtable.main")
		out.Int(int64(n) * 12)
		out.BulkString("overhead.hashtable.expires")
		out.Int(int64(data.Expires[db]) * 41)
		out.BulkString("overhead.hashtable.slot-to-keys")
		out.Int(0)
	}
	num := func(name string, n int64) { out.BulkString(name); out.Int(n) }
	dbl := func(name string, f float64) { out.BulkString(name); out.Double(f) }
	num("overhead.total", max(0, used-data.LiveBytes))
	num("keys.count", keys)
	num("keys.bytes-per-key", perKey)
	num("dataset.bytes", data.LiveBytes)
	dbl("dataset.percentage", share(data.LiveBytes, used))
	dbl("peak.percentage", share(used, s.srv.live.notePeak(used)))
	num("allocator.allocated", used)
	num("allocator.active", used)
	num("allocator.resident", rss)
	dbl("allocator-fragmentation.ratio", 1)
	num("allocator-fragmentation.bytes", 0)
	dbl("allocator-rss.ratio", share(rss, used)/100)
	num("allocator-rss.bytes", rss-used)
	dbl("rss-overhead.ratio", 1)
	num("rss-overhead.bytes", 0)
	dbl("fragmentation", share(rss, used)/100)
}

func share(a, b int64) float64 {
	if b <= 0 {
		return 0
	}
	return 100 * float64(a) / float64(b)
}

// clientBytes is what connections hold in buffers.
func (s *Server) clientBytes() (n int64) {
	for _, c := range s.clients.all() {
		v := &c.s.vis
		v.mu.Lock()
		n += int64(v.qbuf + v.omem)
		v.mu.Unlock()
	}
	return n
}

func memoryMallocStats(_ *session, _ [][]byte, out *kv.Reply) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var b strings.Builder
	fmt.Fprintf(&b, "Go heap: allocated %d, in use %d, idle %d, released %d, objects %d\n",
		m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased, m.HeapObjects)
	fmt.Fprintf(&b, "Collections: %d, pauses %d ns in all, CPU share %.4f\n", m.NumGC, m.PauseTotalNs, m.GCCPUFraction)
	b.WriteString("Data lives outside the heap: MEMORY STATS, dataset.bytes\n")
	out.Verbatim("txt", []byte(b.String()))
}

// memoryPurge gives free pages back to the system; it takes its time, so others must
// not wait for it.
func memoryPurge(s *session, _ [][]byte, out *kv.Reply) {
	if s.inExec {
		out.OK()
		return
	}
	s.async = s.srv.blocking(func(_ context.Context, out *kv.Reply) {
		debug.FreeOSMemory()
		out.OK()
	})
}

// memoryDoctor comments on what MEMORY STATS shows.
func memoryDoctor(s *session, _ [][]byte, out *kv.Reply) {
	data := s.srv.backend.Store().Stats()
	used, rss := int64(goHeapBytes())+data.UsedBytes, residentBytes()
	var b strings.Builder
	switch {
	case used < 5<<20:
		b.WriteString("This instance is empty or is using very little memory; there is nothing to comment on.\n")
	case share(rss, used) > 150:
		fmt.Fprintf(&b, "The process is %.1f times as large as what it uses: freed memory was not given back yet. "+
			"MEMORY PURGE does so.\n", share(rss, used)/100)
	case s.srv.clientBytes() > used/4:
		b.WriteString("Connections hold more than a quarter of the memory: some clients send much or read slowly (CLIENT LIST, qbuf and omem).\n")
	default:
		b.WriteString("No memory issues were found on this node.\n")
	}
	out.Verbatim("txt", []byte(b.String()))
}
