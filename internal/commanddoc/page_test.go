package commanddoc

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

var update = flag.Bool("update", false, "write docs/commands.md")

const file = "../../docs/commands.md"

func TestPageIsFresh(t *testing.T) {
	divergence, err := os.ReadFile("../../docs/divergence.md")
	require.NoError(t, err)
	compat, err := os.ReadFile("../../docs/compat.md")
	require.NoError(t, err)
	page := Page(string(divergence), string(compat))
	require.Contains(t, page, "What Redis's own tests miss")
	require.Contains(t, page, "\nNot done:\n\n- ")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(page), 0o644))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, page == string(have), "docs/commands.md is stale: go test ./internal/commanddoc -update")
}

func TestPageHasEveryRow(t *testing.T) {
	page := Page("", "")
	for _, cmd := range kv.All() {
		names := []*kv.Command{cmd}
		if len(cmd.Sub) > 0 {
			names = cmd.Sub
		}
		for _, c := range names {
			name := strings.ToUpper(strings.ReplaceAll(c.Name, "|", " "))
			require.Contains(t, page, "| `"+name+"` | "+c.Since+" |")
		}
	}
	require.Contains(t, page, "| `REPLICAOF` | 5.0.0 | refused |")
	require.Contains(t, page, "| `SET` | 1.0.0 | log |")
	require.Contains(t, page, "| `GET` | 1.0.0 | read |")
	require.Contains(t, page, "| `EVAL` | 2.6.0 | read or log |")
	require.Contains(t, page, "| `INFO` | 1.0.0 | node |")
}

func TestNotesComeFromDivergence(t *testing.T) {
	notes := readNotes("\n## Redis\n| where | we | because |\n|---|---|---|\n| `OBJECT IDLETIME` | say | why |\n| `SCAN`, `XREAD ... +`: odd | do | why |\n")
	require.Equal(t, map[string][]string{"OBJECT IDLETIME": {"say"}, "SCAN": {"`SCAN`, `XREAD ... +`: odd: do"}, "XREAD": {"`SCAN`, `XREAD ... +`: odd: do"}}, notes)
}
