package sim

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// The log is the witness: every write says at which index it was applied and every
// read at which it was made, so a replay of the committed log tells what each reply
// had to be, and linearizability is one pass over all operations (RELIABILITY 4).

// replayer gives the replay its own copies of the clients' chunks.
type replayer struct {
	w     *world
	ops   map[unitID]*op
	index uint64
	chunk map[*kv.Chunk]*op
	// blocked are the chunks that wait in a blocking command.
	blocked map[unitID]*kv.Chunk
	asked   unitID // whose chunk Chunk handed out last
}

type unitID struct{ session, seq uint64 }

// Chunk implements kv.Owner.
func (r *replayer) Chunk(session, seq uint64) *kv.Chunk {
	r.asked = unitID{session, seq}
	if ch := r.blocked[r.asked]; ch != nil {
		delete(r.blocked, r.asked)
		return ch
	}
	o := r.ops[unitID{session, seq}]
	if o == nil {
		return nil
	}
	if o.applied++; o.applied > 1 {
		r.w.fail("I13", "client %d: unit %d of session %d was applied again at %d", o.client, seq, session, r.index)
	}
	ch := &kv.Chunk{}
	o.build(ch)
	r.chunk[ch] = o
	return ch
}

// Blocked implements kv.Owner.
func (r *replayer) Blocked(ch *kv.Chunk, _ int64) { r.blocked[r.asked] = ch }

// Done implements kv.Owner.
func (r *replayer) Done(ch *kv.Chunk) {
	w, o := r.w, r.chunk[ch]
	delete(r.chunk, ch)
	switch o.state {
	case opDefinite:
		w.fail("I12", "client %d was told %q, yet it was applied at %d", o.client, o.err, ch.Index)
	case opOK:
		if o.index != ch.Index {
			w.fail("I11", "client %d: applied at %d, replayed at %d", o.client, o.index, ch.Index)
		}
		if !o.random && !bytes.Equal(o.reply, ch.Reply.Bytes()) {
			w.fail("I11", "client %d, index %d: was answered %q, the replay says %q", o.client, o.index, clip(o.reply), clip(ch.Reply.Bytes()))
		}
	}
}

func clip(b []byte) string {
	if len(b) > 200 {
		return string(b[:200]) + "..."
	}
	return string(b)
}

// witness judges all operations of a run.
func (j *judge) witness() {
	w := j.w
	w.checked(10, 11, 12, 13, 14)
	j.realTime()
	r := &replayer{w: w, ops: map[unitID]*op{}, chunk: map[*kv.Chunk]*op{}, blocked: map[unitID]*kv.Chunk{}}
	var reads []*op
	for _, o := range j.ops {
		switch {
		case o.read && o.state == opOK:
			reads = append(reads, o)
		case !o.read && o.chunk.Seq != 0 && o.p.s.Session() != 0:
			r.ops[unitID{o.p.s.Session(), o.chunk.Seq}] = o
		}
	}
	slices.SortStableFunc(reads, func(a, b *op) int { return int(int64(a.index) - int64(b.index)) })

	genesis := j.genesis
	store := kv.New(kv.Options{HashSeed: genesis, Databases: 16, Level: newLevel})
	defer store.Close()
	next := 0
	serve := func() {
		for ; next < len(reads) && reads[next].index == store.Applied(); next++ {
			o, ch := reads[next], &kv.Chunk{}
			o.build(ch)
			// A random choice may have met a key that is due here, and not there.
			if store.Read(ch, o.now) && !o.random {
				w.fail("I11", "client %d: read at %d wants a tick in the replay", o.client, o.index)
			}
			if !o.random && !bytes.Equal(o.reply, ch.Reply.Bytes()) {
				w.fail("I11", "client %d: read at index %d gave %q, the replay says %q", o.client, o.index, clip(o.reply), clip(ch.Reply.Bytes()))
			}
		}
	}
	serve()
	for i := range j.ledger {
		e := &j.ledger[i]
		kind := kv.EntryOther
		if e.Type == raftcore.EntryNormal {
			kind = kv.EntryNormal
		}
		r.index = e.Index
		if err := store.Apply([]kv.LogEntry{{Index: e.Index, Kind: kind, Body: e.Body}}, r); err != nil {
			w.fail("apply", "replay: %v", err)
		}
		if want, ok := j.digests[e.Index]; ok && (e.Index%8 == 0 || i == len(j.ledger)-1) {
			if _, got := store.DigestNow(); got != want {
				w.fail("I17", "the replay's state at %d is not the nodes'", e.Index)
			}
		}
		serve()
	}
	if next < len(reads) {
		w.fail("I11", "client %d read at index %d, only %d entries are committed", reads[next].client, reads[next].index, len(j.ledger))
	}
	j.account(store)
}

