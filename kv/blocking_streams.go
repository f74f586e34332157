package kv

import (
	"slices"
	"sync"
	"sync/atomic"
)

// XREADGROUP waits in the log like the pops; XREAD waits on its node (docs/adr/0010).

// waitStream makes the client wait for what an XREAD or XREADGROUP did not find.
func (c *Ctx) waitStream(r *streamRead) bool {
	switch {
	case r.isGroup:
		keys := make([]int, len(r.keys))
		for i := range keys {
			keys[i] = len(r.args) - 2*len(keys) + i
		}
		return c.wait(waitGroup, keys, r.block)
	case c.reader == nil:
		return false
	}
	waiter, ok := c.reader.Waiter.(ReadWaiter)
	if ok {
		c.reader.wait = &readWait{chunk: c.reader, waiter: waiter, db: c.db, read: *r, first: -1}
		c.reader.waits = true
	}
	return ok
}

// serveGroup is XREADGROUP for a client that waits: what is new for its group in the
// one stream.
func serveGroup(c *Ctx, key []byte) {
	r, msg := parseStreamRead(c.cmd.Name, c.Args)
	if msg != "" {
		return
	}
	if s, ok := c.openStream(key); !ok || !r.hasGroup(&s) {
		c.Out.Error("NOGROUP the consumer group this client was blocked on no longer exists")
		return
	}
	r.keys, r.after = [][]byte{key}, []streamID{maxStreamID}
	r.try(c)
}

// group is the group an XREADGROUP waits in.
func (w *waiter) group() []byte {
	r, _ := parseStreamRead("xreadgroup", w.Args)
	return r.group
}

// ReadWaiter is what the Waiter of a chunk has to be if its XREAD may wait. ChunkReady
// tells that reading again is worth while; it is called on an arbitrary goroutine and
// must only enqueue.
type ReadWaiter interface{ ChunkReady(c *Chunk) }

// AllowWait lets the chunk's one command, an XREAD, wait if it finds nothing. Then
// Waits is true after Store.Read, nothing was replied, and the Waiter is told to read
// again when something happened to one of the streams, until Store.EndWait.
func (c *Chunk) AllowWait() { c.mayWait = true }

// Waits reports whether the last Store.Read found nothing and the chunk waits.
func (c *Chunk) Waits() bool { return c.waits }

// WaitLimit is how long a chunk that waits wants to, in ms; 0 is for ever.
func (c *Chunk) WaitLimit() int64 { return c.wait.read.block }

// Answer makes fill's value the chunk's reply: the end of a wait.
func (c *Chunk) Answer(fill func(out *Reply)) {
	c.restart()
	fill(&c.Reply)
	c.mark()
}

// EndWait ends the wait of a chunk, if it waits: nothing is told about it any more but
// what is on its way already, which may find the chunk used for something else.
func (s *Store) EndWait(c *Chunk) {
	if c.wait != nil {
		s.readers.remove(c.wait)
		c.wait = nil
	}
}

// readWait is an XREAD that waits.
type readWait struct {
	chunk  *Chunk
	waiter ReadWaiter // the chunk may be another's when it is told
	db     int
	read   streamRead
	// first is the stream that was written first since the last try; -1: none, or all.
	first int
	// listed: it is in the table.
	listed bool
}

// again tries once more. If several streams were written to by one command, the first
// one counts, as in Redis 7.0.
func (w *readWait) again(c *Ctx) {
	r := w.read
	if w.first >= 0 {
		r.keys, r.after = r.keys[w.first:w.first+1], r.after[w.first:w.first+1]
		w.first = -1
		if r.try(c) {
			return
		}
		r = w.read
	}
	if !r.try(c) {
		w.chunk.waits = true
	}
}

// readerTable is the XREADs of this node that wait. Registering happens under the read
// lock of the try that found nothing, waking under the write lock: nothing is missed.
type readerTable struct {
	n     atomic.Int64
	mu    sync.Mutex
	byKey map[waitKey][]*readWait
	// woken belongs to the goroutine that applies.
	woken []*readWait
}

func (t *readerTable) add(c *Chunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := c.wait
	if w.listed {
		return
	}
	if t.byKey == nil {
		t.byKey = make(map[waitKey][]*readWait)
	}
	w.listed = true
	t.n.Add(1)
	for _, k := range w.read.keys {
		at := waitKey{w.db, string(k)}
		if !slices.Contains(t.byKey[at], w) {
			t.byKey[at] = append(t.byKey[at], w)
		}
	}
}

func (t *readerTable) remove(w *readWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlist(w)
}

func (t *readerTable) unlist(w *readWait) {
	if !w.listed {
		return
	}
	w.listed = false
	t.n.Add(-1)
	for _, k := range w.read.keys {
		at := waitKey{w.db, string(k)}
		list := t.byKey[at]
		if i := slices.Index(list, w); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		if t.byKey[at] = list; len(list) == 0 {
			delete(t.byKey, at)
		}
	}
}

// wake takes those who wait for the key off the table, to be told.
func (t *readerTable) wake(db int, key []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.byKey[waitKey{db, string(key)}]
	for len(list) > 0 {
		w := list[len(list)-1]
		for i, k := range w.read.keys {
			if string(k) == string(key) {
				w.first = i
				break
			}
		}
		t.unlist(w)
		t.woken = append(t.woken, w)
		list = list[:len(list)-1]
	}
}

func (t *readerTable) wakeAll() {
	if t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.byKey { // the order in which clients try again is nobody's promise
		for len(list) > 0 {
			w := list[len(list)-1]
			t.unlist(w)
			t.woken = append(t.woken, w)
			list = list[:len(list)-1]
		}
	}
}

// tell tells those who were woken; no lock is held.
func (t *readerTable) tell() {
	for _, w := range t.woken {
		w.waiter.ChunkReady(w.chunk)
	}
	clear(t.woken)
	t.woken = t.woken[:0]
}

// keys counts the keys waited for.
func (t *readerTable) keys() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
}
