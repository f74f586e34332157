package kv

import (
	"math"
	"sync"
	"sync/atomic"
)

// EffectKind says what an effect is; kinds are bits, so that listeners can name
// several.
type EffectKind uint8

const (
	// EffectEvent: Redis's keyspace event Event happened to Key. Only events that the
	// setting notify-keyspace-events selects are effects.
	EffectEvent EffectKind = 1 << iota
	// EffectKey: Key was modified, expired ones included. One effect or more per
	// command and key.
	EffectKey
	// EffectFlush: all keys of DB may have changed (FLUSHDB, SWAPDB), or of every
	// database if DB is AllDatabases (FLUSHALL, a snapshot that was installed).
	EffectFlush
	// EffectPublish: Value was published to the channel Key; EffectShardPublish: to a
	// shard channel.
	EffectPublish
	EffectShardPublish
	// EffectCommand: Args repeat on DB what the entry Index did (feed.go). DB is
	// AllDatabases if it does not matter.
	EffectCommand
)

// AllDatabases is Effect.DB where no single database is meant.
const AllDatabases = -1

// Effect is one thing that apply did, in the order of the log. It is immutable.
type Effect struct {
	Kind EffectKind
	DB   int
	// Event is the event's name, Notify the part of notify-keyspace-events that says
	// where to publish it (NotifyKeyspace, NotifyKeyevent).
	Event  string
	Notify NotifyFlags
	Key    []byte
	Value  []byte
	// ServerDel: the command is a DEL in the place of another command. A node that is set
	// to lazyfree-lazy-server-del tells its replicas to UNLINK.
	ServerDel bool
	// Origin is the Waiter of the chunk whose command had the effect, if that chunk is
	// this node's; nil otherwise. Index is the entry's, Op the number of the operation in
	// that chunk: a read of the chunk that stands before a later operation
	// (LocalRead.Before > Op) has seen the effect.
	Origin Waiter
	Index  uint64
	Op     int
	Args   [][]byte
}

// Effects is a run of effects. Nobody may change it.
type Effects struct {
	List []Effect
	// Kinds are those in List, Bytes is what the effects hold.
	Kinds EffectKind
	Bytes int
}

func (f *Effects) add(e Effect) {
	f.List = append(f.List, e)
	f.Kinds |= e.Kind
	f.Bytes += len(e.Key) + len(e.Value) + effectOverhead
	for _, a := range e.Args {
		f.Bytes += len(a) + 24
	}
}

// effectOverhead is what an Effect takes beside its bytes.
const effectOverhead = 160

// Listener is told what apply did, soon after it did it and with no lock of the store
// held: reads made then see at least these effects. The calls come from the goroutine
// that applies, in order, each after the Owner has got the chunks of the same slice;
// a listener must only enqueue.
type Listener interface{ Effects(f *Effects) }

// Listening is one listener's place.
type Listening struct {
	s    *Store
	to   Listener
	want atomic.Uint32
}

// listeners is how effects leave the store.
type listeners struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*Listening]
	// want is the union of what the listeners want. Apply loads it once per unit, under
	// the store's lock: a reader that takes the lock after Want returned sees only
	// states whose later changes are effects.
	want atomic.Uint32
}

// Listen registers a listener that wants nothing yet.
func (s *Store) Listen(to Listener) *Listening {
	l := &Listening{s: s, to: to}
	s.listeners.change(func(list []*Listening) []*Listening { return append(list, l) })
	return l
}

// Want sets the kinds of effects the listener is called for. It is cheap enough to be
// called with every change of mind, from any goroutine. A list may hold other kinds,
// too.
func (l *Listening) Want(kinds EffectKind) {
	if l.want.Swap(uint32(kinds)) != uint32(kinds) {
		l.s.listeners.change(func(list []*Listening) []*Listening { return list })
	}
}

// Close ends the calls, but for one that is under way.
func (l *Listening) Close() {
	l.s.listeners.change(func(list []*Listening) []*Listening {
		kept := list[:0]
		for _, other := range list {
			if other != l {
				kept = append(kept, other)
			}
		}
		return kept
	})
}

// change makes a new list: apply reads the old one without a lock.
func (ls *listeners) change(f func(list []*Listening) []*Listening) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var list []*Listening
	if old := ls.list.Load(); old != nil {
		list = append(list, *old...)
	}
	list = f(list)
	want := uint32(0)
	for _, l := range list {
		want |= l.want.Load()
	}
	ls.list.Store(&list)
	ls.want.Store(want)
}

