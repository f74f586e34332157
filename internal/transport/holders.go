package transport

import (
	"io"
	"sync"
)

// holders remembers, per raft identity, the latest boot seen and which process
// holds it, to notice a data directory that was copied or rolled back: two
// nodes with one identity could vote twice in a term.
type holders struct {
	mu    sync.Mutex
	known map[raftID]*holder
}

type holder struct {
	boot   uint64
	number [16]byte
	conns  map[*tenancy]struct{} // live connections from and to it
}

// tenancy is one live connection of an identity. It is a pointer of its own
// because a net.Conn need not be comparable.
type tenancy struct {
	id   raftID
	conn io.Closer
}

// maxHolders bounds the memory; only who proved the secret adds to it.
const maxHolders = 4096

// enter records a live connection of p, or says why p must be refused. A later
// boot ends the connections of the earlier one. Whoever entered must leave.
func (h *holders) enter(p *party, conn io.Closer) (*tenancy, Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := raftID{p.Node, p.Incarnation}
	c := &tenancy{id, conn}
	known := h.known[id]
	switch {
	case known == nil:
		h.makeRoom()
	case p.Boot < known.boot:
		return nil, ReasonOldBoot
	case p.Boot == known.boot && p.Holder == known.number:
		known.conns[c] = struct{}{}
		return c, ReasonNone
	case p.Boot == known.boot && len(known.conns) > 0:
		return nil, ReasonSecondHolder
	default:
		for old := range known.conns {
			old.conn.Close()
		}
	}
	h.known[id] = &holder{p.Boot, p.Holder, map[*tenancy]struct{}{c: {}}}
	return c, ReasonNone
}

// leave forgets the connection, but not the boot.
func (h *holders) leave(c *tenancy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.known[c.id]; known != nil {
		delete(known.conns, c)
	}
}

// makeRoom forgets identities without connections when there are too many.
func (h *holders) makeRoom() {
	if len(h.known) < maxHolders {
		return
	}
	for id, known := range h.known {
		if len(known.conns) == 0 {
			delete(h.known, id)
		}
	}
}
