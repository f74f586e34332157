package resp

import (
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

func clientHandlers() map[string]handler {
	return map[string]handler{
		"client|id":      {run: func(s *session, _ [][]byte, out *kv.Reply) { out.Int(int64(s.id)) }},
		"client|setname": {run: clientSetName},
		"client|getname": {run: clientGetName},
		"client|setinfo": {run: clientSetInfo},
		"client|info":    {run: clientInfo},
		"client|list":    {run: clientList},
		"client|kill":    {run: clientKill},
		"client|no-evict": {run: func(s *session, args [][]byte, out *kv.Reply) {
			onOff(args[2], &s.noEvict, out)
		}},
		"client|no-touch": {run: func(s *session, args [][]byte, out *kv.Reply) {
			onOff(args[2], &s.noTouch, out)
		}},
		"client|reply":   {run: clientReply, alone: true},
		"client|pause":   {run: clientPause},
		"client|unpause": {run: clientUnpause},
		"client|unblock": {run: clientUnblock, alone: true},
		"client|help":    help("client"),
		"client|capa":    {run: clientCapa, anywhere: true},

		"client|staleness": {run: clientStaleness},

		"client|maint_notifications": {run: clientMaint},
	}
}

func clientSetName(s *session, args [][]byte, out *kv.Reply) {
	if !validName(args[2]) {
		out.Error(errBadName)
		return
	}
	s.name = string(args[2])
	out.OK()
}

func clientGetName(s *session, _ [][]byte, out *kv.Reply) {
	if s.name == "" {
		out.Null()
		return
	}
	out.BulkString(s.name)
}

// clientSetInfo takes LIB-NAME and LIB-VER, which every client library sends.
func clientSetInfo(s *session, args [][]byte, out *kv.Reply) {
	var target *string
	attr := ""
	switch {
	case equalFold(args[2], "lib-name"):
		target, attr = &s.lib.name, "lib-name"
	case equalFold(args[2], "lib-ver"):
		target, attr = &s.lib.version, "lib-ver"
	default:
		out.Error("ERR Unrecognized option '" + string(cut(args[2], 128)) + "'")
		return
	}
	if !validName(args[3]) {
		out.Error("ERR " + attr + " cannot contain spaces, newlines or special characters.")
		return
	}
	*target = string(args[3])
	out.OK()
}

func onOff(arg []byte, flag *bool, out *kv.Reply) {
	switch {
	case equalFold(arg, "on"):
		*flag = true
	case equalFold(arg, "off"):
		*flag = false
	default:
		out.Error(errSyntax)
		return
	}
	out.OK()
}

func clientReply(s *session, args [][]byte, out *kv.Reply) {
	switch {
	case equalFold(args[2], "on"):
		s.reply = replyOn
	case equalFold(args[2], "off"):
		s.reply = replyOff
	case equalFold(args[2], "skip"):
		if s.reply != replyOff {
			s.reply = replySkipNext
		}
	default:
		out.Error(errSyntax)
		return
	}
	out.OK()
}

func clientInfo(s *session, _ [][]byte, out *kv.Reply) {
	s.publish(s.received)
	var b strings.Builder
	s.describe(&b)
	out.Verbatim("txt", []byte(b.String()))
}

// clientList is CLIENT LIST [TYPE type] [ID id ...]; it knows this node's clients.
func clientList(s *session, args [][]byte, out *kv.Reply) {
	var ids map[uint64]bool
	var f clientFilter
	switch {
	case len(args) == 2:
	case len(args) == 4 && equalFold(args[2], "type"):
		if f.kind = clientType(args[3]); f.kind == "" {
			out.Error(unknownType(args[3]))
			return
		}
	case len(args) > 3 && equalFold(args[2], "id"):
		ids = make(map[uint64]bool)
		for _, a := range args[3:] {
			id, ok := parseLen(a)
			if !ok {
				out.Error("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
	default:
		out.Error(errSyntax)
		return
	}
	s.publish(s.received)
	var b strings.Builder
	for _, c := range s.srv.clients.all() {
		if f.matches(c.s, s.now) && (ids == nil || ids[c.s.id]) {
			c.s.describe(&b)
		}
	}
	out.Verbatim("txt", []byte(b.String()))
}

// describe appends the session's line as Redis 7.2 formats it. What this server does
// not measure is 0.
func (s *session) describe(b lineWriter) {
	v := &s.vis
	v.mu.Lock()
	defer v.mu.Unlock()
	now := s.srv.backend.Now()
	field := func(name, value string) {
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(value)
		b.WriteByte(' ')
	}
	num := func(name string, n int64) { field(name, strconv.FormatInt(n, 10)) }
	num("id", int64(s.id))
	field("addr", s.addr.remote)
	field("laddr", s.addr.local)
	num("fd", int64(s.addr.fd))
	field("name", v.name)
	num("age", max(0, now-v.created)/1000)
	num("idle", max(0, now-v.active)/1000)
	field("flags", v.flagLetters())
	num("db", int64(v.db))
	num("sub", int64(v.subs[kv.SubscribeChannel]))
	num("psub", int64(v.subs[kv.SubscribePattern]))
	num("ssub", int64(v.subs[kv.SubscribeShard]))
	num("multi", int64(v.multi))
	if s.srv.imitates(kv.Redis74) {
		num("watch", int64(v.watch))
	}
	num("qbuf", int64(v.qbuf))
	num("qbuf-free", 0)
	num("argv-mem", 0)
	num("multi-mem", 0)
	num("rbs", 0)
	num("rbp", 0)
	num("obl", int64(v.omem))
	num("oll", 0)
	num("omem", int64(v.omem))
	num("tot-mem", int64(v.qbuf+v.omem))
	field("events", "r")
	field("cmd", v.cmd)
	field("user", v.user)
	num("redir", v.redir)
	num("resp", int64(v.proto))
	field("lib-name", v.libName)
	b.WriteString("lib-ver=" + v.libVer + "\n")
}

// lineWriter is a buffer of either kind.
type lineWriter interface {
	WriteString(string) (int, error)
	WriteByte(byte) error
}

// flagLetters are what the client is, in Redis's letters and order.
func (v *visible) flagLetters() string {
	f := ""
	for _, l := range []struct {
		on     bool
		letter string
	}{
		{v.monitor, "O"},
		{v.replica, "S"},
		{v.kind() == "pubsub", "P"},
		{v.multi >= 0, "x"},
		{v.blocked, "b"},
		{true, v.tracking},
		{v.stale, "r"},
		{v.noEvict, "e"},
		{v.noTouch, "T"},
	} {
		if l.on {
			f += l.letter
		}
	}
	if f == "" {
		return "N"
	}
	return f
}
