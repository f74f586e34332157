package kv

import (
	"sort"
	"sync/atomic"
)

// Memory is limited by the leader (DESIGN 14). It compares what its own store holds
// with maxmemory before it makes an entry. Over it, and with a policy that evicts, the
// entry begins with an EVICT of keys sampled from the leader's state, each under the
// condition that nobody modified it meanwhile; with noeviction, or with nothing to
// evict, the entry carries EntryOOM. Apply does what the entry says on every node, so
// what was used when may differ from node to node.

// memory is what the store shows of its size to those that hold no lock.
type memory struct {
	used, max, policy atomic.Int64
}

// usedMemory are the bytes that count against maxmemory: records, objects and the
// slack in their trees, the key table, but not what only open cuts still hold. An
// empty store holds its databases' tables: a limit below them refuses every write.
func (s *Store) usedMemory() int64 {
	h := s.heap
	n := h.arena.live - h.held + h.treeBytes + h.treeBytes/2
	for _, ks := range s.dbs {
		n += int64(ks.len())*keySlotBytes + emptyTableBytes
	}
	return max(n, emptyTableBytes)
}

// emptyTableBytes is what a database without keys takes.
const emptyTableBytes = 1 << 10

// showMemory publishes; the caller holds the lock exclusively.
func (s *Store) showMemory() {
	s.memory.used.Store(s.usedMemory())
	if set := &s.st.Settings; set.MaxMemory != s.memory.max.Load() || set.MaxMemoryPolicy != s.memory.policy.Load() {
		s.memory.max.Store(set.MaxMemory)
		s.memory.policy.Store(set.MaxMemoryPolicy)
	}
}

// OverMemory is by how many bytes the data exceed maxmemory; 0 if they do not, or if
// there is no limit. evicts: the policy allows to take keys away. It takes no lock.
func (s *Store) OverMemory() (bytes int64, evicts bool) {
	limit := s.memory.max.Load()
	if limit == 0 {
		return 0, false
	}
	return max(s.memory.used.Load()-limit, 0), s.memory.policy.Load() != NoEviction
}

// Short reports whether commands flagged denyoom would be refused if they came now.
// It is this node's view: what counts is what the leader writes into the entry.
func (s *Store) Short() bool {
	over, evicts := s.OverMemory()
	return over > 0 && !evicts
}

const (
	// maxEvictions bounds an EVICT: apply must not hold up the commands behind it.
	maxEvictions = 256
	// maxEvictSamples bounds what one is chosen from, a few milliseconds' work.
	maxEvictSamples = 4096
)

// victim is a key that was sampled. Those with the lowest rank go first.
type victim struct {
	watch Watch
	rank  int64
	bytes int64
}

// Evict appends to c, which belongs in a unit of session 0, the eviction of keys that
// hold about so many bytes, chosen by the policy; false if there are none to choose
// from. now is the node's clock, seed makes the sample.
func (s *Store) Evict(c *Chunk, bytes, now int64, seed uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := evictor{s: s, now: now, rng: newRNG(seed, 0, 0), policy: EvictionPolicies[s.st.Settings.MaxMemoryPolicy]}
	args := e.choose(bytes)
	if len(args) == 0 {
		return false
	}
	c.appendControl(opEvict, args...)
	c.countValue()
	return true
}

type evictor struct {
	s      *Store
	now    int64
	rng    rng
	policy string
	found  []victim
	seen   map[string]bool // db and key
}

// choose samples until it has enough to choose from, and returns the encoded watches
// of the best.
func (e *evictor) choose(bytes int64) (args [][]byte) {
	samples := int(e.s.st.Settings.MaxMemorySamples)
	e.seen = make(map[string]bool)
	var sampled int64 // bytes of the keys found
	for tries := 0; tries < maxEvictSamples && sampled < bytes*int64(samples) && len(e.found) < maxEvictions*samples; tries += samples {
		before := len(e.found)
		for range samples {
			e.sample()
		}
		for _, v := range e.found[before:] {
			sampled += v.bytes
		}
		if len(e.found) == 0 && tries >= 16*samples {
			break
		}
	}
	// Ties by order of discovery: the sort is stable, the sample is the seed's.
	sort.SliceStable(e.found, func(i, j int) bool { return e.found[i].rank < e.found[j].rank })
	for i := range e.found {
		if bytes <= 0 || len(args) >= maxEvictions {
			break
		}
		args = append(args, e.found[i].watch.append(nil))
		bytes -= e.found[i].bytes
	}
	return args
}

// sample looks at one key of a database drawn by the number of its keys.
func (e *evictor) sample() {
	volatile := e.policy[0] == 'v'
	total := 0
	for _, ks := range e.s.dbs {
		total += ks.candidates(volatile)
	}
	if total == 0 {
		return
	}
	at := int(e.rng.intn(uint64(total)))
	for db, ks := range e.s.dbs {
		n := ks.candidates(volatile)
		if at >= n {
			at -= n
			continue
		}
		var key []byte
		switch {
		case e.policy == "volatile-ttl": // the index is in order: no need to guess
			at = len(e.found) % n
			fallthrough
		case volatile:
			k, _ := ks.due.at(at)
			key = k[8:]
		default:
			key, _, _ = ks.at(e.rng.next())
		}
		e.add(db, ks, key)
		return
	}
}

func (ks *keyspace) candidates(volatile bool) int {
	if volatile {
		return ks.expires()
	}
	return ks.len()
}

func (e *evictor) add(db int, ks *keyspace, key []byte) {
	v, ok := ks.get(key)
	name := string(rune(db)) + string(key)
	if !ok || e.seen[name] {
		return
	}
	e.seen[name] = true
	w := Watch{DB: db, Key: append([]byte(nil), key...), Since: e.s.st.Version}
	e.found = append(e.found, victim{watch: w, bytes: memoryUsage(key, v), rank: e.rank(db, key, v)})
}

// rank orders the sample: the coldest, rarest or first to expire is the lowest.
func (e *evictor) rank(db int, key []byte, v Value) int64 {
	switch e.policy {
	case "allkeys-lru", "volatile-lru":
		return -e.s.access.idle(db, e.s.hash(key), e.now)
	case "allkeys-lfu", "volatile-lfu":
		return e.s.access.frequency(db, e.s.hash(key), e.now)
	case "volatile-ttl":
		return v.ExpireAt
	}
	return 0
}

// evict is a logged EVICT: keys that were modified since they were sampled stay.
func (s *Store) evict(c *Ctx, watches [][]byte) (evicted int) {
	for _, enc := range watches {
		w, ok := parseWatch(enc)
		if !ok || w.DB >= len(s.dbs) || !s.watchHolds(&w, c) {
			continue
		}
		c.selectDB(w.DB)
		c.marked = nil
		if c.ks.delete(w.Key) {
			c.touched("evicted", w.Key)
			s.fx.endBlock(false)
			evicted++
		}
		c.cost += opCost
	}
	s.reads.evicted.Add(uint64(evicted))
	return evicted
}

func (o *op) evict() bool {
	for _, enc := range o.args {
		if _, ok := parseWatch(enc); !ok {
			return false
		}
	}
	return len(o.args) > 0
}
