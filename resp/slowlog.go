package resp

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// slowlog is SLOWLOG: the commands of this node that took longest to answer, newest
// first. The threshold is read per command, the rest is behind a lock that only slow
// commands take.
type slowlog struct {
	threshold atomic.Int64 // us; negative: off

	mu      sync.Mutex
	max     int
	nextID  int64
	entries []slowEntry // oldest first
}

type slowEntry struct {
	id, at, usec int64
	args         []string
	client, name string
}

// Bounds of one entry, Redis's.
const (
	slowMaxArgs = 32
	slowMaxArg  = 128
)

func (l *slowlog) init() {
	l.threshold.Store(10_000)
	l.max = 128
}

// wants reports whether a command that took so long belongs into the log.
func (l *slowlog) wants(usec int64) bool {
	t := l.threshold.Load()
	return t >= 0 && usec >= t
}

func (l *slowlog) add(s *session, cmd *kv.Command, args [][]byte, usec int64) {
	e := slowEntry{at: s.now / 1000, usec: usec, args: slowArgs(cmd, args), client: s.addr.remote, name: s.name}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.nextID
	l.nextID++
	l.entries = append(l.entries, e)
	l.trim()
}

// slowArgs keeps what is needed to recognize the command, without its secrets.
func slowArgs(cmd *kv.Command, args [][]byte) []string {
	shown, all := secretArgs(cmd, args)
	n := min(len(args), slowMaxArgs)
	out := make([]string, n)
	for i := range out {
		switch {
		case n < len(args) && i == n-1:
			out[i] = "... (" + strconv.Itoa(len(args)-n+1) + " more arguments)"
		case !all && i >= shown:
			out[i] = string(redacted)
		case len(args[i]) > slowMaxArg:
			out[i] = string(args[i][:slowMaxArg]) + "... (" + strconv.Itoa(len(args[i])-slowMaxArg) + " more bytes)"
		default:
			out[i] = string(args[i])
		}
	}
	return out
}

func (l *slowlog) trim() {
	if over := len(l.entries) - l.max; over > 0 {
		clear(l.entries[:over])
		l.entries = l.entries[over:]
	}
}

func (l *slowlog) setMax(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = n
	l.trim()
}

func (l *slowlog) maxLen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max
}

func slowlogHandlers() map[string]handler {
	return map[string]handler{
		"slowlog|get": {run: slowlogGet},
		"slowlog|len": {run: func(s *session, _ [][]byte, out *kv.Reply) {
			l := &s.srv.slowlog
			l.mu.Lock()
			defer l.mu.Unlock()
			out.Int(int64(len(l.entries)))
		}},
		"slowlog|reset": {run: func(s *session, _ [][]byte, out *kv.Reply) {
			l := &s.srv.slowlog
			l.mu.Lock()
			defer l.mu.Unlock()
			l.entries = nil
			out.OK()
		}},
		"slowlog|help": help("slowlog"),
	}
}

// slowlogGet is SLOWLOG GET [count]; -1 means all.
func slowlogGet(s *session, args [][]byte, out *kv.Reply) {
	count := int64(10)
	switch len(args) {
	case 2:
	case 3:
		n, ok := parseLen(args[2])
		if !ok || n < -1 {
			out.Error("ERR count should be greater than or equal to -1")
			return
		}
		count = n
	default:
		out.Error(unknownOrWrong("slowlog", args[1]))
		return
	}
	l := &s.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.entries)
	if count >= 0 {
		n = int(min(count, int64(n)))
	}
	out.Array(n)
	for i := range n {
		e := &l.entries[len(l.entries)-1-i]
		out.Array(6)
		out.Int(e.id)
		out.Int(e.at)
		out.Int(e.usec)
		out.Array(len(e.args))
		for _, a := range e.args {
			out.BulkString(a)
		}
		out.BulkString(e.client)
		out.BulkString(e.name)
	}
}
