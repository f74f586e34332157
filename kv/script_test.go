package kv

import (
	"bufio"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The scripts in testdata are transcripts:
//
//	# prose
//	> SET a "1 2"           a command; C escapes inside double quotes
//	OK                      its reply as redis-cli prints it
//	@unordered              the next reply's order does not matter
//	@differs why            the next reply is not Redis's on purpose
//	@advance 1500           the clock moves on by so many ms (not replayed on Redis
//	                        from here on: time would have to pass)
//
// With -rewrite the replies are written anew from rkv. The same scripts run against
// a real redis-server when there is one.
var rewriteScripts = flag.Bool("rewrite", false, "write the replies in testdata/*.txt anew")

// scriptStep is one command of a script.
type scriptStep struct {
	line      int
	before    []string // lines in front of the command
	command   string
	args      []string
	reply     string
	unordered bool
	differs   bool
	advance   int64
}

func readScript(t *testing.T, path string) (steps []scriptStep, tail []string) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var next scriptStep
	inReply := false
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		comment := strings.HasPrefix(line, "#") || strings.HasPrefix(line, "@") || strings.HasPrefix(line, "> ") || line == ""
		if inReply && !comment {
			s := &steps[len(steps)-1]
			s.reply = strings.TrimPrefix(s.reply+"\n"+line, "\n")
			continue
		}
		inReply = false
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case ">":
			next.line, next.command, next.args = i+1, line, splitArgs(t, rest)
			steps = append(steps, next)
			next = scriptStep{}
			inReply = true
			continue
		case "@unordered":
			next.unordered = true
		case "@differs":
			next.differs = true
		case "@advance":
			next.advance, err = strconv.ParseInt(rest, 10, 64)
			require.NoError(t, err)
		default:
			require.True(t, line == "" || line[0] == '#', "%s:%d: %q", path, i+1, line)
		}
		next.before = append(next.before, line)
	}
	return steps, next.before
}

// splitArgs splits a command line at blanks; double quotes group and take escapes.
func splitArgs(t *testing.T, s string) (args []string) {
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		if s[0] != '"' {
			var word string
			word, s, _ = strings.Cut(s, " ")
			args = append(args, word)
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		require.NoError(t, err, s)
		word, err := strconv.Unquote(quoted)
		require.NoError(t, err, s)
		args = append(args, word)
		s = s[len(quoted):]
	}
	return args
}

func (s *scriptStep) text(v value) string {
	if s.unordered {
		v = v.sorted()
	}
	return strings.Join(v.lines(), "\n")
}

func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			n := newTestNode(t)
			steps, tail := readScript(t, path)
			var out strings.Builder
			for _, s := range steps {
				if s.advance > 0 {
					n.tick(s.advance)
				}
				var c Chunk
				addCommand(&c, s.args...)
				n.run(&c)
				v, rest, err := parseValue(c.Reply.Bytes())
				require.NoError(t, err, s.command)
				require.Empty(t, rest, "%s:%d %s: more than one value", path, s.line, s.command)
				got := s.text(v)
				if *rewriteScripts {
					for _, l := range s.before {
						out.WriteString(l + "\n")
					}
					out.WriteString(s.command + "\n" + got + "\n")
				} else if got != s.reply {
					t.Errorf("%s:%d %s\nreply:    %s\nexpected: %s", path, s.line, s.command, got, s.reply)
				}
			}
			if *rewriteScripts {
				out.WriteString(strings.Join(tail, "\n"))
				require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
			}
		})
	}
}

// TestScriptsOnRedis holds the same scripts against the original.
func TestScriptsOnRedis(t *testing.T) {
	r := startRedis(t)
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			r.do(t, "FLUSHALL")
			steps, _ := readScript(t, path)
			for _, s := range steps {
				if s.advance > 0 {
					return
				}
				v := r.do(t, s.args...)
				if v.kind == '-' && strings.HasPrefix(v.text, "ERR unknown command") {
					return // of a later version: so is what builds on it
				}
				if got := s.text(v); got != s.reply && !s.differs {
					t.Errorf("%s:%d %s\nRedis:    %s\nexpected: %s", path, s.line, s.command, got, s.reply)
				}
			}
		})
	}
}

// redisServer is a real redis-server on a unix socket.
type redisServer struct {
	conn net.Conn
	in   *bufio.Reader
}

func startRedis(t *testing.T) *redisServer {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server in PATH: the scripts ran against rkv alone")
	}
	dir, err := os.MkdirTemp("", "rkv") // short: a socket's path is limited
	require.NoError(t, err)
	sock := filepath.Join(dir, "redis.sock")
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", sock, "--save", "", "--dir", dir,
		"--hash-max-listpack-entries", "128") // 7.x: what rkv starts with
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	var conn net.Conn
	require.Eventually(t, func() (ok bool) {
		c, err := net.Dial("unix", sock)
		conn = c
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "redis-server does not answer")
	t.Cleanup(func() { _ = conn.Close() })
	return &redisServer{conn: conn, in: bufio.NewReader(conn)}
}

func (r *redisServer) do(t *testing.T, args ...string) value {
	var req Reply
	req.Array(len(args))
	for _, a := range args {
		req.BulkString(a)
	}
	_ = r.conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := r.conn.Write(req.Bytes())
	require.NoError(t, err)
	var raw []byte
	require.NoError(t, readReply(r.in, &raw))
	v, _, err := parseValue(raw)
	require.NoError(t, err)
	return v
}

// readReply reads the bytes of one RESP2 reply.
func readReply(in *bufio.Reader, raw *[]byte) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	*raw = append(*raw, line...)
	n, _ := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	switch line[0] {
	case '$':
		if n < 0 {
			return nil
		}
		bulk := make([]byte, n+2)
		if _, err := io.ReadFull(in, bulk); err != nil {
			return err
		}
		*raw = append(*raw, bulk...)
	case '*':
		for ; n > 0; n-- {
			if err := readReply(in, raw); err != nil {
				return err
			}
		}
	}
	return nil
}
