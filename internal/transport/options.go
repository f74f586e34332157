package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// Identity is who a node says it is in every handshake.
type Identity struct {
	Node        raftcore.NodeID
	Incarnation uint64   // of the data directory (R26)
	Boot        uint64   // starts of that directory, made durable before the port opens
	ClusterID   [16]byte // zero until known
}

// Peer is a node to stay connected to.
type Peer struct {
	ID raftcore.NodeID
	// Incarnation must be the one that answers; 0 accepts any.
	Incarnation uint64
	Addr        string // host:port
}

// Unit is a proposal on its way from a follower to the leader
// (docs/adr/0007): Bytes is the encoded unit, Seq names it to its origin.
type Unit struct {
	Seq   uint64
	Bytes []byte
}

// Handler receives what peers send. All methods but HandleSnapshot and
// HandleCall are called on reader goroutines: they must not wait for a peer, and on
// the control lane for nothing at all. Slices belong to the callee after the call. Calls for one
// lane of one peer are in the order of sending.
//
// The bodies of one message's entries, and the bytes of the units of one call,
// are sub-slices of one allocation: keeping one of them keeps its neighbours
// (as a rule at most 256 KiB, the size raftcore cuts messages to).
type Handler interface {
	HandleMessages(from raftcore.NodeID, ms []raftcore.Message)
	HandleUnits(from raftcore.NodeID, units []Unit)
	// HandleRefused says that these units were definitely not taken: either by
	// the peer's word, or because they were still unsent when the connection
	// to it broke (then called by the writer's goroutine).
	HandleRefused(from raftcore.NodeID, seqs []uint64)
	// HandleNotes brings notes (SendNote). Their bytes belong to the callee.
	HandleNotes(from raftcore.NodeID, notes [][]byte)
	// HandleSnapshot receives a stream on its own goroutine and may block. r
	// ends with io.EOF only after exactly what the sender meant to send (all of the
	// offer from where r was told to begin); any loss is another error. The error
	// returned is told to the sender; nil means it is installed, or safely kept to be.
	HandleSnapshot(from raftcore.NodeID, o SnapshotOffer, r SnapshotStream) error
	// HandleCall answers anyone who proved the secret. It may block.
	HandleCall(req []byte) ([]byte, error)
	// PeerChanged reports that control connections in both directions are up,
	// or that this ceased to be so. A process that dies is noticed at once, a
	// host that vanishes only after seconds. It must not call the Transport.
	PeerChanged(id raftcore.NodeID, up bool)
}

// Options are what a Transport needs from its owner. Zero limits mean defaults.
type Options struct {
	Listen string // host:port
	// Secret is shared by the cluster. Guessing it offline is possible for who
	// sees a handshake, so it must be long and random. Empty is accepted between
	// loopback addresses only.
	Secret []byte
	// Identity is asked at every handshake, since the cluster id becomes known
	// only after genesis. It must not block.
	Identity func() Identity
	Handler  Handler
	Logger   *slog.Logger                                             // nil: slog.Default()
	Clock    func() int64                                             // Unix ms for Message.Clock; nil: the system's
	Dial     func(ctx context.Context, addr string) (net.Conn, error) // nil: net.Dialer
	// OnRefused, if set, is told every typed refusal of a peer we dialed. A node
	// told ReasonOldBoot, ReasonOldCopy or ReasonSecondHolder by its peers has a
	// twin, or lost what it once promised, and should stop. Must only enqueue.
	OnRefused func(peer raftcore.NodeID, reason Reason)

	// Life is the number of this process in the past of its data directory, LifeAt that
	// of an earlier boot, 0 if unknown (Acquaintance). Zero and nil: drawn, unknown.
	Life   uint64
	LifeAt func(boot uint64) uint64
	// Acquaintances remembers peers beyond this process; nil: nothing does.
	Acquaintances Acquaintances

	// MaxFrameBytes bounds one frame; it must exceed the largest entry (64 MiB).
	// Default 72 MiB.
	MaxFrameBytes int
	// ControlQueueBytes and BulkQueueBytes bound what waits for one peer.
	// Defaults 1 MiB and 64 MiB.
	ControlQueueBytes int
	BulkQueueBytes    int
	// MaxCallBytes bounds a call's request and its answer. Default 4 MiB.
	MaxCallBytes int
	// SnapshotBlockBytes and SnapshotWindow: a sender has at most that many
	// blocks under way that the receiver has not consumed. Defaults 256 KiB, 8.
	SnapshotBlockBytes int
	SnapshotWindow     int
	// SnapshotBytesPerSecond limits all outgoing streams together; 0 is no limit.
	SnapshotBytesPerSecond int64
	// SnapshotStallTimeout ends a stream whose other end showed no sign of life
	// for so long. Default 30 s.
	SnapshotStallTimeout time.Duration

	DialTimeout      time.Duration // default 1 s: a longer wait only delays reconnecting after a partition
	HandshakeTimeout time.Duration // default 3 s
	WriteTimeout     time.Duration // for each MiB written, and for unacknowledged data; default 5 s
	MinBackoff       time.Duration // between dials; default 20 ms
	MaxBackoff       time.Duration // default 1 s
}

