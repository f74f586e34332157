package kv

import (
	"slices"
	"sort"
)

// waiterTable is the clients that wait in a blocking command, in the order in which
// they came: replicated state (docs/adr/0010). Whoever waits is served by the unit
// that makes one of its keys ready.
type waiterTable struct {
	rows []*waiter // by ticket
	last uint64    // the youngest ticket

	// Derived from rows. Nothing ranges over the maps.
	byUnit map[unitID]*waiter
	queues map[waitKey]*waitQueue
	due    []*waiter // those with a deadline, by (deadline, ticket)
	// perSession counts rows, onNoKey the keys that a group waits for.
	perSession map[uint64]int
	onNoKey    int
	bytes      int
}

// waiter is one client that waits. It never changes.
type waiter struct {
	Ticket uint64
	// Session and Seq name the unit that waits: to its origin, the client.
	Session, Seq uint64
	DB           int
	// Deadline is when it stops waiting, by the stamp in Unix ms; 0: never.
	Deadline int64
	Op       Opcode
	// Args are the command's, the name included; Keys are the positions in it of the
	// keys it waits for, each key once.
	Args [][]byte
	Keys []int
	// Kind says what it waits for.
	Kind waitKind
}

// unitID names a unit.
type unitID struct{ session, seq uint64 }

// waitKey is a key somebody waits for.
type waitKey struct {
	db  int
	key string
}

// waitQueue is who waits for a key, by ticket.
type waitQueue struct {
	list  []*waiter
	kinds [waitKinds]int
	// noted: it is in Store.ready.
	noted bool
}

// waitKind is what a client waits for: a list, a sorted set, or something new for its
// group in a stream, which also ends when the stream does.
type waitKind int

const (
	waitList waitKind = iota
	waitZSet
	waitGroup
	waitKinds
)

func (k waitKind) of() Type { return [...]Type{TypeList, TypeZSet, TypeStream}[k] }

// The table's bounds: what waits is in every snapshot. A connection waits once, so
// only a hostile client meets them.
const (
	maxWaiters     = 1 << 17
	maxWaiterBytes = 64 << 20
)

const errTooManyWait = "ERR too many clients wait in blocking commands"

func newWaiterTable(rows []waiter, last uint64, databases int) (t waiterTable, ok bool) {
	t.last = last
	for i := range rows {
		w := &rows[i]
		if w.Ticket > last || i > 0 && rows[i-1].Ticket >= w.Ticket || !w.sound() || w.DB >= databases ||
			t.byUnit[unitID{w.Session, w.Seq}] != nil {
			return t, false
		}
		t.add(w)
	}
	return t, true
}

// sound reports whether a row of a snapshot is one that apply could have made.
func (w *waiter) sound() bool {
	cmd := LookupOp(w.Op)
	for i, k := range w.Keys {
		if k < 0 || k >= len(w.Args) || w.has(w.Args[k], w.Keys[:i]) {
			return false
		}
	}
	return cmd != nil && cmd.Serve != nil && cmd.ArityOK(len(w.Args)) &&
		w.DB >= 0 && w.Kind >= 0 && w.Kind < waitKinds && len(w.Keys) > 0
}

// has reports whether the key is one of those at keys.
func (w *waiter) has(key []byte, keys []int) bool {
	return slices.ContainsFunc(keys, func(k int) bool { return string(w.Args[k]) == string(key) })
}

func (w *waiter) size() int {
	n := 256
	for _, a := range w.Args {
		n += len(a) + 32
	}
	return n
}

func (t *waiterTable) full() bool { return len(t.rows) >= maxWaiters || t.bytes >= maxWaiterBytes }

func (t *waiterTable) add(w *waiter) {
	if t.byUnit == nil {
		t.byUnit, t.queues = make(map[unitID]*waiter), make(map[waitKey]*waitQueue)
		t.perSession = make(map[uint64]int)
	}
	t.perSession[w.Session]++
	t.rows = append(t.rows, w)
	t.byUnit[unitID{w.Session, w.Seq}] = w
	t.bytes += w.size()
	for _, k := range w.Keys {
		at := waitKey{w.DB, string(w.Args[k])}
		q := t.queues[at]
		if q == nil {
			q = &waitQueue{}
			t.queues[at] = q
		}
		q.list = append(q.list, w)
		if q.kinds[w.Kind]++; w.Kind == waitGroup && q.kinds[waitGroup] == 1 {
			t.onNoKey++
		}
	}
	if w.Deadline != 0 {
		t.due = slices.Insert(t.due, t.dueAt(w), w)
	}
}

