package chaos

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// network gives nodes addresses and cuts the ways between them.
type network interface {
	// place makes room for a node: where its process is launched, its client and peer address.
	place(id int) (p place, client, peer string, err error)
	// cut lets nothing pass from one node to the other until reset. In one direction
	// only: answers of the other side still arrive.
	cut(from, to int) error
	// reset mends all cuts.
	reset() error
	// cuts says whether cut works at all.
	cuts() bool
	close() error
}

// place is where a process is launched.
type place interface {
	launch(cmd *exec.Cmd) error
}

// namespaces is a bridge on this machine with one network namespace a node. Everybody
// has a fixed entry for everybody else's hardware address; cutting A's way to B points A's
// entry for B at an address that nobody has. Frames then vanish without an error, as
// on a broken wire, and no firewall module is needed.
type namespaces struct {
	name   string // prefix of all names
	subnet string // "10.x.y."
	nodes  map[int]*namespace
}

type namespace struct {
	name, ip, mac string
	handle        *os.File
}

// newNamespaces fails if this process may not make namespaces, or the kernel cannot.
func newNamespaces() (*namespaces, error) {
	pid := os.Getpid()
	s := &namespaces{name: fmt.Sprintf("ch%x", pid&0xffffff), subnet: fmt.Sprintf("10.%d.%d.", 100+pid/250%100, pid%250), nodes: map[int]*namespace{}}
	if err := s.build(); err != nil {
		_ = s.close()
		return nil, err
	}
	// A namespace to try on: what cannot be done is known before the first round.
	if _, _, _, err := s.place(250); err != nil {
		_ = s.close()
		return nil, err
	}
	return s, nil
}

func (s *namespaces) build() error {
	bridge := s.name + "b"
	return ip(
		"link add "+bridge+" type bridge",
		"addr add "+s.subnet+"254/24 dev "+bridge,
		"link set "+bridge+" up")
}

func (s *namespaces) place(id int) (place, string, string, error) {
	n := s.nodes[id]
	if n == nil {
		n = &namespace{name: fmt.Sprintf("%sn%d", s.name, id), ip: fmt.Sprint(s.subnet, id), mac: mac(id)}
		s.nodes[id] = n
		outer, inner := fmt.Sprintf("%so%d", s.name, id), fmt.Sprintf("%si%d", s.name, id)
		err := ip(
			"netns add "+n.name,
			"link add "+outer+" type veth peer name "+inner,
			"link set "+inner+" netns "+n.name,
			"link set "+outer+" master "+s.name+"b up",
			"-n "+n.name+" link set "+inner+" name eth0 address "+n.mac,
			"-n "+n.name+" addr add "+n.ip+"/24 dev eth0",
			"-n "+n.name+" link set eth0 up",
			"-n "+n.name+" link set lo up")
		if err != nil {
			return nil, "", "", err
		}
		if n.handle, err = os.Open("/var/run/netns/" + n.name); err != nil {
			return nil, "", "", err
		}
		for other := range s.nodes {
			if err := s.introduce(id, other); err != nil {
				return nil, "", "", err
			}
		}
	}
	return n, n.ip + ":6379", n.ip + ":16379", nil
}

// introduce tells two nodes of each other's hardware address.
func (s *namespaces) introduce(a, b int) error {
	if a == b {
		return nil
	}
	if err := s.point(a, b, mac(b)); err != nil {
		return err
	}
	return s.point(b, a, mac(a))
}

func (s *namespaces) point(from, to int, mac string) error {
	return ip(fmt.Sprintf("-n %s neigh replace %s lladdr %s nud permanent dev eth0", s.nodes[from].name, s.nodes[to].ip, mac))
}

// nowhere is nobody's hardware address.
const nowhere = "02:00:00:00:ff:ff"

func (s *namespaces) cut(from, to int) error { return s.point(from, to, nowhere) }

func (s *namespaces) cuts() bool { return true }

func (s *namespaces) reset() error {
	for a := range s.nodes {
		for b := range s.nodes {
			if a != b {
				if err := s.point(a, b, mac(b)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *namespaces) close() error {
	for _, n := range s.nodes {
		if n.handle != nil {
			n.handle.Close()
		}
		_ = ip("netns del " + n.name)
	}
	return ip("link del " + s.name + "b")
}

func mac(id int) string { return fmt.Sprintf("02:00:00:00:00:%02x", id) }

// launch starts the command inside the namespace. Only the network is another one: with
// the mounts shared, disks can be taken away under all processes.
func (n *namespace) launch(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	own, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	if err := unix.Setns(int(n.handle.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked and dies with this goroutine.
		return fmt.Errorf("back to the own network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// ip runs commands of iproute2, words separated by blanks.
func ip(commands ...string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// loopback is the network of a machine without namespaces: nothing can be cut.
type loopback struct {
	ports map[int][2]string
}

func (l *loopback) place(id int) (place, string, string, error) {
	if l.ports == nil {
		l.ports = map[int][2]string{}
	}
	p, ok := l.ports[id]
	if !ok {
		for i := range p {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, "", "", err
			}
			defer listener.Close()
			p[i] = listener.Addr().String()
		}
		l.ports[id] = p
	}
	return l, p[0], p[1], nil
}

func (l *loopback) launch(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

func (l *loopback) cut(int, int) error { return nil }
func (l *loopback) cuts() bool         { return false }
func (l *loopback) reset() error       { l.ports = nil; return nil }
func (l *loopback) close() error       { return nil }
