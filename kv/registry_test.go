package kv

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommandRowsMatchRedis compares the table with testdata/commands.tsv: an
// extract of Redis's own command descriptions for the commands we have.
func TestCommandRowsMatchRedis(t *testing.T) {
	b, err := os.ReadFile("testdata/commands.tsv")
	require.NoError(t, err)
	known := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		f := strings.Split(line, "\t")
		known[strings.ReplaceAll(strings.ToLower(f[0]), " ", "|")] = f
	}
	for _, cmd := range allRows() {
		if strings.HasPrefix(cmd.Name, "raft") || strings.HasPrefix(cmd.Name, "rkv.") || cmd.Name == "client|capa" || cmd.Name == "client|maint_notifications" ||
			cmd.Name == "client|staleness" {
			continue // ours, Valkey's and Redis Enterprise's
		}
		f := known[cmd.Name]
		require.NotNil(t, f, "%s is not in testdata/commands.tsv", cmd.Name)
		delete(known, cmd.Name)
		require.Equal(t, f[1], cmd.Group, cmd.Name)
		require.Equal(t, f[2], cmd.Since, cmd.Name)
		require.Equal(t, f[3], strconv.Itoa(cmd.Arity), cmd.Name)
		flags := (cmd.Flags &^ (FlagLocal | FlagMovableKeys)).Names()
		slices.Sort(flags)
		want := slices.DeleteFunc(strings.Split(f[4], ","), func(s string) bool { return s == "-" || s == "sentinel" || s == "protected" })
		require.ElementsMatch(t, want, flags, cmd.Name)
		if first, last, step, ok := keyRange(f[5]); ok {
			require.Equal(t, []int{first, last, step}, []int{cmd.FirstKey, cmd.LastKey, cmd.KeyStep}, cmd.Name)
		}
	}
	require.Empty(t, known, "rows of commands we do not have")
}

func allRows() (rows []*Command) {
	for _, cmd := range All() {
		rows = append(rows, cmd)
		rows = append(rows, cmd.Sub...)
	}
	return rows
}

var keySpec = regexp.MustCompile(`^i(\d+):r(-?\d+)/(\d+):`)

// keyRange turns a key specification into COMMAND INFO's first, last, step; not
// for those that depend on an argument.
func keyRange(spec string) (first, last, step int, ok bool) {
	if spec == "-" {
		return 0, 0, 0, true
	}
	for i, part := range strings.Fields(spec) {
		m := keySpec.FindStringSubmatch(part)
		if m == nil {
			return 0, 0, 0, false
		}
		at, _ := strconv.Atoi(m[1])
		l, _ := strconv.Atoi(m[2])
		s, _ := strconv.Atoi(m[3])
		if l >= 0 {
			l += at
		}
		if i == 0 {
			first = at
		}
		last, step = l, s
	}
	return first, last, step, true
}

func TestRowsAreWhole(t *testing.T) {
	blocks := map[string][2]Opcode{"rkv": {900, 919},
		"string": {16, 79}, "generic": {80, 143}, "server": {144, 175}, "hash": {176, 239},
		"list": {240, 303}, "set": {304, 351}, "sorted-set": {352, 431}, "sorted_set": {352, 431}, "stream": {432, 511},
		"bitmap": {512, 543}, "hyperloglog": {544, 559}, "geo": {560, 591}, "scripting": {592, 655},
		"pubsub": {656, 671},
	}
	for _, cmd := range allRows() {
		require.NotEmpty(t, cmd.Summary, cmd.Name)
		require.NotEmpty(t, cmd.Since, cmd.Name)
		require.NotZero(t, cmd.Arity, cmd.Name)
		runs := !cmd.IsLocal() && cmd.Sub == nil
		require.Equal(t, runs, cmd.Run != nil, cmd.Name)
		require.Equal(t, runs && (cmd.Logged() || cmd.Script || cmd.ReadFirst), cmd.Op != 0, cmd.Name)
		require.True(t, !cmd.IsWrite() || cmd.Op != 0 || cmd.IsLocal(), cmd.Name)
		if runs && cmd.Group != "scripting" && cmd.Group != "pubsub" && cmd.Flags&FlagAdmin == 0 {
			require.NotEqual(t, cmd.Flags&FlagWrite != 0, cmd.Flags&FlagReadonly != 0 || strings.HasSuffix(cmd.Name, "|help") || cmd.Name == "pfselftest", cmd.Name)
		}
		if cmd.Op != 0 {
			b, ok := blocks[cmd.Group]
			require.True(t, ok && b[0] <= cmd.Op && cmd.Op <= b[1], "%s: opcode %d", cmd.Name, cmd.Op)
			require.Same(t, cmd, LookupOp(cmd.Op))
		}
	}
}

// TestKeysHaveSpecifications: access control looks for keys by them, and finds each once.
func TestKeysHaveSpecifications(t *testing.T) {
	for _, cmd := range allRows() {
		specs := cmd.KeySpecs()
		require.True(t, cmd.FirstKey == 0 || len(specs) > 0, cmd.Name)
		for i, k := range specs {
			for _, other := range specs[:i] {
				require.True(t, k.UnknownBegin || k.Index != other.Index || k.Keyword != other.Keyword, cmd.Name)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	require.Equal(t, "get", Lookup([]byte("gEt")).Name)
	require.Nil(t, Lookup([]byte("ge")))
	require.Nil(t, Lookup(nil))
	require.Nil(t, Lookup([]byte("object|encoding")))
	require.Nil(t, Lookup([]byte(strings.Repeat("x", 1000))))
	require.Nil(t, LookupOp(15))
	require.Nil(t, LookupOp(65535))
	require.Equal(t, "object|encoding", Lookup([]byte("OBJECT")).Subcommand([]byte("Encoding")).Name)
	require.Nil(t, Lookup([]byte("OBJECT")).Subcommand([]byte("x")))
	name := []byte("LRANGE")
	require.Zero(t, testing.AllocsPerRun(100, func() { Lookup(name) }))
	require.True(t, slices.IsSortedFunc(All(), func(a, b *Command) int { return strings.Compare(a.Name, b.Name) }))

	args := func(s string) (out [][]byte) {
		for _, w := range strings.Fields(s) {
			out = append(out, []byte(w))
		}
		return out
	}
	keys, ok := Lookup([]byte("mset")).KeyPositions(args("mset a 1 b 2"))
	require.True(t, ok)
	require.Equal(t, []int{1, 3}, keys)
	_, ok = Lookup([]byte("get")).KeyPositions(args("get"))
	require.False(t, ok)
	keys, _ = Lookup([]byte("dbsize")).KeyPositions(args("dbsize"))
	require.Empty(t, keys)
}
