package resp

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// tracker is a session's CLIENT TRACKING.
type tracker struct {
	bcast, optIn, optOut, noLoop bool
	// redirect is the client that gets the invalidations; 0: this one. broken: it is gone.
	redirect uint64
	broken   bool
	prefixes []string // with bcast; "" alone means all keys
	// caching: CLIENT CACHING was called for the next command.
	caching bool

	// reading: a chunk that reads is not answered yet.
	reading bool
	// held are invalidations that must stand behind the reply under way; heldAll
	// replaces them by one that means everything.
	held    [][]byte
	heldAll bool
	// seen are the keys modified while a script of the session is under way.
	seen map[string]struct{}
	// declared are the keys that scripts under way name; they count if one reads any.
	declared [][]byte
	// own is what the chunk under way reads behind its own operations; lastOwn that of
	// the last chunk that was answered, which was applied at lastIndex: its effects come
	// behind its replies.
	own, lastOwn map[string]*ownReads
	lastIndex    uint64
}

// ownReads are the reads of one key in a chunk that also writes: what an operation did,
// later reads have seen.
type ownReads struct {
	tracked bool  // the client knows a value from before what is left in at
	at      []int // the reads stand before these operations
}

// changed takes the effect of an operation of the chunk: tell says whether the client
// knows a value from before it, keep whether it reads the key afterwards.
func (o *ownReads) changed(op int) (tell, keep bool) {
	for len(o.at) > 0 && o.at[0] <= op {
		o.tracked, o.at = true, o.at[1:]
	}
	tell, o.tracked = o.tracked, false
	return tell, len(o.at) > 0
}

// tracking is which clients of one event loop have to hear of which keys. A client
// enters a key before it reads it; an invalidation removes it. Like Redis it knows
// names of keys and no databases.
type tracking struct {
	srv      *Server
	trackers map[uint64]*session // by client id
	keys     map[string]*idSet
	prefixes map[string]*prefix
	flush    bool // everything changed; told with broadcast
	// scripting are the sessions with a script under way: what it reads is known only
	// when it ran.
	scripting map[uint64]*session
	// lonelySince is when this node ceased to know a leader, on the loop's clock.
	lonelySince int64
}

// prefix is one prefix of BCAST clients.
type prefix struct {
	clients map[uint64]*session
	// changed are the keys modified since the last broadcast, with who did: nil if not
	// one connection of this node alone.
	changed map[string]kv.Waiter
}

// trackingTotals are INFO's numbers, of all loops.
type trackingTotals struct{ keys, items, prefixes atomic.Int64 }

func (t *tracking) init(s *Server) {
	t.srv = s
	t.trackers = make(map[uint64]*session)
	t.keys = make(map[string]*idSet)
	t.prefixes = make(map[string]*prefix)
	t.scripting = make(map[uint64]*session)
}

// remember enters a key for a session that is about to read it.
func (t *tracking) remember(s *session, key []byte) (added bool) {
	set := t.keys[string(key)]
	if set == nil {
		set = &idSet{}
		t.keys[string(key)] = set
		t.srv.tracked.keys.Add(1)
		t.limit(string(key))
	}
	if added = set.add(s.id); added {
		t.srv.tracked.items.Add(1)
	}
	return added
}

// limit makes room for a new key by telling the clients of another one that it
// changed.
func (t *tracking) limit(fresh string) {
	most := t.srv.live.trackingKeys.Load()
	for key := range t.keys {
		if most == 0 || t.srv.tracked.keys.Load() <= most {
			return
		}
		if key != fresh {
			t.invalidate([]byte(key), nil)
		}
	}
}

// modified takes a change of a key.
func (t *tracking) modified(e *kv.Effect) {
	if t.keys[string(e.Key)] != nil {
		t.invalidate(e.Key, e)
	}
	for _, s := range t.scripting {
		s.track.see(e.Key)
	}
	for p, x := range t.prefixes {
		if !strings.HasPrefix(string(e.Key), p) {
			continue
		}
		if before, ok := x.changed[string(e.Key)]; ok && before != e.Origin {
			x.changed[string(e.Key)] = nil
		} else {
			x.changed[string(e.Key)] = e.Origin
		}
	}
}

