package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// A snapshot stream, each line a frame:
//
//	sender                          receiver
//	Begin [size, hash, meta] ──▶
//	                         ◀──    Start [offset], Credit [window]
//	Block ... (one per credit) ──▶
//	                         ◀──    Credit [1] per block consumed, [0] now and then
//	End [size]               ──▶
//	                         ◀──    Done [ok, text]
//
// The receiver may say Done at any time. The sender may say Abort instead of
// anything. A connection that ends before Done means failure to both; what the
// receiver kept of it, it leaves out with the offset of the next stream.
// The credit bounds what a receiver with a slow disk must buffer, and with it
// what the stream takes from the network at the heartbeats' expense.

// SnapshotOffer is what a stream begins with. Hash names its bytes.
type SnapshotOffer struct {
	Meta raftcore.SnapshotMeta
	Size int64
	Hash [32]byte
}

// SnapshotStream is what a receiver reads. From says at which byte to begin; it may be
// called once, before the first Read, and is otherwise zero.
type SnapshotStream interface {
	io.Reader
	From(offset int64) error
}

// errAborted is what the receiving handler reads when the sender gave up.
var errAborted = errors.New("transport: the sender aborted the snapshot")

// SendSnapshot offers a snapshot to a peer, streams it from where the peer wants it, as
// read from what open returns for that offset, and waits until its HandleSnapshot
// returned. The reader is not used after the return. nil means that the
// peer took the snapshot; a *RemoteError that it did not; after any other error
// nobody knows. Beginning a stream to a peer ends the previous one to it.
func (t *Transport) SendSnapshot(ctx context.Context, to raftcore.NodeID, o SnapshotOffer, open func(offset int64) io.Reader) error {
	if !t.enterCaller() {
		return fmt.Errorf("transport: snapshot to %d: transport closed", to)
	}
	defer t.wg.Done()
	lanes := t.lanes(to)
	if lanes == nil {
		return ErrUnknownPeer
	}
	if o.Size < 0 {
		return fmt.Errorf("transport: snapshot of %d bytes", o.Size)
	}
	ctx, cancel := t.join(ctx)
	defer cancel()
	conn, tenant, err := t.dialPeer(ctx, laneSnapshot, lanes.peer)
	if err != nil {
		return err
	}
	defer t.holders.leave(tenant)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := snapshotSender{
		t: t, stream: newStream(t, conn, 0), size: o.Size,
		start: make(chan int64, 1), credit: make(chan struct{}, 1), done: make(chan struct{}),
	}
	err = s.run(ctx, &o, open)
	var remote *RemoteError
	switch {
	case err == nil:
		t.counters.snapshotsOut.Add(1)
		return nil
	case errors.As(err, &remote):
		return err
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("transport: snapshot %d to node %d: %w", o.Meta.Index, to, err)
}

// snapshotSender is one outgoing stream. The caller's goroutine writes; another
// one reads credits and the verdict.
type snapshotSender struct {
	t      *Transport
	stream *stream
	size   int64

	start chan int64 // where the receiver wants it to begin

	mu      sync.Mutex
	blocks  uint64        // credit left
	credit  chan struct{} // signalled when blocks grew
	done    chan struct{} // closed once verdict is set
	verdict error
}

func (s *snapshotSender) run(ctx context.Context, o *SnapshotOffer, open func(offset int64) io.Reader) error {
	timeout := s.t.opts.SnapshotStallTimeout
	err := s.stream.write(timeout, kindSnapBegin, func(b []byte) []byte { return appendOffer(b, o) }, nil)
	if err != nil {
		return err
	}
	go s.listen()
	defer func() { s.stream.conn.Close(); <-s.done }()
	switch err = s.copy(ctx, open); {
	case err == nil:
		err = s.stream.write(timeout, kindSnapEnd, func(b []byte) []byte { return appendNumber(b, uint64(s.size)) }, nil)
		if err == nil {
			<-s.done
		}
	case errors.Is(err, errDone):
	default:
		// The reason is ours (source or context): tell it, so that the receiver
		// need not guess. It may not arrive; a closed connection says enough.
		_ = s.stream.write(time.Second, kindSnapAbort, func(b []byte) []byte { return appendOutcome(b, err) }, nil)
		return err
	}
	select {
	case <-s.done: // the peer's verdict explains a failed write best
		return s.verdict
	default:
		return err
	}
}

// errDone stops the copying because the verdict is there.
var errDone = errors.New("verdict received")

// copy sends the blocks from where the receiver wants them, as credit and rate allow.
func (s *snapshotSender) copy(ctx context.Context, open func(offset int64) io.Reader) error {
	var sent int64
	select {
	case sent = <-s.start:
	case <-s.done:
		return errDone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r := open(sent)
	block := make([]byte, s.t.opts.SnapshotBlockBytes)
	for sent < s.size {
		if err := s.spend(ctx); err != nil {
			return err
		}
		n := int(min(int64(len(block)), s.size-sent))
		if _, err := io.ReadFull(r, block[:n]); err != nil {
			return fmt.Errorf("reading the snapshot at %d of %d: %w", sent, s.size, unexpected(err))
		}
		if err := s.stream.write(s.t.opts.SnapshotStallTimeout, kindSnapBlock, nil, block[:n]); err != nil {
			return s.writeFailed(err)
		}
		sent += int64(n)
		if err := s.pause(ctx, s.t.snapshotPace.after(n, s.t.opts.SnapshotBytesPerSecond, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// snapshotPace keeps all streams together to one rate: each block books the time
// that it takes, and its stream waits for it to pass.
type snapshotPace struct {
	mu   sync.Mutex
	free time.Time // all that was booked is over
}

// after books n bytes at rate per second and returns how long to wait.
func (p *snapshotPace) after(n int, rate int64, now time.Time) time.Duration {
	if rate <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.free.Sub(now)
}

// writeFailed prefers the verdict that made the peer hang up.
func (s *snapshotSender) writeFailed(err error) error {
	select {
	case <-s.done:
		return errDone
	case <-time.After(100 * time.Millisecond):
		return err
	}
}

// spend takes one credit, waiting for it.
func (s *snapshotSender) spend(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.blocks > 0 {
			s.blocks--
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.credit:
		case <-s.done:
			return errDone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *snapshotSender) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.done:
		return errDone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listen takes credits until the verdict or the end of the connection. A
// receiver that says nothing for the stall timeout counts as gone.
func (s *snapshotSender) listen() {
	defer close(s.done)
	for {
		f, err := s.stream.read(s.t.opts.SnapshotStallTimeout)
		if err != nil {
			s.verdict = unexpected(err)
			return
		}
		switch f.kind {
		case kindSnapDone:
			s.verdict = decodeOutcome(f.envelope)
			return
		case kindSnapStart:
			at, err := decodeNumber(f.envelope)
			if err == nil && at > uint64(s.size) {
				err = fmt.Errorf("%w: a start at %d of %d bytes", errFrame, at, s.size)
			}
			if err != nil {
				s.verdict = err
				return
			}
			select {
			case s.start <- int64(at):
			default: // said before
			}
		case kindSnapCredit:
			n, err := decodeNumber(f.envelope)
			if err != nil {
				s.verdict = err
				return
			}
			s.mu.Lock()
			s.blocks += n
			s.mu.Unlock()
			signal(s.credit)
		default:
			s.verdict = fmt.Errorf("%w: kind %d from a snapshot's receiver", errFrame, f.kind)
			return
		}
	}
}

// receiveSnapshot serves one incoming stream on the connection's goroutine.
func (in *incoming) receiveSnapshot() {
	t := in.t
	timeout := t.opts.SnapshotStallTimeout
	r := &snapshotReader{stream: newStream(t, in.conn, maxSnapshotBlock), timeout: timeout, window: uint64(t.opts.SnapshotWindow)}
	offer, err := r.begin()
	if err != nil {
		in.ended(err)
		return
	}
	alive := make(chan struct{})
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		r.sayAlive(alive)
	}()
	err = t.opts.Handler.HandleSnapshot(in.key.node, offer, r)
	close(alive)
	<-silent
	if err == nil {
		t.counters.snapshotsIn.Add(1)
	} else if errors.Is(err, errFrame) {
		in.ended(err)
	}
	done := func(b []byte) []byte { return appendOutcome(b, err) }
	if r.send(kindSnapDone, done) == nil {
		r.linger()
	}
}

// snapshotReader is what the handler reads: the blocks, then io.EOF. It reads
// the connection on the handler's goroutine, so what the handler does not
// consume is not credited, and what is not credited is not sent.
type snapshotReader struct {
	stream  *stream
	timeout time.Duration
	window  uint64     // credit to begin with
	mu      sync.Mutex // serializes writes: credits here, signs of life beside
	begun   bool
	size    uint64
	got     uint64
	block   []byte // rest of the newest block
	err     error  // sticky
}

func (r *snapshotReader) begin() (o SnapshotOffer, err error) {
	f, err := r.stream.read(r.timeout)
	if err != nil {
		return o, err
	}
	o, ok := decodeOffer(f.envelope)
	if f.kind != kindSnapBegin || !ok || len(f.body) != 0 {
		return o, fmt.Errorf("%w: no snapshot begins here", errFrame)
	}
	r.size = uint64(o.Size)
	return o, nil
}

// appendOffer appends [size, hash, meta].
func appendOffer(b []byte, o *SnapshotOffer) []byte {
	b = appendUint(appendArray(b, 3), uint64(o.Size))
	return appendSnapshotMeta(appendString(b, string(o.Hash[:])), &o.Meta)
}

func decodeOffer(envelope []byte) (o SnapshotOffer, ok bool) {
	c := cursor{b: envelope}
	c.arrayOf(3)
	o.Size = int64(c.uintMax(1<<63 - 1))
	hash := c.string()
	copy(o.Hash[:], hash)
	o.Meta = c.snapshotMeta()
	return o, c.done() && len(hash) == len(o.Hash)
}

// From implements SnapshotStream.
func (r *snapshotReader) From(offset int64) error {
	if r.begun || offset < 0 || uint64(offset) > r.size {
		return fmt.Errorf("transport: a start at %d of %d bytes, or a second one", offset, r.size)
	}
	r.begun, r.got = true, uint64(offset)
	if err := r.send(kindSnapStart, func(b []byte) []byte { return appendNumber(b, r.got) }); err != nil {
		return err
	}
	return r.grant(r.window)
}

// Read implements io.Reader.
func (r *snapshotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !r.begun && r.err == nil {
		r.err = r.From(0)
	}
	for len(r.block) == 0 {
		if r.err == nil {
			r.err = r.advance()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	if len(r.block) == 0 {
		// The block is consumed: another may come. A failure shows at the next read.
		_ = r.grant(1)
	}
	return n, nil
}

// advance reads the next frame into the block; io.EOF is the whole snapshot.
func (r *snapshotReader) advance() error {
	f, err := r.stream.read(r.timeout)
	if err != nil {
		return fmt.Errorf("transport: snapshot stream broke at %d of %d: %w", r.got, r.size, unexpected(err))
	}
	switch f.kind {
	case kindSnapBlock:
		if len(f.body) == 0 || uint64(len(f.body)) > r.size-r.got {
			return fmt.Errorf("%w: block of %d bytes at %d of %d", errFrame, len(f.body), r.got, r.size)
		}
		r.got += uint64(len(f.body))
		r.block = f.body
		return nil
	case kindSnapEnd:
		total, err := decodeNumber(f.envelope)
		if err != nil {
			return err
		}
		if total != r.size || r.got != r.size {
			return fmt.Errorf("%w: snapshot of %d bytes ended at %d", errFrame, r.size, r.got)
		}
		return io.EOF
	case kindSnapAbort:
		return fmt.Errorf("%w: %w", errAborted, decodeOutcome(f.envelope))
	}
	return fmt.Errorf("%w: kind %d in a snapshot", errFrame, f.kind)
}

func (r *snapshotReader) grant(blocks uint64) error {
	return r.send(kindSnapCredit, func(b []byte) []byte { return appendNumber(b, blocks) })
}

func (r *snapshotReader) send(k kind, envelope func([]byte) []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.write(r.timeout, k, envelope, nil)
}

// sayAlive tells the sender that a handler that does not read (because it syncs
// or installs) is still there.
func (r *snapshotReader) sayAlive(stop <-chan struct{}) {
	ticker := time.NewTicker(r.timeout / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if r.grant(0) != nil {
				return
			}
		case <-stop:
			return
		}
	}
}

// linger waits for the sender to hang up after the verdict: closing a socket
// with unread blocks in it would reset it and lose the verdict.
func (r *snapshotReader) linger() {
	for range 1 << 16 {
		if _, err := r.stream.read(time.Second); err != nil {
			return
		}
	}
}
