package kv

import "slices"

// maxSessionWindow bounds how far a session's numbers may run ahead of its low: a
// hostile number must not make the applied set grow. A node has far fewer units
// without an answer.
const maxSessionWindow = 1 << 20

// sessionTable is the memory behind exactly-once (docs/adr/0002): one row per node
// that ever opened a session, ordered by node.
type sessionTable struct {
	rows []session
	last uint64 // the youngest session's id
}

// session is the row of one node: its youngest session.
type session struct {
	Node, Boot, ID uint64
	// Low: numbers below it are settled. Applied has a bit for each number from
	// Low&^63 on that was applied; bits below Low are zero, and so is no last word.
	Low     uint64
	Applied []uint64
	// Away: the leader has lost sight of the node; its clients in blocking commands are
	// passed over until it is back (docs/adr/0010).
	Away bool
	// Level is the apply level that the node knows.
	Level uint16
}

// open makes a session for the node's boot and closes its older one. It returns
// the session's id: index, or the next free number when an entry holds several
// OPENs. A repeated OPEN returns the session it has; that of an older boot is
// refused.
func (t *sessionTable) open(node, boot uint64, level uint16, index uint64) (id uint64, ok bool) {
	i, found := slices.BinarySearchFunc(t.rows, node, func(s session, node uint64) int {
		switch {
		case s.Node < node:
			return -1
		case s.Node > node:
			return 1
		}
		return 0
	})
	if found && t.rows[i].Boot >= boot {
		return t.rows[i].ID, t.rows[i].Boot == boot
	}
	t.last = max(t.last+1, index)
	row := session{Node: node, Boot: boot, ID: t.last, Level: level}
	if found {
		t.rows[i] = row
	} else {
		t.rows = slices.Insert(t.rows, i, row)
	}
	return row.ID, true
}

// find returns the open session with the id; nil if there is none. Rows are as
// many as nodes: a scan is the fastest way.
func (t *sessionTable) find(id uint64) *session {
	for i := range t.rows {
		if t.rows[i].ID == id {
			return &t.rows[i]
		}
	}
	return nil
}

// admit decides whether a unit takes effect and, if so, notes that it did.
func (t *sessionTable) admit(u *UnitHeader) bool {
	s := t.find(u.Session)
	if s == nil || u.Seq < s.Low || u.Seq-s.Low >= maxSessionWindow || s.applied(u.Seq) {
		return false
	}
	s.add(u.Seq)
	s.raiseLow(u.Low)
	return true
}

func (s *session) base() uint64 { return s.Low &^ 63 }

func (s *session) applied(seq uint64) bool {
	i := (seq - s.base()) / 64
	return i < uint64(len(s.Applied)) && s.Applied[i]&(1<<(seq%64)) != 0
}

func (s *session) add(seq uint64) {
	i := (seq - s.base()) / 64
	for uint64(len(s.Applied)) <= i {
		s.Applied = append(s.Applied, 0)
	}
	s.Applied[i] |= 1 << (seq % 64)
}

// raiseLow forgets what lies below low and keeps the form canonical: equal tables
// are equal bytes in the snapshot and the digest.
func (s *session) raiseLow(low uint64) {
	if low <= s.Low {
		return
	}
	drop := (low - s.base()) / 64
	if drop >= uint64(len(s.Applied)) {
		s.Applied = s.Applied[:0]
	} else {
		s.Applied = s.Applied[:copy(s.Applied, s.Applied[drop:])]
	}
	s.Low = low
	if len(s.Applied) > 0 {
		s.Applied[0] &= ^uint64(0) << (low % 64)
	}
	for n := len(s.Applied); n > 0 && s.Applied[n-1] == 0; n-- {
		s.Applied = s.Applied[:n-1]
	}
}

// clone is a copy that shares nothing.
func (t *sessionTable) clone() sessionTable {
	c := sessionTable{rows: slices.Clone(t.rows), last: t.last}
	for i := range c.rows {
		c.rows[i].Applied = slices.Clone(c.rows[i].Applied)
	}
	return c
}

// SessionOf is the id of the session that OPEN(node, boot) made; ok is false until
// it was applied, and when a later boot closed it.
func (s *Store) SessionOf(node, boot uint64) (id uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.st.sessions.rows {
		if r := &s.st.sessions.rows[i]; r.Node == node && r.Boot == boot {
			return r.ID, true
		}
	}
	return 0, false
}

// SeqState is what the session table knows about a unit.
type SeqState int

const (
	// SeqOpen: not applied; a copy that is still on its way will be.
	SeqOpen SeqState = iota
	// SeqApplied: applied.
	SeqApplied
	// SeqSettled: below low. It was applied or it never will be; the table has
	// forgotten which.
	SeqSettled
	// SeqWaiting: applied; its client waits in a blocking command.
	SeqWaiting
	// SeqClosed: the session is unknown or closed, nothing of it applies any more.
	SeqClosed
)

// SeqState tells what became of a unit: for an origin that a snapshot carried past
// its entries.
func (s *Store) SeqState(id, seq uint64) SeqState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	row := s.st.sessions.find(id)
	switch {
	case row == nil:
		return SeqClosed
	case s.st.waiters.byUnit[unitID{id, seq}] != nil:
		return SeqWaiting
	case seq < row.Low:
		return SeqSettled
	case row.applied(seq):
		return SeqApplied
	}
	return SeqOpen
}