// complete fills in defaults and checks the whole.
func (o *Options) complete() error {
	if o.Identity == nil || o.Handler == nil {
		return errors.New("transport: Identity and Handler are required")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Acquaintances == nil {
		o.Acquaintances = noAcquaintances{}
	}
	if o.LifeAt == nil {
		o.LifeAt = func(uint64) uint64 { return 0 }
	}
	if o.Clock == nil {
		o.Clock = systemClock
	}
	if o.Dial == nil {
		var dialer net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}
	}
	o.setDefaults()
	return o.checkLimits()
}

func (o *Options) setDefaults() {
	setDefault(&o.MaxFrameBytes, 72<<20)
	setDefault(&o.ControlQueueBytes, 1<<20)
	setDefault(&o.BulkQueueBytes, 64<<20)
	setDefault(&o.MaxCallBytes, 4<<20)
	setDefault(&o.SnapshotBlockBytes, 256<<10)
	setDefault(&o.SnapshotWindow, 8)
	setDefault(&o.SnapshotStallTimeout, 30*time.Second)
	setDefault(&o.DialTimeout, time.Second)
	setDefault(&o.HandshakeTimeout, 3*time.Second)
	setDefault(&o.WriteTimeout, 5*time.Second)
	setDefault(&o.MinBackoff, 20*time.Millisecond)
	setDefault(&o.MaxBackoff, time.Second)
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// maxSnapshotBlock keeps a block within what a header alone may allocate.
const maxSnapshotBlock = trustedAllocation - 4096

func (o *Options) checkLimits() error {
	for _, limit := range []struct {
		field       string
		value       int64
		least, most int64
	}{
		{"MaxFrameBytes", int64(o.MaxFrameBytes), 4096, 1 << 30},
		{"ControlQueueBytes", int64(o.ControlQueueBytes), 4096, 1 << 30},
		{"BulkQueueBytes", int64(o.BulkQueueBytes), 4096, 1 << 40},
		{"MaxCallBytes", int64(o.MaxCallBytes), 1, 1 << 30},
		{"SnapshotBlockBytes", int64(o.SnapshotBlockBytes), 1, maxSnapshotBlock},
		{"SnapshotWindow", int64(o.SnapshotWindow), 1, 1 << 16},
		{"SnapshotBytesPerSecond", o.SnapshotBytesPerSecond, 0, 1 << 50},
		{"SnapshotStallTimeout", int64(o.SnapshotStallTimeout), 1000, 1 << 62},
		{"DialTimeout", int64(o.DialTimeout), 1, 1 << 62},
		{"HandshakeTimeout", int64(o.HandshakeTimeout), 1, 1 << 62},
		{"WriteTimeout", int64(o.WriteTimeout), 1, 1 << 62},
		{"MinBackoff", int64(o.MinBackoff), 1, int64(o.MaxBackoff)},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			return fmt.Errorf("transport: %s is %d, must be from %d to %d", limit.field, limit.value, limit.least, limit.most)
		}
	}
	return nil
}

func systemClock() int64 { return time.Now().UnixMilli() }
