package resp

import (
	"strings"

	"github.com/rkvdb/rkv/kv"
)

func connectionHandlers() map[string]handler {
	return map[string]handler{
		"ping":      {run: cmdPing, anywhere: true, subscriber: true},
		"echo":      {run: cmdEcho, anywhere: true},
		"auth":      {run: cmdAuth},
		"hello":     {run: cmdHello},
		"select":    {run: cmdSelect, inExec: selectInExec},
		"quit":      {run: cmdQuit, transaction: true, subscriber: true},
		"reset":     {run: cmdReset, transaction: true, subscriber: true},
		"readonly":  {run: func(s *session, _ [][]byte, out *kv.Reply) { s.stale = true; out.OK() }},
		"readwrite": {run: func(s *session, _ [][]byte, out *kv.Reply) { s.stale = false; out.OK() }},
		"asking":    refused("ERR This instance has cluster support disabled"),
	}
}

func cmdPing(s *session, args [][]byte, out *kv.Reply) {
	if s.proto == resp2 && s.subscribed() && len(args) <= 2 {
		out.Array(2) // a message like all others
		out.BulkString("pong")
		out.Bulk(append(args, nil)[1])
		return
	}
	switch len(args) {
	case 1:
		out.Status("PONG")
	case 2:
		out.Bulk(args[1])
	default:
		out.Error(kv.WrongArgs("ping"))
	}
}

func cmdEcho(_ *session, args [][]byte, out *kv.Reply) { out.Bulk(args[1]) }

func cmdSelect(s *session, args [][]byte, out *kv.Reply) {
	if db, msg := parseDB(s, args[1]); msg != "" {
		out.Error(msg)
	} else {
		s.db = db
		out.OK()
	}
}

func selectInExec(s *session, c *kv.Chunk, args [][]byte, out *kv.Reply) {
	if db, msg := parseDB(s, args[1]); msg != "" {
		out.Error(msg)
	} else {
		s.execDB = db
		c.AppendSelect(db)
		out.OK()
	}
}

func parseDB(s *session, arg []byte) (db int, msg string) {
	n, ok := parseLen(arg)
	switch {
	case !ok:
		return 0, errNotInt
	case n < 0 || n >= int64(s.srv.backend.Store().Databases()):
		return 0, "ERR DB index is out of range"
	}
	return int(n), ""
}

func cmdQuit(s *session, _ [][]byte, out *kv.Reply) {
	s.closing = true
	out.OK()
}

// cmdReset makes the connection as it was when it was opened, HELLO, AUTH and CLIENT
// REPLY included.
func cmdReset(s *session, _ [][]byte, out *kv.Reply) {
	s.leaveAll()
	s.proto, s.db, s.stale, s.staleness, s.name = resp2, 0, false, 0, ""
	s.multi, s.watches, s.reply = nil, nil, replyOn
	s.noEvict, s.noTouch, s.capaRedirect = false, false, false
	s.leaveMonitor()
	s.userID, s.authed = kv.DefaultUser, false
	s.refreshUser(s.srv.backend.Store().ACL())
	out.Status("RESET")
}

// cmdHello is HELLO [protover [AUTH user password] [SETNAME name]]. As with AUTH, a
// wrong password gets a second look.
func cmdHello(s *session, args [][]byte, out *kv.Reply) {
	h, msg := parseHello(s, args)
	if msg != "" {
		out.Error(msg)
		return
	}
	if h.user != nil && !s.inExec && s.login(h.user, h.pass) == nil {
		h.user, h.pass = append([]byte(nil), h.user...), append([]byte(nil), h.pass...)
		h.name = append([]byte(nil), h.name...)
		s.afterBarrier = func(out *kv.Reply) { s.helloWith(h, out) }
		s.beyond = true
		return
	}
	s.helloWith(h, out)
}

type helloOptions struct {
	proto      int
	user, pass []byte // nil: no AUTH
	name       []byte
	named      bool
}

func parseHello(s *session, args [][]byte) (h helloOptions, msg string) {
	h.proto = s.proto
	if len(args) > 1 {
		n, ok := parseLen(args[1])
		switch {
		case !ok:
			return h, "ERR Protocol version is not an integer or out of range"
		case n < resp2 || n > resp3:
			return h, "NOPROTO unsupported protocol version"
		}
		h.proto = int(n)
	}
	for i := 2; i < len(args); {
		switch {
		case equalFold(args[i], "auth") && i+2 < len(args):
			h.user, h.pass = args[i+1], args[i+2]
			i += 3
		case equalFold(args[i], "setname") && i+1 < len(args):
			if !validName(args[i+1]) {
				return h, errBadName
			}
			h.name, h.named = args[i+1], true
			i += 2
		default:
			return h, "ERR Syntax error in HELLO option '" + string(cut(args[i], 128)) + "'"
		}
	}
	return h, ""
}

func (s *session) helloWith(h helloOptions, out *kv.Reply) {
	if h.user != nil {
		if msg := s.authenticate(h.user, h.pass); msg != "" {
			out.Error(msg)
			return
		}
	}
	if !s.authed {
		out.Error("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> " +
			"AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol " +
			"version at the same time")
		return
	}
	if h.named {
		s.name = string(h.name)
	}
	s.proto = h.proto
	s.hello(out)
}

// hello is the reply; clients require bulk strings and integers (CLIENTS.md 1.1).
func (s *session) hello(out *kv.Reply) {
	fields := 7
	if s.persona == sentinelPersona {
		fields-- // Sentinels have no role
	}
	out.Map(fields)
	out.BulkString("server")
	out.BulkString("redis")
	out.BulkString("version")
	out.BulkString(s.srv.opt.RedisVersion)
	out.BulkString("proto")
	out.Int(int64(s.proto))
	out.BulkString("id")
	out.Int(int64(s.id))
	out.BulkString("mode")
	out.BulkString(s.persona.mode())
	if s.persona != sentinelPersona {
		out.BulkString("role")
		if s.srv.leads() {
			out.BulkString("master")
		} else {
			out.BulkString("replica")
		}
	}
	out.BulkString("modules")
	out.Array(0)
}

const errBadName = "ERR Client names cannot contain spaces, newlines or special characters."

// validName allows what keeps CLIENT LIST parseable: printable ASCII without blanks.
func validName(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func roleWord(leads bool) string {
	if leads {
		return "master"
	}
	return "slave"
}

func (s *Server) leads() bool { return strings.EqualFold(s.backend.Status().Role, "leader") }
