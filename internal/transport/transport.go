package transport

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/raftcore"
)

// ErrUnknownPeer is returned for a node that SetPeers did not name.
var ErrUnknownPeer = errors.New("transport: unknown peer")

// Transport is one node's end of all its peer connections.
type Transport struct {
	opts     Options
	holder   [16]byte // tells this process from another with the same identity
	past     past
	listener net.Listener

	snapshotPace snapshotPace // of all outgoing streams

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the package

	// peers is replaced whole by SetPeers, under mu, so that Send takes no lock
	// to find a lane.
	peers atomic.Pointer[map[raftcore.NodeID]*peerLanes]

	mu       sync.Mutex
	started  bool
	closed   bool
	accepted map[net.Conn]struct{} // every accepted connection, for Close
	incoming map[incomingKey]*incoming
	pending  int // of accepted: not yet through the handshake
	calls    int // of accepted: calls
	turns    atomic.Uint64

	holders  holders
	links    links
	quiet    quietLog
	counters counters
}

// peerLanes is what there is of one peer of SetPeers.
type peerLanes struct {
	peer          Peer
	control, bulk *lane
}

// New checks opts and binds the listener, so a taken port is known at once. It
// answers nobody before Start.
func New(opts Options) (*Transport, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if err := checkListen(opts.Listen, opts.Secret); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: binding the peer port: %w", err)
	}
	t := &Transport{
		opts:     opts,
		listener: listener,
		accepted: make(map[net.Conn]struct{}),
		incoming: make(map[incomingKey]*incoming),
		holders:  holders{known: make(map[raftID]*holder)},
		links:    links{report: opts.Handler.PeerChanged, peers: make(map[raftcore.NodeID]*link)},
		quiet:    quietLog{log: opts.Logger, seen: make(map[string]*complaint)},
	}
	rand.Read(t.holder[:])
	if opts.Life != 0 {
		binary.LittleEndian.PutUint64(t.holder[:], opts.Life)
	}
	t.past = past{opts.Secret, opts.Acquaintances, opts.LifeAt}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.peers.Store(&map[raftcore.NodeID]*peerLanes{})
	return t, nil
}

// checkListen refuses to serve strangers: without a secret anybody who reaches
// the port could vote.
func checkListen(addr string, secret []byte) error {
	if len(secret) > 0 {
		return nil
	}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return fmt.Errorf("transport: peer address: %w", err)
	}
	if !resolved.IP.IsLoopback() {
		return fmt.Errorf("transport: refusing to listen for peers on %s without a cluster secret: set one (--cluster-secret-file) or use a loopback address", addr)
	}
	return nil
}

// party is who this process says it is now.
func (t *Transport) party() party {
	return party{t.opts.Identity(), t.holder}
}

// Start begins to accept peers.
func (t *Transport) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.closed {
		return
	}
	t.started = true
	t.wg.Add(1)
	go t.accept()
}

// Close ends every connection and waits until all goroutines are gone,
// including Handler calls that are running. No Handler call begins afterwards.
// Calls and snapshots under way return an error.
func (t *Transport) Close() error {
	t.links.close()
	t.mu.Lock()
	t.closed = true
	t.cancel()
	err := t.listener.Close()
	for conn := range t.accepted {
		conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // closed twice
	}
	return err
}

// Addr is the address the listener is bound to.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetPeers makes ps the peers to stay connected to: new ones are dialed and
// redialed until they answer, missing ones are dropped, and one whose address
// or incarnation changed is dropped and dialed anew. This node itself is
// skipped. It does not block.
//
// A peer whose incarnation is named here is also refused under any other when it
// dials us, since replies and votes are counted by node id alone. So a node that
// was away while a member was replaced under the same id, and whose membership
// is therefore old, does not hear the new one until another member tells it;
// should the new one be the leader, leadership must move once. Replacing a
// member under a new id avoids this.
func (t *Transport) SetPeers(ps []Peer) {
	self := t.opts.Identity().Node
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	old := *t.peers.Load()
	next := make(map[raftcore.NodeID]*peerLanes, len(ps))
	for _, p := range ps {
		if p.ID == self || p.ID == 0 || next[p.ID] != nil {
			continue
		}
		if lanes := old[p.ID]; lanes != nil && lanes.peer == p {
			next[p.ID] = lanes
			continue
		}
		next[p.ID] = t.startLanes(p)
	}
	t.peers.Store(&next)
	for id, lanes := range old {
		if next[id] != lanes {
			lanes.control.cancel()
			lanes.bulk.cancel()
		}
	}
	for key, in := range t.incoming {
		if lanes := next[key.node]; lanes != nil && !lanes.accepts(&in.peer) {
			in.conn.Close()
		}
	}
}

