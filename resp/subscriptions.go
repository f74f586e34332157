package resp

import (
	"slices"
	"strings"
	"sync"

	"github.com/rkvdb/rkv/kv"
)

// subscriptions counts what the clients of all event loops listen to, tells the
// cluster, and tells the store which effects are wanted.
type subscriptions struct {
	srv *Server
	to  *kv.Listening

	mu    sync.Mutex
	count [kv.SubscriptionKinds]map[string]int
	// keyChannels are the channels among them that keyspace events may go to.
	keyChannels int
	trackers    int // sessions that track keys
	clients     int // sessions that listen to anything
}

func (t *subscriptions) init(s *Server) {
	t.srv = s
	for i := range t.count {
		t.count[i] = make(map[string]int)
	}
	t.to = s.backend.Store().Listen(s)
}

// change adds delta listeners to each name and tells the cluster; done is Announce's.
// The cluster is told under the lock: absolute numbers must not overtake each other.
func (t *subscriptions) change(kind kv.SubscriptionKind, names []string, delta int, done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]kv.Subscription, 0, len(names))
	for _, name := range names {
		n := t.count[kind][name] + delta
		if n > 0 {
			t.count[kind][name] = n
		} else {
			delete(t.count[kind], name)
		}
		if kind == kv.SubscribeChannel && strings.HasPrefix(name, "__key") {
			t.keyChannels += delta
		}
		list = append(list, kv.Subscription{Kind: kind, Name: name, Count: n})
	}
	t.tell()
	t.srv.backend.Announce(list, done)
}

// track notes that a session began (1) or ceased (-1) to track keys.
func (t *subscriptions) track(delta int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trackers += delta
	t.tell()
}

// listens notes that a session began or ceased to listen.
func (t *subscriptions) listens(delta int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients += delta
}

// numbers are the sessions that track and that listen.
func (t *subscriptions) numbers() (trackers, clients int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trackers, t.clients
}

func (t *subscriptions) tell() {
	var want kv.EffectKind
	patterns := len(t.count[kv.SubscribePattern]) > 0
	if patterns || len(t.count[kv.SubscribeChannel]) > 0 {
		want |= kv.EffectPublish
	}
	if patterns || t.keyChannels > 0 {
		want |= kv.EffectEvent
	}
	if len(t.count[kv.SubscribeShard]) > 0 {
		want |= kv.EffectShardPublish
	}
	if t.trackers > 0 {
		want |= kv.EffectKey | kv.EffectFlush
	}
	t.to.Want(want)
}

// maxLateEffects bounds the effects that wait for one loop, in bytes. A loop that lags
// behind apply so far loses messages, and its clients' caches are emptied.
const maxLateEffects = 64 << 20

// Effects implements kv.Listener.
func (s *Server) Effects(f *kv.Effects) {
	for _, l := range s.loops {
		if l.late.Add(int64(f.Bytes)) > maxLateEffects {
			l.late.Add(-int64(f.Bytes))
			if !l.lost.Swap(true) {
				l.post(l.effectsLost)
			}
			continue
		}
		l.push(event{fx: f})
	}
}

func (l *loop) effects(f *kv.Effects) {
	l.late.Add(-int64(f.Bytes))
	l.hub.effects(f)
}

func (l *loop) effectsLost() {
	l.lost.Store(false)
	l.srv.stats.effectsLost.Add(1)
	l.srv.log.Warn("an event loop is too far behind: messages were dropped, client-side caches emptied")
	l.hub.tracking.flushed()
}

// subscribed reports whether the session listens to anything: in RESP2 it then may
// execute only a few commands.
func (s *session) subscribed() bool {
	for i := range s.subs {
		if len(s.subs[i]) > 0 {
			return true
		}
	}
	return false
}

// joining is a SUBSCRIBE that is not confirmed yet: the cluster counts it already.
type joining struct {
	kind  kv.SubscriptionKind
	names []string
}

// fresh are the names the session does not listen to yet, each once.
func (s *session) fresh(kind kv.SubscriptionKind, names []string) (list []string) {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if _, ok := s.subs[kind][name]; !ok && !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}

func (s *session) join(kind kv.SubscriptionKind, name string) {
	if _, ok := s.subs[kind][name]; ok {
		return
	}
	if !s.subscribed() {
		s.srv.subs.listens(1)
	}
	s.hub().join(s, kind, name)
}

// leave ends the listening to names, of which the session may not listen to all.
func (s *session) leave(kind kv.SubscriptionKind, names []string) {
	var gone []string
	for _, name := range names {
		if _, ok := s.subs[kind][name]; ok {
			s.hub().leave(s, kind, name)
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return
	}
	if !s.subscribed() {
		s.srv.subs.listens(-1)
	}
	s.subscriptionsChanged(kind, gone, -1, nil)
}

// leaveAll ends everything: the client is gone, or RESET.
func (s *session) leaveAll() {
	for kind := range s.subs {
		s.leave(kv.SubscriptionKind(kind), s.listensTo(kv.SubscriptionKind(kind)))
	}
	if j := s.joining; j != nil {
		s.joining = nil
		s.subscriptionsChanged(j.kind, j.names, -1, nil)
	}
	s.stopTracking()
	s.stopMaint()
}

// listensTo lists the names of a kind in order.
func (s *session) listensTo(kind kv.SubscriptionKind) []string {
	names := make([]string, 0, len(s.subs[kind]))
	for name := range s.subs[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// hub is the loop's.
func (s *session) hub() *hub {
	if s.listensAt == nil {
		s.listensAt = newHub(s.srv)
	}
	return s.listensAt
}

// publishListening copies what others may see of subscriptions and tracking.
func (s *session) publishListening(v *visible) {
	for i := range s.subs {
		v.subs[i] = len(s.subs[i])
	}
	v.redir, v.tracking = s.redirection(), ""
	if t := s.track; t != nil {
		v.tracking = "t"
		if t.broken {
			v.tracking += "R"
		}
		if t.bcast {
			v.tracking += "B"
		}
	}
}