// invalidate tells who read the key of its change, or that it is no longer tracked (nil).
// A client that does not want to hear of its own changes stays entered: it may go on
// caching what it wrote, so the next change by somebody else concerns it.
func (t *tracking) invalidate(key []byte, e *kv.Effect) {
	set := t.keys[string(key)]
	var kept []uint64
	set.each(func(id uint64) {
		s := t.trackers[id]
		switch {
		case s == nil || s.track.bcast:
		case e == nil || e.Origin == nil || e.Origin != s.waiter:
			t.tell(s, key)
		case s.track.noLoop:
			kept = append(kept, id)
		default:
			tell, keep := s.track.changedItself(e)
			if tell {
				t.tell(s, key)
			}
			if keep {
				kept = append(kept, id)
			}
		}
	})
	t.srv.tracked.items.Add(int64(len(kept) - set.len()))
	if len(kept) == 0 {
		delete(t.keys, string(key))
		t.srv.tracked.keys.Add(-1)
		return
	}
	*set = idSet{list: kept}
}

// changedItself is ownReads.changed for an effect of the session's own.
func (tr *tracker) changedItself(e *kv.Effect) (tell, keep bool) {
	if o := tr.lastOwn[string(e.Key)]; o != nil && e.Index == tr.lastIndex {
		return o.changed(e.Op)
	}
	return true, false
}

// flushed: any key may have changed.
func (t *tracking) flushed() {
	for _, set := range t.keys {
		t.srv.tracked.items.Add(-int64(set.len()))
	}
	t.srv.tracked.keys.Add(-int64(len(t.keys)))
	clear(t.keys)
	t.flush = len(t.trackers) > 0
}

// broadcast ends a run of effects: BCAST clients get one message per prefix.
func (t *tracking) broadcast() {
	if t.flush {
		t.flush = false
		for _, s := range t.trackers {
			t.tell(s)
		}
	}
	for _, p := range t.prefixes {
		if len(p.changed) == 0 {
			continue
		}
		all := make([]string, 0, len(p.changed))
		for key := range p.changed {
			all = append(all, key)
		}
		slices.Sort(all)
		for _, s := range p.clients {
			keys := make([][]byte, 0, len(all))
			for _, key := range all {
				if by := p.changed[key]; !s.track.noLoop || by == nil || by != s.waiter {
					keys = append(keys, []byte(key))
				}
			}
			if len(keys) > 0 {
				t.tell(s, keys...)
			}
		}
		clear(p.changed)
	}
}

// maxHeldKeys bounds what waits behind one reply; beyond it everything is invalid.
const maxHeldKeys = 10_000

// tell sends the session an invalidation of keys, or of everything if there are none,
// now or behind the reply that is under way: that one may hold the value from before.
func (t *tracking) tell(s *session, keys ...[]byte) {
	tr := s.track
	switch {
	case !tr.reading:
		t.send(s, keys)
	case len(keys) == 0 || len(tr.held)+len(keys) > maxHeldKeys:
		tr.held, tr.heldAll = nil, true
	case !tr.heldAll:
		tr.held = append(tr.held, keys...)
	}
}

// tellHeld sends what waited for a reply. Keys of BCAST clients go together, others
// one by one, as Redis does.
func (t *tracking) tellHeld(s *session) {
	tr := s.track
	held, all := tr.held, tr.heldAll
	tr.reading, tr.held, tr.heldAll = false, nil, false
	switch {
	case all:
		t.send(s, nil)
	case tr.bcast && len(held) > 0:
		t.send(s, held)
	default:
		for _, key := range held {
			t.send(s, [][]byte{key})
		}
	}
}

