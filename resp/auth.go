package resp

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/rkvdb/rkv/kv"
)

const (
	errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	errNoPass    = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
	errDenied = "-DENIED rkv is running in protected mode because no password is set for the default user. " +
		"In this mode connections are only accepted from the loopback interface. " +
		"If you want to connect from external computers, set a password (--requirepass, or " +
		"'CONFIG SET requirepass <password>' from this machine), or, if the network is trusted, " +
		"'CONFIG SET protected-mode no'. " +
		"You only need to do one of the above things in order for the server to start accepting connections " +
		"from the outside.\r\n"
)

// authState is a connection's history of failed attempts.
type authState struct{ failed int }

const (
	freeAuthFailures = 3   // attempts a connection has before it is slowed down
	authDelayMillis  = 250 // wait before its next command after each further one
	maxAuthFailures  = 64  // then it is closed
)

// authThrottle bounds failed attempts of the whole node: many connections must not
// do what one may not. Clients that know the password never notice it.
type authThrottle struct {
	mu     sync.Mutex
	second int64
	failed int
	log    rateLimited
}

const maxAuthFailuresPerSecond = 100

// exceeded notes a failure and reports whether the node has too many this second.
func (t *authThrottle) exceeded(now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sec := now / 1000; sec != t.second {
		t.second, t.failed = sec, 0
	}
	t.failed++
	return t.failed > maxAuthFailuresPerSecond
}

// authenticate checks the pair and returns an error reply, "" if it is right.
func (s *session) authenticate(user, password []byte) string {
	if u := s.login(user, password); u != nil {
		s.become(u)
		s.auth.failed = 0
		return ""
	}
	s.srv.stats.authDenied.Add(1)
	s.srv.aclLog.add(s, "auth", s.contextWord(), "AUTH", string(cut(user, 128)))
	s.auth.failed++
	if s.auth.failed > freeAuthFailures || s.srv.authLog.exceeded(s.now) {
		s.pausedUntil = s.now + authDelayMillis
	}
	if s.auth.failed >= maxAuthFailures {
		s.closing = true
	}
	if missed, allowed := s.srv.authLog.log.allow(time.Now()); allowed {
		s.srv.log.Warn("wrong password", "client", s.addr.remote, "not_logged_before", missed)
	}
	return errWrongPass
}

func (s *session) contextWord() string {
	if s.inExec {
		return "multi"
	}
	return "toplevel"
}

// equalSecret compares in time that depends on neither content: lengths differ in
// the clear after hashing only.
func equalSecret(got []byte, want string) bool {
	a, b := sha256.Sum256(got), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// cmdAuth is AUTH [user] password. What fails is looked at again when this node
// knows all that was acknowledged: the user may just have been made elsewhere.
func cmdAuth(s *session, args [][]byte, out *kv.Reply) {
	user, pass := []byte("default"), args[len(args)-1]
	switch {
	case len(args) > 3:
		out.Error(errSyntax)
		return
	case len(args) == 3:
		user = args[1]
	case s.acl.Default().NoPass() && (s.acl.Default().Changed || !s.srv.passwordSet()):
		out.Error(errNoPass)
		return
	}
	if u := s.login(user, pass); u == nil && !s.inExec {
		user, pass := append([]byte(nil), user...), append([]byte(nil), pass...)
		s.afterBarrier = func(out *kv.Reply) { s.auth2(user, pass, out) }
		s.beyond = true
		return
	}
	s.auth2(user, pass, out)
}

func (s *session) auth2(user, pass []byte, out *kv.Reply) {
	if msg := s.authenticate(user, pass); msg != "" {
		out.Error(msg)
		return
	}
	out.OK()
}

// denied reports whether protected mode refuses the client (DESIGN 22).
func (s *Server) denied(addr clientAddr) bool {
	return !addr.loopback && s.live.protected.Load() && s.defaultOpen(s.backend.Store().ACL())
}

const (
	errSyntax = "ERR syntax error"
	errNotInt = "ERR value is not an integer or out of range"
)
