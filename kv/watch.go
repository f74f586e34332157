package kv

import (
	"encoding/binary"

	"github.com/rkvdb/rkv/internal/pages"
)

// watchSlots is the size of the table of last modifications. A key shares its slot
// with others: a collision makes EXEC abort though nobody touched the key, which
// WATCH allows. 2^20 slots keep that below one in a thousand with a thousand
// modifications between WATCH and EXEC, at 8 MB and nothing per key.
const watchSlots = 1 << 20

// Watch is one watched key as EXEC carries it (DESIGN 19). Make it with
// Store.Watch.
type Watch struct {
	DB  int
	Key []byte
	// Since is the state's version when the key was watched. It counts units, not
	// entries: a connection's own write in the same entry, just before the WATCH,
	// must not abort it.
	Since uint64
	// Missing tells that the key did not exist: then FLUSHALL does not modify it.
	Missing bool
}

// append encodes w: uvarint db, uvarint since*2 + missing, key.
func (w *Watch) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(w.DB))
	since := w.Since << 1
	if w.Missing {
		since |= 1
	}
	dst = binary.AppendUvarint(dst, since)
	return append(dst, w.Key...)
}

func parseWatch(b []byte) (w Watch, ok bool) {
	db, b, err := takeUvarint(b)
	if err != nil || db > 0xffff {
		return w, false
	}
	since, key, err := takeUvarint(b)
	if err != nil {
		return w, false
	}
	return Watch{DB: int(db), Key: key, Since: since >> 1, Missing: since&1 != 0}, true
}

// watchPageSlots is the size of the piece that is copied on the first change after
// a cut: 4 KiB. Larger pages make a small store pay for slots it never uses, smaller
// ones a freeze for its list of pages.
const watchPageSlots = 1 << 9

// watchPage is a run of slots. What is told of it stands in the list of pages, which
// caches hold: each line of a page itself is a miss.
type watchPage struct {
	slots *[watchPageSlots]uint64
	// lines has a bit for each run of watchLineSlots that is not all 0, so that writing
	// the table out does not look at every slot there is.
	lines uint64
	// epoch is the table's when the page was made: an older page may also be a frozen
	// copy's, and is immutable.
	epoch uint64
}

const watchLineSlots = watchPageSlots / 64

// watchPagesAtOnce are allocated together, 128 KiB.
const watchPagesAtOnce = 32

// watchTable is the replicated memory of modifications: for each slot the version
// at which a key of it was last modified. Pages exist from their first use.
type watchTable struct {
	pages []watchPage              // watchSlots / watchPageSlots of them
	fresh [][watchPageSlots]uint64 // room for pages to come
	epoch uint64                   // counts the freezes
	flush []uint64                 // per database: the version of its last flush
	swap  []uint64                 // per database: the version of its last SWAPDB
}

func newWatchTable(databases int) watchTable {
	return watchTable{pages: make([]watchPage, watchSlots/watchPageSlots), flush: make([]uint64, databases), swap: make([]uint64, databases)}
}

func watchSlot(db int, hash uint64) uint64 {
	return (hash + uint64(db)*0x9e3779b97f4a7c15) >> (64 - 20)
}

// touch notes that the key was modified at version.
func (t *watchTable) touch(db int, hash, version uint64) { t.set(watchSlot(db, hash), version) }

func (t *watchTable) set(slot, version uint64) {
	page, at := &t.pages[slot/watchPageSlots], slot%watchPageSlots
	page.lines |= 1 << (at / watchLineSlots)
	// In a branch that knows it is not nil: elsewhere the compiler reads the page's first
	// line to find out, which is in no cache.
	if slots := page.slots; slots != nil && page.epoch == t.epoch {
		slots[at] = version
		return
	}
	mine := t.newPage(page.slots != nil)
	if page.slots != nil {
		*mine = *page.slots
	}
	mine[at] = version
	page.slots, page.epoch = mine, t.epoch
}

// newPage is room for a page. The first of each place stay until the store goes, unless a
// cut is taken: so many are allocated together. Copies come and go.
func (t *watchTable) newPage(isCopy bool) *[watchPageSlots]uint64 {
	if isCopy {
		return new([watchPageSlots]uint64)
	}
	if len(t.fresh) == 0 {
		t.fresh = make([][watchPageSlots]uint64, watchPagesAtOnce)
		pages.Populate(t.fresh)
	}
	mine := &t.fresh[0]
	t.fresh = t.fresh[1:]
	return mine
}

// at is where a slot is kept, nil if nobody has set it yet.
func (t *watchTable) at(slot uint64) *uint64 {
	if slots := t.pages[slot/watchPageSlots].slots; slots != nil {
		return &slots[slot%watchPageSlots]
	}
	return nil
}

func (t *watchTable) get(slot uint64) uint64 {
	if at := t.at(slot); at != nil {
		return *at
	}
	return 0
}

// modified reports whether the key was modified since the watch was made.
func (t *watchTable) modified(w *Watch, hash uint64) bool {
	if w.DB >= len(t.flush) {
		return true
	}
	return t.get(watchSlot(w.DB, hash)) > w.Since || !w.Missing && t.flush[w.DB] > w.Since
}

// Watch makes the watch of a key as of now: what WATCH hands to EXEC. It takes the
// store's read lock for a lookup; key is copied.
func (s *Store) Watch(db int, key []byte) Watch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.dbs[db].get(key)
	return Watch{
		DB: db, Key: append([]byte(nil), key...), Since: s.st.Version,
		Missing: !ok || v.ExpireAt != 0 && v.ExpireAt <= s.st.Stamp,
	}
}

// AnyDue reports whether one of the keys is due by now, but not by the stamp.
func (s *Store) AnyDue(db int, keys [][]byte, now int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, key := range keys {
		if v, ok := s.dbs[db].get(key); ok && v.ExpireAt != 0 && v.ExpireAt <= now && v.ExpireAt > s.st.Stamp {
			return true
		}
	}
	return false
}

// watchHolds reports whether the watched key was neither modified nor expired
// since the watch was made.
func (s *Store) watchHolds(w *Watch, c *Ctx) bool {
	if s.st.watch.modified(w, s.hash(w.Key)) {
		return false
	}
	// A swap touches the key unless it was missing before and is missing after.
	swapped := s.st.watch.swap[w.DB] > w.Since
	if swapped && !w.Missing {
		return false
	}
	v, ok := s.dbs[w.DB].get(w.Key)
	if !ok || v.ExpireAt == 0 || v.ExpireAt > c.now {
		return !ok || !swapped
	}
	if !c.logged && v.ExpireAt > s.st.Stamp {
		c.needTick = true
	}
	return w.Missing // what had expired before the watch is as missing as it was
}
