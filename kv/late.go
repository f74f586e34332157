package kv

// A large value is written after the store's lock is let go, so that nobody waits for it
// but the client who asked: under the lock it is shared, as COPY does, in O(1). Sharing
// changes the value's trees, so it takes the lock as a writer does, for as long as the
// chunk's other reads take.

// lateBytes is how large a payload is that is worth it: a millisecond or two.
const lateBytes = 1 << 20

// lateMode is what becomes of a large value in a read.
type lateMode uint8

const (
	lateNever lateMode = iota // it is written at once
	lateAsk                   // the chunk is given up: Store.ReadLong reads it
	lateTake                  // it is shared, and written by writeLate
)

// lateValue is a value whose payload (DUMP) is still to be written.
type lateValue struct {
	at int // in the tape, where lateMark stands for it
	v  Value
}

const lateMark = "_\r\n"

// late puts the payload of a large value off, if the chunk can wait for it.
func (c *Ctx) late(v Value) bool {
	if c.lateMode == lateNever || c.script || v.Obj == nil || v.Obj.t == nil || dumpRoom(v) < lateBytes {
		return false
	}
	if c.lateMode == lateAsk {
		c.tooLong, c.wantsLate = true, true
	} else {
		v.Obj = c.store.heap.copyObject(v.Obj)
		c.lates = append(c.lates, lateValue{len(c.Out.b), v})
	}
	c.Out.b = append(c.Out.b, lateMark...)
	return true
}

// readLate is Read for a chunk with large values. It reports whether it is done: not if a
// script among the reads takes long, for which it must not keep the store locked.
func (s *Store) readLate(c *Chunk, now int64) (needTick, done bool) {
	s.scripts.slots <- struct{}{}
	defer func() { <-s.scripts.slots }()
	needTick = s.takeLate(c, now)
	switch {
	case c.tooLong:
		c.lates = nil
		return false, false
	case needTick:
		c.lates = nil
	default:
		c.writeLate()
	}
	return needTick, true
}

// takeLate reads all but the large values.
func (s *Store) takeLate(c *Chunk, now int64) (needTick bool) {
	s.lock()
	defer s.mu.Unlock()
	return s.read(c, now, briefSteps, lateTake)
}

// writeLate puts the payloads into the tape. What lies behind one moves.
func (c *Chunk) writeLate() {
	room := len(c.Reply.b)
	for _, l := range c.lates {
		room += dumpRoom(l.v)
	}
	out := Reply{b: make([]byte, 0, room+room/16)}
	from, next := 0, 0
	for _, l := range c.lates {
		next = c.moveEnds(next, l.at, len(out.b)-from)
		out.b = append(out.b, c.Reply.b[from:l.at]...)
		writeDump(&out, l.v)
		from = l.at + len(lateMark)
	}
	c.moveEnds(next, len(c.Reply.b), len(out.b)-from)
	c.Reply.b = append(out.b, c.Reply.b[from:]...)
	c.Reply.failed = c.Reply.failed || out.failed
	c.lates = nil
}

// moveEnds moves the ends from number next on that are not beyond at, and returns which is
// the first that is.
func (c *Chunk) moveEnds(next, at, by int) int {
	for ; next < len(c.Ends) && int(c.Ends[next]) <= at; next++ {
		c.Ends[next] = uint32(int(c.Ends[next]) + by)
	}
	return next
}