func (t *tracking) send(s *session, keys [][]byte) {
	tr := s.track
	if tr.redirect == 0 {
		s.invalidate(keys, false)
		return
	}
	to := t.srv.clients.get(tr.redirect)
	switch {
	case to == nil:
		tr.broken = true
		s.vis.mu.Lock()
		s.publishListening(&s.vis)
		s.vis.mu.Unlock()
		if s.proto == resp3 {
			b := redcon.AppendBulkString(appendPush(nil, resp3, 2), "tracking-redir-broken")
			s.push(redcon.AppendInt(b, int64(tr.redirect)))
		}
	case to.s.listensAt == s.listensAt:
		to.s.invalidate(keys, true)
	default:
		to.onLoop(func() { to.s.invalidate(keys, true) })
	}
}

// invalidate pushes the message: in RESP3 as a push, in RESP2 as a message of the
// channel __redis__:invalidate to a client that another one redirects to.
func (s *session) invalidate(keys [][]byte, redirected bool) {
	var b []byte
	switch {
	case s.proto == resp3:
		b = redcon.AppendBulkString(appendPush(nil, resp3, 2), "invalidate")
	case redirected && s.subscribed():
		b = redcon.AppendBulkString(redcon.AppendArray(nil, 3), "message")
		b = redcon.AppendBulkString(b, "__redis__:invalidate")
	default:
		return
	}
	if keys == nil {
		b = renderer{proto: s.proto}.appendNull(b, "$-1\r\n")
	} else {
		b = redcon.AppendArray(b, len(keys))
		for _, key := range keys {
			b = redcon.AppendBulk(b, key)
		}
	}
	s.push(b)
}

// trackRead enters the keys of a command that is going to be read for this session.
func (s *session) trackRead(cmd *kv.Command, args [][]byte) {
	tr := s.track
	if cmd.Flags&kv.FlagReadonly == 0 && !cmd.Script || tr.optIn && !tr.caching || tr.optOut && tr.caching {
		return
	}
	// From here on invalidations wait for the reply; not for one that may take its time.
	tr.reading = tr.reading || cmd.Flags&kv.FlagBlocking == 0 || !hasWord(args, "block")
	if tr.bcast {
		return
	}
	positions, ok := cmd.KeyPositions(args)
	if !ok {
		return
	}
	if cmd.Script {
		s.trackScript()
	}
	for _, i := range positions {
		if i < len(args) && cmd.Script {
			tr.declared = append(tr.declared, slices.Clone(args[i]))
		} else if i < len(args) {
			added := s.hub().tracking.remember(s, args[i])
			tr.readLater(s.chunk, args[i], !added)
		}
	}
}

// readLater notes where in the chunk the key is read, if it does anything before. known:
// the client had the key entered already.
func (tr *tracker) readLater(c *kv.Chunk, key []byte, known bool) {
	if c == nil || c.NumOps == 0 {
		return
	}
	o := tr.own[string(key)]
	switch {
	case o != nil:
	case len(tr.own) >= maxHeldKeys:
		return
	default:
		if tr.own == nil {
			tr.own = make(map[string]*ownReads)
		}
		o = &ownReads{tracked: known}
		tr.own[string(key)] = o
	}
	o.at = append(o.at, c.NumOps)
}

// trackScript watches all changes until the script's keys are known.
func (s *session) trackScript() {
	if s.chunk == nil {
		s.chunk = s.srv.getChunk()
	}
	s.chunk.TrackReads = true
	s.hub().tracking.scripting[s.id] = s
}

// see notes a change while a script is under way.
func (tr *tracker) see(key []byte) {
	if tr.seen == nil {
		tr.seen = make(map[string]struct{})
	}
	if len(tr.seen) < maxHeldKeys {
		tr.seen[string(key)] = struct{}{}
		return
	}
	tr.held, tr.heldAll = nil, true
}

