package kv

import (
	"testing"

	"github.com/stretchr/testify/assert"
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
