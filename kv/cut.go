package kv

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// cut is the state of some keyspaces at one moment, readable without the store's
// lock while writers go on. Several may be open at once (snapshot, backup).
//
// Memory while open: the directories, superseded records and tree nodes touched since,
// and the segments in which keys came or went; of a cut that is spent as it is read, only
// what lies ahead of the reader. A segment in which records were replaced is changed in
// place as long as no other cut is open and no reader has come to it; what its slots held
// is noted (cutDB.replaced).
type cut struct {
	h     *heap
	epoch uint64
	dbs   []cutDB
}

type cutDB struct {
	tableView
	t       *table // what it is a view of
	expires int
	// spent: hashes below it will not be read any more. The reader moves it on,
	// writers look (see keyspace.seen).
	spent atomic.Uint64
	// over: none will be.
	over atomic.Bool

	// mu orders what follows, and changes of segments in place, between the writer and
	// readers.
	mu sync.Mutex
	// replaced is, by segment, what slots held at the cut that hold something else now:
	// slot number and record, as a slot has tag and record. The first of a slot counts.
	replaced map[*segment][]uint64
	// entered: a reader has come to the segments with hashes up to reached, which are
	// not changed in place any more. Only then may a segment be read without the lock.
	entered bool
	reached uint64
}

// openCut cuts kss. It copies the directories, 8 bytes per about 700 keys, and
// nothing else. Call it under the store's lock.
func (h *heap) openCut(kss []*keyspace) *cut {
	h.epoch++
	c := &cut{h: h, epoch: h.epoch, dbs: make([]cutDB, len(kss))}
	for i, ks := range kss {
		db := &c.dbs[i]
		db.tableView, db.t, db.expires = ks.t.clone(), ks.t, ks.expires()
	}
	h.cuts = append(h.cuts, c)
	h.shared = c.epoch
	h.arena.track()
	return c
}

// len is the number of keys of a database at the cut.
func (c *cut) len(db int) int { return c.dbs[db].n }

// expires is the number of keys with an expiry of a database at the cut.
func (c *cut) expires(db int) int { return c.dbs[db].expires }

// each calls fn for all keys of a database in hash order, until fn returns an
// error, which it returns. It runs without the store's lock. What fn is handed
// must not be changed and is valid until the cut is closed.
func (c *cut) each(db int, fn func(key []byte, v Value) error) (err error) {
	d := &c.dbs[db]
	c.h.walk(walker{h: c.h, v: &d.tableView, cut: d, window: segmentSlots}, func(key []byte, v Value) bool {
		err = fn(key, v)
		return err == nil
	})
	return err
}

// warmTogether is more records than a processor waits for at a time, and few enough for
// whoever waits for this reader to rest (see spendPiece).
const warmTogether = 40

// spend is each for a database that is read only once, and with objects that are of no
// use to fn any more when it returns: what was read is not kept for the cut any longer.
func (c *cut) spend(db int, fn func(key []byte, v Value) error) error {
	d := &c.dbs[db]
	w := walker{h: c.h, v: &d.tableView, cut: d, window: segmentSlots}
	buf := make([]orderedKey, 0, segmentSlots)
	for keys, ok := w.next(buf); ok; keys, ok = w.next(keys) {
		for some := range slices.Chunk(keys, warmTogether) {
			w.warm(some)
			for _, k := range some {
				rec := readRecord(c.h.arena.at(k.r))
				if err := fn(rec.key, c.h.value(&rec)); err != nil {
					return err
				}
			}
		}
		d.forget(w.from, w.done)
		d.spent.Store(w.from)
		d.over.Store(w.done)
	}
	return nil
}

// slots are a segment's as they were at the cut, in the segment or in scratch. The reader
// must have entered it; a nil cutDB is a table that nobody changes meanwhile.
func (d *cutDB) slots(s *segment, scratch *[segmentBytes]byte) []byte {
	if d == nil {
		return s.mem
	}
	d.mu.Lock()
	old := d.replaced[s]
	d.mu.Unlock()
	if len(old) == 0 {
		return s.mem
	}
	mem := append(scratch[:0], s.mem...)
	for k := len(old) - 1; k >= 0; k-- {
		at := mem[old[k]>>refBits*slotBytes:]
		binary.LittleEndian.PutUint64(at, binary.LittleEndian.Uint64(at)&^refMask|old[k]&refMask)
	}
	return mem
}

// enter announces that a segment is about to be read; readers go from the first to the
// last.
func (d *cutDB) enter(s *segment) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entered, d.reached = true, max(d.reached, s.last())
}

// forget drops what was noted of the segments right before a hash.
func (d *cutDB) forget(before uint64, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if all {
		d.replaced = nil
		return
	}
	if before == 0 {
		return
	}
	first := d.dir[d.index(before-1)]
	if first.last() != before-1 {
		return // there is more of it to come
	}
	for s := first; s != nil; s = s.next {
		delete(d.replaced, s)
	}
}

// replace makes a key's slot refer to another record without copying the segment, if
// that may be: no reader has come to it. The segment is one the cut has in common with
// its table, and no other cut is open.
func (d *cutDB) replace(a *arena, s *segment, hash uint64, key []byte, r ref) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entered && s.last() <= d.reached {
		return false
	}
	for ; s != nil; s = s.next {
		i, old, ok := s.find(a, hash, key)
		if !ok {
			continue
		}
		if !a.isBorn(old) { // a record that is came here in place of what is noted already
			if d.replaced == nil {
				d.replaced = map[*segment][]uint64{}
			}
			d.replaced[s] = append(d.replaced[s], uint64(i)<<refBits|uint64(old))
		}
		s.setSlot(i, s.slot(i)&^refMask|uint64(r))
		return true
	}
	return false
}

// of is the cut's view of a table, nil if it has none.
func (c *cut) of(t *table) *cutDB {
	for i := range c.dbs {
		if d := &c.dbs[i]; d.t == t {
			return d
		}
	}
	return nil
}

// wants reports whether the cut may still read a table's keys with hashes up to last.
func (c *cut) wants(t *table, last uint64) bool {
	d := c.of(t)
	return d != nil && !d.over.Load() && last >= d.spent.Load()
}

// close ends the cut; nothing it handed out may be used after. Call it under the
// store's lock. heap.freeSome then frees what only this cut could see. Closing
// twice is harmless.
func (c *cut) close() {
	h := c.h
	for i, open := range h.cuts {
		if open != c {
			continue
		}
		h.cuts = append(h.cuts[:i:i], h.cuts[i+1:]...)
		c.dbs = nil
		break
	}
	if n := len(h.cuts); n == 0 {
		h.shared = 0
		h.arena.untrack()
	} else {
		// If c was the newest, blocks born since it opened are also younger than the
		// one before; the marks stay right, only fewer than could be.
		h.shared = h.cuts[n-1].epoch
	}
}