// readByScript enters the keys that the chunk's scripts read; those that were modified
// meanwhile are told with the others that wait for the reply.
func (t *tracking) readByScript(s *session, c *kv.Chunk) {
	delete(t.scripting, s.id)
	tr := s.track
	if c.ReadMore {
		tr.held, tr.heldAll = nil, true
	}
	keys := c.ReadKeys
	if len(keys) > 0 && !t.srv.imitates(kv.Redis72) { // as in Redis 7.0: then it depends on all it names
		keys = append(keys, tr.declared...)
	}
	for _, key := range keys {
		if _, changed := tr.seen[string(key)]; changed {
			t.tell(s, key)
		} else {
			t.remember(s, key)
		}
	}
	tr.seen, tr.declared = nil, nil
}

// maxLonelyMillis is how long caches are trusted on a node that knows no leader: what
// others write meanwhile it cannot tell.
const maxLonelyMillis = 1000

// watchLeader is called every tick.
func (t *tracking) watchLeader(leader uint64, now int64) {
	switch {
	case leader != 0:
		t.lonelySince = 0
	case t.lonelySince == 0:
		t.lonelySince = max(now, 1)
	case now-t.lonelySince >= maxLonelyMillis:
		t.lonelySince = now
		t.flushed()
		t.broadcast()
	}
}

func hasWord(args [][]byte, word string) bool {
	for _, a := range args {
		if equalFold(a, word) {
			return true
		}
	}
	return false
}

// startTracking sets or changes how the session tracks.
func (s *session) startTracking(next tracker) {
	h := s.hub()
	if s.track == nil {
		h.tracking.trackers[s.id] = s
		s.track = &tracker{}
		s.srv.subs.track(1)
	}
	next.prefixes = append(slices.Clone(s.track.prefixes), next.prefixes...)
	next.held, next.heldAll, next.reading, next.seen = s.track.held, s.track.heldAll, s.track.reading, s.track.seen
	next.declared = s.track.declared
	if next.bcast && len(next.prefixes) == 0 {
		next.prefixes = []string{""}
	}
	*s.track = next
	for _, name := range next.prefixes {
		p := h.tracking.prefixes[name]
		if p == nil {
			p = &prefix{clients: make(map[uint64]*session), changed: make(map[string]kv.Waiter)}
			h.tracking.prefixes[name] = p
			s.srv.tracked.prefixes.Add(1)
		}
		p.clients[s.id] = s
	}
}

// stopTracking ends it. What the table of keys holds for the session is found to be
// nobody's with the key's next change.
func (s *session) stopTracking() {
	if s.track == nil {
		return
	}
	t := &s.hub().tracking
	for _, name := range s.track.prefixes {
		if p := t.prefixes[name]; p != nil {
			delete(p.clients, s.id)
			if len(p.clients) == 0 {
				delete(t.prefixes, name)
				s.srv.tracked.prefixes.Add(-1)
			}
		}
	}
	delete(t.trackers, s.id)
	delete(t.scripting, s.id)
	s.track = nil
	s.srv.subs.track(-1)
	if len(t.trackers) == 0 {
		t.flushed()
	}
}

// idSet is a set of client ids, small as a rule.
type idSet struct {
	list []uint64
	more map[uint64]struct{} // all of them, once there are many
}

const idSetMany = 16

func (s *idSet) len() int {
	if s.more != nil {
		return len(s.more)
	}
	return len(s.list)
}

func (s *idSet) add(id uint64) bool {
	if s.more != nil {
		before := len(s.more)
		s.more[id] = struct{}{}
		return len(s.more) > before
	}
	if slices.Contains(s.list, id) {
		return false
	}
	s.list = append(s.list, id)
	if len(s.list) > idSetMany {
		s.more = make(map[uint64]struct{}, 2*len(s.list))
		for _, id := range s.list {
			s.more[id] = struct{}{}
		}
		s.list = nil
	}
	return true
}

func (s *idSet) each(f func(id uint64)) {
	for _, id := range s.list {
		f(id)
	}
	for id := range s.more {
		f(id)
	}
}
