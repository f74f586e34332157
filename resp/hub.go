package resp

import (
	"strconv"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// hub is what the clients of one event loop listen to: it turns effects of apply into
// pushes (docs/adr/0011). It belongs to the loop.
type hub struct {
	audiences [kv.SubscriptionKinds]map[string]*audience
	tracking  tracking
	scratch   []byte
}

// audience are the sessions that listen to one name; each knows its place.
type audience struct{ list []*session }

func newHub(s *Server) *hub {
	h := &hub{}
	for i := range h.audiences {
		h.audiences[i] = make(map[string]*audience)
	}
	h.tracking.init(s)
	return h
}

func (h *hub) join(s *session, kind kv.SubscriptionKind, name string) {
	a := h.audiences[kind][name]
	if a == nil {
		a = &audience{}
		h.audiences[kind][name] = a
	}
	if s.subs[kind] == nil {
		s.subs[kind] = make(map[string]int)
	}
	s.subs[kind][name] = len(a.list)
	a.list = append(a.list, s)
}

func (h *hub) leave(s *session, kind kv.SubscriptionKind, name string) {
	a, at := h.audiences[kind][name], s.subs[kind][name]
	last := a.list[len(a.list)-1]
	a.list[at] = last
	last.subs[kind][name] = at
	a.list[len(a.list)-1] = nil
	a.list = a.list[:len(a.list)-1]
	delete(s.subs[kind], name)
	if len(a.list) == 0 {
		delete(h.audiences[kind], name)
	}
}

// effects pushes what a run of effects means to the loop's clients.
func (h *hub) effects(f *kv.Effects) {
	for i := range f.List {
		switch e := &f.List[i]; e.Kind {
		case kv.EffectPublish:
			h.publish(e.Key, e.Value)
		case kv.EffectShardPublish:
			if a := h.audiences[kv.SubscribeShard][string(e.Key)]; a != nil {
				a.push(literal("smessage"), e.Key, e.Value)
			}
		case kv.EffectEvent:
			h.event(e)
		case kv.EffectKey:
			h.tracking.modified(e)
		case kv.EffectFlush:
			h.tracking.flushed()
		}
	}
	h.tracking.broadcast()
}

// publish pushes a message to those who listen to its channel, then to those whose
// pattern matches.
func (h *hub) publish(channel, message []byte) {
	if a := h.audiences[kv.SubscribeChannel][string(channel)]; a != nil {
		a.push(literal("message"), channel, message)
	}
	for pattern, a := range h.audiences[kv.SubscribePattern] {
		if kv.MatchGlob([]byte(pattern), channel, false) {
			a.push(literal("pmessage"), []byte(pattern), channel, message)
		}
	}
}

// event publishes a keyspace event on its one or two channels.
func (h *hub) event(e *kv.Effect) {
	for _, p := range keyspacePublications(h.scratch[:0], e.DB, e.Notify, e.Event, e.Key) {
		h.publish(p.Channel, p.Message)
	}
}

// keyspacePublications are the messages by which Redis tells of an event.
func keyspacePublications(dst []byte, db int, to kv.NotifyFlags, event string, key []byte) (ps []kv.Publication) {
	if to&kv.NotifyKeyspace != 0 {
		dst = append(dst, "__keyspace@"...)
		dst = append(strconv.AppendInt(dst, int64(db), 10), "__:"...)
		dst = append(dst, key...)
		ps = append(ps, kv.Publication{Channel: dst, Message: literal(event)})
	}
	if to&kv.NotifyKeyevent != 0 {
		channel := append([]byte("__keyevent@"), strconv.Itoa(db)...)
		channel = append(append(channel, "__:"...), event...)
		ps = append(ps, kv.Publication{Channel: channel, Message: key})
	}
	return ps
}

func literal(s string) []byte { return []byte(s) }

// push sends one push to everybody; it is rendered once for each protocol.
func (a *audience) push(parts ...[]byte) {
	var rendered [resp3 + 1][]byte
	for _, s := range a.list {
		b := rendered[s.proto]
		if b == nil {
			b = appendPush(nil, s.proto, len(parts))
			for _, p := range parts {
				b = redcon.AppendBulk(b, p)
			}
			rendered[s.proto] = b
		}
		s.push(b)
	}
}

// appendPush announces a push of n values; in RESP2 it is an array.
func appendPush(dst []byte, proto, n int) []byte {
	if proto == resp3 {
		return appendHead(dst, '>', n)
	}
	return redcon.AppendArray(dst, n)
}

// push appends what no command of the session asked for. It stands between two
// replies, for replies are rendered whole.
func (s *session) push(b []byte) {
	if s.closing {
		return
	}
	s.out = append(s.out, b...)
	if s.pushed != nil {
		s.pushed()
	}
}
