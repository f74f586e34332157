package kv

// warmer reads the memory that the next units of an entry will need. A key's command
// misses the cache four times in a large table, one miss after the other: its slot, its
// record, its slots in the tables of modifications and of uses. Done for many keys at a time, one step
// for all of them before the next, the misses overlap. It changes nothing and decides
// nothing: what it cannot read it leaves to apply.
type warmer struct {
	keys [warmKeys]warmKey
	n    int
	left int    // operations looked ahead at that have not run
	sum  uint64 // of what was read, or the compiler would not read it
}

type warmKey struct {
	hash uint64
	db   int32
	slot *segment
	rec  ref
}

const (
	// warmKeys are looked ahead at most: four lines each stay in the first cache.
	warmKeys = 64
	// warmTable is the number of keys below which a table is in the cache anyway.
	warmTable = 1 << 13
)

// next is told of each operation before it runs: ops of them are in data, the first one on
// database db, more in the units that follow.
func (w *warmer) next(s *Store, db int, data []byte, ops uint64, following *UnitIter) {
	if w.left > 0 {
		w.left--
		return
	}
	w.n = 0
	ok := w.gather(s, db, data, ops)
	for it := *following; ok && w.n < warmKeys && it.Next(); {
		ok = w.gather(s, 0, it.Unit.Data, it.Unit.Ops)
	}
	if w.n > 1 {
		w.touch(s)
	}
	w.left = max(w.left, 1) - 1
}

// gather notes the first keys of operations.
func (w *warmer) gather(s *Store, db int, data []byte, ops uint64) (ok bool) {
	for ; ops > 0 && w.n < warmKeys; ops-- {
		code, rest, err := takeUvarint(data)
		if err != nil || code > 0xffff {
			return false
		}
		argc, rest, err := takeUvarint(rest)
		if err != nil {
			return false
		}
		key := firstKeyOf(Opcode(code))
		for i := uint64(0); i < argc; i++ {
			var arg []byte
			if arg, rest, err = takeBytes(rest); err != nil {
				return false
			}
			switch {
			case i == key:
				w.keys[w.n] = warmKey{hash: s.hash(arg), db: int32(db)}
				w.n++
			case Opcode(code) == opSelect:
				if n, ok := parseUint(arg); ok && n < uint64(s.databases) {
					db = int(n)
				}
			}
		}
		data = rest
		w.left++
	}
	return true
}

// firstKeyOf is where the arguments of an operation, its name not counted, have the
// first key; beyond all arguments if they have none.
func firstKeyOf(code Opcode) uint64 {
	cmd := LookupOp(code)
	if cmd == nil || cmd.FirstKey < len(cmd.argv0) || len(cmd.argv0) == 0 {
		return 1 << 32
	}
	return uint64(cmd.FirstKey - len(cmd.argv0))
}

// touch reads, step by step.
func (w *warmer) touch(s *Store) {
	keys, sum := w.keys[:w.n], w.sum
	for i := range keys {
		k := &keys[i]
		slot := watchSlot(int(k.db), k.hash)
		sum += s.st.watch.get(slot)
		sum += uint64(s.access.noted(int(k.db), k.hash))
		if t := s.dbs[k.db].t; t.n >= warmTable {
			k.slot = t.dir[t.index(k.hash)]
		}
	}
	for i := range keys {
		if k := &keys[i]; k.slot != nil {
			sum += k.slot.slot(k.slot.home(k.hash) * groupSlots)
		}
	}
	for i := range keys {
		if k := &keys[i]; k.slot != nil {
			k.rec = k.slot.likely(k.hash)
		}
	}
	for i := range keys {
		if k := &keys[i]; k.rec != 0 {
			sum += uint64(s.heap.arena.at(k.rec)[0])
		}
	}
	w.sum = sum
}

// likely is the record that a hash's tag points to in its home group, 0 if there is none.
func (s *segment) likely(hash uint64) ref {
	tag, first := s.tag(hash), s.home(hash)*groupSlots
	for i := first; i < first+groupSlots; i++ {
		slot := s.slot(i)
		if slot == 0 {
			return 0
		}
		if slot>>refBits == tag {
			return ref(slot & refMask)
		}
	}
	return 0
}
