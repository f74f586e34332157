package transport

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/rkvdb/rkv/raftcore"
)

// Transport is one node's end of all its peer connections.
type Transport struct {
	opts     Options
	listener net.Listener
}

// New checks opts and binds the listener, so a taken port is known at once. It
// answers nobody before Start.
func New(opts Options) (*Transport, error) {
	l, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return nil, err
	}
	return &Transport{opts: opts, listener: l}, nil
}

// Start begins to accept peers.
func (t *Transport) Start() {}

// Close ends every connection and waits until all goroutines are gone,
// including Handler calls that are running. No Handler call begins afterwards.
func (t *Transport) Close() error { return t.listener.Close() }

// Addr is the address the listener is bound to.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetPeers makes ps the peers to stay connected to: new ones are dialed and
// redialed until they answer, missing ones are dropped, and one whose address
// or incarnation changed is dropped and dialed anew. This node itself is
// skipped. It does not block.
func (t *Transport) SetPeers(ps []Peer) {}

// Send queues messages for the peers they are addressed to and returns at once.
// What cannot be queued (peer unknown or not connected, queue full) is dropped
// and counted. From and Clock are filled in here. Entry bodies are shared with
// the caller until written: nobody may write to them.
func (t *Transport) Send(ms []raftcore.Message) {}

// SendUnits queues units, in order and all or none. False means that definitely
// none was sent. True promises nothing: the connection may break later. The
// bytes are shared until written.
func (t *Transport) SendUnits(to raftcore.NodeID, us []Unit) bool { return false }

// SendRefused tells the origin that this node could not take its units.
func (t *Transport) SendRefused(to raftcore.NodeID, seqs []uint64) {}

// SendSnapshot streams size bytes of r to a peer and waits until its
// HandleSnapshot returned. An error means that the peer did not install it, or
// that nobody knows.
func (t *Transport) SendSnapshot(ctx context.Context, to raftcore.NodeID, meta raftcore.SnapshotMeta, size int64, r io.Reader) error {
	return errors.New("transport: not connected")
}

// Call asks whoever listens at addr; it must prove the secret but need not be
// of our cluster. A *RemoteError is the answer of its HandleCall.
func (t *Transport) Call(ctx context.Context, addr string, req []byte) ([]byte, error) {
	return nil, errors.New("transport: not connected")
}

// Stats is a copy of the counters.
func (t *Transport) Stats() Stats { return Stats{} }
