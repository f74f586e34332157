package kv

import (
	"container/list"
	"slices"
)

// onceTable remembers what clients did under a session and a number of their own
// (RKV.ONCE), so that a command that a client sends again, on whatever node, has its
// first answer (docs/adr/0017). It is replicated.
type onceTable struct {
	order *list.List // of *onceRow: used last at the back
	byID  map[string]*list.Element
	// bytes is what the stored replies take.
	bytes int
	// forgotten counts the sessions that had to make room or were not used for long:
	// of a session that is not in the table nobody can tell then whether it ever was.
	forgotten uint64
}

// Bounds. A session is kept for at least onceRest after its last use; while all are
// younger, new ones are refused. After onceIdle it goes when a new one comes.
const (
	maxOnceSessions = 1 << 14
	maxOnceResults  = 64       // per session: the youngest numbers
	maxOnceReply    = 4 << 10  // a longer reply is not kept
	maxOnceBytes    = 32 << 20 // replies of all sessions; those used longest ago lose theirs
	maxOnceID       = 128
	onceRest        = 10 * 60 * 1000 // ms by the stamp
	onceIdle        = 24 * 60 * 60 * 1000
)

// onceRow is a client's session. It is replaced, never changed: cuts share it.
type onceRow struct {
	ID   string
	Used int64 // stamp
	// Low: numbers below it are settled, and nothing of them takes effect any more.
	Low uint64
	// Results are those at or above Low, by number.
	Results []onceResult
	Bytes   int
}

// onceResult is what became of a number: applied at Index, or sealed (Index 0).
type onceResult struct {
	Seq, Index uint64
	// Reply is the tape of the reply; empty if it was not kept.
	Reply   []byte
	Complex bool
	Failed  bool
}

func newOnceTable(rows []onceRow, forgotten uint64) (t onceTable, ok bool) {
	t = onceTable{order: list.New(), byID: make(map[string]*list.Element, len(rows)), forgotten: forgotten}
	for i := range rows {
		r := &rows[i]
		if t.byID[r.ID] != nil {
			return t, false
		}
		r.Bytes = 0
		for n, x := range r.Results {
			if x.Seq < r.Low || n > 0 && x.Seq <= r.Results[n-1].Seq {
				return t, false
			}
			r.Bytes += len(x.Reply)
		}
		t.bytes += r.Bytes
		t.byID[r.ID] = t.order.PushBack(r)
	}
	return t, true
}

// rows are the sessions, used longest ago first.
func (t *onceTable) rows() []onceRow {
	var rows []onceRow
	for e := t.order.Front(); e != nil; e = e.Next() {
		rows = append(rows, *e.Value.(*onceRow))
	}
	return rows
}

// freeze is a copy that later changes do not touch.
func (t *onceTable) freeze() onceTable {
	c := onceTable{order: list.New(), bytes: t.bytes, forgotten: t.forgotten}
	for e := t.order.Front(); e != nil; e = e.Next() {
		c.order.PushBack(e.Value)
	}
	return c
}

func (t *onceTable) find(id []byte) *onceRow {
	if e := t.byID[string(id)]; e != nil {
		return e.Value.(*onceRow)
	}
	return nil
}

// put stores the next form of a session, as the one used last.
func (t *onceTable) put(r *onceRow) {
	if e := t.byID[r.ID]; e != nil {
		t.bytes += r.Bytes - e.Value.(*onceRow).Bytes
		e.Value = r
		t.order.MoveToBack(e)
	} else {
		t.bytes += r.Bytes
		t.byID[r.ID] = t.order.PushBack(r)
	}
	for e := t.order.Front(); t.bytes > maxOnceBytes && e != nil; e = e.Next() {
		if old := e.Value.(*onceRow); old.Bytes > 0 && old != r {
			e.Value = old.withoutReplies()
			t.bytes -= old.Bytes
		}
	}
}

// makeRoom drops sessions so that one more fits; false if all are in use.
func (t *onceTable) makeRoom(now int64) bool {
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		r := e.Value.(*onceRow)
		full := t.order.Len() >= maxOnceSessions
		if now-r.Used < onceIdle && !(full && now-r.Used >= onceRest) {
			return !full
		}
		t.order.Remove(e)
		delete(t.byID, r.ID)
		t.bytes -= r.Bytes
		t.forgotten++
	}
	return true
}

func (r *onceRow) withoutReplies() *onceRow {
	c := *r
	c.Results, c.Bytes = slices.Clone(r.Results), 0
	for i := range c.Results {
		c.Results[i].Reply = nil
	}
	return &c
}

// place is where the number is among the results, or belongs.
func (r *onceRow) place(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(r.Results, seq, func(x onceResult, seq uint64) int {
		switch {
		case x.Seq < seq:
			return -1
		case x.Seq > seq:
			return 1
		}
		return 0
	})
}

// with is the row with one more result, used now. The lowest number beyond the bound
// is settled.
func (r *onceRow) with(x onceResult, now int64) *onceRow {
	c := *r
	at, _ := r.place(x.Seq)
	c.Results = slices.Insert(slices.Clone(r.Results), at, x)
	c.Bytes += len(x.Reply)
	for len(c.Results) > maxOnceResults {
		c.Low = c.Results[0].Seq + 1
		c.Bytes -= len(c.Results[0].Reply)
		c.Results = c.Results[1:]
	}
	c.Used = now
	return &c
}
