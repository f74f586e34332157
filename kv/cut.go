package kv

import "sync/atomic"

// cut is the state of some keyspaces at one moment, readable without the store's
// lock while writers go on. Several may be open at once (snapshot, backup).
//
// Memory while open: the directories, segments and tree nodes touched since, and
// superseded records; of a cut that is spent as it is read, only what lies ahead of
// the reader.
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
	c.h.walk(&c.dbs[db].tableView, func(key []byte, v Value) bool {
		err = fn(key, v)
		return err == nil
	})
	return err
}

// spend is each for a database that is read only once, and with objects that are of no
// use to fn any more when it returns: what was read is not kept for the cut any longer.
func (c *cut) spend(db int, fn func(key []byte, v Value) error) error {
	d := &c.dbs[db]
	w := walker{h: c.h, v: &d.tableView, window: segmentSlots}
	buf := make([]orderedKey, 0, segmentSlots)
	for keys, ok := w.next(buf); ok; keys, ok = w.next(keys) {
		w.warm(keys)
		for _, k := range keys {
			rec := readRecord(c.h.arena.at(k.r))
			if err := fn(rec.key, c.h.value(&rec)); err != nil {
				return err
			}
		}
		d.spent.Store(w.from)
		d.over.Store(w.done)
	}
	return nil
}

// wants reports whether the cut may still read a table's keys with hashes up to last.
func (c *cut) wants(t *table, last uint64) bool {
	for i := range c.dbs {
		if d := &c.dbs[i]; d.t == t {
			return !d.over.Load() && last >= d.spent.Load()
		}
	}
	return false
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
