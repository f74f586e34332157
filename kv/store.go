package kv

import (
	"sync"
	"sync/atomic"
)

// Options are what a store is born with. They are the same on all nodes of a
// cluster.
type Options struct {
	// HashSeed is the cluster-wide secret that seeds the hash of keys: without it a
	// client could choose colliding keys. A snapshot brings its own.
	HashSeed uint64
	// Databases is the number of databases; 0 means 16.
	Databases int
	// Level is the newest apply level this node knows; 0 means ApplyLevel. Another is for
	// tests of what nodes of different versions do together.
	Level uint16
}

// Store is the state machine. Apply and Read are the two ways in; everything else
// looks on.
//
// Locking: mu guards everything. Apply holds it exclusively, in slices that end at
// unit boundaries; reads hold it shared. applying is held from the first to the
// last unit of an entry, so that a cut or a swap never sees half an entry; it is
// taken before mu.
type Store struct {
	databases int    // never changes
	level     uint16 // known here; never changes

	applying sync.Mutex
	mu       sync.RWMutex

	heap *heap
	dbs  []*keyspace
	st   state

	// dirty counts changes of keys, expired those removed by time since the start of
	// the process: for INFO, not replicated.
	dirty uint64
	// expired and lazyFreed are counted by the applier and set to 0 by any goroutine:
	// CONFIG RESETSTAT must not wait for a writer.
	expired, lazyFreed atomic.Uint64
	// readSeed makes the random choices of reads differ from each other. It is this
	// node's own: reads change nothing.
	readSeed atomic.Uint64

	// access and reads are this node's: when keys were used, and counters.
	access *accessTable
	reads  readStats
	memory memory

	// acl is st.acl, for those that hold no lock.
	acl atomic.Pointer[ACL]

	// scripts runs scripts; it has a lock of its own.
	scripts scriptEngine

	// nextMemory, if not nil, has memory for new records ready (MemoryAhead).
	nextMemory *memoryAhead

	// listeners are told the effects of apply. receivers counts who hears a message.
	listeners listeners
	receivers atomic.Pointer[func(shard bool, channel []byte) int]

	// readers are the clients of this node that wait in XREAD; it has a lock of its own.
	readers readerTable
	// warmers look ahead at reads, each at those of one chunk.
	warmers sync.Pool

	// Scratch of Apply, guarded by applying.
	ctx     Ctx
	run     runner
	discard Reply
	done    []*Chunk
	buf     []byte
	fx      effectLog
	ahead   warmer
	// Of those who wait: ready are the keys that became ready in the present command,
	// empty between units; served is a reply on its way to its chunk.
	owner       Owner
	ready       []waitKey
	spareReady  []waitKey
	serveCtx    Ctx
	served      Reply
	waitVersion uint64
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Databases == 0 {
		o.Databases = 16
	}
	if o.Level == 0 {
		o.Level = ApplyLevel
	}
	s := &Store{databases: o.Databases, level: o.Level, access: newAccessTable()}
	s.scripts.slots = make(chan struct{}, maxLongReads)
	s.scripts.free = sync.NewCond(&s.scripts.gate)
	s.heap, s.dbs = newKeyspaces(o.HashSeed, o.Databases)
	s.st = newState(o.HashSeed, o.Databases)
	s.acl.Store(s.st.acl)
	s.showMemory()
	return s
}

// MemoryAhead is for a store that serves clients: new records get memory in huge pages
// (docs/adr/0038), which prepare, in a goroutine of the caller's, has ready before it is
// needed, until stop is called. It makes nothing until the store is larger than a few MiB,
// and is a few MiB ahead then. Without it, or where prepare is late, small pages are used. Call
// it before the store is used by others; stop may be called more than once.
func (s *Store) MemoryAhead() (prepare, stop func()) {
	s.lock()
	defer s.mu.Unlock()
	s.nextMemory = newMemoryAhead(false)
	s.heap.arena.ahead = s.nextMemory
	return s.nextMemory.run, s.nextMemory.stop
}

func newKeyspaces(seed uint64, n int) (*heap, []*keyspace) {
	h := newHeap(seed)
	dbs := make([]*keyspace, n)
	for i := range dbs {
		dbs[i] = newKeyspace(h)
	}
	return h, dbs
}

// hash is the seeded hash of a key.
func (s *Store) hash(key []byte) uint64 { return hash64(s.heap, key) }

// Applied is the index of the last entry applied completely.
func (s *Store) Applied() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.st.Index
}

// Stamp is the state machine's time, Unix ms (docs/adr/0004).
func (s *Store) Stamp() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.st.Stamp
}

// Databases is the number of databases.
func (s *Store) Databases() int { return s.databases }

// DBSize is the number of keys of a database, expired ones that are still there
// included, as in Redis.
func (s *Store) DBSize(db int) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.dbs[db].len()
}

// Settings is a copy of the replicated settings.
func (s *Store) Settings() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.st.Settings
}

// Stats is what INFO tells about the data.
type Stats struct {
	Index uint64
	Stamp int64
	// Keys and Expires count, per database, the keys and those with an expiry.
	Keys, Expires []int
	// LiveBytes are the bytes of live records and objects, UsedBytes what the arena
	// takes from the system.
	LiveBytes, UsedBytes int64
	Objects              int
	// Dirty counts changes, Expired keys removed by time, since the process began.
	Dirty, Expired uint64
	// Evicted keys, and lookups of commands that read, on this node since it began or
	// ResetStats.
	Evicted, Hits, Misses uint64
	// LazyFreed are the large values of UNLINK and the keys of FLUSHALL and FLUSHDB, all
	// left to be freed later, since then.
	LazyFreed uint64
	// UsedMemory is what counts against maxmemory.
	UsedMemory int64
	Sessions   int
	// Scripts are cached; Libraries of functions and Functions in them are loaded.
	Scripts, Libraries, Functions int
	// ScriptBytes and FunctionBytes are what their texts take.
	ScriptBytes, FunctionBytes int
}

// Stats takes the read lock shortly.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.heap.stats()
	st := Stats{
		Index: s.st.Index, Stamp: s.st.Stamp,
		LiveBytes: h.LiveBytes, UsedBytes: h.UsedBytes, Objects: h.Objects,
		Evicted: s.reads.evicted.Load(), Hits: s.reads.hits.Load(), Misses: s.reads.misses.Load(),
		UsedMemory: s.usedMemory(), LazyFreed: s.lazyFreed.Load(),
		Dirty: s.dirty, Expired: s.expired.Load(), Sessions: len(s.st.sessions.rows),
		Scripts: len(s.st.scripts.bySHA), Libraries: len(s.st.functions.libs), Functions: len(s.st.functions.byName),
		ScriptBytes: s.st.scripts.bytes, FunctionBytes: s.st.functions.bytes,
	}
	for _, ks := range s.dbs {
		st.Keys = append(st.Keys, ks.len())
		st.Expires = append(st.Expires, ks.expires())
	}
	return st
}

// Maintain frees memory that deletions and closed cuts left behind, in a bounded
// slice under the lock, and reports whether more is left. Apply does a part of it
// with every entry; a node calls it while idle.
func (s *Store) Maintain() (more bool) {
	s.lock()
	defer s.mu.Unlock()
	defer s.showMemory()
	return s.heap.freeSome(maintainOps)
}

// maintainOps bounds Maintain's time under the lock, to well below a millisecond.
const maintainOps = 512
