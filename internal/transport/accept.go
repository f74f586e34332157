package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

const (
	// maxPending bounds connections that have not proved the secret: more than
	// any cluster's reconnecting needs, few enough that a flood costs little.
	maxPending = 128
	// maxCalls bounds calls being served.
	maxCalls = 64
)

// incomingKey: a peer has one connection per lane; a new one replaces the old,
// whose other end may have vanished without a word.
type incomingKey struct {
	node raftcore.NodeID
	lane laneKind
}

// incoming is one accepted connection of a known node.
type incoming struct {
	t    *Transport
	key  incomingKey
	peer party
	self raftcore.NodeID
	conn net.Conn
	turn uint64        // order of admission among all connections
	done chan struct{} // closed when nothing more will be handed to the Handler
}

// accept runs until the listener is closed.
func (t *Transport) accept() {
	defer t.wg.Done()
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, as a rule: trying again at once would spin.
			t.quiet.warn("accepting peers failed", "", "err", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-t.ctx.Done():
			}
			continue
		}
		if !t.track(conn) {
			conn.Close()
			t.counters.rejected[ReasonBusy].Add(1)
			continue
		}
		go t.receive(conn)
	}
}

// track counts conn in for Close, unless there are too many strangers.
func (t *Transport) track(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.pending >= maxPending {
		return false
	}
	t.pending++
	t.accepted[conn] = struct{}{}
	t.wg.Add(1)
	return true
}

// receive shakes hands on conn and serves it until it ends.
func (t *Transport) receive(conn net.Conn) {
	defer t.wg.Done()
	defer func() {
		conn.Close()
		t.mu.Lock()
		delete(t.accepted, conn)
		t.mu.Unlock()
	}()
	in := &incoming{t: t, conn: conn, done: make(chan struct{})}
	tenant, err := in.greet()
	t.mu.Lock()
	t.pending--
	t.mu.Unlock()
	if err != nil {
		t.noteRejection(conn, &in.peer, err)
		return
	}
	t.counters.accepted.Add(1)
	if in.key.lane == laneCall {
		t.serveCall(conn)
		t.mu.Lock()
		t.calls--
		t.mu.Unlock()
		return
	}
	defer t.holders.leave(tenant)
	if !in.enter() {
		return
	}
	defer in.leave()
	if in.key.lane == laneSnapshot {
		in.receiveSnapshot()
		return
	}
	in.read()
}

// greet is the acceptor's handshake.
func (in *incoming) greet() (tenant *tenancy, err error) {
	if err := in.t.prepare(in.conn, in.t.opts.WriteTimeout); err != nil {
		return nil, err
	}
	me := in.t.party()
	h, err := acceptHandshake(in.conn, &in.t.past, &me, func(h *hello) (reason Reason) {
		in.turn = in.t.turns.Add(1)
		tenant, reason = in.t.admit(h, &me, in.conn)
		return reason
	})
	in.key, in.peer, in.self = incomingKey{h.from.Node, h.lane}, h.from, me.Node
	if err == nil {
		err = in.conn.SetDeadline(time.Time{})
	}
	if err != nil && tenant != nil { // admitted, but the verdict could not be sent
		in.t.holders.leave(tenant)
	}
	return tenant, err
}

// admit judges a dialer that proved the secret.
func (t *Transport) admit(h *hello, me *party, conn net.Conn) (*tenancy, Reason) {
	from := &h.from
	if h.lane == laneCall {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.calls >= maxCalls {
			return nil, ReasonBusy
		}
		t.calls++
		return nil, ReasonNone
	}
	switch {
	case differ(from.ClusterID, me.ClusterID):
		return nil, ReasonCluster
	case h.expect.node == 0 || !h.expect.fits(me):
		return nil, ReasonReceiver
	case from.Node == me.Node && from.Incarnation == me.Incarnation:
		return nil, ReasonSecondHolder
	case from.Node == me.Node || from.Node == 0:
		return nil, ReasonSender
	}
	if lanes := t.lanes(from.Node); lanes != nil && !lanes.accepts(from) {
		return nil, ReasonSender
	}
	return t.welcome(from, h.asked, h.then, conn)
}

func (t *Transport) noteRejection(conn net.Conn, peer *party, err error) {
	if t.ctx.Err() != nil {
		return
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		t.counters.rejected[refused.Reason].Add(1)
		t.quiet.warn("refused a peer connection", refused.Reason.String(), "from", conn.RemoteAddr().String(),
			"claims", peer.Node, "incarnation", peer.Incarnation, "boot", peer.Boot, "reason", refused.Reason.String())
		return
	}
	t.counters.garbage.Add(1)
	t.quiet.warn("closed a connection to the peer port", "", "from", conn.RemoteAddr().String(), "err", err)
}

// enter makes in the connection of its peer and lane, in place of an older one,
// and waits until that one's last delivery is over, so order is kept.
func (in *incoming) enter() bool {
	t := in.t
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return false
	}
	old := t.incoming[in.key]
	if old != nil && old.turn > in.turn {
		// The peer dialed twice and we were slow with the first: it means the second.
		t.mu.Unlock()
		return false
	}
	t.incoming[in.key] = in
	lanes := t.lanes(in.key.node)
	stale := lanes != nil && !lanes.accepts(&in.peer) // SetPeers came in between
	t.mu.Unlock()
	if stale {
		in.conn.Close()
	}
	if old != nil {
		old.conn.Close()
		select {
		case <-old.done:
		case <-t.ctx.Done():
		}
	}
	if in.key.lane == laneControl {
		t.links.incomingUp(in.key.node, in)
	}
	if lanes != nil {
		signal(lanes.control.nudge)
		signal(lanes.bulk.nudge)
	}
	return true
}

