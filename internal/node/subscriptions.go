package node

import (
	"sync"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// subscriptions is how many clients of each node listen to what, as far as this node
// knows (docs/adr/0011). The loop writes; commands and apply read.
type subscriptions struct {
	mu    sync.RWMutex
	nodes map[raftcore.NodeID]map[subscriptionKey]int
	total [kv.SubscriptionKinds]map[string]int // of all nodes; no zeros
}

type subscriptionKey struct {
	kind kv.SubscriptionKind
	name string
}

func newSubscriptions() *subscriptions {
	s := &subscriptions{nodes: make(map[raftcore.NodeID]map[subscriptionKey]int)}
	for i := range s.total {
		s.total[i] = make(map[string]int)
	}
	return s
}

// set makes count the number of node's clients that listen.
func (s *subscriptions) set(node raftcore.NodeID, list []kv.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.nodes[node]
	if own == nil {
		own = make(map[subscriptionKey]int)
		s.nodes[node] = own
	}
	for _, x := range list {
		if x.Kind >= kv.SubscriptionKinds || x.Count < 0 {
			continue
		}
		key := subscriptionKey{x.Kind, x.Name}
		s.add(key, x.Count-own[key])
		if x.Count == 0 {
			delete(own, key)
		} else {
			own[key] = x.Count
		}
	}
}

func (s *subscriptions) add(key subscriptionKey, n int) {
	if total := s.total[key.kind]; total[key.name]+n > 0 {
		total[key.name] += n
	} else {
		delete(total, key.name)
	}
}

// drop forgets a node.
func (s *subscriptions) drop(node raftcore.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.nodes[node] {
		s.add(key, -n)
	}
	delete(s.nodes, node)
}

// of is a copy of what a node's clients listen to.
func (s *subscriptions) of(node raftcore.NodeID) map[subscriptionKey]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make(map[subscriptionKey]int, len(s.nodes[node]))
	for key, n := range s.nodes[node] {
		list[key] = n
	}
	return list
}

func (s *subscriptions) count(node raftcore.NodeID, key subscriptionKey) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.nodes[node][key]
}

// receivers is how many clients hear a message: one that listens to the channel and
// to a pattern hears it twice and counts twice, as in Redis.
func (s *subscriptions) receivers(shard bool, channel []byte) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if shard {
		return s.total[kv.SubscribeShard][string(channel)]
	}
	n := s.total[kv.SubscribeChannel][string(channel)]
	for pattern, count := range s.total[kv.SubscribePattern] {
		if kv.MatchGlob([]byte(pattern), channel, false) {
			n += count
		}
	}
	return n
}

// Subscribers is how many clients of the cluster listen to a name.
func (n *Node) Subscribers(kind kv.SubscriptionKind, name string) int {
	s := n.subs
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.total[kind][name]
}

// Subscriptions lists the names of a kind that clients of the cluster listen to.
func (n *Node) Subscriptions(kind kv.SubscriptionKind) []string {
	s := n.subs
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.total[kind]))
	for name := range s.total[kind] {
		names = append(names, name)
	}
	return names
}

// SubscriptionCount is how many names of a kind clients of the cluster listen to.
func (n *Node) SubscriptionCount(kind kv.SubscriptionKind) int {
	n.subs.mu.RLock()
	defer n.subs.mu.RUnlock()
	return len(n.subs.total[kind])
}
