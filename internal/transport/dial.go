package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// dialPeer connects to a peer for a lane and shakes hands. The tenancy must be
// left when the connection ends.
func (t *Transport) dialPeer(ctx context.Context, kind laneKind, p Peer) (net.Conn, *tenancy, error) {
	h := hello{lane: kind, from: t.party(), expect: raftID{p.ID, p.Incarnation}}
	h.met.incarnation, h.boot = t.past.known.Newest(p.ID, p.Incarnation)
	conn, peer, then, err := t.dial(ctx, p.Addr, &h)
	var tenant *tenancy
	if err == nil {
		asked := h.boot
		if h.met.incarnation != peer.Incarnation {
			asked = 0
		}
		var reason Reason
		if tenant, reason = t.welcome(&peer, asked, then, conn); reason != ReasonNone {
			conn.Close()
			t.counters.rejected[reason].Add(1)
			err = &RefusedError{Addr: p.Addr, Reason: reason}
			return nil, nil, err // our own verdict about the peer, not the peer's about us
		}
		t.counters.dialed.Add(1)
		return conn, tenant, nil
	}
	t.counters.dialFailures.Add(1)
	var refused *RefusedError
	if errors.As(err, &refused) && t.opts.OnRefused != nil && ctx.Err() == nil {
		t.opts.OnRefused(p.ID, refused.Reason)
	}
	return nil, nil, err
}

// welcome lets a peer in that proved the secret: no older copy, no second holder.
func (t *Transport) welcome(peer *party, asked, then uint64, conn net.Conn) (*tenancy, Reason) {
	if r := t.past.known.Meet(peer.acquaintance(asked, then)); r != ReasonNone {
		return nil, r
	}
	return t.holders.enter(peer, conn)
}

// dial connects to addr and shakes hands. The connection has no deadline. then is the
// peer's answer about its past.
func (t *Transport) dial(ctx context.Context, addr string, h *hello) (_ net.Conn, peer party, then uint64, err error) {
	if err := t.checkDialAddr(addr); err != nil {
		return nil, party{}, 0, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, t.opts.DialTimeout)
	defer cancel()
	conn, err := t.opts.Dial(dialCtx, addr)
	if err != nil {
		return nil, party{}, 0, fmt.Errorf("transport: dialing: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	peer, then, err = t.introduce(conn, h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		var refused *RefusedError
		if errors.As(err, &refused) {
			refused.Addr = addr
			return nil, party{}, 0, refused
		}
		return nil, party{}, 0, fmt.Errorf("transport: handshake with %s: %w", addr, err)
	}
	return conn, peer, then, nil
}

func (t *Transport) introduce(conn net.Conn, h *hello) (peer party, then uint64, err error) {
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok && len(t.opts.Secret) == 0 && !remote.IP.IsLoopback() {
		return party{}, 0, errNoSecret
	}
	unacknowledged := t.opts.WriteTimeout
	if h.lane == laneSnapshot {
		unacknowledged = t.opts.SnapshotStallTimeout
	}
	if err := t.prepare(conn, unacknowledged); err != nil {
		return party{}, 0, err
	}
	if peer, then, err = dialHandshake(conn, &t.past, h); err != nil {
		return party{}, 0, err
	}
	return peer, then, conn.SetDeadline(time.Time{})
}

var errNoSecret = errors.New("transport: refusing to talk to a peer outside this machine without a cluster secret: set one (--cluster-secret-file)")

// checkDialAddr refuses a literal foreign address before a packet is sent; a
// name is judged by what it resolved to, before a byte is sent.
func (t *Transport) checkDialAddr(addr string) error {
	if len(t.opts.Secret) > 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("transport: peer address: %w", err)
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
		return errNoSecret
	}
	return nil
}

// prepare sets the socket's options and the handshake's deadline.
//
// TCP_USER_TIMEOUT matters after a partition: without it the kernel resends the
// unacknowledged bytes of the old connection ever more rarely, for minutes, and
// the healed network stays unused meanwhile. A fresh dial comes every second.
// It also ends a connection whose receiver keeps its window shut for so long, as
// one that waits for its disk in the middle of a snapshot may; hence the choice.
func (t *Transport) prepare(conn net.Conn, unacknowledged time.Duration) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := errors.Join(
			tcp.SetNoDelay(true),
			tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}),
			setUserTimeout(tcp, unacknowledged),
		); err != nil {
			return fmt.Errorf("socket options: %w", err)
		}
	}
	return conn.SetDeadline(time.Now().Add(t.opts.HandshakeTimeout))
}

func setUserTimeout(tcp *net.TCPConn, d time.Duration) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
	return errors.Join(err, failed)
}
