package resp

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// What every executed command leaves behind: its row of the tally, a slow log entry
// or latency event if it took long, a line for those who MONITOR. A logged command's
// duration reaches from its proposal to its apply here: what a client waits for.

// nanos is a monotonic clock.
func (s *Server) nanos() int64 { return int64(time.Since(s.started)) }

// begun marks the moment from which the chunk's duration counts.
func (s *session) begun() { s.chunkStart = s.srv.nanos() }

// ranCommand is a command of a chunk; cmd is nil for one that was counted by itself.
type ranCommand struct {
	cmd *kv.Command
	// upper tells which letters of the name, and of the subcommand's, the client sent as
	// capitals: the log knows the command, not its spelling.
	upper [2]uint32
}

func ran(cmd *kv.Command, args [][]byte) ranCommand {
	r := ranCommand{cmd: cmd}
	for i := range min(len(args), len(r.upper), strings.Count(cmd.Name, "|")+1) {
		for j, c := range args[i] {
			if 'A' <= c && c <= 'Z' {
				r.upper[i] |= 1 << j
			}
		}
	}
	return r
}

// spelled returns args with the name as the client spelled it.
func (r ranCommand) spelled(args [][]byte) [][]byte {
	if r.upper == [2]uint32{} {
		return args
	}
	args = slices.Clone(args)
	for i, upper := range r.upper {
		if upper == 0 || i >= len(args) {
			continue
		}
		args[i] = bytes.ToLower(args[i])
		for j := range args[i] {
			if upper&(1<<j) != 0 {
				args[i][j] -= 'a' - 'A'
			}
		}
	}
	return args
}

// account notes the chunk's commands after it was answered; each is charged its
// share of the time.
func (s *session) account() {
	n := int64(0)
	for i := range s.ran {
		if s.ran[i].cmd != nil {
			n++
		}
	}
	if n == 0 {
		return
	}
	usec := (s.srv.nanos() - s.chunkStart) / n / 1000
	for i := range s.ran {
		if cmd := s.ran[i].cmd; cmd != nil {
			s.row(cmd).add(usec)
			s.srv.latency.command(cmd, usec, s.now)
		}
	}
	if s.srv.slowlog.wants(usec) {
		s.logSlow(usec)
	}
	for _, d := range s.chunk.Denied {
		s.noteDenied(d, false)
	}
	for _, c := range s.chunk.Calls {
		s.row(c.Cmd).called(c)
	}
	for code, n := range s.chunk.CallErrors {
		s.srv.stats.countErrors([]byte(code), uint64(n))
	}
	for _, args := range s.chunk.Called {
		s.srv.feedMonitors(s, "lua", args)
	}
}

// logSlow writes the chunk's commands to the slow log.
func (s *session) logSlow(usec int64) {
	next := 0
	pass := func(cmd *kv.Command) { // what the chunk does not tell of, up to cmd
		for ; next < len(s.ran) && (cmd == nil || s.ran[next].cmd != cmd); next++ {
			if args := s.ranArgs[next]; args != nil {
				s.srv.slowlog.add(s, s.ran[next].cmd, args, usec)
			}
		}
	}
	s.chunk.EachCommand(func(cmd *kv.Command, args [][]byte) {
		pass(cmd)
		if next < len(s.ran) {
			args = s.ran[next].spelled(args)
			next++
		}
		if cmd.Flags&kv.FlagSkipSlowlog == 0 {
			s.srv.slowlog.add(s, cmd, args, usec)
		}
	})
	pass(nil)
}

// ranAs notes a command whose arguments the chunk does not hold (CONFIG SET).
func (s *session) ranAs(cmd *kv.Command, args [][]byte) {
	if s.ranArgs == nil {
		s.ranArgs = make(map[int][][]byte)
	}
	s.ranArgs[len(s.ran)] = copyArgs(args)
	s.ran = append(s.ran, ran(cmd, args))
}

// accountLocal notes a command this node answered by itself.
func (s *session) accountLocal(cmd *kv.Command, args [][]byte, start int64, failed bool) {
	usec := (s.srv.nanos() - start) / 1000
	if cmd.Flags&kv.FlagBlocking != 0 || cmd.Name == "wait" {
		usec = 0 // it waited because it was told to
	}
	row := s.row(cmd)
	row.add(usec)
	if failed {
		row.failed++
	}
	s.srv.latency.command(cmd, usec, s.now)
	if cmd.Flags&kv.FlagSkipSlowlog == 0 && s.srv.slowlog.wants(usec) {
		s.srv.slowlog.add(s, cmd, args, usec)
	}
}

// countErrors counts the chunk's error replies, those inside an EXEC included.
func (s *session) countErrors(c *kv.Chunk) {
	// An EXEC's values stand in ran behind the EXEC itself.
	exec := s.inExec
	c.Reply.EachError(func(top, element int, line []byte) {
		s.srv.stats.countError(line)
		i := top
		if exec {
			if i = 0; element >= 0 {
				i = 1 + element
			}
		}
		if i < len(s.ran) && s.ran[i].cmd != nil {
			cmd := s.ran[i].cmd
			row := s.row(cmd)
			// A script that met the memory's end had begun.
			if bytes.HasPrefix(line, []byte("-NOPERM")) || bytes.HasPrefix(line, []byte("-OOM")) && !cmd.Script {
				row.rejected++
				return
			}
			row.failed++
		}
	})
}

// secretArgs is how many of a command's first arguments may be shown to others; the
// rest are secrets. all tells that none are.
func secretArgs(cmd *kv.Command, args [][]byte) (shown int, all bool) {
	switch cmd.Name {
	case "auth":
		return 1, false
	case "acl|setuser", "acl|getuser", "acl|deluser":
		return 2, false
	case "hello":
		for i, a := range args {
			if equalFold(a, "auth") {
				return i + 1, false
			}
		}
	case "migrate":
		for i, a := range args {
			if i > 4 && (equalFold(a, "auth") || equalFold(a, "auth2")) {
				return i + 1, false
			}
		}
	case "config|set":
		for i := 2; i < len(args); i += 2 {
			if slices.Contains(secretParams, strings.ToLower(string(cut(args[i], 64)))) {
				return i + 1, false
			}
		}
	}
	return len(args), true
}

var secretParams = []string{"requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"}

var redacted = []byte("(redacted)")

// monitorLine is one line of MONITOR without its end.
func monitorLine(now time.Time, db int, who string, cmd *kv.Command, args [][]byte) []byte {
	b := make([]byte, 0, 128)
	b = append(b, '+')
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, '.')
	micros := strconv.Itoa(now.Nanosecond()/1000 + 1000000)
	b = append(b, micros[1:]...)
	b = append(b, " ["...)
	b = strconv.AppendInt(b, int64(db), 10)
	b = append(b, ' ')
	b = append(b, who...)
	b = append(b, ']')
	shown, all := len(args), true
	if cmd != nil {
		shown, all = secretArgs(cmd, args)
	}
	for i, a := range args {
		b = append(b, ' ')
		if !all && i >= shown {
			a = redacted
		}
		b = appendQuoted(b, a)
	}
	return append(b, '\r', '\n')
}

// appendQuoted appends a as Redis prints arguments: printable bytes, others escaped.
func appendQuoted(dst, a []byte) []byte {
	dst = append(dst, '"')
	for _, c := range a {
		switch {
		case c == '\\' || c == '"':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\a':
			dst = append(dst, `\a`...)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c < ' ' || c > '~':
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
