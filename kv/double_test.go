package kv

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestAppendD2String: what redis-server 7.4.1 prints.
func TestAppendD2String(t *testing.T) {
	for in, want := range map[string]string{
		"1e15": "1000000000000000", "4503599627370497": "4503599627370497", "9007199254740993": "9007199254740992",
		"123456789012345678": "123456789012345680", "1e18": "1000000000000000000", "1152921504606846976": "1152921504606846976",
		"4611686018427387904": "4611686018427387904", "9223372036854775807": "9223372036854776000",
		"-9223372036854775807": "-9223372036854776000", "1e19": "1e+19", "1.5e20": "1.5e+20", "1.23e21": "1.23e+21",
		"1e-4": "0.0001", "1e-5": "0.00001", "1.5e-5": "0.000015", "1.5e-6": "1.5e-6", "1e-7": "1e-7", "0.000012345": "1.2345e-5",
		"123e-9": "1.23e-7", "12345678.5": "12345678.5", "123456789012.25": "123456789012.25", "1234567890.123456789": "1.2345678901234567e+9",
		"0.1": "0.1", "-0.5": "-0.5", "3": "3", "-17": "-17", "1.1e300": "1.1e+300", "5e-324": "5e-324",
		"1.7976931348623157e308": "1.7976931348623157e+308", "inf": "inf", "-inf": "-inf",
	} {
		f, err := strconv.ParseFloat(in, 64)
		require.NoError(t, err)
		assert.Equal(t, want, string(appendD2String(nil, f)), in)
	}
}

// Every number reads back, whichever form it has.
func TestAppendDoubleReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(f) {
			return
		}
		for _, text := range [][]byte{appendD2String(nil, f), appendShortest(nil, f), appendDigits17(nil, f)} {
			back, err := strconv.ParseFloat(string(text), 64)
			require.NoError(t, err)
			require.Equal(t, f, back, "%s", text)
		}
	})
}

// TestScoresThatZSCANShows: what redis-server 7.0.15 and 7.4.1 show of a small set.
func TestScoresThatZSCANShows(t *testing.T) {
	for version, rest := range map[string]string{
		"7.0": "g 0.10000000000000001 f 100000000000000000 c 4611686018427387904 d 5.6116860184273879e+18 e 9.2233720368547758e+18",
		"7.4": "g 0.1 f 100000000000000000 c 4611686018427387904 d 5611686018427388000 e 9223372036854776000",
	} {
		n := newTestNode(t)
		require.Equal(t, "OK", n.do("CONFIG", "SET", "redis-version", version))
		n.do("ZADD", "z", "-922337203685477632", "a", "-0", "b", "4611686018427387904", "c", "5611686018427387905", "d",
			"9223372036854775807", "e", "1e17", "f", "0.1", "g")
		var words []string
		for _, w := range strings.Fields(n.do("ZSCAN", "z", "0")) {
			if w[0] == '"' {
				words = append(words, strings.Trim(w, `"`))
			}
		}
		require.Equal(t, "0 a -922337203685477632 b 0 "+rest, strings.Join(words, " "), version)
	}
}
