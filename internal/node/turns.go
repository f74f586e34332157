package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// turns is the monitor around the loop. Whoever brings news runs the turn it causes
// on its own goroutine, unless somebody is in a turn, who then takes the news along:
// a batch travels from the client's socket to the peers', or from a peer's frame to
// the state machine, without waking a goroutine in between (docs/adr/0013).
type turns struct {
	mu   sync.Mutex
	l    *loop // nil before start, and for ever in steps: there the host turns
	last time.Time
	over bool
	// leads is the core's role after the last turn, for those outside.
	leads atomic.Bool
}

// maxHelp bounds the batches of one pump: a reader has a socket to read from.
const maxHelp = 8

// pump makes everything that was put into the inbox happen: turns as long as there is
// news, then the state machine's and the disk's next batch. A brief batch for the
// state machine the caller applies itself; one for the disk only if it maySync, that
// is, if nothing but the disk's own work waits behind it. Otherwise pump computes and
// does not block.
func (n *Node) pump(maySync bool) {
	if n.turns.l == nil {
		return
	}
	for range maxHelp {
		n.takeTurns(false)
		if !n.dispatch(maySync) {
			return
		}
	}
	n.takeTurns(false)
	n.syncer.kick()
	n.applier.kick()
}

// maxTurns bounds the turns one caller runs in a row: an event loop has clients of its
// own, however much the other nodes have to tell.
const maxTurns = 8

// takeTurns runs turns until there is no news, or somebody else runs them, or it is the
// clock's goroutine's turn to. Whoever put
// news and found the monitor taken can go: its holder looks again after letting go.
func (n *Node) takeTurns(ticked bool) {
	t := &n.turns
	for turns := 0; ticked || n.inbox.dirty.Load(); turns++ {
		if turns == maxTurns {
			n.inbox.signal()
			return
		}
		if ticked {
			t.mu.Lock()
		} else if !t.mu.TryLock() {
			return
		}
		over := t.over
		if !over {
			t.last = n.turn(t.l, ticked, t.last)
			t.leads.Store(t.l.core.Role() == raftcore.Leader)
			n.peers.Flush()
		}
		t.mu.Unlock()
		if over {
			return
		}
		ticked = false
	}
}

// dispatch sees to the batches that nobody has begun, and reports whether it performed
// one itself.
//
// A follower's reader syncs what it received: its leader has nothing to say that is
// not behind those bytes anyway. A leader's readers go on to what others wait for.
func (n *Node) dispatch(maySync bool) bool {
	if !maySync || n.turns.leads.Load() {
		n.syncer.kick()
	} else if n.syncer.help() {
		return true
	}
	if n.applier.help() {
		return true
	}
	n.applier.kick()
	return false
}

// Flush makes what Propose, ReadBarrier and Tick were given take effect now. It runs
// the node's decisions on the caller's goroutine; it waits for no disk, network or
// long command.
func (n *Node) Flush() { n.pump(false) }

// Release lets the units go that wait for the clients that were just answered; see
// resp.Backend. Flush makes them leave.
func (n *Node) Release() {
	if l := n.turns.l; l != nil && l.gather.holding.Load() && l.gather.release() {
		n.inbox.add(func(*input) {}) // units wait for this: a turn
	}
}
