package kv

import (
	"bytes"
	"math/big"
	"strconv"
)

// Redis adds the F of INCRBYFLOAT and HINCRBYFLOAT in C's long double, 64 bits of
// mantissa on x86, and prints it with %.17Lf without trailing zeros. big.Float at
// that precision gives the same digits on every machine.
const (
	longDoublePrec   = 64
	longDoubleMaxExp = 16384
	longDoubleMinExp = -16445
	longDoubleDigits = 17
	maxFloatText     = 5 << 10
)

// parseLongDouble reads a number as strtold does over the whole text; no blanks,
// no NaN. Infinities are numbers.
func parseLongDouble(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) > maxFloatText || bytes.IndexByte(b, '_') >= 0 || !sensibleExponent(b) {
		return nil, false
	}
	base := 10
	digits := bytes.TrimLeft(b[:min(len(b), 3)], "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		base = 0
	}
	text := string(b)
	if tail := bytes.TrimLeft(b, "+-"); equalFold("infinity", tail) || equalFold("inf", tail) {
		text = string(b[:len(b)-len(tail)]) + "Inf"
	}
	f, _, err := big.ParseFloat(text, base, longDoublePrec, big.ToNearestEven)
	if err != nil {
		return nil, false
	}
	if exp := f.MantExp(nil); !f.IsInf() && (exp > longDoubleMaxExp || exp < longDoubleMinExp) {
		return nil, false
	}
	return f, true
}

// sensibleExponent refuses exponents far beyond a long double before big.Float
// computes a power of ten with them.
func sensibleExponent(b []byte) bool {
	i := bytes.LastIndexAny(b, "eEpP")
	if i < 0 {
		return true
	}
	e := bytes.TrimLeft(bytes.TrimLeft(b[i+1:], "+-"), "0")
	n, err := strconv.Atoi(string(e))
	return len(e) == 0 || err != nil || n < 20000 // not digits: the parser decides
}

// addFloats is the text of old + incr in Redis's form; both were checked with
// parseLongDouble. ok is false when the sum is no finite number.
func addFloats(old, incr []byte) (sum []byte, ok bool) {
	a, ok1 := parseLongDouble(old)
	b, ok2 := parseLongDouble(incr)
	if !ok1 || !ok2 || a.IsInf() || b.IsInf() {
		return nil, false
	}
	a.Add(a, b)
	if a.MantExp(nil) > longDoubleMaxExp {
		return nil, false
	}
	return appendLongDouble(nil, a), true
}

// appendLongDouble prints f with 17 decimals, without trailing zeros.
func appendLongDouble(dst []byte, f *big.Float) []byte {
	start := len(dst)
	dst = f.Append(dst, 'f', longDoubleDigits)
	dst = bytes.TrimRight(dst, "0")
	dst = bytes.TrimSuffix(dst, []byte("."))
	if string(dst[start:]) == "-0" {
		return append(dst[:start], '0')
	}
	return dst
}
