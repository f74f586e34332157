package resp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// listen binds the addresses and makes the loops; nothing runs yet.
func (s *Server) listen() error {
	fds := make(map[int]persona)
	undo := func(err error) error {
		for fd := range fds {
			_ = unix.Close(fd)
		}
		for _, l := range s.loops {
			l.release()
		}
		return err
	}
	for p, addr := range [personas]string{s.opt.Addr, s.opt.ClusterAddr, s.opt.SentinelAddr} {
		if addr == "" {
			continue
		}
		fd, bound, err := listenTCP(addr)
		if err != nil {
			return undo(fmt.Errorf("listen on %s: %w", addr, err))
		}
		s.listeners[p], fds[fd] = bound, persona(p)
	}
	s.addr = s.listeners[plainPersona]
	for i := range s.opt.Loops {
		l, err := newLoop(s, i)
		if err != nil {
			return undo(err)
		}
		s.loops = append(s.loops, l)
	}
	for fd := range fds {
		if err := s.loops[0].poll.add(fd, unix.EPOLLIN); err != nil {
			return undo(err)
		}
	}
	s.loops[0].listeners = fds
	return nil
}

func listenTCP(addr string) (fd int, bound string, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, "", err
	}
	domain, sa := sockaddr(tcp)
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("socket: %w", err)
	}
	if err := bindListen(fd, domain, sa, tcp); err != nil {
		_ = unix.Close(fd)
		return -1, "", err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, "", fmt.Errorf("getsockname: %w", err)
	}
	ip, port := addrOf(local)
	return fd, net.JoinHostPort(ip.String(), strconv.Itoa(port)), nil
}

func bindListen(fd, domain int, sa unix.Sockaddr, tcp *net.TCPAddr) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if domain == unix.AF_INET6 {
		// Like Go's net: ":port" serves both families, "[::1]:port" one.
		only := 1
		if tcp.IP == nil || tcp.IP.IsUnspecified() {
			only = 0
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, listenBacklog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func sockaddr(tcp *net.TCPAddr) (domain int, sa unix.Sockaddr) {
	if ip4 := tcp.IP.To4(); ip4 != nil || tcp.IP == nil && !ipv6Works() {
		sa4 := &unix.SockaddrInet4{Port: tcp.Port}
		copy(sa4.Addr[:], ip4)
		return unix.AF_INET, sa4
	}
	sa6 := &unix.SockaddrInet6{Port: tcp.Port}
	copy(sa6.Addr[:], tcp.IP.To16())
	if tcp.Zone != "" {
		if ifi, err := net.InterfaceByName(tcp.Zone); err == nil {
			sa6.ZoneId = uint32(ifi.Index)
		}
	}
	return unix.AF_INET6, sa6
}

func ipv6Works() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// addrOf returns a socket address; IPv4 mapped into IPv6 is given as IPv4.
func addrOf(sa unix.Sockaddr) (netip.Addr, int) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), sa.Port
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap(), sa.Port
	}
	return netip.IPv4Unspecified(), 0
}

// clientAddrOf describes an accepted connection.
func clientAddrOf(fd int, peer unix.Sockaddr) clientAddr {
	ip, port := addrOf(peer)
	a := clientAddr{remote: formatAddr(ip.String(), port), fd: fd, loopback: ip.IsLoopback()}
	if local, err := unix.Getsockname(fd); err == nil {
		lip, lport := addrOf(local)
		a.local = formatAddr(lip.String(), lport)
	}
	return a
}
