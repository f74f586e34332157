package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/redcon"
)

var testLimits = limits{maxArgs: 1000, maxBulk: 1 << 20}

// frames runs the guard over data, which arrives in pieces of at most step bytes, and
// returns the complete requests and the error that ended it.
func frames(data []byte, step int, lim limits) (out []string, err error) {
	var g guard
	start := 0
	for end := 0; end < len(data); {
		end = min(len(data), end+step)
		for {
			n, kind, err := g.next(data[start:end], &lim)
			if err != nil {
				return out, err
			}
			if kind == frameNone {
				break
			}
			out = append(out, fmt.Sprint(kind, ":", string(data[start:start+n])))
			start += n
		}
	}
	return out, nil
}

// reference splits complete requests off data in the plainest way: it has all bytes
// at once and no state. It does not know about caps on unfinished lines.
func reference(data []byte, lim limits) (out []string, err error) {
	for len(data) > 0 {
		n, kind, err := referenceOne(data, lim)
		if err != nil || n == 0 {
			return out, err
		}
		out = append(out, fmt.Sprint(kind, ":", string(data[:n])))
		data = data[n:]
	}
	return out, nil
}

var errReference = errors.New("reference refuses")

func referenceOne(data []byte, lim limits) (int, frameKind, error) {
	if data[0] != '*' {
		i := bytes.IndexByte(data, '\n')
		switch {
		case i < 0 && len(data) <= maxInline:
			return 0, 0, nil
		case i < 0:
			return 0, 0, errReference
		}
		line := bytes.TrimSuffix(data[:i], []byte("\r"))
		if len(line) > maxInline {
			return 0, 0, errReference
		}
		if len(line) == 0 {
			return i + 1, frameEmpty, nil
		}
		return i + 1, frameInline, nil
	}
	count, pos, err := referenceHeader(data, 0, int64(lim.maxArgs))
	if err != nil || pos == 0 {
		return 0, 0, err
	}
	if count <= 0 {
		return pos, frameEmpty, nil
	}
	for range count {
		if pos == len(data) {
			return 0, 0, nil
		}
		if data[pos] != '$' {
			return 0, 0, errReference
		}
		n, next, err := referenceHeader(data, pos, lim.maxBulk)
		if err != nil || next == 0 {
			return 0, 0, err
		}
		if n < 0 {
			return 0, 0, errReference
		}
		end := next + int(n)
		if len(data) > end && data[end] != '\r' || len(data) > end+1 && data[end+1] != '\n' {
			return 0, 0, errReference
		}
		if len(data) < end+2 {
			return 0, 0, nil
		}
		pos = end + 2
	}
	return pos, frameCommand, nil
}

// referenceHeader parses "<type><number>\r\n" at pos; next is 0 if it is incomplete.
func referenceHeader(data []byte, pos int, limit int64) (n int64, next int, err error) {
	i := bytes.IndexByte(data[pos:], '\r')
	if i < 0 || pos+i+1 == len(data) {
		if i < 0 && len(data)-pos > maxInline {
			return 0, 0, errReference
		}
		return 0, 0, nil
	}
	text := string(data[pos+1 : pos+i])
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text || n > limit || i > maxInline || data[pos+i+1] != '\n' {
		return 0, 0, errReference
	}
	return n, pos + i + 2, nil
}

func FuzzGuard(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$4\r\nPING\r\n", "*0\r\n\r\n\n", "*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n", "*-5\r\n*1\r\n$1\r\nx\r\n",
		"*1\r\n$9223372036854775807\r\nabc\r\n", "*999999999999999\r\n", "*1\r\n$-2\r\n", "*1\r\n$4\r\nPINGxx",
		"*1\r\n\r\n", "*\r\n", "$\x00AAAA", "*1\r$", "*1\r\n$1\ra", "set a \"b\"\r\n", "*1001\r\n", "*1\r\n$0\r\n\r\r",
	} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		want, wantErr := reference(data, testLimits)
		for _, size := range []int{1, int(step)%16 + 1, len(data) + 1} {
			got, err := frames(data, size, testLimits)
			require.Equal(t, want, got, "in pieces of %d", size)
			require.Equal(t, wantErr != nil, err != nil, "in pieces of %d: %v", size, err)
		}
		checkRedconAgrees(t, want)
	})
}

