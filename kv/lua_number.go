package kv

import (
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaNumberText prints a number as Lua's tostring does: %.14g.
func luaNumberText(f float64) string {
	var tmp [32]byte
	return string(luaAppendNumber(tmp[:0], f, 14))
}

// luaAppendNumber is C's %.<digits>g. A NaN has its sign printed by C, which depends
// on the machine; here it is always what x86 makes of 0/0.
func luaAppendNumber(dst []byte, f float64, digits int) []byte {
	switch {
	case f == math.Trunc(f) && math.Abs(f) < 1e14 && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(dst, int64(f), 10)
	case f != f:
		return append(dst, "-nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	}
	return strconv.AppendFloat(dst, f, 'g', digits, 64)
}

// luaAppendString appends a string or number as text.
func luaAppendString(dst []byte, v lua.LValue) []byte {
	switch v := v.(type) {
	case lua.LString:
		return append(dst, v...)
	case lua.LNumber:
		return luaAppendNumber(dst, float64(v), 14)
	}
	return dst
}

// luaToNumber converts a number or a numeral, as arithmetic and tonumber do.
func luaToNumber(v lua.LValue) (float64, bool) {
	switch v := v.(type) {
	case lua.LNumber:
		return float64(v), true
	case lua.LString:
		return luaParseNumber(string(v))
	}
	return 0, false
}

// luaParseNumber is C's strtod on all of s but blanks around, hex integers included.
func luaParseNumber(s string) (float64, bool) {
	if len(s) > 400 {
		s = strings.Trim(s, " \f\n\r\t\v")
		if len(s) > 1<<16 {
			return 0, false
		}
	}
	s = strings.Trim(s, " \f\n\r\t\v")
	if s == "" || strings.IndexByte(s, '_') >= 0 {
		return 0, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return 0, false
	}
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		f := 0.0
		for _, c := range []byte(digits[2:]) {
			d := luaDigit(c)
			if d >= 16 {
				return 0, false
			}
			f = float64(f*16) + float64(d) // the conversion keeps it from being fused
		}
		if s[0] == '-' {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && (f == 0 || !math.IsInf(f, 0)) {
		return 0, false
	}
	return f, true
}

// luaDigit is the value of a digit in bases up to 36; more than that if it is none.
func luaDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'z':
		return int(c|0x20-'a') + 10
	}
	return 99
}

// luaInt64 truncates toward zero; beyond the range it saturates, on every machine.
func luaInt64(f float64) int64 {
	switch {
	case f != f:
		return 0
	case f >= 1<<63:
		return math.MaxInt64
	case f < -1<<63:
		return math.MinInt64
	}
	return int64(f)
}

// luaCast is C's (long long) on x86-64: out of range becomes the smallest.
func luaCast(f float64) int64 {
	if f != f || f >= 1<<63 || f < -1<<63 {
		return math.MinInt64
	}
	return int64(f)
}
