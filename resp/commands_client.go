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
	s.publish(0)
	var b strings.Builder
	s.describe(&b)
	out.Verbatim("txt", []byte(b.String()))
}

// clientList is CLIENT LIST [TYPE type] [ID id ...]; it knows this node's clients.
func clientList(s *session, args [][]byte, out *kv.Reply) {
	var ids map[uint64]bool
	none := false
	switch {
	case len(args) == 2:
	case len(args) == 4 && equalFold(args[2], "type"):
		known, normal := clientType(args[3])
		if !known {
			out.Error("ERR Unknown client type '" + string(cut(args[3], 128)) + "'")
			return
		}
		none = !normal
	case len(args) > 3 && equalFold(args[2], "id"):
		ids = make(map[uint64]bool)
		for _, a := range args[3:] {
			id, ok := parseLen(a)
			if !ok || id <= 0 {
				out.Error("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
	default:
		out.Error(errSyntax)
		return
	}
	s.publish(0)
	var b strings.Builder
	for _, c := range s.srv.clients.all() {
		if !none && (ids == nil || ids[c.s.id]) {
			c.s.describe(&b)
		}
	}
	out.Verbatim("txt", []byte(b.String()))
}

// clientType knows Redis's types; every client here is a normal one.
func clientType(b []byte) (known, normal bool) {
	switch strings.ToLower(string(cut(b, 16))) {
	case "normal":
		return true, true
	case "master", "replica", "slave", "pubsub":
		return true, false
	}
	return false, false
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

func (v *visible) flagLetters() string {
	f := ""
	if v.subs != [kv.SubscriptionKinds]int{} {
		f += "P"
	}
	if v.monitor {
		f += "O"
	}
	if v.blocked {
		f += "b"
	}
	if v.multi >= 0 {
		f += "x"
	}
	if v.blocked {
		f += "b"
	}
	f += v.tracking
	if v.noEvict {
		f += "e"
	}
	if v.noTouch {
		f += "T"
	}
	if f == "" {
		return "N"
	}
	return f
}

// killFilter says which clients CLIENT KILL means; an unset field means any.
type killFilter struct {
	id          uint64
	addr, laddr string
	user        string
	noType      bool // a type of which there are none
	skipMe      bool
	maxAge      int64
}

// clientKill is CLIENT KILL addr, or CLIENT KILL with filters.
func clientKill(s *session, args [][]byte, out *kv.Reply) {
	if len(args) == 3 {
		n := s.killMatching(killFilter{addr: string(args[2])})
		if n == 0 {
			out.Error("ERR No such client")
			return
		}
		out.OK()
		return
	}
	f, msg := parseKill(args[2:])
	if msg != "" {
		out.Error(msg)
		return
	}
	out.Int(int64(s.killMatching(f)))
}

func parseKill(args [][]byte) (f killFilter, msg string) {
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
			f.user = string(value)
			if f.user != "default" {
				return f, "ERR No such user '" + string(cut(value, 128)) + "'"
			}
		case "type":
			known, normal := clientType(value)
			if !known {
				return f, "ERR Unknown client type '" + string(cut(value, 128)) + "'"
			}
			f.noType = !normal
		case "skipme":
			if !equalFold(value, "yes") && !equalFold(value, "no") {
				return f, errSyntax
			}
			f.skipMe = equalFold(value, "yes")
		case "maxage":
			age, ok := parseLen(value)
			if !ok || age < 0 {
				return f, "ERR maxage is not an integer or out of range"
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

func (s *session) killMatching(f killFilter) int {
	n := 0
	for _, c := range s.srv.clients.all() {
		if f.matches(c.s, s.now) && !(f.skipMe && c.s == s) {
			n++
			if c.s == s {
				s.closing = true // after this reply
			} else {
				c.kill(false)
			}
		}
	}
	return n
}

func (f *killFilter) matches(s *session, now int64) bool {
	return !f.noType &&
		(f.id == 0 || f.id == s.id) &&
		(f.addr == "" || f.addr == s.addr.remote) &&
		(f.laddr == "" || f.laddr == s.addr.local) &&
		(f.maxAge == 0 || (now-s.vis.created)/1000 >= f.maxAge)
}

// clientPause is CLIENT PAUSE ms [WRITE|ALL], for this node's clients.
func clientPause(s *session, args [][]byte, out *kv.Reply) {
	ms, ok := parseLen(args[2])
	switch {
	case !ok || ms > 1<<40:
		out.Error("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		out.Error("ERR timeout is negative")
		return
	}
	writes := false
	switch {
	case len(args) == 3, len(args) == 4 && equalFold(args[3], "all"):
	case len(args) == 4 && equalFold(args[3], "write"):
		writes = true
	default:
		out.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
		return
	}
	s.srv.pause.writes.Store(writes)
	s.srv.pause.until.Store(s.now + ms)
	out.OK()
}

func clientUnpause(s *session, _ [][]byte, out *kv.Reply) {
	s.srv.pause.until.Store(0)
	out.OK()
}