// checkRedconAgrees: what the guard lets through, redcon takes whole and without
// complaint.
func checkRedconAgrees(t *testing.T, accepted []string) {
	for _, req := range accepted {
		kind, data, _ := strings.Cut(req, ":")
		if kind != fmt.Sprint(frameCommand) {
			continue
		}
		complete, args, k, left, err := redcon.ReadNextCommand([]byte(data), nil)
		require.NoError(t, err, "%q", data)
		require.True(t, complete, "%q", data)
		require.Equal(t, redcon.Redis, k)
		require.Empty(t, left)
		require.NotEmpty(t, args)
	}
}

func TestGuardIsLinearWhenFedByteByByte(t *testing.T) {
	lim := limits{maxArgs: 1000000, maxBulk: 64 << 20}
	many := []byte(command(strings.Split(strings.Repeat("arg ", 200_000), " ")...))
	big := []byte(command("SET", "k", strings.Repeat("v", 4<<20)))
	inline := append(bytes.Repeat([]byte("a "), maxInline/2), '\n')
	for name, data := range map[string][]byte{"arguments": many, "bulk": big, "inline": inline} {
		started := time.Now()
		got, err := frames(data, 1, lim)
		require.NoError(t, err)
		require.Len(t, got, 1, name)
		require.Less(t, time.Since(started), 5*time.Second, name) // quadratic: minutes
	}
}

func TestGuardNeedNeverExceedsWhatIsAllowed(t *testing.T) {
	var g guard
	lim := testLimits
	_, kind, err := g.next([]byte("*2\r\n$3\r\nGET\r\n$1000\r\nab"), &lim)
	require.NoError(t, err)
	require.Equal(t, frameNone, kind)
	require.Equal(t, len("*2\r\n$3\r\nGET\r\n$1000\r\n")+1002, g.need())
}

func TestSplitInline(t *testing.T) {
	for line, want := range map[string]string{
		``:                         `[]`,
		`  `:                       `[]`,
		`a`:                        `["a"]`,
		"  set \t a\vb ":           `["set" "a" "b"]`,
		`a "" ''`:                  `["a" "" ""]`,
		`"\x41\x6a\xzz\n\r\t\b\a"`: `["Ajxzz\n\r\t\b\a"]`,
		`"a\"b\\c\q"`:              `["a\"b\\cq"]`,
		`'a\'b\n"'`:                `["a'b\\n\""]`,
		`ab"cd"`:                   `["abcd"]`,
		`ab'c d' e`:                `["abc d" "e"]`,
		"\x00 a":                   `["\x00" "a"]`,
		`"a`:                       `!`,
		`'a`:                       `!`,
		`"a"b`:                     `!`,
		`'a'b`:                     `!`,
		`"a\`:                      `!`,
		`"`:                        `!`,
		`a"`:                       `!`,
		`"\x4`:                     `!`,
	} {
		args, ok := splitInline([]byte(line), nil)
		got := fmt.Sprintf("%q", args)
		if !ok {
			got = "!"
		}
		require.Equal(t, want, got, "%q", line)
	}
}

func FuzzSplitInline(f *testing.F) {
	f.Add([]byte(`set a "b\x41" 'c'`))
	f.Fuzz(func(t *testing.T, line []byte) {
		before := len(line)
		args, ok := splitInline(line, nil)
		total := 0
		for _, a := range args {
			total += len(a)
		}
		require.LessOrEqual(t, total, before)
		require.True(t, ok || len(args) == 0)
	})
}

func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"MULTI\r\nSET a 1\r\nEXEC\r\nGET a\r\n", "*0\r\n*1\r\n$4\r\nPING\r\n", "HELLO 3\r\nINFO\r\nCONFIG GET *\r\n",
		"WATCH a\r\nMULTI\r\nEXEC\r\nDISCARD\r\n", "CLIENT REPLY SKIP\r\nPING\r\nSELECT 1\r\nRESET\r\n", "COMMAND DOCS\r\n",
		"CLIENT KILL ID 1\r\nCOMMAND GETKEYS MSET a\r\nWAIT 0 0\r\n", "CONFIG SET hash-max-listpack-entries 7 timeout\r\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	node := newFakeNode()
	srv, err := newServer(Options{Backend: node})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(node.stop)
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole := drive(srv, data, len(data)+1)
		_ = drive(srv, data, int(step)%8+1) // must not panic or hang, whatever the pieces
		checkReplies(t, whole)
	})
}
