package compat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParse reads what the suite prints, cut from real runs.
func TestParse(t *testing.T) {
	r := parse(`Starting test server at port 21079
[ready]: 1234
Testing unit/type/list
[ok]: LPOS basic usage - quicklist (3 ms)
[ok]: twice (0 ms)
[ok]: twice (12 ms)
[err]: SMOVE basics in tests/unit/type/set.tcl
Expected 'hashtable' to match 'intset'
second line
[ignore]: Not supported on external server
[1/1 done]: unit/type/list (2 seconds)

                   The End

*** [err]: SMOVE basics in tests/unit/type/set.tcl
`)
	require.Equal(t, map[string]int{"LPOS basic usage - quicklist": 1, "twice": 2}, r.Passed)
	require.Equal(t, []Failure{{"SMOVE basics", "Expected 'hashtable' to match 'intset'\nsecond line\n"}}, r.Failed)
	require.Equal(t, 1, r.Ignored)
	require.Empty(t, r.Trouble)
	require.Empty(t, r.inProgress)
}

// TestParseHang names the test that did not come back, so that the unit can be run
// again without it.
func TestParseHang(t *testing.T) {
	r := parse("[ok]: a (1 ms)\n[TIMEOUT]: clients state report follows.\nsock1 => (IN PROGRESS) BLPOP with a key (x)\n")
	require.Equal(t, "BLPOP with a key (x)", r.inProgress)
	require.NotEmpty(t, r.Trouble)
	require.Equal(t, []Failure{{"BLPOP with a key (x)", "hung"}}, r.Failed)
}

func TestBaselineRoundTrip(t *testing.T) {
	b := Baseline{
		"unit/b": {"one": 1, "2x fast": 1, "often": 12, "name: with (odd) [signs]": 1},
		"unit/a": {"z": 1},
	}
	var text strings.Builder
	_, err := b.WriteTo(&text)
	require.NoError(t, err)
	got, err := ReadBaseline(strings.NewReader("# a comment\n" + text.String()))
	require.NoError(t, err)
	require.Equal(t, b, got)

	_, err = ReadBaseline(strings.NewReader("  test without unit\n"))
	require.Error(t, err)
}

func TestCompareCountsTheBaselineOnly(t *testing.T) {
	b := Baseline{"u": {"a": 1, "b": 3, "c": 1}}
	s := b.Compare("u", map[string]int{"a": 5, "b": 2, "beyond": 1})
	require.Equal(t, Score{Passed: 3, Baseline: 5, Missing: []string{"u: b", "u: c"}}, s)
	require.InDelta(t, 60, s.Percent(), 0.001)
	require.InDelta(t, 100, Score{}.Percent(), 0)
}
