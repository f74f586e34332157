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
	st      state
	abandon runtime.Cleanup
}

// NewLoader begins an empty replacement.
func (s *Store) NewLoader() *Loader { return &Loader{s: s} }

var errLoadOrder = errors.New("snapshot does not begin with one system state")

// SetState takes the encoded system state (Cut.State). It comes first: it brings
// the seed that orders the keys.
func (l *Loader) SetState(b []byte) error {
	st, err := decodeState(b)
	if err != nil {
		return err
	}
	if n := len(st.watch.flush); n != l.s.databases {
		return fmt.Errorf("snapshot has %d databases, this store %d", n, l.s.databases)
	}
	if l.heap != nil {
		return errLoadOrder
	}
	l.st = st
	l.heap, l.dbs = newKeyspaces(st.HashSeed, l.s.databases)
	l.abandon = runtime.AddCleanup(l, (*heap).unmap, l.heap)
	return nil
}

// Add adds one key. The bytes are copied; an object becomes the store's.
func (l *Loader) Add(db int, key []byte, v Value) error {
	if l.heap == nil {
		return errLoadOrder
	}
	if db < 0 || db >= len(l.dbs) {
		return fmt.Errorf("snapshot has a key in database %d, the store has %d", db, len(l.dbs))
	}
	l.dbs[db].set(key, v)
	return nil
}

// Commit makes the loaded data the store's, between two entries, in one step that
// does not depend on its size. index is the snapshot's; it must be the one in the
// state. The loader is used up.
func (l *Loader) Commit(index uint64) error {
	if l.heap == nil {
		return errLoadOrder
	}
	if index != l.st.Index {
		return fmt.Errorf("snapshot of index %d holds the state of %d", index, l.st.Index)
	}
	l.swap()
	l.s.listeners.tell(&Effects{List: []Effect{{Kind: EffectFlush, DB: AllDatabases}}, Kinds: EffectFlush})
	return nil
}

func (l *Loader) swap() {
	s := l.s
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	l.abandon.Stop()
	old := s.heap
	s.heap, s.dbs, s.st = l.heap, l.dbs, l.st
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