func (in *incoming) leave() {
	t := in.t
	if in.key.lane == laneControl {
		t.links.incomingDown(in.key.node, in)
	}
	t.mu.Lock()
	if t.incoming[in.key] == in {
		delete(t.incoming, in.key)
	}
	t.mu.Unlock()
	close(in.done)
}

// countingReader counts received bytes.
type countingReader struct {
	src io.Reader
	c   *counters
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.c.bytesIn.Add(uint64(n))
	return n, err
}

// read serves a control or bulk lane until it ends.
func (in *incoming) read() {
	t := in.t
	r := newFrameReader(countingReader{in.conn, &t.counters}, t.opts.MaxFrameBytes)
	b := burst{to: t.opts.Handler, from: in.key.node}
	for {
		f, err := r.next()
		if err == nil {
			t.counters.framesIn.Add(1)
			err = in.accumulate(&b, f)
		}
		if err != nil {
			b.deliver() // what was whole is valid
			in.ended(err)
			return
		}
		if !r.ready() {
			b.deliver()
		}
	}
}

// ended reports why a connection was closed, unless that is everyday life.
func (in *incoming) ended(err error) {
	if !errors.Is(err, errFrame) {
		return // the peer hung up, or we did; its return is reported by PeerChanged
	}
	in.t.counters.badFrames.Add(1)
	in.t.quiet.warn("closed a peer connection", fmt.Sprint(in.key.node), "peer", in.key.node,
		"lane", in.key.lane.String(), "from", in.conn.RemoteAddr().String(), "err", err)
}

// accumulate decodes f into b.
func (in *incoming) accumulate(b *burst, f frame) error {
	switch {
	case f.kind == kindMessage:
		m, err := decodeVerified(f)
		if err != nil {
			return err
		}
		if m.From != in.key.node || m.To != in.self {
			return fmt.Errorf("%w: message from %d to %d on the connection of %d", errFrame, m.From, m.To, in.key.node)
		}
		// The raft identity is proven once, by the handshake, and not repeated in
		// every message.
		m.Incarnation = in.peer.Incarnation
		if m.Type == 0 || m.Type > raftcore.MsgSnapshotResp {
			return fmt.Errorf("%w: message of unknown type %d", errFrame, m.Type)
		}
		b.message(m)
		return nil
	case f.kind == kindUnits && in.key.lane == laneBulk:
		us, err := decodeUnits(f.envelope, f.body)
		if err != nil {
			return fmt.Errorf("%w: units: %w", errFrame, err)
		}
		b.addUnits(us)
		return nil
	case f.kind == kindRefused && in.key.lane == laneBulk && len(f.body) == 0:
		seqs, err := decodeRefused(f.envelope)
		if err != nil {
			return fmt.Errorf("%w: refusal: %w", errFrame, err)
		}
		b.addRefused(seqs)
		return nil
	case f.kind == kindNote && in.key.lane == laneBulk && len(f.envelope) == 0:
		b.addNote(f.body)
		return nil
	}
	return fmt.Errorf("%w: kind %d does not belong on the %s lane", errFrame, f.kind, in.key.lane)
}

// burst collects what one read brought, so that the node is called once for it.
// Only one of the four is non-empty at a time: a change of kind delivers, which
// keeps the order of the lane.
type burst struct {
	to    Handler
	from  raftcore.NodeID
	ms    []raftcore.Message
	units []Unit
	seqs  []uint64
	notes [][]byte
	bytes int
}

// burstBytes bounds what is held back for the sake of one call: from a fast
// sender the next frame is always there already.
const burstBytes = 1 << 20

func (b *burst) message(m raftcore.Message) {
	if len(b.ms) == 0 {
		b.deliver()
	}
	b.ms = append(b.ms, m)
	b.bytes += frameHeaderSize
	for i := range m.Entries {
		b.bytes += m.Entries[i].Size()
	}
	b.bound()
}

func (b *burst) addUnits(us []Unit) {
	if len(b.units) == 0 {
		b.deliver()
	}
	b.units = append(b.units, us...)
	for i := range us {
		b.bytes += len(us[i].Bytes)
	}
	b.bound()
}

func (b *burst) addRefused(seqs []uint64) {
	if len(b.seqs) == 0 {
		b.deliver()
	}
	b.seqs = append(b.seqs, seqs...)
}

func (b *burst) bound() {
	if b.bytes >= burstBytes {
		b.deliver()
	}
}

// deliver hands over what was collected. The slices now belong to the Handler.
func (b *burst) deliver() {
	if len(b.ms) > 0 {
		b.to.HandleMessages(b.from, b.ms)
	}
	if len(b.units) > 0 {
		b.to.HandleUnits(b.from, b.units)
	}
	if len(b.seqs) > 0 {
		b.to.HandleRefused(b.from, b.seqs)
	}
	if len(b.notes) > 0 {
		b.to.HandleNotes(b.from, b.notes)
	}
	*b = burst{to: b.to, from: b.from}
}
