package kv

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// thresholds are settings under which collections leave the packed form at
// different sizes.
var thresholds = map[string]func(s *Settings){
	"default": func(*Settings) {},
	"three": func(s *Settings) {
		s.HashMaxListpackEntries, s.SetMaxListpackEntries, s.ZSetMaxListpackEntries = 3, 3, 3
		s.SetMaxIntsetEntries, s.ListMaxListpackSize = 3, 3
	},
	"short": func(s *Settings) {
		s.HashMaxListpackValue, s.SetMaxListpackValue, s.ZSetMaxListpackValue = 1, 1, 1
		s.SetMaxIntsetEntries, s.ListMaxListpackSize = 5, 2
	},
	"trees": func(s *Settings) {
		s.HashMaxListpackEntries, s.SetMaxListpackEntries, s.ZSetMaxListpackEntries = 0, 0, 0
		s.SetMaxIntsetEntries, s.ListMaxListpackSize = 0, 0
	},
}

func newThresholdNode(t testing.TB, name string) *testNode {
	n := newTestNode(t)
	thresholds[name](&n.s.st.Settings)
	return n
}

// orderless reports whether the order of a command's reply is the encoding's
// business.
func orderless(args []string) bool {
	name := strings.ToLower(args[0])
	return name != "" && (name[0] == 'h' && name != "hmget" || name[0] == 's' && name != "smismember" ||
		name == "zscan" || name == "zrandmember")
}

// TestScriptsAtAnyThreshold: what a command replies does not depend on how the
// collection is kept.
func TestScriptsAtAnyThreshold(t *testing.T) {
	for name := range thresholds {
		for _, script := range []string{"hash", "list", "set", "zset"} {
			t.Run(name+"/"+script, func(t *testing.T) {
				n := newThresholdNode(t, name)
				steps, _ := readScript(t, "testdata/"+script+".txt")
				for _, s := range steps {
					var c Chunk
					addCommand(&c, s.args...)
					n.run(&c)
					if encodingDependent(s.args) {
						continue
					}
					v, _, err := parseValue(c.Reply.Bytes())
					require.NoError(t, err)
					got, want := strings.Join(v.lines(), "\n"), s.reply
					if orderless(s.args) {
						got, want = sortedLines(got), sortedLines(want)
					}
					require.Equal(t, want, got, "line %d: %s", s.line, s.command)
				}
			})
		}
	}
}

// encodingDependent: OBJECT ENCODING, and a SCAN that a small collection answers
// whole and a large one piece by piece.
func encodingDependent(args []string) bool {
	name := strings.ToLower(args[0])
	return name == "object" ||
		strings.HasSuffix(name, "scan") && len(args) > 2 && (args[2] != "0" || len(args) > 4)
}

// sortedLines sorts the elements of a printed reply, without their numbers
// (strings are quoted, so only numbers stand before the quote).
func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimLeft(l, " )0123456789")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
