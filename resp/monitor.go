package resp

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// monitors are the connections that asked for MONITOR.
type monitors struct {
	n    atomic.Int64 // looked at once per command
	mu   sync.Mutex
	list []*client
}

func (m *monitors) add(c *client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, c)
	m.n.Store(int64(len(m.list)))
}

func (m *monitors) remove(c *client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.list {
		if other == c {
			m.list = append(m.list[:i:i], m.list[i+1:]...)
			break
		}
	}
	m.n.Store(int64(len(m.list)))
}

// monitored shows a command to the monitors, before it is executed. Commands of
// administrators are not shown, as in Redis.
func (s *session) monitored(cmd *kv.Command, args [][]byte) {
	if s.srv.monitors.n.Load() == 0 || cmd.Flags&(kv.FlagSkipMonitor|kv.FlagAdmin) != 0 && !cmd.Script {
		return
	}
	s.srv.feed(monitorLine(time.Now(), s.db, s.addr.remote, cmd, args))
}

// feedMonitors shows a command that a script called.
func (srv *Server) feedMonitors(s *session, who string, args [][]byte) {
	if srv.monitors.n.Load() > 0 {
		srv.feed(monitorLine(time.Now(), s.db, who, nil, args))
	}
}

func (srv *Server) feed(line []byte) {
	m := &srv.monitors
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.list {
		c.push(line)
	}
}

// cmdMonitor is MONITOR. Asking twice changes nothing.
func cmdMonitor(s *session, _ [][]byte, out *kv.Reply) {
	out.OK()
	if s.monitoring || s.self == nil {
		return
	}
	s.monitoring = true
	s.srv.monitors.add(s.self)
}

// leaveMonitor ends MONITOR (RESET, or the connection's end).
func (s *session) leaveMonitor() {
	if s.monitoring {
		s.monitoring = false
		s.srv.monitors.remove(s.self)
	}
}
