package resp

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// clientFilter says which clients CLIENT KILL means; an unset field means any.
type clientFilter struct {
	id          uint64
	addr, laddr string
	user        string
	kind        string // "" or a type of clientTypes
	skipMe      bool
	maxAge      int64 // s
}

// clientTypes are Redis's. There are no masters among the clients; replicas are servers
// that follow this node.
var clientTypes = []string{"normal", "slave", "replica", "pubsub", "master"}

// clientType finds a type by its name in any case; "" if there is none.
func clientType(b []byte) string {
	for _, t := range clientTypes {
		if equalFold(b, t) {
			if t == "replica" {
				return "slave" // Redis's older name of the same
			}
			return t
		}
	}
	return ""
}

func unknownType(b []byte) string { return "ERR Unknown client type '" + string(cut(b, 128)) + "'" }

// kind is the client's type; the caller holds the lock.
func (v *visible) kind() string {
	if v.replica {
		return "slave"
	}
	if v.subs != [kv.SubscriptionKinds]int{} {
		return "pubsub"
	}
	return "normal"
}

func (f *clientFilter) matches(s *session, now int64) bool {
	v := &s.vis
	v.mu.Lock()
	defer v.mu.Unlock()
	return (f.kind == "" || f.kind == v.kind()) &&
		(f.id == 0 || f.id == s.id) &&
		(f.addr == "" || f.addr == s.addr.remote) &&
		(f.laddr == "" || f.laddr == s.addr.local) &&
		(f.user == "" || f.user == v.user) &&
		(f.maxAge == 0 || now/1000-v.created/1000 >= f.maxAge)
}

func (s *session) parseFilter(args [][]byte) (f clientFilter, msg string) {
	f.skipMe = true
	for ; len(args) >= 2; args = args[2:] {
		value := args[1]
		switch strings.ToLower(string(cut(args[0], 16))) {
		case "id":
			id, ok := parseLen(value)
			if !ok || id <= 0 {
				return f, "ERR client-id should be greater than 0"
			}
			f.id = uint64(id)
		case "addr":
			f.addr = string(value)
		case "laddr":
			f.laddr = string(value)
		case "user":
			if f.user = string(value); s.srv.backend.Store().ACL().User(value) == nil {
				return f, "ERR No such user '" + string(cut(value, 128)) + "'"
			}
		case "type":
			if f.kind = clientType(value); f.kind == "" {
				return f, unknownType(value)
			}
		case "skipme":
			if !equalFold(value, "yes") && !equalFold(value, "no") {
				return f, errSyntax
			}
			f.skipMe = equalFold(value, "yes")
		case "maxage":
			age, ok := parseLen(value)
			switch {
			case !ok:
				return f, "ERR maxage is not an integer or out of range"
			case age <= 0:
				return f, "ERR maxage should be greater than 0"
			}
			f.maxAge = age
		default:
			return f, errSyntax
		}
	}
	if len(args) != 0 {
		return f, errSyntax
	}
	return f, ""
}

// clientKill is CLIENT KILL addr, or CLIENT KILL with filters. A client that is named by
// its id may be another node's; all other filters are about this node's.
func clientKill(s *session, args [][]byte, out *kv.Reply) {
	if len(args) == 3 { // the old form may name the client itself
		if s.killMatching(clientFilter{addr: string(args[2])}) == 0 {
			out.Error("ERR No such client")
			return
		}
		out.OK()
		return
	}
	f, msg := s.parseFilter(args[2:])
	switch {
	case msg != "":
		out.Error(msg)
	case len(args) == 4 && f.id != 0 && clientNode(f.id) != s.srv.nodeID && !s.inExec:
		s.killElsewhere(f.id)
	default:
		out.Int(int64(s.killMatching(f)))
	}
}

func (s *session) killMatching(f clientFilter) int {
	n := 0
	for _, c := range s.srv.clients.all() {
		if !f.matches(c.s, s.now) || f.skipMe && c.s == s {
			continue
		}
		if n++; c.s == s {
			s.closing = true // after this reply
		} else {
			c.kill(false)
		}
	}
	return n
}

// killElsewhere asks the node that has the client.
func (s *session) killElsewhere(id uint64) {
	s.async = s.srv.blocking(func(ctx context.Context, out *kv.Reply) {
		ctx, cancel := context.WithTimeout(ctx, clientCallTimeout)
		defer cancel()
		n, err := s.srv.backend.ClientCall(ctx, clientNode(id), []string{"kill", strconv.FormatUint(id, 10)})
		if err != nil {
			out.Error(err.Error())
			return
		}
		out.Int(n)
	})
}

// serveKill is what killElsewhere asks for.
func (s *Server) serveKill(id uint64) (int64, error) {
	c := s.clients.get(id)
	if c == nil {
		return 0, nil
	}
	c.kill(false)
	return 1, nil
}

// serveClientCall does what another node asks about a client of this one.
func (s *Server) serveClientCall(words []string) (int64, error) {
	unknown := errors.New("ERR this node does not know the request; is it of another version?")
	if len(words) < 2 {
		return 0, unknown
	}
	id, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return 0, errors.New(errNotInt)
	}
	switch {
	case words[0] == "kill" && len(words) == 2:
		return s.serveKill(id)
	case words[0] == "unblock" && len(words) == 3 && (words[2] == kv.UnblockTimeout || words[2] == kv.UnblockError):
		return s.serveUnblock(id, words[2])
	}
	return 0, unknown
}