func (ls *listeners) tell(f *Effects) {
	list := ls.list.Load()
	if list == nil {
		return
	}
	for _, l := range *list {
		if EffectKind(l.want.Load())&f.Kinds != 0 {
			l.to.Effects(f)
		}
	}
}

// Publication is a message to a channel, or to a shard channel.
type Publication struct {
	Shard   bool
	Channel []byte
	Message []byte
}

// Deliver tells the listeners of messages that are not in the log. The caller is the
// goroutine that applies, so that they stand in one order with the effects of
// entries. The bytes become the listeners'.
func (s *Store) Deliver(ps []Publication) {
	want := EffectKind(s.listeners.want.Load())
	if want&(EffectPublish|EffectShardPublish|EffectCommand) == 0 {
		return
	}
	f := &Effects{}
	for i := range ps {
		f.add(Effect{Kind: ps[i].kind(), DB: AllDatabases, Key: ps[i].Channel, Value: ps[i].Message})
		if want&EffectCommand != 0 { // of no entry: it is in no cut
			f.add(Effect{Kind: EffectCommand, DB: AllDatabases, Args: ps[i].command(), Index: math.MaxUint64})
		}
	}
	s.listeners.tell(f)
}

// command is the message as a replica is told of it.
func (p *Publication) command() [][]byte {
	if p.Shard {
		return [][]byte{[]byte("SPUBLISH"), p.Channel, p.Message}
	}
	return [][]byte{[]byte("PUBLISH"), p.Channel, p.Message}
}

func (p *Publication) kind() EffectKind {
	if p.Shard {
		return EffectShardPublish
	}
	return EffectPublish
}

// effectLog gathers the effects of the slice that is being applied; it is guarded by
// Store.applying.
type effectLog struct {
	want   EffectKind  // of the present unit
	notify NotifyFlags // of the present unit; 0 if events are not wanted
	origin Waiter
	index  uint64 // of the entry, and op of the operation, being executed
	op     int
	out    *Effects
	room   []byte // memory for the bytes; what was cut from it is never written again
	feed   feedLog
}

// begin loads what is wanted.
func (fx *effectLog) begin(s *Store, chunk *Chunk) {
	fx.want, fx.notify, fx.origin = EffectKind(s.listeners.want.Load()), 0, nil
	if fx.want == 0 {
		return
	}
	fx.feed.version = s.st.Settings.RedisVersion
	if f := s.st.Settings.notify(); fx.want&EffectEvent != 0 && f.enabled() {
		fx.notify = f
	}
	if chunk != nil {
		fx.origin = chunk.Waiter
	}
}

func (fx *effectLog) add(e Effect) {
	if fx.out == nil {
		fx.out = &Effects{}
	}
	e.Key, e.Value = fx.keep(e.Key), fx.keep(e.Value)
	if e.Origin = fx.origin; e.Kind != EffectCommand { // a fed command knows its entry
		e.Index, e.Op = fx.index, fx.op
	}
	fx.out.add(e)
}

// keep copies bytes of the entry or the arena.
func (fx *effectLog) keep(b []byte) []byte {
	const roomBytes = 4 << 10
	switch {
	case len(b) == 0:
		return nil
	case len(b) > roomBytes/4:
		return append([]byte(nil), b...)
	case len(fx.room)+len(b) > cap(fx.room):
		fx.room = make([]byte, 0, roomBytes)
	}
	at := len(fx.room)
	fx.room = append(fx.room, b...)
	return fx.room[at:len(fx.room):len(fx.room)]
}

// emit hands over what was gathered. No lock of the store is held.
func (s *Store) emit() {
	if f := s.fx.out; f != nil {
		s.fx.out, s.fx.room = nil, nil
		s.listeners.tell(f)
	}
}

// event records a keyspace event, if it is selected.
func (c *Ctx) event(event string, key []byte) {
	fx := &c.store.fx
	if fx.notify&notifyClass(event) != 0 {
		fx.add(Effect{Kind: EffectEvent, DB: c.db, Event: event, Notify: fx.notify & (NotifyKeyspace | NotifyKeyevent), Key: key})
	}
}

// flushed records that a database changed as a whole.
func (c *Ctx) flushed(db int) {
	if fx := &c.store.fx; fx.want&EffectFlush != 0 {
		fx.add(Effect{Kind: EffectFlush, DB: db})
	}
}
