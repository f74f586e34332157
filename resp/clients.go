package resp

import (
	"sort"
	"sync"
	"sync/atomic"
)

// clientTable is every connection of the node by id.
type clientTable struct {
	base uint64
	last atomic.Uint64
	n    atomic.Int64

	mu   sync.Mutex
	byID map[uint64]*client
}

// client is a connection as other connections see it: the session for reading what
// it published, kill for ending it.
type client struct {
	s    *session
	kill func(after bool)
	// onLoop runs fn on the loop the session belongs to, if the client is still there.
	onLoop func(fn func())
	// endWaitSoon ends its wait in a blocking command; false if it is gone, and done is
	// not called.
	endWaitSoon func(how string, done func(ended bool, err error)) bool
	// push sends bytes that are not a reply, from any goroutine (MONITOR).
	push func(b []byte)
}

// init makes ids unique in the cluster: the node's id, then a counter. They stay
// below 2^53 for node ids below 8192, so that JSON and Lua keep them exact.
func (t *clientTable) init(node uint64) {
	t.base = node << 40
	t.byID = make(map[uint64]*client)
}

// clientNode is the node that gave out the id.
func clientNode(id uint64) uint64 { return id >> 40 }

func (t *clientTable) nextID() uint64 { return t.base | t.last.Add(1)&(1<<40-1) }

func (t *clientTable) add(c *client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[c.s.id] = c
	t.n.Store(int64(len(t.byID)))
}

func (t *clientTable) remove(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
	t.n.Store(int64(len(t.byID)))
}

// get finds a client; nil if it is not there.
func (t *clientTable) get(id uint64) *client {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

func (t *clientTable) count() int { return int(t.n.Load()) }

// all returns the clients by id.
func (t *clientTable) all() []*client {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*client, 0, len(t.byID))
	for _, c := range t.byID {
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].s.id < list[j].s.id })
	return list
}
