package kv

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// EntryKind says what an entry of the log is to the state machine.
type EntryKind uint8

// The kinds. Only EntryNormal has a body that concerns the state machine; the
// others just advance the applied index.
const (
	EntryNormal EntryKind = iota
	EntryOther
)

// LogEntry is a committed entry. kv imports no other package of rkv, so this is
// the view it has of one.
type LogEntry struct {
	Index uint64
	Kind  EntryKind
	Body  []byte
}

// Owner finds the chunks of this node's connections.
type Owner interface {
	// Chunk returns the chunk that (session, seq) was proposed for, nil if it is not
	// this node's or nobody waits for it. It is called under the store's lock: it
	// must be quick and must not call the store.
	Chunk(session, seq uint64) *Chunk
	// Blocked hands back a chunk whose unit was applied by waiting: its client is blocked
	// until deadline (Unix ms by the stamp; 0: for ever). Chunk asks for it again when
	// there is a reply. It is called as Chunk is.
	Blocked(c *Chunk, deadline int64)
	// Done hands back a chunk after its replies are on its tape and the lock was
	// released. It must only enqueue.
	Done(c *Chunk)
}

// Apply slices: the lock is released at the first unit boundary after so much
// cost. A unit of cost is about 100 ns on a 3 GHz core; the meter counts work, for
// kv has no clock. A single unit is never cut, so one large EXEC can hold longer:
// it is bounded by the entry's size.
const (
	sliceCost    = 1000
	opCost       = 3
	bytesPerCost = 1 << 10
	freePerSlice = 64 // objects or blocks freed at the end of a slice
)

// ErrOrder means that an entry does not follow the last applied one.
var ErrOrder = errors.New("entry out of order")

// PanicError is a panic inside apply: a bug that a command found. The state may be
// half changed; the caller stops the node and reports the index.
type PanicError struct {
	Index uint64
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("apply of entry %d panicked: %v", e.Index, e.Value)
}

// Apply executes committed entries in order. Replies for this node's chunks are
// put on their tapes (owner may be nil). An error means that an entry cannot be
// understood here (ErrUnknown, ErrMalformed, ErrOrder) or that a command panicked:
// the caller stops the node, it must not go on with the next entry. An entry that
// was applied already is skipped.
//
// Only one goroutine may call it at a time. It blocks for the lock only.
func (s *Store) Apply(entries []LogEntry, owner Owner) (err error) {
	a := applier{s: s, owner: owner}
	s.owner = owner
	defer func() { s.owner = nil }()
	for i := range entries {
		if !a.held {
			s.applying.Lock()
			a.lock()
		}
		if err = a.entry(&entries[i]); err != nil {
			break
		}
		// Between entries both locks are released, so that a cut can be taken.
		if a.cost >= sliceCost/2 {
			a.unlock()
			s.applying.Unlock()
			a.handBack()
		}
	}
	if a.held {
		a.unlock()
		s.applying.Unlock()
		a.handBack()
	}
	return err
}

// applier is one call of Apply.
type applier struct {
	s     *Store
	owner Owner
	held  bool
	cost  int
}

func (a *applier) lock() {
	a.s.lock()
	a.held, a.cost = true, 0
}

func (a *applier) unlock() {
	a.s.heap.freeSome(freePerSlice)
	a.s.showMemory()
	a.held = false
	a.s.mu.Unlock()
}

// handBack returns the chunks answered in the slice that just ended, then tells of
// its effects.
func (a *applier) handBack() {
	for i, c := range a.s.done {
		a.owner.Done(c)
		a.s.done[i] = nil
	}
	a.s.done = a.s.done[:0]
	a.s.emit()
	a.s.readers.tell()
}

func (a *applier) entry(e *LogEntry) (err error) {
	s := a.s
	switch {
	case e.Index <= s.st.Index:
		return nil
	case e.Index != s.st.Index+1:
		return fmt.Errorf("%w: entry %d after %d", ErrOrder, e.Index, s.st.Index)
	case e.Kind != EntryNormal:
		s.st.Index = e.Index
		a.cost++
		return nil
	}
	it, err := ParseUnits(e.Body)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if it.Header.Level > s.level {
		return fmt.Errorf("entry %d: %w: apply level %d, known are up to %d", e.Index, ErrUnknown, it.Header.Level, s.level)
	}
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Index: e.Index, Value: p, Stack: debug.Stack()}
		}
	}()
	s.st.Stamp, s.fx.feed.index = max(s.st.Stamp, it.Header.Stamp), e.Index
	a.expire(it.Header.Units == 0)
	a.cost += s.timeOut(e.Index)
	s.serveReady(e.Index)
	s.ahead.left = 0
	for n := 0; it.Next(); n++ {
		if a.cost >= sliceCost {
			a.unlock()
			a.handBack()
			a.lock()
		}
		if err := a.unit(e.Index, &it, n); err != nil {
			return fmt.Errorf("entry %d unit %d: %w", e.Index, n, err)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	s.st.Index = e.Index
	return nil
}

// expire removes due keys as the first step of the entry. Without active expiry only
// a TICK does.
func (a *applier) expire(tick bool) {
	s := a.s
	a.cost++
	if s.st.Settings.ActiveExpire == 0 && !tick {
		return
	}
	if _, _, at, ok := s.oldestExpiry(); !ok || at > s.st.Stamp {
		return
	}
	s.st.Version++
	c := &s.ctx
	*c = Ctx{store: s, logged: true, now: s.st.Stamp}
	s.fx.begin(s, nil)
	s.expireDue(c)
	s.fx.endBlock(false)
	a.cost += c.cost
}

// unit applies one unit, unless it took effect before or was sealed (ADR 2).
func (a *applier) unit(index uint64, it *UnitIter, number int) error {
	s, u := a.s, &it.Unit
	a.cost++
	var chunk *Chunk
	if u.Session != 0 {
		if !s.st.sessions.admit(&u.UnitHeader) {
			s.ahead.left = 0
			return nil
		}
		if a.owner != nil {
			chunk = a.owner.Chunk(u.Session, u.Seq)
		}
	}
	if u.Ops == 0 && s.st.Settings.ActiveExpire == 0 {
		a.expire(true) // the unit is a read's that met a key which is due
	}
	s.st.Version++
	r := &s.run
	r.begin(s, &s.ctx, chunk)
	s.fx.begin(s, chunk)
	r.entry, r.index, r.unit, r.open = it.Header, index, number, u.Session == 0
	r.id, r.ops = unitID{u.Session, u.Seq}, u.Ops
	r.following = it
	r.user = nil
	r.actAs(u.User)
	s.ctx.now, s.ctx.logged = s.st.Stamp, true
	if chunk == nil {
		r.out = &s.discard
	}
	served := len(s.done)
	err := r.all(u.Data, u.Ops)
	if s.discard.Reset(); cap(s.discard.b) > chunkKeep {
		s.discard = Reply{}
	}
	a.cost += s.ctx.cost
	switch w := s.ctx.waits; {
	case chunk == nil:
	case w != nil:
		a.owner.Blocked(chunk, w.Deadline)
	default:
		chunk.Index = index
		s.done = slices.Insert(s.done, served, chunk) // before those it served
	}
	r.end()
	return err
}