// dueAt is w's place in due.
func (t *waiterTable) dueAt(w *waiter) int {
	return sort.Search(len(t.due), func(i int) bool {
		d := t.due[i]
		return d.Deadline > w.Deadline || d.Deadline == w.Deadline && d.Ticket >= w.Ticket
	})
}

func (t *waiterTable) remove(w *waiter) {
	delete(t.byUnit, unitID{w.Session, w.Seq})
	if t.perSession[w.Session]--; t.perSession[w.Session] == 0 {
		delete(t.perSession, w.Session)
	}
	t.bytes -= w.size()
	t.rows = dropWaiter(t.rows, w)
	for _, k := range w.Keys {
		at := waitKey{w.DB, string(w.Args[k])}
		q := t.queues[at]
		q.list = dropWaiter(q.list, w)
		if q.kinds[w.Kind]--; w.Kind == waitGroup && q.kinds[waitGroup] == 0 {
			t.onNoKey--
		}
		if len(q.list) == 0 && !q.noted {
			delete(t.queues, at)
		}
	}
	if w.Deadline != 0 {
		i := t.dueAt(w)
		t.due = slices.Delete(t.due, i, i+1)
	}
}

// dropWaiter takes w out of a list that is ordered by ticket. It mostly is the first,
// whose removal moves nothing.
func dropWaiter(list []*waiter, w *waiter) []*waiter {
	if list[0] == w {
		list[0] = nil
		return list[1:]
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].Ticket >= w.Ticket })
	return slices.Delete(list, i, i+1)
}

// freeze is a copy of what a snapshot needs.
func (t *waiterTable) freeze() waiterTable {
	return waiterTable{rows: slices.Clone(t.rows), last: t.last}
}

func (t *waiterTable) wire() []waiter {
	rows := make([]waiter, len(t.rows))
	for i, w := range t.rows {
		rows[i] = *w
	}
	return rows
}

// wait is what a blocking command calls when there is nothing for it: the client
// waits until one of the keys, given by their positions in Args, is ready, or for
// timeout ms (0: for ever). False means that nobody may wait here (MULTI, a script) and
// the command has to reply what it has.
func (c *Ctx) wait(kind waitKind, keys []int, timeout int64) bool {
	if c.mayWait == (unitID{}) {
		return false
	}
	t := &c.store.st.waiters
	if t.full() {
		c.Out.Error(errTooManyWait)
		return true
	}
	w := &waiter{
		Ticket: t.last + 1, Session: c.mayWait.session, Seq: c.mayWait.seq, DB: c.db,
		Op: c.cmd.Op, Args: copyArgs(c.Args), Kind: kind,
	}
	if timeout > 0 {
		w.Deadline = c.now + timeout
	}
	for _, k := range keys {
		if !w.has(w.Args[k], w.Keys) {
			w.Keys = append(w.Keys, k)
		}
	}
	t.last = w.Ticket
	t.add(w)
	c.store.waitVersion++
	c.waits = w
	return true
}

// copyArgs copies arguments out of memory that is used again.
func copyArgs(args [][]byte) [][]byte {
	size := 0
	for _, a := range args {
		size += len(a)
	}
	buf, out := make([]byte, 0, size), make([][]byte, len(args))
	for i, a := range args {
		at := len(buf)
		buf = append(buf, a...)
		out[i] = buf[at:len(buf):len(buf)]
	}
	return out
}

// noteReady is called for every change of a key: whoever waits for it is served at
// the end of the command, or of the EXEC or script it is in.
func (c *Ctx) noteReady(key []byte) {
	s := c.store
	if len(s.st.waiters.rows) > 0 {
		if q := s.st.waiters.queues[waitKey{c.db, string(key)}]; q != nil && !q.noted && q.concerns(c, key) {
			q.noted = true
			s.ready = append(s.ready, waitKey{c.db, string(key)})
		}
	}
	if s.readers.n.Load() > 0 {
		s.readers.wake(c.db, key)
	}
}

