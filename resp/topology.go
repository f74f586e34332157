package resp

import (
	"fmt"

	"github.com/rkvdb/rkv/kv"
)

// topology is what one event loop has told its clients of the cluster: Sentinel clients
// hear of changes by messages, others by maintenance notices. The loop looks with every
// tick.
type topology struct {
	known    bool
	leaderID uint64 // 0: none
	term     uint64
	master   Member // the last leader
	members  map[uint64]memberView
}

type memberView struct {
	addr, sentinel string
	down           bool
}

// watchTopology tells the loop's clients what changed since the last call.
func (l *loop) watchTopology() {
	st := l.srv.backend.Status()
	l.srv.master(&st) // it is named as long as nobody follows it
	if l.sentinels == nil && len(l.maintained) == 0 {
		return // nobody would hear it; who comes later begins with the state of then
	}
	t := &l.topology
	if !t.known {
		t.note(&st)
		return
	}
	before := *t
	t.note(&st)
	l.sentinelEvents(&before, &st)
	switch {
	case before.leaderID != 0 && st.LeaderID == 0:
		l.failingOver()
	case st.LeaderID != 0 && (st.LeaderID != before.leaderID || st.Term != before.term):
		l.failedOver()
	}
}

func (t *topology) note(st *Status) {
	t.known = true
	t.leaderID, t.term = st.LeaderID, st.Term
	if m := st.leader(); m != nil {
		t.master = *m
	}
	t.members = make(map[uint64]memberView, len(st.Members))
	for i := range st.Members {
		m := &st.Members[i]
		t.members[m.ID] = memberView{m.ClientAddr, m.SentinelAddr, st.down(m)}
	}
}

// sentinelEvents publishes, to clients of the Sentinel listener only, what Sentinels
// publish when the same happens to a master and its replicas.
func (l *loop) sentinelEvents(before *topology, st *Status) {
	if l.sentinels == nil {
		return
	}
	name := l.srv.opt.MasterName
	event := func(channel, format string, args ...any) {
		l.sentinels.publish([]byte(channel), fmt.Appendf(nil, format, args...))
	}
	now := &l.topology
	ip, port := splitAddr(before.master.ClientAddr)
	master := fmt.Sprintf("master %s %s %s", name, ip, port)
	switched := before.master.ID != 0 && st.LeaderID != 0 && before.master.ClientAddr != now.master.ClientAddr
	switch {
	case before.leaderID != 0 && (st.LeaderID == 0 || switched && now.members[before.master.ID].down):
		event("+sdown", "%s", master)
		event("+odown", "%s #quorum %d/%d", master, st.quorum(), st.quorum())
		event("+new-epoch", "%d", st.Term)
		event("+try-failover", "%s", master)
	case before.leaderID == 0 && st.LeaderID == before.master.ID && st.LeaderID != 0:
		event("-sdown", "%s", master)
		event("-odown", "%s", master)
	}
	if switched {
		newIP, newPort := splitAddr(now.master.ClientAddr)
		event("+failover-end", "%s", master)
		event("+switch-master", "%s %s %s %s %s", name, ip, port, newIP, newPort)
		ip, port = newIP, newPort
	}
	for i := range st.Members {
		m := &st.Members[i]
		was, is := before.members[m.ID], now.members[m.ID]
		host, p := splitAddr(m.ClientAddr)
		replica := fmt.Sprintf("slave %s:%s %s %s @ %s %s %s", host, p, host, p, name, ip, port)
		if m.ID != now.master.ID {
			if switched || was.addr != is.addr {
				event("+slave", "%s", replica)
			}
			switch {
			case is.down && (!was.down || switched):
				event("+sdown", "%s", replica)
			case !is.down && was.down:
				event("-sdown", "%s", replica)
			}
		}
		if m.Self || is.sentinel == "" {
			continue
		}
		shost, sport := splitAddr(is.sentinel)
		sentinel := fmt.Sprintf("sentinel %s %s %s @ %s %s %s", memberID(st, "sentinel", m.ID), shost, sport, name, ip, port)
		switch {
		case was.sentinel != is.sentinel:
			event("+sentinel", "%s", sentinel)
		case is.down && !was.down:
			event("+sdown", "%s", sentinel)
		case !is.down && was.down:
			event("-sdown", "%s", sentinel)
		}
	}
}

// subscriptionsChanged tells the cluster what the session's clients listen to. What
// Sentinels publish is this node's own affair.
func (s *session) subscriptionsChanged(kind kv.SubscriptionKind, names []string, delta int, done func()) {
	if s.persona != sentinelPersona {
		s.srv.subs.change(kind, names, delta, done)
	} else if done != nil {
		done()
	}
}
