package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// callTimeout bounds each step of a call being served, and of a call whose
// context has no deadline.
const callTimeout = 10 * time.Second

// Call asks whoever listens at addr; it must prove the secret but need not be
// of our cluster. A *RemoteError is the answer of its HandleCall; after any
// other error but a *RefusedError nobody knows whether the call was served.
// A context without deadline gets 10 s for the answer.
func (t *Transport) Call(ctx context.Context, addr string, req []byte) ([]byte, error) {
	if !t.enterCaller() {
		return nil, net.ErrClosed
	}
	defer t.wg.Done()
	if len(req) > t.opts.MaxCallBytes {
		return nil, fmt.Errorf("transport: call of %d bytes, at most %d allowed", len(req), t.opts.MaxCallBytes)
	}
	ctx, cancel := t.join(ctx)
	defer cancel()
	h := hello{lane: laneCall, from: t.party()}
	conn, _, _, err := t.dial(ctx, addr, &h)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	answer, err := t.exchange(ctx, conn, req)
	var remote *RemoteError
	switch {
	case err == nil || errors.As(err, &remote):
		return answer, err
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("transport: calling %s: %w", addr, err)
}

// enterCaller counts a caller's goroutine in for Close, which waits for it.
func (t *Transport) enterCaller() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

// join returns a context that ends with ctx and with the transport.
func (t *Transport) join(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.ctx, func() { cancel(net.ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func (t *Transport) exchange(ctx context.Context, conn net.Conn, req []byte) ([]byte, error) {
	timeout := callTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	s := newStream(t, conn, t.opts.MaxCallBytes)
	if err := s.write(timeout, kindCall, nil, req); err != nil {
		return nil, err
	}
	f, err := s.read(timeout)
	if err != nil {
		return nil, unexpected(err)
	}
	if f.kind != kindCallReply {
		return nil, fmt.Errorf("%w: kind %d in answer to a call", errFrame, f.kind)
	}
	if err := decodeOutcome(f.envelope); err != nil {
		return nil, err
	}
	return f.body, nil
}

// serveCall answers one call.
func (t *Transport) serveCall(conn net.Conn) {
	s := newStream(t, conn, t.opts.MaxCallBytes)
	f, err := s.read(callTimeout)
	if err != nil || f.kind != kindCall || len(f.envelope) != 0 {
		t.counters.badFrames.Add(1)
		return
	}
	answer, err := t.opts.Handler.HandleCall(f.body)
	if err == nil && len(answer) > t.opts.MaxCallBytes {
		err = fmt.Errorf("answer of %d bytes, at most %d allowed", len(answer), t.opts.MaxCallBytes)
	}
	if err != nil {
		answer = nil
	}
	// If the write fails the caller has gone or will time out: its loss.
	_ = s.write(callTimeout, kindCallReply, func(b []byte) []byte { return appendOutcome(b, err) }, answer)
}