// concerns reports whether the key, as it is now, is what somebody waits for.
func (q *waitQueue) concerns(c *Ctx, key []byte) bool {
	v, found := c.ks.get(key)
	switch {
	case !found:
		return q.kinds[waitGroup] > 0
	case v.Type == TypeList:
		return q.kinds[waitList]+q.kinds[waitGroup] > 0
	case v.Type == TypeZSet:
		return q.kinds[waitZSet]+q.kinds[waitGroup] > 0
	}
	return q.kinds[waitGroup] > 0
}

// noteDatabase notes all keys of a database that somebody waits for: it was flushed, or
// swapped.
func (s *Store) noteDatabase(db int) {
	c := &Ctx{store: s}
	c.selectDB(db)
	for _, w := range s.st.waiters.rows {
		if w.DB == db {
			s.noteWaiter(c, w)
		}
	}
	s.readers.wakeAll()
}

func (s *Store) noteWaiter(c *Ctx, w *waiter) {
	for _, k := range w.Keys {
		c.noteReady(w.Args[k])
	}
}

// serveReady serves those who wait for the noted keys, as Redis's
// handleClientsBlockedOnKeys does: the keys in the order in which they became ready,
// for each the clients in the order in which they came. What BLMOVE makes ready on the
// way comes after.
func (s *Store) serveReady(index uint64) {
	if len(s.ready) == 0 {
		return
	}
	defer func(origin Waiter) { s.fx.origin = origin }(s.fx.origin)
	s.fx.origin = nil // what is popped now is not the doing of who pushed
	for len(s.ready) > 0 {
		round := s.ready
		s.ready = s.spareReady[:0]
		for _, at := range round {
			q := s.st.waiters.queues[at]
			q.noted = false
			s.serveKey(at, q, index)
			if len(q.list) == 0 && !q.noted {
				delete(s.st.waiters.queues, at)
			}
		}
		clear(round)
		s.spareReady = round
	}
}

func (s *Store) serveKey(at waitKey, q *waitQueue, index uint64) {
	c, key := &s.serveCtx, []byte(at.key)
	i := 0
	for left := len(q.list); left > 0 && i < len(q.list); left-- {
		w := q.list[i]
		s.served.digits17 = s.st.Settings.RedisVersion < redis72
		*c = Ctx{store: s, logged: true, now: s.st.Stamp, Out: &s.served, cmd: LookupOp(w.Op), Args: w.Args}
		c.selectDB(at.db)
		if s.st.Settings.RedisVersion >= redis72 && c.due(key) {
			return // it is nobody's, and goes when it is asked for
		}
		v, found := c.lookup(key)
		s.fx.endBlock(false) // it may have expired
		if !found && q.kinds[waitGroup] == 0 {
			return // it ran dry: the usual end
		}
		c.cost = opCost
		if s.present(w.Session) {
			mark := c.beginFeed()
			c.serve(w, key, found, v.Type)
			c.endFeed(mark)
		}
		s.fx.endBlock(true)
		if s.served.Len() == 0 {
			i++
		} else {
			s.endWait(w, index)
		}
		s.ctx.cost += c.cost
	}
}

// serve runs the command of a client that waits for the key. It replies nothing if the
// client has to wait on.
func (c *Ctx) serve(w *waiter, key []byte, found bool, typ Type) {
	switch {
	case found && typ == w.Kind.of():
		c.cmd.Serve(c, key)
	case w.Kind == waitGroup && found:
		c.Out.Error(errWrongType + ": the stream key no longer exists")
	case w.Kind == waitGroup:
		c.Out.Error(errNoGroup(key, w.group()) + ": the stream key no longer exists")
	}
}

// present reports whether the clients of a session can be served: its node is not
// known to be gone.
func (s *Store) present(session uint64) bool {
	row := s.st.sessions.find(session)
	return row != nil && !row.Away
}

// endWait ends a client's wait with the reply in s.served. The chunk is handed back
// like those of the unit that is being applied.
func (s *Store) endWait(w *waiter, index uint64) {
	s.st.waiters.remove(w)
	s.waitVersion++
	if s.owner != nil {
		if chunk := s.owner.Chunk(w.Session, w.Seq); chunk != nil {
			chunk.Reply.AppendTape(&s.served)
			chunk.mark()
			chunk.Index = index
			s.done = append(s.done, chunk)
		}
	}
	s.served.Reset()
	if cap(s.served.b) > chunkKeep {
		s.served = Reply{}
	}
}