func (t *Transport) startLanes(p Peer) *peerLanes {
	lanes := &peerLanes{
		peer:    p,
		control: newLane(t, laneControl, p, t.opts.ControlQueueBytes),
		bulk:    newLane(t, laneBulk, p, t.opts.BulkQueueBytes),
	}
	t.wg.Add(2)
	go lanes.control.run()
	go lanes.bulk.run()
	return lanes
}

// accepts reports whether p may be this peer.
func (l *peerLanes) accepts(p *party) bool {
	return raftID{l.peer.ID, l.peer.Incarnation}.fits(p)
}

// lanes returns the lanes to a peer, or nil.
func (t *Transport) lanes(id raftcore.NodeID) *peerLanes { return (*t.peers.Load())[id] }

// Send queues messages for the peers they are addressed to and returns at once;
// Flush writes them.
// What cannot be queued (peer unknown or not connected, queue full) is dropped
// and counted. From and Clock are filled in here, in the wire's copy. Entry
// bodies are shared with the caller until written: nobody may write to them.
// Messages to one peer must come from one goroutine at a time if their order is
// to mean anything.
func (t *Transport) Send(ms []raftcore.Message) {
	var clock int64
	var self raftcore.NodeID
	if len(ms) > 0 {
		clock, self = t.opts.Clock(), t.opts.Identity().Node
	}
	peers := *t.peers.Load()
	for i := range ms {
		m := ms[i]
		m.From, m.Clock = self, clock
		t.sendOne(peers[m.To], &m)
	}
}

func (t *Transport) sendOne(lanes *peerLanes, m *raftcore.Message) {
	if lanes != nil && lanes.of(m.Type).message(m) {
		return
	}
	if Bulk(m.Type) {
		t.counters.droppedBulk.Add(1)
	} else {
		t.counters.droppedControl.Add(1)
	}
}

// Bulk tells which messages go the way of bulk data, where they wait for what is in
// front of them. All others have a connection of their own (see the package comment).
func Bulk(typ raftcore.MessageType) bool { return typ == raftcore.MsgAppend }

// of is the lane for a type of message.
func (l *peerLanes) of(typ raftcore.MessageType) *lane {
	if Bulk(typ) {
		return l.bulk
	}
	return l.control
}

// SendUnits queues units, in order and all or none. False means that definitely
// none was sent. True promises nothing: the connection may break later. The
// bytes are shared until written.
func (t *Transport) SendUnits(to raftcore.NodeID, us []Unit) bool {
	lanes := t.lanes(to)
	if lanes == nil || !lanes.bulk.units(us) {
		t.counters.refusedUnits.Add(uint64(len(us)))
		return false
	}
	return true
}

// Flush writes what was queued: at once as far as the sockets take it, the rest later
// from the lanes' own goroutines. It never blocks.
func (t *Transport) Flush() {
	for _, lanes := range *t.peers.Load() {
		lanes.control.flush()
		lanes.bulk.flush()
	}
}

// SendRefused tells the origin that this node could not take its units. It may
// be lost; the origin's patience covers that (docs/adr/0007).
func (t *Transport) SendRefused(to raftcore.NodeID, seqs []uint64) {
	if lanes := t.lanes(to); lanes != nil {
		lanes.bulk.refused(seqs)
	}
}

// Stats is a copy of the counters and of the peers' states.
func (t *Transport) Stats() Stats {
	s := t.counters.copy()
	for id, lanes := range *t.peers.Load() {
		p := PeerStats{ID: id, Up: t.links.isUp(id)}
		p.ControlUp, p.ControlQueue, p.LastError = lanes.control.status()
		var bulkErr string
		if p.BulkUp, p.BulkQueue, bulkErr = lanes.bulk.status(); p.LastError == "" {
			p.LastError = bulkErr
		}
		s.Peers = append(s.Peers, p)
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// newDice is a private source of jitter: the global one is shared with, and
// seedable by, anybody.
func newDice() *mathrand.Rand {
	var seed [16]byte
	rand.Read(seed[:])
	return mathrand.New(mathrand.NewPCG(
		binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}
