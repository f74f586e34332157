package kv

import (
	"math"
	"strconv"
)

// parseInt reads an integer as Redis's string2ll does: an optional minus, no plus,
// no blanks, no leading zeros, the whole of int64.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	neg := b[0] == '-'
	digits := b
	if neg {
		digits = b[1:]
	}
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	u, ok := parseUint(digits)
	switch {
	case !ok || u == 0:
		return 0, false // "-0" and "00" are no integers to Redis
	case neg && u <= 1<<63:
		return -int64(u), true
	case !neg && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}

// parseUint reads digits without sign and leading zeros.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var u uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || u > math.MaxUint64/10 || u*10 > math.MaxUint64-d {
			return 0, false
		}
		u = u*10 + d
	}
	return u, true
}

// parseFloat reads a double as Redis does (strtod over the whole text): decimal or
// hexadecimal, inf and infinity in any case; no blanks, no NaN, no overflow.
func parseFloat(b []byte) (float64, bool) {
	if len(b) == 0 || len(b) > maxFloatText {
		return 0, false
	}
	digits := b
	if b[0] == '+' || b[0] == '-' {
		digits = b[1:]
	}
	for _, c := range b {
		if c == '_' { // a separator to Go, not to C
			return 0, false
		}
	}
	hex := len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x'
	s := string(b)
	if hex && !hasExponent(digits) {
		s += "p0" // optional in C
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f == 0 && underflows(digits) {
		return 0, false
	}
	return f, true
}

// underflows reports whether a number that was read as 0 has other digits: too
// small for a double, an error to C.
func underflows(b []byte) bool {
	for _, c := range b {
		if c|0x20 == 'e' || c|0x20 == 'p' {
			return false
		}
		if '1' <= c && c <= '9' {
			return true
		}
	}
	return false
}

func hasExponent(b []byte) bool {
	for _, c := range b {
		if c|0x20 == 'p' {
			return true
		}
	}
	return false
}

// lower writes src in lower case (ASCII) to dst, which is at least as long.
func lower(dst, src []byte) {
	for i, c := range src {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
}

// equalFold reports whether b is word, given in lower case, in any case (ASCII).
func equalFold[T string | []byte](word T, b []byte) bool {
	if len(word) != len(b) {
		return false
	}
	for i := 0; i < len(b); i++ {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// is reports whether argument b is the option word (lower case) in any case.
func is(b []byte, word string) bool { return equalFold(word, b) }
