package kv

import "bytes"

// maxExpirePerEntry bounds how many due keys one entry removes, so that a wave of
// expiries never holds the lock for long. The leader sends TICKs at once while
// more are due.
const maxExpirePerEntry = 256

// oldestExpiry finds the first key in the order (expireAt, db, key).
func (s *Store) oldestExpiry() (db int, key []byte, at int64, ok bool) {
	for i, ks := range s.dbs {
		k, t, found := ks.nextDue()
		if found && (!ok || t < at) {
			db, key, at, ok = i, k, t, true
		}
	}
	return db, key, at, ok
}

// expireDue removes due keys in the order (expireAt, db, key), at most
// maxExpirePerEntry: the same ones on every node.
func (s *Store) expireDue(c *Ctx) {
	for n := 0; n < maxExpirePerEntry; n++ {
		db, key, at, ok := s.oldestExpiry()
		if !ok || at > s.st.Stamp {
			return
		}
		c.selectDB(db)
		key = bytes.Clone(key) // it may live in what delete frees
		if c.ks.delete(key) {
			s.expired++
			c.touched("expired", key)
			c.cost += opCost
		}
	}
}

// NextDue is the earliest expiry of any key, Unix ms; ok is false if none has one.
// The leader sends a TICK when it is due by its clock.
func (s *Store) NextDue() (at int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, _, at, ok = s.oldestExpiry()
	return at, ok
}

// DueNow reports whether keys are due by the applied stamp: more than one entry
// could remove. The leader sends the next TICK at once.
func (s *Store) DueNow() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, _, at, ok := s.oldestExpiry()
	return ok && at <= s.st.Stamp
}
