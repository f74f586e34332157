package kv

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/rkvdb/rkv/internal/pages"
)

// accessTable remembers when and how often keys were used on this node, for eviction
// and OBJECT IDLETIME/FREQ. It is not replicated: reads change it (DESIGN 14). A key
// shares its slot with others by hash, so nothing is kept per key; with far more keys
// than slots a cold key can look as warm as a neighbour.
//
// A slot is 24 bits of seconds and 8 bits of logarithmic counter. Readers write it
// without a lock: a lost update is a slightly older age.
type accessTable struct {
	// slots exist from the first note on: stores without keys do not need their 4 MiB.
	slots atomic.Pointer[[accessSlots]atomic.Uint32]
	// there has a bit for each part of slots that was given its pages.
	there atomic.Uint64
	// logFactor and decayMinutes are lfu-log-factor and lfu-decay-time.
	logFactor, decayMinutes atomic.Int64
}

// noteKind is what lookup notes of a key for the present command.
type noteKind uint8

const (
	noteHits noteKind = 1 << iota // count hits and misses
	noteUse                       // the key was used
)

// notes decides what the command's lookups note.
func (c *Ctx) notes(cmd *Command) {
	c.noting = 0
	if cmd.Flags&FlagReadonly != 0 {
		c.noting = noteHits
	}
	if !cmd.noTouch && (!c.noTouch || cmd.Name == "touch") {
		c.noting |= noteUse
	}
}

func (c *Ctx) note(key []byte, found bool) {
	if c.noting&noteHits != 0 {
		if found {
			c.hits++
		} else {
			c.misses++
		}
	}
	if found && c.noting&noteUse != 0 {
		c.used(c.store.hash(key))
	}
}

// used notes that the key was read or written.
func (c *Ctx) used(hash uint64) {
	if c.noting&noteUse != 0 {
		lfu := usesFrequency(c.settings().MaxMemoryPolicy)
		c.store.access.use(c.db, hash, c.now, lfu)
	}
}

// noTouch are commands that look at a key without using it, as in Redis.
var noTouch = []string{
	"dump", "exists", "expiretime", "memory|usage", "object|encoding", "object|freq", "object|idletime",
	"object|refcount", "pexpiretime", "pttl", "ttl", "type",
}

func usesFrequency(policy int64) bool {
	return EvictionPolicies[policy] == "allkeys-lfu" || EvictionPolicies[policy] == "volatile-lfu"
}

const (
	accessBits  = 20
	accessSlots = 1 << accessBits
	accessPart  = accessSlots / 64 // is given its pages together, 64 KiB
	lfuInit     = 5                // a new key's counter: it must live long enough to be counted
)

func newAccessTable() *accessTable {
	t := &accessTable{}
	t.logFactor.Store(10)
	t.decayMinutes.Store(1)
	return t
}

func accessClock(now int64) uint32 { return uint32(now/1000) & (1<<24 - 1) }

// slot is where the key's use is noted.
func (t *accessTable) slot(db int, hash uint64) *atomic.Uint32 {
	slots := t.slots.Load()
	if slots == nil {
		t.slots.CompareAndSwap(nil, new([accessSlots]atomic.Uint32))
		slots = t.slots.Load()
	}
	at := accessSlot(db, hash)
	if part := at / accessPart; t.there.Load()>>part&1 == 0 {
		pages.Populate(slots[part*accessPart:][:accessPart])
		t.there.Or(1 << part)
	}
	return &slots[at]
}

// at is where the key's use is noted, nil if no use was noted yet.
func (t *accessTable) at(db int, hash uint64) *atomic.Uint32 {
	if slots := t.slots.Load(); slots != nil {
		return &slots[accessSlot(db, hash)]
	}
	return nil
}

// noted is what the key's slot says, 0 if nothing.
func (t *accessTable) noted(db int, hash uint64) uint32 {
	if slot := t.at(db, hash); slot != nil {
		return slot.Load()
	}
	return 0
}

func accessSlot(db int, hash uint64) uint64 {
	return (hash + uint64(db)*0x9e3779b97f4a7c15) >> (64 - accessBits)
}

// use notes that the key was used at now.
func (t *accessTable) use(db int, hash uint64, now int64, countUses bool) {
	s := t.slot(db, hash)
	old, clock := s.Load(), accessClock(now)
	if old>>8 == clock && !countUses {
		return
	}
	count := uint32(lfuInit)
	if old != 0 {
		count = t.decayed(old, clock)
		if countUses && t.counts(count) {
			count++
		}
	}
	if next := clock<<8 | count; next != old {
		s.Store(next)
	}
}

// decayed is the counter after the minutes since the last use.
func (t *accessTable) decayed(slot, clock uint32) uint32 {
	count := slot & 0xff
	period := t.decayMinutes.Load() * 60
	if period <= 0 {
		return count
	}
	steps := int64((clock-slot>>8)&(1<<24-1)) / period
	if steps >= int64(count) {
		return 0
	}
	return count - uint32(steps)
}

// counts decides whether a use raises the counter: the higher it is, the less likely.
func (t *accessTable) counts(count uint32) bool {
	if count == 255 {
		return false
	}
	base := max(int64(count)-lfuInit, 0)
	return rand.Float64() < 1/float64(base*t.logFactor.Load()+1)
}

// idle is for how many seconds the key was not used; 0 if nothing is known.
func (t *accessTable) idle(db int, hash uint64, now int64) int64 {
	s := t.noted(db, hash)
	if s == 0 {
		return 0
	}
	return int64((accessClock(now) - s>>8) & (1<<24 - 1))
}

// frequency is the key's counter by now.
func (t *accessTable) frequency(db int, hash uint64, now int64) int64 {
	s := t.noted(db, hash)
	if s == 0 {
		return lfuInit
	}
	return int64(t.decayed(s, accessClock(now)))
}

// set is RESTORE's IDLETIME or FREQ; a negative value is not given.
func (t *accessTable) set(db int, hash uint64, now, idle, freq int64) {
	s := t.slot(db, hash)
	clock, count := accessClock(now), uint32(lfuInit)
	if idle >= 0 {
		clock = accessClock(now - idle*1000)
	}
	if freq >= 0 {
		count = uint32(freq)
	}
	s.Store(clock<<8 | count)
}

// readStats are what INFO tells about lookups on this node.
type readStats struct {
	hits, misses atomic.Uint64
	evicted      atomic.Uint64
}

// add takes over what an execution counted.
func (r *readStats) add(c *Ctx) {
	if c.hits != 0 {
		r.hits.Add(uint64(c.hits))
	}
	if c.misses != 0 {
		r.misses.Add(uint64(c.misses))
	}
}

// SetLFU sets lfu-log-factor and lfu-decay-time (minutes) of this node.
func (s *Store) SetLFU(logFactor, decayMinutes int64) {
	s.access.logFactor.Store(logFactor)
	s.access.decayMinutes.Store(decayMinutes)
}

// ResetStats zeroes the counters of INFO stats that belong to the data. It waits for
// nobody.
func (s *Store) ResetStats() {
	s.expired.Store(0)
	s.lazyFreed.Store(0)
	s.reads.hits.Store(0)
	s.reads.misses.Store(0)
	s.reads.evicted.Store(0)
}
