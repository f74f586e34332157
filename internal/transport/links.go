package transport

import (
	"sync"

	"github.com/rkvdb/rkv/raftcore"
)

// links knows which peers have control connections in both directions and
// reports every change of that, in order: the lock is held across the report,
// which is why PeerChanged must not call the Transport.
type links struct {
	mu     sync.Mutex
	report func(id raftcore.NodeID, up bool)
	peers  map[raftcore.NodeID]*link
	closed bool
}

// link names the connections it counts, so that the end of one that was already
// replaced changes nothing.
type link struct {
	out *lane
	in  *incoming
	up  bool
}

func (l *links) outgoingUp(id raftcore.NodeID, by *lane) {
	l.change(id, func(k *link) { k.out = by })
}

func (l *links) outgoingDown(id raftcore.NodeID, by *lane) {
	l.change(id, func(k *link) {
		if k.out == by {
			k.out = nil
		}
	})
}

func (l *links) incomingUp(id raftcore.NodeID, by *incoming) {
	l.change(id, func(k *link) { k.in = by })
}

func (l *links) incomingDown(id raftcore.NodeID, by *incoming) {
	l.change(id, func(k *link) {
		if k.in == by {
			k.in = nil
		}
	})
}

func (l *links) change(id raftcore.NodeID, set func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[id]
	if k == nil {
		k = &link{}
		l.peers[id] = k
	}
	set(k)
	if up := k.out != nil && k.in != nil; up != k.up {
		k.up = up
		if !l.closed {
			l.report(id, up)
		}
	}
	if *k == (link{}) {
		delete(l.peers, id)
	}
}

func (l *links) isUp(id raftcore.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[id]
	return k != nil && k.up
}

// close silences all further reports.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
