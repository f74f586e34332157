package kv

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		match         bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"**", "abc", true},
		{"?", "", false}, {"?", "a", true}, {"?", "ab", false}, {"a", "", false},
		{"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "abc", true}, {"a*c", "ac", true}, {"a*d", "abc", false},
		{"*b*", "abc", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "aXcYb", false},
		{"h?llo", "hello", true}, {"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false},
		{"h[^e]llo", "hallo", true}, {"h[^e]llo", "hello", false},
		{"[a-c]", "b", true}, {"[c-a]", "b", true}, {"[a-c]", "d", false}, {"[a-]", "-", false}, {"[a-]", "^", true}, {"[-a]", "-", true},
		{"[abc", "a", true}, {"[abc", "d", false}, {"[", "[", false}, {"[^", "x", true}, {"[]", "]", false}, {"[]a", "a", false},
		{`[\]]`, "]", true}, {`[\-]`, "-", true}, {`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, true},
		{`\a`, "a", true}, {"a]", "a]", true}, {"*[a-z]x", "__ax", true}, {"a*?", "a", false}, {"a*?", "ab", true},
		{"*a?", "aab", true}, {"*ab", "aab", true}, {"A", "a", false},
	} {
		require.Equal(t, tc.match, matchGlob([]byte(tc.pattern), []byte(tc.text)), "%q ~ %q", tc.pattern, tc.text)
	}
	require.True(t, MatchGlob([]byte("A*[B-C]D"), []byte("axcd"), true))
	require.False(t, MatchGlob([]byte("A"), []byte("b"), true))
}

// RELIABILITY 5.4 case 55: patterns that make a backtracking matcher take for ever.
func TestGlobIsNotExponential(t *testing.T) {
	text := bytes.Repeat([]byte("a"), 64<<10)
	for _, p := range []string{
		strings.Repeat("a*", 500) + "b",
		strings.Repeat("*a", 500) + "b",
		strings.Repeat("*?", 500) + "b",
		"*" + strings.Repeat("[^b]", 500) + "b",
		"*" + strings.Repeat("[", 1) + strings.Repeat("a-z", 300) + "]b",
		strings.Repeat("*", 100000) + "b",
	} {
		quickest := time.Hour
		for range 3 { // one of them may meet a moment in which the machine does something else
			start := time.Now()
			require.False(t, matchGlob([]byte(p), text))
			quickest = min(quickest, time.Since(start))
		}
		require.Less(t, quickest, 500*time.Millisecond, "%.20s", p) // about 10 ms on a quiet machine
	}
}

func TestGlobStars(t *testing.T) {
	text := bytes.Repeat([]byte("a"), 3000)
	require.True(t, matchGlob([]byte(strings.Repeat("*a", maxGlobStars)), text))
	require.True(t, matchGlob([]byte(strings.Repeat("*a", maxGlobStars)+"*"), text))
	require.False(t, matchGlob([]byte(strings.Repeat("*a", maxGlobStars+1)), text))
}

func FuzzGlob(f *testing.F) {
	f.Add([]byte("a*[b-"), []byte("abc"))
	f.Fuzz(func(t *testing.T, pattern, text []byte) {
		matchGlob(pattern, text)
		if !bytes.ContainsAny(pattern, `*?[\`) {
			require.Equal(t, bytes.Equal(pattern, text), matchGlob(pattern, text))
		}
		require.True(t, matchGlob(append([]byte("*"), text...), text) || bytes.ContainsAny(text, `*?[\`))
	})
}
