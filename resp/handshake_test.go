package resp

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewriteHandshakes = flag.Bool("handshakes.rewrite", false, "write the replies of today into testdata/handshakes")

// The first bytes of clients that cannot be run here, and the bytes they get. In
// testdata/handshakes/*.txt:
//
//	listener plain|cluster|sentinel [follower] [requirepass]    a new connection
//	> WORDS      a command; the lines up to the replies are sent in one write
//	< "BYTES"    its reply, quoted as in Go; ~ stands for what differs from run to run
//
// After a change that is meant to show: go test ./resp -run Handshakes -handshakes.rewrite
func TestHandshakes(t *testing.T) {
	files, err := filepath.Glob("testdata/handshakes/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			now := replay(t, string(text))
			if *rewriteHandshakes {
				require.NoError(t, os.WriteFile(file, []byte(now), 0o644))
				return
			}
			require.Equal(t, string(text), now)
		})
	}
}

// replay runs a file's conversations and returns it with today's replies.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	var conn *testClient
	var r *bufio.Reader
	var sent []string
	receive := func() {
		for range sent {
			reply, err := rawReply(r)
			require.NoError(t, err)
			fmt.Fprintf(&out, "< %s\n", strconv.Quote(steady(reply)))
		}
		sent = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		if word == "<" {
			continue
		}
		if word != ">" && len(sent) > 0 {
			var batch []byte
			for _, c := range sent {
				args, ok := splitInline([]byte(c), nil)
				require.True(t, ok, c)
				words := make([]string, len(args))
				for i, a := range args {
					words[i] = string(a)
				}
				batch = append(batch, command(words...)...)
			}
			conn.send(string(batch))
			receive()
		}
		out.WriteString(line + "\n")
		switch word {
		case "listener":
			conn = handshakeListener(t, strings.Fields(rest))
			r = bufio.NewReader(conn.conn)
		case ">":
			sent = append(sent, rest)
		default:
			require.True(t, line == "" || word[0] == '#', line)
		}
	}
	require.Empty(t, sent, "a file ends with an empty line")
	return out.String()
}

func handshakeListener(t *testing.T, words []string) *testClient {
	flags := strings.Join(words[1:], " ")
	s := startPersonas(t, func(o *Options) {
		if strings.Contains(flags, "requirepass") {
			o.RequirePass = "secret"
		}
	})
	if strings.Contains(flags, "follower") {
		s.node.follows.Store(4)
	}
	return map[string]func() *testClient{"plain": s.dial, "cluster": s.dialCluster, "sentinel": s.dialSentinel}[words[0]]()
}

// steady puts ~ where a reply tells of time, memory, ports and ids.
func steady(reply []byte) string {
	if i := bytes.Index(reply, []byte("# Server\r\n")); i >= 0 && !bytes.Contains(reply, []byte("# Replication")) {
		return "~" + string(reply[i:i+10]) + "~"
	}
	for _, c := range []struct{ find, put string }{
		{`(?s)(=|\$)\d+\r\n(txt:)?# Server.*(connected_clients:).*(# Replication\r\nrole:\w+).*(master_repl_offset:).*`, "$1~\r\n$2# Server~${3}~${4}~${5}~"},
		{`(?s)(=|\$)\d+\r\n(txt:)?# Replication\r\n(role:\w+).*`, "$1~\r\n$2# Replication\r\n$3~"},
		{`(\$2\r\nid\r\n:)\d+`, "$1~"},
		{`\$\d+\r\n127\.0\.0\.1:\d{5}\r\n`, "$$~\r\n127.0.0.1:~\r\n"},
	} {
		reply = regexp.MustCompile(c.find).ReplaceAll(reply, []byte(c.put))
	}
	return string(reply)
}

// rawReply reads one reply as it is.
func rawReply(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return line, err
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	switch line[0] {
	case '$', '=':
		if n < 0 {
			return line, nil
		}
		body := make([]byte, n+2)
		for read := 0; read < len(body); {
			m, err := r.Read(body[read:])
			if err != nil {
				return line, err
			}
			read += m
		}
		return append(line, body...), nil
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			x, err := rawReply(r)
			if err != nil {
				return line, err
			}
			line = append(line, x...)
		}
	}
	return line, nil
}
