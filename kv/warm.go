package kv

import (
	"bytes"
	"unsafe"
)

// warmer fetches the memory that the next units of an entry, or the next reads of a chunk,
// will need. A key's command misses the cache five times in a large table, one miss after
// the other: its slot, its record (twice where it writes), its slots in the tables of
// modifications and of uses; a member's in a large collection as often (warm_members.go). Done
// for many at a time, one step for all of them before the next, the misses overlap. It
// changes nothing and decides nothing: what it cannot find it leaves to the commands.
type warmer struct {
	keys    [warmKeys]warmKey
	members [warmKeys]warmMember
	n, m    int  // keys and members noted
	ranked  bool // one of the members is
	left    int  // operations looked ahead at that have not run
	lines   lines
	wanted  int // how many of lines are to be fetched
}

// lines are addresses of lines to be fetched together, up to three of a key in one step. They are
// numbers, for which the collector need not be told of each: what they point to is the store's, which
// nobody changes between want and fetch.
type lines [3 * warmKeys]uintptr

type warmKey struct {
	hash uint64
	key  []byte
	db   int32
	held bool // members of it are noted
	// dir is where the table's directory names the key's segment, seg, rec the record that is
	// likely its.
	dir **segment
	seg *segment
	rec ref
	// byName and byScore are the trees that its members are in, nil if they are not large.
	byName, byScore *tree
}

const (
	// warmKeys are looked ahead at most. Their lines, up to nine each, are a little more than a
	// first cache holds; with 32 or 128 it is no quicker (docs/adr/0038).
	warmKeys = 64
	// warmTable is the number of keys below which a table is in the cache anyway.
	warmTable = 1 << 13
)

// next is told of each operation before it runs: ops of them are in data, the first one on
// database db, more in the units that follow. It holds nothing of what it read: the operations
// may delete it.
func (w *warmer) next(s *Store, db int, data []byte, ops uint64, following *UnitIter) {
	if w.left > 0 {
		w.left--
		return
	}
	ok := w.gather(s, db, data, ops)
	for it := *following; ok && w.left < warmKeys && it.Next(); {
		ok = w.gather(s, 0, it.Unit.Data, it.Unit.Ops)
	}
	if w.n+w.m > 1 {
		w.touch(s, true)
	}
	w.forget()
	w.left = max(w.left, 1) - 1
}

// gather notes the first keys of operations, and the first members that they name.
func (w *warmer) gather(s *Store, db int, data []byte, ops uint64) (ok bool) {
	for ; ops > 0 && w.left < warmKeys; ops-- {
		code, rest, err := takeUvarint(data)
		if err != nil || code > 0xffff {
			return false
		}
		argc, rest, err := takeUvarint(rest)
		if err != nil {
			return false
		}
		cmd := LookupOp(Opcode(code))
		key, member := argOf(cmd, firstKeyOf(cmd)), argOf(cmd, memberOf(cmd))
		for i := uint64(0); i < argc; i++ {
			var arg []byte
			if arg, rest, err = takeBytes(rest); err != nil {
				return false
			}
			switch {
			case i == key:
				w.noteKey(s, db, arg)
				if cmd.pops != popsNone {
					w.noteMember(warmMember{pops: cmd.pops})
				}
			case i == member:
				w.noteMember(warmMember{name: arg, ranked: cmd.ranked})
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

// reads looks ahead at the first of several reads and returns at how many.
func (w *warmer) reads(s *Store, reads []LocalRead) int {
	reads = reads[:min(len(reads), warmKeys)]
	for i := range reads {
		r := &reads[i]
		if key := firstKeyOf(r.Cmd); key > 0 && key < len(r.Args) {
			w.noteKey(s, r.DB, r.Args[key])
			if member := memberOf(r.Cmd); member > 0 && member < len(r.Args) {
				w.noteMember(warmMember{name: r.Args[member], ranked: r.Cmd.ranked})
			}
		}
	}
	if w.n+w.m > 1 {
		w.touch(s, false)
	}
	w.forget()
	return len(reads)
}

// forget lets go of what was noted.
func (w *warmer) forget() {
	clear(w.keys[:w.n])
	clear(w.members[:w.m])
	w.n, w.m, w.ranked = 0, 0, false
}

// firstKeyOf is which argument, the name being the first, is a command's first key; 0: none.
func firstKeyOf(cmd *Command) int {
	if cmd == nil || cmd.FirstKey < len(cmd.argv0) {
		return 0
	}
	return cmd.FirstKey
}

func memberOf(cmd *Command) int {
	if cmd == nil {
		return 0
	}
	return cmd.member
}

// argOf is where an operation, which does not repeat the name, has an argument; beyond all of
// them for 0.
func argOf(cmd *Command, arg int) uint64 {
	if arg == 0 || len(cmd.argv0) == 0 {
		return 1 << 32
	}
	return uint64(arg - len(cmd.argv0))
}

// noteKey notes a key, but for one that was noted just before.
func (w *warmer) noteKey(s *Store, db int, key []byte) {
	if w.n > 0 {
		if last := &w.keys[w.n-1]; last.db == int32(db) && bytes.Equal(last.key, key) {
			return
		}
	}
	k := &w.keys[w.n] // all zero
	k.hash, k.key, k.db = s.hash(key), key, int32(db)
	w.n++
}

// touch fetches, step by step; written: for commands that change the keys. Each step looks only
// at what the one before has fetched.
func (w *warmer) touch(s *Store, written bool) {
	keys, watch, arena := w.keys[:w.n], &s.st.watch, s.heap.arena
	for i := range keys {
		k := &keys[i]
		if written {
			w.want(unsafe.Pointer(&watch.pages[watchSlot(int(k.db), k.hash)/watchPageSlots]))
		}
		if use := s.access.at(int(k.db), k.hash); use != nil {
			w.want(unsafe.Pointer(use))
		}
		if t := s.dbs[k.db].t; t.n >= warmTable || k.held {
			k.dir = &t.dir[t.index(k.hash)]
			w.want(unsafe.Pointer(k.dir))
		}
	}
	w.fetch()
	for i := range keys {
		k := &keys[i]
		if written {
			if at := watch.at(watchSlot(int(k.db), k.hash)); at != nil {
				w.want(unsafe.Pointer(at))
			}
		}
		if k.dir != nil && *k.dir != nil {
			k.seg = *k.dir
			w.want(unsafe.Pointer(k.seg))
		}
	}
	w.fetch()
	for i := range keys {
		if k := &keys[i]; k.seg != nil {
			w.want(unsafe.Pointer(&k.seg.mem[k.seg.home(k.hash)*groupBytes]))
		}
	}
	w.fetch()
	for i := range keys {
		k := &keys[i]
		if k.seg == nil {
			continue
		}
		if k.rec = k.seg.likely(k.hash); k.rec == 0 {
			continue
		}
		mem := arena.at(k.rec)
		w.want(unsafe.Pointer(&mem[0]))
		if written {
			w.want(unsafe.Pointer(&mem[min(cacheLine, len(mem)-1)]))
			w.want(unsafe.Pointer(&arena.pages[k.rec>>pageRefBits].class))
		}
	}
	w.fetch()
	if w.m > 0 {
		w.findTrees(s.heap)
		w.touchMembers(s.heap)
	}
}

// want notes a line for fetch. It must be there until then.
func (w *warmer) want(p unsafe.Pointer) {
	w.lines[w.wanted] = uintptr(p)
	w.wanted++
}

// fetch brings all lines that are wanted.
func (w *warmer) fetch() {
	fetchLines(&w.lines, w.wanted)
	w.wanted = 0
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
