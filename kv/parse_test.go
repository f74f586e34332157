package kv

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseInt(t *testing.T) {
	for _, s := range []string{"0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808"} {
		n, ok := parseInt([]byte(s))
		require.True(t, ok, s)
		require.Equal(t, s, strconv.FormatInt(n, 10))
	}
	for _, s := range []string{"", "-", "+1", "01", "-0", "00", " 1", "1 ", "1.0", "0x1", "9223372036854775808",
		"-9223372036854775809", "18446744073709551616", "99999999999999999999999", "1a"} {
		_, ok := parseInt([]byte(s))
		require.False(t, ok, s)
	}
	u, ok := parseUint([]byte("18446744073709551615"))
	require.True(t, ok)
	require.Equal(t, uint64(math.MaxUint64), u)
	_, ok = parseUint([]byte("18446744073709551616"))
	require.False(t, ok)
}

func TestParseFloat(t *testing.T) {
	for s, want := range map[string]float64{
		"1": 1, "-1.5": -1.5, "+2": 2, ".5": .5, "5.": 5, "1e3": 1000, "inf": math.Inf(1), "-INF": math.Inf(-1),
		"+infinity": math.Inf(1), "0x10": 16, "0x1p4": 16, "1e-5": 1e-5, "0": 0, "-0": math.Copysign(0, -1), "0e-999": 0,
	} {
		f, ok := parseFloat([]byte(s))
		require.True(t, ok, s)
		require.Equal(t, want, f, s)
	}
	for _, s := range []string{"", " 1", "1 ", "nan", "NaN", "1e400", "-1e400", "1_0", "abc", "1e", "0x", "--1", "1e-400"} {
		_, ok := parseFloat([]byte(s))
		require.False(t, ok, s)
	}
}

func TestRandomIsUnbiasedAndSeeded(t *testing.T) {
	a, b := newRNG(1, 2, 3), newRNG(1, 2, 3)
	require.Equal(t, a.next(), b.next())
	c, d := newRNG(1, 3, 2), newRNG(1, 2, 4)
	x := a.next()
	require.NotEqual(t, x, c.next())
	require.NotEqual(t, x, d.next())
	var seen [7]int
	for i := 0; i < 7000; i++ {
		seen[a.intn(7)]++
	}
	for _, n := range seen {
		require.InDelta(t, 1000, n, 200)
	}
}