// realTime: what returned before another began comes before it in the log.
func (j *judge) realTime() {
	ends := slices.DeleteFunc(slices.Clone(j.ops), func(o *op) bool { return o.state != opOK || o.stale })
	starts := slices.Clone(ends)
	slices.SortStableFunc(starts, func(a, b *op) int { return int(a.start - b.start) })
	slices.SortStableFunc(ends, func(a, b *op) int { return int(a.end - b.end) })
	var newest, newestWrite *op
	n := 0
	for _, o := range starts {
		for ; n < len(ends) && ends[n].end < o.start; n++ {
			if e := ends[n]; newest == nil || e.index > newest.index {
				newest = e
			}
			if e := ends[n]; !e.read && (newestWrite == nil || e.index > newestWrite.index) {
				newestWrite = e
			}
		}
		if newest != nil && o.index < newest.index || !o.read && newest != nil && o.index <= newest.index {
			j.w.fail("I11", "client %d's operation at %v has index %d (read: %v), but client %d's had returned at %v with index %d (read: %v)",
				o.client, o.start, o.index, o.read, newest.client, newest.end, newest.index, newest.read)
		}
	}
}

// account checks effects against what clients were told, without believing in
// sessions: a counter, a list of unique names, compare-and-set.
func (j *judge) account(store *kv.Store) {
	w := j.w
	get := func(line string) string {
		ch := &kv.Chunk{}
		add(ch, dbBooks, line)
		store.Read(ch, 0)
		return string(ch.Reply.Bytes())
	}
	left := &kv.Chunk{}
	for _, line := range []string{"lrange q1 0 -1", "lrange q2 0 -1", "zrange z1 0 -1"} {
		add(left, dbQueues, line)
	}
	store.Read(left, 0)
	j.queues(string(left.Reply.Bytes()))
	number := func(line string) int {
		parts := strings.Split(get(line), "\r\n")
		if len(parts) < 2 {
			return 0
		}
		n, _ := strconv.Atoi(parts[1])
		return n
	}
	pushed := map[string]int{}
	parts := strings.Split(get("lrange l 0 -1"), "\r\n")
	for i := 2; i < len(parts); i += 2 {
		pushed[parts[i]]++
	}
	counts, maybe, cas, casMaybe := 0, 0, 0, 0
	for _, o := range j.ops {
		switch o.state {
		case opOK:
			counts += o.count
			if o.cas > 0 && strings.HasPrefix(string(o.reply), "*1") {
				cas++
			}
		case opLost:
			counts += o.count
			casMaybe += o.cas
		case opUnknown, opPending:
			maybe += o.count
			casMaybe += o.cas
		}
		if o.push == "" {
			continue
		}
		n := pushed[o.push]
		switch {
		case n > 1:
			w.fail("I13", "client %d: %s is in the list %d times", o.client, o.push, n)
		case n == 0 && (o.state == opOK || o.state == opLost):
			w.fail("I10", "client %d: %s was acknowledged at %d and is not there", o.client, o.push, o.index)
		case n == 1 && o.state == opDefinite:
			w.fail("I12", "client %d: %s is there although the client was told %q", o.client, o.push, o.err)
		}
	}
	if n := number("get n"); n < counts || n > counts+maybe {
		w.fail("I13", "the counter is %d; acknowledged %d, unknown %d", n, counts, maybe)
	}
	if n := number("get w"); n < cas || n > cas+casMaybe {
		w.fail("I11", "compare-and-set reached %d; acknowledged %d, unknown %d: an update was lost", n, cas, casMaybe)
	}
	for _, o := range j.ops {
		if o.state == opPending && o.start < w.now-time.Minute {
			w.fail("reply", "client %d waits since %v without any answer", o.client, o.start)
		}
	}
}
