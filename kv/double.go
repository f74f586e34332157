package kv

import (
	"math"
	"strconv"
)

// Doubles are printed in one of two ways: up to Redis 7.0 with 17 digits (C's %.17g), from
// 7.2 on with as many as are needed to read the same number back, and integers in full up
// to 2^62.

// appendDouble prints f as the Redis does that is imitated.
func (r *Reply) appendDouble(dst []byte, f float64) []byte {
	if r.digits17 {
		return appendDigits17(dst, f)
	}
	return appendD2String(dst, f)
}

// appendDigits17 is %.17g, in which ZSCAN shows a large set's scores whatever the version.
func appendDigits17(dst []byte, f float64) []byte {
	switch {
	case f == math.Trunc(f) && math.Abs(f) < 1e17:
		return appendWhole(dst, f)
	case math.IsInf(f, 0) || math.IsNaN(f):
		return appendShortest(dst, f)
	}
	return strconv.AppendFloat(dst, f, 'g', 17, 64)
}

// appendPackedScore prints a score as ZSCAN shows that of a small set, which Redis keeps as
// an integer if it is one of up to 2^62, and then there is no -0.
func (r *Reply) appendPackedScore(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<62 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return r.appendDouble(dst, f)
}

// appendD2String is how Redis prints scores since 7.2, named as there.
func appendD2String(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<62 {
		return appendWhole(dst, f)
	}
	return appendShortest(dst, f)
}

func appendWhole(dst []byte, f float64) []byte {
	if f == 0 && math.Signbit(f) {
		return append(dst, "-0"...)
	}
	return strconv.AppendInt(dst, int64(f), 10)
}

// appendShortest prints the shortest digits that read back as f, in the forms of Redis's
// fpconv_dtoa: in full if few zeros are missing before the point (fewer than seven more
// than there are digits) or few places behind it, else with an exponent that has as many
// digits as it needs.
func appendShortest(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case f == 0:
		return appendWhole(dst, f)
	}
	var tmp [32]byte
	digits, exponent := shortestDigits(tmp[:0], math.Abs(f))
	if f < 0 {
		dst = append(dst, '-')
	}
	n := len(digits)
	zeros := exponent - n + 1 // that follow the digits; below 0, so many stand behind the point
	size := max(exponent, -exponent)
	switch {
	case zeros >= 0 && size < n+7:
		return appendZeros(append(dst, digits...), zeros)
	case zeros < 0 && (zeros > -7 || size < 4):
		if exponent < 0 {
			return append(appendZeros(append(dst, "0."...), -exponent-1), digits...)
		}
		return append(append(append(dst, digits[:exponent+1]...), '.'), digits[exponent+1:]...)
	}
	dst = append(dst, digits[0])
	if n > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	sign := byte('+')
	if exponent < 0 {
		sign = '-'
	}
	return strconv.AppendInt(append(dst, 'e', sign), int64(size), 10)
}

func appendZeros(dst []byte, n int) []byte {
	for ; n > 0; n-- {
		dst = append(dst, '0')
	}
	return dst
}

// shortestDigits are those of a positive f, and the exponent of the first.
func shortestDigits(room []byte, f float64) (digits []byte, exponent int) {
	e := strconv.AppendFloat(room, f, 'e', -1, 64)
	at := len(e) - 1
	for e[at] != 'e' {
		at--
	}
	exponent, _ = strconv.Atoi(string(e[at+1:]))
	digits = append(e[:1], e[min(2, at):at]...) // without the point
	return digits, exponent
}
