package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// Scores as bytes.
//
// A score is kept as eight bytes whose bytes.Compare order is the numeric order:
// the IEEE 754 bits with the sign bit flipped, or all bits flipped when negative.
// It heads the keys of the by-score tree and is the value everywhere else. There is
// one zero: -0 is kept as 0, as Redis does in a listpack (in a skiplist it keeps
// the sign, docs/divergence.md).
const scoreSize = 8

// encodeScore returns f in the form that sorts.
func encodeScore(f float64) uint64 {
	b := math.Float64bits(f)
	switch {
	case f == 0:
		return 1 << 63
	case b>>63 != 0:
		return ^b
	}
	return b | 1<<63
}

// decodeScore is the inverse of encodeScore.
func decodeScore(u uint64) float64 {
	if u>>63 != 0 {
		return math.Float64frombits(u &^ (1 << 63))
	}
	return math.Float64frombits(^u)
}

// appendScore appends f in the form that sorts.
func appendScore(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(dst, encodeScore(f))
}

// readScore reads what appendScore wrote. Fewer than eight bytes, which only a
// damaged record can hold, read as 0.
func readScore(b []byte) float64 {
	if len(b) < scoreSize {
		return 0
	}
	return decodeScore(binary.BigEndian.Uint64(b))
}

// scoreRange is an interval of scores, as ZRANGEBYSCORE states it.
type scoreRange struct {
	min, max     float64
	minEx, maxEx bool // the bound itself is outside
}

// parseScoreBound reads "1.5", "(1.5", "-inf", "+inf".
func parseScoreBound(b []byte) (f float64, exclusive, ok bool) {
	if len(b) > 0 && b[0] == '(' {
		exclusive, b = true, b[1:]
	}
	f, ok = parseBound(b)
	return f, exclusive, ok
}

// parseBound reads a number as Redis reads the bound of a range: with plain
// strtod, laxer than a score. Nothing at all is 0, blanks in front are passed over,
// too large is infinite and too small is 0.
func parseBound(b []byte) (f float64, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	b = bytes.TrimLeft(b, " \t\n\v\f\r")
	if f, ok = parseFloat(b); ok {
		return f, true
	}
	if len(b) > maxFloatText || bytes.IndexByte(b, '_') >= 0 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, (err == nil || errors.Is(err, strconv.ErrRange)) && !math.IsNaN(f)
}

func parseScoreRange(min, max []byte) (r scoreRange, ok bool) {
	var okMin, okMax bool
	r.min, r.minEx, okMin = parseScoreBound(min)
	r.max, r.maxEx, okMax = parseScoreBound(max)
	return r, okMin && okMax
}

// lexBound is one end of a range of members: a member, or beyond all of them.
type lexBound struct {
	kind      lexKind
	member    []byte
	exclusive bool
}

type lexKind int8

const (
	lexLowest  lexKind = -1 // "-"
	lexMember  lexKind = 0  // "[m" or "(m"
	lexHighest lexKind = 1  // "+"
)

func parseLexBound(b []byte) (l lexBound, ok bool) {
	if len(b) == 0 {
		return l, false
	}
	switch b[0] {
	case '-':
		return lexBound{kind: lexLowest}, len(b) == 1
	case '+':
		return lexBound{kind: lexHighest}, len(b) == 1
	case '[':
		return lexBound{member: b[1:]}, true
	case '(':
		return lexBound{member: b[1:], exclusive: true}, true
	}
	return l, false
}

func parseLexRange(min, max []byte) (lo, hi lexBound, ok bool) {
	lo, okMin := parseLexBound(min)
	hi, okMax := parseLexBound(max)
	return lo, hi, okMin && okMax
}
