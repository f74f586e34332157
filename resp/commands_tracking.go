package resp

import (
	"fmt"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

func trackingHandlers() map[string]handler {
	return map[string]handler{
		"client|tracking": {run: clientTracking},
		"client|caching": {run: clientCaching, inExec: func(s *session, _ *kv.Chunk, args [][]byte, out *kv.Reply) {
			clientCaching(s, args, out)
		}},
		"client|trackinginfo": {run: clientTrackingInfo},
		"client|getredir":     {run: clientGetRedir},
	}
}

// clientTracking is CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX p ...] [BCAST] [OPTIN]
// [OPTOUT] [NOLOOP].
func clientTracking(s *session, args [][]byte, out *kv.Reply) {
	next, msg := s.parseTracking(args[3:])
	switch {
	case msg != "":
	case equalFold(args[2], "off"):
		s.stopTracking()
		out.OK()
		return
	case !equalFold(args[2], "on"):
		msg = errSyntax
	default:
		msg = s.checkTracking(&next)
	}
	if msg != "" {
		out.Error(msg)
		return
	}
	s.startTracking(next)
	out.OK()
}

func (s *session) parseTracking(args [][]byte) (t tracker, msg string) {
	for i := 0; i < len(args); i++ {
		more := i+1 < len(args)
		switch opt := args[i]; {
		case equalFold(opt, "redirect") && more:
			i++
			if t.redirect != 0 {
				return t, "ERR A client can only redirect to a single other client"
			}
			id, ok := parseLen(args[i])
			if !ok {
				return t, errNotInt
			}
			// By the id alone a client of another node is as absent as any.
			if id <= 0 || s.srv.clients.get(uint64(id)) == nil {
				return t, "ERR The client ID you want redirect to does not exist"
			}
			t.redirect = uint64(id)
		case equalFold(opt, "bcast"):
			t.bcast = true
		case equalFold(opt, "optin"):
			t.optIn = true
		case equalFold(opt, "optout"):
			t.optOut = true
		case equalFold(opt, "noloop"):
			t.noLoop = true
		case equalFold(opt, "prefix") && more:
			i++
			t.prefixes = append(t.prefixes, string(args[i]))
		default:
			return t, errSyntax
		}
	}
	return t, ""
}

// checkTracking says why the session may not track so, now.
func (s *session) checkTracking(t *tracker) (msg string) {
	const anew = " before disabling tracking for this client, and then re-enabling it with a different mode."
	switch old := s.track; {
	case !t.bcast && len(t.prefixes) > 0:
		return "ERR PREFIX option requires BCAST mode to be enabled"
	case old != nil && old.bcast != t.bcast:
		return "ERR You can't switch BCAST mode on/off" + anew
	case t.bcast && (t.optIn || t.optOut):
		return "ERR OPTIN and OPTOUT are not compatible with BCAST"
	case t.optIn && t.optOut:
		return "ERR You can't specify both OPTIN mode and OPTOUT mode"
	case old != nil && (t.optIn && old.optOut || t.optOut && old.optIn):
		return "ERR You can't switch OPTIN/OPTOUT mode" + anew
	}
	return s.checkPrefixes(t.prefixes)
}

// checkPrefixes refuses prefixes of one client that overlap: it would be told of a key
// several times.
func (s *session) checkPrefixes(prefixes []string) (msg string) {
	const not = "Prefixes for a single client must not overlap."
	overlap := func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
	for i, p := range prefixes {
		if s.track != nil {
			for _, old := range s.track.prefixes {
				if overlap(p, old) {
					return fmt.Sprintf("ERR Prefix '%s' overlaps with an existing prefix '%s'. %s", p, old, not)
				}
			}
		}
		for _, other := range prefixes[i+1:] {
			if overlap(p, other) {
				return fmt.Sprintf("ERR Prefix '%s' overlaps with another provided prefix '%s'. %s", p, other, not)
			}
		}
	}
	return ""
}

// clientCaching is CLIENT CACHING YES|NO: about the next command, or transaction.
func clientCaching(s *session, args [][]byte, out *kv.Reply) {
	t := s.track
	yes, no := equalFold(args[2], "yes"), equalFold(args[2], "no")
	switch {
	case t == nil:
		out.Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case yes && !t.optIn:
		out.Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case no && !t.optOut:
		out.Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case !yes && !no:
		out.Error(errSyntax)
	default:
		t.caching = true
		out.OK()
	}
}

// cachingUsed ends CLIENT CACHING after the command it was for.
func (s *session) cachingUsed(cmd *kv.Command) {
	if s.multi == nil && !strings.HasPrefix(cmd.Name, "client|") {
		s.track.caching = false
	}
}

// redirection is Redis's number: -1 without tracking, 0 without a redirection.
func (s *session) redirection() int64 {
	if s.track == nil {
		return -1
	}
	return int64(s.track.redirect)
}

func clientGetRedir(s *session, _ [][]byte, out *kv.Reply) { out.Int(s.redirection()) }

func clientTrackingInfo(s *session, _ [][]byte, out *kv.Reply) {
	flags := []string{"off"}
	var prefixes []string
	if t := s.track; t != nil {
		flags, prefixes = t.words(s.srv), t.prefixes
	}
	out.Map(3)
	out.BulkString("flags")
	out.Set(len(flags))
	for _, f := range flags {
		out.BulkString(f)
	}
	out.BulkString("redirect")
	out.Int(s.redirection())
	out.BulkString("prefixes")
	out.Array(len(prefixes))
	for _, p := range prefixes {
		out.BulkString(p)
	}
}

func (t *tracker) words(srv *Server) []string {
	words := []string{"on"}
	for _, w := range []struct {
		on   bool
		word string
	}{
		{t.bcast, "bcast"},
		{t.optIn, "optin"}, {t.optIn && t.caching, "caching-yes"},
		{t.optOut, "optout"}, {t.optOut && t.caching, "caching-no"},
		{t.noLoop, "noloop"},
		{t.broken || t.redirect != 0 && srv.clients.get(t.redirect) == nil, "broken_redirect"},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return words
}
