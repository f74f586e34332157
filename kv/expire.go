package kv

import "bytes"

// maxExpirePerEntry bounds how many due keys one entry removes, so that a wave of
// expiries never holds the lock for long. The leader sends TICKs at once while
// more are due.
const maxExpirePerEntry = 256

// dueItem is a key that expires, or a hash of which a field does.
type dueItem struct {
	db     int
	key    []byte
	at     int64
	fields bool
}

// oldestDue finds the first in the order (expireAt, db, keys before fields, key).
func (s *Store) oldestDue() (first dueItem, ok bool) {
	for i, ks := range s.dbs {
		if k, t, found := ks.nextDue(); found && (!ok || t < first.at) {
			first, ok = dueItem{i, k, t, false}, true
		}
		if k, t, found := ks.nextFieldDue(); found && (!ok || t < first.at) {
			first, ok = dueItem{i, k, t, true}, true
		}
	}
	return first, ok
}

// oldestExpiry finds the first key, or hash with a field, that expires.
func (s *Store) oldestExpiry() (db int, key []byte, at int64, ok bool) {
	first, ok := s.oldestDue()
	return first.db, first.key, first.at, ok
}

// expireDue removes due keys and fields in the order of oldestDue, at most
// maxExpirePerEntry: the same ones on every node.
func (s *Store) expireDue(c *Ctx) {
	for n := 0; n < maxExpirePerEntry; n++ {
		d, ok := s.oldestDue()
		if !ok || d.at > s.st.Stamp {
			return
		}
		c.selectDB(d.db)
		key := bytes.Clone(d.key) // it may live in what delete frees
		if d.fields {
			n += max(c.expireFields(key, maxExpirePerEntry-n)-1, 0)
		} else if c.ks.delete(key) {
			s.expired.Add(1)
			c.touched("expired", key)
			c.cost += opCost
		}
	}
}

// expireFields removes up to limit due fields of a hash, and the key with the last,
// and returns their number.
func (c *Ctx) expireFields(key []byte, limit int) int {
	v, ok := c.ks.get(key)
	if !ok || !v.hasFieldTTL() {
		return 0
	}
	h := hashView{collection: collection{c: c, key: key, v: v, found: true}}
	n := h.purge(limit)
	if h.len() == 0 && c.remove(key) {
		c.touched("del", key)
	}
	return n
}

// NextDue is the earliest expiry of any key, Unix ms; ok is false if none has one.
// The leader sends a TICK when it is due by its clock.
func (s *Store) NextDue() (at int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, _, at, ok = s.oldestExpiry()
	return at, ok && s.st.Settings.ActiveExpire != 0
}

// DueNow reports whether keys are due by the applied stamp: more than one entry
// could remove. The leader sends the next TICK at once.
func (s *Store) DueNow() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, _, at, ok := s.oldestExpiry()
	return ok && at <= s.st.Stamp && s.st.Settings.ActiveExpire != 0
}
