package kv

import (
	"errors"
	"fmt"
	"runtime"
)

// Loader builds the data of a snapshot beside the store's own; nothing changes
// until Commit. It is used by one goroutine; drop it to abandon the load: its
// memory goes with the next garbage collection.
type Loader struct {
	s       *Store
	heap    *heap
	dbs     []*keyspace
	due     [][]dueKey // by database
	top     []uint64   // by database: the highest hash so far
	st      state
	ahead   *memoryAhead
	abandon runtime.Cleanup
}

// NewLoader begins an empty replacement.
func (s *Store) NewLoader() *Loader { return &Loader{s: s} }

// Hurry is for a process that serves nobody yet: memory comes in huge pages at once. That
// is far fewer faults, but one of them may take milliseconds; so prepare, in a goroutine
// of the caller's, has memory ready before it is needed, until stop is called, which must
// be when the load ends. Call Hurry before SetState.
func (l *Loader) Hurry() (prepare, stop func()) {
	l.ahead = newMemoryAhead(true)
	return l.ahead.run, l.ahead.stop
}

var errLoadOrder = errors.New("snapshot does not begin with one system state")

// SetState takes the encoded system state (Cut.State). It comes first: it brings
// the seed that orders the keys.
func (l *Loader) SetState(b []byte) error {
	st, err := decodeState(b)
	if err != nil {
		return err
	}
	if st.Level > l.s.level {
		return fmt.Errorf("%w: snapshot of apply level %d, known are up to %d", ErrUnknown, st.Level, l.s.level)
	}
	if n := len(st.watch.flush); n != l.s.databases {
		return fmt.Errorf("snapshot has %d databases, this store %d", n, l.s.databases)
	}
	if l.heap != nil {
		return errLoadOrder
	}
	l.st = st
	l.heap, l.dbs = newKeyspaces(st.HashSeed, l.s.databases)
	if l.heap.arena.ahead = l.ahead; l.ahead == nil {
		l.heap.arena.ahead = l.s.nextMemory
	}
	l.due, l.top = make([][]dueKey, len(l.dbs)), make([]uint64, len(l.dbs))
	l.abandon = runtime.AddCleanup(l, (*heap).unmap, l.heap)
	return nil
}

// Reserve says how many keys of a database are about to be added: it makes adding
// them fast. It need not be true. It comes before the database's first key.
func (l *Loader) Reserve(db int, keys uint64) error {
	if err := l.check(db); err != nil {
		return err
	}
	l.dbs[db].t.reserve(keys)
	return nil
}

// Add adds one key, which must be new. The bytes are copied; an object becomes the
// store's.
func (l *Loader) Add(db int, key []byte, v Value) error {
	if err := l.check(db); err != nil {
		return err
	}
	hash := hash64(l.heap, key)
	// A snapshot is in hash order: what is above all before needs no search.
	if ks := l.dbs[db]; hash <= l.top[db] && ks.has(hash, key) {
		return fmt.Errorf("%w: repeated key %.64q in database %d", ErrRDB, key, db)
	}
	l.top[db] = max(l.top[db], hash)
	l.due[db] = l.dbs[db].addNew(hash, key, v, l.due[db])
	return nil
}

func (l *Loader) check(db int) error {
	if l.heap == nil {
		return errLoadOrder
	}
	if db < 0 || db >= len(l.dbs) {
		return fmt.Errorf("snapshot has a key in database %d, the store has %d", db, len(l.dbs))
	}
	return nil
}

// Commit makes the loaded data the store's, between two entries, in one step whose
// time under the lock does not depend on its size. index is the snapshot's; it must be the one in the
// state. The loader is used up.
func (l *Loader) Commit(index uint64) error {
	if l.heap == nil {
		return errLoadOrder
	}
	if index != l.st.Index {
		return fmt.Errorf("snapshot of index %d holds the state of %d", index, l.st.Index)
	}
	for db, ks := range l.dbs {
		ks.t.seal()
		ks.indexDue(l.due[db])
		l.due[db] = nil
	}
	l.swap()
	l.s.listeners.tell(&Effects{List: []Effect{{Kind: EffectFlush, DB: AllDatabases}}, Kinds: EffectFlush})
	return nil
}

func (l *Loader) swap() {
	s := l.s
	defer s.readers.tell()
	s.applying.Lock()
	defer s.applying.Unlock()
	s.lock()
	defer s.mu.Unlock()
	l.abandon.Stop()
	s.readers.wakeAll()
	s.waitVersion++
	old := s.heap
	s.heap, s.dbs, s.st = l.heap, l.dbs, l.st
	s.acl.Store(s.st.acl)
	s.showMemory()
	s.heap.arena.ahead = s.nextMemory
	l.heap, l.dbs = nil, nil
	if len(old.cuts) == 0 { // else the last Cut.Close does it
		old.unmap()
	}
}

// unmap gives all memory of a heap back to the kernel. Nobody may look at its
// records any more: it is the store's no longer, and no cut of it is open.
func (h *heap) unmap() {
	chunks := *h.arena.chunks.Load()
	for i, mem := range chunks {
		if mem != nil {
			unmapMemory(mem)
			chunks[i] = nil // a stray look panics instead of reading what comes there next
		}
	}
}