// maxTimeouts bounds how many waits one entry ends; the leader sends the next TICK at
// once if more are due.
const maxTimeouts = 1024

// timeOut ends the waits that are over by the stamp.
func (s *Store) timeOut(index uint64) (ended int) {
	t := &s.st.waiters
	for ; ended < maxTimeouts && len(t.due) > 0 && t.due[0].Deadline <= s.st.Stamp; ended++ {
		s.served.NullArray()
		s.endWait(t.due[0], index)
	}
	return ended
}

// How a wait is ended from outside (Chunk.AppendUnblock).
const (
	UnblockTimeout = "timeout" // as if the time were over
	UnblockError   = "error"   // CLIENT UNBLOCK id ERROR
	UnblockStop    = "stop"    // the client's node ends
)

// unblock ends the wait of a unit, if it waits.
func (s *Store) unblock(id unitID, how string, index uint64) bool {
	w := s.st.waiters.byUnit[id]
	if w == nil {
		return false
	}
	switch how {
	case UnblockTimeout:
		s.served.NullArray()
	case UnblockStop:
		s.served.Error("UNBLOCKED the node this client is connected to stops")
	default:
		s.served.Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
	}
	s.endWait(w, index)
	return true
}

// The presence of a session's node (AppendPresence).
const (
	presenceHere = iota
	presenceAway // its clients are passed over, until it is back
	presenceGone // it will not come back: nobody waits for them
)

// setPresence takes note of what the leader found out about a node.
func (s *Store) setPresence(session uint64, presence int, index uint64) {
	row := s.st.sessions.find(session)
	if row == nil {
		return
	}
	row.Away = presence != presenceHere
	s.waitVersion++
	switch presence {
	case presenceHere:
		c := &Ctx{store: s}
		for _, w := range s.st.waiters.rows {
			if w.Session == session {
				c.selectDB(w.DB)
				s.noteWaiter(c, w)
			}
		}
	case presenceGone:
		s.dropWaiters(func(w *waiter) bool { return w.Session == session }, index)
	}
}

// dropWaiters ends the waits of clients that nobody can answer.
func (s *Store) dropWaiters(which func(w *waiter) bool, index uint64) {
	for _, w := range slices.Clone(s.st.waiters.rows) {
		if which(w) {
			s.served.Error("UNBLOCKED the node this client is connected to lost its session")
			s.endWait(w, index)
		}
	}
}

// dropOrphans drops who waits in a session that was closed.
func (s *Store) dropOrphans(index uint64) {
	if len(s.st.waiters.rows) > 0 {
		s.dropWaiters(func(w *waiter) bool { return s.st.sessions.find(w.Session) == nil }, index)
	}
}

// Presence is what the state machine knows of the node of a session.
type Presence struct {
	Session uint64
	// Node is the number that opened the session, Boot the start of its process
	// (docs/adr/0002).
	Node    uint64
	Boot    uint64
	Away    bool
	Waiting int // clients in blocking commands
	Level   uint16
}

// WaitVersion changes whenever Presence or NextTimeout may have. Only the goroutine that
// applies may ask.
func (s *Store) WaitVersion() uint64 { return s.waitVersion }

// Presence lists the open sessions by node, appending to dst.
func (s *Store) Presence(dst []Presence) []Presence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.st.sessions.rows {
		row := &s.st.sessions.rows[i]
		dst = append(dst, Presence{row.ID, row.Node, row.Boot, row.Away, s.st.waiters.perSession[row.ID], max(row.Level, firstLevel)})
	}
	return dst
}

// Level is the version of apply's semantics that the cluster's entries are written by.
func (s *Store) Level() uint16 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.st.Level
}

// BlockedKeys counts the keys that clients of the cluster wait for, those of readers
// of this node included, and of them those whose removal ends the wait.
func (s *Store) BlockedKeys() (keys, onNoKey int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := &s.st.waiters
	return len(t.queues) + s.readers.keys(), t.onNoKey
}

// NextTimeout is the earliest deadline of a client that waits, Unix ms. The leader
// sends a TICK when its clock gets there.
func (s *Store) NextTimeout() (at int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if due := s.st.waiters.due; len(due) > 0 {
		return due[0].Deadline, true
	}
	return 0, false
}
