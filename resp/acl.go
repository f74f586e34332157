package resp

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"github.com/rkvdb/rkv/kv"
)

// Users are replicated (kv.ACL); which user a connection is, is this node's. The
// session checks every command of a user who may not do everything against the
// users as this node knows them, and the log checks again (docs/adr/0012).

// defaultOpen reports whether connections may begin without a password.
func (s *Server) defaultOpen(a *kv.ACL) bool {
	d := a.Default()
	if !d.Changed && s.live.password() != "" {
		return false // what this node was started with, until the cluster says otherwise
	}
	return d.Enabled() && d.NoPass()
}

// refreshUser takes over a new version of the users.
func (s *session) refreshUser(a *kv.ACL) {
	s.acl = a
	u := a.UserByID(s.userID)
	if u == nil {
		s.closing = true // the user was removed
		return
	}
	s.user, s.limited = u, !u.Unlimited()
	s.authed = s.authed || s.userID == kv.DefaultUser && s.srv.defaultOpen(a)
}

// become makes the connection the user's.
func (s *session) become(u *kv.User) {
	s.userID, s.user, s.limited, s.authed = u.ID, u, !u.Unlimited(), true
}

// login checks the pair against the users as this node knows them.
func (s *session) login(user, password []byte) *kv.User {
	a := s.srv.backend.Store().ACL()
	if a != s.acl {
		s.refreshUser(a)
	}
	u := a.User(user)
	switch {
	case u == nil || !u.Enabled():
		kv.HashPassword(password) // as long as for one that exists
		return nil
	case u.ID == kv.DefaultUser && !u.Changed && s.srv.live.password() != "":
		if !equalSecret(password, s.srv.live.password()) {
			return nil
		}
		return u
	case !u.PasswordOK(password):
		return nil
	}
	return u
}

// denied checks the command and, if it is refused, notes and replies that. recheck
// asks for a newer view of the users first: the client may just have got its
// permissions through another node.
func (s *session) denied(cmd *kv.Command, args [][]byte) (refused, recheck bool) {
	d := s.user.Check(cmd, args)
	if d.Reason == kv.DeniedNone {
		return false, false
	}
	if !s.aclFresh {
		return true, true
	}
	s.noteDenied(d, s.multi != nil)
	s.reject(cmd, d.Error())
	return true, false
}

// noteDenied counts and remembers a refusal for ACL LOG.
func (s *session) noteDenied(d kv.Denial, inMulti bool) {
	reason, context := "command", "toplevel"
	switch d.Reason {
	case kv.DeniedKey:
		reason = "key"
		s.srv.stats.keyDenied.Add(1)
	case kv.DeniedChannel:
		reason = "channel"
		s.srv.stats.channelDenied.Add(1)
	default:
		s.srv.stats.commandDenied.Add(1)
	}
	switch {
	case d.InScript:
		context = "lua"
	case d.InExec || inMulti:
		context = "multi"
	}
	s.srv.aclLog.add(s, reason, context, d.Object, s.user.Name)
}

// aclSetUser is the row of ACL SETUSER, whose arguments are secrets.
var aclSetUser = findRow("acl|setuser")

// forLog is the command as it may stand in the log: passwords become hashes, so that
// no node's disk holds them. The first change of the default user also brings the
// password this node was started with: it must not open the server by the way.
func (s *session) forLog(cmd *kv.Command, args [][]byte) [][]byte {
	if cmd != aclSetUser {
		return args
	}
	out := slices.Clone(args[:3])
	if pass := s.srv.live.password(); string(args[2]) == "default" && pass != "" && !s.acl.Default().Changed {
		out = append(out, []byte("#"+kv.HashPassword([]byte(pass))))
	}
	for _, rule := range args[3:] {
		switch {
		case len(rule) > 0 && rule[0] == '>':
			rule = []byte("#" + kv.HashPassword(rule[1:]))
		case len(rule) > 0 && rule[0] == '<':
			rule = []byte("!" + kv.HashPassword(rule[1:]))
		}
		out = append(out, rule)
	}
	return out
}

// aclLog is ACL LOG: what was refused on this node, the newest first.
type aclLog struct {
	mu      sync.Mutex
	entries []*aclLogEntry
	nextID  int64
	max     int
}

type aclLogEntry struct {
	id               int64
	count            int64
	reason, context  string
	object, user     string
	created, updated int64 // Unix ms
	client           string
}

// aclLogWindow: equal refusals within it are one entry.
const aclLogWindow = 60_000

// add notes a refusal. The object may be long or hostile: it is cut.
func (l *aclLog) add(s *session, reason, context, object, user string) {
	client := s.describeLine()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(object) > 1024 {
		object = object[:1024]
	}
	for i, e := range l.entries {
		if e.reason == reason && e.context == context && e.user == user && e.object == object && s.now-e.updated <= aclLogWindow {
			e.count++
			e.updated, e.client = s.now, client
			l.entries = slices.Insert(slices.Delete(l.entries, i, i+1), 0, e)
			return
		}
	}
	e := &aclLogEntry{l.nextID, 1, reason, context, object, user, s.now, s.now, client}
	l.nextID++
	l.entries = slices.Insert(l.entries, 0, e)
	l.trim()
}

func (l *aclLog) trim() {
	if len(l.entries) > l.max {
		l.entries = l.entries[:l.max]
	}
}

func (l *aclLog) setMax(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = n
}

func (l *aclLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

func (l *aclLog) reply(n int, now int64, out *kv.Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.entries))
	out.Array(n)
	for _, e := range l.entries[:n] {
		out.Map(10)
		text := func(name, value string) { out.BulkString(name); out.BulkString(value) }
		num := func(name string, v int64) { out.BulkString(name); out.Int(v) }
		num("count", e.count)
		text("reason", e.reason)
		text("context", e.context)
		text("object", e.object)
		text("username", e.user)
		out.BulkString("age-seconds")
		out.Double(float64(max(0, now-e.created)) / 1000)
		text("client-info", e.client)
		num("entry-id", e.id)
		num("timestamp-created", e.created)
		num("timestamp-last-updated", e.updated)
	}
}

// describeLine is the connection's line of CLIENT LIST without the line end.
func (s *session) describeLine() string {
	s.publish(0)
	var b bytes.Buffer
	s.describe(&b)
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}

// passwordBits is the default of ACL GENPASS, and the most it gives.
const (
	passwordBits    = 256
	maxPasswordBits = 4096
)

func parseBits(b []byte) (bits int, msg string) {
	n, err := strconv.ParseInt(string(cut(b, 32)), 10, 64)
	switch {
	case err != nil:
		return 0, errNotInt
	case n <= 0 || n > maxPasswordBits:
		return 0, "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
	}
	return int(n), ""
}
