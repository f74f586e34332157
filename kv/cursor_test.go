package kv

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestParseCursor: what strtoul takes, Redis takes.
func TestParseCursor(t *testing.T) {
	for text, want := range map[string]uint64{
		"": 0, "0": 0, "000": 0, "007": 7, "+5": 5, "-0": 0, "-1": 1<<64 - 1,
		"18446744073709551615": 1<<64 - 1, "-18446744073709551615": 1,
	} {
		got, ok := parseCursor([]byte(text))
		assert.True(t, ok, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{" 1", "1 ", "x", "-", "+", "--1", "+ 1", "0x10", "1.0", "18446744073709551616", "-18446744073709551616"} {
		_, ok := parseCursor([]byte(text))
		assert.False(t, ok, "%q", text)
	}
}

// TestCursorOfVersion: Redis 7.4 reads them in another way.
func TestCursorOfVersion(t *testing.T) {
	n := newTestNode(t)
	for version, refused := range map[string][]string{"7.0": {" ", " 0", "-"}, "7.4": {"", " ", "-1", "-"}} {
		require.Equal(t, "OK", n.do("CONFIG", "SET", "redis-version", version))
		for _, cursor := range []string{"", " ", " 0", "-1", "-0", "+0", "-"} {
			got := n.do("SCAN", cursor)
			require.Equal(t, slices.Contains(refused, cursor), strings.Contains(got, "invalid cursor"), "%s %q: %s", version, cursor, got)
		}
	}
}

// TestScanOfATypeFindsWhatIsDue: keys of other types that are due go, too.
func TestScanOfATypeFindsWhatIsDue(t *testing.T) {
	n := newTestNode(t)
	require.Equal(t, "OK", n.do("CONFIG", "SET", "active-expire", "no"))
	n.do("SET", "due", "v", "PX", "5")
	n.now += 10
	require.Equal(t, "(integer) 1", n.do("DBSIZE"))
	n.do("SCAN", "0", "TYPE", "hash")
	require.Equal(t, "(integer) 0", n.do("DBSIZE"))
}
