package resp

import (
	"context"
	"math"
	"net"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// maintained is what a client asked for by CLIENT MAINT_NOTIFICATIONS ON: pushes that
// let it leave a node in good time, and be patient while leaders change.
//
//	MOVING seq seconds host:port|null   this node stops within so many seconds
//	FAILING_OVER seq seconds shard      there is no leader
//	FAILED_OVER seq shard               there is one again
type maintained struct {
	endpoint string // "ip", "fqdn" or "none": what MOVING names the other node by
}

// maintSeconds is what clients are told a failover, or their move, may take.
const maintSeconds = 5

// clientMaint is CLIENT MAINT_NOTIFICATIONS ON|OFF [MOVING-ENDPOINT-TYPE type].
func clientMaint(s *session, args [][]byte, out *kv.Reply) {
	endpoint := "none"
	switch {
	case len(args) == 3 && equalFold(args[2], "off"):
		s.stopMaint()
		out.OK()
		return
	case len(args) == 3 && equalFold(args[2], "on"):
	case len(args) == 5 && equalFold(args[2], "on") && equalFold(args[3], "moving-endpoint-type"):
		switch strings.ToLower(string(cut(args[4], 32))) {
		case "internal-ip", "external-ip":
			endpoint = "ip"
		case "internal-fqdn", "external-fqdn":
			endpoint = "fqdn"
		case "none":
		default:
			out.Error("ERR unknown moving-endpoint-type")
			return
		}
	default:
		out.Error(errSyntax)
		return
	}
	if s.proto != resp3 {
		out.Error("ERR maintenance notifications are pushes; they need RESP3 (HELLO 3)")
		return
	}
	s.maint = &maintained{endpoint}
	out.OK()
	if l := s.loop; l != nil {
		l.maintained[s] = struct{}{}
		l.watchTopology() // from now on
		if l.movingTo != nil {
			l.newcomers = append(l.newcomers, s)
		}
	}
}

func (s *session) stopMaint() {
	s.maint = nil
	if s.loop != nil {
		delete(s.loop.maintained, s)
	}
}

// clientCapa is CLIENT CAPA capability...: what a client says it can do. As in Valkey
// unknown words are passed over.
func clientCapa(s *session, args [][]byte, out *kv.Reply) {
	for _, a := range args[2:] {
		if equalFold(a, "redirect") {
			s.capaRedirect = true
		}
	}
	out.OK()
}

func (l *loop) failingOver() {
	l.maintSeq++
	for s := range l.maintained {
		b := appendPush(nil, resp3, 4)
		b = redcon.AppendBulkString(b, "FAILING_OVER")
		b = redcon.AppendInt(b, l.maintSeq)
		b = redcon.AppendInt(b, maintSeconds)
		s.push(redcon.AppendBulkString(b, "0"))
	}
}

func (l *loop) failedOver() {
	l.maintSeq++
	for s := range l.maintained {
		b := appendPush(nil, resp3, 3)
		b = redcon.AppendBulkString(b, "FAILED_OVER")
		b = redcon.AppendInt(b, l.maintSeq)
		s.push(redcon.AppendBulkString(b, "0"))
	}
}

// leaving is where a loop's clients are asked to go.
type leaving struct {
	to    Member
	until time.Time
}

// moving asks the loop's clients to go to another node. Those that subscribe are not
// asked: node-redis goes over to a new connection without subscribing there, and would
// hear nothing ever after. When the node closes their connections they all subscribe
// again.
func (l *loop) moving(to *leaving) {
	l.maintSeq++
	l.movingTo = to
	for s := range l.maintained {
		if !s.subscribed() {
			l.move(s)
		}
	}
}

// stillHere counts the clients that were asked to go and are still here.
func (l *loop) stillHere() (n int) {
	for s := range l.maintained {
		if !s.subscribed() {
			n++
		}
	}
	return n
}

// move asks one client. Pools open connections while they move others: those hear of it,
// too, behind the reply by which they begin to listen.
func (l *loop) move(s *session) {
	b := appendPush(nil, resp3, 4)
	b = redcon.AppendBulkString(b, "MOVING")
	b = redcon.AppendInt(b, l.maintSeq)
	b = redcon.AppendInt(b, max(1, int64(time.Until(l.movingTo.until)/time.Second)))
	if addr := s.movesTo(&l.movingTo.to); addr != "" {
		b = redcon.AppendBulkString(b, addr)
	} else {
		b = append(b, "_\r\n"...)
	}
	s.push(b)
}

// moveNew asks those who came while the others are moving.
func (l *loop) moveNew() {
	for _, s := range l.newcomers {
		if s.maint != nil && l.movingTo != nil && !s.subscribed() {
			l.move(s)
		}
	}
	l.newcomers = l.newcomers[:0]
}

// movesTo is where the client should go; "" if it is to connect again where it did.
func (s *session) movesTo(m *Member) string {
	addr := s.persona.addr(m)
	host, _, err := net.SplitHostPort(addr)
	isIP := err == nil && net.ParseIP(host) != nil
	if err != nil || s.maint.endpoint == "none" || s.maint.endpoint == "ip" && !isIP {
		return ""
	}
	return addr
}

// lingerTime is how long a node that stops goes on for clients of the cluster and
// Sentinel listeners, which learn by MOVED, by +switch-master and by asking again that
// somebody else leads: a few ticks, and a connection to be set up.
//
// quietTime is for how long nobody may have been answered MOVED before the node ends:
// rueidis asks for the slots only up to a second after the first one, and goes on asking
// here for what is elsewhere. All of this ends when MoveClients' context does.
const (
	lingerTime = 500 * time.Millisecond
	quietTime  = 200 * time.Millisecond
)

// MoveClients asks clients that listen for it to go to another node, the leader if that
// is not this one, and waits until they did or ctx ends. Clients of the other personas
// have lingerTime to find out by themselves, longer if they are seen not to have. If this
// node led until now, that goes for clients of the plain listener, too, where a Sentinel
// listener may have sent them. New connections are still taken, and everything is served.
// It is for the moment before Close.
func (s *Server) MoveClients(ctx context.Context, led bool) {
	st := s.backend.Status()
	to := st.leader()
	for i := range st.Members {
		m := &st.Members[i]
		if (to == nil || to.Self) && !m.Self && m.Voter && !st.down(m) {
			to = m
		}
	}
	if to == nil || to.Self {
		return
	}
	target := &leaving{*to, time.Now().Add(maintSeconds * time.Second)}
	if end, ok := ctx.Deadline(); ok {
		target.until = end
	}
	sentHere := led && s.opt.SentinelAddr != ""
	type waiting struct {
		maintained, finding int
		quiet               int64 // since so many ms nobody was sent to the leader
	}
	left := make(chan waiting, len(s.loops))
	ask := func(tell bool) (n waiting) {
		n.quiet = math.MaxInt64
		asked := 0
		for _, l := range s.loops {
			if l.post(func() {
				if tell {
					l.moving(target)
				}
				left <- waiting{l.stillHere(), l.finding(sentHere), l.now - l.sentAway}
			}) {
				asked++
			}
		}
		for range asked {
			w := <-left
			n = waiting{n.maintained + w.maintained, n.finding + w.finding, min(n.quiet, w.quiet)}
		}
		return n
	}
	began := time.Now()
	patient := func(n waiting) bool {
		return time.Since(began) < lingerTime || n.quiet < quietTime.Milliseconds()
	}
	for n := ask(true); n.maintained > 0 || n.finding > 0 && patient(n); n = ask(false) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// finding are the loop's clients that find the leader by themselves, or may.
func (l *loop) finding(sentHere bool) (n int) {
	for _, c := range l.conns {
		if c.s.persona != plainPersona || sentHere {
			n++
		}
	}
	return n
}
